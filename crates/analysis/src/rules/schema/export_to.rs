//! To which namespaces an object is visible. Source: `validateExportTo`.

use std::collections::BTreeSet;

use super::report::{At, Report};
use crate::syntax::name;

/// `~` (nobody) is for `ServiceEntries` only.
pub(super) fn check(export_to: &At<'_, '_>, allows_nobody: bool, report: &mut Report<'_>) {
    let own = report.namespace();
    let mut seen = BTreeSet::new();
    for entry in export_to.each() {
        let namespace = if entry.text() == "." { own } else { entry.node().text() };
        if seen.contains(namespace) {
            report.error(&entry, format_args!("{:?} is there already", entry.text()));
            continue;
        }
        match namespace {
            "~" if allows_nobody => {}
            "~" => {
                report.error(&entry, "`~` (nobody) is for ServiceEntries only");
                continue;
            }
            "*" | "." => {}
            // A file may leave the namespace out.
            "" if entry.text() == "." => {}
            _ if name::is_label(namespace) => {}
            _ => {
                report.error(&entry, format_args!("{namespace:?} is no namespace; it is a name, `.` or `*`"));
                continue;
            }
        }
        seen.insert(namespace);
    }
    if export_to.items().len() > 1 {
        if seen.contains("*") {
            report.error(export_to, "with `*` (everybody) there can be no other entry");
        }
        if seen.contains("~") {
            report.error(export_to, "with `~` (nobody) there can be no other entry");
        }
    }
}

/// A rule for selected workloads is seen by its own namespace only.
pub(super) fn check_own_only(export_to: &At<'_, '_>, report: &mut Report<'_>) {
    let own = report.namespace();
    let entries: BTreeSet<&str> =
        export_to.node().texts().map(|entry| if entry == "." { own } else { entry }).collect();
    if entries.is_empty() {
        return;
    }
    if !entries.contains(own) {
        report.error(export_to, "with a workloadSelector it can only be exported to its own namespace");
    } else if entries.len() > 1 {
        report.error(export_to, "with a workloadSelector there can be one entry only, its own namespace");
    }
}
