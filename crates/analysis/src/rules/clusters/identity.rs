//! Checks that clusters of a mesh trust each other. Source: istio.io, deployment models, "Trust between meshes";
//! install multicluster, "Before you begin": a common root and unique cluster names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::istio::component::is_istiod;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View, mesh};

pub static RULE: Rule = Rule {
    name: "clusters.Identity",
    codes: &[&SH7401, &SH7402, &SH7406],
    inputs: &[Kind::ConfigMap, Kind::Deployment, Kind::MeshConfig],
    check: Check::Once(check),
};

static SH7401: Code = Code {
    id: "SH7401",
    name: "TrustDomainsDiffer",
    level: Level::Warning,
    title: "Clusters of a mesh have different trust domains",
    why: "Identities from one cluster are not trusted in the other: policies that match principals or namespaces do \
          not match clients from there.",
    remedy: "Set the same trustDomain in the MeshConfig of all clusters, or list the others in trustDomainAliases.",
    source: "https://istio.io/latest/docs/ops/deployment/deployment-models/#trust-within-a-mesh",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: east.example.com'}
# cluster: west
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: west.example.com'}
",
        after: "\
# cluster: east
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: example.com'}
# cluster: west
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: example.com'}
",
    },
    also: &[],
};

static SH7402: Code = Code {
    id: "SH7402",
    name: "RootCertificatesDiffer",
    level: Level::Error,
    title: "Clusters of a mesh have different root certificates",
    why: "Proxies in one cluster reject certificates from the other, so every request between them fails in the TLS \
          handshake.",
    remedy: "Create the Secret cacerts in each cluster with an intermediate certificate of a common root CA, then \
             restart istiod and the workloads.",
    source: "https://istio.io/latest/docs/setup/install/multicluster/before-you-begin/#configure-trust",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: istio-system}
data: {root-cert.pem: 'certificate of east'}
# cluster: west
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: istio-system}
data: {root-cert.pem: 'certificate of west'}
",
        after: "\
# cluster: east
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: istio-system}
data: {root-cert.pem: 'certificate of both'}
# cluster: west
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-ca-root-cert, namespace: istio-system}
data: {root-cert.pem: 'certificate of both'}
",
    },
    also: &[],
};

static SH7406: Code = Code {
    id: "SH7406",
    name: "DuplicateClusterName",
    level: Level::Error,
    title: "Clusters of a mesh share a cluster name",
    why: "istiod treats the endpoints and proxies of both as one cluster, so requests are sent to pods that are not \
          reachable.",
    remedy: "Set a unique global.multiCluster.clusterName in each installation.",
    source: "https://istio.io/latest/docs/setup/install/multicluster/multi-primary_multi-network/",
    example: Example {
        before: "\
# cluster: east
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, env: [{name: CLUSTER_ID, value: Kubernetes}]}]}}}
# cluster: west
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, env: [{name: CLUSTER_ID, value: Kubernetes}]}]}}}
",
        after: "\
# cluster: east
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, env: [{name: CLUSTER_ID, value: east}]}]}}}
# cluster: west
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, env: [{name: CLUSTER_ID, value: west}]}]}}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    let root = view.root_namespace();
    check_trust_domains(view.named(Kind::ConfigMap, root, "istio"), findings);
    check_roots(view.named(Kind::ConfigMap, root, "istio-ca-root-cert"), findings);
    check_names(view.in_namespace(Kind::Deployment, root), findings);
}

fn check_trust_domains(maps: &[Arc<Resource>], findings: &mut Findings) {
    if maps.len() < 2 {
        return;
    }
    let meshes: Vec<(&Arc<Resource>, Value)> = maps
        .iter()
        .map(|map| (map, mesh::read_embedded(map.root.at("data.mesh").text()).unwrap_or(Value::Null)))
        .collect();
    let domain = |mesh: &Value| match mesh["trustDomain"].text() {
        "" => "cluster.local".to_owned(),
        domain => domain.to_owned(),
    };
    let Some(((first, mesh), others)) = meshes.split_first() else { return };
    let expected = domain(mesh);
    for (other, mesh) in others {
        let found = domain(mesh);
        if found != expected && !mesh["trustDomainAliases"].texts().any(|alias| alias == expected) {
            let message = format!(
                "cluster {} has trust domain {found}, but cluster {} has {expected}",
                other.cluster, first.cluster
            );
            findings
                .add(&SH7401, other, message)
                .field("data.mesh")
                .arguments([found, expected.clone()])
                .related(first);
        }
    }
}

fn check_roots(maps: &[Arc<Resource>], findings: &mut Findings) {
    let Some((first, others)) = maps.split_first() else { return };
    let certificate = |map: &Resource| map.root["data"]["root-cert.pem"].text().trim().to_owned();
    let expected = certificate(first);
    for other in others {
        let found = certificate(other);
        // During a root rotation both certificates are present.
        if !found.contains(&expected) && !expected.contains(&found) {
            let message = format!("clusters {} and {} have different root certificates", first.cluster, other.cluster);
            findings
                .add(&SH7402, other, message)
                .field("data[\"root-cert.pem\"]")
                .arguments([&*first.cluster, &*other.cluster])
                .related(first);
        }
    }
}

fn check_names(deployments: &[Arc<Resource>], findings: &mut Findings) {
    let mut names: BTreeMap<String, &Arc<Resource>> = BTreeMap::new();
    for istiod in deployments.iter().filter(|deployment| is_istiod(deployment.labels())) {
        let containers = istiod.pod_template()["spec"]["containers"].items();
        let name = containers
            .iter()
            .flat_map(|container| container["env"].items())
            .find(|variable| variable["name"].text() == "CLUSTER_ID")
            .map(|variable| variable["value"].text())
            .filter(|name| !name.is_empty());
        let Some(name) = name else { continue };
        let first = *names.entry(name.to_owned()).or_insert(istiod);
        if first.cluster != istiod.cluster {
            let message = format!("clusters {} and {} have the same name {name}", first.cluster, istiod.cluster);
            findings
                .add(&SH7406, istiod, message)
                .field("spec.template.spec.containers")
                .arguments([name, &first.cluster, &istiod.cluster])
                .related(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn trust_domain_alias_is_accepted() {
        let alias = super::SH7401.example.before.replace(
            "trustDomain: west.example.com'",
            "{trustDomain: west.example.com, trustDomainAliases: [east.example.com]}'",
        );
        assert!(!reported(&alias).contains("SH7401"));
    }
}
