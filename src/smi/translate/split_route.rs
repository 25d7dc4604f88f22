//! A `TrafficSplit` as `HTTPRoutes` of the Gateway API, for waypoints: one for each port of the root Service. Fields that
//! the API server would fill in are written out, so that the stored object equals the translated one.

use serde_json::{Value, json};

use super::super::http_route_group::HttpMatch;
use super::super::istio::{IstioKind, IstioObject};
use super::super::snapshot::Protocol;
use super::split::{Split, whole_path};
use super::split_ports::PortRoute;
use super::{Translation, http, unique_name};

/// The Gateway API's limits: weight of a backend, backends of a rule, matches of a rule.
const MAX_WEIGHT: u32 = 1_000_000;
const MAX_BACKENDS: usize = 16;
const MAX_MATCHES: usize = 64;

pub(super) fn translate(split: &Split<'_>, out: &mut Translation) {
    for port in split.ports.iter().filter(|port| !port.backends.is_empty()) {
        let number = port.number;
        if port.protocol == Protocol::Tcp {
            let text = format!(
                "port {number} of Service {} is not HTTP, which a TrafficSplit in ambient mode needs",
                split.root
            );
            out.refuse(&split.source, format!("{text}; the root Service receives its traffic"));
            continue;
        }
        if port.backends.len() > MAX_BACKENDS || port.backends.iter().any(|(_, weight)| *weight > MAX_WEIGHT) {
            let limits = format!("at most {MAX_BACKENDS} backends with weights up to {MAX_WEIGHT}");
            out.refuse(&split.source, format!("an HTTPRoute has {limits}; the traffic of port {number} is not split"));
            continue;
        }
        let matches: Option<Vec<Value>> =
            split.matches.as_ref().map(|routes| routes.iter().flat_map(|route| requests(route)).collect());
        if matches.as_ref().is_some_and(|matches| matches.len() > MAX_MATCHES) {
            let limit = format!("an HTTPRoute rule has at most {MAX_MATCHES} matches");
            out.refuse(&split.source, format!("{limit}; the traffic of port {number} is not split"));
            continue;
        }
        out.objects.push(route(split, port, matches));
    }
}

fn route(split: &Split<'_>, port: &PortRoute<'_>, matches: Option<Vec<Value>>) -> IstioObject {
    let every = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    let backend = |name: &str, weight: u32| json!({"group": "", "kind": "Service", "name": name, "port": port.number, "weight": weight});
    let backends: Vec<_> = port.backends.iter().map(|(name, weight)| backend(name, *weight)).collect();
    let rules = match matches {
        None => json!([{"matches": every, "backendRefs": backends}]),
        Some(matches) => json!([
            {"matches": matches, "backendRefs": backends},
            {"matches": every, "backendRefs": [backend(split.root, 1)]},
        ]),
    };
    let parent = json!({"group": "", "kind": "Service", "name": split.root, "port": port.number});
    let meta = &split.object.meta;
    let number = port.number.to_string();
    let name = unique_name(&format!("{}-{number}", meta.name), &[&meta.namespace, &meta.name, &number]);
    let spec = json!({"parentRefs": [parent], "rules": rules});
    IstioObject::new(IstioKind::HttpRoute, &meta.namespace, name, &split.source, meta, spec)
}

/// One for each method: an HTTPRoute match has one method at most.
fn requests(route: &HttpMatch) -> Vec<Value> {
    let path = match whole_path(route) {
        None => json!({"type": "PathPrefix", "value": "/"}),
        Some(expression) => json!({"type": "RegularExpression", "value": expression}),
    };
    let mut found = json!({ "path": path });
    if !route.headers.is_empty() {
        let headers = route.headers.iter();
        let header = |(name, value)| json!({"type": "RegularExpression", "name": name, "value": value});
        found["headers"] = headers.map(header).collect();
    }
    match http::methods(&route.methods) {
        methods if methods.is_empty() => vec![found],
        methods => methods
            .into_iter()
            .map(|method| {
                let mut one = found.clone();
                one["method"] = method.into();
                one
            })
            .collect(),
    }
}
