//! Whether a namespace is part of the mesh, by sidecar injection or ambient mode. Source: istio `pkg/config/analysis/analyzers/util/in_mesh.go`,
//! `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`.

use super::Json;

/// Label of a namespace that switches sidecar injection by the default revision on or off.
pub const INJECTION: &str = "istio-injection";
/// Label of a namespace that selects a revision or tag; of a control plane, its revision.
pub const REVISION: &str = "istio.io/rev";
/// Label of an injector with the tag that it is for.
pub const TAG: &str = "istio.io/tag";
/// Label of a pod that switches sidecar injection on or off, and takes precedence over its namespace. As an annotation it is
/// deprecated.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Label of a namespace or pod that switches ambient mode on or off.
pub const DATAPLANE: &str = "istio.io/dataplane-mode";
/// Value of [`DATAPLANE`] that switches ambient mode on.
pub const AMBIENT: &str = "ambient";
/// The labels by which a namespace is part of the mesh or explicitly not.
pub const LABELS: [&str; 3] = [INJECTION, REVISION, DATAPLANE];

/// The revision of a control plane, by the value of its label [`REVISION`]: `default` without a value.
#[must_use]
pub fn control_plane_revision(label: Option<&str>) -> &str {
    label.filter(|revision| !revision.is_empty()).unwrap_or("default")
}

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
            injection: label(INJECTION),
            revision: label(REVISION).filter(|revision| !revision.is_empty()),
            dataplane: label(DATAPLANE),
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
        self.dataplane == Some(AMBIENT) && !self.injects()
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
    fn control_plane_without_a_revision_is_the_default() {
        for (label, revision) in [(None, "default"), (Some(""), "default"), (Some("canary"), "canary")] {
            assert_eq!(control_plane_revision(label), revision);
        }
    }

    #[test]
    fn namespace_labels_have_the_precedence_of_istio() {
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
