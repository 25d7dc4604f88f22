//! A `TrafficSplit` as a VirtualService, for clients with sidecars.

use serde_json::{Value, json};

use super::super::http_route_group::HttpMatch;
use super::super::istio::{IstioKind, IstioObject};
use super::super::snapshot::Protocol;
use super::split::{Split, whole_path};
use super::split_ports::PortRoute;
use super::{Translation, http, unique_name};

pub(super) fn translate(split: &Split<'_>, out: &mut Translation) {
    let http: Vec<_> = split
        .ports
        .iter()
        .filter(|port| port.protocol != Protocol::Tcp)
        .flat_map(|port| http_routes(split, port))
        .collect();
    let tcp = split.ports.iter().filter(|port| matches!(port.protocol, Protocol::Tcp | Protocol::Auto));
    let tcp: Vec<_> = tcp.map(|port| tcp_route(split, port, out)).collect();
    if split.ports.iter().all(|port| port.backends.is_empty()) {
        return;
    }
    let mut spec = json!({ "hosts": [split.root] });
    for (field, routes) in [("http", http), ("tcp", tcp)] {
        if !routes.is_empty() {
            spec[field] = routes.into();
        }
    }
    let meta = &split.object.meta;
    // The name of smi-adapter-istio, where it fits.
    let name = match format!("{}-vs", meta.name) {
        name if name.len() <= 253 => name,
        name => unique_name(&name, &[&meta.namespace, &meta.name]),
    };
    out.objects.push(IstioObject::new(IstioKind::VirtualService, &meta.namespace, name, &split.source, meta, spec));
}

/// Every port gets a route for all of its requests: a VirtualService without one would answer 404.
fn http_routes(split: &Split<'_>, port: &PortRoute<'_>) -> Vec<Value> {
    let all = json!([{"port": port.number}]);
    match &split.matches {
        _ if port.backends.is_empty() => vec![json!({"match": all, "route": to_root(split, port)})],
        None => vec![json!({"match": all, "route": to_backends(port)})],
        Some(matches) => {
            let some: Vec<_> = matches.iter().map(|route| request(route, port)).collect();
            vec![
                json!({"match": some, "route": to_backends(port)}),
                json!({"match": all, "route": to_root(split, port)}),
            ]
        }
    }
}

/// HTTP matches do not apply to TCP connections, which then go to the root Service.
fn tcp_route(split: &Split<'_>, port: &PortRoute<'_>, out: &mut Translation) -> Value {
    let mut route = to_backends(port);
    if split.matches.is_some() || port.backends.is_empty() {
        route = to_root(split, port);
    }
    if split.matches.is_some() && port.protocol == Protocol::Tcp {
        let text =
            format!("port {} of Service {} is not HTTP, so that spec.matches cannot apply", port.number, split.root);
        out.refuse(&split.source, format!("{text}; the root Service receives its traffic"));
    }
    json!({"match": [{"port": port.number}], "route": route})
}

fn destination(host: &str, port: u16) -> Value {
    json!({"host": host, "port": {"number": port}})
}

fn to_root(split: &Split<'_>, port: &PortRoute<'_>) -> Value {
    json!([{"destination": destination(split.root, port.number)}])
}

fn to_backends(port: &PortRoute<'_>) -> Value {
    let backends = port.backends.iter();
    backends.map(|(name, weight)| json!({"destination": destination(name, port.number), "weight": weight})).collect()
}

fn request(route: &HttpMatch, port: &PortRoute<'_>) -> Value {
    let mut found = json!({ "port": port.number });
    if let Some(expression) = whole_path(route) {
        found["uri"] = json!({ "regex": expression });
    }
    match http::methods(&route.methods).as_slice() {
        [] => {}
        [method] => found["method"] = json!({ "exact": method }),
        methods => found["method"] = json!({ "regex": methods.join("|") }),
    }
    if !route.headers.is_empty() {
        let headers = route.headers.iter();
        found["headers"] =
            headers.map(|(name, expression)| (name.to_ascii_lowercase(), json!({"regex": expression}))).collect();
    }
    found
}
