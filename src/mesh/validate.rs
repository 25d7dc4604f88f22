//! Finds parameters that contradict each other, and names that are in use. Pure.

use std::collections::BTreeMap;

use super::{Component, Finding, Gateway, ObservedMesh, Request};

/// Findings about parameters that cannot be executed.
pub(super) fn check(request: &Request, gateways: &[Gateway], facts: &ObservedMesh) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |check, message| found.push(Finding::unforceable(check, message));
    // One inventory for two gateways: the second would prune the first.
    let mut inventories: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    let place = |gateway: &Gateway| gateway.namespace.clone().unwrap_or_else(|| request.namespace.clone());
    let places: Vec<_> = gateways.iter().map(|gateway| (place(gateway), gateway.name.as_str())).collect();
    for (namespace, name) in &places {
        let inventory = Component::Gateway.installation(&format!("{namespace}-{name}"));
        match inventories.insert(inventory.clone(), (namespace, name)) {
            Some(same) if same == (namespace, name) => {
                say("gateways", format!("gateway {namespace}/{name} is named twice"));
            }
            Some((other, its)) => say(
                "gateways",
                format!(
                    "gateways {other}/{its} and {namespace}/{name} would share the inventory {inventory}: rename one"
                ),
            ),
            None => {}
        }
        let installed = facts.installed(Component::Gateway).filter(|it| it.name == format!("{namespace}-{name}"));
        for there in installed.filter(|it| it.namespace != *namespace) {
            let message = format!(
                "gateway {}/{} has the inventory {inventory} that {namespace}/{name} would have: choose another name",
                there.namespace, there.release
            );
            say("gateways", message);
        }
    }
    for (index, tag) in request.tags.iter().enumerate() {
        if request.tags[..index].contains(tag) {
            say("tags", format!("tag {tag} is named twice"));
        } else if tag == request.revision_label() {
            let means = if tag == "default" { ": istio-injection=enabled means it already" } else { "" };
            say("tags", format!("tag {tag} is called as the revision that it points to{means}; leave it out"));
        } else if tag != "default" && facts.istiod(tag).is_some() {
            say("tags", format!("tag {tag} is called as a revision that is installed: choose another name"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::mesh::{Kubernetes, plan};

    fn gateway(namespace: &str, name: &str) -> Gateway {
        Gateway { name: name.to_owned(), namespace: Some(namespace.to_owned()), values: Map::new() }
    }

    fn said(request: &Request) -> Vec<String> {
        let kubernetes: Kubernetes = "v1.34.4".parse().unwrap();
        let facts = ObservedMesh {
            kubernetes,
            installed: Vec::new(),
            control_planes: Vec::new(),
            webhooks: Vec::new(),
            gateway_api: None,
            platform: None,
        };
        let refusing = plan(request, &facts).findings.into_iter().filter(|it| it.refuses(true));
        refusing.map(|it| it.message).collect()
    }

    #[test]
    fn two_gateways_never_share_an_inventory() {
        let with = |gateways| said(&Request { gateways: Some(gateways), ..Request::of("1.30.3".parse().unwrap()) });
        assert!(with(vec![gateway("a", "b"), gateway("a", "c")]).is_empty());
        assert_eq!(with(vec![gateway("a", "b"), gateway("a", "b")]), ["gateway a/b is named twice"]);
        let shared = with(vec![gateway("a-b", "c"), gateway("a", "b-c")]);
        assert_eq!(shared, ["gateways a-b/c and a/b-c would share the inventory istio-gateway-a-b-c: rename one"]);
    }

    #[test]
    fn tag_name_must_not_be_a_revision() {
        let with = |revision: Option<&str>, tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let revision = revision.map(str::to_owned);
            said(&Request { revision, tags, ..Request::of("1.30.3".parse().unwrap()) })
        };
        assert!(with(None, &["prod", "test"]).is_empty());
        assert!(with(Some("canary"), &["default"]).is_empty());
        assert_eq!(with(None, &["prod", "prod"]), ["tag prod is named twice"]);
        let own = "tag canary is called as the revision that it points to; leave it out";
        assert_eq!(with(Some("canary"), &["canary"]), [own]);
        assert_eq!(with(None, &["default"]).len(), 1);
    }
}
