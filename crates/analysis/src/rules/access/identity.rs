//! Checks policies that match client identities where clients may connect without mutual TLS and have no identity.
//! Source: Kiali's check KIA0105; istio.io, security concepts, "Dependency on mutual TLS"; istio/istio#19197.

use crate::istio::managed::GATEWAY_NAME;
use crate::rules::mutual_tls::mode::{self, EffectiveMode, Mode};
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View};

pub static RULE: Rule = Rule {
    name: "access.Identity",
    codes: &[&SH7104],
    inputs: &[Kind::AuthorizationPolicy, Kind::PeerAuthentication, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7104: Code = Code {
    id: "SH7104",
    name: "IdentityWithoutMutualTls",
    level: Level::Error,
    title: "AuthorizationPolicy matches client identities, but mutual TLS is not STRICT",
    why: "The client identity comes from its mutual TLS certificate. A plaintext connection has none: an ALLOW policy \
          rejects it, and a DENY policy that matches principals or namespaces does not match it, so a client bypasses \
          the policy by connecting without TLS.",
    remedy: "Set mutual TLS to STRICT for these workloads with a PeerAuthentication, or replace the DENY policy with \
             an ALLOW policy that lists the permitted identities.",
    source: "https://istio.io/latest/docs/concepts/security/#dependency-on-mutual-tls",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-test, namespace: shop}
spec:
  action: DENY
  rules:
  - from:
    - source: {namespaces: [test]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-test, namespace: shop}
spec:
  action: DENY
  rules:
  - from:
    - source: {namespaces: [test]}
",
    },
    also: &["KIA0105"],
};

const FIELDS: [&str; 3] = ["principals", "namespaces", "serviceAccounts"];
const NEGATIVE: [&str; 3] = ["notPrincipals", "notNamespaces", "notServiceAccounts"];
const KEYS: [&str; 4] = ["source.principal", "source.namespace", "source.serviceAccount", "connection.sni"];

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    // A waypoint accepts only authenticated connections, so each client has an identity.
    if spec["targetRef"].is_set() || !spec["targetRefs"].is_empty() {
        return;
    }
    let uses = uses(spec);
    if uses.is_empty() {
        return;
    }
    let namespace = view.namespace_of(policy);
    if namespace.is_some_and(|namespace| crate::membership::namespace_mode(namespace).is_ambient()) {
        return;
    }
    let labels = Selector::new(spec.at("selector.matchLabels"));
    // Clients of an ingress gateway are outside the mesh; the Gateway's TLS settings apply to their certificates.
    if labels.pairs().iter().any(|(key, value)| *key == GATEWAY_NAME || value.contains("gateway")) {
        return;
    }
    let EffectiveMode { mode, policy: by } = mode::of_workload(view, &policy.namespace, &labels, None);
    let action = match spec["action"].text() {
        "" => "ALLOW",
        action => action,
    };
    let reported = by.map(|by| format!(" (PeerAuthentication {})", by.full_name())).unwrap_or_default();
    for Use { path, is_positive } in uses {
        let (level, message) = match mode {
            Mode::Disable => (
                Level::Error,
                format!(
                    "{action} policy {} matches client identities, but mutual TLS is disabled{reported}",
                    policy.name
                ),
            ),
            Mode::Permissive if is_evaded(action, is_positive) && (by.is_some() || is_whole_cluster(view)) => (
                Level::Warning,
                format!(
                    "clients can bypass {action} policy {} by connecting without TLS, because plaintext is \
                         accepted{reported}",
                    policy.name
                ),
            ),
            Mode::Permissive | Mode::Strict => continue,
        };
        let finding = findings.add(&SH7104, policy, message).level(level).field(path);
        if let Some(by) = by {
            finding.related(by);
        }
    }
}

/// A client without identity does not match `principals`, and it matches `notPrincipals`.
fn is_evaded(action: &str, is_positive: bool) -> bool {
    match action {
        "DENY" => is_positive,
        "ALLOW" => !is_positive,
        _ => false,
    }
}

struct Use {
    path: String,
    is_positive: bool,
}

/// The first field that matches an identity; a positive field beside a negative one decides.
fn uses(spec: &Value) -> Vec<Use> {
    let mut uses = Vec::new();
    for (index, rule) in spec["rules"].items().iter().enumerate() {
        for (at, entry) in rule["from"].items().iter().enumerate() {
            let source = &entry["source"];
            let set = |fields: [&'static str; 3]| fields.into_iter().find(|field| !source[*field].is_empty());
            let (field, is_positive) = match (set(FIELDS), set(NEGATIVE)) {
                (Some(field), _) => (field, true),
                (None, Some(field)) => (field, false),
                (None, None) => continue,
            };
            uses.push(Use { path: format!("spec.rules[{index}].from[{at}].source.{field}"), is_positive });
        }
        for (at, condition) in rule["when"].items().iter().enumerate() {
            if KEYS.contains(&condition["key"].text()) {
                let is_positive = !condition["values"].is_empty();
                uses.push(Use { path: format!("spec.rules[{index}].when[{at}].key"), is_positive });
            }
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn allow_by_identity_is_safe_with_plaintext() {
        let allow = super::SH7104.example.before.replace("action: DENY", "action: ALLOW");
        assert!(!reported(&allow).contains("SH7104"));
    }

    #[test]
    fn files_without_mutual_tls_settings_are_ignored() {
        let alone = super::SH7104.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7104"));
    }
}
