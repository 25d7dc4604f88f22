//! What `addon.apply` writes for Prometheus and Grafana, read by a real Prometheus (`tests/tools/build.sh istio`): its
//! configuration, which pods it finds by it and where, and what the panels ask. On a real node with real proxies it is
//! in `tests/real`.

use crate::cluster_target;
use crate::support;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use cluster_target::{context, object, read, unique};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use sailhand::task::addon::{Apply, ApplyParams};
use sailhand::task::{Task, TaskContext};
use serde_json::{Value, json};
use support::control_plane;
use support::eventually::eventually;
use support::prometheus::Prometheus;
use support::tools;

const WITHIN: Duration = Duration::from_mins(1);

/// The files of an addon, as its pod gets them.
async fn files(cx: &TaskContext, space: &str, more: Value) -> BTreeMap<String, String> {
    let mut asked = json!({"namespace": space, "create_namespace": true, "wait": "0s"});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Apply.run(cx, serde_json::from_value::<ApplyParams>(asked).unwrap()).await.unwrap();
    let map = read(cx, &object("v1", "ConfigMap", Some(space), more["addon"].as_str().unwrap())).await.unwrap();
    serde_json::from_value(map["data"].clone()).unwrap()
}

fn promtool(arguments: &[&str]) {
    let done = Command::new(tools::program("promtool", "PROMTOOL_BIN")).args(arguments).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// No node takes it, so that it stays in the phase and has the address that it is given.
async fn pod(cx: &TaskContext, space: &str, name: &str, ip: &str, ports: &[u16], annotations: Value) {
    let pods: Api<Pod> = Api::namespaced(cx.cluster().await.unwrap().client().await, space);
    let ports: Vec<_> = ports.iter().map(|port| json!({"containerPort": port})).collect();
    let pod = json!({
        "metadata": {"name": name, "annotations": annotations, "labels": {"app": name}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "app", "image": "example.invalid/app:1", "ports": ports}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let phase = if name == "over" { "Succeeded" } else { "Running" };
    let status = json!({"status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test]
async fn prometheus_scrapes_annotated_pods() {
    let space = unique("addon-metrics");
    let (cx, _) = context(&space, 1);
    let files = files(&cx, &space, json!({"addon": "prometheus"})).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prometheus.yml");
    std::fs::write(&path, &files["prometheus.yml"]).unwrap();
    promtool(&["check", "config", "--lint-fatal", path.to_str().unwrap()]);

    let scrape = |more: Value| {
        let mut all = json!({"prometheus.io/scrape": "true"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let sidecar = || scrape(json!({"prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}));
    pod(&cx, &space, "proxied", "192.0.2.1", &[8080, 9080], sidecar()).await;
    pod(&cx, &space, "six", "2001:db8::1", &[8080], sidecar()).await;
    pod(&cx, &space, "six-without-ports", "2001:db8::2", &[], sidecar()).await;
    pod(
        &cx,
        &space,
        "scheme",
        "192.0.2.2",
        &[],
        scrape(json!({"prometheus.io/port": "8443", "prometheus.io/scheme": "https"})),
    )
    .await;
    pod(&cx, &space, "its-own-port", "192.0.2.3", &[9100], scrape(json!({}))).await;
    pod(&cx, &space, "over", "192.0.2.4", &[8080], sidecar()).await;
    pod(&cx, &space, "not-asking", "192.0.2.5", &[8080], json!({})).await;

    // In the cluster it finds the API server by itself.
    let mut configuration: Value = serde_json::from_str(&files["prometheus.yml"]).unwrap();
    configuration["scrape_configs"][0]["kubernetes_sd_configs"][0]["kubeconfig_file"] =
        json!(control_plane::kubeconfig().to_str().unwrap());
    std::fs::write(&path, configuration.to_string()).unwrap();
    let prometheus = Prometheus::start(&path, folder.path(), &[]);
    let wanted = [
        ("its-own-port", "http://192.0.2.3:9100/metrics"),
        ("proxied", "http://192.0.2.1:15020/stats/prometheus"),
        ("scheme", "https://192.0.2.2:8443/metrics"),
        ("six", "http://[2001:db8::1]:15020/stats/prometheus"),
        ("six-without-ports", "http://[2001:db8::2]:15020/stats/prometheus"),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(pod, url)| format!("{pod} {url}")).collect();
    let found = || {
        let data = prometheus.ask("targets?state=active")?;
        let targets = data["activeTargets"].as_array()?.iter().filter(|one| one["labels"]["namespace"] == space);
        // Prometheus itself is a pod of this namespace, whose address is the simulation's.
        let targets = targets.filter(|one| one["labels"]["app"].is_string());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut found: Vec<_> =
            targets.map(|one| format!("{} {}", text(&one["labels"]["pod"]), text(&one["scrapeUrl"]))).collect();
        found.sort();
        (found.len() >= wanted.len()).then_some(found)
    };
    assert_eq!(eventually("Prometheus finds the pods", WITHIN, async || found()).await, wanted);
    let spaces: Api<Namespace> = Api::all(cx.cluster().await.unwrap().client().await);
    spaces.delete(&space, &kube::api::DeleteParams::default()).await.unwrap();
}

/// A version `v3.10.0` is the module `v0.310.0`.
#[tokio::test]
async fn the_prometheus_of_the_tests_is_the_one_that_is_installed() {
    let space = unique("addon-version");
    let (cx, _) = context(&space, 1);
    let asked = json!({"addon": "prometheus", "namespace": space, "create_namespace": true, "dry_run": true});
    let (_, report) = Apply.run(&cx, serde_json::from_value(asked).unwrap()).await.unwrap().into_parts();
    let numbers: Vec<u32> = report.version.trim_start_matches('v').split('.').map(|one| one.parse().unwrap()).collect();
    let [major, minor, patch] = numbers.as_slice() else { panic!("{}", report.version) };
    let module = format!("github.com/prometheus/prometheus v0.{major}{minor:02}.{patch} ");
    assert!(
        include_str!("../tools/prometheus/go.mod").contains(&module),
        "tests/tools/prometheus/go.mod has not {module}"
    );
    let build = format!("prometheus_version={major}.{minor}.{patch} ");
    assert!(include_str!("../tools/build.sh").contains(&build), "tests/tools/build.sh has not {build}");
}

#[tokio::test]
async fn grafana_uses_the_named_prometheus() {
    let space = unique("addon-named");
    let (cx, _) = context(&space, 1);
    let named = "https://metrics.example:8443/prometheus";
    let files = files(&cx, &space, json!({"addon": "grafana", "prometheus_url": named})).await;
    let sources: Value = serde_json::from_str(&files["datasources.yaml"]).unwrap();
    let source = &sources["datasources"][0];
    assert_eq!((&source["type"], &source["url"]), (&json!("prometheus"), &json!(named)));
}

/// Prometheus' own engine answers the panels' queries from what proxies and istiod report, and accepts all of them.
#[tokio::test]
async fn grafana_panels_show_data() {
    let space = unique("addon-panels");
    let (cx, _) = context(&space, 1);
    let files = files(&cx, &space, json!({"addon": "grafana"})).await;
    let sample =
        |name: &str, labels: &str, values: &str| json!({"series": format!("{name}{{{labels}}}"), "values": values});
    let to = |service: &str, reporter: &str, more: &str| {
        format!(
            r#"destination_service_namespace="shop",destination_service_name="{service}",destination_workload="{service}-v1",reporter="{reporter}",{more}"#
        )
    };
    // 15 in 15 s are 1 in a second.
    let steady = "0+15x60";
    let (requests, took) = ("istio_requests_total", "istio_request_duration_milliseconds_bucket");
    let unreached = r#"destination_service_namespace="unknown",destination_service_name="reviews",destination_service="reviews.shop.svc.cluster.local",destination_workload="unknown",reporter="source",response_code="503",response_flags="UH""#;
    let mut series = vec![
        // Both sidecars report a request; a request without a healthy upstream only the client's.
        sample(requests, &to("reviews", "source", r#"response_code="200""#), steady),
        sample(requests, &to("reviews", "destination", r#"response_code="200""#), steady),
        sample(requests, unreached, steady),
        // A gateway and a waypoint report a request.
        sample(requests, &to("details", "source", r#"response_code="200""#), steady),
        sample(requests, &to("details", "waypoint", r#"response_code="200""#), steady),
        // The client ended the request; a gRPC error.
        sample(requests, &to("ratings", "destination", r#"response_code="0",response_flags="DC""#), steady),
        sample(requests, &to("ratings", "destination", r#"response_code="200",grpc_response_status="14""#), steady),
        sample("istio_tcp_sent_bytes_total", &to("db", "source", r#"a="b""#), steady),
        sample("istio_tcp_sent_bytes_total", &to("db", "destination", r#"a="b""#), steady),
        sample("istio_build", r#"component="pilot",tag="1.30.3""#, "1x60"),
        sample("pilot_xds", r#"instance="one""#, "3x60"),
        sample("pilot_xds", r#"instance="two""#, "4x60"),
        sample("pilot_total_xds_rejects", r#"type="cds""#, steady),
    ];
    for (reporter, bound, rate) in [
        ("source", "10", steady),
        ("source", "+Inf", steady),
        ("destination", "100", steady),
        ("destination", "+Inf", steady),
    ] {
        series.push(sample(took, &to("reviews", reporter, &format!("le=\"{bound}\"")), rate));
    }
    let of =
        |service: &str| format!(r#"{{destination_service_namespace="shop",destination_service_name="{service}"}}"#);
    let shown = [
        ("mesh.json", "Requests", vec![(of("reviews"), 2.0), (of("details"), 1.0), (of("ratings"), 2.0)]),
        ("mesh.json", "Error rate", vec![(of("reviews"), 0.5), (of("details"), 0.0), (of("ratings"), 0.5)]),
        ("mesh.json", "Latency, 99th percentile", vec![(of("reviews"), 99.0)]),
        ("mesh.json", "Requests that reached no workload", vec![(of("reviews"), 1.0)]),
        ("mesh.json", "TCP bytes from servers", vec![(of("db"), 1.0)]),
        ("mesh.json", "Versions in use", vec![(r#"{component="pilot",tag="1.30.3"}"#.to_owned(), 1.0)]),
        ("mesh.json", "Proxies connected to istiod", vec![("{}".to_owned(), 7.0)]),
        ("service.json", "Error rate", vec![(of("reviews"), 0.5)]),
        ("control-plane.json", "Rejected configuration", vec![(r#"{type="cds"}"#.to_owned(), 1.0)]),
        ("ambient.json", "Requests through waypoints", vec![(of("details"), 1.0)]),
        ("ambient.json", "TCP bytes", vec![(of("db"), 1.0)]),
    ];
    let filled = |query: &str| {
        query
            .replace("$__rate_interval", "2m")
            .replace("$namespace", "shop")
            .replace("$service", "reviews")
            .replace("$workload", "reviews-v1")
    };
    let mut rules = Vec::new();
    let mut expressions = BTreeMap::new();
    for file in ["mesh.json", "service.json", "workload.json", "control-plane.json", "ambient.json"] {
        let dashboard: Value = serde_json::from_str(&files[file]).unwrap();
        for (title, query) in sailhand::observe::dashboard::queries_of(&dashboard) {
            let query = filled(&query);
            rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": query}));
            expressions.entry((file, title)).or_insert(query);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    std::fs::write(&path, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
    let questions = shown.iter().map(|(file, title, samples)| {
        let samples: Vec<_> = samples.iter().map(|(labels, value)| json!({"labels": labels, "value": value})).collect();
        let query = &expressions[&(*file, (*title).to_owned())];
        json!({"expr": query, "eval_time": "10m", "exp_samples": samples})
    });
    let test = json!({
        "evaluation_interval": "15s", "fuzzy_compare": true,
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": questions.collect::<Vec<_>>()}],
    });
    let path = folder.path().join("panels.yaml");
    std::fs::write(&path, test.to_string()).unwrap();
    promtool(&["test", "rules", path.to_str().unwrap()]);
}
