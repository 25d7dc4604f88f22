//! Policies that fail open: what nobody thought of is let in. Source: istio.io, security best practices, "Use
//! ALLOW-with-positive-matching and DENY-with-negative-match patterns".

use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "access.Matching",
    codes: &[&SH7204, &SH7205],
    reads: &[Kind::AuthorizationPolicy],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7204: Code = Code {
    id: "SH7204",
    name: "AllowWithNegativeMatch",
    level: Level::Warning,
    title: "An ALLOW policy says what is not allowed instead of what is",
    why: "Whatever the negative match does not name is let in: a new path, another spelling of the same path, a client \
          that nobody thought of. A gap in the list is a hole.",
    remedy: "List what is allowed with paths, methods, principals or namespaces, or turn the policy into a DENY policy \
             with this negative match beside an ALLOW policy.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#safer-authorization-policy-patterns",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: public, namespace: shop}
spec:
  action: ALLOW
  rules:
  - to:
    - operation: {notPaths: [/admin]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: public, namespace: shop}
spec:
  action: ALLOW
  rules:
  - to:
    - operation: {paths: [/public/*]}
",
    },
    also: &[],
};

static SH7205: Code = Code {
    id: "SH7205",
    name: "DenyWithPositivePathMatch",
    level: Level::Info,
    title: "A DENY policy names the paths it refuses",
    why: "A request that is spelt differently and means the same to the application does not match and is let in, \
          unless an ALLOW policy stands in its way.",
    remedy: "Refuse with a negative match (notPaths) whatever is not known, or keep an ALLOW policy with the permitted \
             paths beside it.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#safer-authorization-policy-patterns",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  action: DENY
  rules:
  - to:
    - operation: {paths: [/admin]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  action: DENY
  rules:
  - to:
    - operation: {notPaths: [/public/*]}
",
    },
    also: &[],
};

const OPERATIONS: [&str; 4] = ["hosts", "ports", "methods", "paths"];
const SOURCES: [&str; 6] =
    ["principals", "requestPrincipals", "namespaces", "ipBlocks", "remoteIpBlocks", "serviceAccounts"];

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    match policy.spec()["action"].text() {
        "" | "ALLOW" => check_allow(policy, findings),
        "DENY" => check_deny(view, policy, findings),
        _ => {}
    }
}

/// A rule may have negative matches if a positive one stands beside it on the same side: then it narrows.
fn check_allow(policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        let sides = [("from", "source", &SOURCES[..]), ("to", "operation", &OPERATIONS[..])];
        for (list, item, fields) in sides {
            for (at, entry) in rule[list].items().iter().enumerate() {
                let Some(negative) = only_negative(&entry[item], fields) else { continue };
                let message = format!("rule {index} of {} allows everything but what {negative} lists", policy.name);
                findings
                    .add(&SH7204, policy, message)
                    .field(format!("spec.rules[{index}].{list}[{at}].{item}.{negative}"))
                    .arguments([negative]);
            }
        }
    }
}

/// The first negative field, if no positive one is there.
fn only_negative(entry: &Node, fields: &[&str]) -> Option<String> {
    if fields.iter().any(|field| !entry[*field].is_empty()) {
        return None;
    }
    fields.iter().map(|field| negative(field)).find(|field| !entry[field.as_str()].is_empty())
}

/// `paths` → `notPaths`.
fn negative(field: &str) -> String {
    let (first, rest) = field.split_at(1);
    format!("not{}{rest}", first.to_uppercase())
}

fn check_deny(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    // With an ALLOW policy in the namespace what is not listed there is refused anyway.
    let is_allow = |other: &Resource| matches!(other.spec()["action"].text(), "" | "ALLOW");
    if view.in_namespace(Kind::AuthorizationPolicy, &policy.namespace).iter().any(|other| is_allow(other)) {
        return;
    }
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["to"].items().iter().enumerate() {
            let paths = &entry["operation"]["paths"];
            // Whatever begins with a prefix cannot be evaded by what follows it.
            if let Some(path) = paths.texts().find(|path| !path.contains('*')) {
                let message = format!(
                    "{} refuses the path {path} and no ALLOW policy of namespace {} says which are permitted",
                    policy.name, policy.namespace
                );
                findings
                    .add(&SH7205, policy, message)
                    .field(format!("spec.rules[{index}].to[{at}].operation.paths"))
                    .arguments([path]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn a_negative_match_that_narrows_a_positive_one_is_fine() {
        let narrowed =
            super::SH7204.example.before.replace("notPaths: [/admin]", "paths: [/api/*], notPaths: [/api/admin]");
        assert!(!reported(&narrowed).contains("SH7204"));
    }

    #[test]
    fn beside_an_allow_policy_a_denied_path_is_not_the_only_wall() {
        let allow = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: permitted, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/cart/*]}}]}]}
";
        assert!(!reported(&format!("{}{allow}", super::SH7205.example.before)).contains("SH7205"));
    }
}
