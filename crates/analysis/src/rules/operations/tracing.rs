//! Checks for a trace sampling of 100%. Source: istio.io, observability best practices; Telemetry API,
//! `randomSamplingPercentage`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.Tracing",
    codes: &[&SH7320],
    inputs: &[Kind::Telemetry, Kind::MeshConfig],
    check: Check::Each(&[Kind::Telemetry, Kind::MeshConfig], check),
};

static SH7320: Code = Code {
    id: "SH7320",
    name: "FullTraceSampling",
    level: Level::Info,
    title: "Trace sampling is set to 100%",
    why: "Spans for all requests cost each proxy time and memory and fill the trace backend. A sample of 1% is \
          usually enough.",
    remedy: "Set the sampling to 1% in production, and raise it only while you investigate a problem.",
    source: "https://istio.io/latest/docs/tasks/observability/distributed-tracing/sampling/",
    example: Example {
        before: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: default, namespace: istio-system}
spec: {tracing: [{randomSamplingPercentage: 100}]}
",
        after: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: default, namespace: istio-system}
spec: {tracing: [{randomSamplingPercentage: 1}]}
",
    },
    also: &[],
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let is_all = |node: &crate::Value| node.as_number().is_some_and(|percent| percent >= 100.0);
    if resource.kind == Kind::MeshConfig {
        if is_all(resource.root.at("defaultConfig.tracing.sampling")) {
            let message = "defaultConfig.tracing.sampling is 100: every request in the mesh is traced";
            findings.add(&SH7320, resource, message).field("defaultConfig.tracing.sampling");
        }
        return;
    }
    for (index, tracing) in resource.spec()["tracing"].items().iter().enumerate() {
        if is_all(&tracing["randomSamplingPercentage"]) && !tracing["disableSpanReporting"].is_true() {
            let message = format!("{} sets the trace sampling to 100%", resource.name);
            findings.add(&SH7320, resource, message).field(format!("spec.tracing[{index}].randomSamplingPercentage"));
        }
    }
}
