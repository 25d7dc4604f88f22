//! Whether a namespace is part of the mesh, by sidecar injection or ambient mode. Source: istio `pkg/config/analysis/analyzers/util/in_mesh.go`,
//! `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`.

use super::Json;

/// What the labels of a namespace set for its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceMode<'a> {
    /// `istio-injection`, if set.
    pub injection: Option<&'a str>,
    /// `istio.io/rev`, if set and not empty: no control plane has the revision `""`.
    pub revision: Option<&'a str>,
    /// `istio.io/dataplane-mode`, if set.
    pub dataplane: Option<&'a str>,
}

impl<'a> NamespaceMode<'a> {
    /// From the labels of a Namespace.
    pub fn of_labels<J: Json>(labels: &'a J) -> Self {
        Self::by(|key| labels.field(key)?.string())
    }

    /// From labels that `label` looks up.
    pub fn by(label: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            injection: label("istio-injection"),
            revision: label("istio.io/rev").filter(|revision| !revision.is_empty()),
            dataplane: label("istio.io/dataplane-mode"),
        }
    }

    /// Whether pods get a sidecar unless their own labels refuse it. `istio-injection` overrides a revision.
    #[must_use]
    pub fn injects(&self) -> bool {
        self.injection.map_or(self.revision.is_some(), |injection| injection == "enabled")
    }

    /// Whether pods are in the ambient mesh unless their own labels refuse it. A sidecar overrides the label.
    #[must_use]
    pub fn is_ambient(&self) -> bool {
        self.dataplane == Some("ambient") && !self.injects()
    }

    /// Whether pods are in the mesh either way.
    #[must_use]
    pub fn is_in_mesh(&self) -> bool {
        self.injects() || self.is_ambient()
    }

    /// The revision or tag whose control plane injects the pods; `default` for `istio-injection: enabled`. None where
    /// nothing injects.
    #[must_use]
    pub fn injecting_revision(&self) -> Option<&'a str> {
        match self.injection {
            Some("enabled") => Some("default"),
            Some(_) => None,
            None => self.revision,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_of_a_namespace_decide_as_in_istio() {
        for (labels, injects, ambient, revision) in [
            (json!({}), false, false, None),
            (json!({"istio-injection": "enabled"}), true, false, Some("default")),
            (json!({"istio-injection": "disabled", "istio.io/rev": "canary"}), false, false, None),
            (json!({"istio-injection": "enabled", "istio.io/rev": "canary"}), true, false, Some("default")),
            (json!({"istio.io/rev": "canary"}), true, false, Some("canary")),
            (json!({"istio.io/rev": ""}), false, false, None),
            (json!({"istio.io/dataplane-mode": "ambient"}), false, true, None),
            (json!({"istio.io/dataplane-mode": "ambient", "istio-injection": "enabled"}), true, false, Some("default")),
            (json!({"istio.io/dataplane-mode": "ambient", "istio-injection": "disabled"}), false, true, None),
            (json!({"istio.io/dataplane-mode": "none"}), false, false, None),
        ] {
            let mode = NamespaceMode::of_labels(&labels);
            assert_eq!(
                (mode.injects(), mode.is_ambient(), mode.injecting_revision()),
                (injects, ambient, revision),
                "{labels}"
            );
        }
    }
}
