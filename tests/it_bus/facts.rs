//! What the adapter relies on the server for, each asked of a real one: an upgrade of server or client that changes one
//! of them fails here.

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::StreamExt;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{
    AttemptRecord, Bus, Cancellation, Delivery, Lease, LeaseName, Queue, RecordKey, Retention, Settlement, Subjects,
    Swap,
};
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, CommandKey, Origin, ResultData, Target, decode, result_event};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::nats::NatsServer;
use support::tcp_proxy::{Link, TcpProxy};
use time::OffsetDateTime;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);

/// A server and the bus on it.
struct BusEnv {
    server: NatsServer,
    bus: NatsBus,
}

impl BusEnv {
    async fn new(bus: config::Bus) -> Self {
        let server = NatsServer::start().await;
        let connected = connect(&server.url()).await;
        topology::apply(&connected, &Topology::new(&bus)).await.unwrap();
        Self { server, bus: connected }
    }

    async fn send(&self, id: &str) -> CommandKey {
        let target: Target = "dev".parse().unwrap();
        let draft = CommandDraft {
            id: id.to_owned(),
            source: "/test".to_owned(),
            verb: "ping".to_owned(),
            params: json!({}),
            ..CommandDraft::default()
        };
        let event = draft.event(&target, OffsetDateTime::now_utc()).unwrap();
        self.bus.send_command(&target, "ping", &draft.key(), &event).await.unwrap();
        draft.key()
    }

    async fn pull_one(&self) -> Option<Delivery> {
        self.pull_from(Queue::Commands).await
    }

    async fn pull_from(&self, queue: Queue) -> Option<Delivery> {
        let mut batch = self.bus.pull(queue, 1, Duration::from_secs(2));
        batch.next().await.map(Result::unwrap)
    }
}

async fn connect(url: &str) -> NatsBus {
    let config = config::Nats { url: vec![url.to_owned()], ..config::Nats::default() };
    NatsBus::new(nats::connect(&config, "test", false).await.unwrap(), Subjects::new("istio"))
}

/// Shorter than the configuration takes, for tests that wait for an end.
fn quick() -> config::Bus {
    config::Bus { lease_ttl: Duration::from_secs(2), ack_wait: Duration::from_secs(2), ..config::Bus::default() }
}

fn origin(delivery: &Delivery) -> Origin {
    let (target, verb) = delivery.address.as_ref().unwrap();
    decode(target, verb, &delivery.header_pairs(), &delivery.payload).unwrap().origin
}

fn command(target: &str) -> CommandId {
    CommandId::new(&target.parse().unwrap(), &CommandKey::new("/test", "1"))
}

fn result(worker: &str) -> ResultData {
    ResultData { worker: worker.to_owned(), ..support::worker::succeeded() }
}

fn lease_name(installation: &str) -> LeaseName {
    LeaseName { target: "dev".parse().unwrap(), installation: installation.to_owned() }
}

#[tokio::test]
async fn only_the_first_of_several_results_is_stored() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let delivery = test_env.pull_one().await.unwrap();
    let origin = origin(&delivery);
    assert_eq!(test_env.bus.find_result(&origin.command()).await.unwrap(), None);

    let commits = (0..8).map(|n| {
        let event = result_event(&origin, OffsetDateTime::now_utc(), &result(&format!("w{n}"))).unwrap();
        let (bus, origin) = (&test_env.bus, &origin);
        async move { bus.commit_result(origin, &event, Retention::Full).await.unwrap() }
    });
    let swaps = futures::future::join_all(commits).await;
    assert_eq!(swaps.iter().filter(|swap| matches!(swap, Swap::Won(_))).count(), 1, "{swaps:?}");
    let found = test_env.bus.find_result(&origin.command()).await.unwrap().expect("it is there");
    assert_eq!(found.fingerprint, origin.fingerprint());
    assert!(found.fingerprint.is_some());
}

/// The limit of the server (the client checks it) and the limit of the stream (the server answers with 10054).
#[tokio::test]
async fn result_above_a_size_limit_is_refused_as_too_large_at_once() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let origin = origin(&test_env.pull_one().await.unwrap());
    let large = |bytes: usize| {
        let result = ResultData { report: Some(json!({"text": "x".repeat(bytes)})), ..result("w") };
        result_event(&origin, OffsetDateTime::now_utc(), &result).unwrap()
    };
    let refused = async |bytes: usize| {
        let error = test_env.bus.commit_result(&origin, &large(bytes), Retention::Full).await.unwrap_err();
        assert!(matches!(error, sailhand::bus::Error::TooLarge { .. }), "{error}");
    };
    refused(64 * 1024 * 1024).await;
    let mut stream = test_env.bus.context().get_stream(test_env.bus.subjects().result_stream()).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    config.max_message_size = 16 * 1024;
    test_env.bus.context().update_stream(config).await.unwrap();
    refused(32 * 1024).await;
    assert!(test_env.bus.health().borrow().refused.is_empty(), "one large message does not make the worker unready");
    assert!(matches!(test_env.bus.commit_result(&origin, &large(16), Retention::Full).await.unwrap(), Swap::Won(_)));
}

/// Why a lost swap after a lost answer has to be looked at: the server compares the sequence before the message id.
#[tokio::test]
async fn a_swap_repeated_with_its_message_id_is_refused_like_any_other() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let client = async_nats::connect(test_env.server.url()).await.unwrap();
    let publish = async |id: &str| -> Value {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        let subject = "istio.res.dev.0123456789abcdef0123456789abcdef";
        let reply = client.request_with_headers(subject, headers, Bytes::from_static(b"{}")).await.unwrap();
        serde_json::from_slice(&reply.payload).unwrap()
    };
    assert_eq!(publish("a").await["seq"], 1);
    for id in ["a", "b"] {
        let refused = publish(id).await;
        assert_eq!(refused["error"]["err_code"], 10071, "{refused}");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_won() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let origin = origin(&test_env.pull_one().await.unwrap());
    let event = result_event(&origin, OffsetDateTime::now_utc(), &result("w")).unwrap();

    let proxy = TcpProxy::start(test_env.server.port()).await;
    let bus = connect(&format!("nats://127.0.0.1:{}", proxy.port())).await;
    bus.find_result(&origin.command()).await.unwrap(); // the connection's inbox is subscribed to from here on
    proxy.set(Link::LosesAnswer);
    let swap = bus.commit_result(&origin, &event, Retention::Full).await.unwrap();
    assert!(matches!(swap, Swap::Won(_)), "{swap:?}");
    assert!(!proxy.waits_for_answer(), "the answer was not lost");
}

#[tokio::test]
async fn a_lease_has_one_holder_and_its_fence_only_grows() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let name = lease_name("shop");
    let first = test_env.bus.acquire(&name, "a").await.unwrap().expect("nobody holds it");
    assert_eq!(test_env.bus.acquire(&name, "b").await.unwrap(), None);
    assert!(test_env.bus.acquire(&lease_name("other"), "b").await.unwrap().is_some(), "another installation is free");

    let renewed = test_env.bus.renew(&first, "a").await.unwrap().expect("it is held");
    assert!(renewed.revision > first.revision);
    assert_eq!(renewed.fence, first.fence);
    assert_eq!(test_env.bus.renew(&first, "a").await.unwrap(), None, "a stale renewal is refused");
    test_env.bus.release(&first).await.unwrap();
    assert_eq!(test_env.bus.acquire(&name, "b").await.unwrap(), None, "a stale release frees nothing");

    test_env.bus.release(&renewed).await.unwrap();
    let second = test_env.bus.acquire(&name, "b").await.unwrap().expect("it was released");
    assert!(second.fence > renewed.revision);
}

#[tokio::test]
async fn of_many_that_want_a_lease_one_gets_it() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let name = lease_name("shop");
    let wants = (0..16).map(|n| {
        let (bus, name) = (&test_env.bus, &name);
        async move { bus.acquire(name, &n.to_string()).await.unwrap() }
    });
    let got: Vec<Lease> = futures::future::join_all(wants).await.into_iter().flatten().collect();
    assert_eq!(got.len(), 1, "{got:?}");
}

/// The key-value client's own `create` over a marker writes a key without a time to live: ours must not.
#[tokio::test]
async fn a_lease_expires_also_when_it_was_taken_over_a_marker() {
    let test_env = BusEnv::new(quick()).await;
    let name = lease_name("shop");
    let first = test_env.bus.acquire(&name, "a").await.unwrap().unwrap();
    test_env.bus.release(&first).await.unwrap();
    let second = test_env.bus.acquire(&name, "a").await.unwrap().expect("the marker does not hold it");
    let taken = Instant::now();
    let third = eventually("the lease expires", SOON, async || test_env.bus.acquire(&name, "b").await.unwrap()).await;
    assert!(taken.elapsed() >= Duration::from_millis(1500), "it expired after {:?}", taken.elapsed());
    assert!(third.fence > second.fence);
    assert_eq!(test_env.bus.renew(&second, "a").await.unwrap(), None, "the old holder has lost it");
}

#[tokio::test]
async fn renewals_keep_a_lease_past_its_time_to_live() {
    let test_env = BusEnv::new(quick()).await;
    let name = lease_name("shop");
    let mut lease = test_env.bus.acquire(&name, "a").await.unwrap().unwrap();
    let begun = Instant::now();
    let mut renew = tokio::time::interval(Duration::from_millis(600));
    while begun.elapsed() < Duration::from_secs(4) {
        renew.tick().await;
        lease = test_env.bus.renew(&lease, "a").await.unwrap().expect("it was renewed in time");
        assert_eq!(test_env.bus.acquire(&name, "b").await.unwrap(), None);
    }
}

#[tokio::test]
async fn attempts_are_swapped() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let key = RecordKey::command(&command("dev"));
    let (attempts, revision) = test_env.bus.attempts(&key).await.unwrap();
    assert_eq!((attempts, revision), (AttemptRecord::default(), 0));
    let one = AttemptRecord { attempts: 1, worker: "a".to_owned(), ..AttemptRecord::default() };
    let Swap::Won(revision) = test_env.bus.record_attempts(&key, &one, 0).await.unwrap() else { panic!("nobody else") };
    assert_eq!(test_env.bus.attempts(&key).await.unwrap(), (one.clone(), revision));
    assert_eq!(test_env.bus.record_attempts(&key, &one, 0).await.unwrap(), Swap::Lost);
}

#[tokio::test]
async fn nak_is_redelivered_after_its_delay_and_counts_as_a_delivery() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let first = test_env.pull_one().await.unwrap();
    assert_eq!(first.delivered, 1);
    first.acker.settle(Settlement::Nak(Duration::from_millis(700))).await.unwrap();
    let asked = Instant::now();
    let second = eventually("it is delivered again", SOON, async || test_env.pull_one().await).await;
    assert!(asked.elapsed() >= Duration::from_millis(600), "after {:?}", asked.elapsed());
    assert_eq!((second.delivered, second.sequence), (2, first.sequence));
}

#[tokio::test]
async fn signs_of_life_keep_a_delivery_past_ack_wait() {
    let test_env = BusEnv::new(quick()).await;
    test_env.send("1").await;
    let delivery = test_env.pull_one().await.unwrap();
    let begun = Instant::now();
    let mut alive = tokio::time::interval(Duration::from_millis(600));
    while begun.elapsed() < Duration::from_secs(4) {
        alive.tick().await;
        delivery.acker.keep_alive().await.unwrap();
        let other = test_env.bus.pull(Queue::Commands, 1, Duration::from_millis(100)).next().await;
        assert!(other.is_none(), "it was delivered while it was worked on");
    }
    let again = eventually("it is delivered again", SOON, async || test_env.pull_one().await).await;
    assert_eq!(again.delivered, 2);
}

/// Acks are no fence. The engine must therefore never settle what it has lost.
#[tokio::test]
async fn a_stale_ack_removes_the_message_under_the_new_holder() {
    let test_env = BusEnv::new(quick()).await;
    test_env.send("1").await;
    let stale = test_env.pull_one().await.unwrap();
    let fresh = eventually("ack_wait passes", SOON, async || test_env.pull_one().await).await;
    assert_eq!(fresh.delivered, 2);
    stale.acker.settle(Settlement::Ack).await.unwrap();
    let mut stream = test_env.bus.context().get_stream("ISTIO_CMD").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn terminated_message_is_not_redelivered_and_its_reason_is_in_the_advisory() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let delivery = test_env.pull_one().await.unwrap();
    delivery.acker.settle(Settlement::Term("SH1003: no\nsuch verb".to_owned())).await.unwrap();
    assert!(test_env.pull_one().await.is_none());
    let advisory = eventually("the advisory is captured", SOON, async || {
        let subject = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.ISTIO_CMD.worker";
        let stream = test_env.bus.context().get_stream("ISTIO_ADV").await.unwrap();
        stream.get_last_raw_message_by_subject(subject).await.ok()
    })
    .await;
    let advisory: Value = serde_json::from_slice(&advisory.payload).unwrap();
    assert_eq!(advisory["reason"], "sailhand: SH1003: no such verb");
}

#[tokio::test]
async fn pull_returns_at_most_the_requested_number_and_ends() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    for id in ["1", "2", "3"] {
        test_env.send(id).await;
    }
    let taken: Vec<_> = test_env.bus.pull(Queue::Commands, 2, Duration::from_secs(1)).collect().await;
    assert_eq!(taken.len(), 2);
    let mut stream = test_env.bus.context().get_stream("ISTIO_CMD").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer = stream.get_consumer("worker").await.unwrap();
    assert_eq!(consumer.cached_info().num_ack_pending, 2);
    assert_eq!(stream.info().await.unwrap().state.messages, 3);
}

#[tokio::test]
async fn a_schedule_delivers_the_same_command_again_at_its_time() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    let first = test_env.pull_one().await.unwrap();
    let at = OffsetDateTime::now_utc() + Duration::from_secs(2);
    test_env.bus.schedule(&first, &origin(&first), at).await.unwrap();
    test_env.bus.schedule(&first, &origin(&first), at).await.unwrap(); // repeated after a lost answer
    first.acker.settle(Settlement::Ack).await.unwrap();
    let second = eventually("the schedule fires", SOON, async || test_env.pull_from(Queue::Waiting).await).await;
    assert!(OffsetDateTime::now_utc() >= at, "too early");
    assert_eq!(second.subject, first.subject);
    assert_eq!(second.payload, first.payload);
    assert_eq!(origin(&second), origin(&first));
    // The headers by which workers know their own schedules.
    let mut nats: Vec<_> = second.header_pairs().filter(|(name, _)| name.starts_with("Nats-")).collect();
    nats.sort_unstable(); // the client does not preserve their order
    let schedule = test_env.bus.subjects().schedule(&origin(&second).command());
    assert_eq!(nats, [("Nats-Schedule-Next", "purge"), ("Nats-Scheduler", schedule.as_str())]);
    second.acker.settle(Settlement::Ack).await.unwrap();
    for stream in ["ISTIO_CMD", "ISTIO_WAIT"] {
        let stream = test_env.bus.context().get_stream(stream).await.unwrap();
        eventually("nothing is left", SOON, async || {
            (stream.get_info().await.unwrap().state.messages == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn cancelled_waiting_command_is_redelivered_once_before_its_time() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let other = connect(&test_env.server.url()).await;
    test_env.bus.follow_control(stop.clone()).await.unwrap();
    other.follow_control(stop.clone()).await.unwrap();
    let key = test_env.send("1").await;
    let first = test_env.pull_one().await.unwrap();
    test_env.bus.schedule(&first, &origin(&first), OffsetDateTime::now_utc() + Duration::from_hours(1)).await.unwrap();
    first.acker.settle(Settlement::Ack).await.unwrap();
    let other_target = CommandId::new(&"other".parse().unwrap(), &key);
    test_env.bus.cancel(&other_target, "test").await.unwrap();
    assert!(test_env.pull_from(Queue::Waiting).await.is_none(), "it is another target's");
    test_env.bus.cancel(&origin(&first).command(), "test").await.unwrap();
    let second = eventually("it comes back", SOON, async || test_env.pull_from(Queue::Waiting).await).await;
    assert_eq!(second.payload, first.payload);
    second.acker.settle(Settlement::Ack).await.unwrap();
    let info = async |stream| test_env.bus.context().get_stream(stream).await.unwrap().cached_info().state.clone();
    assert_eq!(info("ISTIO_CMD").await.messages + info("ISTIO_WAIT").await.messages, 0, "nothing is left");
    stop.cancel();
}

#[tokio::test]
async fn a_command_sent_twice_is_queued_once() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    test_env.send("1").await;
    test_env.send("1").await;
    let mut stream = test_env.bus.context().get_stream("ISTIO_CMD").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn blobs_are_read_completely_within_their_limit() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let bytes = vec![b'x'; 300_000];
    test_env.bus.upload("istio_blob".to_owned(), "name", &bytes).await.unwrap();
    test_env.bus.upload("istio_blob".to_owned(), "name", &bytes).await.unwrap();
    assert_eq!(test_env.bus.blob("istio_blob", "name", 300_000).await.unwrap(), bytes);
    assert!(test_env.bus.blob("istio_blob", "name", 299_999).await.is_err());
    assert!(test_env.bus.blob("istio_blob", "other", 1).await.is_err());
}

#[tokio::test]
async fn cancellation_reaches_running_and_later_commands() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let command = command("dev");
    let stop = tokio_util::sync::CancellationToken::new();
    test_env.bus.follow_control(stop.clone()).await.unwrap();
    let running = test_env.bus.control().listen(&command);
    let cancellation = Cancellation::of_all_targets(&command.key);
    test_env.bus.request_cancel(&cancellation, &json!({})).await.unwrap();
    tokio::time::timeout(SOON, running.cancelled()).await.expect("the running command is told");

    let later = Arc::new(connect(&test_env.server.url()).await);
    later.follow_control(stop.clone()).await.unwrap();
    eventually("a new worker knows", SOON, async || later.control().is_cancelled(&command).then_some(())).await;
    stop.cancel();
}

#[tokio::test]
async fn a_pause_outlives_the_age_of_its_bucket_and_a_cancellation_does_not() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let context = test_env.bus.context();
    let mut config = context.get_stream("KV_istio_control").await.unwrap().get_info().await.unwrap().config;
    (config.max_age, config.duplicate_window) = (Duration::from_secs(1), Duration::from_secs(1));
    context.update_stream(config).await.unwrap();
    let target = "dev".parse().unwrap();
    test_env.bus.pause(&target, &json!({"reason": "test"})).await.unwrap();
    test_env.bus.cancel(&command("dev"), "test").await.unwrap();
    let stream = context.get_stream("KV_istio_control").await.unwrap();
    eventually("the cancellation has gone", SOON, async || {
        (stream.get_info().await.unwrap().state.messages == 1).then_some(())
    })
    .await;
    assert!(test_env.bus.last("KV_istio_control", "$KV.istio_control.pause.dev").await.unwrap().is_some());
}

/// What the check of a delivery's headers relies on: the server writes the subject of the schedule itself, removes what the
/// sender wrote there, and refuses it from clients that publish.
#[tokio::test]
async fn scheduled_message_names_its_schedule_and_clients_cannot_forge_that() {
    let test_env = BusEnv::new(config::Bus::default()).await;
    let publish = async |subject: &'static str, headers: &[(&'static str, &str)]| {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        test_env.bus.context().publish_with_headers(subject, all, "{}".into()).await.unwrap().await
    };
    let forged = ("Nats-Scheduler", "istio.sched.prod.0123456789abcdef0123456789abcdef");
    let carrier = [
        ("Nats-Schedule", "@at 2020-01-01T00:00:00Z"),
        ("Nats-Schedule-Target", "istio.due.prod.mesh.uninstall"),
        forged,
    ];
    let schedule = "istio.sched.dev.0123456789abcdef0123456789abcdef";
    assert!(publish(schedule, &[forged]).await.is_err(), "a client's Nats-Scheduler is refused");
    assert!(publish(schedule, &carrier).await.is_err(), "beside a schedule it is refused too");
    publish(schedule, &carrier[..2]).await.unwrap();
    let stream = test_env.bus.context().get_stream("ISTIO_WAIT").await.unwrap();
    let child = eventually("the schedule has published", SOON, async || {
        stream.get_last_raw_message_by_subject("istio.due.prod.mesh.uninstall").await.ok()
    })
    .await;
    let schedulers: Vec<_> = child.headers.get_all("Nats-Scheduler").map(|value| value.as_str().to_owned()).collect();
    assert_eq!(schedulers, [schedule]);
    assert!(child.headers.get("Nats-Schedule-Target").is_none());
}
