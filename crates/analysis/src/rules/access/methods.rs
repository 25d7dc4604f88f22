//! Checks for unknown HTTP methods in policies. Source: Kiali's check KIA0102.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "access.Methods",
    codes: &[&SH7102],
    inputs: &[Kind::AuthorizationPolicy],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7102: Code = Code {
    id: "SH7102",
    name: "UnknownMethod",
    level: Level::Warning,
    title: "AuthorizationPolicy lists an invalid HTTP method",
    why: "Methods are compared exactly and are case-sensitive, so this match never applies. An ALLOW policy allows \
          less than intended, and a DENY policy denies less.",
    remedy: "Use GET, HEAD, POST, PUT, PATCH, DELETE, CONNECT, OPTIONS or TRACE in capitals. For gRPC use POST and \
             match the procedure with paths.",
    source: "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to:
    - operation: {methods: [get]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to:
    - operation: {methods: [GET]}
",
    },
    also: &["KIA0102"],
};

/// RFC 9110 and RFC 5789.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];

fn check(_: &View<'_>, policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["to"].items().iter().enumerate() {
            for field in ["methods", "notMethods"] {
                for (which, method) in entry["operation"][field].texts().enumerate() {
                    // An unknown name in capitals may be a method of an extension, such as WebDAV's PROPFIND.
                    let is_plausible =
                        method.contains('*') || method.chars().all(|c| c.is_ascii_uppercase() || c == '-');
                    if is_plausible {
                        continue;
                    }
                    let capitals = method.to_uppercase();
                    let message = if METHODS.contains(&&*capitals) {
                        format!("method {method} never matches, because methods are case-sensitive; use {capitals}")
                    } else {
                        format!("method {method} never matches, because it is not an HTTP method")
                    };
                    findings
                        .add(&SH7102, policy, message)
                        .field(format!("spec.rules[{index}].to[{at}].operation.{field}[{which}]"))
                        .arguments([method]);
                }
            }
        }
    }
}
