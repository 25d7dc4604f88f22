//! Validates `ProxyConfig`. Source: `ValidateProxyConfig`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.ProxyConfig",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::ProxyConfig],
    check: Check::Each(&[Kind::ProxyConfig], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    selector::check_selector(&spec.key("selector"), report);
    report.not_negative(&spec.key("concurrency"));
}
