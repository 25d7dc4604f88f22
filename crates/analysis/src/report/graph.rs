//! Builds the graph of the objects involved for the HTML page: objects with findings, the objects that they reference,
//! and related objects.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Finding, Kind, ObjectRef, Resource, Selector, Snapshot, View, Within, hosts};

/// Objects as nodes, and references as edges.
#[derive(Debug, Default)]
pub struct Graph {
    /// Nodes, sorted by name; what is referenced and does not exist comes last.
    pub nodes: Vec<GraphNode>,
    /// Numbers of the referencing and the referenced node, and whether the reference is broken.
    pub edges: Vec<(usize, usize, bool)>,
    /// Whether the graph was truncated.
    pub cut: bool,
}

/// One object, or a reference to none.
#[derive(Debug, Serialize)]
pub struct GraphNode {
    /// `Kind namespace/name`; for a missing object what the reference says, such as a host.
    pub name: String,
    /// Kind; the Gateway of the Gateway API is `KubernetesGateway`.
    pub kind: &'static str,
    /// Whether no such object exists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
}

/// Maximum number of objects in a graph; a larger one is not readable.
const MOST: usize = 2_000;
/// Kind of the nodes of missing objects.
const NOT_FOUND: &str = "Not found";

/// Target of a reference.
enum Target<'a> {
    Object(&'a Resource),
    Missing(String),
}

impl Graph {
    /// Graph of the objects with findings.
    #[must_use]
    pub fn new(findings: &[Finding], snapshot: &Snapshot) -> Self {
        let view = View::new(snapshot, Kind::ALL);
        let mut pairs: Vec<(ObjectRef, ObjectRef)> = Vec::new();
        let mut broken: Vec<(ObjectRef, String)> = Vec::new();
        let mut objects: BTreeMap<ObjectRef, usize> = BTreeMap::new();
        let mut cut = false;
        for finding in findings {
            if objects.len() > MOST {
                cut = true;
                break;
            }
            objects.entry(finding.object.clone()).or_default();
            pairs.extend(finding.related.iter().map(|related| (finding.object.clone(), related.clone())));
        }
        for object in objects.keys() {
            let found = view.named(object.kind, &object.namespace, &object.name).first();
            if let Some(resource) = found {
                targets(&view, resource, &mut |target| match target {
                    Target::Object(target) => pairs.push((object.clone(), target.into())),
                    Target::Missing(name) => broken.push((object.clone(), name)),
                });
            }
        }
        for (from, to) in &pairs {
            objects.entry(from.clone()).or_default();
            objects.entry(to.clone()).or_default();
        }
        for (number, (_, place)) in objects.iter_mut().enumerate() {
            *place = number;
        }
        let names: BTreeSet<&str> = broken.iter().map(|(_, name)| name.as_str()).collect();
        let missing: BTreeMap<&str, usize> = names.into_iter().zip(objects.len()..).collect();
        let found = pairs.iter().filter_map(|(from, to)| Some((*objects.get(from)?, *objects.get(to)?, false)));
        let not_found =
            broken.iter().filter_map(|(from, name)| Some((*objects.get(from)?, *missing.get(name.as_str())?, true)));
        let mut edges: Vec<(usize, usize, bool)> = found.chain(not_found).collect();
        edges.sort_unstable();
        edges.dedup();
        let nodes = objects.keys().map(|it| GraphNode { name: it.to_string(), kind: kind(it.kind), missing: false });
        let absent = missing.keys().map(|name| GraphNode { name: (*name).to_owned(), kind: NOT_FOUND, missing: true });
        Self { nodes: nodes.chain(absent).collect(), edges, cut }
    }
}

fn kind(kind: Kind) -> &'static str {
    if kind == Kind::KubernetesGateway { "KubernetesGateway" } else { kind.name() }
}

/// Objects that an object references, and references to objects that do not exist.
fn targets<'a>(view: &View<'a>, from: &Resource, take: &mut dyn FnMut(Target<'a>)) {
    let spec = from.spec();
    match from.kind {
        Kind::VirtualService => {
            for gateway in spec["gateways"].texts().filter(|gateway| *gateway != "mesh") {
                let (namespace, name) = gateway.split_once('/').unwrap_or((&from.namespace, gateway));
                match view.get(Kind::Gateway, namespace, name) {
                    Some(found) => take(Target::Object(found)),
                    None => take(Target::Missing(format!("gateway {namespace}/{name}"))),
                }
            }
            for list in ["http", "tls", "tcp"] {
                for destination in spec[list].items().iter().flat_map(|route| route["route"].items()) {
                    let host = destination.at("destination.host").text();
                    providers(view, from, host, take);
                    let rules = view.lookup(&RULES_BY_HOST, &[&hosts::fqdn(host, &from.namespace)]);
                    for rule in rules {
                        take(Target::Object(rule));
                    }
                    let subset = destination.at("destination.subset").text();
                    let defines = |rule: &Resource| {
                        rule.spec()["subsets"].items().iter().any(|known| known["name"].text() == subset)
                    };
                    if !subset.is_empty() && !rules.iter().any(|rule| defines(rule)) {
                        take(Target::Missing(format!("subset {subset} of {host}")));
                    }
                }
            }
        }
        Kind::DestinationRule => providers(view, from, spec["host"].text(), take),
        Kind::Gateway => selected(view, Within::Anywhere, &Selector::new(&spec["selector"]), take),
        Kind::Service => {
            selected(view, Within::Namespace(&from.namespace), &Selector::new(&spec["selector"]), take);
        }
        Kind::Sidecar => {
            let labels = &spec["workloadSelector"]["labels"];
            selected(view, Within::Namespace(&from.namespace), &Selector::new(labels), take);
        }
        Kind::AuthorizationPolicy | Kind::PeerAuthentication | Kind::RequestAuthentication | Kind::Telemetry => {
            let labels = &spec["selector"]["matchLabels"];
            selected(view, Within::Namespace(&from.namespace), &Selector::new(labels), take);
        }
        _ => {}
    }
}

/// The Services and `ServiceEntry` objects of a host.
fn providers<'a>(view: &View<'a>, from: &Resource, host: &str, take: &mut dyn FnMut(Target<'a>)) {
    let found = view.providers(from, host);
    for provider in found {
        take(Target::Object(provider));
    }
    if found.is_empty() && !host.is_empty() && !host.contains('*') {
        take(Target::Missing(format!("host {host}")));
    }
}

/// The first few pods: the others of a workload add no information.
fn selected<'a>(view: &View<'a>, within: Within<'_>, selector: &Selector<'_>, take: &mut dyn FnMut(Target<'a>)) {
    if !selector.is_empty() {
        view.workloads(within, selector).take(5).for_each(|workload| take(Target::Object(workload)));
    }
}

static RULES_BY_HOST: crate::KeyIndex = crate::KeyIndex {
    name: "destination rules by host",
    kinds: &[Kind::DestinationRule],
    keys: |rule, keys| keys.add(&[&hosts::fqdn(rule.spec()["host"].text(), &rule.namespace)]),
};
