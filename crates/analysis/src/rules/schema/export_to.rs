//! Validates `exportTo`. Source: `validateExportTo`.

use std::collections::BTreeSet;

use super::report::{At, IST0106, Report};
use crate::syntax::name;

/// `~` (no namespace) is allowed only for a `ServiceEntry`.
pub(super) fn check(export_to: &At<'_, '_>, allows_nobody: bool, report: &mut Report<'_>) {
    let own = report.namespace();
    let mut seen = BTreeSet::new();
    for entry in export_to.each() {
        let namespace = if entry.text() == "." { own } else { entry.node().text() };
        if seen.contains(namespace) {
            report.repeated(&IST0106, &entry, format_args!("duplicate entry {:?}", entry.text()));
            continue;
        }
        match namespace {
            "~" if allows_nobody => {}
            "~" => {
                report.error(&entry, "`~` (no namespace) is allowed only for a ServiceEntry");
                continue;
            }
            "*" | "." => {}
            // The namespace may be missing in a file.
            "" if entry.text() == "." => {}
            _ if name::is_label(namespace) => {}
            _ => {
                report.error(&entry, format_args!("{namespace:?} is not a namespace name, `.` or `*`"));
                continue;
            }
        }
        seen.insert(namespace);
    }
    if export_to.items().len() > 1 {
        if seen.contains("*") {
            report.error(export_to, "`*` (all namespaces) must be the only entry");
        }
        if seen.contains("~") {
            report.error(export_to, "`~` (no namespace) must be the only entry");
        }
    }
}

/// A `DestinationRule` for selected workloads is visible only in its own namespace.
pub(super) fn check_own_only(export_to: &At<'_, '_>, report: &mut Report<'_>) {
    let own = report.namespace();
    let entries: BTreeSet<&str> =
        export_to.node().texts().map(|entry| if entry == "." { own } else { entry }).collect();
    if entries.is_empty() {
        return;
    }
    if !entries.contains(own) {
        report.error(export_to, "with a workloadSelector only the object's own namespace is allowed");
    } else if entries.len() > 1 {
        report.error(export_to, "with a workloadSelector the object's own namespace must be the only entry");
    }
}
