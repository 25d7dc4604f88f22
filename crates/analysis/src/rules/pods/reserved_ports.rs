//! Ports of the proxy used by an application. Source: istio.io, application requirements, "Ports used by Istio".

use super::owned::{is_owned, template_path};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

/// The rule.
pub static RULE: Rule = Rule {
    name: "pods.ReservedPorts",
    codes: &[&SH7311],
    reads: &[
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
        Kind::Namespace,
    ],
    check: Check::Each(KINDS, check),
};

static SH7311: Code = Code {
    id: "SH7311",
    name: "ReservedPort",
    level: Level::Warning,
    title: "A container in the mesh uses a port of the proxy beside it",
    why: "Both share the pod's network: one of them cannot open the port, or gets what is meant for the other.",
    remedy: "Let the application listen on another port; Istio keeps 15000, 15001, 15004, 15006, 15008, 15020, 15021, \
             15053 and 15090 for itself.",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 15090}]}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 9090}]}]}
",
    },
    also: &[],
};

/// Without those of the control plane alone.
const RESERVED: [i64; 9] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

fn check(view: &View<'_>, workload: &Resource, findings: &mut Findings) {
    if is_owned(workload) {
        return;
    }
    let containers = workload.pod_template()["spec"]["containers"].items();
    for (index, container) in containers.iter().enumerate() {
        if container["name"].text() == "istio-proxy" {
            continue;
        }
        for (at, port) in container["ports"].items().iter().enumerate() {
            let Some(number) = port["containerPort"].as_int().filter(|number| RESERVED.contains(number)) else {
                continue;
            };
            if !view.is_injected(workload) {
                return;
            }
            let name = container["name"].text();
            let message = format!("container {name} uses port {number}, which the proxy beside it needs");
            let path = template_path(workload);
            findings
                .add(&SH7311, workload, message)
                .field(format!("{path}spec.containers[{index}].ports[{at}].containerPort"))
                .arguments([name, &number.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn without_a_proxy_the_port_is_free() {
        let outside = super::SH7311.example.before.replace("istio-injection: enabled", "istio-injection: disabled");
        assert!(!reported(&outside).contains("SH7311"));
    }
}
