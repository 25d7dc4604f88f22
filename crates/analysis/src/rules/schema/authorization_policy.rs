//! Validates `AuthorizationPolicy`. Source: `ValidateAuthorizationPolicy`, `pkg/config/security/security.go`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.AuthorizationPolicy",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::AuthorizationPolicy],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

/// Fields of a source.
const SOURCE: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

/// Source fields that apply to TCP connections too. Trust domains are not among them in Istio's code.
const TCP_SOURCE: &[&str] = &[
    "principals",
    "notPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

const OPERATION: &[&str] = &["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    selector::check_targets(&spec, report);
    let rules = spec.key("rules");
    let provider = spec.key("provider");
    // The default action is ALLOW.
    let action = match spec.node()["action"].text() {
        "" => "ALLOW",
        stated => stated,
    };
    if matches!(action, "CUSTOM" | "DENY") && rules.items().is_empty() {
        let text = format!("{action} without rules never applies; an empty rule `{{}}` applies to every request");
        report.error(&spec, text);
    }
    if action == "CUSTOM" {
        if !rules.items().is_empty() && !provider.has("name") {
            report.error(&provider, "action CUSTOM requires the name of a provider");
        }
        check_custom(&rules, report);
    } else if provider.is_set() {
        report.error(&provider, format_args!("applies only to action CUSTOM, not to {action}"));
    }
    for rule in rules.each() {
        if rule.is_null() {
            report.error(&rule, "a rule must not be null");
        } else {
            check_rule(&rule, action == "DENY", report);
        }
    }
}

/// An external authorizer is called before the identities are known.
fn check_custom(rules: &At<'_, '_>, report: &mut Report<'_>) {
    for rule in rules.each() {
        for from in rule.key("from").each() {
            let source = from.key("source");
            for key in source.set(&SOURCE[..10]) {
                report.error(&source.key(key), "not supported with action CUSTOM");
            }
        }
        for condition in rule.key("when").each() {
            let key = condition.key("key");
            let identity = matches!(
                key.text(),
                "source.namespace" | "source.serviceAccount" | "source.trustDomain" | "source.principal"
            );
            if identity || key.text().starts_with("request.auth.") {
                report.error(&key, format_args!("{} is not supported with action CUSTOM", key.text()));
            }
        }
    }
}

fn check_rule(rule: &At<'_, '_>, denies: bool, report: &mut Report<'_>) {
    let (mut sources, mut tcp_sources, mut operations, mut ports) = (false, false, false, false);
    for from in rule.key("from").each() {
        let source = from.key("source");
        if source.is_null() {
            report.error(&from, "a source is required");
            continue;
        }
        sources = true;
        tcp_sources |= !source.set(TCP_SOURCE).is_empty();
        check_source(&source, report);
    }
    for to in rule.key("to").each() {
        let operation = to.key("operation");
        if operation.is_null() {
            report.error(&to, "an operation is required");
            continue;
        }
        operations = true;
        ports |= !operation.set(&["ports", "notPorts"]).is_empty();
        check_operation(&operation, report);
    }
    for condition in rule.key("when").each() {
        check_condition(&condition, report);
    }
    if denies && ((sources && !operations && !tcp_sources) || (operations && !ports)) {
        let text = "uses HTTP-only attributes, so it denies all traffic on TCP ports; limit the rule to ports";
        report.warning(rule, text);
    }
}

fn check_source(source: &At<'_, '_>, report: &mut Report<'_>) {
    let accounts = source.set(&["serviceAccounts", "notServiceAccounts"]);
    let others = source.set(&["principals", "notPrincipals", "namespaces", "notNamespaces"]);
    if let (Some(account), Some(other)) = (accounts.first(), others.first()) {
        report.error(&source.key(account), format_args!("must not be set together with {other}"));
    }
    if source.set(SOURCE).is_empty() {
        report.error(source, "an empty list; remove `from` to match all sources");
    }
    for key in source.set(SOURCE) {
        let values = source.key(key);
        match key {
            "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => check_addresses(&values, report),
            "serviceAccounts" | "notServiceAccounts" => check_accounts(&values, report),
            "trustDomains" | "notTrustDomains" => {
                check_wildcards(&values, report);
                for value in values.each().filter(|value| value.text().contains('/')) {
                    report.error(&value, "a trust domain must not contain `/`");
                }
            }
            _ => check_not_empty(&values, report),
        }
    }
}

fn check_operation(operation: &At<'_, '_>, report: &mut Report<'_>) {
    if operation.set(OPERATION).is_empty() {
        report.error(operation, "an empty list; remove `to` to match all operations");
    }
    for key in operation.set(OPERATION) {
        let values = operation.key(key);
        check_not_empty(&values, report);
        match key {
            "ports" | "notPorts" => check_ports(&values, report),
            "paths" | "notPaths" => {
                for path in values.each() {
                    report.check(&path, check_path(path.text()));
                }
            }
            _ => {}
        }
    }
}

fn check_condition(condition: &At<'_, '_>, report: &mut Report<'_>) {
    let key = condition.key("key");
    if key.text().is_empty() {
        report.error(condition, "a key is required");
        return;
    }
    let lists = [condition.key("values"), condition.key("notValues")];
    if lists.iter().all(|list| list.items().is_empty()) {
        report.error(condition, format_args!("{}: at least one of values and notValues is required", key.text()));
        return;
    }
    for values in &lists {
        check_not_empty(values, report);
    }
    let bracketed = || {
        let open = key.text().find('[').unwrap_or_default();
        open > 0 && key.text().ends_with(']') && open + 2 < key.text().len()
    };
    match key.text() {
        "source.ip" | "remote.ip" | "destination.ip" => lists.iter().for_each(|values| check_addresses(values, report)),
        "destination.port" => lists.iter().for_each(|values| check_ports(values, report)),
        "source.serviceAccount" => lists.iter().for_each(|values| check_accounts(values, report)),
        "source.trustDomain" => lists.iter().for_each(|values| check_wildcards(values, report)),
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => {}
        text if ["request.headers", "request.auth.claims", "experimental.envoy.filters."]
            .iter()
            .any(|known| text.starts_with(known)) =>
        {
            if !bracketed() {
                report.error(
                    &key,
                    format_args!(
                        "{text:?} requires a name in brackets, as in \
                                                 `request.headers[x-user]`"
                    ),
                );
            }
        }
        "destination.namespace" => report.error(
            &key,
            "not supported as an attribute; the policy's own namespace sets \
                                                       it",
        ),
        text if text.starts_with("destination.labels") => report.error(
            &key,
            "not supported as an attribute; use the \
                                                                              selector of the policy",
        ),
        text => report.error(&key, format_args!("{text:?} is not an attribute that Istio supports")),
    }
}

fn check_not_empty(values: &At<'_, '_>, report: &mut Report<'_>) {
    for value in values.each().filter(|value| value.text().is_empty()) {
        report.error(&value, "a value must not be empty");
    }
}

/// `*` alone, as a prefix or as a suffix.
fn check_wildcards(values: &At<'_, '_>, report: &mut Report<'_>) {
    check_not_empty(values, report);
    for value in values.each() {
        let text = value.text();
        let inside = text.get(1..text.len().saturating_sub(1)).is_some_and(|inside| inside.contains('*'));
        if text.matches('*').count() > 1 || inside {
            report.error(&value, "only one `*` is allowed, at the beginning or the end");
        }
    }
}

fn check_addresses(values: &At<'_, '_>, report: &mut Report<'_>) {
    for value in values.each() {
        report.ip_or_block(&value);
    }
}

fn check_ports(values: &At<'_, '_>, report: &mut Report<'_>) {
    for value in values.each() {
        let text = value.text();
        if !(text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()) {
            report.error(&value, format_args!("{text:?} is not a port"));
        }
    }
}

/// `name` or `namespace/name`, at most 16 of them.
fn check_accounts(values: &At<'_, '_>, report: &mut Report<'_>) {
    if values.items().len() > 16 {
        report.error(values, "at most 16 entries are allowed");
    }
    for value in values.each() {
        let text = value.text();
        if text.contains('*') {
            report.error(&value, "wildcards are not supported for service accounts");
        } else if text.len() > 320 || text.split('/').count() > 2 || text.split('/').any(str::is_empty) {
            report.error(&value, format_args!("{text:?} must have the form `name` or `namespace/name`"));
        }
    }
}

/// Path templates: `{*}` matches one segment, and `{**}` matches all remaining segments.
fn check_path(path: &str) -> Result<(), String> {
    let is_template = path.contains("{*}") || path.contains("{**}");
    let mut rest = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if rest => return Err(format!("in {path:?} the template `{{**}}` must be the last one")),
            "{*}" => {}
            "{**}" => rest = true,
            _ if segment.contains(['{', '}']) => {
                return Err(format!("in {path:?} braces are allowed only as the whole segments `{{*}}` and `{{**}}`"));
            }
            _ if is_template && !is_literal(segment) => {
                return Err(format!("in {path:?} the segment {segment:?} is not valid in a template"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Characters of a path segment (RFC 3986), without `*`.
fn is_literal(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::check_path;

    #[test]
    fn path_templates() {
        for (path, expected) in [
            ("/a/*", true),
            ("/a/{*}/b", true),
            ("/{**}", true),
            ("/{**}/a", true),
            ("/{**}/{*}", false),
            ("/a{*}", false),
            ("/{x}", false),
            ("/{*}/a*", false),
            ("/{*}//a", false),
        ] {
            assert_eq!(check_path(path).is_ok(), expected, "{path}");
        }
    }
}
