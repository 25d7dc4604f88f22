//! Whose an object is, by the marks that tools leave on it. Pure.

use serde_json::Value;

use super::desired::PART_OF;
use crate::analysis::istio::managed;

/// Labels that name an owner, and what to call it.
const LABELS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/instance", "Argo CD application"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux kustomization"),
    ("helm.toolkit.fluxcd.io/name", "Flux Helm release"),
    (managed::OWNING_RESOURCE, "istioctl installation"),
];

/// Annotations that name an owner, and what to call it.
const ANNOTATIONS: [(&str, &str); 3] = [
    ("meta.helm.sh/release-name", "Helm release"),
    ("argocd.argoproj.io/tracking-id", "Argo CD application"),
    ("config.k8s.io/owning-inventory", "inventory"),
];

/// Whether it carries the membership label of the installation `id`.
pub(super) fn ours(live: &Value, id: &str) -> bool {
    live["metadata"]["labels"][PART_OF] == id
}

/// Another owner than the installation `id`, if there are signs of one. An object without marks has no owner,
/// even when a field manager has written it: the API server detects conflicts over fields. A membership label has
/// precedence over marks from before the adoption.
pub(super) fn other_owner(live: &Value, id: &str) -> Option<String> {
    if ours(live, id) {
        return None;
    }
    let metadata = &live["metadata"];
    let marked = |place: &str, marks: &[(&str, &str)]| {
        marks.iter().find_map(|(key, owner)| match metadata[place][*key].as_str()? {
            // Istio's charts write this when no installation has a name.
            "unknown" if *key == managed::OWNING_RESOURCE => Some("istioctl".to_owned()),
            name => Some(format!("{owner} {name}")),
        })
    };
    let controller = || {
        let owners = metadata["ownerReferences"].as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        Some(format!("{} {}", owner["kind"].as_str()?, owner["name"].as_str()?))
    };
    let helm = || (metadata["labels"][managed::BY] == managed::HELM).then(|| "a Helm release".to_owned());
    let set = [(PART_OF, "another installation, apply set")];
    // Its value is a mode, no name.
    let istio =
        || metadata["labels"][managed::OPERATOR].is_string().then(|| "istioctl or the Istio operator".to_owned());
    marked("labels", &set)
        .or_else(|| marked("annotations", &ANNOTATIONS))
        .or_else(|| marked("labels", &LABELS))
        .or_else(istio)
        .or_else(controller)
        .or_else(helm)
}

/// Annotations by which an object survives its installation, with a word that their value has: those of Helm, Flux, Argo CD
/// and cli-utils. Flux reads labels too.
const KEEP: [(&str, &str); 5] = [
    ("helm.sh/resource-policy", "keep"),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
    ("argocd.argoproj.io/sync-options", "Prune=false"),
    ("argocd.argoproj.io/sync-options", "Delete=false"),
    ("client.lifecycle.config.k8s.io/deletion", "detach"),
];

/// The annotation or label by which it survives its installation, as a reason.
pub(super) fn keep(live: &Value) -> Option<String> {
    ["annotations", "labels"].into_iter().find_map(|place| {
        let has = |(name, word): &&(&str, &str)| {
            let value = live["metadata"][place][*name].as_str();
            value.is_some_and(|value| value.split(',').any(|part| part.trim() == *word))
        };
        let (name, word) = KEEP.iter().find(has)?;
        Some(format!("its {} {name} says {word}", place.trim_end_matches('s')))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_ownership_mark_is_recognized() {
        let table = [
            (json!({"annotations": {"meta.helm.sh/release-name": "web"}}), "Helm release web"),
            (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), "a Helm release"),
            (json!({"labels": {"argocd.argoproj.io/instance": "web"}}), "Argo CD application web"),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "web"}}), "Flux kustomization web"),
            (json!({"labels": {"operator.istio.io/managed": "Reconcile"}}), "istioctl or the Istio operator"),
            (json!({"labels": {"install.operator.istio.io/owning-resource": "mesh"}}), "istioctl installation mesh"),
            (json!({"labels": {"install.operator.istio.io/owning-resource": "unknown"}}), "istioctl"),
            (json!({"labels": {PART_OF: "applyset-x-v1"}}), "another installation, apply set applyset-x-v1"),
            (json!({"ownerReferences": [{"kind": "Web", "name": "a", "controller": true}]}), "Web a"),
        ];
        for (metadata, owner) in table {
            assert_eq!(other_owner(&json!({"metadata": metadata}), "applyset-me-v1").as_deref(), Some(owner));
        }
    }

    #[test]
    fn annotations_of_other_tools_keep_an_object() {
        let keep = |name: &str, value: &str| keep(&json!({"metadata": {"annotations": {name: value}}}));
        assert_eq!(
            keep("argocd.argoproj.io/sync-options", "Replace=true, Prune=false").as_deref(),
            Some("its annotation argocd.argoproj.io/sync-options says Prune=false")
        );
        let flux = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
        for place in ["annotation", "label"] {
            assert_eq!(
                super::keep(&json!({"metadata": {format!("{place}s"): flux}})),
                Some(format!("its {place} kustomize.toolkit.fluxcd.io/prune says disabled"))
            );
        }
        assert_eq!(keep("helm.sh/resource-policy", "delete"), None);
    }

    #[test]
    fn unmarked_and_own_objects_are_free() {
        let owned_loosely = json!({"metadata": {"ownerReferences": [{"kind": "Web", "name": "a"}]}});
        assert_eq!(other_owner(&owned_loosely, "applyset-me-v1"), None);
        let adopted = json!({"metadata": {
            "labels": {PART_OF: "applyset-me-v1"}, "annotations": {"meta.helm.sh/release-name": "web"},
        }});
        assert_eq!(other_owner(&adopted, "applyset-me-v1"), None);
    }
}
