//! Checks for routes by JWT claims without a `RequestAuthentication`. Source: istio
//! `analyzers/virtualservice/jwtclaimroute.go`.
//!
//! Differs from istioctl: the mesh's root namespace is used (there it is always `istio-system`), a gateway scaled to
//! zero counts, and a gateway is reported once.

use crate::rules::support::gateway_binding::named;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, View, WORKLOADS, Within};

pub static RULE: Rule = Rule {
    name: "virtualservice.JWTClaimRouteAnalyzer",
    codes: &[&IST0149],
    inputs: &[
        Kind::VirtualService,
        Kind::RequestAuthentication,
        Kind::Gateway,
        Kind::MeshConfig,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::VirtualService], check),
};

const _: () = assert!(WORKLOADS.len() == 6, "all of them are listed above");

static IST0149: Code = Code {
    id: "IST0149",
    name: "JwtClaimBasedRoutingWithoutRequestAuthN",
    level: Level::Error,
    title: "JWT claim routing without RequestAuthentication",
    why: "Claims are available only if a RequestAuthentication has validated the token. Without it the route never \
          matches.",
    remedy: "Create a RequestAuthentication whose selector matches the gateway's pods, in their namespace or the root \
             namespace.",
    source: "https://istio.io/latest/docs/tasks/security/authentication/jwt-route/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http:
  - match: [{headers: {'@request.auth.claims.group': {exact: admin}}}]
    route: [{destination: {host: cart}}]
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {name: http, number: 80, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http:
  - match: [{headers: {'@request.auth.claims.group': {exact: admin}}}]
    route: [{destination: {host: cart}}]
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  jwtRules: [{issuer: example.com, jwksUri: 'https://example.com/keys'}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, service: &Resource, findings: &mut Findings) {
    let Some((claim, field)) = claim(service) else { return };
    for gateway in service.spec()["gateways"].texts().filter(|gateway| *gateway != "mesh") {
        let (namespace, name) = named(gateway, &service.namespace);
        let Some(gateway) = view.get(Kind::Gateway, namespace, name) else { continue };
        let selector = Selector::new(&gateway.spec()["selector"]);
        let Some(unchecked) =
            view.workloads(Within::Anywhere, &selector).find(|workload| !may_check_tokens(view, workload))
        else {
            continue;
        };
        let full_name = gateway.full_name();
        let message = format!(
            "the route matches {claim}, but no RequestAuthentication applies to {unchecked} of gateway {full_name}"
        );
        findings
            .add(&IST0149, service, message)
            .field(field.clone())
            .arguments([claim, &full_name, &unchecked.name])
            .related(gateway);
    }
}

fn may_check_tokens(view: &View<'_>, workload: &Resource) -> bool {
    [view.root_namespace(), &workload.namespace].into_iter().any(|namespace| {
        let is_installed = view.may_be_made("RequestAuthentication", namespace, "") && !view.is_stated_whole();
        is_installed
            || view
                .in_namespace(Kind::RequestAuthentication, namespace)
                .iter()
                .any(|policy| Selector::new(&policy.spec()["selector"]["matchLabels"]).matches(workload.pod_labels()))
    })
}

/// The first header match on a claim, with its field.
fn claim(service: &Resource) -> Option<(&str, String)> {
    for (index, rule) in service.spec()["http"].items().iter().enumerate() {
        for (at, condition) in rule["match"].items().iter().enumerate() {
            for headers in ["headers", "withoutHeaders"] {
                let claim = condition[headers].entries().iter().find(|(key, _)| is_claim(key));
                if let Some((key, _)) = claim {
                    return Some((key, format!("spec.http[{index}].match[{at}].{headers}[\"{key}\"]")));
                }
            }
        }
    }
    None
}

/// `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`.
fn is_claim(header: &str) -> bool {
    const PREFIX: &str = "@request.auth.claims";
    let Some((start, rest)) = header.split_at_checked(PREFIX.len()) else { return false };
    start.eq_ignore_ascii_case(PREFIX)
        && ((rest.starts_with('.') && rest.len() > 1)
            || (rest.starts_with('[') && rest.ends_with(']') && rest.len() > 2))
}

#[cfg(test)]
mod tests {
    use super::is_claim;

    #[test]
    fn claims_parse_in_both_forms() {
        assert!(is_claim("@request.auth.claims.group") && is_claim("@Request.Auth.Claims[a][b]"));
        assert!(!is_claim("@request.auth.claims") && !is_claim("@request.auth.claims[]") && !is_claim("x-group"));
    }
}
