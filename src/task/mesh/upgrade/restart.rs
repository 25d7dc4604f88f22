//! Restarts workloads with proxies of another revision or version, in batches, and verifies the version of the new proxies.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cluster::{self, ApiError, Cluster, Kind, ObjectRef, wait};
use crate::mesh::usage::{self, Labels, Proxy};
use crate::mesh::{self, Version};
use crate::prose::{agree, plural};
use crate::task::Error;
use crate::task::mesh::facts::{self, list};
use crate::task::mesh::mesh_run::MeshRun;
use crate::task::mesh::prefixed_progress::PrefixedProgress;

/// Marks a pod template that was restarted for a proxy: setting it twice restarts once.
const PROXY: &str = "sailhand.meshery.io/proxy";
/// Between two looks.
const POLL: std::time::Duration = std::time::Duration::from_millis(500);
/// Workloads and pods that are named.
const NAMED: usize = 10;

/// A workload with pods that have a proxy.
pub(super) struct Workload {
    kind: Kind,
    pub object: ObjectRef,
    /// Labels of its pods.
    pub labels: Labels,
    /// Whether a pod has another proxy than wanted.
    pub late: bool,
    /// Whether its template has the mark of a restart for the wanted proxy.
    pub marked: bool,
}

impl Workload {
    /// Namespace and name.
    pub fn pair(&self) -> (String, String) {
        (self.object.namespace.clone().unwrap_or_default(), self.object.name.clone())
    }

    /// Whether it has to be restarted.
    pub const fn is_due(&self) -> bool {
        self.late && !self.marked
    }
}

/// What pods should have.
pub(super) struct Wanted<'a> {
    pub revision: &'a str,
    pub version: Option<&'a Version>,
}

impl Wanted<'_> {
    fn is(&self, proxy: &Proxy) -> bool {
        let version = self.version.is_none_or(|it| proxy.version.as_ref().is_none_or(|own| *own == it.to_string()));
        proxy.revision == self.revision && version
    }

    /// The mark of a restart for it.
    fn token(&self) -> String {
        let version = self.version.map(|version| format!("@{version}")).unwrap_or_default();
        format!("{}{version}", self.revision)
    }
}

/// Namespaces whose pods get proxies of the revision, directly or by a tag.
pub(super) async fn namespaces(cluster: &Cluster, revision: &str) -> Result<BTreeSet<String>, Error> {
    let injectors = facts::injectors(cluster).await?;
    let tags: BTreeSet<_> =
        injectors.iter().filter(|it| it.revision == revision).filter_map(|it| it.tag.as_deref()).collect();
    let spaces = list(cluster, "v1", "Namespace", None).await?;
    let selects = |space: &&Value| {
        let labels = usage::labels(space);
        usage::namespace_revision(&labels).is_some_and(|selected| selected == revision || tags.contains(selected))
    };
    let names = spaces.iter().filter(selects).filter_map(|space| space["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The proxies of pods of these namespaces, each with the labels of its pod.
async fn meshed(cluster: &Cluster, within: &BTreeSet<String>) -> Result<Vec<(Proxy, Labels)>, Error> {
    let mut found = Vec::new();
    if let Some(kind) = cluster.kind("v1", "Pod").await? {
        let each = |pod: Value| {
            let proxy = usage::proxy(&pod).filter(|proxy| within.contains(&proxy.namespace));
            found.extend(proxy.map(|proxy| (proxy, usage::labels(&pod))));
        };
        cluster.list(&kind, None, None, each).await?;
    }
    Ok(found)
}

/// Restarts every workload that has a pod with another proxy.
pub(super) async fn workloads(
    work: &mut MeshRun<'_>,
    revision: &str,
    version: Option<&Version>,
    batch: usize,
) -> Result<(), Error> {
    let wanted = Wanted { revision, version };
    let due = due(work.cluster, &wanted).await?;
    let total = due.len();
    for (number, group) in due.chunks(batch.max(1)).enumerate() {
        one_batch(work, group, &wanted, (number * batch, total)).await?;
    }
    Ok(())
}

/// The same without a wait for readiness and disruption budgets, for a command that has to end.
pub(super) async fn at_once(work: &mut MeshRun<'_>, revision: &str) -> Result<(), Error> {
    let wanted = Wanted { revision, version: None };
    let due = due(work.cluster, &wanted).await?;
    write_all(work, &due, &wanted, (0, due.len())).await
}

/// The workloads of the revision's namespaces that have to be restarted.
async fn due(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<Vec<Workload>, Error> {
    let within = namespaces(cluster, wanted.revision).await?;
    let mut due = of_namespaces(cluster, &within, wanted).await?;
    due.retain(Workload::is_due);
    Ok(due)
}

/// Restarts these workloads and waits until they are ready. `place` counts those before, and all.
pub(super) async fn one_batch(
    work: &mut MeshRun<'_>,
    group: &[Workload],
    wanted: &Wanted<'_>,
    place: (usize, usize),
) -> Result<(), Error> {
    budgets(work, group).await?;
    write_all(work, group, wanted, place).await?;
    if work.common.wait.is_zero() { Ok(()) } else { ready(work, group).await }
}

/// Waits until these workloads are ready.
pub(super) async fn ready(work: &MeshRun<'_>, group: &[Workload]) -> Result<(), Error> {
    let objects: Vec<_> = group.iter().map(|workload| workload.object.clone()).collect();
    let progress = PrefixedProgress::new(&work.cx.progress, "restart");
    Ok(wait::until_ready(work.cluster, &objects, work.common.wait, &work.cx.guard, &progress).await?)
}

async fn write_all(
    work: &mut MeshRun<'_>,
    group: &[Workload],
    wanted: &Wanted<'_>,
    (before, total): (usize, usize),
) -> Result<(), Error> {
    for (index, workload) in group.iter().enumerate() {
        let _writing = work.cx.guard.writing().await?;
        write(work.cluster, workload, &wanted.token()).await?;
        let done = before + index + 1;
        work.cx.step("apply", done, total, format!("restarted {}, {done} of {total}", workload.object));
        work.report.moved(true, workload.object.to_string());
    }
    Ok(())
}

/// The workloads of these namespaces that have pods with a proxy, sorted.
pub(super) async fn of_namespaces(
    cluster: &Cluster,
    within: &BTreeSet<String>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Workload>, Error> {
    let mut pods: BTreeMap<String, Vec<(Proxy, Labels)>> = BTreeMap::new();
    for (proxy, labels) in meshed(cluster, within).await? {
        pods.entry(proxy.namespace.clone()).or_default().push((proxy, labels));
    }
    let token = wanted.token();
    let mut found = Vec::new();
    for name in ["Deployment", "StatefulSet", "DaemonSet"] {
        let Some(kind) = cluster.kind("apps/v1", name).await? else { continue };
        for one in list(cluster, "apps/v1", name, None).await? {
            let text = |key: &str| one["metadata"][key].as_str().unwrap_or_default();
            let Some(pods) = pods.get(text("namespace")) else { continue };
            let selected = |(_, labels): &&(Proxy, Labels)| usage::selects(&one["spec"]["selector"], labels);
            let own: Vec<_> = pods.iter().filter(selected).collect();
            let Some((_, labels)) = own.first() else { continue };
            found.push(Workload {
                kind: kind.clone(),
                object: ObjectRef::new("apps/v1", name, Some(text("namespace")), text("name")),
                labels: labels.clone(),
                late: own.iter().any(|(proxy, _)| !wanted.is(proxy)),
                marked: one["spec"]["template"]["metadata"]["annotations"][PROXY] == token,
            });
        }
    }
    found.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(found)
}

/// Waits until every disruption budget of these workloads' namespaces allows a disruption. A rollout does not ask
/// budgets by itself.
async fn budgets(work: &MeshRun<'_>, group: &[Workload]) -> Result<(), Error> {
    let spaces: BTreeSet<_> = group.iter().filter_map(|it| it.object.namespace.clone()).collect();
    let deadline = Instant::now() + work.common.wait;
    loop {
        let budgets = list(work.cluster, "policy/v1", "PodDisruptionBudget", None).await?;
        let holds = |budget: &&Value| {
            let space = budget["metadata"]["namespace"].as_str().unwrap_or_default();
            let status = &budget["status"];
            let covers = status["expectedPods"].as_i64().unwrap_or(0) > 0;
            spaces.contains(space) && covers && status["disruptionsAllowed"].as_i64() == Some(0)
        };
        let name = |budget: &Value| {
            let metadata = &budget["metadata"];
            let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
            format!("PodDisruptionBudget {}/{} allows no disruption", text("namespace"), text("name"))
        };
        let held: Vec<_> = budgets.iter().filter(holds).map(name).collect();
        if held.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(cluster::Error::NotReady { waiting: held, after: work.common.wait }.into());
        }
        work.cx.step("wait", 0, group.len(), held.join("; "));
        pause(work).await?;
    }
}

async fn pause(work: &MeshRun<'_>) -> Result<(), Error> {
    let clock = Clock::system();
    tokio::select! {
        stop = work.cx.guard.stopped() => Err(stop.into()),
        () = clock.sleep(POLL) => Ok(()),
    }
}

async fn write(cluster: &Cluster, workload: &Workload, token: &str) -> Result<(), Error> {
    let annotations = json!({"metadata": {"annotations": {PROXY: token}}});
    let patch = Patch::Merge(json!({"spec": {"template": annotations}}));
    let params = PatchParams { field_manager: Some("sailhand-restart".to_owned()), ..PatchParams::default() };
    let object = &workload.object;
    let namespace = object.namespace.as_deref().unwrap_or_default();
    cluster.check_write(object)?;
    let answer = cluster
        .call("restart", object, |client| {
            let (patch, params) = (&patch, &params);
            let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &workload.kind.resource);
            async move { api.patch(&object.name, params, patch).await }
        })
        .await;
    match answer {
        // Deleted since it was listed: there is nothing to restart.
        Ok(_) | Err(cluster::Error::Request { fault: ApiError::NotFound(_), .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until all proxies of the revision's namespaces are as wanted.
pub(super) async fn verify(work: &mut MeshRun<'_>, revision: &str, version: Option<&Version>) -> Result<(), Error> {
    let wanted = Wanted { revision, version };
    let within = namespaces(work.cluster, revision).await?;
    let deadline = Instant::now() + work.common.wait;
    loop {
        let proxies = meshed(work.cluster, &within).await?;
        let total = proxies.len();
        let late: Vec<_> = proxies.iter().map(|(proxy, _)| proxy).filter(|proxy| !wanted.is(proxy)).collect();
        if late.is_empty() {
            let message = format!("{} {} of revision {revision}", plural(total, "proxy"), agree(total, "is", "are"));
            work.cx.step("wait", total, total, message);
            return Ok(());
        }
        if Instant::now() >= deadline {
            let name = |proxy: &&Proxy| format!("{}/{}", proxy.namespace, proxy.name);
            let behind = late.iter().take(NAMED).map(name).collect();
            return Err(mesh::Error::Behind { revision: revision.to_owned(), total, behind }.into());
        }
        let (count, all) = (late.len(), plural(total, "proxy"));
        let message = format!("{count} of {all} {} not of revision {revision} yet", agree(count, "is", "are"));
        work.cx.step("wait", total - late.len(), total, message);
        pause(work).await?;
    }
}
