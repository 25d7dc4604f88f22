//! Checks for `Telemetry` objects that select nothing or the same workload. Source: istio
//! `analyzers/telemetry/selector.go`.
//!
//! Differs from istioctl: workloads without pods count (istio/istio#51273); if the same objects select several
//! workloads, one is reported.

use crate::rules::support::common_codes::IST0101;
use crate::rules::support::workload_selection;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "telemetry.SelectorAnalyzer",
    codes: &[&IST0101, &IST0159],
    inputs: &[
        Kind::Telemetry,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Namespaces(&[Kind::Telemetry], check),
};

static IST0159: Code = Code {
    id: "IST0159",
    name: "ConflictingTelemetryWorkloadSelectors",
    level: Level::Error,
    title: "Telemetry objects select the same workload",
    why: "Only the oldest applies; the metrics, access logs and tracing settings of the others have no effect.",
    remedy: "Merge them, or make the selectors mutually exclusive.",
    source: "https://istio.io/latest/docs/reference/config/telemetry/",
    example: Example {
        before: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: one, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, tracing: [{randomSamplingPercentage: 1}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: two, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, accessLogging: [{disabled: true}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
",
        after: "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: one, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  tracing: [{randomSamplingPercentage: 1}]
  accessLogging: [{disabled: true}]
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let objects = view.in_namespace(Kind::Telemetry, namespace);
    let selecting = workload_selection::find(view, objects, "selector.matchLabels", findings);
    for (set, workload) in workload_selection::conflicts(&selecting) {
        let names = workload_selection::names(&selecting, &set);
        for at in set {
            findings
                .add(
                    &IST0159,
                    selecting[at].resource,
                    format!("{workload} is selected by the Telemetry objects {names}"),
                )
                .field("spec.selector")
                .arguments([&names, namespace, &workload.name]);
        }
    }
}
