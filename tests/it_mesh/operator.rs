//! A cluster with the real Prometheus Operator, whose selectors ignore monitors, from an empty store to signals. The real
//! Prometheus runs outside of the cluster with the configuration that the Operator writes, and finds scripted proxies by the
//! API server. A double of the Service proxy passes requests on, because the API server cannot connect to pods.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sailhand::cluster::{Action, Clusters};
use sailhand::config::Target;
use sailhand::observe::instance::State;
use sailhand::observe::ladder::{Cause, Diagnosis, Rung};
use sailhand::task::TaskContext;
use sailhand::task::connection::{Apply, Check, CheckReport, Discover};
use sailhand::task::{metrics, scrape};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster_target::{context, unique, write};
use crate::connections::run;
use crate::faults::injected;
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::control_plane;
use crate::support::eventually::eventually;
use crate::support::own_control_plane::ControlPlane;
use crate::support::prometheus::{Prometheus, get, serve_at};
use crate::support::prometheus_operator::{Operator, configuration, outside};

const WITHIN: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "monitoring";
/// Each scene has addresses of its own.
static SCENES: AtomicUsize = AtomicUsize::new(0);

/// First three parts of the addresses of the pods.
fn loopback() -> String {
    let id = std::process::id();
    format!("127.{}.{}", 192 + (id >> 8) % 60, id % 256)
}

/// Ten requests a second to the pod's Service since the start.
fn metrics_of(name: &str, start: Instant) -> String {
    let component = if name == "istiod" { "pilot" } else { "proxy" };
    let mut text = format!("istio_build{{component=\"{component}\",tag=\"1.30.3\"}} 1\n");
    if name != "istiod" {
        let count = start.elapsed().as_secs_f64() * 10.0;
        let labels = format!(
            "reporter=\"destination\",destination_service_namespace=\"shop\",destination_service_name=\"{name}\",\
             destination_workload=\"{name}\",response_code=\"200\",response_flags=\"-\""
        );
        writeln!(text, "istio_requests_total{{{labels}}} {count}").unwrap();
        for le in ["10", "+Inf"] {
            writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}} {count}").unwrap();
        }
    }
    text
}

struct Scene {
    plane: ControlPlane,
    cx: TaskContext,
    prometheus: Prometheus,
    folder: tempfile::TempDir,
    /// The configuration that the Prometheus runs with.
    written: RefCell<String>,
    _operator: Operator,
    _proxy: ApiProxy,
}

impl Scene {
    /// Istiod and a pod with a sidecar, the Operator with this Prometheus object, and the pod of the object's StatefulSet.
    async fn start(spec: Value) -> Self {
        let plane = ControlPlane::start().await;
        let operator = Operator::start(&plane);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.json");
        std::fs::write(&file, "{}").unwrap();
        let prometheus = Prometheus::start(&file, folder.path(), &[]);
        let proxy = ApiProxy::start("operator", &plane.kubeconfig(), Record::default()).await;
        let address = prometheus.1.clone();
        proxy.answer(move |path, query| {
            let prefix = format!("/api/v1/namespaces/{NAMESPACE}/services/prometheus-operated:9090/proxy");
            get(&address, &format!("{}?{query}", path.strip_prefix(&prefix)?))
        });
        let kubeconfig = folder.path().join("kubeconfig");
        control_plane::write_kubeconfig(&kubeconfig, &format!("http://127.0.0.1:{}", proxy.port()));
        let target = Target { kubeconfig: Some(kubeconfig), ..Target::default() };
        let (mut cx, _) = context(&unique("operator"), 1);
        cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
        cx.guard = sailhand::guard::Guard::new(
            Instant::now() + Duration::from_mins(10),
            1,
            tokio_util::sync::CancellationToken::new(),
        );
        let written = RefCell::new(String::new());
        let scene = Self { plane, cx, prometheus, folder, written, _operator: operator, _proxy: proxy };
        for name in [NAMESPACE, "istio-system", "shop"] {
            write(&scene.cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
        }
        scene.furnish().await;
        let metadata = json!({"namespace": NAMESPACE, "name": "k8s"});
        let object = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": metadata,
            "spec": spec});
        write(&scene.cx, object).await;
        scene.plane.kubectl(&[
            "wait",
            "--namespace",
            NAMESPACE,
            "--for=create",
            "--timeout=60s",
            "pod/prometheus-k8s-0",
        ]);
        let ready = ["--for=condition=Ready", "--timeout=60s", "pod/prometheus-k8s-0"];
        scene.plane.kubectl(&[&["wait", "--namespace", NAMESPACE][..], &ready].concat());
        scene
    }

    /// Pods of the mesh on loopback addresses, and the Service of istiod.
    async fn furnish(&self) {
        let prefix = loopback();
        let first = SCENES.fetch_add(1, Ordering::Relaxed) * 10;
        let start = Instant::now();
        let mut istiod = injected("istio-system", "istiod");
        istiod["spec"]["containers"] = json!([{"name": "discovery", "image": "pilot:1.30.3"}]);
        for (number, pod, port) in [(1, istiod, 15014), (2, injected("shop", "web"), 15090)] {
            let address = format!("{prefix}.{}", first + number);
            let text = |field: &str| pod["metadata"][field].as_str().unwrap().to_owned();
            let (space, name) = (text("namespace"), text("name"));
            let own = name.clone();
            serve_at(&format!("{address}:{port}"), move |_| Some((200, metrics_of(&own, start))));
            write(&self.cx, pod).await;
            let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}]}});
            let patch = status.to_string();
            let patched = ["--subresource=status", "--type=merge", "--patch", &patch];
            self.plane.kubectl(&[&["patch", "pod", &name, "--namespace", &space][..], &patched].concat());
        }
        // Without a selector, so that the addresses of the pod stay.
        let ports = json!([{"name": "http-monitoring", "port": 15014}]);
        let metadata = json!({"namespace": "istio-system", "name": "istiod", "labels": {"istio": "pilot"}});
        write(&self.cx, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}))
            .await;
        let pod = json!({"kind": "Pod", "namespace": "istio-system", "name": "istiod"});
        let subsets =
            json!([{"addresses": [{"ip": format!("203.0.113.{}", first + 1), "targetRef": pod}], "ports": ports}]);
        write(&self.cx, json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}))
            .await;
    }

    /// Gives the Prometheus the configuration that the Operator has written by now, and returns it.
    fn sync(&self) -> String {
        let Some(text) = configuration(&self.plane, NAMESPACE, "k8s") else { return String::new() };
        if *self.written.borrow() != text {
            let rewritten = outside(&text, "k8s", &self.plane.kubeconfig(), &loopback());
            std::fs::write(self.folder.path().join("prometheus.json"), rewritten.to_string()).unwrap();
            self.prometheus.reload();
            self.written.replace(text.clone());
        }
        text
    }

    async fn check(&self) -> CheckReport {
        run(Check, &self.cx, json!({"connection": "mesh", "window_s": 15})).await.unwrap().1
    }

    /// Waits until the check has exactly this cause.
    async fn finding(&self, cause: Cause) -> (Rung, Diagnosis) {
        let report = eventually(&format!("{cause:?} is the only cause"), WITHIN, async || {
            self.sync();
            let report = self.check().await;
            let causes: Vec<Cause> = report.findings.iter().map(|one| one.cause).collect();
            (causes == [cause]).then_some(report)
        })
        .await;
        assert!(report.unread.is_empty(), "{report:?}");
        (report.rung, report.findings[0].clone())
    }

    /// Replaces the spec, and waits until the Operator has seen it: a monitor that comes before may still be taken by the
    /// spec of before.
    async fn set_spec(&self, spec: &Value) {
        let patch = json!([{"op": "replace", "path": "/spec", "value": spec}]).to_string();
        let patched = ["--namespace", NAMESPACE, "--type=json", "--patch", &patch];
        self.plane.kubectl(&[&["patch", "prometheus", "k8s"][..], &patched].concat());
        eventually("the Operator has seen the spec", WITHIN, async || {
            let shown = self.plane.kubectl(&["get", "prometheus", "k8s", "--namespace", NAMESPACE, "--output=json"]);
            let live: Value = serde_json::from_str(&shown).unwrap();
            let conditions = live["status"]["conditions"].as_array()?;
            let reconciled = conditions.iter().find(|one| one["type"] == "Reconciled")?;
            (reconciled["observedGeneration"] == live["metadata"]["generation"]).then_some(())
        })
        .await;
    }
}

async fn connect(scene: &Scene) {
    let service = json!({"namespace": NAMESPACE, "name": "prometheus-operated", "port": 9090});
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service});
    let (changed, report) = run(Apply, &scene.cx, params).await.unwrap();
    assert!(changed && report.state == Some(State::Connected) && report.reason.is_none(), "{report:?}");
}

#[tokio::test]
async fn operator_takes_the_monitors_of_scrape_apply_and_the_signals_appear() {
    let selector = json!({"matchLabels": {"release": "kps"}});
    let scene = Scene::start(json!({"scrapeInterval": "1s", "replicas": 1,
        "podMonitorSelector": selector, "serviceMonitorSelector": selector}))
    .await;
    let (_, found) = run(Discover, &scene.cx, json!({"kinds": ["prometheus"]})).await.unwrap();
    let one = found.instances.iter().find(|one| one.fingerprint == "prometheus/monitoring/prometheus-operated:9090");
    assert_eq!(one.map(|one| one.state), Some(State::Connected), "{found:?}");
    connect(&scene).await;

    let (rung, empty) = scene.finding(Cause::NothingScrapesIstio).await;
    assert_eq!(rung, Rung::Prometheus);
    assert!(empty.message.contains("neither a PodMonitor nor a ServiceMonitor for Istio"), "{empty:?}");
    let selectors = "Prometheus monitoring/k8s: podMonitorSelector {\"matchLabels\":{\"release\":\"kps\"}}";
    assert!(empty.evidence.iter().any(|line| line.starts_with(selectors)), "{empty:?}");
    assert!(empty.remedy.contains("scrape.apply"), "{empty:?}");

    let (changed, report) =
        run(scrape::Apply, &scene.cx, json!({"connection": "mesh", "interval_s": 1})).await.unwrap();
    assert!(changed && report.warnings.is_empty(), "{report:?}");
    assert!(report.objects.iter().all(|line| line.action == Action::Created) && report.objects.len() == 3);
    eventually("the Operator has the three monitors in the configuration", WITHIN, async || {
        let text = scene.sync();
        let jobs = [
            "podMonitor/monitoring/sailhand-istio-proxies/0",
            "serviceMonitor/monitoring/sailhand-istio-control-plane/0",
            "podMonitor/monitoring/sailhand-istio-ztunnel/0",
        ];
        jobs.iter().all(|job| text.contains(job)).then_some(())
    })
    .await;
    let params = json!({"connection": "mesh", "of": {"service": {"namespace": "shop", "name": "web"}}, "window_s": 15});
    let rate = eventually("the rate is that of the proxy", WITHIN, async || {
        let (_, report) = run(metrics::Query, &scene.cx, params.clone()).await.unwrap();
        let rate = report.signals[0].values.first()?.value;
        ((rate - 10.0).abs() < 0.2).then_some(rate)
    })
    .await;
    println!("10 requests a second are served, {rate:.2} are reported");
    let correct = eventually("every rung is reached", WITHIN, async || {
        let report = scene.check().await;
        (report.rung == Rung::Correct).then_some(report)
    })
    .await;
    assert_eq!((correct.findings, correct.expected_targets), (Vec::new(), 1));

    assert!(run(scrape::Remove, &scene.cx, json!({"connection": "mesh"})).await.unwrap().0);
    eventually("the Operator has removed the jobs", WITHIN, async || {
        (!scene.sync().contains("sailhand-istio")).then_some(())
    })
    .await;
}

/// A Prometheus object's spec, a `PodMonitor` beside it, and the decision of both about it.
struct Case {
    spec: Value,
    namespace: &'static str,
    labels: Value,
    /// Part of the reason that the check names; none if the Operator takes the monitor.
    reason: Option<&'static str>,
}

#[tokio::test]
async fn check_names_the_selector_for_which_the_operator_ignores_a_monitor() {
    let kps = json!({"matchLabels": {"release": "kps"}});
    let team = json!({"matchLabels": {"team": "web"}});
    let labeled = json!({"release": "kps"});
    let both = json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}});
    let case = |spec: &Value, namespace, labels: &Value, reason| Case {
        spec: spec.clone(),
        namespace,
        labels: labels.clone(),
        reason,
    };
    let none = json!({});
    let named =
        json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]});
    let absent = json!({"matchExpressions": [{"key": "ignored", "operator": "DoesNotExist"}]});
    let cases = [
        case(
            &json!({"podMonitorSelector": kps}),
            NAMESPACE,
            &none,
            Some("labels do not match podMonitorSelector {\"matchLabels\":{\"release\":\"kps\"}}"),
        ),
        case(&both, "shop", &none, None),
        case(
            &json!({"podMonitorSelector": kps}),
            "shop",
            &labeled,
            Some("no podMonitorNamespaceSelector, which means its own namespace only"),
        ),
        case(&json!({"podMonitorSelector": kps}), NAMESPACE, &labeled, None),
        case(
            &json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": team}),
            "shop",
            &none,
            Some("namespace does not match podMonitorNamespaceSelector"),
        ),
        case(&json!({"podMonitorSelector": absent, "podMonitorNamespaceSelector": named}), "shop", &none, None),
        case(
            &json!({"serviceMonitorSelector": {}, "podMonitorNamespaceSelector": {}}),
            "shop",
            &none,
            Some("no podMonitorSelector, which selects nothing"),
        ),
        case(&both, NAMESPACE, &labeled, None),
        case(
            &json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}, "paused": true}),
            "shop",
            &none,
            Some("`paused: true`"),
        ),
        case(&both, "shop", &labeled, None),
        // Last, because the Operator leaves the configuration of before as it is.
        case(&none, NAMESPACE, &none, Some("without any selector the Operator does not write its configuration")),
    ];
    let scene = Scene::start(both.clone()).await;
    connect(&scene).await;
    for (number, Case { spec, namespace, labels, reason }) in cases.into_iter().enumerate() {
        let name = format!("proxies-{number}");
        let metadata = json!({"namespace": namespace, "name": name, "labels": labels});
        // Of no pod, so that the store stays empty.
        let monitor = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata, "spec": {
            "selector": {"matchLabels": {"no": "pod"}}, "podMetricsEndpoints": [{"port": "http-envoy-prom"}]}});
        scene.set_spec(&spec).await;
        write(&scene.cx, monitor).await;
        let job = format!("podMonitor/{namespace}/{name}/0");
        match reason {
            None => {
                eventually("the Operator takes the monitor", WITHIN, async || {
                    scene.sync().contains(&job).then_some(())
                })
                .await;
                let report = scene.check().await;
                let unselected = report.findings.iter().any(|one| one.cause == Cause::MonitorNotSelected);
                assert!(!unselected, "case {number}: {report:?}");
            }
            Some(reason) => {
                let (_, finding) = scene.finding(Cause::MonitorNotSelected).await;
                assert!(finding.message.contains(&name) && finding.message.contains(reason), "{number}: {finding:?}");
                assert!(
                    finding.evidence.iter().any(|line| line.starts_with("Prometheus monitoring/k8s")),
                    "{finding:?}"
                );
                assert!(!scene.sync().contains(&job), "case {number}: the Operator takes the monitor");
            }
        }
        scene.plane.kubectl(&["delete", "podmonitor", &name, "--namespace", namespace]);
    }
}

/// The Operator restricts a job to the namespace of its monitor; the check names the field and the pods outside of it.
#[tokio::test]
async fn check_names_the_field_for_which_a_monitor_covers_only_its_own_namespace() {
    let spec = |ignores: bool| json!({"podMonitorSelector": {}, "ignoreNamespaceSelectors": ignores});
    let scene = Scene::start(spec(true)).await;
    connect(&scene).await;
    let metadata = json!({"namespace": NAMESPACE, "name": "everywhere"});
    let monitor = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata, "spec": {
        "selector": {}, "namespaceSelector": {"any": true}, "podMetricsEndpoints": [{"port": "http-envoy-prom"}]}});
    write(&scene.cx, monitor).await;
    let is_restricted = async || {
        let text = scene.sync();
        let job = text.split("job_name: ").find(|part| part.starts_with("podMonitor/monitoring/everywhere/0"))?;
        let words: Vec<&str> = job.split_whitespace().collect();
        Some(words.join(" ").contains("namespaces: names: - monitoring"))
    };
    eventually("the job covers one namespace", WITHIN, async || is_restricted().await.filter(|is| *is)).await;
    let (_, finding) = scene.finding(Cause::NamespaceNotCovered).await;
    let reason = "Prometheus monitoring/k8s has `ignoreNamespaceSelectors: true`";
    assert!(finding.message.contains(reason) && finding.message.ends_with(": shop/web"), "{finding:?}");

    scene.set_spec(&spec(false)).await;
    eventually("the job covers all namespaces", WITHIN, async || is_restricted().await.filter(|is| !*is)).await;
    let report = scene.check().await;
    assert!(report.findings.iter().all(|one| one.cause != Cause::NamespaceNotCovered), "{report:?}");
}
