//! `mesh.uninstall`: removes a revision, tags, or everything that this worker has installed; with `purge` also what
//! Istio leaves behind. The command names what to remove. Users of it are found before anything is deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common_params::five_minutes;
use super::mesh_run::{delete_as, remove};
use super::report::{MeshReport, PartReport};
use super::{LEASE, admission, facts, leftovers, validator};
use crate::chart::Charts;
use crate::cluster::delete::DeleteOptions;
use crate::cluster::{Cluster, Family, ObjectReport};
use crate::mesh::owner::Owner;
use crate::mesh::{self, Component, Installed, ObservedMesh, Severity};
use crate::task::names::Namespace;
use crate::task::namespace::{Label, LabelParams, Mode};
use crate::task::{DURATION, Error, Failure, Limits, Outcome, Task, TaskContext};

/// The verb `mesh.uninstall`.
pub struct Uninstall {
    charts: Arc<Charts>,
}

impl Uninstall {
    /// Charts are needed to point the default validating webhook at another revision.
    #[must_use]
    pub fn new(charts: &Arc<Charts>) -> Self {
        Self { charts: Arc::clone(charts) }
    }
}

/// Parameters of `mesh.uninstall`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    {"required": ["revision"], "properties": {"revision": {"type": "string"}}},
    {"required": ["tags"], "properties": {"tags": {"minItems": 1}}},
    {"required": ["all"], "properties": {"all": {"const": true}}},
    {"required": ["purge"], "properties": {"purge": {"const": true}}},
]))]
pub struct UninstallParams {
    /// Only this revision, its tags and its gateways; `default` is the default revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub revision: Option<String>,
    /// Only these tags. Revisions and gateways stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 38), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub tags: Vec<String>,
    /// Everything that this worker has installed of Istio: all revisions, tags and gateways, the CNI plugin, ztunnel and
    /// the base chart. CRDs stay.
    #[serde(default)]
    pub all: bool,
    /// As `all`, and remove what Istio leaves behind, too: its CRDs **with all objects of these kinds**, its certificate authority's
    /// Secret, the root certificates in all namespaces, and the mesh labels of namespaces. Needs `confirm`.
    #[serde(default)]
    pub purge: bool,
    /// The target's name, to confirm `purge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub confirm: Option<String>,
    /// How long each part may take to go, such as `5m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "five_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would go, delete nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Remove it although namespaces or proxies still need it.
    #[serde(default)]
    pub force: bool,
}

impl Task for Uninstall {
    const VERB: &'static str = "mesh.uninstall";
    const SUMMARY: &'static str =
        "Uninstalls Istio: a revision, tags or everything, and reports leftovers in the cluster.";
    type Params = UninstallParams;
    type Report = Box<MeshReport>;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.parts.iter().flat_map(|part| &part.objects).collect()
    }

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(30), ..Limits::default() }
    }

    fn installation(&self, _: &UninstallParams) -> Option<String> {
        Some(LEASE.to_owned())
    }

    fn example(&self) -> UninstallParams {
        UninstallParams { revision: Some("1-28-10".to_owned()), wait: five_minutes(), ..UninstallParams::default() }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: UninstallParams,
    ) -> Result<Outcome<Box<MeshReport>>, Failure<Box<MeshReport>>> {
        params.check(&cx.target)?;
        let cluster = cx.cluster().await?;
        cx.step("plan", 0, 0, "reading the state of the cluster");
        let facts = facts::read(&cluster).await?;
        let mut report = MeshReport::new(params.revision.clone().unwrap_or_default());
        report.dry_run = params.dry_run;
        let (dry_run, wait, charts) = (params.dry_run, params.wait, &*self.charts);
        let mut work = Removing { cx, cluster: &cluster, charts, dry_run, wait, report };
        let done = uninstall(&mut work, &params, &facts).await;
        work.report.end(done)
    }
}

/// One run of the command.
pub(super) struct Removing<'a> {
    pub cx: &'a TaskContext,
    pub cluster: &'a Cluster,
    pub charts: &'a Charts,
    pub dry_run: bool,
    pub wait: Duration,
    pub report: MeshReport,
}

impl UninstallParams {
    fn check(&self, target: &str) -> Result<(), Error> {
        let wrong = |field, reason: &str| Err(Error::Parameter { field, reason: reason.to_owned() });
        let everything = self.all || self.purge;
        if everything && (self.revision.is_some() || !self.tags.is_empty()) {
            return wrong("all", "all and purge remove everything: they cannot be combined with revision or tags");
        }
        if self.revision.is_some() && !self.tags.is_empty() {
            return wrong("tags", "revision removes the tags of the revision: give either revision or tags");
        }
        if !everything && self.revision.is_none() && self.tags.is_empty() {
            return wrong("revision", "name what to remove: one of revision, tags, or all: true is required");
        }
        if self.purge && !self.dry_run && self.confirm.as_deref() != Some(target) {
            let reason =
                format!("purge deletes every object of Istio's kinds: confirm it with the target's name, {target}");
            return Err(Error::Parameter { field: "confirm", reason });
        }
        Ok(())
    }

    /// Whether the command is about this part.
    fn takes(&self, facts: &ObservedMesh, part: &Installed) -> bool {
        let origin = &part.origin;
        if !self.tags.is_empty() {
            return origin.component == Component::Tag && self.tags.contains(&origin.name);
        }
        // Its kinds are the users' and other meshes'.
        if origin.component == Component::GatewayApi {
            return false;
        }
        let Some(revision) = &self.revision else { return true };
        let label = if origin.revision.is_empty() { "default" } else { &origin.revision };
        let last = facts.installed(Component::Istiod).all(|istiod| istiod.name == *revision);
        match origin.component {
            Component::Istiod => origin.name == *revision,
            Component::Tag | Component::Gateway => label == revision,
            Component::Cni | Component::Ztunnel => last,
            // Users' objects are of its kinds, and the next revision needs it at once.
            Component::Base | Component::GatewayApi => false,
        }
    }
}

async fn uninstall(work: &mut Removing<'_>, params: &UninstallParams, facts: &ObservedMesh) -> Result<(), Error> {
    let mut parts: Vec<_> = facts.installed.iter().filter(|part| params.takes(facts, part)).collect();
    // Gateways first, base last; within each the webhooks go first.
    parts.sort_by_key(|part| std::cmp::Reverse(part.origin.component));
    if let Some(revision) =
        params.revision.as_ref().filter(|revision| facts.istiod(revision).is_none() && parts.is_empty())
    {
        work.report.findings.push(mesh::Finding::new(
            Severity::Info,
            "revision",
            format!("revision {revision} is not installed by this worker"),
        ));
    }
    let known: BTreeSet<_> = facts.installed(Component::Tag).map(|tag| tag.name.as_str()).collect();
    for tag in params.tags.iter().filter(|tag| !known.contains(tag.as_str())) {
        let message = format!("tag {tag} is not installed by this worker");
        work.report.findings.push(mesh::Finding::new(Severity::Info, "tags", message));
    }
    let mut used = users(work.cluster, facts, &parts).await?;
    for plane in others(params, facts) {
        let message = format!("{plane}: this worker leaves it; remove it with that tool");
        work.report.findings.push(mesh::Finding::new(Severity::Warning, "owner", message));
        // Without CRDs and its certificate authority it would be of no use.
        used.extend(params.purge.then_some(plane));
    }
    let going = names(&parts, Component::Istiod);
    used.extend(foreign_validators(work.cluster, facts, &going).await?);
    if !used.is_empty() {
        let text = format!("still in use by {}", used.join(", "));
        if !params.force && !params.dry_run {
            let what = match (&params.revision, params.tags.is_empty()) {
                (Some(revision), _) => format!("revision {revision}"),
                (None, false) => format!("tag {}", params.tags.join(", ")),
                (None, true) => "the mesh".to_owned(),
            };
            return Err(mesh::Error::InUse { what, users: used }.into());
        }
        work.report.findings.push(mesh::Finding::new(Severity::Warning, "in-use", text));
    }
    if params.tags.is_empty() {
        validator::hand_over(work, facts, &parts).await?;
    }
    let total = parts.len();
    for (index, part) in parts.iter().enumerate() {
        let origin = &part.origin;
        work.cx.step("delete", index, total, format!("{} {}", origin.component.as_str(), origin.name));
        remove(work.cx, work.cluster, work.dry_run, work.wait, part, &mut work.report).await?;
    }
    if params.purge {
        purge(work).await?;
    }
    // What a purge would leave is not seen before it is done.
    if params.tags.is_empty() && !(params.purge && params.dry_run) {
        work.report.leftovers = leftovers::find(work.cluster).await?;
        let now = if work.dry_run { facts.clone() } else { facts::read(work.cluster).await? };
        work.report.leftovers.extend(leftovers::orphans(work.cluster, &now).await?);
    }
    Ok(())
}

/// Control planes that the command could mean and that are not this worker's.
fn others(params: &UninstallParams, facts: &ObservedMesh) -> Vec<String> {
    let meant = |plane: &&mesh::ControlPlane| {
        params.tags.is_empty() && params.revision.as_ref().is_none_or(|revision| plane.revision == *revision)
    };
    let others = facts.control_planes.iter().filter(meant).filter(|plane| plane.owner != Owner::Sailhand);
    let name = |it: &mesh::ControlPlane| {
        format!("control plane {}/{} of revision {}, installed by {}", it.namespace, it.name, it.revision, it.owner)
    };
    others.map(name).collect()
}

/// Names of the parts that are of one component.
fn names<'a>(parts: &[&'a Installed], component: Component) -> BTreeSet<&'a str> {
    let these = parts.iter().filter(|part| part.origin.component == component);
    these.map(|part| part.origin.name.as_str()).collect()
}

/// Validating webhooks that another tool has installed and that call a control plane which is to be removed. The API
/// server would refuse every object of Istio's kinds (istio/istio#28880).
async fn foreign_validators(
    cluster: &Cluster,
    facts: &ObservedMesh,
    going: &BTreeSet<&str>,
) -> Result<Vec<String>, Error> {
    if going.is_empty() {
        return Ok(Vec::new());
    }
    let webhooks = admission::read(cluster).await?;
    let planes = facts.control_planes.iter().filter(|plane| going.contains(plane.revision.as_str()));
    let services: BTreeSet<_> =
        planes.map(|plane| (plane.namespace.clone(), validator::service(&plane.revision))).collect();
    let calls = webhooks.iter().filter(|it| it.is_validator() && it.fails_closed && it.owner != Owner::Sailhand);
    let calls = calls.filter(|it| it.service.as_ref().is_some_and(|service| services.contains(service)));
    Ok(calls.map(|it| format!("{} (installed by {})", it.configuration, it.owner)).collect())
}

/// Users of what is to be removed: namespaces that select its revision or tag, and proxies that are connected to it.
async fn users(cluster: &Cluster, facts: &ObservedMesh, parts: &[&Installed]) -> Result<Vec<String>, Error> {
    let (revisions, tags) = (names(parts, Component::Istiod), names(parts, Component::Tag));
    let going: BTreeSet<&str> = revisions.union(&tags).copied().collect();
    leftovers::users(cluster, &going, &revisions, facts).await
}

/// Objects that Istio creates at run time, and objects of its kinds that users create.
async fn purge(work: &mut Removing<'_>) -> Result<(), Error> {
    let lost = leftovers::instances(work.cluster).await?;
    if !lost.is_empty() {
        let text = format!("with the CRDs go all objects of their kinds: {}", lost.join("; "));
        work.report.findings.push(mesh::Finding::new(Severity::Warning, "purge", text));
    }
    for namespace in leftovers::with_mesh_labels(work.cluster).await? {
        let Ok(name) = Namespace::try_from(namespace) else { continue };
        let text = format!("namespace {name}, without its mesh labels");
        let params = LabelParams { force: true, dry_run: work.dry_run, ..LabelParams::of(name, Mode::None) };
        Label.run(work.cx, params).await.map_err(|failure| failure.error)?;
        work.report.moved(true, text);
    }
    let mut doomed = leftovers::runtime_objects(work.cluster).await?;
    doomed.extend(leftovers::crds(work.cluster).await?);
    let objects: Vec<DynamicObject> =
        doomed.into_iter().filter_map(|object| serde_json::from_value(bare(&object)).ok()).collect();
    if objects.is_empty() {
        return Ok(());
    }
    let line = PartReport {
        component: Component::Base,
        name: "leftovers".to_owned(),
        installation: "istio-residue".to_owned(),
        version: None,
        ready: false,
        objects: Vec::new(),
        omitted: 0,
    };
    let options = DeleteOptions {
        family: Family::Mesh,
        dry_run: work.dry_run,
        adopt: true,
        purge: true,
        wait: (!work.wait.is_zero()).then_some(work.wait),
        generation: work.cx.generation,
        ..DeleteOptions::default()
    };
    delete_as(work.cx, work.cluster, "what istiod has made", line, Some(objects), &options, &mut work.report).await
}

/// The identity of an object.
fn bare(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
    })
}
