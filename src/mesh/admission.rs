//! Admission webhooks as far as they can break a mesh: which objects each one is called for, and whether the Service
//! that it calls exists. Pure.
//!
//! Source: `k8s.io/api/admissionregistration/v1`; how rules match: `k8s.io/apiserver` `pkg/admission/plugin/webhook/predicates`.

use serde_json::Value;

use super::owner::{self, Owner};
use super::usage::{self, Labels};
use crate::analysis::istio::membership::{REVISION, TAG};

/// The suffix of the API groups of Istio.
const GROUP: &str = ".istio.io";
/// Requests for these resources never call a webhook.
const EXEMPT: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// One webhook of a `MutatingWebhookConfiguration` or `ValidatingWebhookConfiguration`.
#[derive(Debug, Clone)]
pub struct AdmissionWebhook {
    /// Kind and name of its configuration, such as `ValidatingWebhookConfiguration istiod-default-validator`.
    pub configuration: String,
    /// Name of the configuration.
    pub name: String,
    /// Who installed the configuration.
    pub owner: Owner,
    /// The label `istio.io/rev`.
    pub revision: Option<String>,
    /// The label `istio.io/tag`.
    pub tag: Option<String>,
    /// Namespace and name of the Service that it calls; absent for a URL.
    pub service: Option<(String, String)>,
    /// A request is refused when the webhook cannot be called (`failurePolicy: Fail`, the default).
    pub fails_closed: bool,
    hook: Value,
}

/// One request that creates an object.
#[derive(Debug, Clone, Default)]
pub struct Creation {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural name, such as `deployments`.
    pub resource: String,
    /// Labels of the object.
    pub labels: Labels,
    /// Labels of its namespace; absent for what has none.
    pub namespace: Option<Labels>,
    /// Name of the object in messages.
    pub title: String,
}

impl AdmissionWebhook {
    /// The webhooks of a configuration; none for another kind of object.
    #[must_use]
    pub fn of(kind: &str, configuration: &Value) -> Vec<Self> {
        let metadata = &configuration["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let label = |key: &str| metadata["labels"][key].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let hooks = configuration["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
        let one = |hook: &Value| {
            let service = &hook["clientConfig"]["service"];
            let text = |key: &str| service[key].as_str().map(str::to_owned);
            Self {
                configuration: format!("{kind} {name}"),
                name: name.to_owned(),
                owner: owner::of(configuration),
                revision: label(REVISION),
                tag: label(TAG),
                service: text("namespace").zip(text("name")),
                fails_closed: hook["failurePolicy"] != "Ignore",
                hook: hook.clone(),
            }
        };
        hooks.iter().map(one).collect()
    }

    /// Whether it validates objects, and does not change them.
    #[must_use]
    pub fn is_validator(&self) -> bool {
        self.configuration.starts_with("Validating")
    }

    /// Whether it is an injector of Istio.
    #[must_use]
    pub fn is_injector(&self) -> bool {
        !self.is_validator() && self.hook["name"].as_str().is_some_and(|it| it.ends_with("sidecar-injector.istio.io"))
    }

    /// Whether it validates objects of Istio's kinds and of no others.
    #[must_use]
    pub fn is_for_istio(&self) -> bool {
        let groups = || self.rules().flat_map(|rule| rule["apiGroups"].as_array().into_iter().flatten());
        self.is_validator()
            && groups().next().is_some()
            && groups().all(|it| it.as_str().is_some_and(|it| it.ends_with(GROUP)))
    }

    /// Whether some namespace or object can select it: `istioctl tag set default` disables the injector of the default
    /// revision by a selector that matches nothing.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        ["namespaceSelector", "objectSelector"]
            .into_iter()
            .any(|selector| self.hook[selector]["matchLabels"]["istio.io/deactivated"] == "never-match")
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.hook["rules"].as_array().into_iter().flatten()
    }

    /// Whether the API server calls it when the object is created. A webhook with `matchConditions` (CEL) counts as
    /// not called, as these are not evaluated here.
    #[must_use]
    pub fn is_called_for(&self, creation: &Creation) -> bool {
        if EXEMPT.contains(&creation.resource.as_str()) || !self.hook["matchConditions"].is_null() {
            return false;
        }
        let names = |list: &Value, name: &str| {
            list.as_array().is_some_and(|all| all.iter().any(|it| it == name || it == "*" || it == "*/*"))
        };
        let matches = |rule: &Value| {
            let scope = match rule["scope"].as_str() {
                Some("Cluster") => creation.namespace.is_none(),
                Some("Namespaced") => creation.namespace.is_some(),
                _ => true,
            };
            scope
                && names(&rule["operations"], "CREATE")
                && names(&rule["apiGroups"], &creation.group)
                && names(&rule["resources"], &creation.resource)
        };
        let selects = |selector: &str, labels: &Labels| {
            self.hook[selector].is_null() || usage::selects(&self.hook[selector], labels)
        };
        self.rules().any(matches)
            && selects("objectSelector", &creation.labels)
            && creation.namespace.as_ref().is_none_or(|labels| selects("namespaceSelector", labels))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn webhook(rule: &Value, selector: &Value) -> AdmissionWebhook {
        let configuration = json!({"metadata": {"name": "x"}, "webhooks": [{
            "name": "x.example.com", "namespaceSelector": selector, "rules": [rule],
            "clientConfig": {"service": {"namespace": "old", "name": "x"}},
        }]});
        AdmissionWebhook::of("ValidatingWebhookConfiguration", &configuration).remove(0)
    }

    fn deployment(namespace: &str) -> Creation {
        let labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
        Creation {
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            namespace: Some(labels),
            ..Creation::default()
        }
    }

    #[test]
    fn rules_and_selectors_decide_whether_a_webhook_is_called() {
        let rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "resources": ["*"]});
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}});
        assert!(webhook(&rule, &json!({})).is_called_for(&deployment("istio-system")));
        assert!(webhook(&rule, &here).is_called_for(&deployment("istio-system")));
        assert!(!webhook(&rule, &here).is_called_for(&deployment("shop")));
        let others = json!({"operations": ["CREATE"], "apiGroups": ["batch"], "resources": ["*"]});
        assert!(!webhook(&others, &json!({})).is_called_for(&deployment("shop")));
        let cluster = json!({"operations": ["*"], "apiGroups": ["*"], "resources": ["*"], "scope": "Cluster"});
        assert!(!webhook(&cluster, &json!({})).is_called_for(&deployment("shop")));
    }

    #[test]
    fn the_default_failure_policy_is_fail() {
        assert!(webhook(&json!({}), &json!({})).fails_closed);
    }
}
