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
async fn prometheus_finds_the_pods_that_ask_for_it() {
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
async fn grafana_asks_the_prometheus_that_is_named() {
    let space = unique("addon-named");
    let (cx, _) = context(&space, 1);
    let named = "https://metrics.example:8443/prometheus";
    let files = files(&cx, &space, json!({"addon": "grafana", "prometheus_url": named})).await;
    let sources: Value = serde_json::from_str(&files["datasources.yaml"]).unwrap();
    let source = &sources["datasources"][0];
    assert_eq!((&source["type"], &source["url"]), (&json!("prometheus"), &json!(named)));
}

/// Prometheus' own engine answers the panels' questions from what proxies and istiod would tell.
#[tokio::test]
async fn grafanas_panels_show_what_happens() {
    let space = unique("addon-panels");
    let (cx, _) = context(&space, 1);
    let files = files(&cx, &space, json!({"addon": "grafana"})).await;
    let dashboard: Value = serde_json::from_str(&files["mesh.json"]).unwrap();
    let told =
        |name: &str, labels: &str, values: &str| json!({"series": format!("{name}{{{labels}}}"), "values": values});
    let to = |service: &str, reporter: &str, more: &str| {
        format!(r#"destination_service="{service}",reporter="{reporter}",{more}"#)
    };
    // 15 in 15 s are 1 in a second; what the other end counts is not counted again.
    let steady = "0+15x20";
    let (requests, took) = ("istio_requests_total", "istio_request_duration_milliseconds_bucket");
    let series = json!([
        told(requests, &to("reviews", "source", r#"response_code="200""#), steady),
        told(requests, &to("reviews", "source", r#"response_code="503""#), steady),
        told(requests, &to("reviews", "destination", r#"response_code="200""#), steady),
        told(requests, &to("details", "waypoint", r#"response_code="200""#), steady),
        told(took, &to("reviews", "source", r#"le="100""#), steady),
        told(took, &to("reviews", "source", r#"le="+Inf""#), steady),
        told("istio_build", r#"component="pilot",tag="1.30.3""#, "1x20"),
        told("pilot_xds", r#"instance="one""#, "3x20"),
        told("pilot_xds", r#"instance="two""#, "4x20"),
        told("pilot_total_xds_rejects", r#"type="cds""#, "2x20"),
    ]);
    let reviews = r#"{destination_service="reviews"}"#;
    let details = r#"{destination_service="details"}"#;
    let shown = [
        ("Requests a second", vec![(reviews, 2.0), (details, 1.0)]),
        ("Share of errors", vec![(reviews, 0.5), (details, 0.0)]),
        ("Latency, 99 of 100 requests", vec![(reviews, 99.0)]),
        ("Versions in use", vec![(r#"{component="pilot",tag="1.30.3"}"#, 1.0)]),
        ("Proxies connected to istiod", vec![("{}", 7.0)]),
        ("Configuration that proxies refused", vec![(r#"{type="cds"}"#, 2.0)]),
    ];
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), shown.len());
    let questions = panels.iter().zip(shown).map(|(panel, (title, samples))| {
        assert_eq!(panel["title"], title);
        let samples: Vec<_> = samples.iter().map(|(labels, value)| json!({"labels": labels, "value": value})).collect();
        json!({"expr": panel["targets"][0]["expr"], "eval_time": "5m", "exp_samples": samples})
    });
    let test = json!({
        "evaluation_interval": "15s", "fuzzy_compare": true,
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": questions.collect::<Vec<_>>()}],
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panels.yaml");
    std::fs::write(&path, test.to_string()).unwrap();
    promtool(&["test", "rules", path.to_str().unwrap()]);
}
