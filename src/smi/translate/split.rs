//! `TrafficSplit`s: validation, and which of several applies. The routes themselves are made in `split_service.rs`
//! (sidecars: a VirtualService) and `split_route.rs` (ambient mode: `HTTPRoutes`).

use std::collections::{BTreeMap, BTreeSet};

use super::super::http_route_group::HttpMatch;
use super::super::object::{Identity, Kind, Object};
use super::super::snapshot::Service;
use super::super::traffic_split::TrafficSplitSpec;
use super::http::is_token;
use super::split_ports::PortRoute;
use super::{Reason, Translation, World, split_ports, split_route, split_service};

/// Maximum number of backends of one `TrafficSplit`.
const MAX_BACKENDS: usize = 100;
/// Maximum number of HTTP matches of one `TrafficSplit`.
const MAX_MATCHES: usize = 200;
/// Longest regular expression, in bytes.
const MAX_LENGTH: usize = 1024;

/// A `TrafficSplit` that can be translated.
pub(super) struct Split<'a> {
    pub object: &'a Object<TrafficSplitSpec>,
    pub source: Identity,
    pub root: &'a str,
    /// Which requests are split; `None` for all.
    pub matches: Option<Vec<&'a HttpMatch>>,
    /// One for each port of the root Service that Istio proxies.
    pub ports: Vec<PortRoute<'a>>,
}

pub(super) fn translate(world: &World<'_>, out: &mut Translation) {
    let mut by_root: BTreeMap<(&str, &str), Vec<&Object<TrafficSplitSpec>>> = BTreeMap::new();
    for object in &world.snapshot.traffic_splits {
        match &object.spec {
            Ok(spec) => by_root.entry((&object.meta.namespace, &spec.service)).or_default().push(object),
            Err(reason) => out.refuse(&identity(object), format!("the object is invalid: {reason}; nothing is split")),
        }
    }
    for mut splits in by_root.into_values() {
        splits.sort_by(|a, b| (&a.meta.created, &a.meta.name).cmp(&(&b.meta.created, &b.meta.name)));
        let Some((first, others)) = splits.split_first() else { continue };
        for other in others {
            let text = format!(
                "TrafficSplit {} splits the same Service and is older; this one has no effect",
                first.meta.name
            );
            out.report(&identity(other), Reason::Conflict, text);
        }
        one(world, first, out);
    }
}

fn identity(object: &Object<TrafficSplitSpec>) -> Identity {
    Identity { kind: Kind::TrafficSplit, namespace: object.meta.namespace.clone(), name: object.meta.name.clone() }
}

fn one(world: &World<'_>, object: &Object<TrafficSplitSpec>, out: &mut Translation) {
    let source = identity(object);
    let Ok(spec) = &object.spec else { return };
    let namespace = object.meta.namespace.as_str();
    let weights = match weights(spec) {
        Ok(weights) => weights,
        Err(reason) => return out.refuse(&source, format!("{reason}; nothing is split")),
    };
    let Some(root) = world.services.get(&(namespace, spec.service.as_str())) else {
        return out.refuse(&source, format!("Service {namespace}/{} does not exist; nothing is split", spec.service));
    };
    if let Some(others) = world.routed.get(&(namespace, spec.service.as_str())) {
        for other in others {
            let (kind, place) = (other.kind.name(), format!("{}/{}", other.namespace, other.name));
            let text = format!("{kind} {place} routes the same Service and is not managed by the controller");
            out.report(&source, Reason::Conflict, format!("{text}; it applies, and nothing is split"));
        }
        return;
    }
    let Some(matches) = matches(world, &source, spec, out) else { return };
    let ports = split_ports::of(world, root, &weights, &source, out);
    let split = Split { object, source, root: &spec.service, matches, ports };
    if world.is_ambient(namespace) {
        ambient(world, root, &split, out);
    } else {
        split_service::translate(&split, out);
    }
}

fn ambient(world: &World<'_>, root: &Service, split: &Split<'_>, out: &mut Translation) {
    if world.waypoint(root).is_none() {
        let text = "needs a waypoint in ambient mode, and the Service uses none";
        return out.refuse(&split.source, format!("a TrafficSplit {text}; nothing is split"));
    }
    split_route::translate(split, out);
}

/// Backends in their order with their weights, reduced by their greatest common divisor only where the sum would be
/// too large for Envoy.
fn weights(spec: &TrafficSplitSpec) -> Result<Vec<(&str, u32)>, String> {
    let is_label = |name: &str| {
        (1..=63).contains(&name.len()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if !is_label(&spec.service) {
        return Err(format!("spec.service {:?} is not the name of a Service", spec.service));
    }
    if spec.backends.len() > MAX_BACKENDS {
        return Err(format!("spec.backends has {} entries, more than {MAX_BACKENDS}", spec.backends.len()));
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for backend in &spec.backends {
        let (name, weight) = (backend.service.as_str(), backend.weight);
        if !is_label(name) {
            return Err(format!("spec.backends: {name:?} is not the name of a Service"));
        }
        if name == spec.service {
            return Err(format!(
                "spec.backends: {name} is the root Service, and a TrafficSplit cannot refer to itself"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("spec.backends: {name} occurs twice"));
        }
        let Some(weight) = whole(weight) else {
            return Err(format!("spec.backends: weight {weight} of {name} is not a whole number from 0 to 4294967295"));
        };
        found.push((name, weight));
    }
    reduce(&mut found)?;
    Ok(found)
}

/// A whole number that fits.
fn whole(weight: f64) -> Option<u32> {
    let fits = weight.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&weight);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    fits.then_some(weight as u32)
}

/// The sum of Envoy's weights is at most 2^32 - 1, a weight of a VirtualService at most 2^31 - 1.
fn reduce(weights: &mut [(&str, u32)]) -> Result<(), String> {
    let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return Err("spec.backends: the sum of the weights is 0".to_owned());
    }
    if i32::try_from(total).is_ok() {
        return Ok(());
    }
    let divisor = weights.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight));
    if i32::try_from(total / u64::from(divisor)).is_err() {
        return Err(format!("spec.backends: the sum of the weights is {total}, more than Istio can express"));
    }
    for (_, weight) in weights.iter_mut() {
        *weight /= divisor;
    }
    Ok(())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The matches of all groups. The outer `None`: nothing can be split, which has been reported.
#[allow(clippy::option_option, reason = "an inner None is a split of all requests")]
fn matches<'a>(
    world: &World<'a>,
    source: &Identity,
    spec: &TrafficSplitSpec,
    out: &mut Translation,
) -> Option<Option<Vec<&'a HttpMatch>>> {
    if spec.matches.is_empty() {
        return Some(None);
    }
    let mut found = Vec::new();
    for group in &spec.matches {
        let name = &group.name;
        match world.groups.get(&(&*source.namespace, &**name)).map(|group| &group.spec) {
            None => {
                let text = format!("HTTPRouteGroup {}/{name} does not exist", source.namespace);
                out.refuse(source, format!("{text}; no request is split by it"));
            }
            Some(Err(reason)) => out.refuse(source, format!("HTTPRouteGroup {name} is invalid: {reason}")),
            Some(Ok(group)) => {
                for route in &group.matches {
                    match usable(route) {
                        Ok(()) => found.push(route),
                        Err(reason) => {
                            let place = format!("HTTPRouteGroup {name}, match {:?}", route.name);
                            out.refuse(source, format!("{place}: {reason}; no request is split by it"));
                        }
                    }
                }
            }
        }
    }
    if found.len() > MAX_MATCHES {
        let count = found.len();
        out.refuse(source, format!("the groups have {count} matches, more than {MAX_MATCHES}; nothing is split"));
        return None;
    }
    (!found.is_empty()).then_some(Some(found))
}

/// Whether Envoy's regular expressions (RE2) mean the same.
fn usable(route: &HttpMatch) -> Result<(), String> {
    let expressions = route.headers.iter().map(|(name, expression)| (name.as_str(), expression));
    if let Some((name, _)) = route.headers.iter().find(|(name, _)| !is_token(name)) {
        return Err(format!("headers: {name:?} is not a valid header name"));
    }
    for (field, expression) in route.path_regex.iter().map(|expression| ("pathRegex", expression)).chain(expressions) {
        if expression.len() > MAX_LENGTH {
            return Err(format!("{field}: the expression has more than {MAX_LENGTH} bytes"));
        }
        // Intersections and differences of character classes are not part of RE2.
        let is_other = ["&&", "~~"].iter().any(|operator| expression.contains(operator));
        if is_other || regex_syntax::parse(expression).is_err() {
            return Err(format!("{field}: {expression:?} is not a valid regular expression"));
        }
    }
    Ok(())
}

/// The expression for a path as Envoy reads it: Envoy matches the whole path, SMI its beginning. `None` for every path.
pub(super) fn whole_path(route: &HttpMatch) -> Option<String> {
    let expression =
        route.path_regex.as_deref().filter(|expression| !matches!(*expression, "" | ".*" | "^" | "/.*"))?;
    Some(format!("(?:{expression}).*"))
}
