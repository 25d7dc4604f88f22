//! Figures of connections: requests for a check of 500 pods, one dashboard from 200 commands at once, and no credential in
//! anything that is published, logged or stored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use sailhand::cluster::Clusters;
use sailhand::config::{Connection, Target};
use sailhand::guard::Guard;
use sailhand::http::Credentials;
use sailhand::observe::instance::InstanceKind;
use sailhand::observe::ladder::Rung;
use sailhand::task::connection::{Check, Discover};
use sailhand::task::dashboard::{Apply, Remove};
use sailhand::task::metrics::{Promql, Query};
use sailhand::task::{Task, TaskContext};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cluster_target::{context, unique};
use crate::connections::{one, run, with_connections};
use crate::faults::injected;
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::control_plane;
use crate::support::eventually::eventually;
use crate::support::grafana::Grafana;
use crate::support::own_control_plane::ControlPlane;
use crate::support::prometheus::{Prometheus, get, serve};

const PODS: usize = 500;

/// Answers of a store that scrapes all of these pods well.
fn healthy(request: &str) -> String {
    let series = |labels: Value| json!([{"metric": labels, "value": [1000.0, "990"]}]);
    let target = |number: usize| {
        json!({"labels": {"namespace": "shop", "pod": format!("web-{number}")}, "health": "up", "scrapeInterval": "15s",
            "scrapeUrl": format!("http://10.0.{}.{}:15020/stats/prometheus", number / 250, number % 250)})
    };
    let data = if request.starts_with("/api/v1/targets") {
        json!({"activeTargets": (0..PODS).map(target).collect::<Vec<_>>()})
    } else if request.starts_with("/api/v1/status/buildinfo") {
        json!({"version": "3.10.0", "revision": "a", "goVersion": "go1.26"})
    } else {
        let result = if request.contains("twice") || request.contains("%3E") || request.contains("increase") {
            json!([])
        } else if request.contains("istio_build") {
            series(json!({"component": "pilot"}))
        } else {
            series(json!({"reporter": "destination"}))
        };
        json!({"resultType": "vector", "result": result})
    };
    json!({"status": "success", "data": data}).to_string()
}

/// Namespace and name of a pod.
fn place_of(number: usize) -> (&'static str, String) {
    ("shop", format!("web-{number}"))
}

/// What the proxy of one pod answers: 40 series of requests and their buckets.
fn proxy_metrics(start: tokio::time::Instant) -> String {
    let count = start.elapsed().as_secs() * 10;
    let mut text = String::from("istio_build{component=\"proxy\",tag=\"1.30.3\"} 1\n");
    for number in 0..8 {
        let labels = format!(
            "reporter=\"destination\",destination_service_namespace=\"shop\",destination_service_name=\"web-{number}\",\
             response_code=\"200\",response_flags=\"-\""
        );
        writeln!(text, "istio_requests_total{{{labels}}} {count}").unwrap();
        for le in ["1", "10", "100", "+Inf"] {
            writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}} {count}").unwrap();
        }
    }
    text
}

/// A Prometheus that scrapes all pods: their addresses stand behind an HTTP proxy, which answers for each.
fn scraping_all(folder: &std::path::Path) -> Prometheus {
    let start = tokio::time::Instant::now();
    let proxies = serve(move |_| Some((200, proxy_metrics(start))));
    let target = |number: usize| {
        let (namespace, pod) = place_of(number);
        let address = format!("10.0.{}.{}:15020", number / 250, number % 250);
        json!({"targets": [address], "labels": {"namespace": namespace, "pod": pod}})
    };
    let configuration = json!({"scrape_configs": [{
        "job_name": "proxies", "scrape_interval": "10s", "metrics_path": "/stats/prometheus",
        "proxy_url": format!("http://{proxies}"), "static_configs": (0..PODS).map(target).collect::<Vec<_>>()}]});
    let file = folder.join("prometheus.json");
    std::fs::write(&file, configuration.to_string()).unwrap();
    Prometheus::start(&file, folder, &[])
}

/// Creates the pods, which run.
async fn create_pods(plane: &ControlPlane, kubeconfig: &std::path::Path) {
    plane.kubectl(&["create", "namespace", "shop"]);
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.unwrap()).unwrap();
    let api: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(client, "shop");
    let created = futures::stream::iter(0..PODS).map(|number| {
        let api = api.clone();
        async move {
            let (namespace, name) = place_of(number);
            let pod = serde_json::from_value(injected(namespace, &name)).unwrap();
            api.create(&kube::api::PostParams::default(), &pod).await.unwrap();
            let status = kube::api::Patch::Merge(json!({"status": {"phase": "Running"}}));
            api.patch_status(&name, &kube::api::PatchParams::default(), &status).await.unwrap();
        }
    });
    created.buffer_unordered(16).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn check_of_500_pods_takes_at_most_12_requests_to_the_store() {
    let plane = ControlPlane::start().await;
    // Its service account appears some time after the namespace.
    plane.kubectl(&["wait", "--for=create", "--timeout=60s", "serviceaccount/default", "--namespace=default"]);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping_all(folder.path());
    create_pods(&plane, &plane.kubeconfig()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let bytes = Arc::new(AtomicUsize::new(0));
    let (count, read, upstream) = (asked.clone(), bytes.clone(), prometheus.1.clone());
    let store = serve(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = get(&upstream, request.lines().next().unwrap())?;
        read.fetch_add(answer.1.len(), Ordering::Relaxed);
        Some(answer)
    });
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let proxy = ApiProxy::start("figures", &plane.kubeconfig(), Record::default()).await;
    proxy.answer(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let file = folder.path().join("kubeconfig");
    control_plane::write_kubeconfig(&file, &format!("http://127.0.0.1:{}", proxy.port()));
    let (mut cx, _) = context(&unique("figures"), 1);
    let target = Target { kubeconfig: Some(file), connections: one("mesh", &store), ..Target::default() };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    let check = async || run(Check, &cx, json!({"connection": "mesh", "window_s": 40})).await.unwrap().1;
    // Discovery of the API server's kinds, and samples of a whole window of four scrapes.
    eventually("every pod is scraped", Duration::from_mins(2), async || {
        (check().await.rung == Rung::Correct).then_some(())
    })
    .await;
    for counter in [&asked, &bytes, &called] {
        counter.store(0, Ordering::Relaxed);
    }
    let begun = tokio::time::Instant::now();
    let report = check().await;
    let took = begun.elapsed();
    let series = prometheus.series("count(%7B__name__!=%22%22%7D)").unwrap()["result"][0]["value"][1].clone();
    let requests = asked.load(Ordering::Relaxed);
    println!(
        "check of {PODS} pods, series {series}: {took:?}, {requests} requests to the store ({} bytes), {} to the API server",
        bytes.load(Ordering::Relaxed),
        called.load(Ordering::Relaxed)
    );
    assert_eq!((report.expected_targets, report.rung), (PODS, Rung::Correct), "{report:?}");
    assert!(requests <= 12, "{requests}");
    assert!(took < Duration::from_secs(15), "1.5 s on a machine without other work");
}

#[tokio::test]
async fn commands_at_once_make_each_dashboard_once() {
    let (legacy, newer) = tokio::join!(at_once(&[]), at_once(&["v1"]));
    println!("200 runs at once: {legacy}; by /apis: {newer}");
}

/// Figures of 200 runs at once, for a Grafana that offers these versions of the newer API.
async fn at_once(apis: &[&str]) -> String {
    let grafana = Grafana::start(apis);
    let url = format!("http://{}", grafana.address);
    let configured = |kind, url: &str| Connection {
        kind,
        url: url.to_owned(),
        service: None,
        scope: BTreeMap::new(),
        credentials: Credentials::default(),
    };
    let connections = BTreeMap::from([
        ("central".to_owned(), configured(InstanceKind::Grafana, &url)),
        ("mesh".to_owned(), configured(InstanceKind::Prometheus, "http://prometheus.example:9090")),
    ]);
    let cx = with_connections(&unique("at-once"), connections);
    // As the engine does it: one run has the lease, with a higher fence than the one before.
    let lease = Arc::new(tokio::sync::Mutex::new(0_u64));
    let runs: Vec<_> = (0..200)
        .map(|_| {
            let (cx, lease) = (cx.clone(), lease.clone());
            tokio::spawn(async move {
                let mut fence = lease.lock().await;
                *fence += 1;
                let deadline = tokio::time::Instant::now() + Duration::from_mins(5);
                let cx = TaskContext { guard: Guard::new(deadline, *fence, CancellationToken::new()), ..cx };
                let params = json!({"grafana": "central", "prometheus": "mesh", "dashboards": ["mesh"]});
                let done = Apply.run(&cx, serde_json::from_value(params).unwrap()).await;
                done.map(|outcome| outcome.into_parts().0).map_err(|failure| failure.error.to_string())
            })
        })
        .collect();
    let mut changed = 0;
    for run in runs {
        changed += usize::from(run.await.unwrap().unwrap());
    }
    let count = |kind| grafana.uids(kind).len();
    let (boards, folders, sources) = (count("dashboards"), count("folders"), count("sources"));
    let writes = grafana.writes().len();
    assert_eq!((changed, boards, folders, sources), (1, 1, 1, 1));
    assert_eq!(writes, 3);
    format!("{changed} wrote, {writes} writes, {boards} dashboards, {folders} folders, {sources} data sources")
}

/// All that is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_credential_is_in_a_report_an_error_a_step_the_log_or_an_object() {
    const SECRETS: [&str; 3] = ["s3cret-bearer-0001", "s3cret-password-0002", "czNjcmV0LXBhc3N3b3JkLTAwMDI"];
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(subscriber.finish());

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let bearer = Credentials { bearer_token_file: Some(file("bearer", SECRETS[0])), ..Credentials::default() };
    let basic = Credentials {
        user: Some("reader".to_owned()),
        password_file: Some(file("password", SECRETS[1])),
        ..Credentials::default()
    };
    let good = serve(|request| Some((200, healthy(request))));
    let refusing = serve(|_| Some((401, "no".to_owned())));
    let hostile = serve(|request| Some((200, format!("<html>{request}</html>"))));
    let grafana = Grafana::start(&["v1beta1"]);
    let mut connections = BTreeMap::new();
    for (name, kind, address, credentials) in [
        ("good", InstanceKind::Prometheus, &good, &bearer),
        ("basic", InstanceKind::Prometheus, &good, &basic),
        ("refusing", InstanceKind::Prometheus, &refusing, &basic),
        // It sends the headers back.
        ("hostile", InstanceKind::Prometheus, &hostile, &bearer),
        ("gone", InstanceKind::Prometheus, &"127.0.0.1:1".to_owned(), &basic),
        ("central", InstanceKind::Grafana, &grafana.address, &bearer),
    ] {
        let (url, credentials) = (format!("http://{address}"), credentials.clone());
        connections
            .insert(name.to_owned(), Connection { kind, url, service: None, scope: BTreeMap::new(), credentials });
    }
    let space = unique("secrets");
    let mut cx = with_connections(&space, connections);
    let (_, steps) = context(&space, 1);
    cx.progress = steps.clone();
    let mut all = Vec::new();
    for name in ["good", "basic", "refusing", "hostile", "gone"] {
        let named = json!({"connection": name});
        all.push(reported(Check, &cx, named.clone()).await);
        all.push(reported(Promql, &cx, json!({"connection": name, "query": "up"})).await);
        all.push(reported(Query, &cx, json!({"connection": name, "of": {"mesh": {}}})).await);
    }
    all.push(reported(Discover, &cx, json!({"ask": false})).await);
    let boards = json!({"grafana": "central", "prometheus": "good", "dashboards": ["mesh"]});
    all.push(reported(Apply, &cx, boards).await);
    let cluster = cx.cluster().await.unwrap();
    let maps = cluster.kind("v1", "ConfigMap").await.unwrap().unwrap();
    cluster.list(&maps, Some(&format!("{space}-inventory")), None, |map| all.push(map.to_string())).await.unwrap();
    all.push(reported(Remove, &cx, json!({"grafana": "central"})).await);
    all.push(steps.reported().iter().map(|step| step.message.clone()).collect());
    all.push(String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned());
    let text = all.join("\n");
    assert!(text.len() > 10_000 && text.contains("Service") || text.contains("connection good"), "something was said");
    for secret in SECRETS {
        let at = text.find(secret).map(|at| text[at.saturating_sub(200)..(at + 40).min(text.len())].to_owned());
        assert_eq!(at, None);
    }
}

/// Report or error of a task, as text.
async fn reported<T: Task>(task: T, cx: &TaskContext, params: Value) -> String
where
    T::Report: serde::Serialize,
{
    match task.run(cx, serde_json::from_value(params).unwrap()).await {
        Ok(outcome) => serde_json::to_string(&outcome.into_parts().1).unwrap(),
        Err(failure) => format!("{} {:?}", failure.error, failure.error),
    }
}
