//! Checks for `Sidecar` objects that select nothing, the same workload, or workloads without a sidecar. Source: istio
//! `analyzers/sidecar/selector.go`.
//!
//! Differs from istioctl: workloads without pods count (istio/istio#51273); if the same objects select several
//! workloads, one is reported; the label of the namespace also makes a pod ambient.

use crate::rules::support::common_codes::IST0101;
use crate::rules::support::workload_selection;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "sidecar.SelectorAnalyzer",
    codes: &[&IST0101, &IST0110, &IST0111, &IST0167],
    inputs: &[
        Kind::Sidecar,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Namespaces(&[Kind::Sidecar], check),
};

const SOURCE: &str = "https://istio.io/latest/docs/reference/config/networking/sidecar/";

static IST0110: Code = Code {
    id: "IST0110",
    name: "ConflictingSidecarWorkloadSelectors",
    level: Level::Error,
    title: "Sidecars select the same workload",
    why: "Only one of them applies, and which one is undefined.",
    remedy: "Merge them, or make the selectors mutually exclusive.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {workloadSelector: {labels: {app: cart}}, egress: [{hosts: [./*]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: two, namespace: shop}
spec: {workloadSelector: {labels: {tier: front}}, egress: [{hosts: [./*]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart, tier: front}}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {workloadSelector: {labels: {app: cart}}, egress: [{hosts: [./*]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart, tier: front}}
",
    },
    also: &["KIA0003"],
};

static IST0111: Code = Code {
    id: "IST0111",
    name: "MultipleSidecarsWithoutWorkloadSelectors",
    level: Level::Error,
    title: "Several Sidecars without a workloadSelector in a namespace",
    why: "Only one of them applies, and which one is undefined.",
    remedy: "Merge them, or give all but one a workloadSelector.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {egress: [{hosts: [./*]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: two, namespace: shop}
spec: {egress: [{hosts: [istio-system/*]}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {egress: [{hosts: [./*, istio-system/*]}]}
",
    },
    also: &["KIA0002"],
};

static IST0167: Code = Code {
    id: "IST0167",
    name: "IneffectivePolicy",
    level: Level::Warning,
    title: "Sidecar applies to workloads in ambient mode",
    why: "Workloads in ambient mode have no sidecar, so the object has no effect.",
    remedy: "Remove it. In ambient mode use an AuthorizationPolicy to control access.",
    source: "https://istio.io/latest/docs/ambient/overview/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {egress: [{hosts: [./*]}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: one, namespace: shop}
spec: {egress: [{hosts: [./*]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let sidecars = view.in_namespace(Kind::Sidecar, namespace);
    let mut selecting = workload_selection::find(view, sidecars, "workloadSelector.labels", findings);
    for object in &mut selecting {
        let ambient = object.workloads.iter().find(|workload| view.is_ambient(workload));
        if let Some(workload) = ambient {
            let reason = format!("{workload} is in ambient mode and has no sidecar");
            findings.add(&IST0167, object.resource, reason.clone()).field("spec.workloadSelector").arguments([reason]);
        }
        object.workloads.retain(|workload| !view.is_ambient(workload));
    }
    for (set, workload) in workload_selection::conflicts(&selecting) {
        let names = workload_selection::names(&selecting, &set);
        for at in set {
            findings
                .add(&IST0110, selecting[at].resource, format!("{workload} is selected by the Sidecars {names}"))
                .field("spec.workloadSelector")
                .arguments([&names, namespace, &workload.name]);
        }
    }
    let unselective: Vec<_> =
        sidecars.iter().filter(|sidecar| sidecar.spec().at("workloadSelector.labels").is_empty()).collect();
    let names = unselective.iter().map(|sidecar| sidecar.name.as_str()).collect::<Vec<_>>().join(" ");
    for sidecar in &unselective {
        if view.mode_of(sidecar).is_ambient() {
            let reason = "the namespace is in ambient mode, so its workloads have no sidecar";
            findings.add(&IST0167, sidecar, reason).field("metadata.namespace").arguments([reason]);
        } else if unselective.len() > 1 {
            findings
                .add(&IST0111, sidecar, format!("the Sidecars {names} each apply to the whole namespace"))
                .field("metadata.name")
                .arguments([names.as_str(), namespace]);
        }
    }
}
