//! Checks for Sidecars with an implicit `REGISTRY_ONLY`. Source: Kiali's check KIA1007; Sidecar reference,
//! `OutboundTrafficPolicy.Mode`: the default is `REGISTRY_ONLY`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.SidecarOutbound",
    codes: &[&SH7124],
    inputs: &[Kind::Sidecar],
    check: Check::Each(&[Kind::Sidecar], check),
};

static SH7124: Code = Code {
    id: "SH7124",
    name: "OutboundModeMissing",
    level: Level::Info,
    title: "Sidecar has an outboundTrafficPolicy without a mode",
    why: "The mode defaults to REGISTRY_ONLY, whatever the default of the mesh is: requests to hosts that are not \
          imported are blocked.",
    remedy: "Set mode: REGISTRY_ONLY or mode: ALLOW_ANY explicitly, or remove outboundTrafficPolicy.",
    source: "https://istio.io/latest/docs/reference/config/networking/sidecar/#OutboundTrafficPolicy-Mode",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {}
  egress: [{hosts: ['./*', 'istio-system/*']}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ['./*', 'istio-system/*']}]
",
    },
    also: &["KIA1007"],
};

fn check(_: &View<'_>, sidecar: &Resource, findings: &mut Findings) {
    let policy = &sidecar.spec()["outboundTrafficPolicy"];
    if policy.is_set() && policy["mode"].text().is_empty() {
        let message = format!("outboundTrafficPolicy of {} has no mode, so it is REGISTRY_ONLY", sidecar.name);
        findings.add(&SH7124, sidecar, message).field("spec.outboundTrafficPolicy");
    }
}
