//! Checks for pods that are enrolled both with a sidecar and in ambient mode. Source: istio.io, ambient, "Add workloads
//! to the mesh", "Pod selection logic"; Kiali's checks KIA1311, KIA1314, KIA1315, KIA1316.

use crate::istio::membership::{AMBIENT, DATAPLANE};
use crate::istio::pod;
use crate::membership::{has_sidecar, own_injection};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];

pub static RULE: Rule = Rule {
    name: "ambient.Proxied",
    codes: &[&SH7155, &SH7156],
    inputs: &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Namespace],
    check: Check::Each(KINDS, check),
};

static SH7155: Code = Code {
    id: "SH7155",
    name: "SidecarAndAmbient",
    level: Level::Error,
    title: "Pod has both a sidecar and the ambient label",
    why: "The two modes exclude each other. The sidecar wins and the ambient label is ignored, so features that need \
          ambient mode do not work for the pod.",
    remedy: "Remove the label sidecar.istio.io/inject, or the label istio.io/dataplane-mode.",
    source: "https://istio.io/latest/docs/ambient/usage/add-workloads/#pod-selection-logic",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart, sidecar.istio.io/inject: 'true', istio.io/dataplane-mode: ambient}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart, istio.io/dataplane-mode: ambient}
",
    },
    also: &["KIA1311", "KIA1314", "KIA1315"],
};

static SH7156: Code = Code {
    id: "SH7156",
    name: "SidecarInAmbientNamespace",
    level: Level::Info,
    title: "Pod with a sidecar is in an ambient namespace",
    why: "The pod works but is not in ambient mode: it does not use waypoints, and policies with targetRefs do not \
          apply to traffic it sends. Such a sidecar often remains after a migration to ambient mode.",
    remedy: "Remove the label sidecar.istio.io/inject and restart the workload. If the sidecar is intended, label the \
             pod istio.io/dataplane-mode=none.",
    source: "https://istio.io/latest/docs/ambient/usage/add-workloads/#pod-selection-logic",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart, sidecar.istio.io/inject: 'true'}}}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: {template: {metadata: {labels: {app: cart}}}}
",
    },
    also: &["KIA1316"],
};

fn check(view: &View<'_>, workload: &Resource, findings: &mut Findings) {
    let has_proxy = has_sidecar(workload);
    if !(has_proxy || own_injection(workload) == Some("true"))
        || !workload.root.at("metadata.ownerReferences").is_empty()
    {
        return;
    }
    let mode = workload.pod_labels()[DATAPLANE].as_str();
    let redirected = pod::is_redirected(&workload.root);
    let by = if has_proxy { "has a sidecar" } else { "requests a sidecar" };
    if mode == Some(AMBIENT) || redirected {
        let message = format!("{} {by} and has the ambient label", workload.name);
        findings.add(&SH7155, workload, message);
    } else if mode.is_none() && !pod::is_gateway(workload.pod_template()) && view.mode_of(workload).is_ambient() {
        let message = format!("{} {by}, but namespace {} is ambient", workload.name, workload.namespace);
        findings.add(&SH7156, workload, message).arguments([workload.namespace.as_str()]);
    }
}
