//! Checks for matches on a gateway that the `VirtualService` is not bound to. Source: Kiali's check KIA1102 (its second
//! half); `VirtualService` reference, `HTTPMatchRequest.gateways`.

use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "routing.MatchGateways",
    codes: &[&SH7123],
    inputs: &[Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7123: Code = Code {
    id: "SH7123",
    name: "MatchOfUnboundGateway",
    level: Level::Warning,
    title: "Route matches a gateway that the VirtualService is not bound to",
    why: "A VirtualService is bound only to the gateways in spec.gateways (mesh by default). This match is never \
          true, so the route is never used.",
    remedy: "Add the gateway to spec.gateways, or correct the name in the match.",
    source: "https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.example.com]
  gateways: [public]
  http:
  - match: [{gateways: [mesh]}]
    route: [{destination: {host: cart}}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.example.com]
  gateways: [public, mesh]
  http:
  - match: [{gateways: [mesh]}]
    route: [{destination: {host: cart}}]
",
    },
    also: &["KIA1102"],
};

fn check(_: &View<'_>, service: &Resource, findings: &mut Findings) {
    let own = &service.namespace;
    // A delegate is bound to the gateways of its root.
    if service.spec()["hosts"].items().is_empty() {
        return;
    }
    for kind in ["http", "tcp", "tls"] {
        for (index, route) in service.spec()[kind].items().iter().enumerate() {
            for (at, condition) in route["match"].items().iter().enumerate() {
                for (which, gateway) in condition["gateways"].texts().enumerate() {
                    if gateway_binding::gateways(service)
                        .any(|bound| gateway_binding::named(bound, own) == gateway_binding::named(gateway, own))
                    {
                        continue;
                    }
                    let message =
                        format!("the match is for gateway {gateway}, but {} is not bound to it", service.name);
                    findings
                        .add(&SH7123, service, message)
                        .field(format!("spec.{kind}[{index}].match[{at}].gateways[{which}]"))
                        .arguments([gateway]);
                }
            }
        }
    }
}
