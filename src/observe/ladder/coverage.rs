//! Namespaces whose pods monitors of the Prometheus Operator cover, and pods that the Operator gives another namespace.

use serde_json::Value;

use super::{Cause, Diagnosis, Mesh, Severity, monitors, names, text};
use crate::analysis::istio::port::{ENVOY_METRICS, ENVOY_METRICS_NAME, MERGED_METRICS};
use crate::prose::{agree, plural};

/// A monitor for proxies, and a Prometheus object of the store that selects it.
struct Selected<'a> {
    prometheus: &'a Value,
    monitor: &'a Value,
}

impl Selected<'_> {
    fn ignores_selectors(&self) -> bool {
        self.prometheus["spec"]["ignoreNamespaceSelectors"] == true
    }

    /// Whether targets are discovered in a namespace. Source: prometheus-operator `pkg/prometheus/promcfg.go`,
    /// `getNamespacesFromNamespaceSelector`.
    fn covers(&self, namespace: &str) -> bool {
        let selector = &self.monitor["spec"]["namespaceSelector"];
        let named = selector["matchNames"].as_array().map_or(&[][..], Vec::as_slice);
        if self.ignores_selectors() {
            text(self.monitor, "namespace") == namespace
        } else if selector["any"] == true {
            true
        } else if named.is_empty() {
            text(self.monitor, "namespace") == namespace
        } else {
            named.iter().any(|name| name == namespace)
        }
    }

    fn monitor(&self) -> String {
        let kind = self.monitor["kind"].as_str().unwrap_or("PodMonitor");
        format!("{kind} {}/{}", text(self.monitor, "namespace"), text(self.monitor, "name"))
    }

    fn prometheus(&self) -> String {
        format!("Prometheus {}/{}", text(self.prometheus, "namespace"), text(self.prometheus, "name"))
    }

    /// Whether the Operator replaces the label `namespace` of the targets by the namespace of the monitor. Source:
    /// prometheus-operator `pkg/namespacelabeler/labeler.go`.
    fn replaces_namespace(&self) -> bool {
        let spec = &self.prometheus["spec"];
        let kind = self.monitor["kind"].as_str().unwrap_or("PodMonitor");
        let is_own = |one: &&Value| {
            let name = one["name"].as_str().unwrap_or_default();
            one["group"].as_str().unwrap_or("monitoring.coreos.com") == "monitoring.coreos.com"
                && one["resource"].as_str().is_some_and(|resource| resource == format!("{}s", kind.to_lowercase()))
                && one["namespace"] == self.monitor["metadata"]["namespace"]
                && (name.is_empty() || name == text(self.monitor, "name"))
        };
        let excluded = spec["excludedFromEnforcement"].as_array().into_iter().flatten().find(is_own);
        spec["enforcedNamespaceLabel"] == "namespace" && excluded.is_none()
    }
}

/// The selected monitors for proxies.
fn selected(mesh: &Mesh) -> Vec<Selected<'_>> {
    let for_proxies = mesh.monitors.iter().filter(|monitor| is_for_proxies(monitor));
    let pairs = for_proxies.flat_map(|monitor| {
        let of = move |prometheus| Selected { prometheus, monitor };
        monitors::of_store(mesh).into_iter().map(of)
    });
    pairs.filter(|one| monitors::refusal(one.prometheus, one.monitor, &mesh.namespaces).is_none()).collect()
}

fn is_for_proxies(monitor: &Value) -> bool {
    let text = monitor["spec"].to_string();
    [ENVOY_METRICS_NAME, "/stats/prometheus"].iter().any(|word| text.contains(word))
        || [MERGED_METRICS, ENVOY_METRICS].iter().any(|port| text.contains(&port.to_string()))
}

/// Pods (`namespace/name`) outside of the namespaces that the selected monitors cover; none where no monitor is selected.
pub(super) fn uncovered<'a>(pods: impl Iterator<Item = &'a String>, mesh: &Mesh) -> Vec<String> {
    let selected = selected(mesh);
    if selected.is_empty() {
        return Vec::new();
    }
    let is_covered =
        |pod: &str| pod.split_once('/').is_none_or(|(space, _)| selected.iter().any(|one| one.covers(space)));
    pods.filter(|pod| !is_covered(pod)).cloned().collect()
}

/// The finding about pods that [`uncovered`] named.
pub(super) fn not_covered(pods: &[String], severity: Severity, mesh: &Mesh) -> Option<Diagnosis> {
    if pods.is_empty() {
        return None;
    }
    let selected = selected(mesh);
    let ignoring = selected.iter().find(|one| one.ignores_selectors());
    let (reason, remedy) = match ignoring {
        Some(one) => (
            format!(
                "{} has `ignoreNamespaceSelectors: true`, so {} covers only its own namespace",
                one.prometheus(),
                one.monitor()
            ),
            "Set ignoreNamespaceSelectors of the Prometheus object to false, or create a monitor in each namespace of the mesh.",
        ),
        None => (
            format!("namespaceSelector of {} does not select their namespaces", selected.first()?.monitor()),
            "Set namespaceSelector of the monitor to `any: true`, or add the namespaces to its matchNames; `scrape.apply` creates monitors for all namespaces.",
        ),
    };
    let count = plural(pods.len(), "pod");
    let are = agree(pods.len(), "is", "are");
    let evidence =
        selected.iter().take(super::NAMES).map(|one| format!("{}, selected by {}", one.monitor(), one.prometheus()));
    Some(Diagnosis {
        cause: Cause::NamespaceNotCovered,
        severity,
        message: format!("{count} with a proxy {are} covered by no monitor: {reason}: {}", names(pods)),
        evidence: evidence.collect(),
        remedy: remedy.to_owned(),
    })
}

/// Namespaces of monitors whose targets get them as the label `namespace`.
pub(super) fn replacing_namespaces(mesh: &Mesh) -> Vec<String> {
    let replacing = selected(mesh);
    replacing
        .iter()
        .filter(|one| one.replaces_namespace())
        .map(|one| text(one.monitor, "namespace").to_owned())
        .collect()
}

/// The finding about pods whose series have the namespace of a monitor.
pub(super) fn replaced(pods: &[String], mesh: &Mesh) -> Option<Diagnosis> {
    let all = selected(mesh);
    let one = all.iter().find(|one| one.replaces_namespace()).filter(|_| !pods.is_empty())?;
    let message = format!(
        "series of {} {} the namespace of {}, because {} has `enforcedNamespaceLabel: namespace`: {}",
        plural(pods.len(), "pod"),
        agree(pods.len(), "has", "have"),
        one.monitor(),
        one.prometheus(),
        names(pods)
    );
    Some(Diagnosis {
        cause: Cause::RelabelingDrops,
        severity: Severity::Warning,
        message,
        evidence: vec![one.monitor(), one.prometheus()],
        remedy: "Add the monitor to excludedFromEnforcement of the Prometheus object, or set enforcedNamespaceLabel to a label that nothing else uses.".to_owned(),
    })
}
