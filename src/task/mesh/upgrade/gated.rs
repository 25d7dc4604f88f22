//! An upgrade by revision with a health gate: restarts workloads in batches, judges their metrics after each, and goes back
//! to the old revision when they are not healthy. A record in the cluster has the time of the beginning and whether the
//! upgrade goes back, so that another attempt of the command continues.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::canary::Canary;
use super::gate::{self, LONGEST, Measured, Pair, UpgradeGate, UpgradeGateReport, UpgradeObservation};
use super::restart::{self, Wanted, Workload};
use crate::cluster::apply::apply;
use crate::cluster::delete::{DeleteOptions, delete};
use crate::cluster::{self, ApplyOptions, Cluster, Family};
use crate::error::{Class, Classify as _};
use crate::guard::Stop;
use crate::mesh::{Finding, Severity};
use crate::observe::gate::{Ruling, Streak, Verdict};
use crate::prose::plural;
use crate::task::connection::store::Store;
use crate::task::health_gate::{Health, push};
use crate::task::mesh::common_params::CommonParams;
use crate::task::mesh::facts;
use crate::task::mesh::mesh_run::MeshRun;
use crate::task::refusal::Refusal;
use crate::task::{Error, TaskContext, record};

/// Installation, and name of the `ConfigMap`, of the record.
const RECORD: &str = "istio-upgrade-gate";
/// Key of the record in the `ConfigMap`.
const KEY: &str = "gate.json";
/// Time for going back after a command was stopped: less than the engine waits for a task.
const BACK: Duration = Duration::from_secs(8);
/// From ready pods to the beginning of the window: proxies of other pods take the new endpoints.
const SETTLE: Duration = Duration::from_secs(2);

/// An upgrade in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The command.
    command: String,
    /// The old revision.
    from: String,
    /// The new revision.
    to: String,
    /// Seconds since 1970: the window before this time has the numbers before the first restart.
    since: i64,
    /// Why it goes back; absent while it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    back: Option<String>,
}

struct Gated<'a, 'b> {
    canary: &'a Canary<'b>,
    health: &'a Health,
    store: Store,
    from: &'a str,
    to: &'a str,
    record: Record,
    resumed: bool,
    /// Workloads, and their numbers before the first restart.
    before: Measured,
    not_judged: BTreeSet<Pair>,
}

/// Moves tags and namespaces to the new revision and restarts workloads and gateways, or goes back.
///
/// # Errors
/// [`Refusal::NothingToJudge`] before anything is moved; [`Refusal::UnhealthyCanary`] after everything went back; the reason
/// to stop, after which everything went back unless another attempt continues; failures after which another attempt
/// continues.
pub(super) async fn restart(
    canary: &Canary<'_>,
    work: &mut MeshRun<'_>,
    gate: &UpgradeGate,
    (from, to): (&str, &str),
) -> Result<(), Error> {
    let Some(mut gated) = Gated::begin(canary, work, &gate.health, (from, to)).await? else {
        // No workload has a proxy of another revision: there is nothing to judge.
        let (_, request) = canary.target(to)?;
        canary.shift(work, &request, from).await?;
        return canary.gateways(work, &request, from).await;
    };
    if gated.record.back.is_none() {
        let Err(error) = gated.forward(work).await else { return forget(work.cluster, work.cx).await };
        match error.stop() {
            Some(Stop::LostLease | Stop::Shutdown) => return Err(error),
            Some(Stop::Cancelled | Stop::Deadline) => return gated.back_at_once(work, error).await,
            None => {}
        }
        let evidence = match &error {
            Error::Refused(Refusal::UnhealthyCanary { evidence, .. }) => evidence.clone(),
            Error::Cluster(cluster::Error::NotReady { .. } | cluster::Error::WorkloadFailed { .. }) => {
                error.to_string()
            }
            error if error.class() == Class::Terminal => error.to_string(),
            _ => return Err(error),
        };
        gated.record.back = Some(evidence);
        gated.keep(work).await?;
    }
    gated.back(work, false).await?;
    if let Some(report) = &mut work.report.gate {
        report.went_back = true;
    }
    forget(work.cluster, work.cx).await?;
    let evidence = gated.record.back.unwrap_or_default();
    Err(Refusal::UnhealthyCanary { canary: format!("revision {to}"), evidence }.into())
}

/// Removes the record.
async fn forget(cluster: &Cluster, cx: &TaskContext) -> Result<(), Error> {
    let options = DeleteOptions { family: Family::Mesh, ..DeleteOptions::default() };
    match delete(cluster, RECORD, None, &options, &cx.guard, &()).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.0.into()),
    }
}

impl<'a, 'b> Gated<'a, 'b> {
    /// Reads the record of an earlier attempt, or the numbers before the upgrade. None when no workload has to be restarted.
    async fn begin(
        canary: &'a Canary<'b>,
        work: &mut MeshRun<'_>,
        health: &'a Health,
        (from, to): (&'a str, &'a str),
    ) -> Result<Option<Self>, Error> {
        let store = health.store(work.cx).await?;
        let mut within = restart::namespaces(work.cluster, from).await?;
        within.extend(restart::namespaces(work.cluster, to).await?);
        let wanted = Wanted { revision: to, version: None };
        let workloads = restart::of_namespaces(work.cluster, &within, &wanted).await?;
        let due = workloads.iter().filter(|one| one.is_due()).count();
        let command = work.cx.key.to_string();
        let stored: Option<Record> = record::read(work.cluster, RECORD, KEY).await?;
        let of_this = stored.filter(|stored| stored.from == from && stored.to == to);
        let resumed = of_this.as_ref().is_some_and(|stored| stored.command == command);
        if due == 0 && !resumed {
            return Ok(None);
        }
        let batches = u32::try_from(due.div_ceil(canary.params.batch.max(1))).unwrap_or(u32::MAX);
        health.check(batches, LONGEST)?;
        // An upgrade of another command that was stopped half way had its numbers before it began.
        let since = of_this.as_ref().map_or_else(|| work.cx.clock.now().unix_timestamp(), |stored| stored.since);
        let back = of_this.filter(|_| resumed).and_then(|stored| stored.back);
        let record = Record { command, from: from.to_owned(), to: to.to_owned(), since, back };
        let all: Vec<&Workload> = workloads.iter().collect();
        work.report.gate = Some(UpgradeGateReport {
            store: store.address.clone(),
            workloads: all.len(),
            restarted: workloads.iter().filter(|one| one.marked).count(),
            resumed,
            query: gate::query(&store, health, &all),
            ..UpgradeGateReport::default()
        });
        let mut before = gate::ask(work.cluster, &store, health, &all, Some(since)).await?;
        let not_judged = before.exceeding(health);
        if !not_judged.is_empty() {
            let judged: Vec<&Workload> = all.into_iter().filter(|one| !not_judged.contains(&one.pair())).collect();
            before = gate::ask(work.cluster, &store, health, &judged, Some(since)).await?;
        }
        let mut gated = Self { canary, health, store, from, to, record, resumed, before, not_judged };
        gated.admit(work).await?;
        gated.keep(work).await?;
        Ok(Some(gated))
    }

    /// Refuses to begin without numbers that could be judged.
    async fn admit(&mut self, work: &mut MeshRun<'_>) -> Result<(), Error> {
        let seen = self.before.judge(self.health, 0);
        if let Some(report) = &mut work.report.gate {
            let name = |(namespace, name): &Pair| format!("{namespace}/{name}");
            report.not_judged = self.not_judged.iter().map(name).collect();
            push(&mut report.observations, seen.clone());
        }
        if self.resumed {
            return Ok(());
        }
        let window = humantime::format_duration(self.health.window);
        if matches!(seen.verdict, Verdict::Good | Verdict::Unclear) {
            if gate::has_whole_window(&self.store, self.health, self.record.since).await? {
                return Ok(());
            }
            // Rates of a part of the window are too low, and would make busy workloads look idle.
            let reason = format!("the store has no request from before the {window} that precede the upgrade");
            return Err(Refusal::NothingToJudge { revision: self.to.to_owned(), reason }.into());
        }
        let left_out = match self.not_judged.len() {
            0 => String::new(),
            1 => "; 1 workload exceeds a threshold already and is not judged".to_owned(),
            some => format!("; {some} workloads exceed a threshold already and are not judged"),
        };
        let reason = format!(
            "in the {window} before the upgrade its workloads had {}, {} failed{left_out}",
            plural(seen.requests, "request"),
            seen.failed
        );
        Err(Refusal::NothingToJudge { revision: self.to.to_owned(), reason }.into())
    }

    /// Writes the record.
    async fn keep(&self, work: &MeshRun<'_>) -> Result<(), Error> {
        let object = record::object(work.cluster, RECORD, KEY, &self.record);
        let options =
            ApplyOptions { family: Family::Mesh, create_namespace: true, prune: true, ..ApplyOptions::default() };
        match apply(work.cluster, RECORD, vec![object], &options, &work.cx.guard, &()).await {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.0.into()),
        }
    }

    async fn forward(&self, work: &mut MeshRun<'_>) -> Result<(), Error> {
        let (_, request) = self.canary.target(self.to)?;
        self.canary.shift(work, &request, self.from).await?;
        let wanted = Wanted { revision: self.to, version: None };
        let within = restart::namespaces(work.cluster, self.to).await?;
        let workloads = restart::of_namespaces(work.cluster, &within, &wanted).await?;
        let total = workloads.len();
        let (mut due, mut moved): (Vec<_>, Vec<_>) = workloads.into_iter().partition(Workload::is_due);
        if self.resumed && moved.iter().any(|one| one.marked) {
            restart::ready(work, &moved).await?;
            self.observe(work, &moved, total).await?;
        }
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(self.canary.params.batch.max(1)));
            restart::one_batch(work, &due, &wanted, (moved.len(), total)).await?;
            moved.append(&mut due);
            due = rest;
            self.observe(work, &moved, total).await?;
        }
        let before = work.report.parts.len();
        self.canary.gateways(work, &request, self.from).await?;
        if work.report.parts[before..].iter().any(crate::task::mesh::PartReport::changed) {
            self.observe(work, &moved, total).await?;
        }
        Ok(())
    }

    /// Repeats windows until their numbers decide.
    async fn observe(&self, work: &mut MeshRun<'_>, moved: &[Workload], total: usize) -> Result<(), Error> {
        let judged: Vec<&Workload> = moved.iter().filter(|one| !self.not_judged.contains(&one.pair())).collect();
        if let Some(idle) = self.idle(&judged, moved.len()) {
            note(work, moved.len(), idle);
            return Ok(());
        }
        let mut streak = Streak::default();
        loop {
            self.wait(work, moved.len(), total).await?;
            let seen = match gate::ask(work.cluster, &self.store, self.health, &judged, None).await {
                Ok(measured) => measured.judge(self.health, moved.len()),
                Err(error) if error.stop().is_some() => return Err(error),
                Err(error) => nothing(moved.len(), error.to_string()),
            };
            work.cx.guard.check()?;
            let ruling = streak.count(seen.verdict, self.health.patience);
            let evidence = seen.text();
            note(work, moved.len(), seen);
            match ruling {
                Ruling::Pass => return Ok(()),
                Ruling::Hold => {}
                Ruling::Back(_) => {
                    return Err(Refusal::UnhealthyCanary { canary: self.to.to_owned(), evidence }.into());
                }
            }
        }
    }

    /// Whether these workloads had too few requests before they were restarted. Where the numbers from before are gone, no
    /// workload counts as idle.
    fn idle(&self, judged: &[&Workload], restarted: usize) -> Option<UpgradeObservation> {
        #[allow(clippy::cast_precision_loss, reason = "at most a million")]
        let least = self.health.min_requests as f64;
        let pairs: Vec<Pair> = judged.iter().map(|one| one.pair()).collect();
        let requests = self.before.requests(pairs.iter());
        let reason = || format!("they had {requests:.1} requests in the window before the upgrade");
        (self.before.all.requests >= least && requests < least).then(|| nothing(restarted, reason()))
    }

    async fn wait(&self, work: &MeshRun<'_>, restarted: usize, total: usize) -> Result<(), Error> {
        let window = humantime::format_duration(self.health.window);
        let message = format!(
            "{restarted} of {}, now with revision {}; observing them for {window}",
            plural(total, "workload"),
            self.to
        );
        work.cx.step("gate", restarted, total, message);
        tokio::select! {
            stop = work.cx.guard.stopped() => Err(stop.into()),
            () = work.cx.clock.sleep(SETTLE + self.health.window) => Ok(()),
        }
    }

    /// Tags, namespaces, workloads and gateways to the old revision; the control plane of the new one stays.
    async fn back(&self, work: &mut MeshRun<'_>, at_once: bool) -> Result<(), Error> {
        work.cx.step("gate", 0, 0, format!("going back to revision {}", self.from));
        let facts = facts::read(work.cluster).await?;
        let canary = Canary::new(self.canary.params, self.canary.request, facts);
        let (_, request) = canary.target(self.from)?;
        canary.shift(work, &request, self.to).await?;
        if at_once {
            restart::at_once(work, self.from).await?;
        } else {
            restart::workloads(work, self.from, None, self.canary.params.batch).await?;
        }
        canary.gateways(work, &request, self.to).await?;
        let message = format!("tags, namespaces, workloads and gateways are back at revision {}", self.from);
        work.report.findings.push(Finding::new(Severity::Info, "gate", message));
        Ok(())
    }

    /// The same after the command was stopped, without waits, and at most for as long as the engine waits for it.
    async fn back_at_once(&self, work: &mut MeshRun<'_>, error: Error) -> Result<(), Error> {
        let cx = TaskContext { guard: work.cx.guard.for_cleanup(BACK), ..work.cx.clone() };
        let common = CommonParams { wait: Duration::ZERO, ..work.common.clone() };
        let (done, report) = {
            let mut cleanup = work.fork(&cx, &common);
            let done = match self.back(&mut cleanup, true).await {
                Ok(()) => forget(cleanup.cluster, &cx).await,
                failed => failed,
            };
            (done, cleanup.report)
        };
        work.report.absorb(report);
        match done {
            Ok(()) => {
                if let Some(report) = &mut work.report.gate {
                    report.went_back = true;
                }
            }
            Err(failure) => {
                let message = format!(
                    "revision {} is not removed from all workloads: {failure}; send mesh.upgrade with rollback",
                    self.to
                );
                work.report.findings.push(Finding::new(Severity::Warning, "gate", message));
            }
        }
        Err(error)
    }
}

fn note(work: &mut MeshRun<'_>, restarted: usize, seen: UpgradeObservation) {
    if let Some(report) = &mut work.report.gate {
        report.restarted = restarted;
        push(&mut report.observations, seen);
    }
}

fn nothing(restarted: usize, reason: String) -> UpgradeObservation {
    UpgradeObservation {
        restarted,
        requests: 0.0,
        failed: 0.0,
        latency_p99_ms: None,
        worst: None,
        verdict: Verdict::NoData,
        reason: Some(reason),
    }
}
