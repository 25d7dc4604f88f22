//! Validates locality load balancing. Source: `ValidateLocalityLbSetting`, `ValidateZoneAwareLbSetting`,
//! `validateLocalities`.

use super::report::{At, Report};

const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

pub(super) fn check(setting: &At<'_, '_>, has_outliers: bool, report: &mut Report<'_>) {
    if setting.is_null() {
        return;
    }
    let distribute = setting.key("distribute");
    let failover = setting.key("failover");
    let priority = setting.key("failoverPriority");
    if !distribute.items().is_empty() && !failover.items().is_empty() {
        report.error(setting, "distribute and failover are mutually exclusive");
        return;
    }
    if !failover.items().is_empty()
        && let Some(label) = priority.each().find(|label| TOPOLOGY.contains(&label.text()))
    {
        report.error(&label, format_args!("with failover, label {} must not be a priority", label.text()));
        return;
    }
    if !check_weights(&distribute, report) {
        return;
    }
    let from = distribute.node().items().iter().map(|entry| entry["from"].text());
    check_localities(&distribute, from, report);
    check_failover(setting, has_outliers, report);
}

pub(super) fn check_zone_aware(setting: &At<'_, '_>, has_outliers: bool, report: &mut Report<'_>) {
    if setting.is_null() {
        return;
    }
    let priority = setting.key("failoverPriority");
    for label in priority.each().filter(|label| TOPOLOGY.contains(&label.text())) {
        report.error(&label, "regions and zones are considered automatically; use other labels");
    }
    check_failover(setting, has_outliers, report);
}

fn check_failover(setting: &At<'_, '_>, has_outliers: bool, report: &mut Report<'_>) {
    let failover = setting.key("failover");
    if !has_outliers && (!failover.items().is_empty() || setting.has("failoverPriority")) {
        report.warning(setting, "failover requires outlierDetection in the same policy");
    }
    for entry in failover.each() {
        let (from, to) = (entry.get("from").text(), entry.get("to").text());
        if from == to {
            report.error(&entry, "from and to must be different regions");
        }
        if from.contains('/') || to.contains('/') {
            report.error(&entry, "failover is between regions; zones are not allowed");
        }
        if from.contains('*') || to.contains('*') {
            report.error(&entry, "wildcards are not allowed in regions");
        }
    }
}

/// False if Istio stops the validation here.
fn check_weights(distribute: &At<'_, '_>, report: &mut Report<'_>) -> bool {
    for entry in distribute.each() {
        let to = entry.key("to");
        let mut total = 0;
        for (_, weight) in to.each_entry() {
            if !(1..=100).contains(&weight.int()) {
                report.error(&weight, format_args!("a weight must be from 1 to 100, not {}", weight.scalar_text()));
                return false;
            }
            total += weight.int();
        }
        if total != 100 {
            report.error(&to, format_args!("weights must add up to 100, not {total}"));
            return false;
        }
        check_localities(&to, to.node().entries().iter().map(|(key, _)| key.as_str()), report);
    }
    true
}

/// Checks that localities do not overlap. Only the first error is reported.
fn check_localities<'a>(at: &At<'_, '_>, localities: impl Iterator<Item = &'a str>, report: &mut Report<'_>) {
    let mut before: Vec<Vec<&str>> = Vec::new();
    for locality in localities {
        let wildcards = locality.matches('*').count();
        if wildcards > 1 || (wildcards == 1 && !locality.ends_with('*')) {
            report.error(at, format_args!("{locality:?} may contain only one `*`, at the end"));
            return;
        }
        let parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            report.error(at, format_args!("{locality:?} must have the form region/zone/subzone"));
            return;
        }
        if before.iter().any(|before| overlaps(before, &parts)) {
            report.error(at, format_args!("{locality:?} overlaps with an earlier locality"));
            return;
        }
        before.push(parts);
    }
}

/// Whether a locality is within an earlier one. `*` after more specific localities is allowed, because it matches the
/// rest.
fn overlaps(before: &[&str], new: &[&str]) -> bool {
    let level = |level: usize| match (before.get(level), new.get(level)) {
        (None | Some(&"*"), _) | (_, None) => Some(true),
        (Some(before), Some(new)) if before != new => Some(false),
        _ => None,
    };
    (0..3).find_map(level).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::overlaps;

    #[test]
    fn overlapping_localities_are_detected() {
        for (before, new, expected) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a/b", "a/c", false),
            ("a/b", "a/*", false),
            ("a/*", "a/b", true),
            ("a/b/c", "a/b/d", false),
            ("a/b/*", "a/b/d", true),
            ("a/b/c", "a/b", true),
            ("*", "a", true),
            ("a", "*", false),
        ] {
            let parts = |text: &'static str| text.split('/').collect::<Vec<_>>();
            assert_eq!(overlaps(&parts(before), &parts(new)), expected, "{before} {new}");
        }
    }
}
