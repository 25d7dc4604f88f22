//! How soon findings are right again after one change among many objects: the incremental analysis beside a full run,
//! for each kind of object and each kind of change.
//!
//! `just bench reanalyze 10000` measures that many objects.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has to fail; it prints"
)]

use crate::corpus;
use crate::measure;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use measure::history::{self, Better};
use measure::{quantile, table};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use sailhand::analysis::incremental::{Change, Difference, Incremental};
use sailhand::analysis::{Kind, ObjectRef, Resource, Snapshot, mesh, rules, run};
use serde_json::{Value, json};
use tokio::time::Instant;

const SEED: u64 = 1;
/// Of a hundred objects.
const MISTAKES: u32 = 5;
/// Changes of each sort.
const CHANGES: usize = 300;
/// 2026-01-01.
const NOW: i64 = 1_767_225_600;
/// The most that is to be, milliseconds.
const TO_BE: f64 = 5.0;

pub fn main() {
    let asked: Vec<usize> = measure::options::words().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10_000] } else { asked };
    println!("\nreanalyze: findings after one change, {MISTAKES} of 100 objects with a mistake, seed {SEED}");
    measure::machine(&[]);
    for size in sizes {
        of(size);
    }
    println!("after the run: {}\n", measure::load());
}

fn of(size: usize) {
    let objects = objects(size);
    let resources = || objects.iter().map(resource).collect::<Vec<_>>();
    let begun = Instant::now();
    let all = resources();
    let settings = mesh::settings_in(&all, NOW);
    let findings = run(&Snapshot::new(all, settings), rules::ALL, NonZero::<usize>::MIN).len();
    let full = begun.elapsed();
    let all = resources();
    let before = measure::memory(std::process::id(), "VmRSS");
    let begun = Instant::now();
    let mut incremental = Incremental::new(rules::ALL, all, NOW);
    let first = begun.elapsed();
    let memory = measure::memory(std::process::id(), "VmRSS") - before;
    assert_eq!(incremental.findings().len(), findings);
    println!(
        "\n{size} objects, {findings} findings: a full run on one thread {:.0} ms, the first of an incremental one {:.0} \
         ms and {memory:.0} MiB more\n",
        full.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
    );
    let mut rows = vec![
        ["change", "n", "p50 ms", "p99 ms", "max ms", "CPU p99", "calls p50", "calls max"].map(str::to_owned).to_vec(),
    ];
    let (mut every, mut every_used) = (Vec::new(), Vec::new());
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut by_kind: BTreeMap<Kind, Vec<&Value>> = BTreeMap::new();
    for object in &objects {
        by_kind.entry(resource(object).kind).or_default().push(object);
    }
    for (kind, objects) in &by_kind {
        let (mut edits, mut deletes, mut creates) = (Sort::default(), Sort::default(), Sort::default());
        for number in 0..CHANGES.min(objects.len() * 3) {
            let object = *objects.choose(&mut random).unwrap();
            edits.add(&mut incremental, [put(&edited(object, number))]);
            incremental.apply([put(object)]);
            deletes.add(&mut incremental, [Change::Delete(ObjectRef::from(&resource(object)))]);
            creates.add(&mut incremental, [put(object)]);
        }
        for (what, sort) in [("edited", edits), ("deleted", deletes), ("created", creates)] {
            every.extend(&sort.taken);
            every_used.extend(&sort.used);
            rows.push(sort.row(&format!("{kind} {what}")));
        }
    }
    let mut labels = Sort::default();
    for number in 0..CHANGES {
        let object = *by_kind[&Kind::Namespace].choose(&mut random).unwrap();
        let mut without = object.clone();
        without["metadata"]["labels"] = json!({"istio.io/dataplane-mode": "ambient"});
        labels.add(&mut incremental, [put(if number % 2 == 0 { &without } else { object })]);
        incremental.apply([put(object)]);
    }
    rows.push(labels.row("Namespace becomes ambient"));
    let mut settings = Sort::default();
    for mesh in
        ["enableAutoMtls: false", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "rootNamespace: other", ""].repeat(5)
    {
        settings.add(&mut incremental, [put(&config_map(mesh))]);
    }
    rows.push(settings.row("MeshConfig"));
    assert_eq!(incremental.findings().len(), findings, "all changes were taken back");
    table(&rows);
    let p99 = quantile(&mut every_used, 0.99);
    history::record(format!("reanalyze {size} objects: p99 of CPU ms"), Better::Lower, p99);
    println!(
        "one change of any object (not of MeshConfig): p50 {:.3} ms, p99 {:.3} ms, p99 of CPU time {:.3} ms (to be: at \
         most {TO_BE} ms)",
        quantile(&mut every, 0.5),
        quantile(&mut every, 0.99),
        p99,
    );
}

/// The generated ones and what makes them a cluster: a control plane and its settings.
fn objects(size: usize) -> Vec<Value> {
    let mut objects = corpus::objects(size, SEED, MISTAKES);
    let namespace = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    objects.push(namespace("istio-system"));
    objects.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}},
        "spec": {"template": {"metadata": {"labels": {"app": "istiod"}}, "spec": {"containers": [{"name": "discovery"}]}}},
    }));
    objects.push(config_map(""));
    objects
}

fn config_map(mesh: &str) -> Value {
    let metadata = json!({"name": "istio", "namespace": "istio-system"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": mesh}})
}

fn resource(object: &Value) -> Resource {
    Resource::from_value(serde_json::from_value(object.clone()).unwrap()).unwrap()
}

fn put(object: &Value) -> Change {
    Change::Put(Box::new(resource(object)))
}

/// As somebody who edits it: another label on it, and on its pods.
fn edited(object: &Value, number: usize) -> Value {
    let mut edited = object.clone();
    edited["metadata"]["labels"]["edited"] = json!(number.to_string());
    if edited["spec"]["template"].is_object() {
        edited["spec"]["template"]["metadata"]["labels"]["edited"] = json!(number.to_string());
    }
    edited
}

/// CPU time of this thread, which the kernel counts in ticks of some milliseconds: on a machine that does other things
/// too, the clock tells of those.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// What changes of one sort took.
#[derive(Default)]
struct Sort {
    taken: Vec<Duration>,
    used: Vec<Duration>,
    calls: Vec<usize>,
}

impl Sort {
    fn add(&mut self, incremental: &mut Incremental, changes: [Change; 1]) {
        let (begun, used) = (Instant::now(), used());
        let Difference { calls, .. } = incremental.apply(changes);
        let taken = begun.elapsed();
        self.used.push(self::used().saturating_sub(used));
        self.taken.push(taken);
        self.calls.push(calls);
    }

    fn row(mut self, name: &str) -> Vec<String> {
        self.calls.sort_unstable();
        let mut row = vec![name.to_owned(), self.taken.len().to_string()];
        row.extend([0.5, 0.99, 1.0].map(|share| format!("{:.3}", quantile(&mut self.taken, share))));
        row.push(format!("{:.3}", quantile(&mut self.used, 0.99)));
        row.extend([self.calls[self.calls.len() / 2], *self.calls.last().unwrap()].map(|calls| calls.to_string()));
        row
    }
}
