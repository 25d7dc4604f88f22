//! The loop: wait for a change, translate everything, write what differs, report.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lease::Lease;
use super::report::Reporter;
use super::stores::Stores;
use super::write::Writer;
use super::{Options, Translate};
use crate::clock::Clock;
use crate::cluster::ApiError;
use crate::health::Causes;
use crate::retry;
use crate::smi::{Existing, IstioKind, IstioObject, Reason, Report, Settings, Translation};

/// Writes at the same time.
const PARALLEL: usize = 8;
/// Changes that come so close together are one pass.
const QUIET: Duration = Duration::from_millis(20);
/// A pass is not put off for longer, however many changes come.
const AT_MOST: Duration = Duration::from_millis(200);
/// While the lists are not complete, and while another controller leads.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Translates all SMI objects and writes the differences.
pub struct Reconciler {
    options: Options,
    translate: Translate,
    stores: Arc<Stores>,
    lease: Arc<Lease>,
    writer: Writer,
    reporter: Reporter,
}

/// The outcome of a pass.
#[derive(Debug, Default)]
struct Pass {
    applied: usize,
    deleted: usize,
    reported: usize,
    failed: usize,
}

impl Reconciler {
    pub fn new(
        client: Client,
        options: &Options,
        translate: Translate,
        stores: Arc<Stores>,
        lease: Arc<Lease>,
    ) -> Self {
        let reporter = Reporter::new(client.clone(), options);
        Self { options: options.clone(), translate, stores, lease, writer: Writer::new(client), reporter }
    }

    /// Runs until `stop`.
    pub async fn run(&self, causes: &watch::Sender<Causes>, stop: CancellationToken) {
        let mut failures = 0;
        let mut again = Some(LOOK_AGAIN);
        loop {
            let late = async {
                match again {
                    Some(delay) => Clock::system().sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stores.changed.notified() => self.settle().await,
                () = late => {}
                () = stop.cancelled() => return,
            }
            let waiting = self.stores.waiting(&self.options);
            let is_ready = waiting.is_empty();
            causes.send_if_modified(|told| {
                let is_news = *told != waiting;
                if is_news {
                    *told = waiting;
                }
                is_news
            });
            if !is_ready || !self.lease.is_held() {
                again = Some(LOOK_AGAIN);
                continue;
            }
            let pass = tokio::select! {
                pass = self.pass() => pass,
                () = stop.cancelled() => return,
            };
            failures = if pass.failed == 0 { 0 } else { failures + 1 };
            again = (failures > 0).then(|| retry::IN_PLACE.delay(failures + 3, Some(Duration::from_millis(500))));
        }
    }

    /// Waits until no change came for a moment.
    async fn settle(&self) {
        let end = Instant::now() + AT_MOST;
        while Instant::now() < end && tokio::time::timeout(QUIET, self.stores.changed.notified()).await.is_ok() {}
    }

    async fn pass(&self) -> Pass {
        let begun = Instant::now();
        let snapshot = self.stores.snapshot();
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(reason) => {
                tracing::error!("nothing is translated: {reason}");
                return Pass { failed: 1, ..Pass::default() };
            }
        };
        let Translation { mut objects, mut reports } = (self.translate)(&snapshot, &settings);
        // A namespace that is being deleted takes no objects.
        let namespaces: BTreeSet<_> = snapshot.namespaces.iter().map(|one| one.name.as_str()).collect();
        objects.retain(|object| namespaces.contains(object.namespace.as_str()));
        let managed = snapshot.existing.iter().filter(|existing| existing.managed);
        let managed: HashMap<_, _> =
            managed.map(|one| ((one.kind, one.namespace.clone(), one.name.clone()), one.as_ref())).collect();
        let wanted: BTreeSet<_> =
            objects.iter().map(|one| (one.kind, one.namespace.clone(), one.name.clone())).collect();
        self.writer.retain(|key| wanted.contains(key));

        let mut pass = Pass::default();
        self.apply(&objects, &managed, &mut pass, &mut reports).await;
        // After the writes, because a policy must exist before the one that it replaces is deleted.
        let unwanted = managed
            .iter()
            .filter(|(key, existing)| !wanted.contains(*key) && namespaces.contains(existing.namespace.as_str()));
        self.delete(unwanted.map(|(_, existing)| *existing), &mut pass).await;
        pass.reported = self.reporter.report(&snapshot, &reports, &self.stores, || self.lease.is_held()).await;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            applied = pass.applied,
            deleted = pass.deleted,
            reported = pass.reported,
            failed = pass.failed,
            took_ms,
            objects = objects.len(),
            reports = reports.len(),
            "reconciled"
        );
        pass
    }

    async fn apply(
        &self,
        objects: &[IstioObject],
        managed: &HashMap<(IstioKind, String, String), &Existing>,
        pass: &mut Pass,
        reports: &mut Vec<Report>,
    ) {
        let existing = |one: &IstioObject| managed.get(&(one.kind, one.namespace.clone(), one.name.clone())).copied();
        let differing = objects.iter().filter(|one| !self.writer.is_settled(one, existing(one)));
        let writes = differing.map(|one| async move {
            let is_ours = existing(one).is_some();
            let done = if self.lease.is_held() {
                self.writer.apply(one, is_ours, &self.stores).await.map(Some)
            } else {
                Ok(None)
            };
            (one, done)
        });
        let mut writes = stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(PARALLEL);
        while let Some((one, done)) = writes.next().await {
            match done {
                Ok(Some(())) => pass.applied += 1,
                Ok(None) => pass.failed += 1,
                Err(fault) => {
                    pass.failed += 1;
                    reports.push(refusal(one, &fault));
                }
            }
        }
    }

    async fn delete(&self, unwanted: impl Iterator<Item = &Existing>, pass: &mut Pass) {
        let deletions = unwanted.map(|existing| async move {
            let done = if self.lease.is_held() {
                self.writer.delete(existing, &self.stores).await.map(Some)
            } else {
                Ok(None)
            };
            (existing, done)
        });
        let mut deletions = stream::iter(deletions.collect::<Vec<_>>()).buffer_unordered(PARALLEL);
        while let Some((existing, done)) = deletions.next().await {
            match done {
                Ok(Some(())) => pass.deleted += 1,
                Ok(None) => pass.failed += 1,
                Err(fault) => {
                    pass.failed += 1;
                    let (kind, namespace, name) = (existing.kind.name(), &existing.namespace, &existing.name);
                    tracing::warn!("cannot delete {kind} {namespace}/{name}: {fault}");
                }
            }
        }
    }

    fn settings(&self) -> Result<Settings, String> {
        let root = &self.options.root_namespace;
        if let Some(domain) = &self.options.trust_domain {
            return Settings::new(domain, root).map_err(|error| error.to_string());
        }
        let mesh_config = self.stores.mesh_config();
        let read = mesh_config.as_deref().filter(|text| !text.is_empty()).map(|text| {
            let node = crate::analysis::mesh::read_embedded(text);
            node.ok_or_else(|| format!("ConfigMap {root}/{}: data.mesh is not valid YAML", self.options.mesh_config))
        });
        let node = read.transpose()?;
        let domain = node.as_ref().map_or("", |node| node["trustDomain"].text());
        // Istio's default.
        let domain = if domain.is_empty() { "cluster.local" } else { domain };
        Settings::new(domain, root).map_err(|error| error.to_string())
    }
}

/// A write that failed. An object of the same name that came meanwhile is a conflict.
fn refusal(object: &IstioObject, fault: &ApiError) -> Report {
    let reason = match fault {
        ApiError::FieldConflict(_) | ApiError::Conflict(_) => Reason::Conflict,
        _ => Reason::Refused,
    };
    let place = format!("{} {}/{}", object.kind.name(), object.namespace, object.name);
    let message = format!("cannot write {place}: {fault}");
    tracing::warn!("{}: {message}", object.source);
    Report { source: object.source.clone(), reason, message }
}
