//! Monitors of the Prometheus Operator that exist and are not selected.

use serde_json::Value;

use super::{Cause, Diagnosis, Mesh, Severity, text};
use crate::analysis::istio::selector::selects;
use crate::observe::scrape::reads_namespace;

/// A monitor for Istio that no Prometheus object selects.
pub(super) fn unselected(mesh: &Mesh) -> Option<Diagnosis> {
    let of_istio = |monitor: &&Value| {
        let text = monitor["spec"].to_string();
        ["istio", "15020", "15090", "15014", "http-envoy-prom", "envoy"].iter().any(|word| text.contains(word))
    };
    for monitor in mesh.monitors.iter().filter(of_istio) {
        let kind = monitor["kind"].as_str().unwrap_or("PodMonitor");
        let field = if kind == "ServiceMonitor" { "serviceMonitor" } else { "podMonitor" };
        let reasons: Vec<String> = mesh
            .operator_prometheuses
            .iter()
            .filter_map(|prometheus| refusal(prometheus, monitor, field, &mesh.namespaces))
            .collect();
        if reasons.is_empty() || reasons.len() < mesh.operator_prometheuses.len() {
            continue;
        }
        let place = format!("{kind} {}/{}", text(monitor, "namespace"), text(monitor, "name"));
        return Some(Diagnosis {
            cause: Cause::MonitorNotSelected,
            severity: Severity::Error,
            message: format!("{place} is not selected: {}", reasons.join("; ")),
            evidence: vec![place],
            remedy: "Add the labels that the selector requires to the monitor or its namespace, or widen the selector."
                .to_owned(),
        });
    }
    None
}

/// Why a Prometheus object does not select a monitor; none when it does. Source: Prometheus Operator's API types: an
/// absent selector selects nothing, an empty one everything.
pub(super) fn refusal(prometheus: &Value, monitor: &Value, field: &str, namespaces: &[Value]) -> Option<String> {
    let name = format!("Prometheus {}/{}", text(prometheus, "namespace"), text(prometheus, "name"));
    let selector = &prometheus["spec"][format!("{field}Selector")];
    if selector.is_null() {
        return Some(format!("{name} has no {field}Selector, which selects nothing"));
    }
    if !selects(selector, &monitor["metadata"]["labels"]) {
        return Some(format!("its labels do not match {field}Selector {selector} of {name}"));
    }
    if reads_namespace(prometheus, field, text(monitor, "namespace"), namespaces) {
        return None;
    }
    let spaces = &prometheus["spec"][format!("{field}NamespaceSelector")];
    Some(if spaces.is_null() {
        format!("{name} has no {field}NamespaceSelector, which means its own namespace only")
    } else {
        format!("its namespace does not match {field}NamespaceSelector {spaces} of {name}")
    })
}
