//! Checks for Services with conflicting ports for one workload. Source: istio `analyzers/deployment/services.go`.
//!
//! Differs from istioctl: a namespace with a revision label is in the mesh too.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::{CompactString, ToCompactString};

use crate::istio::managed::is_of_waypoint;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "deployment.MultiServiceAnalyzer",
    codes: &[&IST0116, &IST0137],
    inputs: &[Kind::Deployment, Kind::Service, Kind::Namespace],
    check: Check::Each(&[Kind::Deployment], check),
};

static IST0116: Code = Code {
    id: "IST0116",
    name: "DeploymentAssociatedToMultipleServices",
    level: Level::Warning,
    title: "Services declare conflicting protocols for the same workload port",
    why: "The proxy can use only one protocol for a port, so some traffic fails.",
    remedy: "Use the same protocol in all Services of the workload, or another port.",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: shop}
spec:
  template:
    metadata: {labels: {app: dns, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: dns, image: dns}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {selector: {app: dns}, ports: [{name: tcp, port: 5353, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: shop}
spec: {selector: {app: dns}, ports: [{name: udp, port: 5353, protocol: UDP}]}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns, namespace: shop}
spec:
  template:
    metadata: {labels: {app: dns, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: dns, image: dns}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {selector: {app: dns}, ports: [{name: tcp, port: 5353, protocol: TCP}]}
",
    },
    also: &["istio-vet serviceassociation"],
};

static IST0137: Code = Code {
    id: "IST0137",
    name: "DeploymentConflictingPorts",
    level: Level::Warning,
    title: "Services use different ports for the same workload port",
    why: "The proxy of the workload associates the port with only one of the Services, so policies and metrics of the \
          others are wrong.",
    remedy: "Use the same port in all Services of the workload, or give each its own targetPort.",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: cart, image: cart}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 8000, targetPort: 8080}]}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: cart, image: cart}]}
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
",
    },
    also: &["istio-vet serviceassociation"],
};

fn check(view: &View<'_>, deployment: &Resource, findings: &mut Findings) {
    if is_of_waypoint(deployment.labels()) {
        return;
    }
    let services = view.services_selecting(&deployment.namespace, deployment.pod_labels());
    if services.is_empty() || !view.is_injected(deployment) {
        return;
    }
    let mut protocols: BTreeMap<i64, (BTreeSet<&str>, BTreeSet<String>)> = BTreeMap::new();
    let mut targets: BTreeMap<CompactString, BTreeMap<i64, String>> = BTreeMap::new();
    for service in services {
        for port in service.spec()["ports"].items() {
            let Some(number) = port["port"].as_int() else { continue };
            let protocol = port["protocol"].as_str().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
            let of_port = protocols.entry(number).or_default();
            of_port.0.insert(protocol);
            of_port.1.insert(service.full_name());
            targets.entry(target(port, number)).or_default().insert(number, service.full_name());
        }
    }
    for (port, (protocols, services)) in protocols.iter().filter(|(_, (protocols, _))| protocols.len() > 1) {
        let services = services.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let protocols = protocols.iter().copied().collect::<Vec<_>>().join(" and ");
        findings
            .add(
                &IST0116,
                deployment,
                format!(
                    "port {port} has conflicting protocols {protocols} in the services \
                                                {services}"
                ),
            )
            .field("metadata.name")
            .arguments([deployment.name.as_str(), &port.to_string(), &services]);
    }
    for (target, ports) in targets.iter().filter(|(_, ports)| ports.len() > 1) {
        let services: BTreeSet<&str> = ports.values().map(String::as_str).collect();
        let services = services.into_iter().collect::<Vec<_>>().join(" ");
        let ports = ports.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        findings
            .add(&IST0137, deployment, format!("the services {services} map different ports {ports} to port {target}"))
            .field("metadata.name")
            .arguments([deployment.name.as_str(), &services, target.as_str(), &ports]);
    }
}

/// The targetPort; its default is the Service port.
fn target(port: &Value, number: i64) -> CompactString {
    let target = port["targetPort"].scalar_text();
    if target.is_empty() || target == "0" { number.to_compact_string() } else { target }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::found;

    #[test]
    fn services_outside_namespace_or_mesh_are_ignored() {
        let reported = |text: &str| found(text).iter().filter(|finding| finding.code.id == "IST0137").count();
        let example = super::IST0137.example.before;
        assert_eq!(reported(example), 1);
        assert_eq!(reported(&example.replace("'true'", "'false'")), 0);
        assert_eq!(reported(&example.replace("{name: two, namespace: shop}", "{name: two, namespace: other}")), 0);
    }
}
