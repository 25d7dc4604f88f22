//! Policies that ask for tokens which nothing reads. Source: istio.io, `AuthorizationPolicy` (`requestPrincipals`
//! "requires request authentication"), `RequestAuthentication`.

use crate::rules::support::completeness::knows_namespaces;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "security.TokenNotRead",
    codes: &[&SH7136],
    inputs: &[Kind::AuthorizationPolicy, Kind::RequestAuthentication, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7136: Code = Code {
    id: "SH7136",
    name: "RequestPrincipalsWithoutAuthentication",
    level: Level::Warning,
    title: "A policy requires request principals, and no RequestAuthentication applies to its workloads",
    why: "Only a RequestAuthentication makes the proxy read tokens. Without one no request has a request principal, so an \
          ALLOW rule that requires one never matches.",
    remedy: "Create a RequestAuthentication that selects the same workloads, or correct its selector.",
    source: "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  jwtRules: [{issuer: 'https://id.example.com', jwksUri: 'https://id.example.com/keys'}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {requestPrincipals: ['*']}}]}]
",
        after: "\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: 'https://id.example.com', jwksUri: 'https://id.example.com/keys'}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {requestPrincipals: ['*']}}]}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    // A provider of its own reads the token for CUSTOM; DENY with notRequestPrincipals is meant for requests without one.
    if !matches!(spec["action"].text(), "" | "ALLOW") {
        return;
    }
    let Some(field) = token_field(spec) else { return };
    let root = view.root_namespace();
    let is_known = view.has_in(Kind::RequestAuthentication, &policy.namespace) && !view.may_make_anything();
    if !is_known && !knows_namespaces(view) {
        return;
    }
    let of = |namespace: &str| view.in_namespace(Kind::RequestAuthentication, namespace).iter();
    // In the root namespace a policy is for workloads of all namespaces, which may have their own.
    if policy.namespace == root || of(&policy.namespace).chain(of(root)).any(|it| may_share(policy, it)) {
        return;
    }
    let message =
        format!("no RequestAuthentication of namespace {} applies to the workloads of the policy", policy.namespace);
    findings.add(&SH7136, policy, message).field(field);
}

/// Whether both may apply to one workload: by targets of the same name, or by selectors that do not contradict each other.
fn may_share(policy: &Resource, authentication: &Resource) -> bool {
    let (a, b) = (policy.spec(), authentication.spec());
    let targets = |spec: &'_ Value| -> Vec<String> {
        let all = spec["targetRefs"].items().iter().chain(std::iter::once(&spec["targetRef"]));
        all.map(|target| target["name"].text().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let (of_policy, of_other) = (targets(a), targets(b));
    if !of_policy.is_empty() || !of_other.is_empty() {
        return of_policy.is_empty() || of_other.is_empty() || of_policy.iter().any(|name| of_other.contains(name));
    }
    let (a, b) = (Selector::new(a.at("selector.matchLabels")), Selector::new(b.at("selector.matchLabels")));
    a.pairs().iter().all(|(key, value)| b.pairs().iter().all(|(other, wanted)| key != other || value == wanted))
}

fn token_field(spec: &Value) -> Option<String> {
    for (index, rule) in spec["rules"].items().iter().enumerate() {
        for (at, from) in rule["from"].items().iter().enumerate() {
            if !from["source"]["requestPrincipals"].is_empty() {
                return Some(format!("spec.rules[{index}].from[{at}].source.requestPrincipals"));
            }
        }
        let mut conditions = rule["when"].items().iter();
        let is_read = |it: &Value| it["key"].text().starts_with("request.auth.") && !it["values"].is_empty();
        if let Some(at) = conditions.position(is_read) {
            return Some(format!("spec.rules[{index}].when[{at}].key"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn request_authentication_that_may_apply_is_enough() {
        let before = super::SH7136.example.before;
        for (from, to) in [
            ("  selector: {matchLabels: {app: web}}\n", ""),
            ("{app: web}", "{tier: web}"),
            ("metadata: {name: web, namespace: shop}", "metadata: {name: web, namespace: istio-system}"),
        ] {
            assert!(!reported(&before.replace(from, to)).contains("SH7136"), "{to}");
        }
        let alone = before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7136"), "files may lack the RequestAuthentication");
    }
}
