//! Checks for Gateways that request the same address. Source: Kiali's check KIA1502.

use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "gateway_api.Addresses",
    codes: &[&SH7145],
    inputs: &[Kind::KubernetesGateway],
    check: Check::Each(&[Kind::KubernetesGateway], check),
};

static SH7145: Code = Code {
    id: "SH7145",
    name: "GatewaysShareAddress",
    level: Level::Warning,
    title: "Gateways request the same address and port",
    why: "Each Gateway has its own proxy, and only one of them can have the address. The other gets no address, or \
          receives the traffic of the first.",
    remedy: "Move the listeners into one Gateway, or give each Gateway its own address.",
    source: "https://kiali.io/docs/features/validations/",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a, namespace: ingress}
spec:
  gatewayClassName: istio
  addresses: [{type: IPAddress, value: 192.0.2.10}]
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: b, namespace: ingress}
spec:
  gatewayClassName: istio
  addresses: [{type: IPAddress, value: 192.0.2.10}]
  listeners: [{name: http, port: 80, protocol: HTTP}]
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a, namespace: ingress}
spec:
  gatewayClassName: istio
  addresses: [{type: IPAddress, value: 192.0.2.10}]
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: b, namespace: ingress}
spec:
  gatewayClassName: istio
  addresses: [{type: IPAddress, value: 192.0.2.11}]
  listeners: [{name: http, port: 80, protocol: HTTP}]
",
    },
    also: &["KIA1502"],
};

static BY_ADDRESS: KeyIndex = KeyIndex {
    name: "gateways by address and port",
    kinds: &[Kind::KubernetesGateway],
    keys: |gateway, keys| {
        for address in addresses(gateway) {
            for listener in gateway.spec()["listeners"].items() {
                keys.add(&[address["value"].text(), &listener["port"].scalar_text()]);
            }
        }
    },
};

/// Gateways with the address of an existing Service share its proxy on purpose.
fn addresses(gateway: &Resource) -> impl Iterator<Item = &Value> {
    gateway.spec()["addresses"]
        .items()
        .iter()
        .filter(|address| matches!(address["type"].text(), "" | "IPAddress") && !address["value"].text().is_empty())
}

fn check(view: &View<'_>, gateway: &Resource, findings: &mut Findings) {
    for (index, address) in addresses(gateway).enumerate() {
        let value = address["value"].text();
        let other = gateway.spec()["listeners"].items().iter().find_map(|listener| {
            let port = listener["port"].scalar_text();
            let sharing = view.lookup(&BY_ADDRESS, &[value, &port]);
            let other = sharing.iter().find(|other| {
                other.cluster == gateway.cluster && (other.name != gateway.name || other.namespace != gateway.namespace)
            })?;
            Some((other, port))
        });
        let Some((other, port)) = other else { continue };
        let message = format!("{} also requests {value}, port {port}", other.full_name());
        findings
            .add(&SH7145, gateway, message)
            .field(format!("spec.addresses[{index}].value"))
            .arguments([value, &port, &other.full_name()])
            .related(other);
    }
}
