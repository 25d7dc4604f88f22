//! Determines the revision of namespaces and pods, and injectors that select the same pods. Pure.
//!
//! Sources: `manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml`, sail-operator
//! `pkg/revision` (what counts as in use).

use std::collections::BTreeMap;

use serde_json::Value;

use super::Webhook;
use crate::analysis::istio::membership::{INJECT, INJECTION, NamespaceMode, REVISION};
use crate::analysis::istio::pod::{has_ended, proxy_container};
use crate::analysis::istio::selector;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The labels of an object as the API server sends it.
#[must_use]
pub fn labels(object: &Value) -> Labels {
    let labels = object["metadata"]["labels"].as_object();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.map(|labels| labels.iter().filter_map(text).collect()).unwrap_or_default()
}

/// The revision or tag that a namespace selects; `istio-injection` takes precedence over `istio.io/rev`.
#[must_use]
pub fn namespace_revision(labels: &Labels) -> Option<&str> {
    mode(labels).injecting_revision()
}

/// Whether a namespace is in ambient mode.
#[must_use]
pub fn is_ambient(labels: &Labels) -> bool {
    mode(labels).is_ambient()
}

fn mode(labels: &Labels) -> NamespaceMode<'_> {
    NamespaceMode::by(|key| labels.get(key).map(String::as_str))
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Its revision, `default` for the default one.
    pub revision: String,
    /// Tag of its image.
    pub version: Option<String>,
}

/// The proxy of a pod, if one runs there: a container, or an init container that stays (native sidecars).
#[must_use]
pub fn proxy(pod: &Value) -> Option<Proxy> {
    let metadata = &pod["metadata"];
    if has_ended(pod) {
        return None;
    }
    let container = proxy_container(pod)?;
    let status: Value = metadata["annotations"]["sidecar.istio.io/status"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let revision = metadata["annotations"][REVISION]
        .as_str()
        .or_else(|| status["revision"].as_str())
        .or_else(|| metadata["labels"][REVISION].as_str())
        .unwrap_or("default");
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    Some(Proxy {
        namespace: text("namespace"),
        name: text("name"),
        revision: revision.to_owned(),
        version: container["image"].as_str().and_then(image_tag),
    })
}

/// The tag of an image, without a variant such as `-distroless`.
#[must_use]
pub fn image_tag(image: &str) -> Option<String> {
    let last = image.rsplit('/').next()?;
    let tag = last.split('@').next()?.split_once(':')?.1;
    Some(tag.trim_end_matches("-distroless").trim_end_matches("-debug").to_owned())
}

/// Whether a label selector selects.
#[must_use]
pub fn selects(selector: &Value, labels: &Labels) -> bool {
    selector::selects_by(selector, &|key| labels.get(key).map(String::as_str))
}

/// Pairs of injectors that would both take the same pod, with an example of it. Two injectors of one pod are
/// istioctl's IST0139.
#[must_use]
pub fn overlaps(webhooks: &[Webhook]) -> Vec<String> {
    let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
    let mut namespaces =
        vec![(format!("{INJECTION}=enabled"), one(INJECTION, "enabled")), ("no label".to_owned(), Labels::new())];
    let revisions = webhooks.iter().flat_map(|it| [Some(&it.revision), it.tag.as_ref()]).flatten();
    for revision in revisions.collect::<std::collections::BTreeSet<_>>() {
        namespaces.push((format!("{REVISION}={revision}"), one(REVISION, revision)));
    }
    let pods = [(String::new(), Labels::new()), (format!(" and a pod with {INJECT}=true"), one(INJECT, "true"))];
    let mut found: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (namespace_text, namespace) in &namespaces {
        for (pod_text, pod) in &pods {
            let takes = |webhook: &&Webhook| {
                webhook
                    .hooks
                    .iter()
                    .any(|hook| selects(&hook["namespaceSelector"], namespace) && selects(&hook["objectSelector"], pod))
            };
            let taking: Vec<_> = webhooks.iter().filter(takes).map(|it| it.name.as_str()).collect();
            for (index, first) in taking.iter().enumerate() {
                for second in &taking[index + 1..] {
                    let example = || {
                        format!("{first} and {second} both take pods of a namespace with {namespace_text}{pod_text}")
                    };
                    found.entry((first, second)).or_insert_with(example);
                }
            }
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mesh::owner::Owner;

    fn injector(name: &str, revision: &str, selector: &Value) -> Webhook {
        Webhook {
            name: name.to_owned(),
            revision: revision.to_owned(),
            tag: None,
            hooks: vec![json!({"namespaceSelector": selector})],
            owner: Owner::Unknown,
        }
    }

    #[test]
    fn injectors_that_select_the_same_pods_are_reported() {
        let enabled =
            json!({"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]});
        let canary = json!({"matchExpressions": [
            {"key": "istio.io/rev", "operator": "In", "values": ["canary"]},
            {"key": "istio-injection", "operator": "DoesNotExist"},
        ]});
        let never = json!({"matchLabels": {"istio.io/deactivated": "never-match"}});
        let two = [injector("a", "default", &enabled), injector("b", "canary", &canary)];
        assert_eq!(overlaps(&two), Vec::<String>::new());
        let three = [two[0].clone(), injector("c", "default", &enabled), injector("d", "default", &never)];
        assert_eq!(overlaps(&three), ["a and c both take pods of a namespace with istio-injection=enabled"]);
    }

    #[test]
    fn a_proxy_is_found_in_either_list_of_containers() {
        let native = json!({
            "metadata": {"name": "a", "namespace": "shop", "annotations": {"istio.io/rev": "canary"}},
            "spec": {"initContainers": [{"name": "istio-proxy", "image": "r.example:5000/proxyv2:1.30.3-distroless"}]},
        });
        let found = proxy(&native).unwrap();
        assert_eq!((found.revision.as_str(), found.version.as_deref()), ("canary", Some("1.30.3")));
        assert_eq!(proxy(&json!({"spec": {"containers": [{"name": "app", "image": "a"}]}})), None);
        let mut ended = native;
        ended["status"] = json!({"phase": "Succeeded"});
        assert_eq!(proxy(&ended), None, "a Job's pod stays in the list when it has ended");
        assert_eq!(image_tag("r.example:5000/proxyv2@sha256:abc"), None);
    }

    #[test]
    fn injection_label_takes_precedence_over_the_revision() {
        let of = |pairs: &[(&str, &str)]| {
            let labels: Labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            namespace_revision(&labels).map(str::to_owned)
        };
        assert_eq!(of(&[("istio.io/rev", "canary")]).as_deref(), Some("canary"));
        assert_eq!(of(&[("istio.io/rev", "canary"), ("istio-injection", "enabled")]).as_deref(), Some("default"));
        assert_eq!(of(&[("istio.io/rev", "canary"), ("istio-injection", "disabled")]), None);
        assert_eq!(of(&[]), None);
        // No control plane has the empty revision, so that label injects nothing.
        assert_eq!(of(&[("istio.io/rev", "")]), None);
    }

    #[test]
    fn injected_namespace_is_not_ambient() {
        let of = |pairs: &[(&str, &str)]| {
            let labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            is_ambient(&labels)
        };
        assert!(of(&[("istio.io/dataplane-mode", "ambient")]));
        assert!(!of(&[("istio.io/dataplane-mode", "ambient"), ("istio-injection", "enabled")]));
    }
}
