//! Checks for policies that apply to no workload, and for source namespaces that do not exist. Source: istio
//! `analyzers/authz/authorizationpolicies.go`.
//!
//! Differs from istioctl: workloads without pods count (istio/istio#51273); a policy with `targetRefs` selects no
//! workloads; `WorkloadEntry` objects are workloads too; if the labels of a namespace are unknown, its workloads count
//! as part of the mesh; workloads of an ambient namespace do too.

use crate::rules::support::common_codes::IST0101;
use crate::rules::support::completeness;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, Within};

pub static RULE: Rule = Rule {
    name: "auth.AuthorizationPoliciesAnalyzer",
    codes: &[&IST0101, &IST0127],
    inputs: &[
        Kind::AuthorizationPolicy,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Service,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
    ],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static IST0127: Code = Code {
    id: "IST0127",
    name: "NoMatchingWorkloadsFound",
    level: Level::Warning,
    title: "AuthorizationPolicy selector matches no workload in the mesh",
    why: "The policy has no effect: requests that it should deny are accepted, and requests that it should allow may \
          be denied.",
    remedy: "Correct the labels of the selector, or the namespace. If the workload exists, add it to the mesh.",
    source: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cartt}}, action: DENY, rules: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart, sidecar.istio.io/inject: 'true'}}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, action: DENY, rules: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart, sidecar.istio.io/inject: 'true'}}
",
    },
    also: &["KIA0004"],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    check_workloads(view, policy, findings);
    for (rule, item) in policy.spec()["rules"].items().iter().enumerate() {
        for (from, source) in item["from"].items().iter().enumerate() {
            for list in ["namespaces", "notNamespaces"] {
                for (index, namespace) in source["source"][list].items().iter().enumerate() {
                    let field = format!("spec.rules[{rule}].from[{from}].source.{list}[{index}]");
                    check_namespace(view, policy, namespace.text(), field, findings);
                }
            }
        }
    }
}

fn check_workloads(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    if spec["targetRef"].is_set() || !spec["targetRefs"].is_empty() {
        return;
    }
    let is_of_mesh = policy.namespace == view.root_namespace();
    if is_of_mesh && spec["selector"].is_null() {
        return;
    }
    let selector = Selector::new(&spec["selector"]["matchLabels"]);
    let within = if is_of_mesh { Within::Anywhere } else { Within::Namespace(&policy.namespace) };
    let is_held = |workload: &Resource| view.namespace_of(workload).is_none() || view.is_in_mesh(workload);
    if view.workloads(within, &selector).any(|workload| is_held(workload)) || has_machine(view, within, &selector) {
        return;
    }
    // Where pods were listed, those of other namespaces may be missing from the list.
    let is_sure = completeness::knows_workloads(view, within, &selector);
    if !is_sure && (!view.has(Kind::Pod) || view.may_make_pods_anywhere()) {
        return;
    }
    if completeness::are_unknown_pods(view, &policy.namespace, &spec["selector"]["matchLabels"]) {
        return;
    }
    let place = if is_of_mesh { "the mesh" } else { "the namespace" };
    let selector = selector.to_string();
    let message = if selector.is_empty() {
        format!("no workload of {place} is in the mesh")
    } else {
        format!("selector {selector} matches no workload of {place} that is in the mesh")
    };
    let field = if spec["selector"].is_set() { "spec.selector" } else { "metadata.namespace" };
    let level = if is_sure { IST0127.level } else { Level::Info };
    findings.add(&IST0127, policy, message).field(field).level(level).arguments([selector]);
}

/// Whether a WorkloadEntry has the labels.
fn has_machine(view: &View<'_>, within: Within<'_>, selector: &Selector<'_>) -> bool {
    let of = |kind| match within {
        Within::Namespace(namespace) => view.in_namespace(kind, namespace),
        Within::Anywhere => view.all(kind),
    };
    of(Kind::WorkloadEntry).iter().any(|entry| selector.matches(&entry.spec()["labels"]))
        || of(Kind::WorkloadGroup).iter().any(|group| selector.matches(group.spec().at("metadata.labels")))
}

fn check_namespace(view: &View<'_>, policy: &Resource, named: &str, field: String, findings: &mut Findings) {
    let namespaces = view.all(Kind::Namespace);
    let is_there = || match (named.strip_prefix('*'), named.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(suffix), _) => namespaces.iter().any(|namespace| namespace.name.ends_with(suffix)),
        (_, Some(prefix)) => namespaces.iter().any(|namespace| namespace.name.starts_with(prefix)),
        _ => {
            view.has_named(Kind::Namespace, "", &named.to_ascii_lowercase())
                || completeness::is_of_each_cluster(view, named)
        }
    };
    if namespaces.is_empty() || is_there() {
        return;
    }
    // Files may not contain all namespaces, and a negative match of a missing namespace has no effect.
    let is_sure = completeness::knows_namespaces(view) && !field.contains("notNamespaces");
    let level = if is_sure { Level::Error } else { Level::Warning };
    findings
        .add(&IST0101, policy, format!("namespace {named} does not exist"))
        .field(field)
        .level(level)
        .arguments(["namespace", named]);
}
