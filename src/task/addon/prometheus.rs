//! Prometheus: metrics of everything whose pods ask for it by annotation, as istiod and all proxies do.

use serde_json::json;

use super::model::{Addon, Choices, Service};

/// How often targets are scraped.
pub const SCRAPE_INTERVAL: &str = "15s";

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

/// Where others ask for metrics: the one that is named, or this one in their namespace.
pub fn asked(choices: Choices<'_>) -> String {
    choices.prometheus.map_or_else(|| PROMETHEUS.url(choices.namespace), str::to_owned)
}

fn files(_: Choices<'_>) -> Vec<(&'static str, String)> {
    let note = |name: &str| format!("__meta_kubernetes_pod_annotation_prometheus_io_{name}");
    let keep = |label: &str, value: &str| json!({"action": "keep", "source_labels": [label], "regex": value});
    let copy = |label: &str, target: &str| json!({"source_labels": [label], "target_label": target});
    // A pod has an address for each of its containers' ports, which become one that way.
    let at_port = |ip: &str, address: &str| {
        json!({
            "source_labels": ["__meta_kubernetes_pod_ip", note("port")],
            "regex": format!(r"{ip};(\d+)"), "replacement": address, "target_label": "__address__",
        })
    };
    let pods = json!({
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            keep(&note("scrape"), "true"),
            keep("__meta_kubernetes_pod_phase", "Running"),
            {"source_labels": [note("scheme")], "regex": "(https?)", "target_label": "__scheme__"},
            {"source_labels": [note("path")], "regex": "(.+)", "target_label": "__metrics_path__"},
            at_port("([^:]+)", "$1:$2"),
            at_port("(.+:.+)", "[$1]:$2"),
            {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"},
            copy("__meta_kubernetes_namespace", "namespace"),
            copy("__meta_kubernetes_pod_name", "pod"),
        ],
    });
    let configuration = json!({"global": {"scrape_interval": SCRAPE_INTERVAL}, "scrape_configs": [pods]});
    vec![("/etc/prometheus/prometheus.yml", configuration.to_string())]
}
