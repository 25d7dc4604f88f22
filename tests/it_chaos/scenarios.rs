//! Single faults, each made to happen for certain; `chaos_run.rs` mixes them by chance.

use crate::chaos;
use crate::support;

use std::time::Duration;

use chaos::counts::Counts;
use chaos::environment::{ChaosEnv, TARGETS};
use chaos::play::{self, Sent};
use chaos::schedule::{Fault, Installation, Planned, Schedule, What};
use chaos::verify::{verify, verify_environment};
use sailhand::event::CommandDraft;
use sailhand::failpoint::Step;
use serde_json::json;
use support::control_plane;
use support::eventually::eventually;
use support::nats::NatsServer;
use support::own_control_plane::ControlPlane;

/// For what takes a lease to run out and a new attempt, on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// Applies four objects to the first installation.
fn apply(installation: usize, sent: Vec<Duration>) -> Planned {
    let what = What::Apply { installation, shrunk: false, wait: false };
    Planned { what, sent, generation: None, expiry: None, cancel: None, same_id: false }
}

/// The same, and waits for a Deployment that takes a moment.
fn apply_and_wait() -> Planned {
    Planned { what: What::Apply { installation: 0, shrunk: false, wait: true }, ..apply(0, vec![Duration::ZERO]) }
}

fn schedule(seed: u64, commands: Vec<Planned>, faults: Vec<(Duration, Fault)>) -> Schedule {
    let installations = vec![Installation { target: 0, objects: 4, ordered: false }];
    Schedule { seed, installations, commands, faults, slowness: Duration::ZERO }
}

/// Plays it and checks every promise.
async fn play_and_verify(test_env: &mut ChaosEnv, schedule: &Schedule) -> (Vec<Sent>, Counts) {
    let mut counts = Counts::default();
    let sent = play::play(test_env, schedule, &mut counts).await;
    verify(test_env, schedule, &sent, &mut counts).await;
    (sent, counts)
}

/// Nothing was wrong, and every command came to its end by succeeding.
fn assert_all_succeeded(counts: &Counts) {
    assert_eq!(counts.violations, Vec::<String>::new());
    assert_eq!(counts.outcomes.get("succeeded"), Some(&counts.commands), "{counts}");
}

async fn finish(mut test_env: ChaosEnv, mut counts: Counts) -> Counts {
    verify_environment(&mut test_env, &mut counts).await;
    assert_eq!(counts.violations, Vec::<String>::new());
    counts
}

#[tokio::test]
async fn a_worker_that_sleeps_past_its_lease_writes_nothing_more() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    // It has the fence in the cluster and is about to write the objects.
    test_env.order(Step::Fenced, "STOP");
    let (first, one) =
        play_and_verify_but_sleeping(&mut test_env, schedule(1, vec![apply(0, vec![Duration::ZERO])], vec![])).await;
    let asleep = test_env.hits()[0].2;
    let place = test_env.places.iter().position(|place| place.id() == Some(asleep)).expect("it sleeps, and lives");
    let name = test_env.places[place].name.clone();
    assert_eq!(one.outcomes.get("succeeded"), Some(&1), "the other one has taken over: {one}");
    test_env.places[place].signal("CONT");
    eventually("it finds its lease gone", SOON, async || {
        test_env.places[place].log().contains("left to the new holder of the lease").then_some(())
    })
    .await;
    let after = test_env.record.lock().unwrap().iter().filter(|write| write.by == name).count();
    assert_eq!(after, 0, "it wrote after it woke up");
    let mut counts = Counts::default();
    verify(&mut test_env, &schedule(1, vec![apply(0, vec![Duration::ZERO])], vec![]), &first, &mut counts).await;
    assert_all_succeeded(&counts);
    let counts = finish(test_env, Counts { commands: 1, ..Counts::default() }).await;
    assert_eq!((counts.takeovers, counts.lost_leases), (1, 1));
}

/// Waits for the results, and wakes nobody up.
async fn play_and_verify_but_sleeping(test_env: &mut ChaosEnv, schedule: Schedule) -> (Vec<Sent>, Counts) {
    let mut counts = Counts::default();
    let sent = play::play(test_env, &schedule, &mut counts).await;
    chaos::verify::settled(test_env).await.unwrap();
    let writes = test_env.record.lock().unwrap().len();
    assert!(writes > 0);
    test_env.record.lock().unwrap().clear();
    chaos::verify::count_results(test_env, &sent, &mut counts).await;
    (sent, counts)
}

#[tokio::test]
async fn command_survives_a_restart_of_the_bus() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    let gone = Fault::RestartBus(Duration::from_millis(1500));
    let commands = vec![apply_and_wait(), apply(0, vec![Duration::from_millis(300)])];
    let (_, counts) =
        play_and_verify(&mut test_env, &schedule(2, commands, vec![(Duration::from_millis(400), gone)])).await;
    assert_all_succeeded(&counts);
    finish(test_env, counts).await;
}

#[tokio::test]
async fn one_of_three_servers_dies_that_leads() {
    let mut servers = NatsServer::cluster().await;
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    let first = servers.remove(0);
    let mut test_env = ChaosEnv::on(first, 2, control_plane::kubeconfig(), |config| {
        config.nats.url = urls;
        config.bus.replicas = 3;
    })
    .await;
    let stream = test_env.bus.subjects().command_stream();
    let info = test_env.bus.context().get_stream(&stream).await.unwrap().cached_info().clone();
    let leader = info.cluster.unwrap().leader.unwrap();
    let commands =
        vec![apply_and_wait(), apply(0, vec![Duration::from_millis(300)]), apply(0, vec![Duration::from_secs(1)])];
    let schedule = schedule(3, commands, vec![]);
    let dies = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        match servers.iter_mut().find(|server| server.name() == leader) {
            Some(server) => server.kill(),
            None => return true,
        }
        false
    };
    let mut counts = Counts::default();
    let (sent, is_first) = tokio::join!(play::play(&mut test_env, &schedule, &mut counts), dies);
    if is_first {
        test_env.nats.kill();
    }
    verify(&mut test_env, &schedule, &sent, &mut counts).await;
    assert_all_succeeded(&counts);
}

#[tokio::test]
async fn command_survives_a_restart_of_the_api_server() {
    let own = ControlPlane::start().await;
    let mut test_env = ChaosEnv::new(2, &own.kubeconfig()).await;
    let schedule = schedule(4, vec![apply_and_wait(), apply(0, vec![Duration::from_millis(500)])], vec![]);
    let restart = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        own.restart_api_server().await;
    };
    let mut counts = Counts::default();
    let (sent, ()) = tokio::join!(play::play(&mut test_env, &schedule, &mut counts), restart);
    verify(&mut test_env, &schedule, &sent, &mut counts).await;
    assert_all_succeeded(&counts);
    finish(test_env, counts).await;
}

/// So many commands over `installations` of each target, sent within a few seconds.
fn load(seed: u64, commands: usize, installations: usize, faults: Vec<(Duration, Fault)>) -> Schedule {
    let all: Vec<_> = (0..TARGETS.len() * installations)
        .map(|number| Installation { target: number % TARGETS.len(), objects: 2, ordered: false })
        .collect();
    let at = |number: usize| Duration::from_millis(number as u64 * 8);
    let commands = (0..commands).map(|number| apply(number % all.len(), vec![at(number)])).collect();
    Schedule { seed, installations: all, commands, faults, slowness: Duration::ZERO }
}

#[tokio::test]
async fn ten_workers_four_targets_and_five_hundred_commands_with_one_percent_of_faults() {
    let mut test_env = ChaosEnv::new(10, control_plane::kubeconfig()).await;
    let refused = Fault::Refuse { status: 500, after: None, percent: 1, lasts: Duration::from_secs(30) };
    let mut faults = vec![(Duration::ZERO, refused)];
    faults.extend(
        (1..=5).map(|number| (Duration::from_millis(700) * number, Fault::KillAt(Step::ALL[3 * number as usize]))),
    );
    let schedule = load(5, 500, 5, faults);
    let (_, counts) = play_and_verify(&mut test_env, &schedule).await;
    assert_all_succeeded(&counts);
    let counts = finish(test_env, counts).await;
    assert!(counts.deaths > 0, "nobody died");
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_and_doubles_nothing() {
    let mut test_env = ChaosEnv::new(3, control_plane::kubeconfig()).await;
    let faults = vec![(Duration::from_millis(100), Fault::Roll)];
    let (_, counts) = play_and_verify(&mut test_env, &load(6, 150, 3, faults)).await;
    assert_all_succeeded(&counts);
    let counts = finish(test_env, counts).await;
    assert_eq!((counts.deaths, counts.lost_leases), (0, 0), "they left in order");
}

#[tokio::test]
async fn copies_that_come_after_restarts_find_the_result() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    let (sent, counts) =
        play_and_verify(&mut test_env, &schedule(7, vec![apply(0, vec![Duration::ZERO])], vec![])).await;
    assert_all_succeeded(&counts);
    // The server forgets the ids of what has left the stream when it starts; it would do so after ten minutes too.
    test_env.nats.restart().await;
    for place in &mut test_env.places {
        place.signal("KILL");
    }
    let event = sent[0].draft.event(&sent[0].target, time::OffsetDateTime::now_utc()).unwrap();
    for _ in 0..3 {
        let (command, target) = (&sent[0], &sent[0].target);
        eventually("the bus takes it", SOON, async || {
            test_env.bus.send_command(target, &command.draft.verb, &command.key, &event).await.ok()
        })
        .await;
    }
    chaos::verify::settled(&mut test_env).await.unwrap();
    assert_eq!(test_env.record.lock().unwrap().len(), 0, "nothing was written again");
    let mut counts = Counts { commands: 1, ..Counts::default() };
    verify_environment(&mut test_env, &mut counts).await;
    assert_eq!(counts.violations, Vec::<String>::new());
    assert_eq!(counts.takeovers, 0, "it was begun once");
}

#[tokio::test]
async fn fifty_copies_of_a_ping_are_no_crashes() {
    let mut test_env = ChaosEnv::new(3, control_plane::kubeconfig()).await;
    let ping = Planned { what: What::Ping, ..apply(0, vec![Duration::ZERO; 50]) };
    let (sent, counts) = play_and_verify(&mut test_env, &schedule(8, vec![ping; 5], vec![])).await;
    assert_all_succeeded(&counts);
    assert_eq!(sent.len(), 5);
    let counts = finish(test_env, counts).await;
    assert_eq!(counts.dead_letters, 0);
}

#[tokio::test]
async fn write_in_progress_ends_before_its_cancelled_command() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    // A request takes more than half a second; some of these are in the middle of one, whatever it is.
    let slowness = Duration::from_millis(300);
    let installations = vec![Installation { target: 0, objects: 4, ordered: false }; 20];
    let at = |number: usize| Duration::from_millis(2000 + 250 * number as u64);
    let commands = (0..20).map(|number| Planned { cancel: Some(at(number)), ..apply(number, vec![Duration::ZERO]) });
    let schedule = Schedule { installations, slowness, ..schedule(9, commands.collect(), vec![]) };
    let (_, counts) = play_and_verify(&mut test_env, &schedule).await;
    assert_eq!(counts.violations, Vec::<String>::new());
    let cancelled = counts.outcomes.iter().filter(|(word, _)| word.starts_with("cancelled")).map(|(_, count)| count);
    assert!(cancelled.sum::<u64>() >= 3, "{counts}");
    finish(test_env, counts).await;
}

#[tokio::test]
async fn copies_that_come_while_a_command_waits_for_its_next_attempt_use_none_up() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    let refused = Fault::Refuse { status: 500, after: None, percent: 100, lasts: Duration::from_secs(2) };
    let copies = (0..40).map(|number| Duration::from_millis(number * 50)).collect();
    let schedule = schedule(10, vec![apply(0, copies)], vec![(Duration::ZERO, refused)]);
    let (_, counts) = play_and_verify(&mut test_env, &schedule).await;
    assert_all_succeeded(&counts);
    finish(test_env, counts).await;
}

/// In binary mode, so that its headers say who sent it.
async fn send_ping(test_env: &ChaosEnv, id: &str) -> Sent {
    let draft = CommandDraft {
        id: id.to_owned(),
        source: "/chaos".to_owned(),
        verb: "ping".to_owned(),
        params: json!({}),
        ..CommandDraft::default()
    };
    let plan = Planned { what: What::Ping, ..apply(0, vec![Duration::ZERO]) };
    let target = TARGETS[0].parse().unwrap();
    let sent = Sent { plan, key: draft.key(), target, value: id.to_owned(), draft };
    let mut headers = async_nats::HeaderMap::new();
    let (subject, kind) = (TARGETS[0], "io.meshery.istio.command.ping.v1");
    for (name, value) in
        [("specversion", "1.0"), ("id", id), ("source", "/chaos"), ("type", kind), ("subject", subject)]
    {
        headers.insert(format!("ce-{name}"), value);
    }
    let queue = test_env.bus.subjects().command(&sent.target, "ping");
    test_env.bus.context().publish_with_headers(queue, headers, "{}".into()).await.unwrap().await.unwrap();
    sent
}

/// So many workers die, one after the other, with the message in hand and unread.
async fn die_reading(test_env: &mut ChaosEnv, times: usize) {
    for _ in 0..times {
        let before = test_env.hits().len();
        test_env.order(Step::Received, "KILL");
        let end = tokio::time::Instant::now() + SOON;
        while test_env.hits().len() == before {
            assert!(tokio::time::Instant::now() < end, "nobody receives it");
            test_env.pass(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn message_that_crashes_decoding_is_quarantined_and_others_continue() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    let bad = send_ping(&test_env, "bad").await;
    die_reading(&mut test_env, 3).await;
    chaos::verify::settled(&mut test_env).await.unwrap();
    let good = send_ping(&test_env, "good").await;
    chaos::verify::settled(&mut test_env).await.unwrap();
    let mut counts = Counts { commands: 2, ..Counts::default() };
    chaos::verify::count_results(&test_env, &[bad, good], &mut counts).await;
    let ends: Vec<_> = counts.outcomes.iter().map(|(word, count)| (word.as_str(), *count)).collect();
    assert_eq!(ends, [("failed SH1013", 1), ("succeeded", 1)]);
    let counts = finish(test_env, counts).await;
    assert_eq!((counts.deaths, counts.dead_letters), (3, 1));
}

#[tokio::test]
async fn a_message_whose_readers_died_of_something_else_is_carried_out() {
    let mut test_env = ChaosEnv::new(2, control_plane::kubeconfig()).await;
    let innocent = send_ping(&test_env, "innocent").await;
    die_reading(&mut test_env, 2).await;
    chaos::verify::settled(&mut test_env).await.unwrap();
    let mut counts = Counts { commands: 1, ..Counts::default() };
    chaos::verify::count_results(&test_env, &[innocent], &mut counts).await;
    assert_all_succeeded(&counts);
    finish(test_env, counts).await;
}
