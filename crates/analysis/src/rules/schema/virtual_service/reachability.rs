//! Checks for routes and matches that are shadowed by an earlier route. Source: `analyzeUnreachableHTTPRules`,
//! `coveredValidation`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::super::report::{At, Report};
use super::matches::string_of;
use crate::{Code, Example, Level, Value};

pub static IST0130: Code = Code {
    id: "IST0130",
    name: "VirtualServiceUnreachableRule",
    level: Level::Warning,
    title: "VirtualService route is unreachable",
    why: "Istio uses the first route that matches a request. An earlier route already matches all requests of this \
          route.",
    remedy: "Move the route before the one that shadows it, or remove it. A route without a match must be last.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0130/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews}
  - match:
    - uri: {prefix: /test}
    route:
    - destination: {host: reviews-test}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match:
    - uri: {prefix: /test}
    route:
    - destination: {host: reviews-test}
  - route:
    - destination: {host: reviews}
",
    },
    also: &[],
};

pub static IST0131: Code = Code {
    id: "IST0131",
    name: "VirtualServiceIneffectiveMatch",
    level: Level::Info,
    title: "Route match is shadowed by an earlier route",
    why: "Istio uses the first route that matches a request. An earlier route already matches these requests, so this \
          match has no effect.",
    remedy: "Remove the match, or move the more specific route before the more general one.",
    source: "https://istio.io/latest/docs/reference/config/analysis/ist0131/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match:
    - uri: {prefix: /api}
    route:
    - destination: {host: reviews}
  - match:
    - uri: {prefix: /api/test}
    route:
    - destination: {host: reviews-test}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match:
    - uri: {prefix: /api/test}
    route:
    - destination: {host: reviews-test}
  - match:
    - uri: {prefix: /api}
    route:
    - destination: {host: reviews}
",
    },
    also: &[],
};

/// Routes of one protocol.
pub(super) fn check(routes: &At<'_, '_>, report: &mut Report<'_>) {
    if routes.items().len() < 2 && routes[0]["match"].items().len() < 2 {
        return;
    }
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut prefixes: Vec<Prefix<'_>> = Vec::new();
    let mut without_match = false;
    for (index, route) in routes.each().enumerate().filter(|(_, route)| route.is_set()) {
        let rule = label(&route, index);
        let conditions = route.key("match");
        if conditions.items().is_empty() {
            if without_match {
                unused(&route, &rule, "only the last rule can have no matches", report);
            }
            without_match = true;
            continue;
        }
        if without_match {
            unused(&route, &rule, "route without matches defined before", report);
            continue;
        }
        let mut repeated = 0;
        for (at, (condition, node)) in conditions.each().zip(routes.node()[index]["match"].items()).enumerate() {
            match first.entry(canonical(&condition)) {
                Entry::Occupied(earlier) => {
                    let earlier = *earlier.get();
                    let earlier = label(&routes.node()[earlier], earlier);
                    ineffective(&condition, &rule, &label(&condition, at), &earlier, report);
                    repeated += 1;
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(index);
                    prefixes.extend(Prefix::of(node, index, at));
                }
            }
        }
        if repeated == conditions.items().len() {
            unused(&route, &rule, "all matches used by prior rules", report);
        }
    }
    check_prefixes(routes, &prefixes, report);
}

/// Istio's reasons are arguments of the message, so their wording is Istio's.
fn unused(at: &At<'_, '_>, rule: &str, reason: &str, report: &mut Report<'_>) {
    let text = format!("route {rule} is unreachable: {reason}");
    report.special(&IST0130, at, text, vec![rule.to_owned(), reason.to_owned()]);
}

fn ineffective(at: &At<'_, '_>, rule: &str, condition: &str, earlier: &str, report: &mut Report<'_>) {
    let text = format!("match {condition} of route {rule} is shadowed by {earlier}");
    report.special(&IST0131, at, text, vec![rule.to_owned(), condition.to_owned(), earlier.to_owned()]);
}

/// A name in quotes, or `#` with the index.
fn label(node: &Value, index: usize) -> String {
    match node["name"].text() {
        "" => format!("#{index}"),
        name => format!("{name:?}"),
    }
}

/// The same text for equivalent matches: without the name, the order of keys and unset fields.
fn canonical(condition: &Value) -> String {
    fn write(node: &Value, out: &mut String) {
        match node {
            Value::Map(entries) => {
                let sorted: BTreeMap<&str, &Value> = entries
                    .iter()
                    .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false) | Value::Int(0)))
                    .map(|(key, value)| (key.as_str(), value))
                    .collect();
                out.push('{');
                for (key, value) in sorted {
                    let _ = write!(out, "{key:?}:");
                    write(value, out);
                }
                out.push('}');
            }
            Value::List(items) => {
                out.push('[');
                items.iter().for_each(|item| {
                    write(item, out);
                    out.push(',');
                });
                out.push(']');
            }
            other => {
                let _ = write!(out, "{:?},", other.scalar_text());
            }
        }
    }
    let mut out = String::new();
    let set = condition.entries().iter().filter(|(key, value)| key != "name" && !value.is_empty());
    write(&Value::Map(set.cloned().collect()), &mut out);
    out
}

/// A prefix match on the path, with the other conditions of the match.
struct Prefix<'a> {
    route: usize,
    condition: usize,
    text: &'a str,
    port: i64,
    method: String,
    authority: String,
    maps: [BTreeMap<&'a str, String>; 3],
}

impl<'a> Prefix<'a> {
    fn of(condition: &'a Value, route: usize, at: usize) -> Option<Self> {
        let prefix = condition["uri"]["prefix"].as_str().filter(|prefix| !prefix.is_empty())?;
        let method = text_of(&condition["method"]);
        let map = |key: &str| -> BTreeMap<&'a str, String> {
            condition.get(key).entries().iter().map(|(name, value)| (name.as_str(), text_of(value))).collect()
        };
        Some(Self {
            route,
            condition: at,
            text: prefix,
            port: condition["port"].as_int().unwrap_or_default(),
            method: if method.is_empty() { "exact GET".to_owned() } else { method },
            authority: text_of(&condition["authority"]),
            maps: [map("headers"), map("queryParams"), map("withoutHeaders")],
        })
    }

    /// Whether this prefix match covers all requests of a later prefix match.
    fn covers(&self, later: &Self) -> bool {
        self.port == later.port
            && self.method.starts_with(&later.method)
            && self.authority.starts_with(&later.authority)
            && self.maps.iter().zip(&later.maps).all(|(own, other)| {
                own.len() == other.len()
                    && own.iter().all(|(name, value)| other.get(name).is_some_and(|other| value.starts_with(other)))
            })
    }
}

/// Empty for regular expressions and for a missing match.
fn text_of(condition: &Value) -> String {
    match string_of(condition) {
        Some((kind @ ("exact" | "prefix"), text)) if !text.is_empty() => format!("{kind} {text}"),
        _ => String::new(),
    }
}

/// Looks up each prefix of a path, so that the cost grows with the length of the paths and not with the square of the
/// routes.
fn check_prefixes(routes: &At<'_, '_>, prefixes: &[Prefix<'_>], report: &mut Report<'_>) {
    if prefixes.len() < 2 {
        return;
    }
    let mut by_text: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, later) in prefixes.iter().enumerate() {
        let text = later.text.as_bytes();
        for length in 1..text.len() {
            for earlier in by_text.get(&text[..length]).into_iter().flatten().map(|earlier| &prefixes[*earlier]) {
                if earlier.covers(later) {
                    add_finding(routes, earlier, later, report);
                }
            }
        }
        by_text.entry(text).or_default().push(at);
    }
}

fn add_finding(routes: &At<'_, '_>, earlier: &Prefix<'_>, later: &Prefix<'_>, report: &mut Report<'_>) {
    let name = |prefix: &Prefix<'_>| {
        let route = &routes[prefix.route];
        let condition = label(&route["match"][prefix.condition], prefix.condition);
        (label(route, prefix.route), format!("{condition} of prefix {}", prefix.text))
    };
    let (rule, condition) = name(later);
    let (earlier_rule, earlier_condition) = name(earlier);
    let Some(route) = routes.each().nth(later.route) else { return };
    let conditions = route.key("match");
    if let Some(at) = conditions.each().nth(later.condition) {
        ineffective(&at, &rule, &condition, &format!("{earlier_condition} on {earlier_rule}"), report);
    }
}
