//! Checks for pods with image `auto` that no injector processes. Source: istio `analyzers/injection/image-auto.go`.
//!
//! Differs from istioctl: a Deployment is reported only if injectors are among the objects, because manifests alone do
//! not show which injectors the cluster has.

use crate::istio::pod::is_proxy_container;
use crate::istio::selector;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "injection.ImageAutoAnalyzer",
    codes: &[&IST0146, &IST0147],
    inputs: &[Kind::Pod, Kind::Deployment, Kind::Namespace, Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::Pod, Kind::Deployment], check),
};

static IST0146: Code = Code {
    id: "IST0146",
    name: "ImageAutoWithoutInjectionWarning",
    level: Level::Warning,
    title: "Workload has image auto, but no injector matches its pods",
    why: "The injector replaces image `auto`. Without injection the pods cannot start, because no such image exists.",
    remedy: "Label the pod template sidecar.istio.io/inject: 'true', or enable injection for the namespace.",
    source: "https://istio.io/latest/docs/setup/additional-setup/gateway/",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: edge}
spec: {template: {spec: {containers: [{name: istio-proxy, image: auto}]}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector}
webhooks:
- name: object.sidecar-injector.istio.io
  clientConfig: {url: 'https://istiod.example.com/inject'}
  objectSelector: {matchLabels: {sidecar.istio.io/inject: 'true'}}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: edge}
spec:
  template:
    metadata: {labels: {sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: injector}
webhooks:
- name: object.sidecar-injector.istio.io
  clientConfig: {url: 'https://istiod.example.com/inject'}
  objectSelector: {matchLabels: {sidecar.istio.io/inject: 'true'}}
",
    },
    also: &[],
};

static IST0147: Code = Code {
    id: "IST0147",
    name: "ImageAutoWithoutInjectionError",
    level: Level::Error,
    title: "Pod has a proxy container with image auto",
    why: "The injector did not process the pod, and no image of this name exists, so the pod does not start.",
    remedy: "Make the pod or namespace labels match the injector, then recreate the pod.",
    source: "https://istio.io/latest/docs/setup/additional-setup/gateway/",
    example: Example {
        before: "\
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: edge}
spec: {containers: [{name: istio-proxy, image: auto}]}
",
        after: "\
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: edge}
spec: {containers: [{name: istio-proxy, image: 'registry.istio.io/release/proxyv2:1.29.0'}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, workload: &Resource, findings: &mut Findings) {
    let containers = workload.pod_template().at("spec.containers").items();
    let Some(index) =
        containers.iter().position(|container| is_proxy_container(container) && container["image"].text() == "auto")
    else {
        return;
    };
    let arguments = [workload.kind.name(), workload.name.as_str()];
    if workload.kind == Kind::Pod {
        findings
            .add(&IST0147, workload, "the proxy image is auto: the sidecar injector did not run for this pod")
            .field(format!("spec.containers[{index}].image"))
            .arguments(arguments);
        return;
    }
    let namespace = view.namespace_of(workload);
    let in_namespace = |key: &str| namespace.and_then(|namespace| namespace.label(key));
    let on_pod = |key: &str| workload.pod_labels()[key].as_str();
    let injectors: Vec<_> = view
        .all(Kind::MutatingWebhookConfiguration)
        .iter()
        .flat_map(|configuration| configuration.root["webhooks"].items())
        .filter(|webhook| webhook["name"].text().ends_with("istio.io"))
        .collect();
    let is_injected = injectors.iter().any(|webhook| {
        selector::selects_by(&webhook["namespaceSelector"], &in_namespace)
            && selector::selects_by(&webhook["objectSelector"], &on_pod)
    });
    if !injectors.is_empty() && !is_injected {
        findings
            .add(&IST0146, workload, "the proxy image is auto, but no injector matches the pods")
            .field(format!("spec.template.spec.containers[{index}].image"))
            .arguments(arguments);
    }
}
