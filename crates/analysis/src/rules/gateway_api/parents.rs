//! Checks that routes attach to a gateway. Source: Gateway API, `ParentReference` and `AllowedRoutes`; Kiali's check
//! KIA1401.

use super::status::is_refused;
use crate::istio::selector;
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, KeyIndex, Kind, Level, Resource, Rule, Value, View, hosts};

const ROUTES: &[Kind] = &[Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute];

pub static RULE: Rule = Rule {
    name: "gateway_api.Parents",
    codes: &[&SH7141, &SH7148],
    inputs: &[
        Kind::HttpRoute,
        Kind::GrpcRoute,
        Kind::TlsRoute,
        Kind::TcpRoute,
        Kind::KubernetesGateway,
        Kind::ListenerSet,
        Kind::Namespace,
        Kind::MeshConfig,
        Kind::Deployment,
    ],
    check: Check::Each(ROUTES, check),
};

pub(super) static SH7141: Code = Code {
    id: "SH7141",
    name: "ParentGatewayUnknown",
    level: Level::Error,
    title: "Parent Gateway or ListenerSet does not exist",
    why: "No gateway serves the route or the listeners: requests to the hosts get 404 or no response.",
    remedy: "Correct the name and namespace of the parent. The default namespace is that of the object.",
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
    title: "Route does not attach to any listener of its parent",
    why: "The Gateway or ListenerSet exists, but none of its listeners accepts the route, so requests to its hosts get 404. By \
          default a listener accepts only routes of its own namespace.",
    remedy: "Set allowedRoutes.namespaces.from to All (or Selector) on the listener, and make the section name, port, \
             hostname and protocol match.",
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

static PARENTS_BY_NAME: KeyIndex = KeyIndex {
    name: "Kubernetes gateways and listener sets by name",
    kinds: &[Kind::KubernetesGateway, Kind::ListenerSet],
    keys: |parent, keys| keys.add(&[parent.kind.name(), &parent.name]),
};

fn check(view: &View<'_>, route: &Resource, findings: &mut Findings) {
    if is_refused(route, "Accepted") {
        return;
    }
    for (index, parent) in route.spec()["parentRefs"].items().iter().enumerate() {
        let Some((kind, namespace, name)) = referenced(parent, route) else { continue };
        let Some(gateway) = view.get(kind, namespace, name) else {
            if is_missing(view, kind, namespace, name) {
                let message = format!("{kind} {namespace}/{name} does not exist");
                findings
                    .add(&SH7141, route, message)
                    .field(format!("spec.parentRefs[{index}].name"))
                    .arguments([format!("{namespace}/{name}")]);
            }
            continue;
        };
        if let Some(reason) = refusal(view, route, parent, gateway) {
            let message = format!("{kind} {} does not accept this route: {reason}", gateway.full_name());
            findings
                .add(&SH7148, route, message)
                .field(format!("spec.parentRefs[{index}]"))
                .arguments([gateway.full_name(), reason])
                .related(gateway);
        }
    }
}

/// Kind, namespace and name of the parent that an object references; none if it is neither a Gateway nor a `ListenerSet`.
pub(super) fn referenced<'a>(parent: &'a Value, from: &'a Resource) -> Option<(Kind, &'a str, &'a str)> {
    let or = |key: &str, default: &'a str| if parent[key].is_set() { parent[key].text() } else { default };
    let kind = match (or("group", "gateway.networking.k8s.io"), or("kind", "Gateway")) {
        ("gateway.networking.k8s.io", "Gateway") => Kind::KubernetesGateway,
        ("gateway.networking.k8s.io", "ListenerSet") => Kind::ListenerSet,
        _ => return None,
    };
    Some((kind, or("namespace", &from.namespace), parent["name"].text()))
}

/// Whether a parent that is not among the objects does not exist. The same name in another namespace is what goes wrong
/// most, so it counts as evidence. Needs both kinds, [`Kind::Namespace`], [`Kind::Deployment`] and [`Kind::MeshConfig`].
pub(super) fn is_missing(view: &View<'_>, kind: Kind, namespace: &str, name: &str) -> bool {
    let is_near = || view.has_in(kind, namespace) || view.has_key(&PARENTS_BY_NAME, &[kind.name(), name]);
    !view.may_make_anything() && is_near() || is_whole_cluster(view)
}

/// Why no listener accepts the route; the reason of the listener that matches best.
fn refusal(view: &View<'_>, route: &Resource, parent: &Value, gateway: &Resource) -> Option<String> {
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
        let is_named = |listener: &Value| listener["name"].text() == section;
        return Some(match port {
            Some(port) if section.is_empty() => format!("no listener has port {port}"),
            Some(port) if listeners.iter().any(is_named) => format!("listener {section} has another port than {port}"),
            _ => format!("no listener is named {section}"),
        });
    }
    let mut furthest = (0, String::new());
    for listener in candidates {
        let refused = if !takes_kind(route.kind, listener) {
            (1, format!("listener {} accepts another kind of route", listener["name"].text()))
        } else if !allows_namespace(view, &listener["allowedRoutes"], "Same", route, gateway) {
            (
                2,
                format!(
                    "listener {} does not accept routes from namespace {}",
                    listener["name"].text(),
                    route.namespace
                ),
            )
        } else if !takes_host(route, listener) {
            (
                3,
                format!(
                    "the hostnames do not intersect with {} of listener {}",
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

fn takes_kind(kind: Kind, listener: &Value) -> bool {
    let kinds = listener["allowedRoutes"]["kinds"].items();
    if !kinds.is_empty() {
        return kinds.iter().any(|item| item["kind"].text() == kind.name());
    }
    match listener["protocol"].text() {
        "HTTP" | "HTTPS" => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        "TLS" => matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
        "TCP" => kind == Kind::TcpRoute,
        "UDP" => false,
        // A protocol of the implementation, such as HBONE.
        _ => true,
    }
}

/// Whether `allowedRoutes` of a listener or `allowedListeners` of a Gateway include the namespace of an object. `default`
/// is the value of `from` if it is not set.
pub(super) fn allows_namespace(
    view: &View<'_>,
    allowed: &Value,
    default: &str,
    object: &Resource,
    gateway: &Resource,
) -> bool {
    let namespaces = &allowed["namespaces"];
    let from = match namespaces["from"].text() {
        from @ ("All" | "None" | "Same" | "Selector") => from,
        _ => default,
    };
    match from {
        "All" => true,
        "Same" => object.namespace == gateway.namespace,
        "Selector" => view.namespace_of(object).is_none_or(|namespace| {
            selector::selects_namespace(&namespaces["selector"], &namespace.name, Some(namespace.labels()))
        }),
        _ => false,
    }
}

fn takes_host(route: &Resource, listener: &Value) -> bool {
    let offered = listener["hostname"].text();
    let wanted = &route.spec()["hostnames"];
    offered.is_empty() || wanted.items().is_empty() || wanted.texts().any(|host| hosts::overlaps(offered, host))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn route_with_possibly_external_gateway_is_ignored() {
        let alone = super::SH7141.example.before.split_once("---").unwrap().1;
        assert!(!reported(alone).contains("SH7141"));
    }

    #[test]
    fn route_attaches_to_a_listener_of_its_listener_set() {
        let set = |listener: &str, section: &str| {
            format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{name: more, namespace: shop}}\n\
                 spec: {{parentRef: {{name: web}}, listeners: [{{name: api, port: 8080, {listener}}}]}}\n---\n\
                 apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: cart, namespace: shop}}\n\
                 spec: {{parentRefs: [{{kind: ListenerSet, name: more, sectionName: {section}}}], hostnames: [a.example.com]}}\n"
            )
        };
        for (listener, section, wanted) in [
            ("protocol: HTTP", "api", false),
            ("protocol: HTTP", "web", true),
            ("protocol: HTTP, hostname: '*.example.com'", "api", false),
            ("protocol: HTTP, hostname: '*.example.org'", "api", true),
            ("protocol: TCP", "api", true),
        ] {
            assert_eq!(reported(&set(listener, section)).contains("SH7148"), wanted, "{listener} {section}");
        }
    }

    #[test]
    fn mesh_route_needs_no_gateway() {
        let mesh = super::SH7141.example.before.replace("{name: public}", "{kind: Service, group: '', name: cart}");
        assert!(!reported(&mesh).contains("SH7141"));
    }

    #[test]
    fn namespace_matches_by_name_label() {
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
