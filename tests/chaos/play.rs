//! Carries out a schedule on a lane: sends its commands and brings its faults about, each at its time.

use std::time::Duration;

use sailhand::bus::Cancellation;
use sailhand::bus::nats::NatsBus;
use sailhand::event::{CommandDraft, CommandKey, Target};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::counts::Counts;
use super::environment::{ChaosEnv, LEASE_TTL, TARGETS};
use super::schedule::{Fault, Planned, Schedule, Trouble, What};
use crate::support::api_proxy::Refusal;
use crate::support::tcp_proxy::Link;

/// What a slow connection adds to everything it carries.
const SLOW: Duration = Duration::from_millis(120);
/// Until a stopped worker goes on: its lease is gone by then.
const STOPPED: Duration = LEASE_TTL.saturating_add(Duration::from_millis(800));
/// Between two looks whether a worker has stopped.
const LOOK: Duration = Duration::from_millis(50);
/// Between two workers of a rolling restart.
const ROLL: Duration = Duration::from_millis(400);

/// A command of a schedule as it goes over the bus.
#[derive(Debug, Clone)]
pub struct Sent {
    pub plan: Planned,
    pub key: CommandKey,
    pub target: Target,
    /// What its objects hold.
    pub value: String,
    pub draft: CommandDraft,
}

/// Names of a schedule's things.
pub fn installation_name(seed: u64, installation: usize) -> String {
    format!("s{seed}-i{installation}")
}

/// What happens at some time.
enum Action {
    Send(usize),
    Cancel(usize),
    Begin(Fault),
    /// To the worker at a place.
    Signal(usize, &'static str),
    Heal(usize),
    HealCluster,
    RestartBus,
    ContinueBus,
    /// The worker that stopped at a step, once one has: steps hit before, and looks left.
    ContinueAfter(usize, u32),
}

/// Plays the schedule to the end of its last fault. Gives what was sent.
pub async fn play(test_env: &mut ChaosEnv, schedule: &Schedule, counts: &mut Counts) -> Vec<Sent> {
    let sent = commands(schedule, test_env);
    let mut sending = JoinSet::new();
    let mut timeline = timeline(schedule);
    let begun = Instant::now();
    for place in &test_env.places {
        place.link.set(if schedule.slowness.is_zero() { Link::Good } else { Link::Slow(schedule.slowness) });
    }
    while !timeline.is_empty() {
        let next = (0..timeline.len()).min_by_key(|index| timeline[*index].0).unwrap();
        let (at, action) = timeline.remove(next);
        let wait = at.saturating_sub(begun.elapsed());
        test_env.pass(wait).await;
        let mut later = Vec::new();
        match action {
            Action::Send(index) => {
                sending.spawn(send(test_env.bus.clone(), sent[index].clone()));
            }
            Action::Cancel(index) => {
                sending.spawn(cancel(test_env.bus.clone(), sent[index].key.clone()));
            }
            Action::Begin(fault) => {
                *counts.faults.entry(fault.kind()).or_default() += 1;
                later = begin(test_env, schedule, fault);
            }
            Action::Signal(place, signal) => test_env.places[place].signal(signal),
            Action::Heal(place) => {
                test_env.places[place].bus.set(Link::Good);
                test_env.places[place].link.set(Link::Good);
            }
            Action::HealCluster => test_env.places.iter().for_each(|place| place.cluster.refuse(None)),
            Action::RestartBus => test_env.nats.restart().await,
            Action::ContinueBus => test_env.nats.signal("CONT"),
            Action::ContinueAfter(hits, looks) => later = continue_stopped(test_env, hits, looks),
        }
        timeline.extend(later.into_iter().map(|(after, action)| (begun.elapsed() + after, action)));
    }
    while let Some(done) = sending.join_next().await {
        done.unwrap();
    }
    sent
}

fn commands(schedule: &Schedule, test_env: &ChaosEnv) -> Vec<Sent> {
    let now = OffsetDateTime::now_utc();
    let mut all: Vec<Sent> = Vec::new();
    for (number, plan) in schedule.commands.iter().enumerate() {
        let value = format!("{}-{number}", schedule.seed);
        let target = match plan.what {
            What::Ping | What::Refused => 0,
            What::Apply { installation, .. } | What::Delete { installation } => {
                schedule.installations[installation].target
            }
        };
        let (id, source) = match all.last() {
            Some(before) if plan.same_id => (before.draft.id.clone(), format!("/other/{number}")),
            _ => (value.clone(), "/chaos".to_owned()),
        };
        let (verb, mut params) = params(schedule, plan.what, &value);
        if params.get("namespace").is_some() {
            params["namespace"] = json!(test_env.namespace(TARGETS[target]));
        }
        let draft = CommandDraft {
            id,
            source,
            verb: verb.to_owned(),
            params,
            generation: plan.generation,
            expiry: plan.expiry.map(|after| now + plan.sent[0] + after),
            ..CommandDraft::default()
        };
        let target: Target = TARGETS[target].parse().unwrap();
        all.push(Sent { plan: plan.clone(), key: draft.key(), target, value, draft });
    }
    all
}

fn params(schedule: &Schedule, what: What, value: &str) -> (&'static str, Value) {
    match what {
        What::Ping => ("ping", json!({"echo": value})),
        What::Refused => {
            let manifest = "apiVersion: none.example/v1\nkind: Nothing\nmetadata: {name: a}";
            ("config.apply", json!({"name": format!("refused-{value}"), "manifest": manifest}))
        }
        What::Delete { installation } => {
            ("config.delete", json!({"name": installation_name(schedule.seed, installation), "wait": "30s"}))
        }
        What::Apply { installation, shrunk, wait } => {
            let name = installation_name(schedule.seed, installation);
            let planned = &schedule.installations[installation];
            let mut manifest = Vec::new();
            for object in 0..planned.objects - usize::from(shrunk) {
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-{object}")},
                    "data": {"command": value},
                });
                manifest.push(object.to_string());
            }
            let mut params = json!({"name": name, "namespace": ""});
            if wait {
                manifest.push(deployment(&name).to_string());
                params["wait"] = json!("30s");
            }
            params["manifest"] = json!(manifest.join("\n---\n"));
            ("config.apply", params)
        }
    }
}

/// Its pod is ready after a moment.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"kwok.test/ready-after": "700ms"}},
            "spec": {"containers": [{"name": "a", "image": "example.com/a:1"}]},
        }},
    })
}

fn timeline(schedule: &Schedule) -> Vec<(Duration, Action)> {
    let mut timeline = Vec::new();
    for (index, command) in schedule.commands.iter().enumerate() {
        timeline.extend(command.sent.iter().map(|at| (*at, Action::Send(index))));
        timeline.extend(command.cancel.map(|at| (at, Action::Cancel(index))));
    }
    timeline.extend(schedule.faults.iter().map(|(at, fault)| (*at, Action::Begin(*fault))));
    timeline
}

/// Brings a fault about, and gives what has to happen later because of it.
fn begin(test_env: &mut ChaosEnv, schedule: &Schedule, fault: Fault) -> Vec<(Duration, Action)> {
    let place = usize::try_from(schedule.seed).unwrap_or(0) % test_env.places.len();
    let link = |trouble| match trouble {
        Trouble::Slow => Link::Slow(SLOW),
        Trouble::Deaf => Link::Deaf,
        Trouble::Cut => Link::Cut,
        Trouble::LosesAnswer => Link::LosesAnswer,
    };
    match fault {
        Fault::KillAt(step) => test_env.order(step, "KILL"),
        Fault::StopAt(step) => {
            let hits = test_env.hits().len();
            test_env.order(step, "STOP");
            return vec![(LOOK, Action::ContinueAfter(hits, 40))];
        }
        Fault::Kill => test_env.places[place].signal("KILL"),
        Fault::Stop => {
            test_env.places[place].signal("STOP");
            return vec![(STOPPED, Action::Signal(place, "CONT"))];
        }
        Fault::Roll => {
            let times = std::iter::successors(Some(Duration::ZERO), |at| Some(*at + ROLL));
            return times
                .zip(0..test_env.places.len())
                .map(|(at, place)| (at, Action::Signal(place, "TERM")))
                .collect();
        }
        Fault::RestartBus(away) => {
            test_env.nats.kill();
            return vec![(away, Action::RestartBus)];
        }
        Fault::PauseBus(away) => {
            test_env.nats.signal("STOP");
            return vec![(away, Action::ContinueBus)];
        }
        Fault::BusLink(trouble, lasts) => {
            test_env.places[place].bus.set(link(trouble));
            return vec![(lasts, Action::Heal(place))];
        }
        Fault::ClusterLink(trouble, lasts) => {
            test_env.places[place].link.set(link(trouble));
            return vec![(lasts, Action::Heal(place))];
        }
        Fault::Refuse { status, after, percent, lasts } => {
            test_env.places.iter().for_each(|place| place.cluster.refuse(Some(Refusal { status, after, percent })));
            return vec![(lasts, Action::HealCluster)];
        }
        Fault::CutWatches => test_env.places.iter().for_each(|place| place.cluster.cut_watches()),
    }
    Vec::new()
}

/// Looks whether a worker has stopped at a step since `hits`, and for how long still to look.
fn continue_stopped(test_env: &ChaosEnv, hits: usize, looks: u32) -> Vec<(Duration, Action)> {
    let all = test_env.hits();
    let stopped = all.iter().skip(hits).find(|(_, signal, _)| signal == "STOP");
    match stopped.and_then(|(_, _, id)| test_env.places.iter().position(|place| place.id() == Some(*id))) {
        Some(place) => vec![(STOPPED, Action::Signal(place, "CONT"))],
        // The step may never be reached; what stops later is woken by the end of the schedule.
        None if looks == 0 => Vec::new(),
        None => vec![(LOOK, Action::ContinueAfter(hits, looks - 1))],
    }
}

/// Until the server has taken it. Without a message id, so that each copy is a message; one that is sent again because
/// its answer was lost is one more.
async fn send(bus: NatsBus, sent: Sent) {
    let event = sent.draft.event(&sent.target, OffsetDateTime::now_utc()).unwrap();
    let payload = serde_json::to_string(&event).unwrap();
    let subject = bus.subjects().command(&sent.target, &sent.draft.verb);
    loop {
        if let Ok(ack) = bus.context().publish(subject.clone(), payload.clone().into()).await
            && ack.await.is_ok()
        {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn cancel(bus: NatsBus, key: CommandKey) {
    while bus.request_cancel(&Cancellation::of_all_targets(&key), &json!({"by": "chaos"})).await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
}
