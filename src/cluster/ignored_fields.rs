//! Fields that are not ours although a chart renders them: others fill them in or change them in the cluster, and
//! sending ours would conflict or undo their work. One table; everything else is fought for. Pure.
//!
//! Sources: istio/istio `pkg/webhooks`, `istioctl/pkg/tag`; KEP-2161 for replicas; and what was seen on a real API server.

use serde_json::{Value, json};

use super::managed_fields;

/// A field that may have another owner.
struct IgnoreRule {
    kinds: &'static [&'static str],
    /// The field of the object whose items it is in; `name` identifies an item.
    items: Option<&'static str>,
    /// The field, below the item or the object.
    field: &'static [&'static str],
    /// Whether it is to be left out.
    leave: fn(&Seen) -> bool,
}

const HOOKS: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

const RULES: &[IgnoreRule] = &[
    // istiod, cert-manager and the like put their certificate in.
    IgnoreRule { kinds: HOOKS, items: Some("webhooks"), field: &["clientConfig", "caBundle"], leave: bundle },
    IgnoreRule {
        kinds: &["CustomResourceDefinition"],
        items: None,
        field: &["spec", "conversion", "webhook", "clientConfig", "caBundle"],
        leave: bundle,
    },
    // istiod raises Ignore to Fail when it answers. While the field is still ours it has to be sent: left out, the API
    // server would fall back to Fail before istiod is there.
    IgnoreRule { kinds: HOOKS, items: Some("webhooks"), field: &["failurePolicy"], leave: policy },
    // `istioctl tag set default` switches the default revision off; the admissions enforcer of AKS adds its own rule.
    IgnoreRule { kinds: HOOKS, items: Some("webhooks"), field: &["namespaceSelector"], leave: selector },
    IgnoreRule { kinds: HOOKS, items: Some("webhooks"), field: &["objectSelector"], leave: selector },
    // A HorizontalPodAutoscaler sets it.
    IgnoreRule {
        kinds: &["Deployment", "StatefulSet", "ReplicaSet"],
        items: None,
        field: &["spec", "replicas"],
        leave: scaled,
    },
];

/// State of one field.
struct Seen<'a> {
    wanted: &'a Value,
    live: Option<&'a Value>,
    /// By managedFields, server-side apply only.
    ours: bool,
    /// Whether we have ever applied the object.
    known: bool,
    /// Owners of the field: manager and subresource.
    owners: Vec<(&'a str, &'a str)>,
}

fn filled(bundle: &Value) -> bool {
    bundle.as_str().is_some_and(|text| !text.is_empty())
}

fn bundle(seen: &Seen) -> bool {
    !filled(seen.wanted) || (!seen.ours && seen.live.is_some_and(filled))
}

fn policy(seen: &Seen) -> bool {
    let others = seen.known || seen.owners.iter().any(|(manager, _)| *manager == ISTIOD);
    others && !seen.ours && seen.live.is_some_and(|live| live != seen.wanted)
}

fn selector(seen: &Seen) -> bool {
    let switched_off = seen.live.is_some_and(|live| live["matchLabels"]["istio.io/deactivated"] == "never-match");
    let enforced = seen.owners.iter().any(|(manager, _)| *manager == "admissionsenforcer");
    !seen.ours && (switched_off || enforced)
}

fn scaled(seen: &Seen) -> bool {
    !seen.ours && seen.owners.contains(&("kube-controller-manager", "scale"))
}

/// The name under which istiod writes.
const ISTIOD: &str = "pilot-discovery";

/// Removes from `body` the fields that other controllers manage.
pub(super) fn strip_ignored(body: &mut Value, live: Option<&Value>) {
    let kind = body["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "ClusterRole" && body.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        // A controller adds them up from the roles that the rule selects.
        body.as_object_mut().and_then(|role| role.remove("rules"));
    }
    for rule in RULES.iter().filter(|rule| rule.kinds.contains(&kind.as_str())) {
        match rule.items {
            None => leave_one(body, live, &[], rule),
            Some(list) => {
                let Some(items) = body.get_mut(list).and_then(Value::as_array_mut) else { continue };
                for item in items {
                    let name = item["name"].clone();
                    let live_item = live.and_then(|live| live[list].as_array()?.iter().find(|one| one["name"] == name));
                    let path = [format!("f:{list}"), format!("k:{}", json!({ "name": name }))];
                    leave_in(item, live, live_item, &path, rule);
                }
            }
        }
    }
}

fn leave_one(body: &mut Value, live: Option<&Value>, path: &[String], rule: &IgnoreRule) {
    leave_in(body, live, live, path, rule);
}

/// `place` is the object or one item of its list, `live_place` the same in the cluster.
fn leave_in(place: &mut Value, live: Option<&Value>, live_place: Option<&Value>, path: &[String], rule: &IgnoreRule) {
    let pointer = format!("/{}", rule.field.join("/"));
    let Some(wanted) = place.pointer(&pointer) else { return };
    let fields: Vec<_> = path.iter().cloned().chain(rule.field.iter().map(|name| format!("f:{name}"))).collect();
    let entries = live.map_or(&[][..], managed_fields::entries);
    let is_ours = |entry: &&Value| managed_fields::is_ours(entry);
    let owns = |entry: &&Value| managed_fields::owns(entry, &fields);
    let text = |entry: &'_ Value, key: &str| entry[key].as_str().map(str::to_owned).unwrap_or_default();
    let owners: Vec<_> = entries
        .iter()
        .filter(|entry| !is_ours(entry) && owns(entry))
        .map(|entry| (text(entry, "manager"), text(entry, "subresource")))
        .collect();
    let seen = Seen {
        wanted,
        live: live_place.and_then(|live| live.pointer(&pointer)),
        ours: entries.iter().any(|entry| is_ours(&entry) && owns(&entry)),
        known: entries.iter().any(|entry| is_ours(&entry)),
        owners: owners.iter().map(|(manager, part)| (manager.as_str(), part.as_str())).collect(),
    };
    if (rule.leave)(&seen)
        && let Some((last, parents)) = rule.field.split_last()
        && let Some(Value::Object(parent)) = parents.iter().try_fold(place, |at, name| at.get_mut(*name))
    {
        parent.remove(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::super::FIELD_MANAGER;
    use super::*;

    const KEY: &str = r#"k:{"name":"a.b.c"}"#;

    fn validator(policy: &str, bundle: &str) -> Value {
        json!({"kind": "ValidatingWebhookConfiguration", "webhooks": [
            {"name": "a.b.c", "failurePolicy": policy, "clientConfig": {"caBundle": bundle, "service": {"name": "x"}}},
        ]})
    }

    fn owned(mut live: Value, entries: &[(&str, &str, Value)]) -> Value {
        let entries = entries.iter().map(
            |(manager, operation, fields)| json!({"manager": manager, "operation": operation, "fieldsV1": fields}),
        );
        live["metadata"] = json!({"managedFields": entries.collect::<Vec<_>>()});
        live
    }

    fn left(mut body: Value, live: Option<&Value>) -> Value {
        strip_ignored(&mut body, live);
        body
    }

    #[test]
    fn validator_is_not_changed_after_istiod_has_patched_it() {
        let rendered = validator("Ignore", "");
        let first = left(rendered.clone(), None);
        assert_eq!(first["webhooks"][0]["failurePolicy"], "Ignore", "nothing is there yet: as rendered");
        assert_eq!(first["webhooks"][0]["clientConfig"], json!({"service": {"name": "x"}}));

        let ours = json!({"f:webhooks": {KEY: {"f:failurePolicy": {}}}});
        let waiting = owned(validator("Ignore", "Zm9v"), &[(FIELD_MANAGER, "Apply", ours)]);
        assert_eq!(left(rendered.clone(), Some(&waiting))["webhooks"][0]["failurePolicy"], "Ignore");

        let lost = json!({"f:webhooks": {KEY: {"f:name": {}}}});
        let theirs = json!({"f:webhooks": {KEY: {"f:failurePolicy": {}, "f:clientConfig": {"f:caBundle": {}}}}});
        let raised =
            owned(validator("Fail", "Zm9v"), &[(FIELD_MANAGER, "Apply", lost), (ISTIOD, "Update", theirs.clone())]);
        let later = left(rendered.clone(), Some(&raised));
        assert_eq!(later["webhooks"][0], json!({"name": "a.b.c", "clientConfig": {"service": {"name": "x"}}}));

        // Another tool's installation that is adopted: istiod's work there stays too.
        let adopted = owned(validator("Fail", "Zm9v"), &[(ISTIOD, "Update", theirs)]);
        assert_eq!(left(rendered, Some(&adopted))["webhooks"][0].get("failurePolicy"), None);
    }

    #[test]
    fn ca_bundle_of_the_manifest_is_applied() {
        let own = validator("Fail", "Zm9v");
        assert_eq!(left(own.clone(), None), own);
        let crd = json!({"kind": "CustomResourceDefinition", "spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": ""}}}}});
        assert_eq!(left(crd, None)["spec"]["conversion"]["webhook"]["clientConfig"], json!({}));
    }

    #[test]
    fn selectors_that_a_tag_or_a_cloud_has_set_stay() {
        let injector = |selector: Value| json!({"kind": "MutatingWebhookConfiguration", "webhooks": [{"name": "a.b.c", "namespaceSelector": selector}]});
        let rendered = injector(json!({"matchLabels": {"istio-injection": "enabled"}}));
        let off = injector(json!({"matchLabels": {"istio.io/deactivated": "never-match"}}));
        let theirs = json!({"f:webhooks": {KEY: {"f:namespaceSelector": {}}}});
        let switched_off = owned(off, &[("istioctl", "Update", theirs.clone())]);
        assert_eq!(left(rendered.clone(), Some(&switched_off))["webhooks"][0], json!({"name": "a.b.c"}));

        let other = injector(json!({"matchLabels": {"x": "y"}}));
        let enforced = owned(other.clone(), &[("admissionsenforcer", "Update", theirs.clone())]);
        assert_eq!(left(rendered.clone(), Some(&enforced))["webhooks"][0], json!({"name": "a.b.c"}));
        let edited = owned(other, &[("kubectl-edit", "Update", theirs)]);
        assert_eq!(left(rendered.clone(), Some(&edited)), rendered, "a person's edit is drift");
    }

    #[test]
    fn rules_of_an_aggregated_cluster_role_are_not_applied() {
        let role = |more: Value| {
            let mut role = json!({"kind": "ClusterRole", "rules": []});
            role["aggregationRule"] = more;
            role
        };
        let selectors = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        assert_eq!(left(role(selectors), None).get("rules"), None);
        assert_eq!(left(role(json!(null)), None)["rules"], json!([]));
    }

    #[test]
    fn replicas_of_an_autoscaled_workload_are_not_applied() {
        let wanted = json!({"kind": "Deployment", "spec": {"replicas": 2, "paused": false}});
        let mut live =
            owned(wanted.clone(), &[("kube-controller-manager", "Update", json!({"f:spec": {"f:replicas": {}}}))]);
        assert_eq!(left(wanted.clone(), Some(&live)), wanted, "a rollout's own writes are not a scaling");
        live["metadata"]["managedFields"][0]["subresource"] = json!("scale");
        assert_eq!(left(wanted, Some(&live))["spec"], json!({"paused": false}));
    }
}
