//! Two interpreters of the same request: one of the SMI objects by the text of the specification, one of the translated
//! `AuthorizationPolicies` by Istio's documentation. They share no code with the translation.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::super::{IstioKind, IstioObject, Method, RuleKind, Snapshot, TrafficTargetSpec, Workload};

/// A request that reaches a pod.
#[derive(Debug, Clone)]
pub struct Request {
    pub from: (String, String),
    /// Index of the called workload.
    pub to: usize,
    pub port: u16,
    /// `None`: a TCP connection that is not HTTP.
    pub http: Option<Http>,
}

#[derive(Debug, Clone)]
pub struct Http {
    pub method: &'static str,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// Source: smi-spec, `traffic-access` v1alpha3. Deny by default holds for namespaces that opted in and for destinations
/// of `TrafficTarget`s.
pub fn smi_admits(world: &Snapshot, request: &Request) -> bool {
    let pod = &world.workloads[request.to];
    let is_destination = |namespace: &str, spec: &TrafficTargetSpec| {
        let place = spec.destination.namespace.as_deref().unwrap_or(namespace);
        place == pod.namespace && spec.destination.name == pod.service_account
    };
    let targets: Vec<_> = world
        .traffic_targets
        .iter()
        .filter(|one| is_destination(&one.meta.namespace, one.spec.as_ref().unwrap()))
        .collect();
    let denies = world
        .namespaces
        .iter()
        .any(|one| one.name == pod.namespace && one.labels.contains_key("smi.sailhand.dev/default-deny"));
    if targets.is_empty() && !denies {
        return true;
    }
    targets.iter().any(|target| {
        let (namespace, spec) = (target.meta.namespace.as_str(), target.spec.as_ref().unwrap());
        let is_source = spec.sources.iter().any(|source| {
            let place = source.namespace.as_deref().unwrap_or(namespace);
            (place, source.name.as_str()) == (request.from.0.as_str(), request.from.1.as_str())
        });
        is_source && rules_admit(world, namespace, spec, request)
    })
}

/// All connections here are TCP. HTTP routes together with TCP routes hold on the ports of the latter.
fn rules_admit(world: &Snapshot, namespace: &str, spec: &TrafficTargetSpec, request: &Request) -> bool {
    let of = |kind| spec.rules.iter().filter(move |rule| rule.kind == kind);
    let mut tcp = of(RuleKind::TcpRoute).peekable();
    let mut http = of(RuleKind::HttpRouteGroup).peekable();
    if tcp.peek().is_none() && http.peek().is_none() {
        return false;
    }
    let has_http = http.peek().is_some();
    let port_fits = tcp.peek().is_none()
        || tcp.any(|rule| {
            let routes =
                world.tcp_routes.iter().filter(|one| one.meta.namespace == namespace && one.meta.name == rule.name);
            routes.flat_map(|one| one.spec.as_ref()).any(|route| {
                let ports = &route.matches.ports;
                ports.is_empty() || ports.contains(&i64::from(request.port))
            })
        });
    let mut http_fits = || {
        let Some(sent) = &request.http else { return false };
        http.any(|rule| {
            let groups = world
                .http_route_groups
                .iter()
                .filter(|one| one.meta.namespace == namespace && one.meta.name == rule.name);
            groups.flat_map(|one| &one.spec.as_ref().unwrap().matches).any(|route| {
                let chosen = rule.matches.as_ref().is_none_or(|names| names.contains(&route.name));
                let path = route
                    .path_regex
                    .as_ref()
                    .is_none_or(|path| Regex::new(&format!("^(?:{path})")).unwrap().is_match(&sent.path));
                let method = route.methods.is_empty()
                    || route.methods.iter().any(|one| *one == Method::Any || one.as_str() == sent.method);
                let header = |(name, value): (&String, &String)| {
                    let sent = sent.headers.get(&name.to_lowercase());
                    sent.is_some_and(|sent| Regex::new(&format!("^(?:{value})$")).unwrap().is_match(sent))
                };
                chosen && path && method && route.headers.iter().all(header)
            })
        })
    };
    port_fits && (!has_http || http_fits())
}

/// Source: istio.io, "Authorization Policy": without an ALLOW policy for a workload every request is admitted, else one
/// of the policies has to match.
pub fn istio_admits(objects: &[IstioObject], world: &Snapshot, request: &Request) -> bool {
    let pod = &world.workloads[request.to];
    let policies: Vec<_> =
        objects.iter().filter(|one| one.kind == IstioKind::AuthorizationPolicy && applies(one, pod)).collect();
    policies.is_empty()
        || policies.iter().any(|policy| items(&policy.spec["rules"]).iter().any(|rule| rule_admits(rule, request)))
}

fn applies(policy: &IstioObject, pod: &Workload) -> bool {
    let labels = policy.spec["selector"]["matchLabels"].as_object();
    policy.namespace == pod.namespace
        && labels.into_iter().flatten().all(|(key, value)| pod.labels.get(key).is_some_and(|own| value == own))
}

fn rule_admits(rule: &Value, request: &Request) -> bool {
    let principal = format!("cluster.local/ns/{}/sa/{}", request.from.0, request.from.1);
    let from = rule
        .get("from")
        .is_none_or(|from| items(from).iter().any(|from| any(&from["source"]["principals"], &principal)));
    let to = rule.get("to").is_none_or(|to| items(to).iter().any(|to| operation_admits(&to["operation"], request)));
    let when = rule.get("when").is_none_or(|when| {
        items(when).iter().all(|condition| {
            let key = condition["key"].as_str().unwrap();
            let name = key.strip_prefix("request.headers[").unwrap().strip_suffix(']').unwrap();
            let sent = request.http.as_ref().and_then(|http| http.headers.get(name));
            // `*` is the presence of the header, with an empty value too.
            sent.is_some_and(|sent| {
                any(&condition["values"], sent) || items(&condition["values"]).iter().any(|value| value == "*")
            })
        })
    });
    from && to && when
}

fn operation_admits(operation: &Value, request: &Request) -> bool {
    let fits = |field: &str, value: Option<&str>| {
        operation.get(field).is_none_or(|patterns| value.is_some_and(|value| any(patterns, value)))
    };
    let http = request.http.as_ref();
    fits("ports", Some(&request.port.to_string()))
        && fits("methods", http.map(|http| http.method))
        && fits("paths", http.map(|http| http.path.as_str()))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Exact, prefix, suffix and presence, as in `pilot/pkg/security/authz/matcher`.
fn any(patterns: &Value, value: &str) -> bool {
    items(patterns).iter().map(|pattern| pattern.as_str().unwrap()).any(|pattern| match pattern {
        "*" => !value.is_empty(),
        pattern => match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
            (Some(prefix), _) => value.starts_with(prefix),
            (None, Some(suffix)) => value.ends_with(suffix),
            (None, None) => value == pattern,
        },
    })
}
