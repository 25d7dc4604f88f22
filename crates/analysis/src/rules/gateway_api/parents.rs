//! Routes that no gateway takes. Source: Gateway API, `ParentReference` and `AllowedRoutes`; Kiali's check KIA1401.

use super::status::is_refused;
use crate::istio::selector;
use crate::rules::scope::is_whole_cluster;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Node, Resource, Rule, View, hosts};

const ROUTES: &[Kind] = &[Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];

/// The rule.
pub static RULE: Rule = Rule {
    name: "gateway_api.Parents",
    codes: &[&SH7141, &SH7148],
    reads: &[
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::KubernetesGateway,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Deployment,
    ],
    check: Check::Each(ROUTES, check),
};

static SH7141: Code = Code {
    id: "SH7141",
    name: "ParentGatewayUnknown",
    level: Level::Error,
    title: "A route names a Gateway that does not exist",
    why: "Nothing serves the route: its hosts get 404 or no answer.",
    remedy: "Correct name and namespace in parentRefs; without a namespace it is the route's own.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#parentreference",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: public}]}
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: public, namespace: ingress}]}
",
    },
    also: &["KIA1401"],
};

static SH7148: Code = Code {
    id: "SH7148",
    name: "RouteNotAllowed",
    level: Level::Error,
    title: "No listener of the Gateway takes the route",
    why: "The Gateway is there, and the route is not attached to it: its hosts get 404. A listener takes routes of its \
          own namespace only unless it says otherwise.",
    remedy: "Set allowedRoutes.namespaces.from: All (or Selector) at the listener, and make section name, port, host and \
             protocol of both fit.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#allowedroutes",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: public, namespace: ingress}]}
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: ingress}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec: {parentRefs: [{name: public, namespace: ingress}]}
",
    },
    also: &[],
};

static GATEWAYS_BY_NAME: KeyIndex = KeyIndex {
    name: "Kubernetes gateways by name",
    kinds: &[Kind::KubernetesGateway],
    keys: |gateway, keys| keys.add(&[&gateway.name]),
};

fn check(view: &View<'_>, route: &Resource, findings: &mut Findings) {
    if is_refused(route, "Accepted") {
        return;
    }
    for (index, parent) in route.spec()["parentRefs"].items().iter().enumerate() {
        let or = |key: &str, default| if parent[key].is_set() { parent[key].text() } else { default };
        if or("kind", "Gateway") != "Gateway" || or("group", "gateway.networking.k8s.io") != "gateway.networking.k8s.io"
        {
            continue;
        }
        let (namespace, name) = (or("namespace", &route.namespace), parent["name"].text());
        let Some(gateway) = view.get(Kind::KubernetesGateway, namespace, name) else {
            // The same name in another namespace is what goes wrong most, so it counts as evidence.
            let is_near =
                || view.has_in(Kind::KubernetesGateway, namespace) || view.has_key(&GATEWAYS_BY_NAME, &[name]);
            if !view.may_make_anything() && is_near() || is_whole_cluster(view) {
                let message = format!("there is no Gateway {namespace}/{name}");
                findings
                    .add(&SH7141, route, message)
                    .field(format!("spec.parentRefs[{index}].name"))
                    .arguments([format!("{namespace}/{name}")]);
            }
            continue;
        };
        if let Some(reason) = refusal(view, route, parent, gateway) {
            let message = format!("Gateway {} does not take this route: {reason}", gateway.full_name());
            findings
                .add(&SH7148, route, message)
                .field(format!("spec.parentRefs[{index}]"))
                .arguments([gateway.full_name(), reason])
                .related(gateway);
        }
    }
}

/// Why no listener takes the route; what comes nearest to being taken.
fn refusal(view: &View<'_>, route: &Resource, parent: &Node, gateway: &Resource) -> Option<String> {
    let listeners = gateway.spec()["listeners"].items();
    if listeners.is_empty() {
        return None;
    }
    let (section, port) = (parent["sectionName"].text(), parent["port"].as_int());
    let mut candidates = listeners
        .iter()
        .filter(|listener| section.is_empty() || listener["name"].text() == section)
        .filter(|listener| port.is_none() || listener["port"].as_int() == port)
        .peekable();
    if candidates.peek().is_none() {
        let is_named = |listener: &Node| listener["name"].text() == section;
        return Some(match port {
            Some(port) if section.is_empty() => format!("no listener has port {port}"),
            Some(port) if listeners.iter().any(is_named) => format!("listener {section} has another port than {port}"),
            _ => format!("no listener is named {section}"),
        });
    }
    let mut furthest = (0, String::new());
    for listener in candidates {
        let refused = if !takes_kind(route.kind, listener) {
            (1, format!("listener {} is for another kind of route", listener["name"].text()))
        } else if !takes_namespace(view, route, gateway, listener) {
            (2, format!("listener {} takes no routes of namespace {}", listener["name"].text(), route.namespace))
        } else if !takes_host(route, listener) {
            (
                3,
                format!(
                    "the hosts differ from {} of listener {}",
                    listener["hostname"].text(),
                    listener["name"].text()
                ),
            )
        } else {
            return None;
        };
        if refused.0 > furthest.0 {
            furthest = refused;
        }
    }
    Some(furthest.1)
}

fn takes_kind(kind: Kind, listener: &Node) -> bool {
    let kinds = listener["allowedRoutes"]["kinds"].items();
    if !kinds.is_empty() {
        return kinds.iter().any(|item| item["kind"].text() == kind.name());
    }
    match listener["protocol"].text() {
        "HTTP" | "HTTPS" => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        "TLS" => matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
        "TCP" => kind == Kind::TcpRoute,
        "UDP" => false,
        // Of an implementation's own, such as HBONE.
        _ => true,
    }
}

fn takes_namespace(view: &View<'_>, route: &Resource, gateway: &Resource, listener: &Node) -> bool {
    let namespaces = &listener["allowedRoutes"]["namespaces"];
    match namespaces["from"].text() {
        "All" => true,
        "None" => false,
        "Selector" => {
            let Some(namespace) = view.namespace_of(route) else { return true };
            selector::selects_namespace(&namespaces["selector"], &namespace.name, Some(namespace.labels()))
        }
        _ => route.namespace == gateway.namespace,
    }
}

fn takes_host(route: &Resource, listener: &Node) -> bool {
    let offered = listener["hostname"].text();
    let wanted = &route.spec()["hostnames"];
    offered.is_empty() || wanted.items().is_empty() || wanted.texts().any(|host| hosts::overlaps(offered, host))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn a_route_whose_gateway_may_be_elsewhere_is_not_judged() {
        let alone = super::SH7141.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7141"));
    }

    #[test]
    fn a_route_of_the_mesh_has_no_gateway() {
        let mesh = super::SH7141.example.before.replace("{name: public}", "{kind: Service, group: '', name: cart}");
        assert!(!reported(&mesh).contains("SH7141"));
    }

    #[test]
    fn a_namespace_is_selected_by_the_name_it_has() {
        let selected = super::SH7148.example.before.replace(
            "protocol: HTTP}",
            "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: \
             {matchLabels: {kubernetes.io/metadata.name: shop}}}}}",
        );
        let known =
            |name: &str| format!("{selected}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        assert!(!reported(&known("shop")).contains("SH7148"));
        let other = known("shop").replace("metadata.name: shop", "metadata.name: other");
        assert!(reported(&other).contains("SH7148"));
    }
}
