//! Checks for injected namespaces whose Pod Security level rejects sidecars. Source: istio.io, application
//! requirements; Istio CNI: without it each pod has an init container with `NET_ADMIN`.

use crate::membership::namespace_mode;
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.PodSecurity",
    codes: &[&SH7220],
    inputs: &[Kind::Namespace, Kind::DaemonSet, Kind::Deployment, Kind::MeshConfig],
    check: Check::Each(&[Kind::Namespace], check),
};

static SH7220: Code = Code {
    id: "SH7220",
    name: "PodSecurityRejectsSidecars",
    level: Level::Error,
    title: "Pod Security level of an injected namespace rejects sidecars",
    why: "Without the Istio CNI plugin, each pod has an init container that needs NET_ADMIN and NET_RAW. Pod Security \
          rejects such pods, so none starts.",
    remedy: "Install the Istio CNI plugin (istio-cni), which sets up traffic redirection on the node.",
    source: "https://istio.io/latest/docs/setup/additional-setup/cni/",
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
metadata: {name: shop, labels: {istio-injection: enabled, pod-security.kubernetes.io/enforce: restricted}}
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
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: istio-cni-node, namespace: istio-system, labels: {k8s-app: istio-cni-node}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled, pod-security.kubernetes.io/enforce: restricted}}
",
    },
    also: &[],
};

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

fn check(view: &View<'_>, namespace: &Resource, findings: &mut Findings) {
    let Some(level @ ("restricted" | "baseline")) = namespace.label(ENFORCE) else { return };
    if !namespace_mode(namespace).injects() || !is_whole_cluster(view) {
        return;
    }
    // istio-cni in kube-system is not visible, because kube-system is not read; in another namespace it is.
    let has_cni = view.all(Kind::DaemonSet).iter().any(|set| set.name.contains("istio-cni"));
    if has_cni {
        return;
    }
    let message =
        format!("namespace {} is injected and enforces {level}, but istio-cni is not installed", namespace.name);
    findings
        .add(&SH7220, namespace, message)
        .level(Level::Warning)
        .field(format!("metadata.labels[\"{ENFORCE}\"]"))
        .arguments([namespace.name.as_str(), level]);
}
