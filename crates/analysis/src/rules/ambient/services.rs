//! Checks for routes and traffic policies for ambient services that no waypoint applies. Source: istio.io, ambient,
//! "Use Layer 7 features"; Kiali's checks KIA0210-0212, KIA1109, KIA1113, KIA1114.

use super::waypoint::{has_waypoint, is_ambient};
use crate::hosts::{fqdn, service_of};
use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "ambient.Services",
    codes: &[&SH7157, &SH7158],
    inputs: &[Kind::VirtualService, Kind::DestinationRule, Kind::Service, Kind::Namespace],
    check: Check::Each(&[Kind::VirtualService, Kind::DestinationRule], check),
};

static SH7157: Code = Code {
    id: "SH7157",
    name: "RoutesWithoutWaypoint",
    level: Level::Warning,
    title: "Routes or L7 settings apply to an ambient service without a waypoint",
    why: "ztunnel reads neither VirtualServices nor DestinationRules. Without a waypoint only gateways and sidecars \
          apply them, and traffic between ambient workloads ignores them.",
    remedy: "Label the service or its namespace with istio.io/use-waypoint.",
    source: "https://istio.io/latest/docs/ambient/usage/l7-features/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{timeout: 2s, route: [{destination: {host: cart}}]}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{timeout: 2s, route: [{destination: {host: cart}}]}]
",
    },
    also: &["KIA0210", "KIA0211", "KIA1109", "KIA1113"],
};

static SH7158: Code = Code {
    id: "SH7158",
    name: "RoutesInAnotherNamespace",
    level: Level::Warning,
    title: "Routes or settings for an ambient service are in another namespace",
    why: "A waypoint reads configuration only from the namespace of its service. Configuration in a client's \
          namespace has no effect.",
    remedy: "Move the object to the namespace of the service.",
    source: "https://istio.io/latest/docs/ambient/usage/l7-features/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: web}
spec:
  hosts: [cart.shop.svc.cluster.local]
  http: [{timeout: 2s, route: [{destination: {host: cart.shop.svc.cluster.local}}]}]
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http: [{timeout: 2s, route: [{destination: {host: cart}}]}]
",
    },
    also: &["KIA0212", "KIA1114"],
};

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let spec = resource.spec();
    if resource.kind == Kind::DestinationRule {
        check_host(view, resource, spec["host"].text(), "spec.host".to_owned(), findings);
    } else if gateway_binding::gateways(resource).any(|gateway| gateway == "mesh") {
        for (index, host) in spec["hosts"].texts().enumerate() {
            check_host(view, resource, host, format!("spec.hosts[{index}]"), findings);
        }
    }
}

fn check_host(view: &View<'_>, resource: &Resource, host: &str, field: String, findings: &mut Findings) {
    let full = fqdn(host, &resource.namespace);
    let Some((namespace, name)) = service_of(&full) else { return };
    // Clients with sidecars do apply it, so a namespace that is not ambient is not reported.
    if !is_ambient(view, &resource.namespace) || !is_ambient(view, namespace) {
        return;
    }
    let Some(service) = view.get(Kind::Service, namespace, name) else { return };
    if !has_waypoint(view, service) {
        let message = format!(
            "service {} uses no waypoint, so traffic between ambient workloads ignores {}",
            service.full_name(),
            resource.name
        );
        findings.add(&SH7157, resource, message).field(field).arguments([service.full_name()]).related(service);
    } else if namespace != resource.namespace {
        let message = format!(
            "the waypoint of service {} does not read configuration from namespace {}",
            service.full_name(),
            resource.namespace
        );
        findings.add(&SH7158, resource, message).field(field).arguments([service.full_name()]).related(service);
    }
}
