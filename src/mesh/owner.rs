//! Recognizes the tool that installed an object of a mesh by its labels and annotations. Pure.
//!
//! Sources: istio/istio `operator/pkg/helmreconciler` (labels of istioctl), helm/helm `pkg/action/validate.go`,
//! istio-ecosystem/sail-operator `pkg/constants`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::analysis::istio::managed;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// This worker.
    Sailhand,
    /// `istioctl install`.
    Istioctl,
    /// `helm install`.
    Helm,
    /// The Sail operator.
    SailOperator,
    /// Argo CD.
    ArgoCd,
    /// Flux.
    Flux,
    /// No known tool.
    Unknown,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sailhand => "this worker",
            Self::Istioctl => "istioctl",
            Self::Helm => "Helm",
            Self::SailOperator => "the Sail operator",
            Self::ArgoCd => "Argo CD",
            Self::Flux => "Flux",
            Self::Unknown => "an unknown tool",
        })
    }
}

/// Who made an object.
#[must_use]
pub fn of(object: &Value) -> Owner {
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    let annotation = |key: &str| object["metadata"]["annotations"][key].as_str();
    let owners = object["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let sail = |owner: &Value| owner["apiVersion"].as_str().is_some_and(|it| it.starts_with("sailoperator.io/"));
    let managed_by = label(managed::BY).unwrap_or_default();
    // Marks of a former owner stay when another adopts, so the label that each apply writes is checked first.
    if managed_by == managed::SAILHAND {
        Owner::Sailhand
    } else if managed_by == "sail-operator" || owners.iter().any(sail) {
        Owner::SailOperator
    } else if label("argocd.argoproj.io/instance").or(annotation("argocd.argoproj.io/tracking-id")).is_some() {
        Owner::ArgoCd
    } else if label("helm.toolkit.fluxcd.io/name").or(label("kustomize.toolkit.fluxcd.io/name")).is_some() {
        Owner::Flux
    } else if annotation("meta.helm.sh/release-name").is_some() {
        Owner::Helm
    } else if label(managed::OWNING_RESOURCE).or(label(managed::OPERATOR)).is_some() {
        Owner::Istioctl
    } else {
        Owner::Unknown
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_tool_is_recognized_by_its_labels() {
        let table = [
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "sailhand"}, "annotations": {"meta.helm.sh/release-name": "istiod"}}),
                Owner::Sailhand,
            ),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "install.operator.istio.io/owning-resource": "installed-state"}}),
                Owner::Istioctl,
            ),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "istiod"}}),
                Owner::Helm,
            ),
            (
                json!({"ownerReferences": [{"apiVersion": "sailoperator.io/v1", "kind": "IstioRevision", "name": "default"}], "annotations": {"meta.helm.sh/release-name": "default-istiod"}}),
                Owner::SailOperator,
            ),
            (json!({"labels": {"argocd.argoproj.io/instance": "istio"}}), Owner::ArgoCd),
            (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), Owner::Unknown), // a chart's text, applied by hand
        ];
        for (metadata, owner) in table {
            assert_eq!(of(&json!({"metadata": metadata})), owner, "{metadata}");
        }
    }
}
