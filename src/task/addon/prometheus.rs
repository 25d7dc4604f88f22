//! Prometheus: metrics of everything whose pods ask for it by annotation, as istiod and all proxies do.

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
    vec![("/etc/prometheus/prometheus.yml", CONFIGURATION.to_owned())]
}

/// `__address__` has the first port of the pod, or none; an IPv6 address stands in brackets.
const CONFIGURATION: &str = r"global:
  scrape_interval: 15s
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {action: keep, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: 'true'}
      - {action: keep, source_labels: [__meta_kubernetes_pod_phase], regex: Running}
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scheme], regex: (https?), target_label: __scheme__}
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], regex: (.+), target_label: __metrics_path__}
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: (\[.+\]|[^:]+)(?::\d+)?;(\d+)
        replacement: $1:$2
        target_label: __address__
      - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
";
