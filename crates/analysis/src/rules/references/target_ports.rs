//! Checks for `targetPort` names that no container port has. Source: Kiali's check KIA0701, for names: a number need
//! not be declared.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, WORKLOADS, Within};

pub static RULE: Rule = Rule {
    name: "references.TargetPorts",
    codes: &[&SH7121],
    inputs: &[Kind::Service, WORKLOADS[0], WORKLOADS[1], WORKLOADS[2], WORKLOADS[3], WORKLOADS[4], WORKLOADS[5]],
    check: Check::Each(&[Kind::Service], check),
};

static SH7121: Code = Code {
    id: "SH7121",
    name: "TargetPortUnknown",
    level: Level::Warning,
    title: "targetPort name of a Service matches no container port",
    why: "The Service port has no endpoints, so each connection to it fails with 503.",
    remedy: "Give the container port this name, or correct targetPort.",
    source: "https://kiali.io/docs/features/validations/#kia0701---deployment-exposing-same-port-as-service-not-found",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{port: 80, name: http, targetPort: web}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 8080, name: http}]}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{port: 80, name: http, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 8080, name: http}]}]}
",
    },
    also: &["KIA0701"],
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    let selector = Selector::new(&service.spec()["selector"]);
    if selector.is_empty() {
        return;
    }
    for (index, port) in service.spec()["ports"].items().iter().enumerate() {
        let Some(name) = port["targetPort"].as_str().filter(|name| name.parse::<u16>().is_err()) else { continue };
        let mut pods = view.workloads(Within::Namespace(&service.namespace), &selector).peekable();
        if pods.peek().is_none() || pods.any(|pod| has_port(&pod.pod_template()["spec"], name)) {
            continue;
        }
        let message = format!("no pod of {} has a container port named {name}", service.name);
        findings.add(&SH7121, service, message).field(format!("spec.ports[{index}].targetPort")).arguments([name]);
    }
}

fn has_port(pod: &Value, name: &str) -> bool {
    let containers = pod["containers"].items().iter().chain(pod["initContainers"].items());
    containers.flat_map(|container| container["ports"].items()).any(|port| port["name"].text() == name)
        // An injector may add containers that the template does not show.
        || pod["containers"].items().iter().any(|container| container["image"].text() == "auto")
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn numeric_target_port_need_not_be_declared() {
        let number = super::SH7121.example.before.replace("targetPort: web", "targetPort: 9999");
        assert!(!reported(&number).contains("SH7121"));
    }
}
