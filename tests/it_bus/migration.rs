//! `sailhand topology apply` on an installation whose command stream also has the schedules of waiting commands: the
//! topology of commit 9bc9478.

use crate::support;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use sailhand::bus::Subjects;
use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::client::{Client, Observed, State};
use sailhand::config::Config;
use sailhand::event::{CommandDraft, CommandId, CommandKey, Outcome, Target, rfc3339};
use sailhand::task::Registry;
use serde_json::json;
use support::eventually::eventually;
use support::nats::NatsServer;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::in_process::start_worker;

const WITHIN: Duration = Duration::from_secs(30);
const QUEUED: usize = 30;
const WAITING: usize = 20;

struct BusEnv {
    _server: NatsServer,
    config: Config,
    client: Client,
    declared: Topology,
}

impl BusEnv {
    /// A server with the earlier topology.
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        let client = Client::connect(&config).await.unwrap();
        let declared = Topology::new(&config.bus);
        for stream in earlier_streams(&declared) {
            client.bus().context().create_stream(stream).await.unwrap();
        }
        for (stream, consumer) in &declared.consumers[..2] {
            client.bus().context().create_consumer_on_stream(consumer.clone(), stream).await.unwrap();
        }
        Self { _server: server, config, client, declared }
    }

    /// Commands in the queue.
    async fn queue(&self) -> Vec<CommandKey> {
        let mut keys = Vec::new();
        for _ in 0..QUEUED {
            keys.push(self.client.submit(&dev(), draft()).await.unwrap().key);
        }
        keys
    }

    /// Commands that a worker of the earlier version has scheduled.
    async fn schedule(&self, after: Duration) -> Vec<CommandKey> {
        let mut keys = Vec::new();
        for _ in 0..WAITING {
            let draft = draft();
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Schedule", format!("@at {}", rfc3339(OffsetDateTime::now_utc() + after)));
            headers.insert("Nats-Schedule-Target", "istio.cmd.dev.ping");
            headers.insert("Nats-Rollup", "sub");
            headers.insert("Content-Type", "application/cloudevents+json");
            let subject = Subjects::new("istio").schedule(&CommandId::new(&dev(), &draft.key()));
            let event = serde_json::to_vec(&draft.event(&dev(), OffsetDateTime::now_utc()).unwrap()).unwrap();
            let context = self.client.bus().context();
            context.publish_with_headers(subject, headers, event.into()).await.unwrap().await.unwrap();
            keys.push(draft.key());
        }
        keys
    }

    async fn apply(&self) -> Vec<(String, &'static str)> {
        let applied = topology::apply(self.client.bus(), &self.declared).await.unwrap();
        applied.into_iter().map(|one| (one.name, one.action)).collect()
    }

    /// A worker of this version.
    async fn start_worker(&self, stop: &CancellationToken) {
        topology::verify(self.client.bus(), &self.declared).await.unwrap();
        start_worker(&self.config, Registry::standard(), &["dev"], stop).await;
    }

    /// Each command succeeds, and no other message is left.
    async fn all_succeed(&self, keys: &[CommandKey]) {
        for key in keys {
            let outcome = eventually(&format!("command {key} ends"), WITHIN, async || {
                match self.client.state(key).await.ok()? {
                    State::Ended(observation) => match observation.observed {
                        Observed::Result(result) => Some(result.outcome),
                        _ => None,
                    },
                    _ => None,
                }
            })
            .await;
            assert_eq!(outcome, Outcome::Succeeded);
        }
        for stream in ["ISTIO_CMD", "ISTIO_WAIT"] {
            eventually("the queues are empty", WITHIN, async || (self.messages(stream).await == 0).then_some(())).await;
        }
        assert_eq!(self.messages("ISTIO_RES").await, keys.len() as u64);
        assert_eq!(self.messages("ISTIO_DLQ").await, 0);
    }

    async fn messages(&self, stream: &str) -> u64 {
        self.client.bus().context().get_stream(stream).await.unwrap().cached_info().state.messages
    }
}

/// The streams of commit 9bc9478, where they differ from those of today.
fn earlier_streams(declared: &Topology) -> Vec<StreamConfig> {
    let streams = declared.streams.iter().filter(|stream| stream.name != "ISTIO_WAIT");
    let streams = streams.map(|stream| match stream.name.as_str() {
        "ISTIO_CMD" => StreamConfig {
            subjects: vec!["istio.cmd.>".to_owned(), "istio.sched.>".to_owned()],
            discard: DiscardPolicy::Old,
            max_bytes: 0,
            max_message_size: 512 * 1024 + 8 * 1024,
            allow_message_schedules: true,
            allow_rollup: true,
            allow_message_ttl: true,
            ..stream.clone()
        },
        "ISTIO_ADV" => StreamConfig {
            subjects: ["MAX_DELIVERIES", "MSG_TERMINATED"]
                .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.ISTIO_CMD.>"))
                .into(),
            ..stream.clone()
        },
        _ => stream.clone(),
    });
    streams.collect()
}

fn dev() -> Target {
    "dev".parse().unwrap()
}

fn draft() -> CommandDraft {
    support::worker::draft("ping", json!({}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_installation_is_migrated_without_losing_a_command() {
    let test_env = BusEnv::new().await;
    let mut keys = test_env.queue().await;
    keys.extend(test_env.schedule(Duration::from_secs(8)).await);
    keys.extend(test_env.schedule(Duration::from_millis(200)).await); // become due while they move
    let applied = test_env.apply().await;
    assert_eq!(applied[0], ("ISTIO_CMD".to_owned(), "migrated"));
    topology::verify(test_env.client.bus(), &test_env.declared).await.unwrap();
    assert!(
        test_env.apply().await.iter().all(|(_, action)| *action == "unchanged"),
        "the second apply changes nothing"
    );
    assert_eq!(test_env.client.state(&keys[0]).await.unwrap(), State::Queued);
    assert_eq!(test_env.client.state(&keys[QUEUED]).await.unwrap(), State::Queued);

    let stop = CancellationToken::new();
    test_env.start_worker(&stop).await;
    keys.extend(test_env.queue().await);
    test_env.all_succeed(&keys).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_migration_continues_and_loses_no_command() {
    let test_env = BusEnv::new().await;
    let mut keys = test_env.queue().await;
    keys.extend(test_env.schedule(Duration::from_secs(3)).await);
    // Each interruption comes a little later than the one before: in every step of the migration.
    let (mut interruptions, mut failures) = (0, 0);
    for micros in (0..).step_by(700) {
        let limit = Duration::from_micros(micros);
        let apply = topology::apply(test_env.client.bus(), &test_env.declared);
        match tokio::time::timeout(limit, apply).await {
            Ok(Ok(_)) => break,
            // The server may still execute what an interrupted call has asked for.
            Ok(Err(error)) if failures < 3 => {
                println!("after {interruptions} interruptions: {error}");
                failures += 1;
            }
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => interruptions += 1,
        }
    }
    assert!(interruptions > 3, "{interruptions} interruptions");
    topology::verify(test_env.client.bus(), &test_env.declared).await.unwrap();
    let stop = CancellationToken::new();
    test_env.start_worker(&stop).await;
    test_env.all_succeed(&keys).await;
    stop.cancel();
}

/// A schedule that a producer published in the earlier installation stays refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_does_not_make_a_forged_schedule_acceptable() {
    let test_env = BusEnv::new().await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Schedule", "@at 2020-01-01T00:00:00Z");
    headers.insert("Nats-Schedule-Target", "istio.cmd.dev.ping");
    let event = draft().event(&dev(), OffsetDateTime::now_utc()).unwrap();
    let event = serde_json::to_vec(&event).unwrap();
    let context = test_env.client.bus().context();
    context.publish_with_headers("istio.cmd.staging.ping", headers, event.into()).await.unwrap().await.unwrap();
    eventually("the server has published it on the other target", WITHIN, async || {
        test_env.client.bus().last("ISTIO_CMD", "istio.cmd.dev.ping").await.unwrap()
    })
    .await;
    test_env.apply().await;
    let stop = CancellationToken::new();
    test_env.start_worker(&stop).await;
    let letter = eventually("it is refused", WITHIN, async || {
        test_env.client.bus().last("ISTIO_DLQ", "istio.dlq.rejected.dev.>").await.unwrap()
    })
    .await;
    assert_eq!(letter.headers.get("Istio-Dlq-Code").unwrap().as_str(), "SH1018");
    assert_eq!(letter.headers.get("Istio-Dlq-Subject").unwrap().as_str(), "istio.cmd.dev.ping");
    assert_eq!(test_env.messages("ISTIO_RES").await, 0);
    stop.cancel();
}
