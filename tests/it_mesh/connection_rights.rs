//! The rights of the chart's switches `connections`, `scrapes` and `dashboards` are enough for their verbs, with stores
//! that the API server's proxy reaches.

use serde_json::{Value, json};

use crate::mesh_target::MeshEnv;
use crate::permissions::{account, grant, kubectl, refused};
use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::{control_plane, operator_crds};

/// Answers of a store: fresh, without targets, and with or without series of Istio.
fn store(path: &str, query: &str, has_istio: bool) -> String {
    let data = if path.ends_with("/api/v1/targets") {
        json!({"activeTargets": []})
    } else {
        let result = json!([{"metric": {}, "value": [1000.0, "1000"]}]);
        let is_empty = query.contains("istio") && !has_istio;
        json!({"resultType": "vector", "result": if is_empty { json!([]) } else { result }})
    };
    json!({"status": "success", "data": data}).to_string()
}

/// A Service and its pod. The API servers of tests reach no pod: the proxy before them answers for the stores.
fn publish(mesh: &MeshEnv, name: &str, labels: &Value, containers: &Value) {
    let mut labels = labels.clone();
    labels["run"] = json!(name);
    let metadata = json!({"name": name, "namespace": "monitoring", "labels": labels});
    let ports = json!([{"name": "http", "port": 9090}]);
    let labels = json!({"kubernetes.io/service-name": name});
    let slice = json!({"name": format!("{name}-test"), "namespace": "monitoring", "labels": labels});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice, "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.9"], "conditions": {"ready": true}}], "ports": [{"name": "http", "port": 9090}]},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"run": name}, "ports": ports}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"schedulerName": "none", "containers": containers}},
    ]});
    kubectl(mesh, &["apply", "--server-side", "--filename", "-"], Some(&objects.to_string()));
}

/// The worker has the rights of the chart's account, and the stores answer.
async fn work_before_stores(mesh: &mut MeshEnv) -> ApiProxy {
    let proxy = ApiProxy::start("account", &account(mesh), Record::default()).await;
    proxy.answer(|path, query| {
        let of = |name: &str| path.contains(&format!("/services/{name}:9090/proxy/"));
        (of("prometheus") || of("other")).then(|| (200, store(path, query, of("other"))))
    });
    let file = mesh.plane.dir().join("stores.kubeconfig");
    control_plane::write_kubeconfig(&file, &format!("http://127.0.0.1:{}", proxy.port()));
    mesh.work_as(&file);
    proxy
}

#[tokio::test]
async fn connections_scrapes_and_dashboards_work_with_the_permissions_of_their_switches() {
    let mut mesh = MeshEnv::start().await;
    for space in ["sailhand", "monitoring", "shop"] {
        kubectl(&mesh, &["create", "namespace", space], None);
    }
    kubectl(&mesh, &["create", "serviceaccount", "sailhand", "--namespace", "sailhand"], None);
    operator_crds::install_by(|arguments| drop(kubectl(&mesh, arguments, None)));
    let prometheus = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
        "metadata": {"name": "k8s", "namespace": "monitoring"},
        "spec": {"podMonitorSelector": {}, "serviceMonitorSelector": {}}});
    kubectl(&mesh, &["apply", "--filename", "-"], Some(&prometheus.to_string()));
    let container = json!([{"name": "prometheus", "image": "prom/prometheus"}]);
    let labels = json!({"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": "k8s"});
    publish(&mesh, "prometheus", &labels, &container);
    publish(&mesh, "other", &json!({"app.kubernetes.io/name": "prometheus"}), &container);
    let env = json!([{"name": "LABEL", "value": "grafana_dashboard"}, {"name": "FOLDER", "value": "/tmp/dashboards"}]);
    let sidecar = json!([{"name": "sidecar", "image": "quay.io/kiwigrid/k8s-sidecar:1.30.0", "env": env}]);
    publish(&mesh, "grafana", &json!({"app.kubernetes.io/name": "grafana"}), &sidecar);
    let proxy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"schedulerName": "none", "containers": [{"name": "istio-proxy", "image": "proxyv2"}]}});
    kubectl(&mesh, &["apply", "--server-side", "--filename", "-"], Some(&proxy.to_string()));
    let running = r#"{"status": {"phase": "Running"}}"#;
    kubectl(&mesh, &["patch", "pod", "web", "-n", "shop", "--subresource=status", "--type=merge", "-p", running], None);

    grant(&mesh, "clusterRole.connections=true", ["create", "subjectaccessreviews.authorization.k8s.io"]).await;
    let _proxy = work_before_stores(&mut mesh).await;
    let (_, found) = mesh.done("connection.discover", json!({})).await;
    assert_eq!(found["unread"], json!([]), "{found:#}");
    let service = |name: &str| json!({"namespace": "monitoring", "name": name, "port": 9090});
    let params = json!({"name": "mesh", "kind": "prometheus", "service": service("prometheus")});
    mesh.done("connection.apply", params).await;
    let (_, check) = mesh.done("connection.check", json!({"connection": "mesh"})).await;
    assert_eq!(check["unread"], json!([]), "{check:#}");
    assert_eq!(check["findings"][0]["cause"], "other-store", "{check:#}");
    assert_eq!(check["findings"][0]["evidence"], json!(["Service monitoring/other:9090"]), "{check:#}");
    mesh.done("connection.watch", json!({"duration": "1s"})).await;
    let said = refused(&mesh, "scrape.apply", json!({"connection": "mesh"})).await;
    assert!(said.contains("SH3003") && said.contains("prometheuses"), "{said}");

    let switches = "clusterRole.connections=true,clusterRole.scrapes=true,clusterRole.dashboards=true";
    grant(&mesh, switches, ["create", "podmonitors.monitoring.coreos.com"]).await;
    let (changed, report) = mesh.done("scrape.apply", json!({"connection": "mesh"})).await;
    assert!(changed && report["prometheus"] == "monitoring/k8s", "{report:#}");
    assert!(mesh.done("scrape.remove", json!({"connection": "mesh"})).await.0);
    let grafana = json!({"name": "central", "kind": "grafana", "service": service("grafana"), "check": false});
    mesh.done("connection.apply", grafana).await;
    let boards = json!({"grafana": "central", "prometheus": "mesh", "dashboards": ["mesh"]});
    let (changed, report) = mesh.done("dashboard.apply", boards).await;
    assert!(changed && report["by"] == "sidecar", "{report:#}");
    assert!(mesh.done("dashboard.remove", json!({"grafana": "central"})).await.0);
    assert!(mesh.done("connection.remove", json!({"name": "central"})).await.0);
}
