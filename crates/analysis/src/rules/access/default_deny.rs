//! Checks that the mesh or each namespace has a default-deny `AuthorizationPolicy`. Source: istio.io, security best
//! practices, "Apply default-deny authorization policies".

use crate::membership::namespace_mode;
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "access.DefaultDeny",
    codes: &[&SH7203],
    inputs: &[Kind::AuthorizationPolicy, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7203: Code = Code {
    id: "SH7203",
    name: "NoDefaultDeny",
    level: Level::Info,
    title: "Namespace has no default-deny AuthorizationPolicy",
    why: "A workload that no ALLOW policy selects accepts every request. A new workload is therefore open until a \
          policy is written for it.",
    remedy: "Create an AuthorizationPolicy with an empty spec in the root namespace, which denies all requests, and \
             ALLOW policies beside the workloads. The annotation istio.io/dry-run lets you test the policy first.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#apply-default-deny-authorization-policies",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: istio-system}
spec: {}
",
    },
    also: &["KIA1301"],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    if !is_whole_cluster(view) {
        return;
    }
    let root = view.root_namespace();
    if has_default(view, root) {
        return;
    }
    let is_meshed = |namespace: &Resource| namespace_mode(namespace).is_in_mesh();
    let open: Vec<&str> = view
        .all(Kind::Namespace)
        .iter()
        .filter(|namespace| is_meshed(namespace) && !has_default(view, &namespace.name))
        .map(|namespace| namespace.name.as_str())
        .collect();
    if open.is_empty() {
        return;
    }
    let message = format!(
        "neither {root} nor {} has a default-deny AuthorizationPolicy",
        crate::rules::support::text::some_of(&open)
    );
    findings.add(&SH7203, &view.mesh().resource(), message).arguments(open);
}

/// Whether an ALLOW policy without rules applies to the whole namespace. An ALLOW policy whose rules are for all of its
/// workloads counts too.
fn has_default(view: &View<'_>, namespace: &str) -> bool {
    view.in_namespace(Kind::AuthorizationPolicy, namespace).iter().any(|policy| {
        let spec = policy.spec();
        matches!(spec["action"].text(), "" | "ALLOW")
            && spec.at("selector.matchLabels").is_empty()
            && spec["targetRef"].is_null()
            && spec["targetRefs"].is_empty()
    })
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn folder_without_control_plane_is_ignored() {
        let folder = super::SH7203.example.before.replace("app: istiod", "app: other");
        assert!(!reported(&folder).contains("SH7203"));
    }
}
