//! Validates `PeerAuthentication`. Source: `ValidatePeerAuthentication`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.PeerAuthentication",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::PeerAuthentication],
    check: Check::Each(&[Kind::PeerAuthentication], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    let selected = spec.key("selector");
    let ports = spec.key("portLevelMtls");
    if !ports.entries().is_empty() && selected.get("matchLabels").entries().is_empty() {
        report.error(&ports, "requires a selector with labels, because ports belong to a workload");
    }
    for (port, setting) in ports.each_entry() {
        if !port.parse::<u64>().is_ok_and(|port| (1..=65535).contains(&port)) {
            report.error(&setting, format_args!("a port must be from 1 to 65535, not {port}"));
        }
    }
    selector::check_selector(&selected, report);
}
