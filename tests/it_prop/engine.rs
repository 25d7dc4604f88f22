//! Random schedules of the whole engine on the bus in memory: workers that are cut off in the middle, for good or to
//! come back with what is stale by then, lost and late answers, copies before, during and after, failing and panicking
//! tasks. Virtual time, so a schedule of minutes takes milliseconds. `PROPTEST_CASES` says how many.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudevents::AttributesReader;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sailhand::bus::memory::{InjectedFault, MemoryBus};
use sailhand::clock::Clock;
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, Outcome as Ended, Target};
use sailhand::task::{self, Failure, Limits, Outcome, Registry, Task, TaskContext};
use sailhand::worker::Engine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::simulation;

/// Stands in for a cluster: refuses writers with an older fence, as the fence on an inventory does.
#[derive(Default)]
struct Ledger {
    fences: HashMap<String, u64>,
    inside: HashMap<String, u64>,
    effects: BTreeMap<String, u32>,
    overlaps: u32,
    unfenced: u32,
}

struct Write {
    ledger: Arc<Mutex<Ledger>>,
    calls: AtomicU64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Params {
    installation: String,
    effect: String,
    /// Steps, two seconds each.
    steps: u32,
    /// Calls (over all attempts) that fail or panic before the rest succeed.
    failures: u64,
    panics: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Report {}

impl Task for Write {
    const VERB: &'static str = "test.write";
    const SUMMARY: &'static str = "Writes to the ledger.";
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(1), attempts: 50 }
    }

    fn installation(&self, params: &Params) -> Option<String> {
        Some(params.installation.clone())
    }

    fn example(&self) -> Params {
        Params { installation: "a".into(), effect: "e".into(), steps: 1, failures: 0, panics: false }
    }

    async fn run(&self, cx: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        let fence = cx.guard.fence();
        if self.calls.fetch_add(1, Ordering::Relaxed) % 7 < params.failures {
            assert!(!params.panics, "as ordered");
            return Err(task::Error::Cluster(sailhand::cluster::Error::UnknownTarget { target: "x".into() }).into());
        }
        for step in 0..params.steps {
            cx.guard.check()?;
            {
                let mut ledger = self.ledger.lock().unwrap();
                let seen = ledger.fences.entry(params.installation.clone()).or_default();
                if *seen > fence {
                    ledger.unfenced += 1;
                }
                let seen = ledger.fences.get_mut(&params.installation).unwrap();
                *seen = fence.max(*seen);
                if ledger.inside.insert(params.installation.clone(), fence).is_some_and(|other| other > fence) {
                    ledger.overlaps += 1;
                }
                if step + 1 == params.steps {
                    *ledger.effects.entry(params.effect.clone()).or_default() += 1;
                }
            }
            cx.step("write", step as usize, params.steps as usize, "writing");
            cx.clock.sleep(Duration::from_secs(2)).await;
        }
        Ok(Outcome::Changed(Report {}))
    }
}

#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    commands: usize,
    copies: usize,
    installations: usize,
    workers: usize,
    fault_percent: u32,
    /// Links cut in the middle; half of them are joined again.
    cuts: usize,
    /// Copies sent while the first are carried out, or done.
    late_copies: usize,
    panics: bool,
}

fn schedules(panics: bool) -> impl Strategy<Value = Schedule> {
    let sizes = (1usize..8, 1usize..4, 1usize..4, 1usize..4);
    (any::<u64>(), sizes, 0u32..20, 0usize..4, 0usize..6).prop_map(
        move |(seed, (commands, copies, installations, workers), fault_percent, cuts, late_copies)| Schedule {
            seed,
            commands,
            copies,
            installations,
            workers,
            fault_percent,
            cuts,
            late_copies,
            panics,
        },
    )
}

fn engine(bus: &MemoryBus, clock: Clock, ledger: &Arc<Mutex<Ledger>>, name: &str) -> Arc<Engine> {
    let targets = [("dev".to_owned(), config::Target::default())];
    let registry = Registry::default().with(Write { ledger: Arc::clone(ledger), calls: AtomicU64::new(0) });
    simulation::engine(bus, clock, (name, 4), targets, registry, Arc::default())
}

async fn play(schedule: Schedule) {
    let mut random = SmallRng::seed_from_u64(schedule.seed);
    let (bus, clock) = simulation::bus();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let target: Target = "dev".parse().unwrap();
    let mut keys = Vec::new();
    let mut payloads = Vec::new();
    for n in 0..schedule.commands {
        let params = Params {
            installation: format!("i{}", random.random_range(0..schedule.installations)),
            effect: format!("e{n}"),
            steps: random.random_range(1..20),
            failures: u64::from(schedule.panics),
            panics: schedule.panics && random.random_bool(0.3),
        };
        let draft = CommandDraft {
            id: n.to_string(),
            source: "/test".into(),
            verb: Write::VERB.into(),
            params: json!(params),
            ..CommandDraft::default()
        };
        let payload = serde_json::to_vec(&draft.event(&target, clock.now()).unwrap()).unwrap();
        for _ in 0..schedule.copies {
            bus.publish(&target, Write::VERB, payload.clone());
        }
        keys.push(CommandId::new(&target, &draft.key()));
        payloads.push(payload);
    }
    let percent = schedule.fault_percent;
    let mut faults = SmallRng::seed_from_u64(schedule.seed ^ 1);
    bus.inject_faults(Box::new(move |_| {
        let broken = faults.random_range(0..100) < percent;
        broken.then(|| match faults.random_range(0..3) {
            0 => InjectedFault::Before,
            1 => InjectedFault::After,
            _ => InjectedFault::Late(Duration::from_millis(faults.random_range(1..60_000))),
        })
    }));
    let stop = CancellationToken::new();
    let mut links = Vec::new();
    let start = |name: String, links: &mut Vec<MemoryBus>| {
        let link = bus.link();
        let engine = engine(&link, clock, &ledger, &name);
        let stop = stop.clone();
        links.push(link);
        tokio::spawn(async move { engine.run(stop).await });
    };
    for n in 0..schedule.workers {
        start(format!("w{n}"), &mut links);
    }
    for n in 0..schedule.cuts.max(schedule.late_copies) {
        tokio::time::sleep(Duration::from_secs(random.random_range(1..60))).await;
        if n < schedule.late_copies {
            bus.publish(&target, Write::VERB, payloads[random.random_range(0..payloads.len())].clone());
        }
        if n >= schedule.cuts {
            continue;
        }
        let victim = links.remove(random.random_range(0..links.len()));
        victim.disconnect();
        start(format!("r{n}"), &mut links);
        if random.random_bool(0.5) {
            let away = Duration::from_secs(random.random_range(1..200));
            tokio::spawn(async move {
                tokio::time::sleep(away).await;
                victim.reconnect();
            });
        }
    }
    tokio::time::sleep(Duration::from_mins(5)).await;
    bus.clear_faults();
    let waited = tokio::time::timeout(Duration::from_hours(3), async {
        while bus.queued() > 0 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "every command settles; {} are left", bus.queued());
    stop.cancel();
    check(&bus, &ledger, &keys, &schedule);
}

fn check(bus: &MemoryBus, ledger: &Arc<Mutex<Ledger>>, keys: &[CommandId], schedule: &Schedule) {
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.unfenced, 0, "a write came after a newer holder's");
    assert_eq!(ledger.overlaps, 0, "two holders were inside a guarded section");
    let results = bus.results();
    assert_eq!(results.len(), keys.len(), "one result for each command");
    for (n, key) in keys.iter().enumerate() {
        let event = results.get(key).expect("a result");
        let data = simulation::result_data(event);
        if data.outcome == Ended::Succeeded {
            assert!(ledger.effects.contains_key(&format!("e{n}")), "a success has its effect");
        } else {
            let code = data.error.expect("a failure has an error").code;
            // Put aside for deaths, of which a worker that never comes back is one; for nothing else.
            let deaths = schedule.cuts >= 3 && code == "SH1013";
            let lost = schedule.fault_percent > 0 && code == "SH1013";
            assert!(schedule.panics || deaths || lost, "{:?} with {code}", data.outcome);
        }
    }
    let mut ids: Vec<_> = bus.events().iter().map(|event| event.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), bus.events().len(), "event ids are unique");
}

/// So many that both tests take about ten seconds, unless `PROPTEST_CASES` says how many.
fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    // What the library takes when nothing is said.
    ProptestConfig { cases: if asked.cases == 256 { 600 } else { asked.cases }, ..asked }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..cases() })]

    #[test]
    fn every_command_ends_once_and_no_writer_is_overtaken(schedule in schedules(false)) {
        simulation::run(play(schedule));
    }

    #[test]
    fn failing_and_panicking_tasks_end_once_too(schedule in schedules(true)) {
        simulation::run(play(schedule));
    }
}
