//! Checks for Services that differ between clusters. Source: istio `analyzers/multicluster/service.go`.
//!
//! Differs from istioctl: node ports are not compared, because each cluster allocates its own.

use std::collections::BTreeSet;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "services.MultiClusterServiceAnalyzer",
    codes: &[&IST0170],
    inputs: &[Kind::Service],
    check: Check::Each(&[Kind::Service], check),
};

static IST0170: Code = Code {
    id: "IST0170",
    name: "MultiClusterInconsistentService",
    level: Level::Warning,
    title: "Service differs between clusters",
    why: "The mesh treats Services with the same name and namespace as one service. The ports and type that a client \
          sees depend on its cluster.",
    remedy: "Give the Service the same type and ports in every cluster, or rename it if it is another service.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/multicluster/",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
# cluster: west
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 8080}]}
",
        after: "\
# cluster: east
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
# cluster: west
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    if service.cluster.is_empty() {
        return;
    }
    let everywhere = view.named(Kind::Service, &service.namespace, &service.name);
    // Reported once, for the first cluster.
    let Some((first, others)) = everywhere.split_first().filter(|(first, _)| first.cluster == service.cluster) else {
        return;
    };
    let mut clusters: BTreeSet<&str> = BTreeSet::new();
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    for other in others {
        let differences = [
            (is_headless(first) != is_headless(other), "headless only in some clusters"),
            (service_type(first) != service_type(other), "the type differs"),
            (ports(first) != ports(other), "the ports differ"),
        ];
        for (differs, reason) in differences {
            if differs {
                clusters.extend([&*first.cluster, &*other.cluster]);
                reasons.insert(reason);
            }
        }
    }
    if reasons.is_empty() {
        return;
    }
    let clusters = clusters.into_iter().collect::<Vec<_>>().join(", ");
    let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
    findings
        .add(&IST0170, service, format!("Service differs between clusters {clusters}: {reasons}"))
        .field("spec")
        .arguments([service.name.as_str(), service.namespace.as_str(), &clusters, &reasons]);
}

fn is_headless(service: &Resource) -> bool {
    service.spec()["clusterIP"].text() == "None"
}

fn service_type(service: &Resource) -> &str {
    service.spec()["type"].as_str().unwrap_or("ClusterIP")
}

/// Ports as clients see them, sorted by name.
fn ports(service: &Resource) -> BTreeSet<[String; 5]> {
    let text = |node: &Value, default: &str| {
        let text = node.scalar_text();
        if text.is_empty() { default.to_owned() } else { text.to_string() }
    };
    let ports = service.spec()["ports"].items().iter();
    ports
        .map(|port| {
            let number = text(&port["port"], "");
            [
                text(&port["name"], ""),
                text(&port["protocol"], "TCP"),
                text(&port["appProtocol"], ""),
                text(&port["targetPort"], &number),
                number,
            ]
        })
        .collect()
}
