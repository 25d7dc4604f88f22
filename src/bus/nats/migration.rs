//! Moves the installation of an earlier version to two streams of commands. There, one stream had the commands of
//! producers and the message schedules of workers; the server cannot disable schedules of a stream
//! (`configUpdateCheck` of nats-server). So all messages move to the waiting stream, and `apply` creates the command
//! stream again. No message is deleted before its copy is stored, and each step can be repeated after an interruption.

use async_nats::HeaderMap;
use async_nats::header;
use async_nats::jetstream::stream::Config;
use serde_json::json;

use super::NatsBus;
use super::publish::{Message, SCHEDULE, SCHEDULE_TARGET, original_headers};
use super::stranded::Stored;
use super::topology::{create_stream, refused, stream_config};
use crate::bus::subject::{CONSUMER, Subjects};
use crate::bus::topology::Topology;
use crate::bus::{Error, MOVED, UNREADABLE};

/// Moves the messages of a command stream that permits message schedules, and deletes the stream when it is empty. Returns
/// how many messages were moved; `None` when there is no such stream.
///
/// # Errors
/// The server's refusal. The next call continues where this one ended.
pub(super) async fn split_command_stream(bus: &NatsBus, topology: &Topology) -> Result<Option<u64>, Error> {
    let subjects = &topology.subjects;
    let stream = subjects.command_stream();
    let found = stream_config(bus, &stream).await?;
    let Some(found) = found.filter(|found| found.allow_message_schedules) else { return Ok(None) };
    // From here on no client can publish to it: producers get an error and try again. Workers of the earlier version cannot
    // settle without the consumer. When the copy of a command that they execute is delivered, its result or its lease exists.
    let moving = vec![subjects.moving()];
    if found.subjects != moving {
        let config = Config { subjects: moving, ..found };
        bus.context.update_stream(config).await.map_err(|e| refused("update", &stream, e))?;
    }
    if super::topology::consumer_config(bus, &stream, CONSUMER).await?.is_some() {
        let deleted = bus.context.delete_consumer_from_stream(CONSUMER, &stream).await;
        deleted.map_err(|e| refused("delete", &format!("{stream}/{CONSUMER}"), e))?;
    }
    let waiting = subjects.waiting_stream();
    if stream_config(bus, &waiting).await?.is_none()
        && let Some(declared) = topology.streams.iter().find(|declared| declared.name == waiting)
    {
        create_stream(bus, topology, declared, false).await?;
    }
    let mut moved = 0;
    while let Some(stored) = bus.stored(stream.clone(), &json!({ "seq": 1, "next_by_subj": ">" })).await? {
        bus.publish(copy(subjects, &stored)).await?;
        bus.remove(&stream, stored.sequence).await?;
        moved += 1;
    }
    bus.context.delete_stream(&stream).await.map_err(|e| refused("delete", &stream, e))?;
    Ok(Some(moved))
}

/// The message for the waiting stream: a schedule remains a schedule, any other message becomes due.
fn copy(subjects: &Subjects, stored: &Stored) -> Message {
    let no_headers = Vec::new();
    let pairs = stored.headers.as_ref().unwrap_or(&no_headers);
    let pairs = || pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let of_nats = |wanted: &str| pairs().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let mut headers = original_headers(pairs());
    headers.insert(header::NATS_MESSAGE_ID, format!("moved.{}", stored.sequence));
    let schedule = subjects.is_schedule(&stored.subject).then(|| {
        let (target, verb) = subjects.parse_command(of_nats(SCHEDULE_TARGET)?)?;
        Some((of_nats(SCHEDULE)?, subjects.due(&target, &verb)))
    });
    if let Some((time, due)) = schedule.flatten() {
        headers.insert(SCHEDULE, time);
        headers.insert(SCHEDULE_TARGET, due);
        headers.insert(header::NATS_ROLLUP, "sub"); // one schedule for each command
        return Message { subject: stored.subject.clone(), headers, payload: stored.payload.clone() };
    }
    keep_evidence(&mut headers, pairs(), stored.headers.as_ref().err());
    let subject = subjects.due_for(&stored.subject);
    Message { subject, headers, payload: stored.payload.clone() }
}

/// Workers reject commands of foreign schedules, and messages that are schedules or roll-ups. A copy has the headers under
/// other names, so that moving a message does not make it valid.
fn keep_evidence<'a>(
    headers: &mut HeaderMap,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    unreadable: Option<&String>,
) {
    for (name, value) in pairs {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("nats-schedule") || lower == "nats-rollup" {
            headers.append(format!("{MOVED}{name}").as_str(), value);
        }
    }
    if let Some(reason) = unreadable {
        headers.insert(UNREADABLE, reason.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(subject: &str, headers: &[(&str, &str)]) -> Stored {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Stored { subject: subject.to_owned(), sequence: 7, headers: Ok(headers), payload: "{}".into() }
    }

    #[test]
    fn schedule_keeps_its_time_and_becomes_due_on_the_subject_of_its_command() {
        let headers =
            [("Nats-Schedule", "@at T"), ("Nats-Schedule-Target", "istio.cmd.dev.config.apply"), ("ce-id", "1")];
        let moved = copy(&Subjects::new("istio"), &stored("istio.sched.dev.k", &headers));
        assert_eq!(moved.subject, "istio.sched.dev.k");
        for (name, value) in [
            ("Nats-Schedule", "@at T"),
            ("Nats-Schedule-Target", "istio.due.dev.config.apply"),
            ("Nats-Rollup", "sub"),
            ("ce-id", "1"),
        ] {
            assert_eq!(moved.headers.get(name).unwrap().as_str(), value, "{name}");
        }
    }

    #[test]
    fn queued_command_is_due_and_keeps_the_evidence_of_its_origin() {
        let headers = [("Nats-Scheduler", "istio.cmd.dev.ping"), ("Nats-Msg-Id", "x"), ("Nats-Rollup", "sub")];
        let moved = copy(&Subjects::new("istio"), &stored("istio.cmd.prod.mesh.uninstall", &headers));
        assert_eq!(moved.subject, "istio.due.prod.mesh.uninstall");
        assert_eq!(moved.headers.get("Istio-Moved-Nats-Scheduler").unwrap().as_str(), "istio.cmd.dev.ping");
        assert_eq!(moved.headers.get("Istio-Moved-Nats-Rollup").unwrap().as_str(), "sub");
        assert!(moved.headers.get("Nats-Rollup").is_none() && moved.headers.get("Nats-Scheduler").is_none());
    }

    #[test]
    fn command_with_unreadable_headers_stays_unreadable() {
        let unreadable = Stored { headers: Err("not UTF-8".to_owned()), ..stored("istio.cmd.dev.ping", &[]) };
        let moved = copy(&Subjects::new("istio"), &unreadable);
        assert_eq!(moved.headers.get(UNREADABLE).unwrap().as_str(), "not UTF-8");
    }
}
