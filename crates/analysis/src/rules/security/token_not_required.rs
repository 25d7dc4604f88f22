//! Checks for token validation without a policy that requires a token. Source: istio.io, `RequestAuthentication`
//! ("requests without a token are accepted"), tasks/security/authentication/authn-policy, "Require a valid token".

use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "security.TokenNotRequired",
    codes: &[&SH7223],
    inputs: &[
        Kind::RequestAuthentication,
        Kind::AuthorizationPolicy,
        Kind::Namespace,
        Kind::Deployment,
        Kind::MeshConfig,
    ],
    check: Check::Each(&[Kind::RequestAuthentication], check),
};

static SH7223: Code = Code {
    id: "SH7223",
    name: "TokenNotRequired",
    level: Level::Info,
    title: "RequestAuthentication validates tokens, but no policy requires one",
    why: "A RequestAuthentication rejects an invalid token. A request without a token is accepted, so it protects \
          nothing by itself.",
    remedy: "Add an AuthorizationPolicy with requestPrincipals (ALLOW) or notRequestPrincipals: [\"*\"] (DENY) for \
             the same workloads.",
    source: "https://istio.io/latest/docs/tasks/security/authentication/authn-policy/#require-a-valid-token",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: 'https://id.example.com', jwksUri: 'https://id.example.com/keys'}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{to: [{operation: {methods: [GET]}}]}]
",
        after: "\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  jwtRules: [{issuer: 'https://id.example.com', jwksUri: 'https://id.example.com/keys'}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{from: [{source: {requestPrincipals: ['*']}}], to: [{operation: {methods: [GET]}}]}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, authentication: &Resource, findings: &mut Findings) {
    let rules = authentication.spec()["jwtRules"].items();
    // If the token or its claims are forwarded, the application may enforce it.
    let is_passed_on = |rule: &Value| {
        rule["forwardOriginalToken"].is_true()
            || rule["outputPayloadToHeader"].is_set()
            || !rule["outputClaimToHeaders"].is_empty()
    };
    if rules.is_empty() || rules.iter().any(is_passed_on) {
        return;
    }
    let namespace = authentication.namespace.as_str();
    let policies = |namespace| view.in_namespace(Kind::AuthorizationPolicy, namespace);
    let is_known = !policies(namespace).is_empty() && !view.may_be_made("AuthorizationPolicy", namespace, "");
    if !is_known && !is_whole_cluster(view) {
        return;
    }
    // Any such policy in the namespace counts, whichever workloads it selects.
    if policies(namespace).iter().chain(policies(view.root_namespace())).any(|policy| asks_for_tokens(policy.spec())) {
        return;
    }
    let message = format!("requests without a token are accepted: no policy in {namespace} requires requestPrincipals");
    findings.add(&SH7223, authentication, message).field("spec.jwtRules");
}

fn asks_for_tokens(policy: &Value) -> bool {
    // An external authorizer (CUSTOM) may handle authentication.
    policy["action"].text() == "CUSTOM"
        || policy["rules"].items().iter().any(|rule| {
            let asks = |entry: &Value| {
                ["requestPrincipals", "notRequestPrincipals"].iter().any(|field| !entry["source"][*field].is_empty())
            };
            rule["from"].items().iter().any(asks)
                || rule["when"].items().iter().any(|condition| condition["key"].text().starts_with("request.auth."))
        })
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn other_token_checks_are_accepted() {
        let before = super::SH7223.example.before;
        assert!(reported(before).contains("SH7223"));
        for (from, to) in [
            ("jwksUri:", "forwardOriginalToken: true, jwksUri:"),
            ("rules: [{to:", "rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}], to:"),
            ("  rules: [{to:", "  action: CUSTOM\n  provider: {name: a}\n  rules: [{to:"),
        ] {
            assert!(!reported(&before.replace(from, to)).contains("SH7223"), "{to}");
        }
        let alone = before.split_once("---").unwrap().0;
        assert!(!reported(alone).contains("SH7223"), "files may lack the policy");
    }
}
