//! The health gate of `traffic.apply`: a real Prometheus scrapes scripted proxies, a real API server has the weights.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sailhand::error::{Class, Classify as _, Code};
use sailhand::observe::gate::Verdict;
use sailhand::task::traffic::{Apply, TrafficReport};
use sailhand::task::{Failure, Outcome, Task as _, TaskContext};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster_target::{guard, object, read, unique, write};
use crate::connections::{one, scraping, with_connections};
use crate::support::eventually::eventually;
use crate::support::istio_crds;
use crate::support::prometheus::{Prometheus, serve};

const WITHIN: Duration = Duration::from_mins(1);

/// Two versions of reviews, each with 100 requests a second as their own proxies report; `failing` of each 100 requests to
/// v2 fail. Counters follow the time, so that rates are exact.
fn proxies(start: Instant, failing: u64) -> String {
    let count = u64::try_from(start.elapsed().as_millis()).unwrap() / 10;
    let mut text = String::new();
    for (version, failed) in [("v1", 0), ("v2", count * failing / 100)] {
        let labels = format!(
            "reporter=\"destination\",destination_service_namespace=\"SPACE\",destination_service_name=\"reviews\",\
             destination_workload=\"reviews-{version}\",destination_version=\"{version}\",response_flags=\"-\""
        );
        writeln!(text, "istio_requests_total{{{labels},response_code=\"200\"}} {}", count - failed).unwrap();
        writeln!(text, "istio_requests_total{{{labels},response_code=\"503\"}} {failed}").unwrap();
        for (bound, share) in [("10", 90), ("100", 100), ("+Inf", 100)] {
            let value = count * share / 100;
            writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{bound}\"}} {value}").unwrap();
        }
    }
    text
}

struct Scene {
    cx: TaskContext,
    space: String,
    failing: Arc<AtomicU64>,
    _prometheus: Option<Prometheus>,
    _folder: tempfile::TempDir,
}

/// reviews with ready pods of both versions, and a store that scrapes them.
async fn scene(test: &str, failing: u64) -> Scene {
    let space = unique(test);
    let failing = Arc::new(AtomicU64::new(failing));
    let (start, share, own) = (Instant::now(), failing.clone(), space.clone());
    let address = serve(move |request| {
        let body = proxies(start, share.load(Ordering::Relaxed)).replace("SPACE", &own);
        request.starts_with("/metrics").then_some((200, body))
    });
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping(&address, folder.path());
    let cx = furnished(&space, &prometheus.1).await;
    eventually("the store has two samples", WITHIN, async || {
        prometheus.series("count_over_time(istio_requests_total%5B10s%5D)%3E2")
    })
    .await;
    Scene { cx, space, failing, _prometheus: Some(prometheus), _folder: folder }
}

/// A target with reviews, and ready pods of both versions.
async fn furnished(space: &str, store: &str) -> TaskContext {
    istio_crds::install();
    let cx = with_connections(space, one("mesh", store));
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let spec = json!({"selector": {"app": "reviews"}, "ports": [{"name": "http", "port": 80}]});
    let metadata = json!({"name": "reviews", "namespace": space});
    write(&cx, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await;
    for version in ["v1", "v2"] {
        let name = format!("reviews-{version}");
        let metadata = json!({"name": name, "namespace": space, "labels": {"app": "reviews", "version": version}});
        let spec = json!({"schedulerName": "none", "containers": [{"name": "istio-proxy", "image": "proxyv2"}]});
        write(&cx, json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await;
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let patch = ready.to_string();
        istio_crds::kubectl(&[
            "patch",
            "pod",
            &name,
            "-n",
            space,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }
    cx
}

/// A healthy canary by a store that has no sample from before the window, as after its first start.
fn young_store(space: &str) -> String {
    let space = space.to_owned();
    serve(move |request| {
        let query = request.lines().next().unwrap_or_default();
        let series = |le: &[&str]| {
            let one = |le: &&str| {
                json!({"value": [1000.0, "100"], "metric": {"reporter": "destination", "response_code": "200", "le": le,
                    "destination_service_namespace": space, "destination_service_name": "reviews",
                    "destination_version": "v2", "destination_workload": "reviews-v2"}})
            };
            json!(le.iter().map(one).collect::<Vec<_>>())
        };
        let result = if query.contains("offset") {
            json!([])
        } else if query.contains("bucket") {
            series(&["10", "+Inf"])
        } else {
            series(&[""])
        };
        let data = json!({"resultType": "vector", "result": result});
        Some((200, json!({"status": "success", "data": data}).to_string()))
    })
}

#[tokio::test]
async fn canary_is_not_healthy_by_a_store_that_is_younger_than_the_window() {
    let space = unique("gate-young");
    let cx = furnished(&space, &young_store(&space)).await;
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { cx, space, failing: Arc::default(), _prometheus: None, _folder: folder };
    let failure = scene.apply(&scene.cx).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.error.class()), (Code::SH3517, Class::Terminal), "{}", failure.error);
    assert!(failure.error.to_string().contains("no sample of reviews is older than the window of 5 s"));
    let gate = failure.report.unwrap().into_parts().1.gate.unwrap();
    let seen: Vec<_> = gate.observations.iter().map(|one| (one.weight_percent, one.verdict)).collect();
    assert_eq!(seen, [(50, Verdict::NoData); 3], "{gate:?}");
    assert!((gate.observations[0].requests - 500.0).abs() < 1.0, "what the store has is reported: {gate:?}");
    assert_eq!(scene.weight().await, Some((0, false)));
}

impl Scene {
    async fn apply(&self, cx: &TaskContext) -> Result<(bool, TrafficReport), Failure<TrafficReport>> {
        let to = |subset: &str, weight: u8| json!({"subset": subset, "weight": weight});
        let gate = json!({"connection": "mesh", "canary": "v2", "step_percent": 50, "window": "5s",
            "max_latency_p99_ms": 150.0, "patience": 3});
        let params = json!({"namespace": self.space, "service": "reviews", "gate": gate,
            "rules": [{"destinations": [to("v1", 0), to("v2", 100)]}]});
        Apply.run(cx, serde_json::from_value(params).unwrap()).await.map(Outcome::into_parts)
    }

    async fn routes(&self) -> Option<Value> {
        let name = object("networking.istio.io/v1", "VirtualService", Some(&self.space), "sailhand-reviews");
        read(&self.cx, &name).await
    }

    /// Weight of the canary, and whether a change is under way.
    async fn weight(&self) -> Option<(u64, bool)> {
        let routes = self.routes().await?;
        let route = routes["spec"]["http"][0]["route"].as_array()?.clone();
        let canary = route.iter().find(|one| one["destination"]["subset"] == "v2")?;
        let marked = routes["metadata"]["annotations"]["sailhand.meshery.io/traffic-gate"].is_string();
        Some((canary["weight"].as_u64()?, marked))
    }
}

#[tokio::test]
async fn healthy_canary_gets_all_traffic_and_a_second_run_writes_nothing() {
    let scene = scene("gate-good", 0).await;
    let (changed, report) = scene.apply(&scene.cx).await.unwrap();
    let gate = report.gate.unwrap();
    let seen: Vec<_> = gate.observations.iter().map(|one| (one.weight_percent, one.verdict)).collect();
    assert!(changed, "{gate:?}");
    assert_eq!(seen, [(50, Verdict::Good), (100, Verdict::Good)], "{gate:?}");
    assert_eq!((gate.baseline_percent, gate.weight_percent, gate.resumed), (0, 100, false));
    assert!((gate.observations[1].requests - 500.0).abs() < 50.0, "100 a second for 5 s: {gate:?}");
    assert_eq!(scene.weight().await, Some((100, false)));
    let again = TaskContext { key: sailhand::event::CommandKey::new("/tests", "again"), ..scene.cx.clone() };
    let (changed, report) = scene.apply(&again).await.unwrap();
    assert!(!changed && report.gate.unwrap().observations.is_empty());
}

#[tokio::test]
async fn canary_with_errors_is_stopped_and_traffic_is_restored() {
    let scene = scene("gate-bad", 20).await;
    let failure = scene.apply(&scene.cx).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.error.class()), (Code::SH3517, Class::Terminal), "{}", failure.error);
    let (changed, report) = failure.report.unwrap().into_parts();
    let gate = report.gate.unwrap();
    assert!(changed && gate.observations.iter().all(|one| one.weight_percent == 50), "{gate:?}");
    assert_eq!(gate.observations.iter().map(|one| one.verdict).collect::<Vec<_>>(), [Verdict::Bad; 2]);
    assert_eq!((gate.weight_percent, scene.weight().await), (0, Some((0, false))));
    assert!(
        report.warnings.iter().any(|warning| warning.contains("has 0 % of the requests again")),
        "{report:?}",
        report = report.warnings
    );
}

#[tokio::test]
async fn next_attempt_continues_after_a_crash() {
    let scene = scene("gate-death", 0).await;
    let reached = eventually_weight(&scene, 100);
    tokio::select! {
        done = scene.apply(&scene.cx) => panic!("it was to die before: {:?}", done.is_ok()),
        () = reached => {}
    }
    assert_eq!(scene.weight().await, Some((100, true)), "the mark of the change stays");
    // The canary begins to fail; the new attempt knows the weight from before the change.
    scene.failing.store(30, Ordering::Relaxed);
    let next = TaskContext { guard: guard(2), attempt: 2, ..scene.cx.clone() };
    let failure = scene.apply(&next).await.unwrap_err();
    assert_eq!(failure.error.code(), Code::SH3517, "{}", failure.error);
    let gate = failure.report.unwrap().into_parts().1.gate.unwrap();
    assert!(gate.resumed && gate.baseline_percent == 0, "{gate:?}");
    assert!(gate.observations.iter().all(|one| one.weight_percent == 100), "it does not begin anew: {gate:?}");
    assert_eq!(scene.weight().await, Some((0, false)));
}

async fn eventually_weight(scene: &Scene, weight: u64) {
    eventually("the weight is reached", WITHIN, async || {
        scene.weight().await.filter(|(now, _)| *now == weight).map(drop)
    })
    .await;
}

#[tokio::test]
async fn cancelled_change_is_rolled_back() {
    let scene = scene("gate-cancel", 0).await;
    let cancel = async {
        eventually_weight(&scene, 50).await;
        scene.cx.guard.cancel();
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        done = scene.apply(&scene.cx) => done.unwrap_err(),
        () = cancel => unreachable!(),
    };
    assert_eq!(failure.error.code(), Code::SH1012);
    assert_eq!(failure.report.unwrap().into_parts().1.gate.unwrap().weight_percent, 0);
    assert_eq!(scene.weight().await, Some((0, false)));
}

#[tokio::test]
async fn gates_that_do_not_fit_the_rules_are_refused_before_anything_is_written() {
    let space = unique("gate-params");
    let cx = with_connections(&space, BTreeMap::new());
    let gate = json!({"connection": "nosuch", "canary": "v2"});
    let rules = json!([{"destinations": [{"subset": "v1", "weight": 0}, {"subset": "v2", "weight": 100}]}]);
    let run = async |params: Value| {
        let failure = Apply.run(&cx, serde_json::from_value(params).unwrap()).await.unwrap_err();
        (failure.error.code(), failure.error.to_string())
    };
    let params = json!({"namespace": space, "service": "reviews", "gate": gate, "rules": rules});
    assert_eq!(run(params.clone()).await.0, Code::SH3501);
    let cx = with_connections(&space, one("mesh", "127.0.0.1:1"));
    let run = async |gate: Value, rules: Value| {
        let params = json!({"namespace": space, "service": "reviews", "gate": gate, "rules": rules});
        let failure = Apply.run(&cx, serde_json::from_value(params).unwrap()).await.unwrap_err();
        (failure.error.code(), failure.error.to_string())
    };
    let gate = |more: Value| {
        let mut gate = json!({"connection": "mesh", "canary": "v2"});
        gate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        gate
    };
    let three = json!([{"destinations": [{"subset": "v1", "weight": 0}, {"subset": "v2", "weight": 50}, {"subset": "v3", "weight": 50}]}]);
    let matched = json!([{"match": [{"path": {"prefix": "/a"}}], "destinations": [{"subset": "v1", "weight": 0}, {"subset": "v2", "weight": 100}]}]);
    for (gate, rules, part) in [
        (gate(json!({"canary": "v3"})), rules.clone(), "subset v3"),
        (gate(json!({"window": "1s"})), rules.clone(), "shorter than 5s"),
        (gate(json!({"window": "30m"})), rules.clone(), "more than 100m"),
        (gate(json!({})), three, "two destinations"),
        (gate(json!({})), matched, "exactly one rule"),
    ] {
        let (code, text) = run(gate, rules).await;
        assert_eq!(code, Code::SH1005, "{text}");
        assert!(text.contains(part), "{text}");
    }
}
