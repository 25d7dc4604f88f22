//! Validates `DestinationRule`. Source: `ValidateDestinationRule`. Warnings about subsets and ports, which Istio's code
//! creates but does not return, are reported too.

use std::collections::BTreeSet;

use super::report::{At, IST0106, IST0133, Report};
use super::{export_to, selector, traffic_policy};
use crate::syntax::name;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.DestinationRule",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::DestinationRule],
    check: Check::Each(&[Kind::DestinationRule], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    let host = spec.key("host");
    report.check(&host, name::check_wildcard(host.text()));
    traffic_policy::check(&spec.key("trafficPolicy"), report);
    let mut names = BTreeSet::new();
    let subsets = spec.key("subsets");
    for subset in subsets.each() {
        if subset.is_null() {
            report.error(&subset, "a subset must not be null");
            continue;
        }
        let name = subset.key("name");
        if !names.insert(name.node().text()) {
            report.error(&name, format_args!("duplicate subset {:?}", name.text()));
        }
        check_name(&name, report);
        report.labels(&subset.key("labels"));
        traffic_policy::check(&subset.key("trafficPolicy"), report);
    }
    let exports = spec.key("exportTo");
    export_to::check(&exports, false, report);
    let workloads = spec.key("workloadSelector");
    if workloads.is_set() {
        export_to::check_own_only(&exports, report);
    }
    selector::check_selector(&workloads, report);
}

/// Name of a subset: a DNS label.
pub(super) fn check_name(name: &At<'_, '_>, report: &mut Report<'_>) {
    if !name::is_label(name.text()) {
        report.error(name, format_args!("the name of a subset must be a DNS label, not {:?}", name.text()));
    }
}
