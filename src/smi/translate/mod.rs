//! The translation: a pure function from a [`Snapshot`] to the Istio objects that it requires, and reports on what Istio
//! cannot express or what conflicts with objects of other clients.
//!
//! The rule of every file here: the result never admits a request that the SMI specification would not admit. What
//! cannot be expressed is left out of the result, and the destination stays closed for it.

mod access;
mod conflict;
mod default_deny;
mod http;
mod pattern;
mod selector;
mod split;
mod split_ports;
mod split_route;
mod split_service;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::http_route_group::HttpRouteGroupSpec;
use super::istio::{Existing, IstioKind, IstioObject};
use super::object::{Identity, Object};
use super::snapshot::{Namespace, Service, Snapshot, Workload};
use crate::analysis::istio::waypoint::Choice;
use crate::analysis::mesh::ISTIO_NAMESPACE;

/// The mesh for which objects are translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    trust_domain: String,
    root_namespace: String,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// `trust domain` or `root namespace`.
    pub setting: &'static str,
    /// The value as given.
    pub value: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: must consist of letters, digits, '-', '_' and '.', at most 253", self.setting, self.value)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// `trust_domain` as in `meshConfig.trustDomain`, `root_namespace` as in `meshConfig.rootNamespace`.
    ///
    /// # Errors
    /// A value with characters that a principal of an AuthorizationPolicy would treat as a wildcard, among others.
    pub fn new(trust_domain: &str, root_namespace: &str) -> Result<Self, SettingsError> {
        for (setting, value) in [("trust domain", trust_domain), ("root namespace", root_namespace)] {
            if !is_plain(value) {
                return Err(SettingsError { setting, value: value.chars().take(253).collect() });
            }
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), root_namespace: root_namespace.to_owned() })
    }
}

impl Default for Settings {
    /// Istio's defaults: `cluster.local` and `istio-system`.
    fn default() -> Self {
        Self { trust_domain: "cluster.local".to_owned(), root_namespace: ISTIO_NAMESPACE.to_owned() }
    }
}

/// Whether a name can be a part of a principal or a host: no wildcard, no separator.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=253).contains(&name.len()) && name.chars().all(allowed)
}

/// Why a report was made. The word is the `reason` of the Kubernetes Event and of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A part of the object is not translated: it is invalid, Istio cannot express it, or it refers to nothing.
    Refused,
    /// An object of another client applies to the same host or workload.
    Conflict,
}

impl Reason {
    /// `Refused` or `Conflict`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "Refused",
            Self::Conflict => "Conflict",
        }
    }
}

/// A statement about an SMI object (or a Namespace with [`super::DEFAULT_DENY_LABEL`]).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Report {
    /// The object.
    pub source: Identity,
    /// Cause of the error, as in the message.
    pub reason: Reason,
    /// What is not translated, and the effect.
    pub message: String,
}

/// The result of [`translate`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Translation {
    /// The wanted objects, sorted by kind, namespace and name. A managed object that is not among them is to be deleted.
    pub objects: Vec<IstioObject>,
    /// Refusals and conflicts, sorted, without duplicates.
    pub reports: Vec<Report>,
}

/// Translates all SMI objects. Equal snapshots give equal results, in whatever order their lists are.
#[must_use]
pub fn translate(snapshot: &Snapshot, settings: &Settings) -> Translation {
    let world = World::new(snapshot, settings);
    let mut out = Translation::default();
    default_deny::translate(&world, &mut out);
    for target in &snapshot.traffic_targets {
        access::translate(&world, target, &mut out);
    }
    split::translate(&world, &mut out);
    conflict::names(&world, &mut out);
    out.objects.sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
    out.reports.sort();
    out.reports.dedup();
    out
}

impl Translation {
    fn report(&mut self, source: &Identity, reason: Reason, message: impl Into<String>) {
        self.reports.push(Report { source: source.clone(), reason, message: message.into() });
    }

    fn refuse(&mut self, source: &Identity, message: impl Into<String>) {
        self.report(source, Reason::Refused, message);
    }
}

type Key<'a> = (&'a str, &'a str);

/// A snapshot with its indexes.
struct World<'a> {
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    namespaces: HashMap<&'a str, &'a Namespace>,
    groups: HashMap<Key<'a>, &'a Object<HttpRouteGroupSpec>>,
    tcp_routes: HashMap<Key<'a>, &'a Object<super::TcpRouteSpec>>,
    services: HashMap<Key<'a>, &'a Service>,
    services_in: HashMap<&'a str, Vec<&'a Service>>,
    /// By namespace.
    workloads: HashMap<&'a str, Vec<&'a Workload>>,
    /// By namespace and `ServiceAccount`.
    selectors: HashMap<Key<'a>, Vec<selector::Selector<'a>>>,
    /// Objects of other clients, by namespace.
    foreign: HashMap<&'a str, Vec<&'a Existing>>,
    /// Names of objects of other clients.
    taken: HashSet<(IstioKind, &'a str, &'a str)>,
    /// Objects of other clients by the Service that they route.
    routed: BTreeMap<Key<'a>, Vec<&'a Existing>>,
}

impl<'a> World<'a> {
    fn new(snapshot: &'a Snapshot, settings: &'a Settings) -> Self {
        let foreign = || snapshot.existing.iter().map(Arc::as_ref).filter(|existing| !existing.managed);
        let workloads =
            group(snapshot.workloads.iter().map(|workload| (workload.namespace.as_str(), workload.as_ref())));
        let selectors = selector::all(&workloads);
        let routed = foreign().filter(|existing| existing.kind != IstioKind::AuthorizationPolicy);
        let routed = routed.flat_map(|existing| conflict::services(existing).map(move |service| (service, existing)));
        Self {
            settings,
            snapshot,
            namespaces: snapshot.namespaces.iter().map(|one| (one.name.as_str(), one.as_ref())).collect(),
            groups: by_name(&snapshot.http_route_groups),
            tcp_routes: by_name(&snapshot.tcp_routes),
            services: snapshot.services.iter().map(|one| ((&*one.namespace, &*one.name), one.as_ref())).collect(),
            services_in: group(snapshot.services.iter().map(|one| (one.namespace.as_str(), one.as_ref()))),
            workloads,
            selectors,
            foreign: group(foreign().map(|existing| (existing.namespace.as_str(), existing))),
            taken: foreign().map(|existing| (existing.kind, &*existing.namespace, &*existing.name)).collect(),
            routed: routed.fold(BTreeMap::new(), |mut map, (service, existing)| {
                map.entry(service).or_insert_with(Vec::new).push(existing);
                map
            }),
        }
    }

    fn is_ambient(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.is_ambient())
    }

    /// Namespace and name of the waypoint of a Service: by its own labels, else by those of its namespace.
    fn waypoint(&self, service: &'a Service) -> Option<Key<'a>> {
        let namespace = self.namespaces.get(service.namespace.as_str())?;
        let choice = |labels: &'a BTreeMap<String, String>| {
            Choice::by(|key| labels.get(key).map(String::as_str), &service.namespace)
        };
        choice(&service.labels).or(choice(&namespace.labels)).filter(|(place, name)| is_plain(place) && is_plain(name))
    }

    fn principal(&self, namespace: &str, service_account: &str) -> String {
        format!("{}/ns/{namespace}/sa/{service_account}", self.settings.trust_domain)
    }
}

fn by_name<S>(objects: &[Arc<Object<S>>]) -> HashMap<Key<'_>, &Object<S>> {
    objects.iter().map(|object| ((&*object.meta.namespace, &*object.meta.name), object.as_ref())).collect()
}

fn group<'a, T>(items: impl Iterator<Item = (&'a str, T)>) -> HashMap<&'a str, Vec<T>> {
    items.fold(HashMap::new(), |mut map, (key, item)| {
        map.entry(key).or_insert_with(Vec::new).push(item);
        map
    })
}

/// An object name that contains `name` and differs for different `parts`; at most 253 bytes.
fn unique_name(name: &str, parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = crate::hex::hex(&hash.finalize()[..5]);
    let name: String = name.chars().take(240).collect();
    format!("{}-{digest}", name.trim_end_matches(['.', '-']))
}
