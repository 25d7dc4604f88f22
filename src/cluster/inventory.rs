//! The inventory of an installation, a `ConfigMap` that lists its objects: the parent of an apply set (KEP-3659), so that other
//! tools see it too. The same object carries the fence and the generation, written by compare-and-swap, which
//! stops a worker that was suspended for longer than its lease.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::request::Request;
use kube::discovery::ApiResource;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api_error::ApiError;
use super::connection::Apply;
use super::discovery::Kind;
use super::{Cluster, Error, FIELD_MANAGER, Family, ObjectRef, managed_fields, ownership};
use crate::analysis::istio::managed;
use crate::analysis::istio::membership::INJECTION;
use crate::guard::Guard;

const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
const FENCE: &str = "sailhand.meshery.io/fence";
const GENERATION: &str = "sailhand.meshery.io/generation";
const FAMILY: &str = "sailhand.meshery.io/verbs";
const TARGET: &str = "sailhand.meshery.io/target";

/// Prefix of the names of inventories.
const PREFIX: &str = "sailhand-";

/// Writers that meet on the inventory try this often before they give up and come back later.
const TRIES: u32 = 3;

/// The stored state of one installation.
#[derive(Debug, Clone)]
pub(super) struct Inventory {
    installation: String,
    object: ObjectRef,
    claim: Claim,
    /// None while it is not in the cluster.
    version: Option<Version>,
    fence: u64,
    generation: Option<u64>,
    /// Objects of the installation, including those that are about to be written.
    pub entries: BTreeSet<ObjectRef>,
    /// Source of the set as its producer gave it; `None` when it gave none.
    pub origin: Option<Value>,
}

/// Who works with an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The family of verbs.
    pub family: Family,
    /// Take the installation over from another target.
    pub adopt: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    uid: String,
    resource: String,
}

impl Inventory {
    /// Reads the installation's inventory; an empty one where there is none.
    ///
    /// # Errors
    /// When it belongs to another family of verbs or to another target.
    pub async fn read(cluster: &Cluster, installation: &str, claim: Claim) -> Result<Self, Error> {
        let mut inventory = Self::empty(cluster, installation, claim)?;
        let stored = cluster.get_as(&kind("ConfigMap", "configmaps", true), &inventory.object).await?;
        inventory.check_owner(cluster.name(), stored.as_ref())?;
        if let Some(stored) = stored {
            inventory.load(&stored)?;
        }
        Ok(inventory)
    }

    /// The marks of the stored inventory; the installation's name decides where there are none.
    fn check_owner(&self, target: &str, stored: Option<&Value>) -> Result<(), Error> {
        let mark = |key: &str| stored.and_then(|stored| stored["metadata"]["annotations"][key].as_str());
        let own = self.claim.family;
        let owner = mark(FAMILY).unwrap_or_else(|| Family::of_name(&self.installation).as_str());
        if owner != own.as_str() {
            return Err(Error::Reserved {
                installation: self.installation.clone(),
                owner: format!("{owner}.*"),
                own: own.to_string(),
            });
        }
        match mark(TARGET) {
            Some(stored) if stored != target && !self.claim.adopt => Err(Error::OtherTarget {
                installation: self.installation.clone(),
                stored: stored.to_owned(),
                own: target.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn empty(cluster: &Cluster, installation: &str, claim: Claim) -> Result<Self, Error> {
        let object = object(cluster, checked(installation)?);
        Ok(Self {
            installation: installation.to_owned(),
            object,
            claim,
            version: None,
            fence: 0,
            generation: None,
            entries: BTreeSet::new(),
            origin: None,
        })
    }

    /// The apply set's id, by the formula of KEP-3659.
    pub fn id(&self) -> String {
        id(&self.object)
    }

    /// Whether it is in the cluster.
    pub const fn exists(&self) -> bool {
        self.version.is_some()
    }

    /// Whether `generation` is news, so that it has to be stored even if nothing else is: an older command that comes
    /// later must find it.
    pub fn older_than(&self, generation: Option<u64>) -> bool {
        generation > self.generation
    }

    /// May work with this fence and generation touch the installation?
    pub fn admit(&self, fence: u64, generation: Option<u64>) -> Result<(), Error> {
        let installation = || self.installation.clone();
        if self.fence > fence {
            return Err(Error::Fenced { installation: installation(), stored: Some(self.fence), own: fence });
        }
        match (self.generation, generation) {
            (Some(stored), Some(own)) if stored > own => {
                Err(Error::Superseded { installation: installation(), stored, own })
            }
            _ => Ok(()),
        }
    }

    /// Stores `entries` with the guard's fence, if no newer holder has written the inventory since it was read.
    pub async fn write(
        &mut self,
        cluster: &Cluster,
        entries: BTreeSet<ObjectRef>,
        guard: &Guard,
        generation: Option<u64>,
    ) -> Result<(), Error> {
        let mut next = Self { entries, fence: guard.fence(), ..self.clone() };
        next.generation = self.generation.max(generation);
        let mut tries = 1;
        loop {
            let _writing = guard.writing().await?;
            match next.put(cluster).await {
                Ok(version) => {
                    next.version = Some(version);
                    *self = next;
                    return Ok(());
                }
                Err(Error::Request { fault: ApiError::Namespace { terminating: false, .. }, .. }) => {
                    self.create_namespace(cluster, guard).await?;
                }
                Err(Error::Request { fault: ApiError::Conflict(_) | ApiError::NotFound(_), .. }) if tries < TRIES => {
                    let stored = Self::read(cluster, &self.installation, self.claim.clone()).await?;
                    if self.exists() && !stored.exists() {
                        return Err(self.gone(guard));
                    }
                    stored.admit(guard.fence(), generation)?;
                    next.version = stored.version;
                    next.generation = stored.generation.max(generation);
                    next.entries.extend(stored.entries);
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks, before a phase of writes, that no newer command has taken over the installation.
    pub async fn assert_fence(
        &mut self,
        cluster: &Cluster,
        guard: &Guard,
        generation: Option<u64>,
    ) -> Result<(), Error> {
        guard.check()?;
        let stored = Self::read(cluster, &self.installation, self.claim.clone()).await?;
        if !stored.exists() {
            return Err(self.gone(guard));
        }
        if stored.version == self.version {
            return Ok(());
        }
        stored.admit(guard.fence(), generation)?;
        let entries = self.entries.union(&stored.entries).cloned().collect();
        *self = Self { origin: self.origin.take(), ..stored };
        self.write(cluster, entries, guard, generation).await
    }

    /// Removes the inventory itself, unless another command has changed it.
    pub async fn remove(&self, cluster: &Cluster, guard: &Guard) -> Result<(), Error> {
        let _writing = guard.writing().await?;
        let Some(version) = &self.version else { return Ok(()) };
        let preconditions =
            Preconditions { uid: Some(version.uid.clone()), resource_version: Some(version.resource.clone()) };
        let params = DeleteParams::background().preconditions(preconditions);
        cluster.remove_unchecked(&kind("ConfigMap", "configmaps", true), &self.object, &params).await
    }

    fn gone(&self, guard: &Guard) -> Error {
        Error::Fenced { installation: self.installation.clone(), stored: None, own: guard.fence() }
    }

    fn load(&mut self, stored: &Value) -> Result<(), Error> {
        let bad = |reason: String| Error::Inventory { inventory: self.place(), reason };
        let metadata = &stored["metadata"];
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        let tool = annotation(TOOLING).unwrap_or("an unknown tool");
        if !tool.starts_with("sailhand/") {
            return Err(Error::Owned { object: self.object.to_string(), owner: tool.to_owned() });
        }
        let number = |key: &str| annotation(key).map(str::parse::<u64>).transpose();
        let fence = number(FENCE).map_err(|error| bad(format!("annotation {FENCE}: {error}")))?;
        let generation = number(GENERATION).map_err(|error| bad(format!("annotation {GENERATION}: {error}")))?;
        let text = stored["data"]["objects"].as_str().unwrap_or("[]");
        let entries: Vec<Entry> =
            serde_json::from_str(text).map_err(|error| bad(format!("its list of objects: {error}")))?;
        let origin = stored["data"]["origin"].as_str().map(serde_json::from_str).transpose();
        let origin = origin.map_err(|error| bad(format!("its origin: {error}")))?;
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        self.version = Some(Version { uid: text("uid"), resource: text("resourceVersion") });
        self.fence = fence.unwrap_or(0);
        self.generation = generation;
        self.entries = entries.into_iter().map(Entry::object).collect();
        self.origin = origin;
        Ok(())
    }

    fn place(&self) -> String {
        format!("{}/{}", self.object.namespace.as_deref().unwrap_or_default(), self.object.name)
    }

    /// Creates or replaces the `ConfigMap`; a conflict when it is not the version that was read.
    async fn put(&self, cluster: &Cluster) -> Result<Version, Error> {
        let body = self.body(cluster.name());
        let path = format!("/api/v1/namespaces/{}/configmaps", self.object.namespace.as_deref().unwrap_or_default());
        let params = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let stored: Value = cluster
            .call("write inventory", &self.object, |client| {
                let request = Request::new(path.as_str());
                let bytes = body.to_string().into_bytes();
                let request = match self.version {
                    None => request.create(&params, bytes),
                    Some(_) => request.replace(&self.object.name, &params, bytes),
                };
                async move { client.request(request.map_err(kube::Error::BuildRequest)?).await }
            })
            .await?;
        let text = |key: &str| stored["metadata"][key].as_str().unwrap_or_default().to_owned();
        Ok(Version { uid: text("uid"), resource: text("resourceVersion") })
    }

    fn body(&self, target: &str) -> Value {
        let own = self.object.namespace.as_ref();
        let kinds: BTreeSet<_> = self.entries.iter().map(group_kind).collect();
        let namespaces: BTreeSet<_> = self
            .entries
            .iter()
            .filter_map(|entry| entry.namespace.as_ref())
            .filter(|name| Some(*name) != own)
            .collect();
        let list = |names: Vec<&str>| names.join(",");
        let mut annotations = BTreeMap::from([
            (TOOLING, concat!("sailhand/", env!("CARGO_PKG_VERSION")).to_owned()),
            (GROUP_KINDS, list(kinds.iter().map(String::as_str).collect())),
            (NAMESPACES, list(namespaces.iter().map(|name| name.as_str()).collect())),
            (FENCE, self.fence.to_string()),
            (FAMILY, self.claim.family.as_str().to_owned()),
            (TARGET, target.to_owned()),
        ]);
        if let Some(generation) = self.generation {
            annotations.insert(GENERATION, generation.to_string());
        }
        let mut metadata = json!({
            "name": self.object.name,
            "namespace": self.object.namespace,
            "labels": { ID: self.id(), managed::BY: managed::SAILHAND },
            "annotations": annotations,
        });
        if let Some(version) = &self.version {
            metadata["resourceVersion"] = json!(version.resource);
            metadata["uid"] = json!(version.uid);
        }
        let mut data = json!({ "objects": json!(self.entries).to_string() });
        if let Some(origin) = &self.origin {
            data["origin"] = json!(origin.to_string());
        }
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
    }

    async fn create_namespace(&self, cluster: &Cluster, guard: &Guard) -> Result<(), Error> {
        let _writing = guard.writing().await?;
        let name = self.object.namespace.clone().unwrap_or_default();
        namespace(cluster, &name).await.map(drop)
    }
}

impl Cluster {
    /// Whether an object says that it belongs to the installation.
    #[must_use]
    pub fn is_member(&self, live: &Value, installation: &str) -> bool {
        ownership::ours(live, &apply_set(self, installation))
    }
}

/// Id of the apply set of an installation, which is a label of its objects.
pub(super) fn apply_set(cluster: &Cluster, installation: &str) -> String {
    id(&object(cluster, installation))
}

fn object(cluster: &Cluster, installation: &str) -> ObjectRef {
    ObjectRef::new("v1", "ConfigMap", Some(cluster.inventory_namespace()), &format!("{PREFIX}{installation}"))
}

fn id(object: &ObjectRef) -> String {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("{}.{namespace}.{}.", object.name, object.kind));
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hash))
}

/// An installation as its inventory describes it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its name.
    pub installation: String,
    /// Source of the set as its producer gave it; `None` when it gave none.
    pub origin: Option<Value>,
    /// Its objects, including those that are about to be written.
    pub objects: BTreeSet<ObjectRef>,
    /// Fence of the last lease under which it was written.
    pub fence: u64,
    /// Family of verbs that owns it, such as `mesh`; only these verbs change it.
    pub family: String,
    /// Target of the worker that wrote it last; `None` for inventories of versions that did not record it.
    pub target: Option<String>,
    /// When its objects were last changed, RFC 3339: workers write the inventory whenever they write objects.
    pub changed: Option<String>,
}

/// All installations of a cluster, by name.
///
/// # Errors
/// When they cannot be listed, or an inventory cannot be read.
pub async fn stored(cluster: &Cluster) -> Result<Vec<Stored>, Error> {
    let mut found = Vec::new();
    let namespace = Some(cluster.inventory_namespace());
    let labels = format!("{}={}", managed::BY, managed::SAILHAND);
    cluster.list(&kind("ConfigMap", "configmaps", true), namespace, Some(&labels), |one| found.push(one)).await?;
    let mut all = Vec::new();
    for one in found.iter().filter(|one| one["metadata"]["labels"][ID].is_string()) {
        let name = one["metadata"]["name"].as_str().unwrap_or_default();
        let Some(installation) = name.strip_prefix(PREFIX) else { continue };
        let mut inventory = Inventory::empty(cluster, installation, Claim::default())?;
        inventory.load(one)?;
        let mark = |key: &str| one["metadata"]["annotations"][key].as_str().map(str::to_owned);
        all.push(Stored {
            family: mark(FAMILY).unwrap_or_else(|| Family::of_name(installation).as_str().to_owned()),
            target: mark(TARGET),
            changed: last_write(one),
            installation: installation.to_owned(),
            origin: inventory.origin,
            objects: inventory.entries,
            fence: inventory.fence,
        });
    }
    Ok(all)
}

/// The time of the last write, from `managedFields`; of the creation if they are missing.
fn last_write(object: &Value) -> Option<String> {
    // All are of the API server in one form, so their order as text is their order in time.
    let last = managed_fields::entries(object).iter().filter_map(|write| write["time"].as_str()).max();
    last.or_else(|| object["metadata"]["creationTimestamp"].as_str()).map(str::to_owned)
}

/// One object in the stored list. Versions before the contract was in snake case wrote `apiVersion`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(alias = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    namespace: Option<String>,
    name: String,
}

impl Entry {
    fn object(self) -> ObjectRef {
        let Self { api_version, kind, namespace, name } = self;
        ObjectRef { api_version, kind, namespace, name }
    }
}

/// Whether an object is an inventory: by its place, or by the marks in a manifest or in the cluster.
pub(super) fn is_inventory(cluster: &Cluster, object: &ObjectRef, content: &Value) -> bool {
    if object.group() != "" || object.kind != "ConfigMap" {
        return false;
    }
    let here = object.namespace.as_deref() == Some(cluster.inventory_namespace()) && object.name.starts_with(PREFIX);
    let annotations = &content["metadata"]["annotations"];
    here || annotations[FENCE].is_string()
        || annotations[TOOLING].as_str().is_some_and(|it| it.starts_with("sailhand/"))
}

/// Creates a namespace that is in no inventory, so that it outlives the installation.
pub(super) async fn namespace(cluster: &Cluster, name: &str) -> Result<ObjectRef, Error> {
    let object = namespace_ref(name);
    let mut body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    if name == cluster.inventory_namespace() {
        // It has no pods that need a proxy; without the label, analyzers report the namespace as outside the mesh (IST0102).
        body["metadata"]["labels"] = json!({ INJECTION: "disabled" });
        cluster.patch_unchecked(&namespace_kind(), &object, &body, Apply::default()).await?;
    } else {
        cluster.patch(&namespace_kind(), &object, &body, Apply::default()).await?;
    }
    Ok(object)
}

/// A namespace as an object.
pub(super) fn namespace_ref(name: &str) -> ObjectRef {
    ObjectRef::new("v1", "Namespace", None, name)
}

/// The kind Namespace, which needs no discovery.
pub(super) fn namespace_kind() -> Kind {
    kind("Namespace", "namespaces", false)
}

/// `Kind.group`, as the specification writes it.
fn group_kind(object: &ObjectRef) -> String {
    match object.group() {
        "" => object.kind.clone(),
        group => format!("{}.{group}", object.kind),
    }
}

/// A kind of the core group, which needs no discovery.
fn kind(name: &str, plural: &str, namespaced: bool) -> Kind {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: name.to_owned(),
        plural: plural.to_owned(),
    };
    Kind { resource, namespaced, status_apart: true, applicable: true }
}

/// A DNS label that leaves room for the inventory's prefix.
fn checked(installation: &str) -> Result<&str, Error> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=50).contains(&installation.len())
        && installation.chars().all(inner)
        && !installation.starts_with('-')
        && !installation.ends_with('-');
    if fits { Ok(installation) } else { Err(Error::InstallationName { name: installation.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        let entry = |api_version: &str, kind: &str, namespace: Option<&str>| ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.map(Into::into),
            name: "a".into(),
        };
        Inventory {
            installation: "web".into(),
            object: ObjectRef { name: "sailhand-web".into(), ..entry("v1", "ConfigMap", Some("sailhand-system")) },
            claim: Claim::default(),
            version: None,
            fence: 7,
            generation: Some(3),
            origin: Some(json!({"chart": "web"})),
            entries: [entry("apps/v1", "Deployment", Some("b")), entry("v1", "ConfigMap", Some("a"))].into(),
        }
    }

    #[test]
    fn parent_conforms_to_the_apply_set_specification() {
        let body = inventory().body("dev");
        let annotations = &body["metadata"]["annotations"];
        assert_eq!(annotations[GROUP_KINDS], "ConfigMap,Deployment.apps");
        assert_eq!(annotations[NAMESPACES], "a,b");
        // printf 'sailhand-web.sailhand-system.ConfigMap.' | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(body["metadata"]["labels"][ID], "applyset-bqQj7890HZqYR5pBYOHx3wsOZlakTmeEJ3s9mBo26IE-v1");
    }

    #[test]
    fn written_values_are_read_back() {
        let mut body = inventory().body("dev");
        body["metadata"]["uid"] = json!("u");
        body["metadata"]["resourceVersion"] = json!("9");
        let mut read = Inventory { entries: BTreeSet::new(), fence: 0, generation: None, origin: None, ..inventory() };
        read.load(&body).unwrap();
        assert_eq!((read.fence, read.generation, &read.entries), (7, Some(3), &inventory().entries));
        assert_eq!(read.origin, inventory().origin);
        body["data"]["objects"] = json!(body["data"]["objects"].as_str().unwrap().replace("api_version", "apiVersion"));
        read.load(&body).unwrap();
        assert_eq!(&read.entries, &inventory().entries, "as earlier versions wrote it");
        body["metadata"]["annotations"][FENCE] = json!("-1");
        assert!(matches!(read.load(&body), Err(Error::Inventory { .. })));
        body["metadata"]["annotations"][TOOLING] = json!("kubectl/v1.34");
        assert!(matches!(read.load(&body), Err(Error::Owned { owner, .. }) if owner == "kubectl/v1.34"));
    }

    #[test]
    fn inventory_of_another_verb_or_target_is_refused() {
        let marked = |verbs: &str, target: &str| json!({"metadata": {"annotations": {FAMILY: verbs, TARGET: target}}});
        let named = |installation: &str, family| Inventory {
            installation: installation.into(),
            claim: Claim { family, adopt: false },
            ..inventory()
        };
        let web = named("web", Family::Config);
        assert!(web.check_owner("dev", None).is_ok());
        assert!(web.check_owner("dev", Some(&marked("config", "dev"))).is_ok());
        assert!(matches!(web.check_owner("dev", Some(&marked("mesh", "dev"))), Err(Error::Reserved { .. })));
        assert!(matches!(web.check_owner("dev", Some(&marked("config", "prod"))), Err(Error::OtherTarget { .. })));
        let adopting = Inventory { claim: Claim { adopt: true, ..Claim::default() }, ..web };
        assert!(adopting.check_owner("dev", Some(&marked("config", "prod"))).is_ok());
        assert!(matches!(adopting.check_owner("dev", Some(&marked("mesh", "dev"))), Err(Error::Reserved { .. })));
    }

    #[test]
    fn inventories_without_marks_belong_to_the_verbs_of_their_name() {
        let unmarked = json!({"metadata": {}});
        let check = |installation: &str, family, stored| {
            let claim = Claim { family, adopt: true };
            let one = Inventory { installation: installation.into(), claim, ..inventory() };
            one.check_owner("dev", stored).is_ok()
        };
        for stored in [None, Some(&unmarked)] {
            assert!(check("istiod-default", Family::Mesh, stored));
            assert!(!check("istiod-default", Family::Config, stored));
            assert!(check("web", Family::Config, stored));
        }
    }

    #[test]
    fn lower_fence_or_generation_is_refused() {
        let inventory = inventory();
        assert!(matches!(inventory.admit(6, None), Err(Error::Fenced { stored: Some(7), own: 6, .. })));
        assert!(matches!(inventory.admit(7, Some(2)), Err(Error::Superseded { stored: 3, own: 2, .. })));
        assert!(inventory.admit(7, Some(3)).is_ok() && inventory.admit(8, None).is_ok());
        assert!(inventory.older_than(Some(4)) && !inventory.older_than(Some(3)) && !inventory.older_than(None));
    }

    #[test]
    fn installation_names_are_labels_of_at_most_50() {
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(51)] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert!(checked("a-1").is_ok() && checked(&"a".repeat(50)).is_ok());
    }
}
