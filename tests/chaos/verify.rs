//! Whether the promises held, by what the streams, the cluster and the record of writes hold afterwards: nothing that a
//! worker says is believed but its results, whose truth is what is checked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use sailhand::event::{CommandId, Outcome, ResultData};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::counts::Counts;
use super::environment::{ChaosEnv, TARGETS};
use super::play::{Sent, installation_name};
use super::schedule::{Schedule, What};
use crate::support::api_proxy::Write;

/// How long a schedule's commands may take to end after its last fault, on a busy machine.
const END: Duration = Duration::from_mins(2);

/// A result and when it was published.
pub struct Ended {
    pub data: ResultData,
    pub at: OffsetDateTime,
}

/// Waits for the end of all commands, then checks. What is wrong goes into the counts.
pub async fn verify(test_env: &mut ChaosEnv, schedule: &Schedule, sent: &[Sent], counts: &mut Counts) {
    let mut wrong = Vec::new();
    test_env.heal();
    if let Err(reason) = settled(test_env).await {
        wrong.push(reason);
    }
    let mut results = HashMap::new();
    for command in sent {
        match result(test_env, command).await {
            Some(ended) => {
                *counts.outcomes.entry(word(&ended.data)).or_default() += 1;
                if let Some(reason) = unfit(schedule, command, &ended.data) {
                    wrong.push(format!("command {}: {reason}: {:?}", command.value, ended.data));
                }
                results.insert(command.value.clone(), ended);
            }
            None => wrong.push(format!("command {} has no result and is not in the queue: lost", command.value)),
        }
    }
    let writes: Vec<Write> = std::mem::take(&mut *test_env.record.lock().unwrap());
    counts.writes += writes.len() as u64;
    for installation in 0..schedule.installations.len() {
        wrong.extend(check_writes(test_env, schedule, installation, &writes, &results));
        wrong.extend(check_objects(test_env, schedule, installation, sent, &results).await);
    }
    counts.commands += sent.len() as u64;
    counts.schedules += 1;
    counts.violations.extend(wrong.into_iter().map(|reason| format!("seed {}: {reason}", schedule.seed)));
}

/// Counts how the commands ended.
pub async fn count_results(test_env: &ChaosEnv, sent: &[Sent], counts: &mut Counts) {
    for command in sent {
        if let Some(ended) = result(test_env, command).await {
            *counts.outcomes.entry(word(&ended.data)).or_default() += 1;
        }
    }
}

/// Waits until the queues are empty and nobody holds a lease.
pub async fn settled(test_env: &mut ChaosEnv) -> Result<(), String> {
    let end = Instant::now() + END;
    let queues = [test_env.bus.subjects().command_stream(), test_env.bus.subjects().waiting_stream()];
    let leases = format!("KV_{}", test_env.bus.subjects().lease_bucket());
    let leases_of = format!("$KV.{}.>", test_env.bus.subjects().lease_bucket());
    loop {
        test_env.refill();
        let mut messages = Some(0);
        for queue in &queues {
            let found = test_env.bus.context().get_stream(queue).await.ok();
            messages = found.and_then(|stream| Some(messages? + stream.cached_info().state.messages));
        }
        if messages == Some(0) && !held(test_env, &leases, &leases_of).await {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("not settled within {END:?}: {messages:?} messages are in the queues"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a lease is held: one that was given back is a marker.
async fn held(test_env: &ChaosEnv, stream: &str, subjects: &str) -> bool {
    let mut next = 1;
    while let Ok(Some(message)) = test_env.bus.next(stream, subjects, next).await {
        if message.headers.get("KV-Operation").is_none() {
            return true;
        }
        next = message.sequence + 1;
    }
    false
}

async fn result(test_env: &ChaosEnv, command: &Sent) -> Option<Ended> {
    let subjects = test_env.bus.subjects();
    let subject = subjects.result(&CommandId::new(&command.target, &command.key));
    let mut found = Err(());
    // The server may be on its way back.
    for _ in 0..50 {
        match test_env.bus.last(&subjects.result_stream(), &subject).await {
            Ok(message) => {
                found = Ok(message);
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let message: StreamMessage = found.expect("the bus answers")?;
    let event: Value = serde_json::from_slice(&message.payload).unwrap();
    Some(Ended { data: serde_json::from_value(event["data"].clone()).unwrap(), at: message.time })
}

fn word(result: &ResultData) -> String {
    let code = result.error.as_ref().map_or(String::new(), |problem| format!(" {}", problem.code));
    format!("{}{code}", result.outcome.as_str())
}

/// Why a command may not have ended so.
fn unfit(schedule: &Schedule, command: &Sent, result: &ResultData) -> Option<&'static str> {
    let code = result.error.as_ref().map(|problem| problem.code.as_str());
    let refused = command.plan.what == What::Refused;
    match (result.outcome, code) {
        (Outcome::Succeeded, _) if !refused => None,
        (Outcome::Rejected, Some("SH3004")) if refused => None,
        (Outcome::Superseded, _) if command.plan.generation.is_some() => None,
        (Outcome::Cancelled, _) if command.plan.cancel.is_some() => None,
        // Too late for another attempt is a failure too.
        (Outcome::Expired | Outcome::Failed, code) if command.plan.expiry.is_some() && code != Some("SH1013") => None,
        (Outcome::Failed, Some("SH3002" | "SH3016")) if schedule.refuses_credentials() => None,
        (Outcome::Failed, Some("SH1013")) => Some("was put aside, though fewer processes died than that takes"),
        _ => Some("should not have ended so"),
    }
}

/// The order in which writers came: no fence after a higher one, no object by another than the newest holder, nothing
/// for a command that has its result, and no result that knows nothing of a write.
fn check_writes(
    test_env: &ChaosEnv,
    schedule: &Schedule,
    installation: usize,
    writes: &[Write],
    results: &HashMap<String, Ended>,
) -> Vec<String> {
    let name = installation_name(schedule.seed, installation);
    let namespace = test_env.namespace(TARGETS[schedule.installations[installation].target]);
    let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
    let inventory = format!("sailhand-{name}");
    let mut own: Vec<(&Write, &str)> = writes
        .iter()
        .filter(|write| write.path.starts_with(&maps))
        .filter_map(|write| Some((write, object_name(write)?)))
        .filter(|(_, object)| *object == inventory || object.starts_with(&format!("{name}-")))
        .collect();
    own.sort_by_key(|(write, _)| write.version.unwrap_or(u64::MAX));
    own.retain(|(write, _)| write.version.is_some());
    let mut wrong = Vec::new();
    let mut holder: Option<(u64, &str)> = None;
    for (write, object) in &own {
        if let Some(fence) = fence(write).filter(|_| *object == inventory) {
            match holder {
                Some((newest, by)) if fence < newest || (fence == newest && by != write.by) => {
                    wrong.push(format!("{name}: {} wrote fence {fence} after {by} had written {newest}", write.by));
                }
                _ => holder = Some((fence, write.by.as_str())),
            }
        } else if let Some(command) = write.sent["data"]["command"].as_str() {
            match holder {
                Some((_, by)) if by == write.by => {}
                other => wrong.push(format!("{name}: {} wrote {object} while the holder was {other:?}", write.by)),
            }
            let Some(ended) = results.get(command) else { continue };
            if write.at > ended.at {
                wrong.push(format!("{name}: {} wrote {object} for {command} after its result", write.by));
            }
            if !ended.data.changed {
                wrong.push(format!("{name}: {} wrote {object} for {command}, which claims no change", write.by));
            }
        }
    }
    wrong
}

fn object_name(write: &Write) -> Option<&str> {
    write.sent["metadata"]["name"].as_str()
}

fn fence(write: &Write) -> Option<u64> {
    write.sent["metadata"]["annotations"]["sailhand.meshery.io/fence"].as_str()?.parse().ok()
}

/// What the cluster holds is what the command that came last wanted.
async fn check_objects(
    test_env: &ChaosEnv,
    schedule: &Schedule,
    installation: usize,
    sent: &[Sent],
    results: &HashMap<String, Ended>,
) -> Vec<String> {
    let planned = &schedule.installations[installation];
    let name = installation_name(schedule.seed, installation);
    let of_it = |command: &&Sent| matches!(command.plan.what, What::Apply { installation: own, .. } | What::Delete { installation: own } if own == installation);
    let ended: Vec<(&Sent, &Ended)> =
        sent.iter().filter(of_it).filter_map(|command| Some((command, results.get(&command.value)?))).collect();
    let succeeded = ended.iter().filter(|(_, ended)| ended.data.outcome == Outcome::Succeeded);
    let rank = |(command, ended): &(&Sent, &Ended)| {
        if planned.ordered { command.plan.generation.unwrap_or(0) } else { ended.data.fence }
    };
    let Some(last) = succeeded.max_by_key(|one| rank(one)) else { return Vec::new() };
    // One that stopped half-way may have left its mark behind the last one that did not.
    let half_way = ended.iter().any(|one| {
        let begun = one.1.data.attempts > 0 || one.1.data.outcome == Outcome::Cancelled;
        one.1.data.outcome != Outcome::Succeeded
            && one.1.data.outcome != Outcome::Superseded
            && begun
            && (!planned.ordered || rank(one) > rank(last))
    });
    if half_way {
        return Vec::new();
    }
    let found = objects(test_env, planned.target, &name).await;
    let wanted: BTreeMap<String, String> = match last.0.plan.what {
        What::Apply { shrunk, .. } => (0..planned.objects - usize::from(shrunk))
            .map(|object| (format!("{name}-{object}"), last.0.value.clone()))
            .collect(),
        _ => BTreeMap::new(),
    };
    if found == wanted {
        return Vec::new();
    }
    vec![format!("{name}: the cluster holds {found:?}, the last command wanted {wanted:?}")]
}

async fn objects(test_env: &ChaosEnv, target: usize, name: &str) -> BTreeMap<String, String> {
    let mut found = Vec::new();
    let api = test_env.config_maps(TARGETS[target]);
    for object in 0..4 {
        let name = format!("{name}-{object}");
        if let Some(object) = api.get_opt(&name).await.unwrap() {
            found.push((name, object.data["data"]["command"].as_str().unwrap_or_default().to_owned()));
        }
    }
    found.into_iter().collect()
}

/// What the lane as a whole shows at its end: one result for each command, and what its streams and logs count.
pub async fn verify_environment(test_env: &mut ChaosEnv, counts: &mut Counts) {
    let info = async |name: &str| test_env.bus.context().get_stream(name).await.unwrap().cached_info().clone();
    let results = info(&test_env.bus.subjects().result_stream()).await.state;
    if results.messages != results.last_sequence {
        let lost = results.last_sequence - results.messages;
        counts.violations.push(format!("{lost} results were published over others"));
    }
    if results.messages != counts.commands {
        counts.violations.push(format!("{} results for {} commands", results.messages, counts.commands));
    }
    counts.dead_letters += info(&test_env.bus.subjects().dead_letter_stream()).await.state.messages;
    let queue = test_env.bus.subjects().command_stream();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        test_env.bus.context().get_consumer_from_stream("worker", &queue).await.unwrap();
    counts.messages += info(&queue).await.state.last_sequence;
    let delivered = consumer.cached_info().delivered.consumer_sequence;
    counts.redeliveries += delivered.saturating_sub(consumer.cached_info().delivered.stream_sequence);
    counts.takeovers += takeovers(test_env).await;
    for (step, signal, _) in test_env.hits() {
        *counts.steps.entry(format!("{step} {signal}")).or_default() += 1;
    }
    counts.deaths += u64::from(test_env.deaths);
    for place in &test_env.places {
        let log = place.log();
        let left: Vec<_> = log.lines().filter(|line| line.contains("left to the new holder of the lease")).collect();
        counts.lost_leases += left.len() as u64;
        counts.fenced += left.iter().filter(|line| line.contains("SH3015")).count() as u64;
        for line in log.lines().filter(|line| line.contains("panicked")) {
            counts.violations.push(format!("{}: {line}", place.name));
        }
    }
}

/// Commands that were begun by several processes.
async fn takeovers(test_env: &ChaosEnv) -> u64 {
    let subjects = test_env.bus.subjects();
    let (stream, started) = (subjects.event_stream(), subjects.events().replace(".>", ".*.*.started"));
    let mut workers: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut next = 1;
    while let Ok(Some(message)) = test_env.bus.next(&stream, &started, next).await {
        next = message.sequence + 1;
        let event: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let worker = event["data"]["worker"].as_str().unwrap_or_default().to_owned();
        workers.entry(message.subject.to_string()).or_default().insert(worker);
    }
    workers.values().filter(|workers| workers.len() > 1).count() as u64
}
