//! The Istio and Gateway API objects that a translation produces, and those that a cluster has already.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::object::{Identity, Meta};
use super::snapshot::texts;
use crate::analysis::istio::managed;

/// Value of [`managed::BY`] on objects that the controller writes.
pub const MANAGED_BY: &str = "sailhand-smi-controller";
/// Annotation that names the SMI object (or Namespace) that an object was translated from, such as
/// `TrafficTarget/shop/web-to-cart`.
pub const SOURCE_ANNOTATION: &str = "smi.sailhand.dev/source";

/// Kinds of translated objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IstioKind {
    /// `security.istio.io/v1`.
    AuthorizationPolicy,
    /// `networking.istio.io/v1`.
    VirtualService,
    /// `gateway.networking.k8s.io/v1`, in ambient mode.
    HttpRoute,
}

impl IstioKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AuthorizationPolicy, Self::VirtualService, Self::HttpRoute];

    /// Such as `AuthorizationPolicy`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::VirtualService => "VirtualService",
            Self::HttpRoute => "HTTPRoute",
        }
    }

    /// The API group. The version is `v1` for each.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "security.istio.io",
            Self::VirtualService => "networking.istio.io",
            Self::HttpRoute => "gateway.networking.k8s.io",
        }
    }

    /// The resource name in URLs, such as `virtualservices`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::AuthorizationPolicy => "authorizationpolicies",
            Self::VirtualService => "virtualservices",
            Self::HttpRoute => "httproutes",
        }
    }
}

/// The owner of a translated object: the garbage collector deletes the object when the owner is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `metadata.uid` of the SMI object.
    pub uid: String,
}

/// A translated object.
#[derive(Debug, Clone, PartialEq)]
pub struct IstioObject {
    /// The kind.
    pub kind: IstioKind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The SMI object that it was translated from.
    pub source: Identity,
    /// `None` when the source is in another namespace, which an owner reference cannot express, or is a Namespace.
    pub owner: Option<Owner>,
    /// `spec`.
    pub spec: Value,
}

impl IstioObject {
    /// An object that `source` owns when it is in the same namespace.
    pub(super) fn new(
        kind: IstioKind,
        namespace: &str,
        name: String,
        source: &Identity,
        meta: &Meta,
        spec: Value,
    ) -> Self {
        let owner = (namespace == source.namespace && !meta.uid.is_empty()).then(|| Owner { uid: meta.uid.clone() });
        Self { kind, namespace: namespace.to_owned(), name, source: source.clone(), owner, spec }
    }

    /// The whole object, as it is applied.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut metadata = json!({
            "name": self.name,
            "namespace": self.namespace,
            "labels": {managed::BY: MANAGED_BY},
            "annotations": {SOURCE_ANNOTATION: self.source.to_string()},
        });
        if let Some(owner) = &self.owner {
            metadata["ownerReferences"] = json!([{
                "apiVersion": self.source.kind.api_version(),
                "kind": self.source.kind.name(),
                "name": self.source.name,
                "uid": owner.uid,
                "controller": true,
            }]);
        }
        json!({
            "apiVersion": format!("{}/v1", self.kind.group()),
            "kind": self.kind.name(),
            "metadata": metadata,
            "spec": self.spec,
        })
    }

    /// See [`Existing::digest`].
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.body())
    }
}

/// An object in the cluster, reduced to what a comparison needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// The kind.
    pub kind: IstioKind,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty outside a cluster.
    pub uid: String,
    /// Whether it carries [`managed::BY`] of the controller.
    pub managed: bool,
    /// SHA-256 of what the controller sets: `spec`, its label and annotation, and the owner.
    pub digest: [u8; 32],
    /// Its scope. Empty for a managed object.
    pub governs: Governs,
}

/// The scope of an object of another client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Governs {
    /// An object with which no translated object can conflict.
    #[default]
    Nothing,
    /// Hosts of the mesh, as `(namespace, name)` of Services.
    Services(Vec<(String, String)>),
    /// Requests to pods with these labels, which it allows; no labels stand for every pod of its namespace.
    Pods(BTreeMap<String, String>),
}

impl Existing {
    /// Reads an object of the cluster; `None` when it has no name.
    #[must_use]
    pub fn read(kind: IstioKind, object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str()?.to_owned();
        let managed = metadata["labels"][managed::BY] == MANAGED_BY;
        Some(Self {
            kind,
            name: metadata["name"].as_str()?.to_owned(),
            uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
            managed,
            digest: digest(object),
            governs: if managed { Governs::Nothing } else { governs(kind, &namespace, &object["spec"]) },
            namespace,
        })
    }
}

/// Of what the controller sets. `serde_json` keeps the keys of a map sorted, so equal objects have equal texts.
fn digest(object: &Value) -> [u8; 32] {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let owner = owners.iter().find(|owner| owner["controller"] == true).map(|owner| &owner["uid"]);
    let set =
        json!([object["spec"], metadata["labels"][managed::BY], metadata["annotations"][SOURCE_ANNOTATION], owner,]);
    Sha256::digest(set.to_string().as_bytes()).into()
}

fn governs(kind: IstioKind, namespace: &str, spec: &Value) -> Governs {
    let list = |field: &str| spec[field].as_array().map(Vec::as_slice).unwrap_or_default();
    match kind {
        IstioKind::VirtualService => {
            let gateways = list("gateways");
            if !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == "mesh") {
                return Governs::Nothing;
            }
            let hosts = list("hosts").iter().filter_map(Value::as_str);
            Governs::Services(hosts.filter_map(|host| service_of(host, namespace)).collect())
        }
        IstioKind::HttpRoute => {
            let parents = list("parentRefs").iter().filter(|parent| parent["kind"] == "Service");
            let service = |parent: &Value| {
                let namespace = parent["namespace"].as_str().unwrap_or(namespace);
                Some((namespace.to_owned(), parent["name"].as_str()?.to_owned()))
            };
            Governs::Services(parents.filter_map(service).collect())
        }
        // Another action than ALLOW never allows more, and without a rule nothing is allowed.
        IstioKind::AuthorizationPolicy => match spec["action"].as_str() {
            None | Some("ALLOW") if !list("rules").is_empty() => {
                let targets =
                    list("targetRefs").iter().chain((!spec["targetRef"].is_null()).then_some(&spec["targetRef"]));
                let services: Vec<_> = targets
                    .filter(|target| target["kind"] == "Service")
                    .filter_map(|target| Some((namespace.to_owned(), target["name"].as_str()?.to_owned())))
                    .collect();
                match (services.is_empty(), list("targetRefs").is_empty() && spec["targetRef"].is_null()) {
                    (_, true) => Governs::Pods(texts(&spec["selector"]["matchLabels"])),
                    (false, false) => Governs::Services(services),
                    (true, false) => Governs::Nothing,
                }
            }
            _ => Governs::Nothing,
        },
    }
}

/// The Service that a host of a `VirtualService` names; `None` for wildcards and hosts outside the cluster.
fn service_of(host: &str, namespace: &str) -> Option<(String, String)> {
    let mut parts = host.split('.');
    let name = parts.next().filter(|name| !name.is_empty() && !name.contains('*'))?;
    let namespace = parts.next().unwrap_or(namespace);
    match parts.next() {
        None | Some("svc") => Some((namespace.to_owned(), name.to_owned())),
        Some(_) => None,
    }
}
