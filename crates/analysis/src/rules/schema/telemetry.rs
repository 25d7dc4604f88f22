//! Validates `Telemetry`. Source: `ValidateTelemetry`.

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.Telemetry",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::Telemetry],
    check: Check::Each(&[Kind::Telemetry], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    selector::check_targets(&spec, report);
    for metrics in spec.key("metrics").each() {
        check_providers(&metrics, report);
        for setting in metrics.key("overrides").each() {
            check_override(&setting, report);
        }
    }
    let tracing = spec.key("tracing");
    if tracing.items().len() > 1 {
        report.warning(&tracing, "only one tracing entry is supported");
    }
    for entry in tracing.each() {
        let providers = entry.key("providers");
        if providers.items().len() > 1 {
            report.warning(&providers, "only one tracing provider is supported");
        }
        check_providers(&entry, report);
        report.percent(&entry.key("randomSamplingPercentage"));
        check_tags(&entry.key("customTags"), report);
    }
    for logging in spec.key("accessLogging").each() {
        check_providers(&logging, report);
    }
}

fn check_providers(setting: &At<'_, '_>, report: &mut Report<'_>) {
    for provider in setting.key("providers").each() {
        if !provider.has("name") {
            report.error(&provider, "the name of a provider is required");
        }
    }
}

fn check_override(setting: &At<'_, '_>, report: &mut Report<'_>) {
    if setting.is_null() {
        report.error(setting, "an override must not be null");
        return;
    }
    for (name, tag) in setting.key("tagOverrides").each_entry() {
        if name.is_empty() {
            report.warning(&tag, "the name of a tag must not be empty");
        }
        if tag.is_null() {
            report.error(&tag, "a tag override must not be null");
            continue;
        }
        // The default operation is UPSERT.
        let upsert = tag.get("operation").text() != "REMOVE";
        if upsert && !tag.has("value") {
            report.error(&tag, "operation UPSERT requires a value");
        } else if !upsert && tag.has("value") {
            report.error(&tag.key("value"), "operation REMOVE does not allow a value");
        }
    }
    let custom = setting.get("match").get("customMetric");
    if custom.as_str() == Some("") {
        report.error(&setting.key("match"), "the name of customMetric must not be empty");
    }
}

fn check_tags(tags: &At<'_, '_>, report: &mut Report<'_>) {
    for (name, tag) in tags.each_entry() {
        if name.is_empty() {
            report.error(&tag, "the name of a tag must not be empty");
        }
        if tag.is_null() {
            report.error(&tag, "a tag must not be null");
            continue;
        }
        for (kind, field) in [("literal", "value"), ("header", "name"), ("environment", "name")] {
            let source = tag.key(kind);
            if source.is_set() && !source.has(field) {
                report.error(&source, format_args!("{field} is required"));
            }
        }
    }
}
