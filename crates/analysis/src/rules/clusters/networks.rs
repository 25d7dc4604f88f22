//! Checks the networks of a multi-network mesh. Source: istio.io, install multicluster, "Install Multi-Primary on
//! different networks": each network has a name and an east-west gateway.

use std::collections::BTreeMap;

use crate::istio::topology::NETWORK;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "clusters.Networks",
    codes: &[&SH7404, &SH7405],
    inputs: &[Kind::Namespace, Kind::Service, Kind::KubernetesGateway, Kind::MeshConfig],
    check: Check::Once(check),
};

static SH7404: Code = Code {
    id: "SH7404",
    name: "NetworkNameMissing",
    level: Level::Warning,
    title: "Only some clusters of a mesh have a network name",
    why: "Pods in a cluster without a network name are expected to be directly reachable from everywhere. If they are \
          not, requests to them time out.",
    remedy: "Label the root namespace of each cluster with topology.istio.io/network.",
    source: "https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/#set-the-default-network-for-cluster1",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: east}}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
",
        after: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: one}}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: one}}
",
    },
    also: &[],
};

static SH7405: Code = Code {
    id: "SH7405",
    name: "NetworkWithoutGateway",
    level: Level::Error,
    title: "Network of a mesh has no east-west gateway",
    why: "Pods in other networks reach this network only through its gateway, so all their requests to it fail.",
    remedy: "Install an east-west gateway and label its Service topology.istio.io/network with the network's name, or \
             create a Gateway of class istio-east-west.",
    source: "https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/#install-the-east-west-gateway-in-cluster1",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: east}}
---
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: east}}
spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: west}}
",
        after: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: east}}
---
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: east}}
spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: west}}
---
apiVersion: v1
kind: Service
metadata: {name: eastwest, namespace: istio-system, labels: {topology.istio.io/network: west}}
spec: {type: LoadBalancer, ports: [{name: tls, port: 15443}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    let roots = view.named(Kind::Namespace, "", view.root_namespace());
    if roots.len() < 2 {
        return;
    }
    let mut networks = BTreeMap::new();
    let Some(named) = roots.iter().find(|root| root.label(NETWORK).is_some()) else { return };
    for root in roots {
        let Some(network) = root.label(NETWORK) else {
            let message =
                format!("cluster {} has no network name, but cluster {} has one", root.cluster, named.cluster);
            findings.add(&SH7404, root, message).arguments([&*root.cluster, &*named.cluster]).related(named);
            continue;
        };
        networks.entry(network).or_insert(root);
    }
    if networks.len() < 2 {
        return;
    }
    for (network, root) in networks {
        let has_gateway = view.all(Kind::Service).iter().any(|service| service.label(NETWORK) == Some(network))
            || view.all(Kind::KubernetesGateway).iter().any(|gateway| gateway.label(NETWORK) == Some(network));
        // Without any Service of the cluster the gateway may exist unseen.
        let is_known = view.all(Kind::Service).iter().any(|service| service.cluster == root.cluster)
            || view.all(Kind::Service).iter().any(|service| service.label(NETWORK).is_some());
        if is_known && !has_gateway {
            let message = format!("no Service or Gateway is labeled as the gateway of network {network}");
            findings.add(&SH7405, root, message).field(format!("metadata.labels[\"{NETWORK}\"]")).arguments([network]);
        }
    }
}
