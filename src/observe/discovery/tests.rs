//! A corpus of Services as charts make them, and of programs that only look like a store.

use serde_json::{Value, json};

use super::*;

/// A Service with one port, and the Deployment's pod behind it.
fn server(space: &str, name: &str, labels: &Value, port: u16, image: &str, args: &[&str]) -> (Value, Value) {
    let service = json!({
        "metadata": {"namespace": space, "name": name, "labels": labels},
        "spec": {"clusterIP": "10.0.0.1", "selector": {"run": name}, "ports": [{"name": "http", "port": port, "targetPort": 9000}]},
    });
    let pod = json!({
        "metadata": {"namespace": space, "name": format!("{name}-0"), "labels": {"run": name}},
        "spec": {"containers": [
            {"name": "reloader", "image": "quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0"},
            {"name": "main", "image": image, "args": args, "ports": [{"containerPort": 9000}]},
        ]},
    });
    (service, pod)
}

fn observed(servers: Vec<(Value, Value)>) -> Observed {
    let (services, pods) = servers.into_iter().unzip();
    Observed { services, pods, ..Observed::default() }
}

fn found(servers: Vec<(Value, Value)>) -> Vec<(InstanceKind, Flavor, String)> {
    discover(&observed(servers)).into_iter().map(|one| (one.kind, one.flavor, one.fingerprint)).collect()
}

#[test]
fn servers_of_known_charts_are_found_with_any_name() {
    let chart = |name: &str| json!({"app.kubernetes.io/name": name});
    for (server, flavor, fingerprint) in [
        (
            server("istio-system", "prometheus", &chart("prometheus"), 9090, "prom/prometheus:v3.5.0", &[]),
            Flavor::Prometheus,
            "prometheus/istio-system/prometheus:9090",
        ),
        (
            server(
                "m",
                "long-release-name-kube-pro-prometheus",
                &json!({"app": "kube-prometheus-stack-prometheus"}),
                9090,
                "quay.io/prometheus/prometheus:v3",
                &[],
            ),
            Flavor::Prometheus,
            "prometheus/m/long-release-name-kube-pro-prometheus:9090",
        ),
        (
            server(
                "m",
                "metrics",
                &json!({}),
                80,
                "registry.example:5000/mirror/prom/prometheus@sha256:ab",
                &["--web.route-prefix=/prom"],
            ),
            Flavor::Prometheus,
            "prometheus/m/metrics:80/prom",
        ),
        (
            server("m", "alertmanager-team-prometheus", &chart("prometheus"), 9090, "prom/prometheus", &[]),
            Flavor::Prometheus,
            "prometheus/m/alertmanager-team-prometheus:9090",
        ),
        (
            server("m", "vm", &json!({}), 8428, "victoriametrics/victoria-metrics:v1.151.0", &[]),
            Flavor::VictoriaMetrics,
            "prometheus/m/vm:8428",
        ),
        (
            server("m", "vmselect", &json!({}), 8481, "victoriametrics/vmselect:v1.151.0", &[]),
            Flavor::VictoriaMetrics,
            "prometheus/m/vmselect:8481/select/0/prometheus",
        ),
        (
            server("m", "query", &json!({}), 9090, "quay.io/thanos/thanos:v0.42", &["query", "--http-address=:9090"]),
            Flavor::Thanos,
            "prometheus/m/query:9090",
        ),
        (
            server(
                "m",
                "mimir-nginx",
                &json!({"app.kubernetes.io/name": "mimir", "app.kubernetes.io/component": "nginx"}),
                80,
                "nginx:1",
                &[],
            ),
            Flavor::Mimir,
            "prometheus/m/mimir-nginx:80/prometheus",
        ),
        (
            server("m", "agent", &json!({}), 9090, "prom/prometheus", &["--agent"]),
            Flavor::PrometheusAgent,
            "prometheus/m/agent:9090",
        ),
    ] {
        assert_eq!(found(vec![server]), [(InstanceKind::Prometheus, flavor, fingerprint.to_owned())]);
    }
    let grafana = server("m", "rel-grafana", &chart("grafana"), 80, "docker.io/grafana/grafana:12.0.1", &[]);
    assert_eq!(found(vec![grafana]), [(InstanceKind::Grafana, Flavor::Grafana, "grafana/m/rel-grafana:80".to_owned())]);
}

#[test]
fn programs_that_look_like_a_store_are_not_reported() {
    let decoys = [
        ("prometheus-alertmanager", 9093, "prom/alertmanager:v0.28"),
        ("prometheus-node-exporter", 9100, "prom/node-exporter"),
        ("prometheus-kube-state-metrics", 8080, "registry.k8s.io/kube-state-metrics/kube-state-metrics"),
        ("prometheus-operator", 8080, "quay.io/prometheus-operator/prometheus-operator"),
        ("prometheus-pushgateway", 9091, "prom/pushgateway"),
        ("prometheus-adapter", 443, "registry.k8s.io/prometheus-adapter/prometheus-adapter"),
        ("kiali", 9090, "quay.io/kiali/kiali"),
        ("grafana-image-renderer", 3000, "grafana/grafana-image-renderer"),
        ("grafana-loki", 3100, "grafana/loki"),
        ("vmagent", 8429, "victoriametrics/vmagent"),
        ("thanos-store", 10902, "quay.io/thanos/thanos"),
        ("shop", 9090, "example.com/shop"),
        ("web", 3000, "node"),
    ];
    for (name, port, image) in decoys {
        assert_eq!(found(vec![server("m", name, &json!({}), port, image, &["store"])]), [], "{name}");
    }
}

#[test]
fn services_in_front_of_the_same_pods_are_one_server() {
    let (service, pod) = server(
        "m",
        "kps-prometheus",
        &json!({"app": "kube-prometheus-stack-prometheus"}),
        9090,
        "quay.io/prometheus/prometheus",
        &[],
    );
    let mut headless = service.clone();
    headless["metadata"]["name"] = json!("prometheus-operated");
    headless["spec"]["clusterIP"] = json!("None");
    let observed = Observed { services: vec![headless, service], pods: vec![pod], ..Observed::default() };
    let all = discover(&observed);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].fingerprint, "prometheus/m/kps-prometheus:9090");
    assert_eq!(all[0].addresses, ["http://prometheus-operated.m:9090"]);
}

#[test]
fn the_operators_object_gives_prefix_and_reachability() {
    let (service, mut pod) = server("m", "p", &json!({}), 9090, "quay.io/prometheus/prometheus", &[]);
    pod["metadata"]["labels"]["operator.prometheus.io/name"] = json!("main");
    let prometheus =
        json!({"metadata": {"namespace": "m", "name": "main"}, "spec": {"routePrefix": "/x", "listenLocal": true}});
    let observed = Observed {
        services: vec![service],
        pods: vec![pod],
        operator_prometheuses: vec![prometheus],
        ..Observed::default()
    };
    let one = discover(&observed).remove(0);
    assert_eq!((one.fingerprint.as_str(), one.state), ("prometheus/m/p:9090/x", State::Unreachable));
}

#[test]
fn service_without_ready_endpoints_is_reported() {
    let (service, pod) = server("m", "prometheus", &json!({}), 9090, "prom/prometheus", &[]);
    let slice = json!({
        "metadata": {"namespace": "m", "labels": {"kubernetes.io/service-name": "prometheus"}},
        "endpoints": [{"conditions": {"ready": false}}],
    });
    let observed =
        Observed { services: vec![service], pods: vec![pod], endpoint_slices: vec![slice], ..Observed::default() };
    let one = discover(&observed).remove(0);
    assert_eq!((one.state, one.reason.as_deref()), (State::Unreachable, Some("the Service has no ready endpoint")));
}

#[test]
fn configuration_of_other_programs_shows_servers_in_use_and_outside() {
    let (service, pod) = server("m", "odd-name", &json!({}), 9090, "prom/prometheus", &[]);
    let kiali = json!({"kind": "Kiali", "metadata": {"namespace": "istio-system", "name": "kiali"}, "spec": {"external_services": {
        "prometheus": {"url": "http://odd-name.m.svc:9090"}, "grafana": {"external_url": "https://user:pw@grafana.example/g?x=1"}}}});
    let observed = Observed { services: vec![service], pods: vec![pod], witnesses: vec![kiali], ..Observed::default() };
    let all = discover(&observed);
    assert_eq!(all[0].used_by, ["Kiali istio-system/kiali"]);
    assert_eq!((all[1].kind, all[1].url.as_deref()), (InstanceKind::Grafana, Some("https://grafana.example:443/g")));
    assert!(!serde_json::to_string(&all).unwrap().contains("pw"), "user information of URLs is never reported");
}
