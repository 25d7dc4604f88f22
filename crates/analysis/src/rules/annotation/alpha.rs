//! Checks for annotations in alpha state. Source: istio `analyzers/maturity/maturity.go`. As in istioctl, the rule runs
//! only on request, because tools set many of these annotations.

use super::table::{self, SET_BY_ISTIO, Status};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "annotations.AlphaAnalyzer",
    codes: &[&IST0136],
    inputs: &[Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment],
    check: Check::Each(&[Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment], check),
};

static IST0136: Code = Code {
    id: "IST0136",
    name: "AlphaAnnotation",
    level: Level::Info,
    title: "Annotation is in alpha state",
    why: "Any release of Istio may change or remove it.",
    remedy: "Check whether a field or a label does the same. Otherwise check the annotation before each upgrade.",
    source: "https://istio.io/latest/docs/reference/config/annotations/",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {networking.istio.io/exportTo: '.'}}
spec: {ports: [{name: http, port: 80}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
",
    },
    also: &[],
};

/// istiod sets it where the CNI plugin redirects traffic, so that the pod has no `istio-init` container.
const SET_FOR_CNI: [&str; 4] = [
    "sidecar.istio.io/interceptionMode",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
];

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let containers = || resource.spec()["initContainers"].items().iter();
    let uses_cni =
        || resource.kind == Kind::Pod && containers().all(|container| container["name"].text() != "istio-init");
    for (name, _) in resource.annotations().entries() {
        let is_alpha = table::find(name).is_some_and(|known| known.status == Status::Alpha);
        let is_set = SET_BY_ISTIO.contains(&name.as_str()) || (SET_FOR_CNI.contains(&name.as_str()) && uses_cni());
        if is_alpha && !is_set {
            findings
                .add(&IST0136, resource, format!("annotation {name} is in alpha state"))
                .field(format!("metadata.annotations[\"{name}\"]"))
                .arguments([name.as_str()]);
        }
    }
}
