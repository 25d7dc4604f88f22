//! Scrape configuration for Istio: `PodMonitor` and `ServiceMonitor` objects with the labels that a `Prometheus` object of
//! the Prometheus Operator selects, and the same as scrape jobs for a Prometheus without the Operator. Pure.
//!
//! Sources: Prometheus Operator's API types; Istio's `samples/addons/extras/prometheus-operator.yaml` and injection
//! templates. Proxies are scraped at their container port `http-envoy-prom`, which sidecars, gateways and waypoints have
//! whether metrics merging is on or off; metrics of applications stay with the applications' own monitors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::analysis::istio::component::{DISCOVERY_CONTAINER, ZTUNNEL};
use crate::analysis::istio::port::{CONTROL_PLANE_METRICS, ENVOY_METRICS, ENVOY_METRICS_NAME, MERGED_METRICS};
use crate::analysis::istio::selector::{selects, selects_namespace};

/// Annotation by which scrape jobs select pods, with the value `true`.
pub const ANNOTATION: &str = "prometheus.io/scrape";
/// Annotation with the port that these jobs scrape.
pub const PORT_ANNOTATION: &str = "prometheus.io/port";
/// Annotation with the path that these jobs scrape.
pub const PATH_ANNOTATION: &str = "prometheus.io/path";
/// Label of the Prometheus Operator on the pods of a `Prometheus` object: its name.
pub const OPERATOR_NAME: &str = "operator.prometheus.io/name";

/// A part of the mesh that is scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// Sidecars, gateways and waypoints, at port 15090.
    Proxies,
    /// istiod, at port 15014.
    ControlPlane,
    /// ztunnel, at port 15020.
    Ztunnel,
}

impl Monitor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Proxies, Self::ControlPlane, Self::Ztunnel];

    /// Kind of the object that the Operator reads.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::ControlPlane => "ServiceMonitor",
            Self::Proxies | Self::Ztunnel => "PodMonitor",
        }
    }

    /// Name of the object, and of the scrape job.
    #[must_use]
    pub const fn object_name(self) -> &'static str {
        match self {
            Self::Proxies => "sailhand-istio-proxies",
            Self::ControlPlane => "sailhand-istio-control-plane",
            Self::Ztunnel => "sailhand-istio-ztunnel",
        }
    }

    /// Prefix of the selector fields of a `Prometheus` object.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::ControlPlane => "serviceMonitor",
            Self::Proxies | Self::Ztunnel => "podMonitor",
        }
    }

    /// The object's `spec`.
    #[must_use]
    pub fn spec(self, interval_s: u32) -> Value {
        let interval = format!("{interval_s}s");
        match self {
            Self::Proxies => json!({
                "namespaceSelector": {"any": true},
                "selector": {"matchExpressions": [{"key": "istio-prometheus-ignore", "operator": "DoesNotExist"}]},
                "podMetricsEndpoints": [{"port": ENVOY_METRICS_NAME, "path": "/stats/prometheus", "interval": interval}],
            }),
            Self::Ztunnel => json!({
                "namespaceSelector": {"any": true},
                "selector": {"matchLabels": {"app": ZTUNNEL}},
                "podMetricsEndpoints": [{"port": "ztunnel-stats", "path": "/metrics", "interval": interval}],
            }),
            Self::ControlPlane => json!({
                "namespaceSelector": {"any": true},
                "selector": {"matchLabels": {"istio": "pilot"}},
                "endpoints": [{"port": "http-monitoring", "path": "/metrics", "interval": interval}],
            }),
        }
    }

    /// The scrape job for `scrape_configs` of a Prometheus without the Operator, as YAML of one list item.
    fn job(self, interval_s: u32) -> String {
        let (role, path, keep, pattern) = match self {
            Self::Proxies => {
                ("pod", "/stats/prometheus", "__meta_kubernetes_pod_container_port_name", ENVOY_METRICS_NAME)
            }
            Self::Ztunnel => ("pod", "/metrics", "__meta_kubernetes_pod_container_port_name", "ztunnel-stats"),
            Self::ControlPlane => (
                "endpoints",
                "/metrics",
                "__meta_kubernetes_service_label_istio, __meta_kubernetes_endpoint_port_name",
                "pilot;http-monitoring",
            ),
        };
        format!(
            "- job_name: {name}\n  scrape_interval: {interval_s}s\n  metrics_path: {path}\n  \
             kubernetes_sd_configs:\n  - role: {role}\n  relabel_configs:\n  \
             - source_labels: [{keep}]\n    action: keep\n    regex: {pattern}\n  \
             - source_labels: [__meta_kubernetes_pod_phase]\n    action: drop\n    regex: Failed|Succeeded\n  \
             - source_labels: [__meta_kubernetes_namespace]\n    target_label: namespace\n  \
             - source_labels: [__meta_kubernetes_pod_name]\n    target_label: pod\n",
            name = self.object_name(),
        )
    }
}

/// Scrape jobs as YAML, to be added to `scrape_configs` of `prometheus.yml`.
#[must_use]
pub fn jobs(monitors: &[Monitor], interval_s: u32) -> String {
    monitors.iter().map(|monitor| monitor.job(interval_s)).collect()
}

/// Labels with which an object matches a selector: those that it requires, and the object's own.
///
/// # Errors
/// The requirement of the selector that our labels do not meet.
pub fn labels_for(selector: &Value, own: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        labels.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let first = expression["values"][0].as_str().unwrap_or_default();
        match expression["operator"].as_str().unwrap_or_default() {
            "In" => drop(labels.entry(key.to_owned()).or_insert_with(|| first.to_owned())),
            "Exists" => drop(labels.entry(key.to_owned()).or_insert_with(|| "istio".to_owned())),
            _ => {} // NotIn and DoesNotExist hold for a label that is absent.
        }
    }
    labels.extend(own.clone());
    if selects(selector, &json!(labels)) {
        return Ok(labels);
    }
    Err(format!("the labels {} do not match the selector {selector}", json!(labels)))
}

/// Whether a `Prometheus` object reads the monitors of a namespace. `field` is [`Monitor::field`]. Without a namespace
/// selector it reads those of its own namespace only. Source: Prometheus Operator's API types.
pub(super) fn reads_namespace(prometheus: &Value, field: &str, name: &str, namespaces: &[Value]) -> bool {
    let selector = &prometheus["spec"][format!("{field}NamespaceSelector")];
    if selector.is_null() {
        return prometheus["metadata"]["namespace"] == name;
    }
    selects_namespace_in(namespaces, selector, name)
}

/// Whether a selector selects the namespace with this name. A namespace that is not in the list has only the label
/// `kubernetes.io/metadata.name`.
pub(super) fn selects_namespace_in(namespaces: &[Value], selector: &Value, name: &str) -> bool {
    let live = namespaces.iter().find(|one| one["metadata"]["name"] == name);
    selects_namespace(selector, name, live.map(|one| &one["metadata"]["labels"]))
}

/// The first of the candidate namespaces in which a `Prometheus` object reads monitors of this kind.
///
/// # Errors
/// Why none of them is.
pub fn namespace_for(
    prometheus: &Value,
    monitor: Monitor,
    candidates: &[String],
    namespaces: &[Value],
) -> Result<String, String> {
    let field = monitor.field();
    let spec = &prometheus["spec"];
    if spec[format!("{field}Selector")].is_null() {
        return Err(format!("it has no {field}Selector, so it selects no {}", monitor.kind()));
    }
    let own = prometheus["metadata"]["namespace"].as_str().unwrap_or_default();
    let selector = &spec[format!("{field}NamespaceSelector")];
    if let Some(name) = candidates.iter().find(|name| reads_namespace(prometheus, field, name, namespaces)) {
        return Ok(name.clone());
    }
    let tried = candidates.join(", ");
    Err(if selector.is_null() {
        format!("it has no {field}NamespaceSelector, so it reads its own namespace {own} only, not {tried}")
    } else {
        format!("its {field}NamespaceSelector {selector} matches none of the namespaces {tried}")
    })
}

/// Fields of a `Prometheus` object that limit monitors which its selectors match.
#[must_use]
pub fn limits(prometheus: &Value) -> Vec<String> {
    let spec = &prometheus["spec"];
    let mut limits = Vec::new();
    if spec["paused"] == true {
        limits.push(
            "the Prometheus object has `paused: true`: the Operator adds the monitors when it is set to false"
                .to_owned(),
        );
    }
    if spec["ignoreNamespaceSelectors"] == true {
        limits.push("the Prometheus object has `ignoreNamespaceSelectors: true`: monitors cover the pods of their own namespace only, so proxies of other namespaces are not scraped".to_owned());
    }
    limits
}

/// Jobs that we did not create and that scrape proxies, ztunnel or istiod already: pool and number of its targets.
#[must_use]
pub fn other_jobs(targets: &[Value], monitors: &[Monitor]) -> BTreeMap<String, usize> {
    let mut jobs = BTreeMap::new();
    for target in targets {
        let pool = target["scrapePool"].as_str().unwrap_or_default();
        let ours = Monitor::ALL.iter().any(|monitor| pool.contains(monitor.object_name()));
        let labels = &target["discoveredLabels"];
        let port = port_of(target["scrapeUrl"].as_str().unwrap_or_default());
        let ztunnel = labels["__meta_kubernetes_pod_label_app"] == ZTUNNEL;
        let monitor = match port {
            Some(MERGED_METRICS | ENVOY_METRICS) if ztunnel => Monitor::Ztunnel,
            Some(MERGED_METRICS | ENVOY_METRICS) => Monitor::Proxies,
            Some(CONTROL_PLANE_METRICS) if labels["__meta_kubernetes_pod_container_name"] == DISCOVERY_CONTAINER => {
                Monitor::ControlPlane
            }
            _ => continue,
        };
        if !ours && target["health"] == "up" && monitors.contains(&monitor) {
            *jobs.entry(pool.to_owned()).or_default() += 1;
        }
    }
    jobs
}

/// Port of a scrape URL.
#[must_use]
pub fn port_of(url: &str) -> Option<u16> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> BTreeMap<String, String> {
        BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "sailhand".to_owned())])
    }

    #[test]
    fn labels_match_a_selector() {
        for selector in [
            json!({}),
            json!({"matchLabels": {"release": "kps"}}),
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["mesh", "web"]}]}),
            json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}),
            json!({"matchLabels": {"release": "kps"}, "matchExpressions": [
                {"key": "release", "operator": "In", "values": ["other", "kps"]},
                {"key": "ignore", "operator": "DoesNotExist"},
                {"key": "tier", "operator": "NotIn", "values": ["test"]}]}),
        ] {
            let labels = labels_for(&selector, &own()).unwrap();
            assert!(selects(&selector, &json!(labels)), "{selector} {labels:?}");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "sailhand");
        }
        let never = json!({"matchLabels": {"app.kubernetes.io/managed-by": "Helm"}});
        assert!(labels_for(&never, &own()).unwrap_err().contains("do not match"));
    }

    #[test]
    fn monitors_go_where_the_prometheus_object_reads_them() {
        let prometheus = |spec: Value| json!({"metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec});
        let spaces = [json!({"metadata": {"name": "istio-system", "labels": {"watched": "yes"}}})];
        let candidates = ["monitoring".to_owned(), "istio-system".to_owned()];
        let place = |spec: Value, candidates: &[String]| {
            namespace_for(&prometheus(spec), Monitor::Proxies, candidates, &spaces)
        };
        assert_eq!(place(json!({"podMonitorSelector": {}}), &candidates), Ok("monitoring".to_owned()));
        let labelled =
            json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {"matchLabels": {"watched": "yes"}}});
        assert_eq!(place(labelled.clone(), &candidates), Ok("istio-system".to_owned()));
        assert!(place(labelled, &["shop".to_owned()]).unwrap_err().contains("matches none"));
        let nothing = place(json!({"podMonitorSelector": {}}), &["shop".to_owned()]).unwrap_err();
        assert!(nothing.contains("own namespace monitoring only"), "{nothing}");
        assert!(
            place(json!({"serviceMonitorSelector": {}}), &candidates).unwrap_err().contains("no podMonitorSelector")
        );
    }

    #[test]
    fn targets_of_other_jobs_count_and_ours_do_not() {
        let target = |pool: &str, port: u16, health: &str| json!({"scrapePool": pool, "health": health, "scrapeUrl": format!("http://10.0.0.1:{port}/stats/prometheus")});
        let targets = [
            target("kubernetes-pods", 15020, "up"),
            target("podMonitor/monitoring/sailhand-istio-proxies/0", 15090, "up"),
            target("annotations", 15020, "down"),
            target("apps", 8080, "up"),
        ];
        let jobs = other_jobs(&targets, &Monitor::ALL);
        assert_eq!(jobs, BTreeMap::from([("kubernetes-pods".to_owned(), 1)]));
        assert!(other_jobs(&targets, &[Monitor::ControlPlane]).is_empty());
        assert_eq!((port_of("http://[fd00::1]:15090/x"), port_of("http://a/x")), (Some(15090), None));
    }
}
