//! Monitors of the Prometheus Operator that exist and are not selected.

use serde_json::Value;

use super::{Cause, Diagnosis, Mesh, Severity, text};
use crate::analysis::istio::port;
use crate::analysis::istio::selector::selects;
use crate::observe::scrape::{OPERATOR_NAME, reads_namespace};

/// Fields of a Prometheus object without any of which the Operator does not write the configuration.
const SELECTORS: [&str; 4] = ["serviceMonitorSelector", "podMonitorSelector", "probeSelector", "scrapeConfigSelector"];

/// A monitor for Istio that the store's Prometheus object does not select.
pub(super) fn unselected(mesh: &Mesh) -> Option<Diagnosis> {
    let prometheuses = of_store(mesh);
    for monitor in mesh.monitors.iter().filter(|monitor| is_for_istio(monitor)) {
        let kind = monitor["kind"].as_str().unwrap_or("PodMonitor");
        let field = field_of(monitor);
        let reasons: Vec<String> =
            prometheuses.iter().filter_map(|prometheus| refusal(prometheus, monitor, &mesh.namespaces)).collect();
        if reasons.is_empty() || reasons.len() < prometheuses.len() {
            continue;
        }
        let place = format!("{kind} {}/{}", text(monitor, "namespace"), text(monitor, "name"));
        let selectors = prometheuses.iter().map(|prometheus| selectors_of(prometheus, field));
        return Some(Diagnosis {
            cause: Cause::MonitorNotSelected,
            severity: Severity::Error,
            message: format!("{place} is not selected: {}", reasons.join("; ")),
            evidence: [place].into_iter().chain(selectors).collect(),
            remedy: "Add the labels that the selector requires to the monitor or its namespace, or change the named field of the Prometheus object; `scrape.apply` creates monitors with these labels.".to_owned(),
        });
    }
    None
}

/// The Prometheus objects whose pods are the store's; all of the cluster if the pods do not show it, as for a store by URL.
pub(super) fn of_store(mesh: &Mesh) -> Vec<&Value> {
    let is_own = |prometheus: &&Value| {
        mesh.store_pods.iter().any(|pod| {
            pod["metadata"]["namespace"] == prometheus["metadata"]["namespace"]
                && pod["metadata"]["labels"][OPERATOR_NAME] == prometheus["metadata"]["name"]
        })
    };
    let own: Vec<&Value> = mesh.operator_prometheuses.iter().filter(is_own).collect();
    if own.is_empty() { mesh.operator_prometheuses.iter().collect() } else { own }
}

/// Whether the cluster has monitors for Istio.
pub(super) fn exist(mesh: &Mesh) -> bool {
    mesh.monitors.iter().any(is_for_istio)
}

fn is_for_istio(monitor: &Value) -> bool {
    let text = monitor["spec"].to_string();
    let ports = [port::MERGED_METRICS, port::ENVOY_METRICS, port::CONTROL_PLANE_METRICS];
    ["istio", port::ENVOY_METRICS_NAME, "envoy"].iter().any(|word| text.contains(word))
        || ports.iter().any(|port| text.contains(&port.to_string()))
}

/// The selectors of the store's Prometheus objects, as evidence.
pub(super) fn selectors(mesh: &Mesh) -> Vec<String> {
    let of = |prometheus: &&Value| ["podMonitor", "serviceMonitor"].map(|field| selectors_of(prometheus, field));
    of_store(mesh).iter().flat_map(of).collect()
}

fn selectors_of(prometheus: &Value, field: &str) -> String {
    let shown = |name: String| match &prometheus["spec"][&name] {
        Value::Null => format!("no {name}"),
        selector => format!("{name} {selector}"),
    };
    format!(
        "Prometheus {}/{}: {}, {}",
        text(prometheus, "namespace"),
        text(prometheus, "name"),
        shown(format!("{field}Selector")),
        shown(format!("{field}NamespaceSelector"))
    )
}

/// Prefix of the fields of a Prometheus object that select monitors of this kind.
fn field_of(monitor: &Value) -> &'static str {
    if monitor["kind"] == "ServiceMonitor" { "serviceMonitor" } else { "podMonitor" }
}

/// Why a Prometheus object does not select a monitor; none when it does. Source: Prometheus Operator's API types: an
/// absent selector selects nothing, an empty one everything.
pub(super) fn refusal(prometheus: &Value, monitor: &Value, namespaces: &[Value]) -> Option<String> {
    let field = field_of(monitor);
    let name = format!("Prometheus {}/{}", text(prometheus, "namespace"), text(prometheus, "name"));
    let spec = &prometheus["spec"];
    let selector = &spec[format!("{field}Selector")];
    if selector.is_null() {
        let unmanaged = SELECTORS.iter().all(|field| spec[field].is_null());
        let more = if unmanaged { "; without any selector the Operator does not write its configuration" } else { "" };
        return Some(format!("{name} has no {field}Selector, which selects nothing{more}"));
    }
    if !selects(selector, &monitor["metadata"]["labels"]) {
        return Some(format!("its labels do not match {field}Selector {selector} of {name}"));
    }
    if !reads_namespace(prometheus, field, text(monitor, "namespace"), namespaces) {
        let spaces = &spec[format!("{field}NamespaceSelector")];
        return Some(if spaces.is_null() {
            format!("{name} has no {field}NamespaceSelector, which means its own namespace only")
        } else {
            format!("its namespace does not match {field}NamespaceSelector {spaces} of {name}")
        });
    }
    (spec["paused"] == true)
        .then(|| format!("{name} has `paused: true`, so the Operator does not change its configuration"))
}
