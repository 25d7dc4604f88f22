//! Checks for workloads without the labels that telemetry uses. Source: istio.io, application requirements, "Pods with
//! app and version labels"; istio-vet `applabel`.

use super::owned::is_owned;
use crate::membership::{is_control_plane, is_managed_gateway};
use crate::rules::support::text::some_of;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];

pub static RULE: Rule = Rule {
    name: "pods.Labels",
    codes: &[&SH7312],
    inputs: &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Namespace],
    check: Check::Namespaces(KINDS, check),
};

static SH7312: Code = Code {
    id: "SH7312",
    name: "NoAppLabel",
    level: Level::Info,
    title: "Workloads in the mesh have no app label",
    why: "Metrics, traces and service graphs use this label as the service name. Without it they show the name of the \
          Deployment, or unknown.",
    remedy: "Label the pods with app and version, or with app.kubernetes.io/name and app.kubernetes.io/version.",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/#pod-requirements",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {run: cart}}}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, version: v1}}}}
",
    },
    also: &["istio-vet applabel"],
};

const APP: [&str; 3] = ["app", "app.kubernetes.io/name", "service.istio.io/canonical-name"];

/// One finding for each namespace, because its workloads usually share the cause.
fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let mut nameless = Vec::new();
    for kind in KINDS {
        for workload in view.in_namespace(*kind, namespace) {
            let labels = workload.pod_labels();
            if APP.iter().all(|key| labels[*key].is_null())
                && !is_owned(workload)
                && !is_control_plane(workload)
                && !is_managed_gateway(workload)
                && view.is_in_mesh(workload)
            {
                nameless.push(workload);
            }
        }
    }
    let Some(first) = nameless.first() else { return };
    let names: Vec<&str> = nameless.iter().map(|workload| workload.name.as_str()).collect();
    let message = format!("pods of {} have no app label", some_of(&names));
    let finding = findings.add(&SH7312, first, message).arguments(names);
    for other in nameless.iter().skip(1).take(5) {
        finding.related(other);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn pods_that_istiod_creates_for_a_gateway_need_no_app_label() {
        let with = |controller: &str| {
            let labels = format!("{{gateway.istio.io/managed: {controller}, run: gateway}}");
            let deployment = super::SH7312.example.before.replace("{run: cart}", &labels);
            deployment.replace("namespace: shop}", &format!("namespace: shop, labels: {labels}}}"))
        };
        for controller in ["istio.io-gateway-controller", "istio.io-mesh-controller", "istio.io-eastwest-controller"] {
            assert!(!reported(&with(controller)).contains("SH7312"), "{controller}");
        }
        assert!(reported(&with("example.com-controller")).contains("SH7312"));
    }
}
