//! Describes the later stages for a dry run. The API server cannot check them, because they depend on objects that the first
//! stage writes.

use super::stage::Stage;
use crate::cluster::Cluster;
use crate::mesh::usage::{self, Proxy};
use crate::mesh::{Finding, ObservedMesh, Severity};
use crate::prose::plural;
use crate::task::Error;
use crate::task::mesh::facts::list;
use crate::task::mesh::mesh_run::MeshRun;

/// Proxies that are named.
const NAMED: usize = 5;

fn say(work: &mut MeshRun<'_>, stage: &str, message: String) {
    work.report.findings.push(Finding::new(Severity::Info, stage, message));
}

/// Proxies that a restart is for.
async fn late(cluster: &Cluster, is_late: impl Fn(&Proxy) -> bool) -> Result<Vec<String>, Error> {
    let pods = list(cluster, "v1", "Pod", None).await?;
    let found = pods.iter().filter_map(usage::proxy).filter(is_late);
    Ok(found.map(|proxy| format!("{}/{}", proxy.namespace, proxy.name)).collect())
}

fn restart(work: &mut MeshRun<'_>, late: &[String], batch: usize) {
    let named = late.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let message = match late.len() {
        0 => "no pod would have to be restarted".to_owned(),
        all => {
            format!(
                "the workloads of {} would be restarted, {batch} at a time: {named}{}",
                plural(all, "pod"),
                more(all)
            )
        }
    };
    say(work, "restart", message);
}

const fn more(all: usize) -> &'static str {
    if all > NAMED { ", …" } else { "" }
}

/// By revision: from one to the other.
pub(super) async fn by_revision(
    work: &mut MeshRun<'_>,
    facts: &ObservedMesh,
    (from, to): (&str, &str),
    tags: Vec<String>,
    until: Stage,
    batch: usize,
) -> Result<(), Error> {
    if until >= Stage::Move {
        let spaces = list(work.cluster, "v1", "Namespace", None).await?;
        let selects = |space: &&serde_json::Value| usage::namespace_revision(&usage::labels(space)) == Some(from);
        let names = spaces.iter().filter(selects).filter_map(|space| space["metadata"]["name"].as_str());
        let tags = tags.into_iter().map(|tag| format!("tag {tag}"));
        let moving: Vec<_> = tags.chain(names.map(|name| format!("namespace {name}"))).collect();
        let message = match moving.as_slice() {
            [] => format!("no tag and no namespace selects revision {from}"),
            all => format!("would move to revision {to}: {}", all.join(", ")),
        };
        say(work, "move", message);
    }
    if until >= Stage::Restart {
        let late = late(work.cluster, |proxy| proxy.revision == from).await?;
        restart(work, &late, batch);
    }
    if until >= Stage::Remove && facts.istiod(from).is_some() {
        say(work, "remove", format!("revision {from} would be removed when nothing refers to it"));
    }
    Ok(())
}

/// In place: to another version of the same revision.
pub(super) async fn in_place(work: &mut MeshRun<'_>, until: Stage, batch: usize) -> Result<(), Error> {
    if until < Stage::Restart {
        return Ok(());
    }
    let (revision, version) = (work.request.revision_label().to_owned(), work.request.version.to_string());
    let is_late = |proxy: &Proxy| proxy.revision == revision && proxy.version.as_deref() != Some(version.as_str());
    let late = late(work.cluster, is_late).await?;
    restart(work, &late, batch);
    Ok(())
}
