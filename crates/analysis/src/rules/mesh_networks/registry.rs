//! Checks for networks whose endpoints come from an unknown registry. Source: istio
//! `analyzers/multicluster/meshnetworks.go`.

use std::collections::BTreeSet;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "meshnetworks.MeshNetworksAnalyzer",
    codes: &[&IST0126],
    inputs: &[Kind::MeshNetworks, Kind::Secret],
    check: Check::Each(&[Kind::MeshNetworks], check),
};

static IST0126: Code = Code {
    id: "IST0126",
    name: "UnknownMeshNetworksServiceRegistry",
    level: Level::Error,
    title: "MeshNetworks references an unknown registry",
    why: "The network has no endpoints, so its traffic is not routed through the network's gateways.",
    remedy: "Use the name of a cluster that has a remote secret, or create the secret with `istioctl \
             create-remote-secret`.",
    source: "https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#Network-NetworkEndpoints",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  meshNetworks: |
    networks:
      east:
        endpoints: [{fromRegistry: cluster-east}]
        gateways: [{address: 192.0.2.1, port: 15443}]
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  meshNetworks: |
    networks:
      east:
        endpoints: [{fromRegistry: cluster-east}]
        gateways: [{address: 192.0.2.1, port: 15443}]
---
apiVersion: v1
kind: Secret
metadata: {name: remote-east, namespace: istio-system, labels: {istio/multiCluster: 'true'}}
stringData: {cluster-east: a kubeconfig}
",
    },
    also: &[],
};

/// Registries that Istio has without a remote secret (`pkg/config/analysis/analyzers/multicluster`).
const BUILT_IN: [&str; 3] = ["Mock", "Kubernetes", "External"];

fn check(view: &View<'_>, networks: &Resource, findings: &mut Findings) {
    let mut known: BTreeSet<&str> = BUILT_IN.into();
    for secret in view.all(Kind::Secret).iter().filter(|secret| secret.label("istio/multiCluster") == Some("true")) {
        let data = secret.root["data"].entries().iter().chain(secret.root["stringData"].entries());
        known.extend(data.map(|(cluster, _)| cluster.as_str()));
    }
    for (name, network) in networks.root["networks"].entries() {
        for (index, endpoint) in network["endpoints"].items().iter().enumerate() {
            let Some(registry) = endpoint["fromRegistry"].as_str().filter(|registry| !known.contains(registry)) else {
                continue;
            };
            findings
                .add(
                    &IST0126,
                    networks,
                    format!("network {name} gets endpoints from {registry}, which is not a known cluster"),
                )
                .field(format!("networks.{name}.endpoints[{index}].fromRegistry"))
                .arguments([registry, name]);
        }
    }
}
