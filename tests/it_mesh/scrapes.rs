//! `scrape.*` against a real API server with the CRDs of the Prometheus Operator, and its scrape jobs in a real Prometheus
//! that finds scripted proxies by the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use sailhand::cluster::Action;
use sailhand::error::{Class, Classify as _, Code};
use sailhand::task::TaskContext;
use sailhand::task::connection;
use sailhand::task::scrape::{Apply, Remove, ScrapeReport};
use serde_json::{Value, json};

use crate::cluster_target::{object, read, unique, write};
use crate::connections::{one, run, with_connections};
use crate::support::eventually::eventually;
use crate::support::prometheus::{Prometheus, serve};
use crate::support::{control_plane, istio_crds, operator_crds};

async fn create(cx: &TaskContext, kind: &str, space: &str, name: &str, labels: Value, spec: Value) -> Value {
    let api = if kind == "Prometheus" { "monitoring.coreos.com/v1" } else { "v1" };
    let metadata = json!({"name": name, "namespace": space, "labels": labels});
    write(cx, json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})).await
}

/// A Prometheus of the Operator with these selectors, its pod and Service, and a connection `mesh` to it.
async fn operated(test: &str, selectors: Value) -> (TaskContext, String) {
    operator_crds::install();
    let space = unique(test);
    let cx = with_connections(&space, BTreeMap::new());
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    create(&cx, "Prometheus", &space, "k8s", json!({}), selectors).await;
    let labels = json!({"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": "k8s"});
    let pod = json!({"schedulerName": "none", "containers": [{"name": "prometheus", "image": "prom/prometheus"}]});
    create(&cx, "Pod", &space, "prometheus-k8s-0", labels, pod).await;
    let service = json!({"selector": {"app.kubernetes.io/name": "prometheus"}, "ports": [{"port": 9090}]});
    create(&cx, "Service", &space, "prometheus-operated", json!({}), service).await;
    let service = json!({"namespace": space, "name": "prometheus-operated", "port": 9090});
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service, "check": false});
    run(connection::Apply, &cx, params).await.unwrap();
    (cx, space)
}

#[tokio::test]
async fn monitors_have_the_labels_that_the_prometheus_object_selects_and_are_removed_exactly() {
    let selector = json!({"matchLabels": {"release": "kps"}});
    let (cx, space) =
        operated("monitors", json!({"podMonitorSelector": selector, "serviceMonitorSelector": selector})).await;
    let params = json!({"connection": "mesh", "labels": {"team": "web"}});
    let (changed, report): (bool, ScrapeReport) = run(Apply, &cx, params.clone()).await.unwrap();
    assert!(changed && report.jobs.is_none(), "{report:?}");
    assert_eq!(report.prometheus, Some(format!("{space}/k8s")));
    assert!(report.warnings.iter().any(|warning| warning.contains("not known")), "the store does not run: {report:?}");
    assert!(report.objects.iter().all(|line| line.action == Action::Created) && report.objects.len() == 3);
    for (kind, name) in [
        ("PodMonitor", "sailhand-istio-proxies"),
        ("PodMonitor", "sailhand-istio-ztunnel"),
        ("ServiceMonitor", "sailhand-istio-control-plane"),
    ] {
        let live = read(&cx, &object("monitoring.coreos.com/v1", kind, Some(&space), name)).await.unwrap();
        let labels = &live["metadata"]["labels"];
        assert_eq!((&labels["release"], &labels["team"]), (&json!("kps"), &json!("web")), "{live:#}");
    }
    assert!(!run(Apply, &cx, params).await.unwrap().0, "a second run writes nothing");
    let (_, fewer) = run(Apply, &cx, json!({"connection": "mesh", "monitors": ["proxies"]})).await.unwrap();
    let deleted = fewer.objects.iter().filter(|line| line.action == Action::Pruned).count();
    assert_eq!(deleted, 2, "{fewer:?}");
    assert!(run(Remove, &cx, json!({"connection": "mesh"})).await.unwrap().0);
    assert!(!run(Remove, &cx, json!({"connection": "mesh"})).await.unwrap().0);
}

#[tokio::test]
async fn selectors_that_match_no_monitor_are_refused_with_the_selector() {
    let (cx, space) = operated(
        "unselected",
        json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchLabels": {"no": "ns"}}}),
    )
    .await;
    for (params, part) in [
        (json!({"connection": "mesh", "monitors": ["proxies"]}), "podMonitorNamespaceSelector"),
        (json!({"connection": "mesh", "monitors": ["control-plane"]}), "no serviceMonitorSelector"),
        (json!({"connection": "mesh", "prometheus": {"namespace": space, "name": "gone"}}), "no Prometheus object"),
    ] {
        let error = run(Apply, &cx, params).await.unwrap_err();
        assert_eq!((error.code(), error.class()), (Code::SH3514, Class::Terminal), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn pods_that_another_job_scrapes_are_not_scraped_twice() {
    let targets = json!({"status": "success", "data": {"activeTargets": [
        {"scrapePool": "kubernetes-pods", "health": "up", "scrapeUrl": "http://10.0.0.1:15020/stats/prometheus"}]}});
    let address = serve(move |request| request.starts_with("/api/v1/targets").then(|| (200, targets.to_string())));
    let cx = with_connections(&unique("twice"), one("mesh", &address));
    let error = run(Apply, &cx, json!({"connection": "mesh"})).await.unwrap_err();
    assert_eq!(error.code(), Code::SH3515, "{error}");
    assert!(error.to_string().contains("job kubernetes-pods (1 target)"), "{error}");
    let (changed, report) = run(Apply, &cx, json!({"connection": "mesh", "force": true})).await.unwrap();
    assert!(!changed && report.jobs.is_some() && report.warnings.len() == 2, "{report:?}");
    assert!(report.warnings[0].contains("doubled") && report.warnings[1].contains("kubeconfig_file"), "{report:?}");
}

#[tokio::test]
async fn reported_jobs_make_a_prometheus_without_the_operator_scrape_the_proxies() {
    let address = serve(|request| {
        request.starts_with("/stats/prometheus").then(|| (200, "istio_build{component=\"proxy\"} 1\n".to_owned()))
    });
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let empty = serve(|_| Some((200, json!({"status": "success", "data": {"activeTargets": []}}).to_string())));
    let space = unique("jobs");
    let cx = with_connections(&space, one("mesh", &empty));
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    let ports = json!([{"name": "http-envoy-prom", "containerPort": port}]);
    let pod =
        json!({"schedulerName": "none", "containers": [{"name": "istio-proxy", "image": "proxyv2", "ports": ports}]});
    create(&cx, "Pod", &space, "web-1", json!({}), pod).await;
    let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    let patch = status.to_string();
    istio_crds::kubectl(&["patch", "pod", "web-1", "-n", &space, "--subresource=status", "--type=merge", "-p", &patch]);

    let params = json!({"connection": "mesh", "interval_s": 1});
    let (changed, report) = run(Apply, &cx, params).await.unwrap();
    assert!(!changed && report.objects.is_empty() && report.prometheus.is_none(), "{report:?}");
    // In the test the API server is found by its kubeconfig, and only this test's namespace is looked at.
    let kubeconfig = control_plane::kubeconfig().display().to_string();
    let place = format!("\n    kubeconfig_file: {kubeconfig}\n    namespaces: {{names: [{space}]}}");
    let jobs = report.jobs.unwrap().replace("- role: pod", &format!("- role: pod{place}"));
    let jobs = jobs.replace("- role: endpoints", &format!("- role: endpoints{place}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, format!("scrape_configs:\n{jobs}")).unwrap();
    let prometheus = Prometheus::start(&file, folder.path(), &[]);
    let data =
        eventually("the proxy is scraped", Duration::from_secs(40), async || prometheus.series("istio_build")).await;
    let labels = &data["result"][0]["metric"];
    assert_eq!((&labels["namespace"], &labels["pod"]), (&json!(space), &json!("web-1")), "{data:#}");
    assert_eq!(labels["job"], "sailhand-istio-proxies");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_not_a_missing_connection() {
    let space = unique("corrupt");
    let cx = with_connections(&space, BTreeMap::new());
    let inventories = format!("{space}-inventory");
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inventories}})).await;
    for (name, data) in [
        ("metrics-connection-cut", json!({"connection.json": "{\"kind\":\"prom"})),
        ("metrics-connection-empty", json!({})),
    ] {
        write(&cx, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": inventories}, "data": data})).await;
        let connection = name.rsplit_once('-').unwrap().1;
        let error = run(Apply, &cx, json!({"connection": connection})).await.unwrap_err();
        assert_eq!((error.code(), error.class()), (Code::SH3516, Class::Terminal), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
