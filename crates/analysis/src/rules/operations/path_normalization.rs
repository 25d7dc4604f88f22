//! Checks for path-based policies without path normalization. Source: istio.io, security best practices, "Customize
//! your system on path normalization".

use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.PathNormalization",
    codes: &[&SH7206],
    inputs: &[Kind::AuthorizationPolicy, Kind::ConfigMap, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7206: Code = Code {
    id: "SH7206",
    name: "PathsNotNormalized",
    level: Level::Info,
    title: "Path-based policies are used without full path normalization",
    why: "A policy compares `/admin%2Fusers` and `/admin//users` literally, while many applications treat them as \
          `/admin/users`. A client can bypass a policy for `/admin/users` this way.",
    remedy: "Set pathNormalization.normalization to DECODE_AND_MERGE_SLASHES in the MeshConfig, if the applications \
             decode paths too.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: cluster.local'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    let mesh = view.mesh();
    let normalization = mesh.config().at("pathNormalization.normalization").text();
    if normalization == "DECODE_AND_MERGE_SLASHES" {
        return;
    }
    // Files without the MeshConfig do not show the setting.
    if !view.has_named(Kind::ConfigMap, mesh.root_namespace(), "istio") && !is_whole_cluster(view) {
        return;
    }
    let uses_paths = |policy: &&std::sync::Arc<Resource>| {
        let rules = policy.spec()["rules"].items();
        rules
            .iter()
            .flat_map(|rule| rule["to"].items())
            .any(|entry| !entry["operation"]["paths"].is_empty() || !entry["operation"]["notPaths"].is_empty())
    };
    let Some(policy) = view.all(Kind::AuthorizationPolicy).iter().find(uses_paths) else { return };
    let Some(config) = view.all(Kind::MeshConfig).first() else { return };
    let is = if normalization.is_empty() { "BASE, the default" } else { normalization };
    let message = format!("pathNormalization is {is}, but policies such as {} match paths", policy.full_name());
    findings
        .add(&SH7206, config, message)
        .field("pathNormalization.normalization")
        .arguments([is, &policy.full_name()])
        .related(policy);
}
