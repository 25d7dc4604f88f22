//! Checks that egress control can be enforced. Source: istio.io, security best practices, "Egress"; tasks, "Egress
//! gateways".

use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Rule, View};

pub static RULE: Rule = Rule {
    name: "operations.Egress",
    codes: &[&SH7211],
    inputs: &[Kind::NetworkPolicy, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check),
};

static SH7211: Code = Code {
    id: "SH7211",
    name: "EgressNotEnforced",
    level: Level::Info,
    title: "Egress traffic control can be bypassed",
    why: "The client's own sidecar applies outboundTrafficPolicy, and a pod can bypass its sidecar. An egress gateway \
          enforces nothing while traffic may also leave the cluster directly.",
    remedy: "Combine REGISTRY_ONLY with an egress gateway and with NetworkPolicies that allow outbound traffic only \
             from the gateway.",
    source: "https://istio.io/latest/docs/tasks/traffic-management/egress/egress-gateway/#additional-security-considerations",
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
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-egressgateway, namespace: istio-system, labels: {istio: egressgateway}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-egressgateway, namespace: istio-system, labels: {istio: egressgateway}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: shop}
spec: {podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}
",
    },
    also: &[],
};

fn check(view: &View<'_>, findings: &mut Findings) {
    if !is_whole_cluster(view) {
        return;
    }
    let Some(config) = view.all(Kind::MeshConfig).first() else { return };
    let gateway = view.all(Kind::Deployment).iter().find(|it| it.label("istio") == Some("egressgateway"));
    let any = view.mesh().allows_any_outbound();
    let is_enforced = || view.all(Kind::NetworkPolicy).iter().any(|policy| !policy.spec()["egress"].items().is_empty());
    let message = match gateway {
        Some(gateway) if any => {
            format!(
                "egress gateway {} can be bypassed, because ALLOW_ANY permits all other outbound traffic",
                gateway.full_name()
            )
        }
        None if !any && !is_enforced() => {
            "REGISTRY_ONLY without an egress gateway and without an egress NetworkPolicy can be bypassed by a pod"
                .to_owned()
        }
        _ => return,
    };
    findings.add(&SH7211, config, message).field("outboundTrafficPolicy.mode");
}
