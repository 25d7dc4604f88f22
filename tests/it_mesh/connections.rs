//! `connection.*` and `metrics.*` against a real API server and a real Prometheus that scrapes scripted proxies, so that
//! the truth is known.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sailhand::cluster::Clusters;
use sailhand::config::{Connection, Target};
use sailhand::error::{Class, Classify as _, Code};
use sailhand::http::Credentials;
use sailhand::observe::instance::{Instance, InstanceKind, State};
use sailhand::observe::ladder::{Cause, Rung};
use sailhand::task::connection::{Apply, Check, CheckReport, Discover, Remove, Watch};
use sailhand::task::metrics::{Promql, Query, QueryReport};
use sailhand::task::{Error, Task, TaskContext};
use sailhand::task_event::{PublishError, TaskEvent, TaskEvents};
use serde_json::{Value, json};

use crate::cluster_target::{context, unique, write};
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::control_plane;
use crate::support::eventually::eventually;
use crate::support::istio_crds;
use crate::support::prometheus::{Prometheus, serve};

const WITHIN: Duration = Duration::from_secs(40);

/// A context whose target has these servers in the worker's configuration.
pub fn with_connections(test: &str, connections: BTreeMap<String, Connection>) -> TaskContext {
    let (mut cx, _) = context(test, 1);
    let target = Target {
        kubeconfig: Some(control_plane::kubeconfig().to_owned()),
        inventory_namespace: format!("{test}-inventory"),
        connections,
        ..Target::default()
    };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    cx
}

fn connection(address: &str, credentials: Credentials) -> Connection {
    Connection {
        kind: InstanceKind::Prometheus,
        url: format!("http://{address}"),
        service: None,
        scope: BTreeMap::new(),
        credentials,
    }
}

pub fn one(name: &str, address: &str) -> BTreeMap<String, Connection> {
    BTreeMap::from([(name.to_owned(), connection(address, Credentials::default()))])
}

pub async fn run<T: Task>(task: T, cx: &TaskContext, params: Value) -> Result<(bool, T::Report), Error> {
    let params = serde_json::from_value(params).unwrap();
    match task.run(cx, params).await {
        Ok(outcome) => Ok(outcome.into_parts()),
        Err(failure) => Err(failure.error),
    }
}

/// A sidecar pair's metrics: the server answers 10 requests a second, one of them with 503, and the client reports the
/// same requests. The counters follow the number of scrapes, one a second.
fn proxies(scrapes: &AtomicU64) -> String {
    let count = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
    let mut text = String::from("istio_build{component=\"proxy\",tag=\"1.30.3\"} 1\n");
    for reporter in ["source", "destination"] {
        let labels = format!(
            "reporter=\"{reporter}\",destination_service_namespace=\"shop\",destination_service_name=\"reviews\",\
             destination_workload=\"reviews-v1\",destination_version=\"v1\",request_protocol=\"http\",response_flags=\"-\""
        );
        writeln!(text, "istio_requests_total{{{labels},response_code=\"200\"}} {}", count * 9).unwrap();
        writeln!(text, "istio_requests_total{{{labels},response_code=\"503\"}} {count}").unwrap();
        for (bound, share) in [("10", 5), ("100", 10), ("+Inf", 10)] {
            writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{bound}\"}} {}", count * share)
                .unwrap();
        }
    }
    text
}

pub fn scraping(address: &str, folder: &std::path::Path) -> Prometheus {
    let configuration = json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "proxies", "static_configs": [
            {"targets": [address], "labels": {"namespace": "shop", "pod": "reviews-1"}}]}],
    });
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, configuration.to_string()).unwrap();
    Prometheus::start(&path, folder, &[])
}

#[tokio::test]
async fn golden_signals_of_a_real_prometheus_match_the_served_requests() {
    let scrapes = AtomicU64::new(0);
    let address = serve(move |request| request.starts_with("/metrics").then(|| (200, proxies(&scrapes))));
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping(&address, folder.path());
    let cx = with_connections(&unique("signals"), one("mesh", &prometheus.1));
    let params =
        json!({"connection": "mesh", "of": {"service": {"namespace": "shop", "name": "reviews"}}, "window_s": 15});
    let report: QueryReport = eventually("the rate settles", WITHIN, async || {
        let (_, report) = run(Query, &cx, params.clone()).await.ok()?;
        let settled = report.signals[0].values.first().is_some_and(|value| (value.value - 10.0).abs() < 0.5);
        settled.then_some(report)
    })
    .await;
    let signal = |name: &str| {
        let signal = report.signals.iter().find(|signal| signal.name == name).unwrap();
        serde_json::to_value(&signal.values).unwrap()
    };
    assert_eq!(signal("rate")[0]["reporter"], "destination", "both sides report each request: it counts once");
    assert!((signal("errors")[0]["value"].as_f64().unwrap() - 0.1).abs() < 0.01, "{report:?}");
    assert!((signal("latency-p50")[0]["value"].as_f64().unwrap() - 10.0).abs() < 1.0, "{report:?}");
    assert!(signal("latency-p99")[0]["value"].as_f64().unwrap() > 90.0, "{report:?}");
    assert_eq!(signal("tcp-sent"), json!([]), "no series is not zero");

    // The store is younger than an hour, so the rate of an hour is too low.
    let hour =
        json!({"connection": "mesh", "of": {"service": {"namespace": "shop", "name": "reviews"}}, "window_s": 3600});
    let (_, hourly) = run(Query, &cx, hour).await.unwrap();
    assert!(hourly.signals[0].values[0].value < 1.0, "{hourly:?}");
    assert_eq!(hourly.warnings.len(), 1, "{:?}", hourly.warnings);
    assert!(hourly.warnings[0].contains("rates of requests are of a part of the window"), "{:?}", hourly.warnings);
    eventually("samples of a whole window", WITHIN, async || {
        let (_, report) = run(Query, &cx, params.clone()).await.unwrap();
        report.warnings.is_empty().then_some(())
    })
    .await;

    let (changed, answer) = run(Promql, &cx, json!({"connection": "mesh", "query": "vector(1) / 0"})).await.unwrap();
    assert!(!changed && answer.series[0].value == "+Inf", "{answer:?}");
    let error = run(Promql, &cx, json!({"connection": "mesh", "query": "sum("})).await.unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3506, Class::Terminal), "{error}");
}

#[tokio::test]
async fn a_store_without_istio_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let address = serve(|request| request.starts_with("/metrics").then(|| (200, "other 1\n".to_owned())));
    let prometheus = scraping(&address, folder.path());
    let cx = with_connections(&unique("empty"), one("mesh", &prometheus.1));
    let report: CheckReport = eventually("a first sample", WITHIN, async || {
        let (_, report) = run(Check, &cx, json!({"connection": "mesh"})).await.ok()?;
        (report.rung >= Rung::Fresh).then_some(report)
    })
    .await;
    assert_eq!((report.rung, report.findings[0].cause), (Rung::Fresh, Cause::NothingScrapesIstio), "{report:?}");
}

#[tokio::test]
async fn agents_and_other_programs_are_distinguished_from_stores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.yml");
    std::fs::write(&path, "{}").unwrap();
    let data = format!("--storage.agent.path={}", folder.path().join("agent").display());
    let agent = Prometheus::start_as(&path, &["--agent", &data]);
    let html = serve(|_| Some((200, "<!doctype html><title>Log in</title>".to_owned())));
    let guarded = serve(|request| {
        let ok = request.contains("authorization: Bearer right");
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        Some(if ok { (200, body.to_owned()) } else { (401, "who are you".to_owned()) })
    });
    let token = folder.path().join("token");
    std::fs::write(&token, "right\n").unwrap();
    let right = Credentials { bearer_token_file: Some(token), ..Credentials::default() };
    let connections = BTreeMap::from([
        ("agent".to_owned(), connection(&agent.1, Credentials::default())),
        ("html".to_owned(), connection(&html, Credentials::default())),
        ("locked".to_owned(), connection(&guarded, Credentials::default())),
        ("open".to_owned(), connection(&guarded, right)),
        ("gone".to_owned(), connection("127.0.0.1:1", Credentials::default())),
    ]);
    let cx = with_connections(&unique("kinds"), connections);
    let ask = async |name: &str| {
        run(Promql, &cx, json!({"connection": name, "query": "up"})).await.map_err(|error| error.code())
    };
    for (name, code) in [
        ("agent", Code::SH3505),
        ("html", Code::SH3504),
        ("locked", Code::SH3503),
        ("gone", Code::SH3502),
        ("nosuch", Code::SH3501),
    ] {
        assert_eq!(ask(name).await.err(), Some(code), "{name}");
    }
    ask("open").await.unwrap();
    for (name, rung) in [
        ("agent", Rung::Prometheus),
        ("html", Rung::Authorized),
        ("locked", Rung::Reachable),
        ("gone", Rung::Unreachable),
    ] {
        let (_, report) = run(Check, &cx, json!({"connection": name})).await.unwrap();
        assert_eq!((report.rung, report.findings.len()), (rung, 1), "{name}: {report:?}");
    }
}

#[tokio::test]
async fn servers_of_a_cluster_are_discovered_and_named() {
    let space = unique("discover");
    let cx = with_connections(&space, BTreeMap::new());
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    for (name, image) in [
        ("metrics", "registry.example/mirror/prom/prometheus:v3.5.0"),
        ("prometheus-alertmanager", "prom/alertmanager:v0.28"),
    ] {
        write(
            &cx,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9090}]}}),
        )
        .await;
        write(&cx, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": {"app": name}},
            "spec": {"schedulerName": "none", "containers": [{"name": "main", "image": image}]}})).await;
    }
    let (changed, found) = run(Discover, &cx, json!({"namespaces": [space], "ask": false})).await.unwrap();
    let fingerprints: Vec<&str> =
        found.instances.iter().filter(|one| one.service.is_some()).map(|one| one.fingerprint.as_str()).collect();
    assert_eq!((changed, fingerprints), (false, vec![format!("prometheus/{space}/metrics:9090").as_str()]));

    let service = json!({"namespace": space, "name": "metrics", "port": 9090});
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service, "check": false});
    let (changed, report) = run(Apply, &cx, params.clone()).await.unwrap();
    assert!(changed && report.state.is_none(), "a server that is not asked has no state");
    assert!(!run(Apply, &cx, params).await.unwrap().0, "a second run writes nothing");
    // The API server cannot reach a pod that no node runs, and says so. The connection is stored nevertheless, at once.
    let params = json!({"name": "later", "kind": "prometheus", "service": service});
    let (changed, report) = run(Apply, &cx, params).await.unwrap();
    assert!(changed && report.objects.len() == 1, "{report:?}");
    assert_eq!(report.state, Some(State::Unreachable));
    let reason = report.reason.unwrap();
    assert!(reason.contains("does not answer") && reason.contains("metrics"), "{reason}");
    let (_, report) = run(Check, &cx, json!({"connection": "later"})).await.unwrap();
    assert_eq!((report.rung, report.findings[0].cause), (Rung::Unreachable, Cause::NoAnswer), "{report:?}");
    let params =
        json!({"name": "typo", "kind": "prometheus", "service": {"namespace": space, "name": "metrix", "port": 9090}});
    let (_, report) = run(Apply, &cx, params).await.unwrap();
    assert!(report.state == Some(State::Unreachable) && report.reason.unwrap().contains("\"metrix\" not found"));
    let error = run(Promql, &cx, json!({"connection": "mesh", "query": "up"})).await.err().unwrap();
    assert_eq!(error.code(), Code::SH3502, "{error}");
    assert!(run(Remove, &cx, json!({"name": "mesh"})).await.unwrap().0);
    assert!(!run(Remove, &cx, json!({"name": "mesh"})).await.unwrap().0);
}

/// A proxy before a server that starts answers 502. Each verb takes it for a server that does not answer.
#[tokio::test]
async fn servers_that_are_not_ready_are_unreachable_for_each_verb() {
    let space = unique("starting");
    let proxy = ApiProxy::start(&space, control_plane::kubeconfig(), Record::default()).await;
    let own = format!("/namespaces/{space}/services/");
    proxy.answer(move |path, _| {
        let is_asked = path.contains(&own) && path.contains("/proxy/");
        is_asked.then(|| (502, "<html>Bad Gateway</html>".to_owned()))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    control_plane::write_kubeconfig(&file, &format!("http://127.0.0.1:{}", proxy.port()));
    let (mut cx, _) = context(&space, 1);
    let outside = connection("metrics.example:9090", Credentials::default());
    let target = Target {
        kubeconfig: Some(file),
        inventory_namespace: format!("{space}-inventory"),
        connections: BTreeMap::from([("outside".to_owned(), outside)]),
        ..Target::default()
    };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    for (name, port) in [("prometheus", 9090), ("grafana", 3000)] {
        let labels = json!({"app.kubernetes.io/name": name});
        let metadata = json!({"name": name, "namespace": space, "labels": labels});
        let spec = json!({"ports": [{"name": "http", "port": port}]});
        write(&cx, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await;
        let labels = json!({"kubernetes.io/service-name": name});
        let metadata = json!({"name": format!("{name}-ready"), "namespace": space, "labels": labels});
        let endpoints = json!([{"addresses": ["192.0.2.9"], "conditions": {"ready": true}}]);
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": port}]});
        write(&cx, slice).await;
        let service = json!({"namespace": space, "name": name, "port": port});
        let params = json!({"name": format!("my-{name}"), "kind": name, "service": service});
        let (_, report) = run(Apply, &cx, params).await.unwrap();
        assert_eq!(report.state, Some(State::Unreachable), "{name}: {report:?}");
        assert!(report.reason.as_ref().unwrap().contains("HTTP 502"), "{name}: {report:?}");
    }
    let (_, found) = run(Discover, &cx, json!({"namespaces": [space], "outside": false})).await.unwrap();
    assert_eq!(found.instances.len(), 2, "{found:?}");
    for one in &found.instances {
        assert_eq!(one.state, State::Unreachable, "{one:?}");
        assert!(one.reason.as_ref().unwrap().contains("HTTP 502"), "{one:?}");
    }
    // The servers that have a connection already are named with it.
    let connections = found.connections.iter().map(|one| (one.name.as_str(), one.configured, one.fingerprint.clone()));
    let (grafana, store) = (format!("grafana/{space}/grafana:3000"), format!("prometheus/{space}/prometheus:9090"));
    let wanted = [("my-grafana", false, Some(grafana)), ("my-prometheus", false, Some(store)), ("outside", true, None)];
    assert!(connections.eq(wanted), "{:?}", found.connections);
}

/// Keeps what a watch publishes.
#[derive(Default)]
pub struct RecordedEvents(std::sync::Mutex<Vec<TaskEvent>>);

#[async_trait::async_trait]
impl TaskEvents for RecordedEvents {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

impl RecordedEvents {
    /// What came, as the kind of the event and the names of the Services.
    pub fn events(&self) -> Vec<String> {
        let names = |instances: &[Instance]| {
            let names = instances.iter().filter_map(|one| Some(one.service.as_ref()?.name.clone()));
            names.collect::<Vec<_>>().join(",")
        };
        let text = |event: &TaskEvent| match event {
            TaskEvent::Discovered(it) if it.first => format!("first {}", names(&it.instances)),
            TaskEvent::Discovered(it) => format!("discovered {}", names(&it.instances)),
            TaskEvent::Lost(it) => format!("lost {}", names(&it.instances)),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().iter().map(text).collect()
    }
}

#[tokio::test]
async fn watch_publishes_new_and_lost_servers_but_no_short_absence() {
    let space = unique("watch");
    let mut cx = with_connections(&space, BTreeMap::new());
    let recorded = Arc::new(RecordedEvents::default());
    cx.events = recorded.clone();
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": space, "labels": {"app.kubernetes.io/name": "prometheus"}},
            "spec": {"ports": [{"name": "http", "port": 9090}]}})
    };
    write(&cx, service("prometheus")).await;
    let delete = |name: &str| istio_crds::kubectl(&["delete", "service", name, "-n", &space]);
    let params = json!({"duration": "5m", "interval_s": 5, "namespaces": [space], "ask": false, "outside": false});
    let watching = tokio::spawn({
        let cx = cx.clone();
        async move { Watch.run(&cx, serde_json::from_value(params).unwrap()).await }
    });
    let told = async |count: usize| {
        eventually("the event is published", WITHIN, async || (recorded.events().len() >= count).then_some(())).await;
    };
    told(1).await;
    write(&cx, service("prometheus-server")).await;
    told(2).await;
    // Recreated at once: the same fingerprint, so no event.
    delete("prometheus-server");
    write(&cx, service("prometheus-server")).await;
    delete("prometheus");
    told(3).await;
    cx.guard.cancel();
    let failure = watching.await.unwrap().unwrap_err();
    let report = failure.report.unwrap().into_parts().1;
    assert_eq!(recorded.events(), ["first prometheus", "discovered prometheus-server", "lost prometheus"]);
    assert_eq!((report.first, report.discovered, report.changed, report.lost, report.servers), (1, 1, 0, 1, 1));
}
