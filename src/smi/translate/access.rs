//! `TrafficTarget`s as `AuthorizationPolicies`.
//!
//! Each selector of the destination's pods gets one policy of the `TrafficTarget`. A policy without rules allows nothing:
//! a `TrafficTarget` of which Istio can express nothing becomes one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::istio::{IstioKind, IstioObject};
use super::super::object::{Identity, Kind, Object};
use super::super::snapshot::Service;
use super::super::traffic_target::{IdentityRef, Rule, RuleKind, TrafficTargetSpec};
use super::http::HttpRule;
use super::selector::{Selector, selects};
use super::{Translation, World, conflict, is_plain, unique_name};

/// Maximum number of sources of one `TrafficTarget`.
const MAX_SOURCES: usize = 1000;
/// Maximum number of HTTP matches that one `TrafficTarget` refers to.
const MAX_MATCHES: usize = 500;
/// Maximum number of distinct sets of labels of one destination.
const MAX_SELECTORS: usize = 100;

/// What a `TrafficTarget` allows, as far as Istio can express it.
struct Allowed {
    /// Principals; with none, nothing is allowed.
    principals: BTreeSet<String>,
    ports: Ports,
    traffic: Traffic,
}

/// Ports of the destination's pods.
enum Ports {
    Any,
    /// With none, nothing is allowed.
    Only(BTreeSet<u16>),
}

enum Traffic {
    /// Every TCP connection.
    Tcp,
    /// Requests that match one of the rules.
    Http(Vec<HttpRule>),
}

/// A `TrafficTarget` under translation.
struct Target<'a> {
    world: &'a World<'a>,
    object: &'a Object<TrafficTargetSpec>,
    source: Identity,
    /// Namespace of the destination.
    namespace: &'a str,
    /// `ServiceAccount` of the destination.
    account: &'a str,
}

pub(super) fn translate(world: &World<'_>, object: &Object<TrafficTargetSpec>, out: &mut Translation) {
    let meta = &object.meta;
    let source = Identity { kind: Kind::TrafficTarget, namespace: meta.namespace.clone(), name: meta.name.clone() };
    let spec = match &object.spec {
        Ok(spec) => spec,
        Err(reason) => return out.refuse(&source, format!("the object is invalid: {reason}; nothing is translated")),
    };
    let destination = &spec.destination;
    if destination.kind != "ServiceAccount" {
        let kind = &destination.kind;
        return out.refuse(&source, format!("spec.destination.kind {kind:?} is not supported; use ServiceAccount"));
    }
    let namespace = destination.namespace.as_deref().filter(|name| !name.is_empty()).unwrap_or(&meta.namespace);
    if namespace == world.settings.root_namespace {
        let effect = "a policy there would apply to workloads of every namespace";
        return out.refuse(&source, format!("spec.destination: {namespace} is the mesh's root namespace: {effect}"));
    }
    let Some(selectors) = world.selectors.get(&(namespace, &*destination.name)) else {
        return; // No pods: nothing to protect yet.
    };
    if selectors.len() > MAX_SELECTORS {
        let found = selectors.len();
        let limit = format!("more than {MAX_SELECTORS}; only the first {MAX_SELECTORS} get a policy");
        out.refuse(&source, format!("the destination's pods have {found} different sets of labels, {limit}"));
    }
    let target = Target { world, object, source, namespace, account: &destination.name };
    let allowed = target.allowed(spec, out);
    for selector in selectors.iter().take(MAX_SELECTORS) {
        target.policies(selector, &allowed, out);
    }
}

impl Target<'_> {
    fn allowed(&self, spec: &TrafficTargetSpec, out: &mut Translation) -> Allowed {
        let of = |kind: RuleKind| spec.rules.iter().filter(move |rule| rule.kind == kind);
        for rule in of(RuleKind::UdpRoute) {
            out.refuse(
                &self.source,
                format!("UDPRoute {}: Istio does not proxy UDP; no request is allowed by it", rule.name),
            );
        }
        let has = |kind| of(kind).next().is_some();
        let traffic = match (has(RuleKind::HttpRouteGroup), has(RuleKind::TcpRoute)) {
            (true, _) => Traffic::Http(self.http_rules(of(RuleKind::HttpRouteGroup), out)),
            (false, true) => Traffic::Tcp,
            (false, false) => Traffic::Http(Vec::new()),
        };
        let ports = if has(RuleKind::TcpRoute) { self.ports(of(RuleKind::TcpRoute), out) } else { Ports::Any };
        Allowed { principals: self.principals(&spec.sources, out), ports, traffic }
    }

    fn principals(&self, sources: &[IdentityRef], out: &mut Translation) -> BTreeSet<String> {
        if sources.len() > MAX_SOURCES {
            let found = sources.len();
            out.refuse(
                &self.source,
                format!("spec.sources has {found} entries, more than {MAX_SOURCES}; none is allowed"),
            );
            return BTreeSet::new();
        }
        let mut principals = BTreeSet::new();
        for source in sources {
            let namespace = source.namespace.as_deref().filter(|name| !name.is_empty());
            let namespace = namespace.unwrap_or(&self.object.meta.namespace);
            if source.kind != "ServiceAccount" {
                let kind = &source.kind;
                out.refuse(&self.source, format!("spec.sources: kind {kind:?} is not supported; use ServiceAccount"));
            } else if !is_plain(&source.name) || !is_plain(namespace) {
                // A `*` would be a wildcard of the AuthorizationPolicy.
                let text = format!("{namespace}/{}", source.name);
                out.refuse(&self.source, format!("spec.sources: {text:?} is not a valid ServiceAccount"));
            } else {
                principals.insert(self.world.principal(namespace, &source.name));
            }
        }
        principals
    }

    /// The union of the ports of all `TCPRoutes`. One that does not exist adds none.
    fn ports<'a>(&self, rules: impl Iterator<Item = &'a Rule>, out: &mut Translation) -> Ports {
        let mut ports = BTreeSet::new();
        let mut any = false;
        for rule in rules {
            let route = self.world.tcp_routes.get(&(&*self.object.meta.namespace, &*rule.name));
            match route.map(|route| &route.spec) {
                None => self.missing(rule, out),
                Some(Err(reason)) => out.refuse(&self.source, format!("TCPRoute {} is invalid: {reason}", rule.name)),
                Some(Ok(route)) if route.matches.ports.is_empty() => any = true,
                Some(Ok(route)) => {
                    for port in &route.matches.ports {
                        match u16::try_from(*port) {
                            Ok(port) if port > 0 => drop(ports.insert(port)),
                            _ => {
                                out.refuse(&self.source, format!("TCPRoute {}: {port} is not a valid port", rule.name));
                            }
                        }
                    }
                }
            }
        }
        if any { Ports::Any } else { Ports::Only(ports) }
    }

    fn missing(&self, rule: &Rule, out: &mut Translation) {
        let namespace = &self.object.meta.namespace;
        let (kind, name) = (rule.kind, &rule.name);
        out.refuse(&self.source, format!("{kind} {namespace}/{name} does not exist; no request is allowed by it"));
    }

    fn http_rules<'a>(&self, rules: impl Iterator<Item = &'a Rule>, out: &mut Translation) -> Vec<HttpRule> {
        let mut found = Vec::new();
        for rule in rules {
            let group = self.world.groups.get(&(&*self.object.meta.namespace, &*rule.name));
            let group = match group.map(|group| &group.spec) {
                None => {
                    self.missing(rule, out);
                    continue;
                }
                Some(Err(reason)) => {
                    out.refuse(&self.source, format!("HTTPRouteGroup {} is invalid: {reason}", rule.name));
                    continue;
                }
                Some(Ok(group)) => group,
            };
            let chosen = |name: &String| rule.matches.as_ref().is_none_or(|names| names.contains(name));
            for name in rule.matches.iter().flatten() {
                if !group.matches.iter().any(|route| route.name == *name) {
                    out.refuse(&self.source, format!("HTTPRouteGroup {} has no match {name:?}", rule.name));
                }
            }
            for route in group.matches.iter().filter(|route| chosen(&route.name)) {
                match HttpRule::of(route) {
                    Ok(rule) => found.push(rule),
                    Err(reason) => {
                        let place = format!("HTTPRouteGroup {}, match {:?}", rule.name, route.name);
                        out.refuse(&self.source, format!("{place}: {reason}; no request is allowed by this match"));
                    }
                }
            }
        }
        if found.len() > MAX_MATCHES {
            let count = found.len();
            out.refuse(
                &self.source,
                format!("the rules refer to {count} matches, more than {MAX_MATCHES}; none is allowed"),
            );
            found.clear();
        }
        found
    }

    /// The policies for the pods of one selector.
    fn policies(&self, selector: &Selector<'_>, allowed: &Allowed, out: &mut Translation) {
        if selector.labels.is_empty() {
            let text = "pods of the destination have no labels, so that no policy can select them; give them labels";
            return out.refuse(&self.source, text);
        }
        conflict::policies(self.world, &self.source, self.namespace, selector, out);
        let labels = json!({ "selector": {"matchLabels": selector.labels} });
        if let Some((account, workload)) = selector.shared_with {
            let text = format!("{workload} of ServiceAccount {account} has the same labels as pods of the destination");
            out.refuse(&self.source, format!("{text}; no request to either is allowed; give them different labels"));
            return self.push(selector, "", labels, Vec::new(), out);
        }
        if self.world.is_ambient(self.namespace) {
            self.ambient(selector, labels, allowed, out);
        } else {
            self.push(selector, "", labels, allowed.rules(&allowed.ports), out);
        }
    }

    /// ztunnel enforces what needs no HTTP, waypoints enforce the rest for each Service. Behind a waypoint, ztunnel sees
    /// the identity of the waypoint.
    fn ambient(&self, selector: &Selector<'_>, labels: Value, allowed: &Allowed, out: &mut Translation) {
        let mut rules = match &allowed.traffic {
            Traffic::Tcp => allowed.rules(&allowed.ports),
            Traffic::Http(_) => Vec::new(),
        };
        let services = self.world.services_in.get(self.namespace).into_iter().flatten().copied();
        let services = services.filter(|service| !service.selector.is_empty() && self.selects_any(service, selector));
        let mut waypoints = BTreeSet::new();
        for service in services {
            let Some((namespace, name)) = self.world.waypoint(service) else { continue };
            waypoints.insert(self.world.principal(namespace, name));
            let spec = json!({"targetRefs": [{"group": "", "kind": "Service", "name": service.name}]});
            let rules = if self.is_exact(service) {
                allowed.rules(&allowed.ports.at(service))
            } else {
                let text = format!("Service {} selects pods of other identities too", service.name);
                out.refuse(&self.source, format!("{text}; no request to it is allowed"));
                Vec::new()
            };
            self.push(selector, &service.name, spec, rules, out);
        }
        if waypoints.is_empty() && matches!(&allowed.traffic, Traffic::Http(rules) if !rules.is_empty()) {
            let text = "HTTP routes need a waypoint in ambient mode, and no Service of the destination uses one";
            out.refuse(&self.source, format!("{text}; no request is allowed by them"));
        }
        if !waypoints.is_empty() {
            rules.push(json!({"from": [{"source": {"principals": waypoints}}]}));
        }
        self.push(selector, "", labels, rules, out);
    }

    fn selects_any(&self, service: &Service, selector: &Selector<'_>) -> bool {
        let mut pods = self.world.workloads.get(self.namespace).into_iter().flatten();
        pods.any(|pod| selects(selector.labels, &pod.labels) && selects(&service.selector, &pod.labels))
    }

    /// Whether every pod of a Service runs under the destination's identity.
    fn is_exact(&self, service: &Service) -> bool {
        let pods = self.world.workloads.get(self.namespace).into_iter().flatten();
        let mut selected = pods.filter(|pod| selects(&service.selector, &pod.labels));
        selected.all(|pod| pod.service_account == self.account)
    }

    fn push(&self, selector: &Selector<'_>, service: &str, mut spec: Value, rules: Vec<Value>, out: &mut Translation) {
        spec["action"] = "ALLOW".into();
        if !rules.is_empty() {
            spec["rules"] = rules.into();
        }
        let meta = &self.object.meta;
        let labels = json!(selector.labels).to_string();
        let name = unique_name(&meta.name, &[&meta.namespace, &meta.name, &labels, service]);
        let kind = IstioKind::AuthorizationPolicy;
        let object = IstioObject::new(kind, self.namespace, name, &self.source, meta, spec);
        // Two selectors of one destination may lead to the same Service.
        if service.is_empty()
            || !out.objects.iter().rev().take_while(|one| one.source == self.source).any(|one| one.spec == object.spec)
        {
            out.objects.push(object);
        }
    }
}

impl Ports {
    /// A waypoint sees the ports of the Service.
    fn at(&self, service: &Service) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Only(ports) => {
                let open =
                    service.ports.iter().filter(|port| port.target.is_some_and(|target| ports.contains(&target)));
                Self::Only(open.map(|port| port.number).collect())
            }
        }
    }
}

impl Allowed {
    /// The rules of a policy; none when nothing is allowed.
    fn rules(&self, ports: &Ports) -> Vec<Value> {
        let ports: Option<Vec<String>> = match ports {
            Ports::Any => None,
            Ports::Only(ports) => Some(ports.iter().map(ToString::to_string).collect()),
        };
        if self.principals.is_empty() || ports.as_ref().is_some_and(Vec::is_empty) {
            return Vec::new();
        }
        let from = json!([{"source": {"principals": self.principals}}]);
        let http = match &self.traffic {
            Traffic::Tcp => {
                let mut rule = json!({ "from": from });
                if let Some(ports) = &ports {
                    rule["to"] = json!([{"operation": {"ports": ports}}]);
                }
                return vec![rule];
            }
            Traffic::Http(rules) => rules,
        };
        let operation = |rule: &HttpRule| {
            let mut operation = json!({ "paths": rule.paths });
            if !rule.methods.is_empty() {
                operation["methods"] = json!(rule.methods);
            }
            if let Some(ports) = &ports {
                operation["ports"] = json!(ports);
            }
            json!({ "operation": operation })
        };
        // Conditions apply to a whole rule, so matches with headers get rules of their own.
        let (plain, with_headers): (Vec<_>, Vec<_>) = http.iter().partition(|rule| rule.headers.is_empty());
        let plain: Vec<_> = plain.into_iter().map(operation).collect();
        let plain = (!plain.is_empty()).then(|| json!({"from": from, "to": plain}));
        let with_headers = with_headers.into_iter().map(|rule| {
            let when = rule.headers.iter();
            let when = when.map(|(name, values)| json!({"key": format!("request.headers[{name}]"), "values": values}));
            json!({"from": from, "to": [operation(rule)], "when": when.collect::<Vec<_>>()})
        });
        plain.into_iter().chain(with_headers).collect()
    }
}
