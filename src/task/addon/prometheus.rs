//! Prometheus: metrics of everything whose pods ask for it by annotation, as istiod and all proxies do.

use serde_json::json;

use super::model::{Addon, Service};

pub const PROMETHEUS: Addon = Addon {
    name: "prometheus",
    version: "v3.10.0",
    image: "docker.io/prom/prometheus:v3.10.0",
    user: 65534,
    command: &[],
    args: &[
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
        "--storage.tsdb.retention.time=15d",
    ],
    env: &[],
    files,
    scratch: &["/prometheus"],
    reads: &[(&[""], &["pods"])],
    services: &[Service { name: "prometheus", ports: &[("http", 9090, 9090)] }],
    probe: (9090, "/-/ready"),
    page: "",
    health: "/-/ready",
    metrics: true,
    cpu: 50,
    memory: 512,
};

fn files(_: &str) -> Vec<(&'static str, String)> {
    let note = |name: &str| format!("__meta_kubernetes_pod_annotation_prometheus_io_{name}");
    let keep = |label: &str, value: &str| json!({"action": "keep", "source_labels": [label], "regex": value});
    let copy = |label: &str, target: &str| json!({"source_labels": [label], "target_label": target});
    let pods = json!({
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            keep(&note("scrape"), "true"),
            keep("__meta_kubernetes_pod_phase", "Running"),
            {"source_labels": [note("scheme")], "regex": "(https?)", "target_label": "__scheme__"},
            {"source_labels": [note("path")], "regex": "(.+)", "target_label": "__metrics_path__"},
            // The address has the first port of the pod, or none; one of IPv6 stands in brackets.
            {
                "source_labels": ["__address__", note("port")],
                "regex": r"(\[.+\]|[^:]+)(?::\d+)?;(\d+)",
                "replacement": "$1:$2",
                "target_label": "__address__",
            },
            {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"},
            copy("__meta_kubernetes_namespace", "namespace"),
            copy("__meta_kubernetes_pod_name", "pod"),
        ],
    });
    let configuration = json!({"global": {"scrape_interval": "15s"}, "scrape_configs": [pods]});
    vec![("/etc/prometheus/prometheus.yml", configuration.to_string())]
}
