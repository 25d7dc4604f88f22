//! Checks for grants to namespaces that do not exist. Source: Kiali's check KIA1601.

use crate::rules::support::completeness::{is_of_each_cluster, knows_namespaces};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "gateway_api.GrantNamespaces",
    codes: &[&SH7147],
    inputs: &[Kind::ReferenceGrant, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::ReferenceGrant], check),
};

static SH7147: Code = Code {
    id: "SH7147",
    name: "GrantNamespaceUnknown",
    level: Level::Warning,
    title: "ReferenceGrant names a namespace that does not exist",
    why: "References from the intended namespace are refused. Anyone who creates a namespace with this name receives \
          the grant.",
    remedy: "Correct the namespace in spec.from, or remove the entry.",
    source: "https://kiali.io/docs/features/validations/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes, namespace: backend}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shops}]
  to: [{group: '', kind: Service}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: routes, namespace: backend}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
",
    },
    also: &["KIA1601"],
};

fn check(view: &View<'_>, grant: &Resource, findings: &mut Findings) {
    for (index, from) in grant.spec()["from"].items().iter().enumerate() {
        let namespace = from["namespace"].text();
        let is_there = || view.has_named(Kind::Namespace, "", namespace) || is_of_each_cluster(view, namespace);
        if namespace.is_empty() || is_there() || !knows_namespaces(view) {
            continue;
        }
        let message = format!("namespace {namespace} does not exist");
        findings.add(&SH7147, grant, message).field(format!("spec.from[{index}].namespace")).arguments([namespace]);
    }
}
