//! AuthorizationPolicy. Source: `ValidateAuthorizationPolicy`, `pkg/config/security/security.go`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.AuthorizationPolicy",
    codes: &[&IST0106, &IST0133],
    reads: &[Kind::AuthorizationPolicy],
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

/// Those that a proxy knows of TCP connections too. Trust domains are not among them in Istio's code.
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
    // ALLOW is the action of one that states none.
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
            report.error(&provider, "CUSTOM needs the name of a provider");
        }
        check_custom(&rules, report);
    } else if provider.is_set() {
        report.error(&provider, format_args!("it is for the action CUSTOM, not for {action}"));
    }
    for rule in rules.each() {
        if rule.is_null() {
            report.error(&rule, "a rule cannot be null");
        } else {
            check_rule(&rule, action == "DENY", report);
        }
    }
}

/// What the external authorizer is asked about cannot depend on identities.
fn check_custom(rules: &At<'_, '_>, report: &mut Report<'_>) {
    for rule in rules.each() {
        for from in rule.key("from").each() {
            let source = from.key("source");
            for key in source.set(&SOURCE[..10]) {
                report.error(&source.key(key), "it is not supported with the action CUSTOM");
            }
        }
        for condition in rule.key("when").each() {
            let key = condition.key("key");
            let identity = matches!(
                key.text(),
                "source.namespace" | "source.serviceAccount" | "source.trustDomain" | "source.principal"
            );
            if identity || key.text().starts_with("request.auth.") {
                report.error(&key, format_args!("{} is not supported with the action CUSTOM", key.text()));
            }
        }
    }
}

fn check_rule(rule: &At<'_, '_>, denies: bool, report: &mut Report<'_>) {
    let (mut sources, mut tcp_sources, mut operations, mut ports) = (false, false, false, false);
    for from in rule.key("from").each() {
        let source = from.key("source");
        if source.is_null() {
            report.error(&from, "a source is needed");
            continue;
        }
        sources = true;
        tcp_sources |= !source.set(TCP_SOURCE).is_empty();
        check_source(&source, report);
    }
    for to in rule.key("to").each() {
        let operation = to.key("operation");
        if operation.is_null() {
            report.error(&to, "an operation is needed");
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
        let text = "what it asks for exists in HTTP only, so on ports of TCP it denies everything; name the ports";
        report.warning(rule, text);
    }
}

fn check_source(source: &At<'_, '_>, report: &mut Report<'_>) {
    let accounts = source.set(&["serviceAccounts", "notServiceAccounts"]);
    let others = source.set(&["principals", "notPrincipals", "namespaces", "notNamespaces"]);
    if let (Some(account), Some(other)) = (accounts.first(), others.first()) {
        report.error(&source.key(account), format_args!("it cannot be set together with {other}"));
    }
    if source.set(SOURCE).is_empty() {
        report.error(source, "it is empty; without a source the rule is for all of them");
    }
    for key in source.set(SOURCE) {
        let values = source.key(key);
        match key {
            "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => check_addresses(&values, report),
            "serviceAccounts" | "notServiceAccounts" => check_accounts(&values, report),
            "trustDomains" | "notTrustDomains" => {
                check_wildcards(&values, report);
                for value in values.each().filter(|value| value.text().contains('/')) {
                    report.error(&value, "a trust domain has no `/`");
                }
            }
            _ => check_not_empty(&values, report),
        }
    }
}

fn check_operation(operation: &At<'_, '_>, report: &mut Report<'_>) {
    if operation.set(OPERATION).is_empty() {
        report.error(operation, "it is empty; without an operation the rule is for all of them");
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
        report.error(condition, "a key is needed");
        return;
    }
    let lists = [condition.key("values"), condition.key("notValues")];
    if lists.iter().all(|list| list.items().is_empty()) {
        report.error(condition, format_args!("{}: at least one of values and notValues is needed", key.text()));
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
                report.error(&key, format_args!("{text:?} needs a name in brackets, as in `request.headers[x-user]`"));
            }
        }
        "destination.namespace" => report.error(&key, "it is the policy's own namespace instead"),
        text if text.starts_with("destination.labels") => report.error(&key, "it is the policy's selector instead"),
        text => report.error(&key, format_args!("{text:?} is no key that Istio knows")),
    }
}

fn check_not_empty(values: &At<'_, '_>, report: &mut Report<'_>) {
    for value in values.each().filter(|value| value.text().is_empty()) {
        report.error(&value, "a value cannot be empty");
    }
}

/// `*` alone, at the beginning or at the end.
fn check_wildcards(values: &At<'_, '_>, report: &mut Report<'_>) {
    check_not_empty(values, report);
    for value in values.each() {
        let text = value.text();
        let inside = text.get(1..text.len().saturating_sub(1)).is_some_and(|inside| inside.contains('*'));
        if text.matches('*').count() > 1 || inside {
            report.error(&value, "it can have one `*`, at its beginning or end");
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
            report.error(&value, format_args!("{text:?} is no port"));
        }
    }
}

/// `name` or `namespace/name`, at most 16 of them.
fn check_accounts(values: &At<'_, '_>, report: &mut Report<'_>) {
    if values.items().len() > 16 {
        report.error(values, "there can be at most 16");
    }
    for value in values.each() {
        let text = value.text();
        if text.contains('*') {
            report.error(&value, "wildcards are not supported for service accounts");
        } else if text.len() > 320 || text.split('/').count() > 2 || text.split('/').any(str::is_empty) {
            report.error(&value, format_args!("{text:?} is neither `name` nor `namespace/name`"));
        }
    }
}

/// `{*}` and `{**}` stand for one segment and for all that follow.
fn check_path(path: &str) -> Result<(), String> {
    let is_template = path.contains("{*}") || path.contains("{**}");
    let mut rest = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if rest => return Err(format!("in {path:?} `{{**}}` is not the last template")),
            "{*}" => {}
            "{**}" => rest = true,
            _ if segment.contains(['{', '}']) => {
                return Err(format!("in {path:?} braces are only for `{{*}}` and `{{**}}` as whole segments"));
            }
            _ if is_template && !is_literal(segment) => {
                return Err(format!("in {path:?} the segment {segment:?} cannot be part of a template"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Characters of a path's segment (RFC 3986), without `*`.
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
