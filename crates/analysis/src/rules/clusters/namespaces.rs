//! Checks that a namespace is in the mesh in all clusters or in none. Source: istio.io, deployment models, "Namespace
//! sameness".

use crate::membership::{NamespaceMode, namespace_mode};
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "clusters.Namespaces",
    codes: &[&SH7403],
    inputs: &[Kind::Namespace],
    check: Check::Namespaces(&[Kind::Namespace], check),
};

static SH7403: Code = Code {
    id: "SH7403",
    name: "NamespaceInMeshOfOneCluster",
    level: Level::Warning,
    title: "Namespace is in the mesh in one cluster but not in another",
    why: "A mesh treats namespaces with the same name as one namespace. In the cluster where it is not in the mesh, \
          its pods have no identity and do not accept mutual TLS, but other clusters still send requests to them.",
    remedy: "Label the namespace the same way in all clusters, or rename it.",
    source: "https://istio.io/latest/docs/ops/deployment/deployment-models/#namespace-tenancy",
    example: Example {
        before: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: shop}
",
        after: "\
# cluster: east
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
# cluster: west
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let everywhere = view.named(Kind::Namespace, "", namespace);
    if everywhere.len() < 2 || matches!(namespace, "default") {
        return;
    }
    let is_meshed = |mode: NamespaceMode<'_>| mode.injects() || mode.is_ambient();
    let Some(inside) = everywhere.iter().find(|it| is_meshed(namespace_mode(it))) else { return };
    for outside in everywhere.iter().filter(|it| !is_meshed(namespace_mode(it))) {
        let message =
            format!("{namespace} is in the mesh in cluster {} but not in {}", inside.cluster, outside.cluster);
        findings
            .add(&SH7403, outside, message)
            .field("metadata.labels")
            .arguments([namespace, &inside.cluster, &outside.cluster])
            .related(inside);
    }
}
