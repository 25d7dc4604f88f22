//! Checks that replicas are spread over zones. Source: istio.io, deployment best practices, "Deploy fewer clusters" and
//! multiple zones.

use std::collections::BTreeSet;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const ZONE: &str = "topology.kubernetes.io/zone";

pub static RULE: Rule = Rule {
    name: "operations.Zones",
    codes: &[&SH7321],
    inputs: &[Kind::Deployment, Kind::Pod, Kind::Node],
    check: Check::Each(&[Kind::Deployment], check),
};

static SH7321: Code = Code {
    id: "SH7321",
    name: "SingleZone",
    level: Level::Info,
    title: "All replicas of the control plane or of a gateway are in one zone",
    why: "The cluster has nodes in several zones, but the failure of this one zone stops all replicas.",
    remedy: "Add topologySpreadConstraints with topologyKey topology.kubernetes.io/zone to its pods.",
    source: "https://istio.io/latest/docs/ops/best-practices/deployment/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 2, selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod}}}}
---
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: one}}
---
apiVersion: v1
kind: Node
metadata: {name: b, labels: {topology.kubernetes.io/zone: two}}
---
apiVersion: v1
kind: Pod
metadata: {name: istiod-1, namespace: istio-system, labels: {app: istiod}}
spec: {nodeName: a}
---
apiVersion: v1
kind: Pod
metadata: {name: istiod-2, namespace: istio-system, labels: {app: istiod}}
spec: {nodeName: a}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {replicas: 2, selector: {matchLabels: {app: istiod}}, template: {metadata: {labels: {app: istiod}}}}
---
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: one}}
---
apiVersion: v1
kind: Node
metadata: {name: b, labels: {topology.kubernetes.io/zone: two}}
---
apiVersion: v1
kind: Pod
metadata: {name: istiod-1, namespace: istio-system, labels: {app: istiod}}
spec: {nodeName: a}
---
apiVersion: v1
kind: Pod
metadata: {name: istiod-2, namespace: istio-system, labels: {app: istiod}}
spec: {nodeName: b}
",
    },
    also: &[],
};

fn check(view: &View<'_>, deployment: &Resource, findings: &mut Findings) {
    let Some(what) = super::availability::role(deployment) else { return };
    let selector = crate::Selector::new(deployment.spec().at("selector.matchLabels"));
    if selector.is_empty() {
        return;
    }
    let within = crate::Within::Namespace(&deployment.namespace);
    let mut zones = BTreeSet::new();
    let mut pods = 0;
    for pod in view.pods(within, &selector) {
        let Some(node) = view.get(Kind::Node, "", pod.spec()["nodeName"].text()) else { return };
        let Some(zone) = node.label(ZONE) else { return };
        zones.insert(zone);
        pods += 1;
    }
    let Some(zone) = zones.first().filter(|_| pods > 1 && zones.len() == 1) else { return };
    if view.all(Kind::Node).iter().any(|node| node.label(ZONE).is_some_and(|other| other != *zone)) {
        let message = format!("all {pods} replicas of {what} {} are in zone {zone}", deployment.name);
        findings.add(&SH7321, deployment, message).arguments([deployment.name.as_str(), zone]);
    }
}
