//! Checks for policies that fail open because every value that is not listed is allowed. Source: istio.io, security best
//! practices, "Use ALLOW-with-positive-matching and DENY-with-negative-match patterns".

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "access.Matching",
    codes: &[&SH7204, &SH7205],
    inputs: &[Kind::AuthorizationPolicy],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7204: Code = Code {
    id: "SH7204",
    name: "AllowWithNegativeMatch",
    level: Level::Warning,
    title: "ALLOW policy uses only negative matches",
    why: "A negative match allows every value that it does not list: a new path, another spelling of the same path, \
          an unknown client. A gap in the list opens access.",
    remedy: "List what is allowed with paths, methods, principals or namespaces. Alternatively use a DENY policy with \
             this negative match and an ALLOW policy beside it.",
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
    title: "DENY policy matches paths that a client can spell differently",
    why: "A request whose path is spelled differently, but means the same to the application, does not match the DENY \
          rule. It is accepted unless an ALLOW policy rejects it.",
    remedy: "Use notPaths to deny every path that is not known, or add an ALLOW policy with the permitted paths.",
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

/// A rule may have negative matches if a positive one in the same part narrows it.
fn check_allow(policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        let sides = [("from", "source", &SOURCES[..]), ("to", "operation", &OPERATIONS[..])];
        for (list, item, fields) in sides {
            for (at, entry) in rule[list].items().iter().enumerate() {
                let Some(negative) = only_negative(&entry[item], fields) else { continue };
                let message = format!("rule {index} of {} allows everything except what {negative} lists", policy.name);
                findings
                    .add(&SH7204, policy, message)
                    .field(format!("spec.rules[{index}].{list}[{at}].{item}.{negative}"))
                    .arguments([negative]);
            }
        }
    }
}

/// The first negative field, if there is no positive one.
fn only_negative(entry: &Value, fields: &[&str]) -> Option<String> {
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
    // With an ALLOW policy in the namespace, a path that it does not list is rejected anyway.
    let is_allow = |other: &Resource| matches!(other.spec()["action"].text(), "" | "ALLOW");
    if view.in_namespace(Kind::AuthorizationPolicy, &policy.namespace).iter().any(|other| is_allow(other)) {
        return;
    }
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["to"].items().iter().enumerate() {
            let paths = &entry["operation"]["paths"];
            // A suffix cannot evade a prefix match.
            if let Some(path) = paths.texts().find(|path| !path.contains('*')) {
                let message = format!(
                    "{} denies the path {path}, and no ALLOW policy in namespace {} limits which paths are permitted",
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
    fn negative_match_beside_positive_is_accepted() {
        let narrowed =
            super::SH7204.example.before.replace("notPaths: [/admin]", "paths: [/api/*], notPaths: [/api/admin]");
        assert!(!reported(&narrowed).contains("SH7204"));
    }

    #[test]
    fn denied_path_with_allow_policy_is_accepted() {
        let allow = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: permitted, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/cart/*]}}]}]}
";
        assert!(!reported(&format!("{}{allow}", super::SH7205.example.before)).contains("SH7205"));
    }
}
