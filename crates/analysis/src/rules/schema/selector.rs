//! Validates the target of a policy: a workload selector, or target references. Source: `validateWorkloadSelector`,
//! `ValidateAlphaWorkloadSelector`, `validatePolicyTargetReference`, `validateOneOfSelectorType`.

use super::report::{At, Report};

/// `selector`, `targetRef` and `targetRefs` of a spec.
pub(super) fn check_targets(spec: &At<'_, '_>, report: &mut Report<'_>) {
    let selector = spec.key("selector");
    let target = spec.key("targetRef");
    let targets = spec.key("targetRefs");
    let given = [selector.is_set(), target.is_set(), !targets.items().is_empty()];
    if given.iter().filter(|given| **given).count() > 1 {
        report.error(spec, "selector, targetRef and targetRefs are mutually exclusive");
    }
    check_selector(&selector, report);
    check_target(&target, report);
    for target in targets.each() {
        check_target(&target, report);
    }
}

fn check_target(target: &At<'_, '_>, report: &mut Report<'_>) {
    if target.is_null() {
        return;
    }
    if !target.has("name") {
        report.error(target, "a name is required");
    }
    if target.has("namespace") {
        report.error(&target.key("namespace"), "a policy may reference only objects in its own namespace");
    }
    let kind = (target.get("group").text(), target.get("kind").text());
    let known = matches!(
        kind,
        ("" | "core", "Service")
            | ("networking.istio.io", "ServiceEntry")
            | ("gateway.networking.k8s.io", "Gateway" | "GatewayClass")
    );
    if !known {
        let text = format!(
            "a policy may reference a Service, a ServiceEntry of networking.istio.io, or a Gateway or GatewayClass of \
             gateway.networking.k8s.io, not {:?} of {:?}",
            kind.1, kind.0
        );
        report.error(target, text);
    }
}

/// A selector with `matchLabels`.
pub(super) fn check_selector(selector: &At<'_, '_>, report: &mut Report<'_>) {
    if selector.is_null() {
        return;
    }
    let labels = selector.key("matchLabels");
    check_labels(&labels, report);
    if labels.entries().is_empty() {
        report.warning(selector, "selects every workload, because it has no labels");
    }
}

/// A selector with `labels`. False if it is invalid, in which case Istio stops the validation.
pub(super) fn check_workload_selector(selector: &At<'_, '_>, report: &mut Report<'_>) -> bool {
    if selector.is_null() {
        return true;
    }
    let labels = selector.key("labels");
    let right = check_labels(&labels, report);
    if right && labels.entries().is_empty() {
        report.warning(selector, "selects every workload of the namespace, because it has no labels");
    }
    right
}

fn check_labels(labels: &At<'_, '_>, report: &mut Report<'_>) -> bool {
    let mut right = true;
    for (key, value) in labels.each_entry() {
        if key.is_empty() {
            report.error(&value, "the key of a label must not be empty");
            right = false;
        }
        if key.contains('*') || value.text().contains('*') {
            report.error(&value, "wildcards are not supported in selectors");
            right = false;
        }
    }
    right
}
