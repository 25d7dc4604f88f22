//! Checks for traffic that bypasses the sidecar. Source: istio.io, security best practices, "Understand traffic capture
//! limitations".

use super::owned::{is_owned, template_path};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

pub static RULE: Rule =
    Rule { name: "pods.Bypass", codes: &[&SH7208, &SH7209], inputs: KINDS, check: Check::Each(KINDS, check) };

static SH7208: Code = Code {
    id: "SH7208",
    name: "OutboundBypassesProxy",
    level: Level::Info,
    title: "Outbound traffic of a workload bypasses its sidecar",
    why: "Bypassing traffic has no mutual TLS, no retries and no telemetry, and REGISTRY_ONLY does not block it.",
    remedy: "Use a ServiceEntry instead of excluding ports or addresses, or restrict this traffic with a \
             NetworkPolicy.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#understand-traffic-capture-limitations",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart}
      annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: '3306'}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart}
",
    },
    also: &[],
};

static SH7209: Code = Code {
    id: "SH7209",
    name: "InboundBypassesProxy",
    level: Level::Warning,
    title: "Inbound traffic of a workload bypasses its sidecar",
    why: "No Istio policy applies to these ports: any client that reaches the pod is accepted without mutual TLS and \
          authorization.",
    remedy: "Remove the exclusion. If the port must accept plaintext, use a PeerAuthentication with portLevelMtls \
             PERMISSIVE, or protect the port with a NetworkPolicy.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#understand-traffic-capture-limitations",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart}
      annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '8080'}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: cart}
",
    },
    also: &[],
};

const OUTBOUND: [&str; 3] = [
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
];
const INBOUND: [&str; 3] = [
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "sidecar.istio.io/interceptionMode",
];

fn check(_: &View<'_>, workload: &Resource, findings: &mut Findings) {
    if is_owned(workload) {
        return;
    }
    let annotations = &workload.pod_template()["metadata"]["annotations"];
    if annotations.entries().is_empty() {
        return;
    }
    for (code, keys) in [(&SH7208, OUTBOUND), (&SH7209, INBOUND)] {
        for key in keys {
            let Some(value) = annotations[key].as_str() else { continue };
            if !takes_away(key, value) {
                continue;
            }
            let message = format!("{key} is {value:?}: this traffic bypasses the sidecar");
            findings
                .add(code, workload, message)
                .field(format!("{}metadata.annotations[\"{key}\"]", template_path(workload)))
                .arguments([key, value]);
        }
    }
}

fn takes_away(key: &str, value: &str) -> bool {
    match key.rsplit('/').next().unwrap_or_default() {
        "interceptionMode" => value == "NONE",
        name if name.starts_with("include") => value != "*",
        _ => !value.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn including_all_ports_is_accepted() {
        let all = super::SH7209.example.before.replace("excludeInboundPorts: '8080'", "includeInboundPorts: '*'");
        assert!(!reported(&all).contains("SH7209"));
    }

    #[test]
    fn pods_do_not_repeat_deployment_finding() {
        let pod = "
apiVersion: v1
kind: Pod
metadata:
  name: cart-1
  namespace: shop
  annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '8080'}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: cart, uid: a}]
";
        assert!(!reported(pod).contains("SH7209"));
    }
}
