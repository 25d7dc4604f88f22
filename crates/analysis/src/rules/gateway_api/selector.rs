//! Checks for policies that select the pods of a Kubernetes Gateway by label. Source: istio
//! `analyzers/k8sgateway/workloadselector.go`.
//!
//! Differs from istioctl: `targetRefs` counts as `targetRef` does, and a gateway is reported once instead of once for
//! each pod.

use std::collections::BTreeSet;

use crate::istio::managed::GATEWAY_NAME;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, Within};

const POLICIES: &[Kind] = &[Kind::AuthorizationPolicy, Kind::RequestAuthentication, Kind::Telemetry, Kind::WasmPlugin];

pub static RULE: Rule = Rule {
    name: "k8sgateway.SelectorAnalyzer",
    codes: &[&IST0166],
    inputs: &[
        Kind::AuthorizationPolicy,
        Kind::RequestAuthentication,
        Kind::Telemetry,
        Kind::WasmPlugin,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(POLICIES, check),
};

static IST0166: Code = Code {
    id: "IST0166",
    name: "IneffectiveSelector",
    level: Level::Warning,
    title: "Policy uses a workload selector for a Kubernetes Gateway instead of targetRefs",
    why: "A waypoint ignores selectors. Other gateways ignore them if ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY is \
          disabled. A DENY policy then denies nothing.",
    remedy: "Replace the selector with targetRefs that reference the Gateway.",
    source: "https://istio.io/latest/docs/reference/config/type/workload-selector/#PolicyTargetReference",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: web}}, action: DENY, rules: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: web}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  action: DENY
  rules: [{}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: web}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    let spec = policy.spec();
    if spec["targetRef"].is_set() || !spec["targetRefs"].is_empty() || spec["selector"].is_null() {
        return;
    }
    let selector = Selector::new(&spec["selector"]["matchLabels"]);
    let gateways: BTreeSet<&str> = view
        .workloads(Within::Namespace(&policy.namespace), &selector)
        .filter_map(|workload| workload.pod_labels()[GATEWAY_NAME].as_str())
        .collect();
    for gateway in gateways {
        findings
            .add(
                &IST0166,
                policy,
                format!(
                    "the selector matches Gateway {gateway}; use targetRefs for a Kubernetes \
                                            Gateway"
                ),
            )
            .field("spec.selector")
            .arguments([gateway]);
    }
}
