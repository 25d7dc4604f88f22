//! `connection.watch`: publishes changes within seconds, of any number of servers, and ends at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::error::{Classify as _, Code};
use sailhand::task::connection::{Discover, Watch, WatchReport};
use sailhand::task::{Failure, Outcome, Task as _, TaskContext};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cluster_target::{context, unique, write};
use crate::connections::{RecordedEvents, run, with_connections};
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::eventually::eventually;
use crate::support::{control_plane, istio_crds};

const WITHIN: Duration = Duration::from_secs(40);

/// A context whose API server is at this address.
fn before(server: &str, folder: &Path) -> TaskContext {
    let file = folder.join("kubeconfig");
    control_plane::write_kubeconfig(&file, server);
    let (mut cx, _) = context(&unique("before"), 1);
    let target = Target { kubeconfig: Some(file), ..Target::default() };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    cx
}

#[tokio::test]
async fn watch_stops_within_a_second_while_the_api_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let cx = before(&server, folder.path());
    let watching = tokio::spawn({
        let cx = cx.clone();
        async move { Watch.run(&cx, serde_json::from_value(json!({"duration": "5m"})).unwrap()).await }
    });
    let _request = silent.accept().await.unwrap();
    cx.guard.cancel();
    let ended = timeout(Duration::from_secs(1), watching).await.expect("it stops within a second").unwrap();
    assert_eq!(ended.unwrap_err().error.code(), Code::SH1012);
}

/// A Prometheus by its label and port.
fn service(space: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": space, "labels": {"app.kubernetes.io/name": "prometheus"}},
        "spec": {"ports": [{"name": "http", "port": 9090}]}})
}

struct Watching {
    cx: TaskContext,
    space: String,
    recorded: Arc<RecordedEvents>,
    task: JoinHandle<Result<Outcome<WatchReport>, Failure<WatchReport>>>,
}

impl Watching {
    /// A watch of one namespace with these servers.
    fn start(mut cx: TaskContext, space: String, interval_s: u32, servers: usize) -> Self {
        let recorded = Arc::new(RecordedEvents::default());
        cx.events = recorded.clone();
        let mut items = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})];
        items.extend((0..servers).map(|number| service(&space, &format!("p-{number}"))));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objects.json");
        std::fs::write(&file, list.to_string()).unwrap();
        istio_crds::kubectl(&["create", "--filename", file.to_str().unwrap()]);
        let params =
            json!({"duration": "5m", "interval_s": interval_s, "namespaces": [space], "ask": false, "outside": false});
        let watch = cx.clone();
        let task = tokio::spawn(async move { Watch.run(&watch, serde_json::from_value(params).unwrap()).await });
        Self { cx, space, recorded, task }
    }

    async fn events(&self, count: usize) -> Vec<String> {
        eventually("the events are published", WITHIN, async || {
            let events = self.recorded.events();
            (events.len() >= count).then_some(events)
        })
        .await
    }

    async fn end(self) -> WatchReport {
        self.cx.guard.cancel();
        self.task.await.unwrap().unwrap_err().report.unwrap().into_parts().1
    }
}

#[tokio::test]
async fn new_server_is_published_within_seconds_with_any_interval() {
    let space = unique("watched");
    let watching = Watching::start(with_connections(&space, BTreeMap::new()), space.clone(), 3600, 0);
    assert_eq!(watching.events(1).await, ["first "]);
    let begun = tokio::time::Instant::now();
    write(&watching.cx, service(&space, "prometheus")).await;
    assert_eq!(watching.events(2).await[1], "discovered prometheus");
    println!("a new server was published after {:?}", begun.elapsed());
    istio_crds::kubectl(&["delete", "service", "prometheus", "-n", &watching.space]);
    assert_eq!(watching.events(3).await[2], "lost prometheus");
    let report = watching.end().await;
    assert_eq!((report.discovered, report.lost, report.failed_lists), (1, 1, 0));
}

#[tokio::test]
async fn kinds_that_may_not_be_watched_are_listed_at_the_interval() {
    let space = unique("listed");
    let proxy = ApiProxy::start("watch", control_plane::kubeconfig(), Record::default()).await;
    proxy.answer(|_, query| {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
            "message": "services is forbidden: cannot watch", "code": 403});
        query.contains("watch=").then(|| (403, status.to_string()))
    });
    let folder = tempfile::tempdir().unwrap();
    let cx = before(&format!("http://127.0.0.1:{}", proxy.port()), folder.path());
    let watching = Watching::start(cx, space.clone(), 5, 1);
    assert_eq!(watching.events(1).await, ["first p-0"]);
    istio_crds::kubectl(&["delete", "service", "p-0", "-n", &space]);
    assert_eq!(watching.events(2).await[1], "lost p-0");
    watching.end().await;
}

#[tokio::test]
async fn more_servers_than_the_limit_of_a_report_are_published() {
    let space = unique("many");
    let watching = Watching::start(with_connections(&space, BTreeMap::new()), space, 3600, 250);
    let events = watching.events(3).await;
    let counts: Vec<usize> = events.iter().map(|event| event.split(',').count()).collect();
    assert_eq!(counts, [100, 100, 50]);
    let found = run(Discover, &watching.cx, json!({"namespaces": [watching.space], "ask": false})).await.unwrap().1;
    assert_eq!((found.instances.len(), found.omitted), (200, 50));
    assert_eq!(watching.end().await.servers, 250);
}
