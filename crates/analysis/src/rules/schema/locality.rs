//! Which regions and zones requests go to. Source: `ValidateLocalityLbSetting`, `ValidateZoneAwareLbSetting`,
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
        report.error(setting, "distribute and failover cannot be set together");
        return;
    }
    if !failover.items().is_empty()
        && let Some(label) = priority.each().find(|label| TOPOLOGY.contains(&label.text()))
    {
        report.error(&label, format_args!("with failover the label {} cannot be a priority too", label.text()));
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
        report.error(&label, "regions and zones are seen to already; name other labels");
    }
    check_failover(setting, has_outliers, report);
}

fn check_failover(setting: &At<'_, '_>, has_outliers: bool, report: &mut Report<'_>) {
    let failover = setting.key("failover");
    if !has_outliers && (!failover.items().is_empty() || setting.has("failoverPriority")) {
        report.warning(setting, "without outlierDetection in the same policy nothing ever fails over");
    }
    for entry in failover.each() {
        let (from, to) = (entry.get("from").text(), entry.get("to").text());
        if from == to {
            report.error(&entry, "from and to have to be different regions");
        }
        if from.contains('/') || to.contains('/') {
            report.error(&entry, "it is between regions, without zones");
        }
        if from.contains('*') || to.contains('*') {
            report.error(&entry, "regions cannot have wildcards");
        }
    }
}

/// False after what makes Istio stop looking.
fn check_weights(distribute: &At<'_, '_>, report: &mut Report<'_>) -> bool {
    for entry in distribute.each() {
        let to = entry.key("to");
        let mut total = 0;
        for (_, weight) in to.each_entry() {
            if !(1..=100).contains(&weight.int()) {
                report.error(&weight, format_args!("a weight is from 1 to 100, not {}", weight.scalar_text()));
                return false;
            }
            total += weight.int();
        }
        if total != 100 {
            report.error(&to, format_args!("the weights have to add up to 100, not {total}"));
            return false;
        }
        check_localities(&to, to.node().entries().iter().map(|(key, _)| key.as_str()), report);
    }
    true
}

/// No two of them may have an endpoint in common. The first that is wrong is told.
fn check_localities<'a>(at: &At<'_, '_>, localities: impl Iterator<Item = &'a str>, report: &mut Report<'_>) {
    let mut before: Vec<Vec<&str>> = Vec::new();
    for locality in localities {
        let wildcards = locality.matches('*').count();
        if wildcards > 1 || (wildcards == 1 && !locality.ends_with('*')) {
            report.error(at, format_args!("{locality:?} can have one `*`, at its end"));
            return;
        }
        let parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            report.error(at, format_args!("{locality:?} is no region/zone/subzone"));
            return;
        }
        if before.iter().any(|before| overlaps(before, &parts)) {
            report.error(at, format_args!("{locality:?} overlaps with an earlier one"));
            return;
        }
        before.push(parts);
    }
}

/// Whether a locality is within one before it. `*` after what it covers is allowed: it stands for the rest.
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
    fn what_overlaps() {
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
