//! Annotations that may go with any release. Source: istio `analyzers/maturity/maturity.go`. As there, it runs only when
//! it is asked for: many of them are set by tools and not by people.

use super::table::{self, SET_BY_ISTIO, Status};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "annotations.AlphaAnalyzer",
    codes: &[&IST0136],
    reads: &[Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment],
    check: Check::Each(&[Kind::Namespace, Kind::Service, Kind::Pod, Kind::Deployment], check),
};

static IST0136: Code = Code {
    id: "IST0136",
    name: "AlphaAnnotation",
    level: Level::Info,
    title: "An annotation of alpha state is used",
    why: "It may change its meaning or go with any release of Istio.",
    remedy: "Look whether a field or a label does the same; else look at the annotation before each upgrade.",
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

/// Set by istiod where the CNI plugin redirects traffic, that is where there is no container `istio-init`.
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
                .add(&IST0136, resource, format!("annotation {name} is of alpha state"))
                .field(format!("metadata.annotations[\"{name}\"]"))
                .arguments([name.as_str()]);
        }
    }
}
