//! Builds the graph of the objects involved for the HTML page: objects with findings, the objects that they reference,
//! and related objects.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Finding, Kind, ObjectRef, Resource, Selector, Snapshot, View, Within, hosts};

/// Objects as nodes, and references as pairs of node indexes.
#[derive(Debug, Default)]
pub struct Graph {
    /// Nodes, sorted by name.
    pub nodes: Vec<GraphNode>,
    /// Pairs of the referencing node and the referenced node.
    pub edges: Vec<(usize, usize)>,
    /// Whether the graph was truncated.
    pub cut: bool,
}

/// One object.
#[derive(Debug, Serialize)]
pub struct GraphNode {
    /// `Kind namespace/name`.
    pub name: String,
    /// Kind; the Gateway of the Gateway API is `KubernetesGateway`.
    pub kind: &'static str,
}

/// Most objects in a graph; a larger one is not readable.
const MOST: usize = 2_000;

impl Graph {
    /// Graph of the objects with findings.
    #[must_use]
    pub fn new(findings: &[Finding], snapshot: &Snapshot) -> Self {
        let view = View::new(snapshot, Kind::ALL);
        let mut pairs: Vec<(ObjectRef, ObjectRef)> = Vec::new();
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
                targets(&view, resource, &mut |target| pairs.push((object.clone(), target.into())));
            }
        }
        for (from, to) in &pairs {
            objects.entry(from.clone()).or_default();
            objects.entry(to.clone()).or_default();
        }
        for (number, (_, place)) in objects.iter_mut().enumerate() {
            *place = number;
        }
        let mut edges: Vec<(usize, usize)> =
            pairs.iter().filter_map(|(from, to)| Some((*objects.get(from)?, *objects.get(to)?))).collect();
        edges.sort_unstable();
        edges.dedup();
        let nodes =
            objects.keys().map(|object| GraphNode { name: object.to_string(), kind: kind(object.kind) }).collect();
        Self { nodes, edges, cut }
    }
}

fn kind(kind: Kind) -> &'static str {
    if kind == Kind::KubernetesGateway { "KubernetesGateway" } else { kind.name() }
}

/// Objects that an object references.
fn targets(view: &View<'_>, from: &Resource, take: &mut dyn FnMut(&Resource)) {
    let spec = from.spec();
    match from.kind {
        Kind::VirtualService => {
            for gateway in spec["gateways"].texts().filter(|gateway| *gateway != "mesh") {
                let (namespace, name) = gateway.split_once('/').unwrap_or((&from.namespace, gateway));
                view.get(Kind::Gateway, namespace, name).into_iter().for_each(&mut *take);
            }
            for list in ["http", "tls", "tcp"] {
                for destination in spec[list].items().iter().flat_map(|route| route["route"].items()) {
                    let host = destination.at("destination.host").text();
                    view.providers(from, host).iter().for_each(|provider| take(provider));
                    view.lookup(&RULES_BY_HOST, &[&hosts::fqdn(host, &from.namespace)])
                        .iter()
                        .for_each(|rule| take(rule));
                }
            }
        }
        Kind::DestinationRule => {
            view.providers(from, spec["host"].text()).iter().for_each(|provider| take(provider));
        }
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

/// The first few pods: the others of a workload add no information.
fn selected(view: &View<'_>, within: Within<'_>, selector: &Selector<'_>, take: &mut dyn FnMut(&Resource)) {
    if !selector.is_empty() {
        view.workloads(within, selector).take(5).for_each(|workload| take(workload));
    }
}

static RULES_BY_HOST: crate::KeyIndex = crate::KeyIndex {
    name: "destination rules by host",
    kinds: &[Kind::DestinationRule],
    keys: |rule, keys| keys.add(&[&hosts::fqdn(rule.spec()["host"].text(), &rule.namespace)]),
};
