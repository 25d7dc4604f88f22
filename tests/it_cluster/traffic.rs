//! Traffic of services on a real API server with Istio's own CRDs: which objects are written, in which order, and what
//! is refused. Nodes are simulated, so no request is sent here; tests/real does that.

use crate::cluster_target;
use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_target::{context, object, read, unique, write};
use sailhand::cluster::Action;
use sailhand::error::Classify;
use sailhand::task::sample::{Choice, Deploy, DeployParams, Name};
use sailhand::task::traffic::{Apply, ApplyParams, Clear, ClearParams, TrafficReport};
use sailhand::task::{Outcome, Task, TaskContext};
use serde_json::{Value, json};
use support::{bookinfo, istio_crds};

const ISTIO: &str = "networking.istio.io/v1";

/// A namespace with Bookinfo, every pod ready.
async fn bookinfo(tag: &str) -> (TaskContext, String) {
    istio_crds::install();
    let space = unique(tag);
    let (cx, _) = context(&space, 1);
    let mut params = DeployParams::of(Name::Bookinfo);
    params.namespace = Some(serde_json::from_value(space.as_str().into()).unwrap());
    params.entry = Choice::None;
    params.wait = Duration::from_secs(90);
    Deploy.run(&cx, params).await.unwrap();
    (cx, space)
}

fn params(space: &str, value: &Value) -> ApplyParams {
    let mut whole = json!({ "namespace": space });
    for (key, value) in value.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

async fn apply(cx: &TaskContext, space: &str, value: Value) -> (bool, TrafficReport) {
    Apply.run(cx, params(space, &value)).await.unwrap().into_parts()
}

async fn refused(cx: &TaskContext, space: &str, value: Value) -> (&'static str, String) {
    let error = Apply.run(cx, params(space, &value)).await.unwrap_err().error;
    (error.code().as_str(), error.to_string())
}

async fn clear(cx: &TaskContext, space: &str, service: Option<&str>) -> (bool, TrafficReport) {
    let params: ClearParams = serde_json::from_value(json!({"namespace": space, "service": service})).unwrap();
    Clear.run(cx, params).await.unwrap().into_parts()
}

async fn spec(cx: &TaskContext, space: &str, kind: &str, name: &str) -> Value {
    let name = format!("sailhand-{name}");
    read(cx, &object(ISTIO, kind, Some(space), &name)).await.unwrap_or_default()["spec"].clone()
}

fn to(subset: &str) -> Value {
    json!([{"destinations": [{"subset": subset}]}])
}

/// What happened to both kinds since `version`, in the order that the API server did it.
fn history(space: &str, version: &str) -> Vec<String> {
    let mut events = BTreeMap::new();
    for kind in ["destinationrules", "virtualservices"] {
        let path =
            format!("/apis/{ISTIO}/namespaces/{space}/{kind}?watch=1&resourceVersion={version}&timeoutSeconds=1");
        let output = istio_crds::kubectl(&["get", "--raw", &path]);
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let live = &event["object"];
            let version: u64 = live["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            let subsets = live["spec"]["subsets"].as_array().cloned().unwrap_or_default();
            let mut names: Vec<_> = subsets.iter().filter_map(|one| one["name"].as_str()).collect();
            names.sort_unstable();
            let text =
                format!("{} {} {}", event["type"].as_str().unwrap(), live["kind"].as_str().unwrap(), names.join(","));
            events.insert(version, text.trim_end().to_owned());
        }
    }
    events.into_values().collect()
}

fn now(space: &str) -> String {
    let path = format!("/apis/{ISTIO}/namespaces/{space}/virtualservices?limit=1");
    let list: Value = serde_json::from_slice(&istio_crds::kubectl(&["get", "--raw", &path]).stdout).unwrap();
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn routes_never_name_a_subset_that_is_not_there() {
    let (cx, space) = bookinfo("traffic-order").await;
    let start = now(&space);
    let (changed, first) = apply(&cx, &space, json!({"scenario": "reviews-80-20"})).await;
    assert!(changed);
    assert_eq!(first.services[0].rules, ["every request: 80 % to reviews v1, 20 % to reviews v2"]);
    let ready: Vec<_> = first.services[0].subsets.iter().map(|one| (one.name.as_str(), one.ready_pods)).collect();
    assert_eq!(ready, [("v1", Some(1)), ("v2", Some(1))]);
    assert!(!apply(&cx, &space, json!({"scenario": "reviews-80-20"})).await.0, "the second run writes nothing");
    let (_, second) = apply(&cx, &space, json!({"scenario": "reviews-v3"})).await;
    assert_eq!(second.objects.len(), 2, "{:?}", second.objects);
    // Without rules the routes go, and the subsets that only they named after them.
    apply(&cx, &space, json!({"service": "reviews", "circuit_breaker": {"max_connections": 1}})).await;
    apply(&cx, &space, json!({"service": "reviews", "rules": to("v2")})).await;
    let (changed, cleared) = clear(&cx, &space, Some("reviews")).await;
    assert!(changed && cleared.objects.iter().all(|one| one.action == Action::Deleted), "{:?}", cleared.objects);
    assert_eq!(
        history(&space, &start),
        [
            "ADDED DestinationRule v1,v2",
            "ADDED VirtualService",
            "MODIFIED DestinationRule v1,v2,v3",
            "MODIFIED VirtualService",
            "MODIFIED DestinationRule v3",
            "MODIFIED DestinationRule v3",
            "DELETED VirtualService",
            "MODIFIED DestinationRule",
            "MODIFIED DestinationRule v2",
            "ADDED VirtualService",
            "DELETED VirtualService",
            "DELETED DestinationRule v2",
        ]
    );
    assert!(!clear(&cx, &space, Some("reviews")).await.0);
}

#[tokio::test]
async fn a_fault_alone_needs_no_destination_rule() {
    let (cx, space) = bookinfo("traffic-fault").await;
    let rules = json!([{"fault": {"delay": {"fixed": "2s"}}}]);
    let (_, report) = apply(&cx, &space, json!({"service": "ratings", "rules": rules})).await;
    assert_eq!(report.objects.len(), 1);
    assert_eq!(report.objects[0].object, object(ISTIO, "VirtualService", Some(&space), "sailhand-ratings"));
}

#[tokio::test]
async fn requests_are_not_sent_where_no_pod_is() {
    let (cx, space) = bookinfo("traffic-pods").await;
    let rules = json!([{"destinations": [{"subset": "v1", "weight": 50}, {"subset": "v9", "weight": 50}]}]);
    let (code, text) = refused(&cx, &space, json!({"service": "reviews", "rules": rules})).await;
    assert_eq!((code, text.as_str()), ("SH3301", "no ready pods: reviews v9 (version=v9)"));
    assert_eq!(spec(&cx, &space, "VirtualService", "reviews").await, Value::Null, "nothing was written");
    let (_, forced) = apply(&cx, &space, json!({"service": "reviews", "rules": rules, "force": true})).await;
    assert!(forced.warnings.contains(&text), "{:?}", forced.warnings);
    // A subset that no rule leads to harms nobody.
    let unused = json!({"service": "reviews", "subsets": {"v9": {"version": "v9"}}, "rules": to("v1")});
    let (_, report) = apply(&cx, &space, unused).await;
    assert!(report.warnings.iter().any(|text| text.contains("to which no rule leads")), "{:?}", report.warnings);
    assert!(report.warnings.iter().any(|text| text.contains("has a proxy")), "{:?}", report.warnings);
    let (code, _) = refused(&cx, &space, json!({"service": "nobody", "rules": to("v1")})).await;
    assert_eq!(code, "SH3303");
    let elsewhere = json!([{"destinations": [{"service": "nobody"}]}]);
    let (code, _) = refused(&cx, &space, json!({"service": "reviews", "rules": elsewhere})).await;
    assert_eq!(code, "SH3303");
}

#[tokio::test]
async fn routes_of_others_for_the_same_host_are_conflicts() {
    let (cx, space) = bookinfo("traffic-rival").await;
    let other_space = unique("traffic-rival-other");
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other_space}})).await;
    let routes = |namespace: &str, name: &str, host: &str, gateways: Value| {
        let http = json!([{"route": [{"destination": {"host": host}}]}]);
        json!({
            "apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": name, "namespace": namespace},
            "spec": {"hosts": [host], "gateways": gateways, "http": http},
        })
    };
    let asked = json!({"service": "reviews", "rules": to("v1")});
    // At a gateway only: not the mesh's business.
    write(&cx, routes(&space, "entry", "reviews", json!(["front"]))).await;
    assert!(apply(&cx, &space, asked.clone()).await.0);
    clear(&cx, &space, None).await;

    let full = format!("reviews.{space}.svc.cluster.local");
    write(&cx, routes(&other_space, "far", &full, json!(["mesh"]))).await;
    let (code, text) = refused(&cx, &space, asked.clone()).await;
    assert_eq!(code, "SH3302");
    assert!(text.contains(&format!("VirtualService {other_space}/far")), "{text}");

    let mut forced = asked.clone();
    forced["force"] = true.into();
    let (changed, report) = apply(&cx, &space, forced).await;
    assert!(changed);
    assert!(report.warnings.iter().any(|text| text.contains("/far")), "{:?}", report.warnings);
}

#[tokio::test]
async fn dry_run_reports_changes_and_writes_nothing() {
    let (cx, space) = bookinfo("traffic-dry").await;
    let start = now(&space);
    let mut asked = params(&space, &json!({"scenario": "all-v1"}));
    asked.dry_run = true;
    let Outcome::Unchanged(report) = Apply.run(&cx, asked).await.unwrap() else { panic!("it says it wrote") };
    assert_eq!((report.dry_run, report.services.len(), report.objects.len()), (true, 4, 8));
    assert_eq!(history(&space, &start), [""; 0]);
}

#[tokio::test]
async fn all_that_was_written_in_a_namespace_is_found_and_cleared() {
    let (cx, space) = bookinfo("traffic-clear").await;
    apply(&cx, &space, json!({"scenario": "all-v1"})).await;
    let (changed, report) = clear(&cx, &space, None).await;
    assert!(changed);
    let services: Vec<_> = report.services.iter().map(|one| one.service.as_str()).collect();
    assert_eq!(services, ["details", "productpage", "ratings", "reviews"]);
    assert_eq!(report.objects.len(), 8);
    let (changed, report) = clear(&cx, &space, None).await;
    assert!(!changed && report.services.is_empty());
}

#[tokio::test]
async fn the_scenarios_are_istios() {
    istio_crds::install();
    let Some(shared) = istio_crds::shared() else { return };
    let folder = shared.join("samples/bookinfo/networking");
    futures::future::join_all(bookinfo::SCENARIOS.map(|scenario| is_istios(scenario, &folder))).await;
}

/// The scenario against Istio's file of the same name.
async fn is_istios(scenario: &str, folder: &std::path::Path) {
    let space = unique("traffic-scenario");
    let (cx, _) = context(&space, 1);
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    for name in ["productpage", "reviews", "ratings", "details"] {
        write(
            &cx,
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": space},
                "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9080}]},
            }),
        )
        .await;
    }
    apply(&cx, &space, json!({"scenario": scenario, "force": true})).await;
    let named = folder.join(format!("{scenario}.yaml"));
    let file = if named.exists() { named } else { folder.join(format!("virtual-service-{scenario}.yaml")) };
    let objects = sailhand::cluster::manifest::read(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert!(!objects.is_empty());
    for theirs in objects {
        let theirs = serde_json::to_value(theirs).unwrap();
        let (kind, name) = (theirs["kind"].as_str().unwrap(), theirs["metadata"]["name"].as_str().unwrap());
        let mut wanted = whole_numbers(theirs["spec"].clone());
        if scenario == "fault-injection-details-v1" && kind == "VirtualService" {
            // Theirs has a second rule behind one that takes every request.
            wanted["http"].as_array_mut().unwrap().truncate(1);
        }
        assert_eq!(spec(&cx, &space, kind, name).await, wanted, "{scenario}: {kind} {name}");
    }
}

/// A percentage of 100.0 is stored as 100.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().unwrap();
            if float.fract() == 0.0 { serde_json::from_str(&format!("{float:.0}")).unwrap() } else { number.into() }
        }
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        other => other,
    }
}
