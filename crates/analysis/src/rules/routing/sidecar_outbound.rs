//! A Sidecar that closes the way out without saying so. Source: Kiali's check KIA1007; Sidecar reference,
//! `OutboundTrafficPolicy.Mode`: what is not said is `REGISTRY_ONLY`.

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "routing.SidecarOutbound",
    codes: &[&SH7124],
    reads: &[Kind::Sidecar],
    check: Check::Each(&[Kind::Sidecar], check),
};

static SH7124: Code = Code {
    id: "SH7124",
    name: "OutboundModeUnsaid",
    level: Level::Info,
    title: "A Sidecar has an outboundTrafficPolicy without a mode",
    why: "Then the mode is REGISTRY_ONLY, whatever the mesh's default is: requests to hosts that are not imported are \
          refused.",
    remedy: "Write mode: REGISTRY_ONLY if that is meant, else mode: ALLOW_ANY, or leave outboundTrafficPolicy out.",
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
        let message = format!("outboundTrafficPolicy of {} has no mode: it is REGISTRY_ONLY", sidecar.name);
        findings.add(&SH7124, sidecar, message).field("spec.outboundTrafficPolicy");
    }
}
