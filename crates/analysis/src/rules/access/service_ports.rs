//! Checks for policies that use a Service port where the workload port is required. Sources: istio.io,
//! `AuthorizationPolicy` (`ports` is the port at which the workload receives a request), `PeerAuthentication`
//! (`portLevelMtls` lists workload ports).

use std::collections::BTreeSet;

use crate::istio::pod::is_proxy_container;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, Within};

pub static RULE: Rule = Rule {
    name: "access.ServicePorts",
    codes: &[&SH7128],
    inputs: &[
        Kind::AuthorizationPolicy,
        Kind::PeerAuthentication,
        Kind::Service,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::AuthorizationPolicy, Kind::PeerAuthentication], check),
};

static SH7128: Code = Code {
    id: "SH7128",
    name: "PolicyUsesServicePort",
    level: Level::Warning,
    title: "Policy uses the Service port instead of the workload port",
    why: "A policy is enforced by the proxy of the workload, where a request arrives at the targetPort. The Service \
          port never matches there: an ALLOW rule admits nothing, a DENY rule rejects nothing, and a portLevelMtls \
          mode does not apply.",
    remedy: "Use the workload's port, which is the targetPort of the Service.",
    source: "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Operation",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{to: [{operation: {ports: ['80']}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 8080}]}]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  rules: [{to: [{operation: {ports: ['8080']}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart, image: cart, ports: [{containerPort: 8080}]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    // At a waypoint a request has the port of the Service.
    if !spec["targetRefs"].is_empty() || spec["targetRef"].is_set() || policy.namespace == view.root_namespace() {
        return;
    }
    let named = ports(policy);
    if named.is_empty() {
        return;
    }
    let selector = Selector::new(&spec["selector"]["matchLabels"]);
    let workloads: Vec<_> = view.workloads(Within::Namespace(&policy.namespace), &selector).collect();
    let mut open = BTreeSet::new();
    let mut services = Vec::new();
    for workload in workloads {
        let pod = &workload.pod_template()["spec"];
        let containers = || pod["containers"].items().iter().chain(pod["initContainers"].items());
        // The ports of a gateway come from Gateway resources.
        if containers().any(is_proxy_container) && workload.kind != Kind::Pod {
            return;
        }
        let declared = || containers().flat_map(|container| container["ports"].items());
        open.extend(declared().filter_map(|port| port["containerPort"].as_int()));
        for service in view.services_selecting(&policy.namespace, workload.pod_labels()) {
            for port in service.spec()["ports"].items() {
                let Some(number) = port["port"].as_int() else { continue };
                let target = &port["targetPort"];
                let is_headless = service.spec()["clusterIP"].text() == "None";
                let arrives = match target.as_int() {
                    _ if is_headless => Some(number),
                    Some(target) if target > 0 => Some(target),
                    _ if target.text().is_empty() => Some(number),
                    _ => declared()
                        .find(|port| port["name"].text() == target.text())
                        .and_then(|port| port["containerPort"].as_int()),
                };
                // A targetPort name that matches no container port has a finding of its own; the workload port is then
                // unknown.
                let Some(arrives) = arrives else { return };
                open.insert(arrives);
                services.push((number, arrives, service));
            }
        }
    }
    for (port, field) in named.into_iter().filter(|(port, _)| !open.contains(port)) {
        let Some((_, arrives, service)) = services.iter().find(|(number, ..)| *number == port) else { continue };
        let message =
            format!("{port} is the port of service {}; its pods receive requests on port {arrives}", service.name);
        findings
            .add(&SH7128, policy, message)
            .field(field)
            .arguments([port.to_string(), service.full_name()])
            .related(service);
    }
}

/// Ports that a policy lists, with their fields.
fn ports(policy: &Resource) -> Vec<(i64, String)> {
    let spec = policy.spec();
    let mut found = Vec::new();
    for (port, _) in spec["portLevelMtls"].entries() {
        found.extend(port.parse().ok().map(|number| (number, format!("spec.portLevelMtls[\"{port}\"]"))));
    }
    for (index, rule) in spec["rules"].items().iter().enumerate() {
        for (at, to) in rule["to"].items().iter().enumerate() {
            for field in ["ports", "notPorts"] {
                let listed: &Value = &to["operation"][field];
                for (which, port) in listed.items().iter().enumerate() {
                    let path = || format!("spec.rules[{index}].to[{at}].operation.{field}[{which}]");
                    found.extend(port.text().parse().ok().map(|number| (number, path())));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    const PEER: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
        metadata: {name: cart, namespace: shop}\n\
        spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: PERMISSIVE}}}\n---";

    fn rest() -> &'static str {
        super::SH7128.example.before.split_once("---").unwrap().1
    }

    #[test]
    fn port_level_mtls_uses_workload_ports() {
        let wrong = format!("{PEER}{}", rest());
        assert!(reported(&wrong).contains("SH7128"));
        assert!(!reported(&wrong.replace("{80: {mode", "{8080: {mode")).contains("SH7128"));
    }

    #[test]
    fn existing_and_unknown_workload_ports_are_accepted() {
        let wrong = super::SH7128.example.before;
        for (from, to) in [
            ("targetPort: 8080", "targetPort: 80"),
            (", targetPort: 8080", ""),
            ("{containerPort: 8080}", "{containerPort: 8080}, {containerPort: 80}"),
            ("ports: ['80']", "ports: ['9090']"),
            ("{selector: {app: cart}, ports", "{clusterIP: None, selector: {app: cart}, ports"),
            ("targetPort: 8080", "targetPort: web"),
            ("selector: {matchLabels: {app: cart}}", "targetRefs: [{kind: Service, group: '', name: cart}]"),
        ] {
            assert!(wrong.contains(from), "{from}");
            assert!(!reported(&wrong.replacen(from, to, 1)).contains("SH7128"), "{to}");
        }
        let named = wrong
            .replace("targetPort: 8080", "targetPort: web")
            .replace("{containerPort: 8080}", "{containerPort: 8080, name: web}");
        assert!(reported(&named).contains("SH7128"));
    }
}
