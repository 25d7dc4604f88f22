//! Checks for objects whose content differs between clusters. Source: istio.io, traffic management best practices and
//! deployment models, "Control plane models": each primary reads the configuration of its own cluster.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::ServiceEntry,
    Kind::AuthorizationPolicy,
    Kind::PeerAuthentication,
    Kind::RequestAuthentication,
];

pub static RULE: Rule =
    Rule { name: "clusters.SameConfiguration", codes: &[&SH7407], inputs: KINDS, check: Check::Each(KINDS, check) };

static SH7407: Code = Code {
    id: "SH7407",
    name: "ConfigurationDiffers",
    level: Level::Warning,
    title: "Object differs between clusters of a mesh",
    why: "Each control plane reads the objects of its own cluster. The same request is routed or authorized \
          differently depending on the cluster of the client.",
    remedy: "Apply the same object to all clusters, or give the objects different names if the difference is \
             intended.",
    source: "https://istio.io/latest/docs/ops/deployment/deployment-models/#control-plane-models",
    example: Example {
        before: "\
# cluster: east
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
# cluster: west
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
",
        after: "\
# cluster: east
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
# cluster: west
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
    },
    also: &[],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let everywhere = view.named(resource.kind, &resource.namespace, &resource.name);
    // Reported once, for the later cluster: the objects are sorted by cluster.
    let Some(first) = everywhere.first().filter(|first| first.cluster != resource.cluster) else { return };
    if first.spec() != resource.spec() {
        let message =
            format!("{} differs between clusters {} and {}", resource.full_name(), first.cluster, resource.cluster);
        findings
            .add(&SH7407, resource, message)
            .field("spec")
            .arguments([&*first.cluster, &*resource.cluster])
            .related(first);
    }
}
