//! Checks for Gateway ports that no Service exposes. Source: istio `analyzers/gateway/gateway.go`.
//!
//! Differs from istioctl: a gateway workload scaled to zero counts; a Service port counts whatever its protocol, with
//! its target port as number or name (istio/istio#28259, #51257, #51278); nothing is reported for a gateway without a
//! Service, or if there are no gateway workloads among the objects.

use std::collections::BTreeSet;

use super::conflict::tell_unselected;
use crate::rules::support::common_codes::IST0101;
use crate::rules::support::completeness;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, Within};

pub static RULE: Rule = Rule {
    name: "gateway.IngressGatewayPortAnalyzer",
    codes: &[&IST0101, &IST0162],
    inputs: &[
        Kind::Gateway,
        Kind::Service,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::Gateway], check),
};

static IST0162: Code = Code {
    id: "IST0162",
    name: "GatewayPortNotDefinedOnService",
    level: Level::Warning,
    title: "Gateway port is not exposed by its Service",
    why: "The proxy listens on the port, but no traffic from outside reaches it.",
    remedy: "Add the port to the gateway's Service, or use a port that it exposes: the Service port, or its target \
             port.",
    source: "https://istio.io/latest/docs/reference/config/networking/gateway/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 8004, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80, targetPort: 8080}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 8080, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: 80, targetPort: 8080}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    let selector = Selector::new(&gateway.spec()["selector"]);
    let mut has_workload = false;
    let mut ports: BTreeSet<i64> = BTreeSet::new();
    let mut has_service = false;
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut last: Option<(&str, &Value)> = None;
    for workload in view.workloads(Within::Anywhere, &selector) {
        has_workload = true;
        // Pods of one Deployment have the same labels and ports.
        let kin = Some((workload.namespace.as_str(), workload.pod_labels()));
        if last == kin {
            continue;
        }
        last = kin;
        for service in view.services_selecting(&workload.namespace, workload.pod_labels()) {
            if !seen.insert((&service.namespace, &service.name)) {
                continue;
            }
            has_service = true;
            for port in service.spec()["ports"].items() {
                ports.extend(port["port"].as_int());
                ports.extend(target(port, workload));
            }
        }
    }
    if !has_workload {
        if !selector.is_empty() && completeness::knows_gateways(view, gateway, &selector) {
            tell_unselected(gateway, &selector, findings);
        }
        return;
    }
    if !has_service {
        return;
    }
    for (index, server) in gateway.spec()["servers"].items().iter().enumerate() {
        let Some(number) = server.at("port.number").as_int().filter(|number| !ports.contains(number)) else { continue };
        let number = number.to_string();
        let selector = selector.to_string();
        findings
            .add(&IST0162, gateway, format!("no Service of the pods with {selector} exposes port {number}"))
            .field(format!("spec.servers[{index}].port.number"))
            .arguments([&number, &selector]);
    }
}

/// Container port of a Service port, also if targetPort is a name.
fn target(port: &Value, workload: &Resource) -> Option<i64> {
    let target = &port["targetPort"];
    if let Some(number) = target.as_int().or_else(|| target.text().parse().ok()) {
        return Some(number);
    }
    let containers = workload.pod_template().at("spec.containers").items();
    let mut ports = containers.iter().flat_map(|container| container["ports"].items());
    ports.find(|declared| declared["name"].text() == target.text())?["containerPort"].as_int()
}
