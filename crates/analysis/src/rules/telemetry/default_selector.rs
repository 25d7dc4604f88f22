//! Checks for several namespace-wide `Telemetry` objects. Source: istio `analyzers/telemetry/default_selector.go`.

use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "telemetry.DefaultSelectorAnalyzer",
    codes: &[&IST0160],
    inputs: &[Kind::Telemetry],
    check: Check::Namespaces(&[Kind::Telemetry], check),
};

static IST0160: Code = Code {
    id: "IST0160",
    name: "MultipleTelemetriesWithoutWorkloadSelectors",
    level: Level::Error,
    title: "Several Telemetry objects without a selector in a namespace",
    why: "Only one namespace-wide Telemetry applies, and which one is undefined.",
    remedy: "Merge them into one, or give all but one a selector or targetRefs.",
    source: "https://istio.io/latest/docs/reference/config/telemetry/",
    example: Example {
        before: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: tracing, namespace: shop}
spec: {tracing: [{randomSamplingPercentage: 1}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: logging, namespace: shop}
spec: {accessLogging: [{disabled: true}]}
",
        after: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: tracing-and-logging, namespace: shop}
spec:
  tracing: [{randomSamplingPercentage: 1}]
  accessLogging: [{disabled: true}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let unbound = |key: &str, resource: &crate::Resource| resource.spec()[key].is_null();
    let defaults: Vec<_> = view
        .in_namespace(Kind::Telemetry, namespace)
        .iter()
        .filter(|telemetry| ["selector", "targetRef", "targetRefs"].iter().all(|key| unbound(key, telemetry)))
        .collect();
    if defaults.len() < 2 {
        return;
    }
    let names = defaults.iter().map(|telemetry| telemetry.name.as_str()).collect::<Vec<_>>().join(", ");
    for telemetry in &defaults {
        let message = format!("{names} all apply to the whole namespace {namespace}, but only one takes effect");
        let finding = findings.add(&IST0160, telemetry, message).arguments([&*names, namespace]);
        for other in defaults.iter().filter(|other| other.name != telemetry.name) {
            finding.related(other);
        }
    }
}
