//! Checks for policy hosts without a service. Source: Kiali's check KIA0104.

use crate::hosts::service_of;
use crate::rules::support::completeness::knows_service;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "references.PolicyHosts",
    codes: &[&SH7103],
    inputs: &[Kind::AuthorizationPolicy, Kind::Service, Kind::ServiceEntry, Kind::MeshConfig, Kind::Namespace],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7103: Code = Code {
    id: "SH7103",
    name: "PolicyHostUnknown",
    level: Level::Warning,
    title: "AuthorizationPolicy matches the host of a service that does not exist",
    why: "No request has this host, so this match never applies. An ALLOW policy allows less than intended, and a \
          DENY policy denies less.",
    remedy: "Correct the host, or remove it if the service was deleted.",
    source: "https://kiali.io/docs/features/validations/#kia0104---this-host-has-no-matching-entry-in-the-service-registry",
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - to: [{operation: {hosts: [carts.shop.svc.cluster.local]}}]
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - to: [{operation: {hosts: [cart.shop.svc.cluster.local]}}]
",
    },
    also: &["KIA0104"],
};

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["to"].items().iter().enumerate() {
            for (which, host) in entry["operation"]["hosts"].texts().enumerate() {
                let bare = host.split_once(':').map_or(host, |(bare, _)| bare);
                let Some((namespace, name)) = service_of(bare) else { continue };
                if bare.contains('*') || view.has_named(Kind::Service, namespace, name) {
                    continue;
                }
                let is_known = knows_service(view, namespace, name);
                let is_entry = !view.providers(policy, bare).is_empty();
                if !is_known || is_entry {
                    continue;
                }
                let message = format!("host {host}: namespace {namespace} has no service {name}");
                findings
                    .add(&SH7103, policy, message)
                    .field(format!("spec.rules[{index}].to[{at}].operation.hosts[{which}]"))
                    .arguments([host]);
            }
        }
    }
}
