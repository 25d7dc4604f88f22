//! The example account set of deploy/nats: every user can do its work, and nothing else.

use crate::support;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::Config as PullConfig, push};
use async_nats::jetstream::{self, context::ContextBuilder};
use futures::StreamExt;
use sailhand::bus::nats::{Connection, NatsBus, connect, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{AttemptRecord, Bus, LeaseName, Queue, RecordKey, Settlement, StrandedCause, Subjects, Swap};
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, CommandKey, Target, dataref, decode};
use serde_json::json;
use support::accounts;
use support::eventually::eventually;
use support::nats::NatsServer;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

const WITHIN: Duration = Duration::from_secs(10);

/// A server with the example's accounts and sailhand's streams in it.
async fn server() -> NatsServer {
    let server = accounts::server().await;
    let admin = NatsBus::new(login(&server, "admin").await, Subjects::new("istio"));
    topology::apply(&admin, &Topology::new(&with_store())).await.unwrap();
    server
}

/// The configuration that the example's accounts are for.
fn with_store() -> config::Bus {
    config::Bus { parameter_stores: vec!["ci".to_owned()], ..config::Bus::default() }
}

async fn login(server: &NatsServer, user: &str) -> Connection {
    let dir = TempDir::new().unwrap();
    connect(&accounts::login(server, dir.path(), user), user, false).await.unwrap()
}

fn context(connection: &Connection) -> jetstream::Context {
    ContextBuilder::new().timeout(WITHIN).build(connection.client.clone())
}

async fn publish(connection: &Connection, subject: &str) {
    let acknowledged = context(connection).publish(subject.to_owned(), "{}".into()).await.unwrap().await;
    assert!(acknowledged.is_ok(), "{subject}: {acknowledged:?}");
}

/// Publishes, and waits for the server to say that this was not allowed.
async fn publish_in_vain(connection: &Connection, subject: &str) {
    connection.client.publish(subject.to_owned(), "{}".into()).await.unwrap();
    connection.client.flush().await.unwrap();
    told_off(connection, subject).await;
}

async fn told_off(connection: &Connection, subject: &str) {
    let wanted = subject.to_lowercase();
    eventually(&format!("{subject} is denied"), WITHIN, async || {
        let denied = connection.health.borrow().denied.clone();
        denied.filter(|denied| denied.to_lowercase().contains(&wanted))
    })
    .await;
}

async fn first_message(connection: &Connection, stream: &str, filter: &str) -> Vec<u8> {
    let consumer = context(connection)
        .get_stream(stream)
        .await
        .unwrap()
        .create_consumer(push::OrderedConfig {
            deliver_subject: connection.client.new_inbox(),
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ..push::OrderedConfig::default()
        })
        .await
        .unwrap();
    #[allow(clippy::disallowed_methods, reason = "an ordered consumer acknowledges nothing")]
    let mut messages = consumer.messages().await.unwrap();
    let message = tokio::time::timeout(WITHIN, messages.next()).await.unwrap().unwrap().unwrap();
    message.payload.to_vec()
}

#[tokio::test]
async fn worker_needs_only_the_documented_permissions() {
    let server = server().await;
    let admin = login(&server, "admin").await;
    publish(&admin, "istio.cmd.dev.ping").await;
    context(&admin).get_object_store("istio_blob").await.unwrap().put("large", &mut &b"parameters"[..]).await.unwrap();

    let worker = NatsBus::new(login(&server, "worker").await, Subjects::new("istio"));
    let health = worker.health();
    topology::verify(&worker, &Topology::new(&with_store())).await.unwrap();
    let stop = CancellationToken::new();
    worker.follow_control(stop.clone()).await.unwrap();

    let target: Target = "dev".parse().unwrap();
    let key = CommandKey::new("/test", "1");
    let delivery = worker.pull(Queue::Commands, 1, WITHIN).next().await.unwrap().unwrap();
    let command = CommandId::new(&target, &key);
    assert_eq!(worker.find_result(&command).await.unwrap(), None);
    let name = LeaseName { target: target.clone(), installation: "shop".to_owned() };
    let lease = worker.acquire(&name, "test").await.unwrap().expect("nobody else holds it");
    let lease = worker.renew(&lease, "test").await.unwrap().expect("it is ours");
    let record = RecordKey::command(&command);
    let (attempts, revision) = worker.attempts(&record).await.unwrap();
    assert_eq!(attempts, AttemptRecord::default());
    assert!(matches!(worker.record_attempts(&record, &attempts, revision).await.unwrap(), Swap::Won(_)));
    assert_eq!(worker.blob("istio_blob", "large", 1024).await.unwrap().as_ref(), b"parameters");
    assert!(worker.attach("findings".into()).await.unwrap().starts_with("nats-object://istio_attachment/"));
    for subject in ["istio.evt.dev.k.started", "istio.res.dev.k", "istio.dlq.rejected.dev.k"] {
        worker.context().publish(subject, "{}".into()).await.unwrap().await.unwrap();
    }
    worker.cancel(&command, "test").await.unwrap();
    eventually("the cancellation is seen", WITHIN, async || worker.control().is_cancelled(&command).then_some(()))
        .await;
    worker.release(&lease).await.unwrap();
    delivery.acker.settle(Settlement::Ack).await.unwrap();
    stop.cancel();
    // A command that an administrator takes off the queue is swept.
    publish(&admin, "istio.cmd.dev.ping").await;
    let other = NatsBus::new(login(&server, "admin").await, Subjects::new("istio"));
    let taken = other.context().get_consumer_from_stream::<PullConfig, _, _>("worker", "ISTIO_CMD").await.unwrap();
    let message = taken.fetch().max_messages(1).messages().await.unwrap().next().await.unwrap().unwrap();
    message.ack_with(jetstream::AckKind::Term).await.unwrap();
    let stranded = worker.stranded(1, WITHIN).next().await.unwrap().unwrap();
    assert_eq!(stranded.cause, StrandedCause::Terminated { reason: "without a reason".to_owned() });
    stranded.delivery.acker.settle(Settlement::Ack).await.unwrap();
    assert_eq!(health.borrow().denied, None);
}

#[tokio::test]
async fn worker_cannot_send_commands_or_change_streams() {
    let server = server().await;
    let worker = login(&server, "worker").await;
    for subject in [
        "istio.cmd.dev.ping",
        "$KV.istio_control.pause.dev",
        "$KV.istio_control.cancel.k", // of all targets
        "$O.istio_blob.M.x",
        "$JS.API.STREAM.DELETE.ISTIO_CMD",
        "$JS.API.STREAM.PURGE.ISTIO_CMD",
        "$JS.API.CONSUMER.DELETE.ISTIO_CMD.worker",
    ] {
        publish_in_vain(&worker, subject).await;
    }
    let _foreign = worker.client.subscribe("_INBOX_producer.>").await.unwrap();
    told_off(&worker, "_INBOX_producer.>").await;
}

#[tokio::test]
async fn a_producer_commands_only_its_verbs_on_its_targets() {
    let server = server().await;
    let producer = login(&server, "producer").await;
    for subject in
        ["istio.cmd.dev.config.apply", "istio.cmd.staging.config.delete", "istio.cmd.dev.cancel", "istio.cmd.dev.ping"]
    {
        publish(&producer, subject).await;
    }
    for subject in [
        "istio.cmd.prod.config.apply",
        "istio.cmd.prod.cancel",
        "istio.cmd.prod.ping",
        "istio.cmd.staging.sample.deploy",
        "istio.cmd.dev.namespace.label",
        "istio.sched.dev.k",
        "istio.evt.dev.k.started",
        "istio.res.dev.k",
        "$KV.istio_control.cancel.k",
        "$KV.istio_control.pause.dev",
    ] {
        publish_in_vain(&producer, subject).await;
    }
    publish(&login(&server, "worker").await, "istio.res.dev.k").await;
    assert_eq!(first_message(&producer, "ISTIO_RES", "istio.res.dev.k").await, b"{}");
}

/// A message of a producer can replace or roll up every object of the store that it may write to. So each producer has a
/// store of its own.
#[tokio::test]
async fn producer_neither_reads_nor_changes_parameters_of_other_stores() {
    let server = server().await;
    let producer = NatsBus::new(login(&server, "producer").await, Subjects::of(&with_store()));
    let own = producer.subjects().own_parameter_bucket();
    assert_eq!(own, "istio_blob_ci");
    producer.upload(own.clone(), "large", b"parameters").await.unwrap();
    let worker = NatsBus::new(login(&server, "worker").await, Subjects::of(&with_store()));
    assert_eq!(worker.blob(&own, "large", 1024).await.unwrap().as_ref(), b"parameters");
    let producer = login(&server, "producer").await;
    for subject in [
        "$O.istio_blob.M.x",
        "$O.istio_blob.C.x",
        "$JS.API.STREAM.MSG.GET.OBJ_istio_blob",
        "$JS.API.DIRECT.GET.OBJ_istio_blob.$O.istio_blob.M.x",
        "$JS.API.CONSUMER.CREATE.OBJ_istio_blob",
        "$JS.API.STREAM.PURGE.OBJ_istio_blob",
    ] {
        publish_in_vain(&producer, subject).await;
    }
}

/// The server publishes what a schedule contains on any subject of the stream, without a check of permissions; a roll-up
/// deletes what others queued; a message with a TTL disappears without a result. So the producers' stream permits none.
#[tokio::test]
async fn producers_stream_refuses_schedules_rollups_and_message_ttls() {
    let server = server().await;
    let producer = login(&server, "producer").await;
    let admin = NatsBus::new(login(&server, "admin").await, Subjects::new("istio"));
    let staging: Target = "staging".parse().unwrap();
    for n in 0..3 {
        publish_command(&producer, &staging, "ping", &format!("ping-{n}")).await;
    }
    let waiting = waiting_command(&server, &admin).await;
    let schedule = format!("istio.sched.{waiting}");
    for headers in [
        &[("Nats-Schedule", "@at 2020-01-01T00:00:00Z"), ("Nats-Schedule-Target", "istio.cmd.prod.mesh.uninstall")][..],
        &[("Nats-Schedule", "@at 2020-01-01T00:00:00Z"), ("Nats-Schedule-Target", "istio.due.prod.mesh.uninstall")],
        &[("Nats-Rollup", "sub")],
        &[("Nats-Rollup", "all")],
        &[("Nats-TTL", "1s")],
        &[("Nats-Scheduler", &schedule), ("Nats-Schedule-Next", "purge")],
    ] {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        let sent = context(&producer).publish_with_headers("istio.cmd.staging.ping", all, "{}".into()).await.unwrap();
        assert!(sent.await.is_err(), "{headers:?}");
    }
    let count = async |stream: &str| admin.context().get_stream(stream).await.unwrap().cached_info().state.messages;
    assert_eq!(count("ISTIO_CMD").await, 3, "the commands of others are still queued");
    assert_eq!(count("ISTIO_WAIT").await, 1, "the waiting command still waits");
    publish_in_vain(&producer, "istio.due.dev.ping").await;
    publish_in_vain(&producer, &schedule).await;
}

/// A command that a worker has scheduled to a later time; its target and key.
async fn waiting_command(server: &NatsServer, admin: &NatsBus) -> CommandId {
    let prod: Target = "prod".parse().unwrap();
    let event = draft("ping", "waits").event(&prod, OffsetDateTime::now_utc()).unwrap();
    admin.send_command(&prod, "ping", &CommandKey::new("/test", "waits"), &event).await.unwrap();
    let worker = NatsBus::new(login(server, "worker").await, Subjects::new("istio"));
    loop {
        let delivery = worker.pull(Queue::Commands, 1, WITHIN).next().await.unwrap().unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        if target != prod {
            delivery.acker.settle(Settlement::Nak(Duration::ZERO)).await.unwrap();
            continue;
        }
        let origin = decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap().origin;
        let at = OffsetDateTime::now_utc() + Duration::from_hours(1);
        worker.schedule(&delivery, &origin, at).await.unwrap();
        delivery.acker.settle(Settlement::Ack).await.unwrap();
        return origin.command();
    }
}

fn draft(verb: &str, id: &str) -> CommandDraft {
    let params = if verb == "ping" { json!({}) } else { json!({"all": true}) };
    let (id, source, verb) = (id.to_owned(), "/test".to_owned(), verb.to_owned());
    CommandDraft { id, source, verb, params, ..CommandDraft::default() }
}

async fn publish_command(connection: &Connection, target: &Target, verb: &str, id: &str) {
    let event = serde_json::to_vec(&draft(verb, id).event(target, OffsetDateTime::now_utc()).unwrap()).unwrap();
    let subject = Subjects::new("istio").command(target, verb);
    context(connection).publish(subject, event.into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn an_observer_reads_and_writes_nothing() {
    let server = server().await;
    let worker = login(&server, "worker").await;
    let observer = login(&server, "observer").await;
    for (subject, stream) in [
        ("istio.evt.dev.k.started", "ISTIO_EVT"),
        ("istio.res.dev.k", "ISTIO_RES"),
        ("istio.dlq.rejected.dev.k", "ISTIO_DLQ"),
    ] {
        publish(&worker, subject).await;
        assert_eq!(first_message(&observer, stream, subject).await, b"{}");
        publish_in_vain(&observer, subject).await;
        publish_in_vain(&observer, &format!("$JS.API.STREAM.PURGE.{stream}")).await;
    }
    let attached = NatsBus::new(worker, Subjects::new("istio")).attach("findings".into()).await.unwrap();
    let reader = NatsBus::new(login(&server, "observer").await, Subjects::new("istio"));
    let name = dataref::digest(&attached).unwrap();
    assert_eq!(reader.read_object("istio_attachment".to_owned(), name, 99).await.unwrap().as_ref(), b"findings");
    publish_in_vain(&observer, "$O.istio_attachment.M.x").await;
    publish_in_vain(&observer, "$JS.API.STREAM.INFO.OBJ_istio_blob").await; // parameters of all commands
    publish_in_vain(&observer, "istio.cmd.dev.ping").await;
    publish_in_vain(&observer, "$JS.API.CONSUMER.MSG.NEXT.ISTIO_CMD.worker").await;
}
