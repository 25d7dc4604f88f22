//! Policies that name who calls, where callers have no identity. Source: Kiali's check KIA0105; istio.io, security
//! concepts, "Dependency on mutual TLS"; istio/istio#19197.

use crate::rules::mutual_tls::mode::{self, InForce, Mode};
use crate::rules::scope::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, Selector, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "access.Identity",
    codes: &[&SH7104],
    reads: &[Kind::AuthorizationPolicy, Kind::PeerAuthentication, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7104: Code = Code {
    id: "SH7104",
    name: "IdentityWithoutMutualTls",
    level: Level::Error,
    title: "A policy depends on the caller's identity and mutual TLS is not mandatory",
    why: "Who calls is known from the client's certificate. Over plain text there is none: an ALLOW policy refuses \
          everybody, and a DENY policy lets everybody pass who leaves TLS out.",
    remedy: "Make mutual TLS STRICT for these workloads with a PeerAuthentication, or do not refuse by identity: allow \
             by identity instead.",
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
    // At a waypoint each client has an identity: no other connections reach it.
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
    // A gateway's clients are outside the mesh: their certificates are the Gateway's business.
    if labels
        .pairs()
        .iter()
        .any(|(key, value)| *key == "gateway.networking.k8s.io/gateway-name" || value.contains("gateway"))
    {
        return;
    }
    let InForce { mode, policy: by } = mode::of_workload(view, &policy.namespace, &labels, None);
    let action = match spec["action"].text() {
        "" => "ALLOW",
        action => action,
    };
    let told = by.map(|by| format!(" (PeerAuthentication {})", by.full_name())).unwrap_or_default();
    for Use { path, is_positive } in uses {
        let (level, message) = match mode {
            Mode::Disable => (
                Level::Error,
                format!("{action} policy {} depends on the caller's identity and mutual TLS is off{told}", policy.name),
            ),
            Mode::Permissive if is_evaded(action, is_positive) && (by.is_some() || is_whole_cluster(view)) => (
                Level::Warning,
                format!("who calls {action} policy {} without TLS evades it: plain text is taken{told}", policy.name),
            ),
            Mode::Permissive | Mode::Strict => continue,
        };
        let finding = findings.add(&SH7104, policy, message).level(level).field(path);
        if let Some(by) = by {
            finding.related(by);
        }
    }
}

/// A client without identity is not among those refused, and among those that are "not x".
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

/// Where identity is asked for; a positive field beside a negative one decides.
fn uses(spec: &Node) -> Vec<Use> {
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
    fn to_allow_by_identity_is_safe_beside_plain_text() {
        let allow = super::SH7104.example.before.replace("action: DENY", "action: ALLOW");
        assert!(!reported(&allow).contains("SH7104"));
    }

    #[test]
    fn without_a_word_on_mutual_tls_some_files_are_not_judged() {
        let alone = super::SH7104.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7104"));
    }
}
