//! Validates `RequestAuthentication`. Source: `ValidateRequestAuthentication`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::syntax::url::{self, Form};
use crate::{Check, Findings, Kind, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.RequestAuthentication",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::RequestAuthentication],
    check: Check::Each(&[Kind::RequestAuthentication], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    selector::check_targets(&spec, report);
    for rule in spec.key("jwtRules").each().filter(|rule| rule.is_set()) {
        check_rule(&rule, report);
    }
}

fn check_rule(rule: &At<'_, '_>, report: &mut Report<'_>) {
    if !rule.has("issuer") && !rule.has("jwksUri") {
        report.error(rule, "at least one of issuer and jwksUri is required");
    }
    let from = rule.key("jwksUri");
    if !from.is_empty() {
        match url::scheme(from.text(), Form::Any) {
            Ok(scheme) if matches!(scheme.as_str(), "http" | "https") => {}
            Ok(_) => report.error(&from, format_args!("{:?} must begin with http:// or https://", from.text())),
            Err(why) => report.error(&from, format_args!("{:?} is not a valid URL: {why}", from.text())),
        }
    }
    let keys = rule.key("jwks");
    if !keys.is_empty() {
        check_keys(&keys, report);
    }
    for key in ["audiences", "fromParams", "fromCookies"] {
        for value in rule.key(key).each().filter(|value| value.text().is_empty()) {
            report.error(&value, "a value must not be empty");
        }
    }
    for header in rule.key("fromHeaders").each() {
        if !header.has("name") {
            report.error(&header, "the name of a header is required");
        }
    }
    for output in rule.key("outputClaimToHeaders").each() {
        if !output.has("claim") || !output.has("header") {
            report.error(&output, "both claim and header are required");
            continue;
        }
        let header = output.key("header");
        if !header.text().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            report.error(&header, format_args!("{:?} is not a valid header name", header.text()));
        }
    }
    report.duration(&rule.key("timeout"));
}

/// A JSON Web Key Set, or one key (RFC 7517, 7518, 8037). Messages do not quote the value, because it may contain a
/// secret.
fn check_keys(at: &At<'_, '_>, report: &mut Report<'_>) {
    let set: Value = match serde_json::from_str(at.text()) {
        Ok(set @ Value::Map(_)) => set,
        Ok(_) => return report.error(at, "valid JSON, but not a JSON Web Key Set"),
        Err(error) => {
            return report.error(
                at,
                format_args!(
                    "not a JSON Web Key Set: invalid JSON at line {}, column {}",
                    error.line(),
                    error.column()
                ),
            );
        }
    };
    let keys = match &set["keys"] {
        Value::List(keys) => keys,
        Value::Null => std::slice::from_ref(&set),
        _ => return report.error(at, "`keys` is not a list"),
    };
    for (index, key) in keys.iter().enumerate() {
        let needed: &[&str] = match key["kty"].text() {
            "RSA" => &["n", "e"],
            "EC" => &["crv", "x", "y"],
            "OKP" => &["crv", "x"],
            "oct" => &["k"],
            _ => {
                report.error(
                    at,
                    format_args!(
                        "key {index} has an unknown type (`kty`); supported are RSA, EC, OKP \
                                               and oct"
                    ),
                );
                continue;
            }
        };
        if let Some(missing) = needed.iter().find(|name| key[**name].text().is_empty()) {
            report.error(at, format_args!("key {index} has no `{missing}`"));
        } else if key["kty"].text() == "oct" || key["d"].is_set() {
            report.warning(
                at,
                format_args!(
                    "key {index} contains a private key, which anyone who can read this object can use; only public \
                     keys are required"
                ),
            );
        }
    }
}
