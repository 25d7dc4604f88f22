//! The watch of the analysis when the API server's connections break, and when it cannot say what has changed.

use crate::cluster_target;
use crate::support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cluster_target::{context, unique, write};
use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::task::{Registry, TaskContext};
use sailhand::task_event::{FindingReport, PublishError, TaskEvent, TaskEvents};
use serde_json::{Value, json};
use support::api_proxy::{ApiProxy, Refusal};
use support::control_plane;
use support::eventually::eventually;

/// Keeps findings as `found` says an observer does.
#[derive(Default)]
struct Observer(Mutex<(BTreeMap<String, FindingReport>, usize)>);

#[async_trait]
impl TaskEvents for Observer {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        let mut kept = self.0.lock().unwrap();
        match event {
            TaskEvent::Found(found) => {
                if found.first {
                    kept.0.clear();
                    kept.1 += 1;
                }
                kept.0.extend(found.findings.into_iter().map(|one| (one.fingerprint.clone(), one)));
            }
            TaskEvent::Resolved(resolved) => {
                for one in &resolved.findings {
                    assert!(kept.0.remove(&one.fingerprint).is_some(), "resolved, and never told: {one:?}");
                }
            }
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

impl Observer {
    async fn has(&self, what: &str, wanted: &[&str]) {
        eventually(what, Duration::from_mins(1), async || {
            let kept = self.0.lock().unwrap();
            let mut found: Vec<String> = kept.0.values().map(|one| format!("{} {}", one.code, one.resource)).collect();
            found.sort();
            (kept.1 == 1 && found == wanted).then_some(())
        })
        .await;
    }
}

/// Behind a proxy.
fn through(cx: &TaskContext, proxy: &ApiProxy, observer: &Arc<Observer>, dir: &std::path::Path) -> TaskContext {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://127.0.0.1:{}", proxy.port())}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    let path = dir.join("proxy.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let target = Target { kubeconfig: Some(path), ..Target::default() };
    TaskContext {
        clusters: Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)]))),
        events: observer.clone(),
        ..cx.clone()
    }
}

fn deployment(namespace: &str, name: &str, user: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"securityContext": {"runAsUser": user}, "containers": [{"name": "web", "image": "web:1"}]},
        }},
    })
}

/// `sailhand analyze --watch`, until this is dropped.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(namespace: &str, code: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["analyze", "--watch", "-o", "json", "--codes", code, "--only-namespace", namespace, "--kubeconfig"])
            .arg(control_plane::kubeconfig())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (to, from) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, lines: from }
    }

    /// The next line: what became of which object.
    fn next(&self) -> (String, String) {
        let line = self.lines.recv_timeout(Duration::from_mins(1)).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&line["event"]), text(&line["finding"]["resource"]))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_command_line_watches_too() {
    let namespace = unique("watch-line");
    let (cx, _) = context(&namespace, 1);
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    write(&cx, deployment(&namespace, "one", 1337)).await;
    let watching = Watching::start(&namespace, "IST0144");
    let deployment_one = format!("Deployment {namespace}/one");
    assert_eq!(watching.next(), ("found".to_owned(), deployment_one.clone()));
    write(&cx, deployment(&namespace, "one", 1000)).await;
    assert_eq!(watching.next(), ("resolved".to_owned(), deployment_one));
}

/// The Secret is there before the workload whose namespace makes it count, so that it is never missing. The workload has
/// no pods. The other gateway is evidence that the Secrets of the namespace are known.
#[tokio::test]
async fn new_workload_of_a_gateway_makes_its_secrets_count() {
    support::istio_crds::install();
    let namespace = unique("watch-secret");
    let (cx, _) = context(&namespace, 1);
    let object = |api_version: &str, kind: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let route = |name: &str, host: &str| {
        let http = json!([{"route": [{"destination": {"host": host}}]}]);
        let spec = json!({"hosts": [format!("{name}.example.com")], "http": http});
        object("networking.istio.io/v1", "VirtualService", name, spec)
    };
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    for name in ["edge", "web"] {
        let metadata = json!({"name": name, "namespace": namespace});
        write(&cx, json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"tls.key": "YQ=="}}))
            .await;
        let port = json!({"number": 443, "name": "https", "protocol": "HTTPS"});
        let tls = json!({"mode": "SIMPLE", "credentialName": name});
        let servers = json!([{"port": port, "hosts": [format!("{name}.example.com")], "tls": tls}]);
        let spec = json!({"selector": {"app": name}, "servers": servers});
        write(&cx, object("networking.istio.io/v1", "Gateway", name, spec)).await;
    }
    write(&cx, deployment(&namespace, "edge", 1000)).await;
    write(&cx, object("v1", "Service", "cart", json!({"ports": [{"name": "http", "port": 80}]}))).await;
    write(&cx, route("first", "missing")).await;
    let watching = Watching::start(&namespace, "IST0101");
    let is = |event: &str, name: &str| (event.to_owned(), format!("VirtualService {namespace}/{name}"));
    assert_eq!(watching.next(), is("found", "first"));
    write(&cx, deployment(&namespace, "web", 1000)).await;
    write(&cx, route("second", "missing")).await;
    assert_eq!(watching.next(), is("found", "second"));
    write(&cx, route("second", "cart")).await;
    assert_eq!(watching.next(), is("resolved", "second"));
}

#[tokio::test]
async fn changes_during_an_outage_of_the_api_server_are_reported_after_it() {
    let namespace = unique("watch-cut");
    let (cx, _) = context(&namespace, 1);
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
    write(&cx, deployment(&namespace, "one", 1337)).await;
    let dir = tempfile::tempdir().unwrap();
    let proxy = ApiProxy::start("watch", control_plane::kubeconfig(), Arc::default()).await;
    let observer = Arc::new(Observer::default());
    let watching = through(&cx, &proxy, &observer, dir.path());
    let params = json!({"duration": "90s", "namespaces": [namespace], "codes": ["IST0144"]});
    let run = async { Registry::standard().get("config.watch-analyze").unwrap().run(&watching, params).await };
    let one = format!("IST0144 Deployment {namespace}/one");
    let two = format!("IST0144 Deployment {namespace}/two");
    let test = async {
        observer.has("what there is", &[&one]).await;

        proxy.cut_watches();
        write(&cx, deployment(&namespace, "two", 1337)).await;
        observer.has("a watch that was cut goes on", &[&one, &two]).await;

        // Neither the watch nor a list is answered.
        proxy.refuse(Some(Refusal { status: 410, after: None, percent: 100 }));
        proxy.cut_watches();
        write(&cx, deployment(&namespace, "one", 1000)).await;
        eventually("it has been refused", Duration::from_mins(1), async || (proxy.refused() > 5).then_some(())).await;
        proxy.refuse(None);
        observer.has("all is read again, and what is gone is resolved", &[&two]).await;
    };
    tokio::select! {
        ended = run => panic!("the watch ended: {:?}", ended.map(|outcome| outcome.into_parts().1).map_err(|f| f.error)),
        () = test => {}
    }
}
