//! Checks for containers on ports that Istio reserves. Source: istio.io, application requirements, "Ports used by
//! Istio".

use super::owned::{is_owned, template_path};
use crate::istio::pod::is_proxy_container;
use crate::istio::port::RESERVED;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

pub static RULE: Rule = Rule {
    name: "pods.ReservedPorts",
    codes: &[&SH7311],
    inputs: &[
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
    title: "Container uses a port that is reserved for the sidecar",
    why: "Both share the network of the pod: one of them fails to bind the port, or receives the traffic of the \
          other.",
    remedy: "Change the application's port. Istio reserves 15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053 and \
             15090.",
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

fn check(view: &View<'_>, workload: &Resource, findings: &mut Findings) {
    if is_owned(workload) {
        return;
    }
    let containers = workload.pod_template()["spec"]["containers"].items();
    for (index, container) in containers.iter().enumerate() {
        if is_proxy_container(container) {
            continue;
        }
        for (at, port) in container["ports"].items().iter().enumerate() {
            let Some(number) = port["containerPort"].as_int().filter(|number| is_reserved(*number)) else {
                continue;
            };
            if !view.is_injected(workload) {
                return;
            }
            let name = container["name"].text();
            let message = format!("container {name} uses port {number}, which is reserved for the sidecar");
            let path = template_path(workload);
            findings
                .add(&SH7311, workload, message)
                .field(format!("{path}spec.containers[{index}].ports[{at}].containerPort"))
                .arguments([name, &number.to_string()]);
        }
    }
}

fn is_reserved(number: i64) -> bool {
    RESERVED.iter().any(|port| i64::from(*port) == number)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn reserved_port_is_free_without_sidecar() {
        let outside = super::SH7311.example.before.replace("istio-injection: enabled", "istio-injection: disabled");
        assert!(!reported(&outside).contains("SH7311"));
    }
}
