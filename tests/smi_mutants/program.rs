//! Runs the cases of the conformance suite against SMI controllers that are wrong on purpose, on the cluster of
//! `KUBECONFIG`, with the image of the first argument. No other controller may run there. Prints the table of
//! docs/conformance.md; ends with status 1 when a mutant survives.
//!
//! The cases of one group share their workloads: when a case ends, the controller takes on the next mutant of the group.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]
#![allow(clippy::disallowed_methods, reason = "KUBECONFIG, as every tool reads it")]

mod mutants;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mutants::{MUTANTS, Memory};
use sailhand::clock::Clock;
use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::conformance::exec::Exec;
use sailhand::conformance::kubernetes::Kubernetes;
use sailhand::conformance::model::{CaseResult, Status};
use sailhand::conformance::runner::{self, Context, DataPlane, Options};
use sailhand::conformance::suite::{Suite, SuiteKind};
use sailhand::guard::Guard;
use sailhand::smi::{self, Settings, Snapshot, Translation};
use sailhand::smi_controller;
use sailhand::task_event::{PublishError, TaskEvent, TaskEvents};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Limit of a phase. A conforming controller needs less than one second; see `just test real`.
const PHASE: Duration = Duration::from_secs(8);

/// The mutant of each group, as an index of [`MUTANTS`], and what it remembers.
#[derive(Default)]
struct Current(Mutex<BTreeMap<&'static str, (usize, Memory)>>);

impl Current {
    /// Takes on the next mutant of the group: the one at `from` or later. None when there is no other.
    fn next(&self, group: &'static str, from: usize) {
        let next = (from..MUTANTS.len()).find(|index| MUTANTS[*index].group == group);
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Some(next) => drop(current.insert(group, (next, Memory::default()))),
            None => drop(current.remove(group)),
        }
    }

    /// Objects of a group's namespaces by its mutant, all others as they should be.
    fn translate(&self, snapshot: &Snapshot, settings: &Settings) -> Translation {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = smi::translate(snapshot, settings);
        for (group, (index, memory)) in current.iter_mut() {
            let part = part(snapshot, group);
            out.objects.retain(|one| !is_of(&one.namespace, group));
            out.reports.retain(|one| !is_of(&one.source.namespace, group) && !is_of(&one.source.name, group));
            let wrong = MUTANTS[*index].translation(part, settings, memory);
            out.objects.extend(wrong.objects);
            out.reports.extend(wrong.reports);
        }
        out.objects.sort_by(|a, b| (a.kind, &a.namespace, &a.name).cmp(&(b.kind, &b.namespace, &b.name)));
        out
    }
}

/// Whether a namespace is one of the group: `smi-conf-0a1b2c3d-sources-2` is one of `sources`.
fn is_of(namespace: &str, group: &str) -> bool {
    let rest = namespace.strip_prefix("smi-conf-").and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(_, name)| name.split('-').next() == Some(group))
}

fn part(snapshot: &Snapshot, group: &str) -> Snapshot {
    let mut part = snapshot.clone();
    part.traffic_targets.retain(|one| is_of(&one.meta.namespace, group));
    part.http_route_groups.retain(|one| is_of(&one.meta.namespace, group));
    part.tcp_routes.retain(|one| is_of(&one.meta.namespace, group));
    part.udp_routes.retain(|one| is_of(&one.meta.namespace, group));
    part.traffic_splits.retain(|one| is_of(&one.meta.namespace, group));
    part.namespaces.retain(|one| is_of(&one.name, group));
    part.workloads.retain(|one| is_of(&one.namespace, group));
    part.services.retain(|one| is_of(&one.namespace, group));
    part.existing.retain(|one| is_of(&one.namespace, group));
    part
}

#[async_trait]
impl TaskEvents for Current {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        if let TaskEvent::ConformanceCase(event) = event {
            let ended = event.case.ordinal as usize; // from 1: the index of the next
            self.next(MUTANTS[ended - 1].group, ended);
            eprintln!("{}/{} {} {}", event.done, event.total, event.case.case_id, event.case.status.as_str());
        }
        Ok(())
    }
}

/// One case for each mutant, in the order of [`MUTANTS`].
fn suite() -> Suite {
    let mut suite = SuiteKind::Smi.suite();
    let cases = std::mem::take(&mut suite.cases);
    let named = |id: &str| cases.iter().find(|case| case.id == id).cloned();
    suite.cases = MUTANTS.iter().filter_map(|mutant| named(mutant.case)).collect();
    suite
}

/// The row of the table, and why the mutant survives.
fn judge(case: &CaseResult) -> (String, Option<String>) {
    let mutant = &MUTANTS[case.ordinal as usize - 1];
    let last = case.evidence.phases.last();
    let is_caught = case.status == Status::Failed && last.is_some_and(|phase| phase.name == mutant.phase);
    let survives = format!("{}: {}: {} {}", mutant.defect, mutant.case, case.status.as_str(), case.message);
    (mutant.row(), (!is_caught).then_some(survives))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survivors) => {
            eprintln!("{survivors} of {} mutants survive", MUTANTS.len());
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<usize, String> {
    let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from).ok_or("KUBECONFIG is not set")?;
    let image = std::env::args().nth(1).ok_or("the first argument is the image of the workloads")?;
    let target = Target { kubeconfig: Some(kubeconfig), ..Target::default() };
    let current = Arc::new(Current::default());
    for mutant in MUTANTS {
        current.next(mutant.group, 0);
    }
    let stop = CancellationToken::new();
    let wrong = Arc::clone(&current);
    let controller = tokio::spawn(smi_controller::run_with(
        Arc::new(move |snapshot, settings| wrong.translate(snapshot, settings)),
        smi_controller::Options {
            target: target.clone(),
            namespace: "istio-system".to_owned(),
            identity: "smi-mutants".to_owned(),
            root_namespace: "istio-system".to_owned(),
            mesh_config: "istio".to_owned(),
            trust_domain: None,
            listen: None,
        },
        stop.clone(),
    ));
    let report = conformance(target, image, &current).await;
    stop.cancel();
    controller.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let judged: Vec<_> = report?.iter().map(judge).collect();
    println!("| feature | the controller … | caught by | in the phase |\n|---|---|---|---|");
    let mut caught = 0;
    for (row, survives) in &judged {
        println!("{row}");
        match survives {
            Some(reason) => eprintln!("SURVIVES {reason}"),
            None => caught += 1,
        }
    }
    Ok(MUTANTS.len() - caught)
}

async fn conformance(target: Target, image: String, current: &Current) -> Result<Vec<CaseResult>, String> {
    let clusters = Clusters::new(BTreeMap::from([("cluster".to_owned(), target)]));
    let cluster = clusters.get("cluster").await.map_err(|error| error.to_string())?;
    let guard = Guard::new(Instant::now() + Duration::from_mins(30), 1, CancellationToken::new());
    let options = Options {
        run_id: uuid::Uuid::new_v4().simple().to_string(),
        attempt: 1,
        target: "cluster".to_owned(),
        suite: suite(),
        data_plane: DataPlane::Sidecar,
        revision: String::new(),
        image,
        phase_timeout: PHASE,
        ready_timeout: Duration::from_mins(3),
        parallel: 4,
        keep_namespace: false,
    };
    let (environment, driver) = (Kubernetes { cluster: &cluster, guard: &guard }, Exec::new(&cluster, &guard));
    let cx = Context {
        environment: &environment,
        driver: &driver,
        guard: &guard,
        events: current,
        progress: &(),
        clock: Clock::system(),
    };
    runner::run(&cx, &options).await.map(|report| report.cases).map_err(|incomplete| incomplete.error.to_string())
}
