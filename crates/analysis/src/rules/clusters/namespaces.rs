//! One namespace that is treated differently in two clusters. Source: istio.io, deployment models, "Namespace
//! sameness".

use crate::membership::{NamespaceMode, namespace_mode};
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "clusters.Namespaces",
    codes: &[&SH7403],
    reads: &[Kind::Namespace],
    check: Check::Namespaces(&[Kind::Namespace], check),
};

static SH7403: Code = Code {
    id: "SH7403",
    name: "NamespaceInMeshOfOneCluster",
    level: Level::Warning,
    title: "A namespace is in the mesh in one cluster and not in another",
    why: "A mesh takes namespaces with one name for the same. Where it is not in the mesh its pods have no identity and \
          take no mutual TLS; the other cluster still sends requests to them.",
    remedy: "Label the namespace alike in all clusters, or give it another name.",
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
            format!("{namespace} is in the mesh in cluster {} and not in {}", inside.cluster, outside.cluster);
        findings
            .add(&SH7403, outside, message)
            .field("metadata.labels")
            .arguments([namespace, &inside.cluster, &outside.cluster])
            .related(inside);
    }
}
