//! Counts the workloads outside the mesh. Source: istio-vet `podsinmesh`.

use sailhand_base::prose::{agree, plural};

use crate::membership::{is_control_plane, is_managed_gateway};
use crate::rules::support::completeness::is_whole_cluster;
use crate::rules::support::text::some_of;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

const KINDS: [Kind; 3] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];

pub static RULE: Rule = Rule {
    name: "operations.Members",
    codes: &[&SH7319],
    inputs: &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Namespace, Kind::MeshConfig],
    check: Check::Once(check),
};

static SH7319: Code = Code {
    id: "SH7319",
    name: "WorkloadsOutsideMesh",
    level: Level::Info,
    title: "Workloads are outside the mesh",
    why: "They have no identity and no mutual TLS: STRICT servers reject them, and policies that match identities do \
          not match them. Compare the count with what you expect.",
    remedy: "Label the namespaces that belong to the mesh istio-injection=enabled or istio.io/dataplane-mode=ambient.",
    source: "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, istio: pilot}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, istio: pilot}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}}}
",
    },
    also: &["istio-vet podsinmesh"],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    if !is_whole_cluster(view) {
        return;
    }
    let root = view.root_namespace();
    let mut inside = 0_usize;
    let mut outside: Vec<String> = Vec::new();
    for workload in KINDS.iter().flat_map(|kind| view.all(*kind)) {
        if workload.namespace == root || is_control_plane(workload) || is_managed_gateway(workload) {
            continue;
        }
        if view.is_in_mesh(workload) {
            inside += 1;
        } else {
            outside.push(workload.full_name());
        }
    }
    let Some(config) = view.all(Kind::MeshConfig).first().filter(|_| !outside.is_empty()) else { return };
    let message = format!(
        "{} of {} {} outside the mesh: {}",
        outside.len(),
        plural(inside + outside.len(), "workload"),
        agree(outside.len(), "is", "are"),
        some_of(&outside)
    );
    findings.add(&SH7319, config, message).arguments([outside.len().to_string(), (inside + outside.len()).to_string()]);
}
