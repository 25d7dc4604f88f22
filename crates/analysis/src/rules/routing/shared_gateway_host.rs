//! Checks for several `VirtualService`s for one host at a gateway. Source: istio.io, traffic management best practices,
//! "Split large virtual services"; Kiali's check KIA1106; istio-vet `conflictingvirtualservicehost`; istio/istio#37500.

use std::collections::BTreeMap;

use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "routing.SharedGatewayHost",
    codes: &[&SH7116],
    inputs: &[Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7116: Code = Code {
    id: "SH7116",
    name: "ConflictingGatewayRoutes",
    level: Level::Warning,
    title: "VirtualServices have conflicting routes for the same host at a gateway",
    why: "Istio merges VirtualServices for one host at a gateway in an undefined order. Of two routes for the same \
          path, or of two without a match, one is never used, and a change may select the other.",
    remedy: "Give each VirtualService distinct paths and at most one route without a match for each host. \
             Alternatively merge them, or delegate from one root VirtualService.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#split-virtual-services",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [istio-ingress/public]
  http:
  - match: [{uri: {prefix: /cart}}]
    route: [{destination: {host: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart-beta, namespace: beta}
spec:
  hosts: [shop.example.com]
  gateways: [istio-ingress/public]
  http:
  - match: [{uri: {prefix: /cart}}]
    route: [{destination: {host: cart}}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [istio-ingress/public]
  http:
  - match: [{uri: {prefix: /cart}}]
    route: [{destination: {host: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart-beta, namespace: beta}
spec:
  hosts: [shop.example.com]
  gateways: [istio-ingress/public]
  http:
  - match: [{uri: {prefix: /beta/cart}}]
    route: [{destination: {host: cart}}]
",
    },
    also: &["KIA1106", "istio-vet conflictingvirtualservicehost"],
};

/// `VirtualService`s by gateway, host and match of a route.
static BY_MATCH: KeyIndex = KeyIndex {
    name: "virtual services by gateway, host and path",
    kinds: &[Kind::VirtualService],
    keys: |service, keys| {
        for_each_claim(service, &mut |claim| keys.add(&[claim.namespace, claim.gateway, claim.host, &claim.requests]));
    },
};

struct Claim<'a> {
    namespace: &'a str,
    gateway: &'a str,
    host: &'a str,
    requests: String,
    field: String,
}

fn for_each_claim<'a>(service: &'a Resource, take: &mut dyn FnMut(Claim<'a>)) {
    let gateways = || gateway_binding::gateways(service).filter(|gateway| *gateway != "mesh");
    if gateways().next().is_none() {
        return;
    }
    let mut requests: BTreeMap<String, String> = BTreeMap::new();
    for (index, route) in service.spec()["http"].items().iter().enumerate() {
        let conditions = route["match"].items();
        if conditions.is_empty() {
            requests.entry("everything".to_owned()).or_insert_with(|| format!("spec.http[{index}]"));
        }
        for (at, condition) in conditions.iter().enumerate() {
            if let Some(path) = path_alone(condition) {
                requests.entry(path).or_insert_with(|| format!("spec.http[{index}].match[{at}].uri"));
            }
        }
    }
    for gateway in gateways() {
        let (namespace, gateway) = gateway_binding::named(gateway, &service.namespace);
        for host in service.spec()["hosts"].texts() {
            for (requests, field) in &requests {
                let (requests, field) = (requests.clone(), field.clone());
                take(Claim { namespace, gateway, host, requests, field });
            }
        }
    }
}

/// The path, if the match has no other condition.
fn path_alone(condition: &Value) -> Option<String> {
    if condition.entries().iter().any(|(key, value)| !matches!(key.as_str(), "uri" | "name") && value.is_set()) {
        return None;
    }
    let (how, path) = condition["uri"].entries().first()?;
    let path = path.text();
    Some(if how == "prefix" && path == "/" { "everything".to_owned() } else { format!("{how} {path}") })
}

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    for_each_claim(service, &mut |claim| {
        let key = [claim.namespace, claim.gateway, claim.host, &claim.requests];
        let same = view.lookup(&BY_MATCH, &key);
        if same.len() < 2 {
            return;
        }
        let is_other = |other: &Resource| {
            other.cluster == service.cluster && (other.name != service.name || other.namespace != service.namespace)
        };
        let Some(other) = same.iter().find(|other| is_other(other)) else { return };
        let what = if claim.requests == "everything" { "all other requests".to_owned() } else { claim.requests };
        let message = format!(
            "{} also matches {what} for {} at gateway {}/{}",
            other.full_name(),
            claim.host,
            claim.namespace,
            claim.gateway
        );
        findings
            .add(&SH7116, service, message)
            .field(claim.field)
            .arguments([claim.host, &format!("{}/{}", claim.namespace, claim.gateway), &what, &other.full_name()])
            .related(other);
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn routes_with_different_headers_do_not_conflict() {
        let header = super::SH7116.example.before.replacen(
            "match: [{uri: {prefix: /cart}}]",
            "match: [{uri: {prefix: /cart}, headers: {beta: {exact: 'yes'}}}]",
            1,
        );
        assert!(!reported(&header).contains("SH7116"));
    }

    #[test]
    fn virtual_service_does_not_conflict_with_itself() {
        let alone = super::SH7116.example.before.split_once("---").unwrap().0;
        assert!(!reported(alone).contains("SH7116"));
    }
}
