//! A mesh in which whatever no policy names is allowed. Source: istio.io, security best practices, "Apply default-deny
//! authorization policies".

use crate::membership::namespace_mode;
use crate::rules::scope::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "access.DefaultDeny",
    codes: &[&SH7203],
    reads: &[Kind::AuthorizationPolicy, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7203: Code = Code {
    id: "SH7203",
    name: "NoDefaultDeny",
    level: Level::Info,
    title: "No policy refuses by default what is not allowed",
    why: "A workload that no ALLOW policy selects takes every request, so each new workload is open until somebody \
          thinks of it.",
    remedy: "Put an AuthorizationPolicy with an empty spec into the root namespace (nothing is allowed), and ALLOW \
             policies beside the workloads. Try it first with the annotation istio.io/dry-run.",
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
    let message =
        format!("neither {root} nor {} has a policy that refuses by default", crate::rules::wording::some_of(&open));
    findings.add(&SH7203, &view.mesh().resource(), message).arguments(open);
}

/// Whether an ALLOW policy without rules covers the namespace; an ALLOW policy with rules for all of it does too.
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
    fn a_folder_without_the_control_plane_is_not_judged() {
        let folder = super::SH7203.example.before.replace("app: istiod", "app: other");
        assert!(!reported(&folder).contains("SH7203"));
    }
}
