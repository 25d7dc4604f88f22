//! Checks for mesh services without a default route. Source: istio.io, traffic management best practices, "Set default
//! routes for services".

use crate::hosts::{fqdn, service_of};
use crate::rules::support::gateway_binding;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "routing.DefaultRoute",
    codes: &[&SH7301],
    inputs: &[Kind::VirtualService],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7301: Code = Code {
    id: "SH7301",
    name: "NoDefaultRoute",
    level: Level::Info,
    title: "VirtualService has no default route",
    why: "The client's own proxy responds with 404 to requests that match no route. They never reach the service, so \
          its logs do not show them.",
    remedy: "Add a last route without match.",
    source: "https://istio.io/latest/docs/ops/best-practices/traffic-management/#set-default-routes-for-services",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - match: [{headers: {user: {exact: tester}}}]
    route: [{destination: {host: cart, subset: v2}}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - match: [{headers: {user: {exact: tester}}}]
    route: [{destination: {host: cart, subset: v2}}]
  - route: [{destination: {host: cart, subset: v1}}]
",
    },
    also: &[],
};

fn check(_: &View<'_>, service: &Resource, findings: &mut Findings) {
    let routes = service.spec()["http"].items();
    if routes.is_empty()
        || routes.iter().any(takes_everything)
        || !gateway_binding::gateways(service).any(|name| name == "mesh")
    {
        return;
    }
    let host = service.spec()["hosts"].texts().find(|host| service_of(&fqdn(host, &service.namespace)).is_some());
    if let Some(host) = host {
        let of = if routes.len() == 1 {
            "do not match the route".to_owned()
        } else {
            format!("match none of the {} routes", routes.len())
        };
        let message = format!("requests to {host} that {of} get 404");
        findings.add(&SH7301, service, message).field("spec.http").arguments([host]);
    }
}

fn takes_everything(route: &Value) -> bool {
    let conditions = route["match"].items();
    conditions.is_empty()
        || conditions.iter().any(|condition| {
            condition.entries().iter().all(|(key, value)| match key.as_str() {
                "name" => true,
                "uri" => value["prefix"].text() == "/" || matches!(value["regex"].text(), ".*" | "/.*"),
                "gateways" => value.texts().any(|gateway| gateway == "mesh"),
                _ => false,
            })
        })
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn gateway_may_expose_some_paths() {
        let gateway = super::SH7301.example.before.replace("  http:", "  gateways: [public]\n  http:");
        assert!(!reported(&gateway).contains("SH7301"));
    }

    #[test]
    fn root_prefix_is_a_default_route() {
        let prefix = super::SH7301.example.before.replace("{headers: {user: {exact: tester}}}", "{uri: {prefix: /}}");
        assert!(!reported(&prefix).contains("SH7301"));
    }
}
