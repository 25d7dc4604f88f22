//! One Service with different faces in different clusters. Source: istio `analyzers/multicluster/service.go`.
//!
//! Differs from istioctl: node ports are not compared, since each cluster allocates its own.

use std::collections::BTreeSet;

use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "services.MultiClusterServiceAnalyzer",
    codes: &[&IST0170],
    reads: &[Kind::Service],
    check: Check::Each(&[Kind::Service], check),
};

static IST0170: Code = Code {
    id: "IST0170",
    name: "MultiClusterInconsistentService",
    level: Level::Warning,
    title: "A service is not the same in all clusters",
    why: "The mesh takes services of one name for one service: which cluster's ports and type a client sees depends on \
          the cluster it runs in.",
    remedy: "Give the service the same type and ports in every cluster, or another name where another one is meant.",
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
    // Told once, on the first cluster's.
    let Some((first, others)) = everywhere.split_first().filter(|(first, _)| first.cluster == service.cluster) else {
        return;
    };
    let mut clusters: BTreeSet<&str> = BTreeSet::new();
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    for other in others {
        let differences = [
            (is_headless(first) != is_headless(other), "it is headless only in some"),
            (service_type(first) != service_type(other), "its type differs"),
            (ports(first) != ports(other), "its ports differ"),
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
        .add(&IST0170, service, format!("not the same in the clusters {clusters}: {reasons}"))
        .field("spec")
        .arguments([service.name.as_str(), service.namespace.as_str(), &clusters, &reasons]);
}

fn is_headless(service: &Resource) -> bool {
    service.spec()["clusterIP"].text() == "None"
}

fn service_type(service: &Resource) -> &str {
    service.spec()["type"].as_str().unwrap_or("ClusterIP")
}

/// What clients see of the ports, in the order of their names.
fn ports(service: &Resource) -> BTreeSet<[String; 5]> {
    let text = |node: &Node, default: &str| {
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
