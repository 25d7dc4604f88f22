//! What bounds the storage that cheap commands and rejected messages take, on a real server.

use crate::support;

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use futures::StreamExt;
use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::bus::{AttemptRecord, Bus as _, DeadLetter, DeadReason, Delivery, Queue, RecordKey, Retention, Swap};
use sailhand::client::{Client, Filter};
use sailhand::config::{Bus, Config};
use sailhand::error::Problem;
use sailhand::event::{Origin, Target, decode, result_event};
use serde_json::json;
use support::nats::NatsServer;
use support::worker::{draft, succeeded};
use time::OffsetDateTime;

const WITHIN: Duration = Duration::from_secs(10);

struct BusEnv {
    _server: NatsServer,
    client: Client,
}

impl BusEnv {
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        let client = Client::connect(&config).await.unwrap();
        topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
        Self { _server: server, client }
    }

    /// Sends a command and takes it off the queue.
    async fn command(&self, echo: &str) -> (Origin, Delivery) {
        let target: Target = "dev".parse().unwrap();
        self.client.submit(&target, draft("ping", json!({"echo": echo}))).await.unwrap();
        let delivery = self.client.bus().pull(Queue::Commands, 1, WITHIN).next().await.unwrap().unwrap();
        let command = decode(&target, "ping", &delivery.header_pairs(), &delivery.payload).unwrap();
        (command.origin, delivery)
    }

    async fn ttl(&self, stream: &str, subject: &str) -> Option<String> {
        let stored: StreamMessage = self.client.bus().last(stream, subject).await.unwrap().unwrap();
        stored.headers.get("Nats-TTL").map(|value| value.as_str().to_owned())
    }
}

#[tokio::test]
async fn results_and_records_of_commands_that_write_nothing_expire() {
    let test_env = BusEnv::new().await;
    let bus = test_env.client.bus();
    for (retention, read_only, ttls) in [
        (Retention::Short, true, (Some("86400s".to_owned()), Some("172800s".to_owned()))),
        (Retention::Full, false, (None, None)),
    ] {
        let (origin, _delivery) = test_env.command("x").await;
        let event = result_event(&origin, OffsetDateTime::now_utc(), &succeeded()).unwrap();
        assert!(matches!(bus.commit_result(&origin, &event, retention).await.unwrap(), Swap::Won(_)));
        assert!(bus.find_result(&origin.command()).await.unwrap().is_some());
        let key = RecordKey::command(&origin.command());
        let waiting = AttemptRecord { read_only, ..AttemptRecord::default() };
        let Swap::Won(revision) = bus.record_attempts(&key, &waiting, 0).await.unwrap() else { panic!("the first") };
        let record = bus.subjects().attempts(&key);
        assert_eq!(test_env.ttl("KV_istio_attempt", &record).await, None, "a command that waits stays bound to its id");
        let begun = AttemptRecord { attempts: 1, ..waiting };
        assert!(matches!(bus.record_attempts(&key, &begun, revision).await.unwrap(), Swap::Won(_)));
        let found = (
            test_env.ttl("ISTIO_RES", &bus.subjects().result(&origin.command())).await,
            test_env.ttl("KV_istio_attempt", &record).await,
        );
        assert_eq!(found, ttls, "{retention:?}");
    }
}

#[tokio::test]
async fn message_ttls_are_enabled_in_an_existing_installation() {
    let test_env = BusEnv::new().await;
    let bus = test_env.client.bus();
    let declared = Topology::new(&Bus { prefix: "second".to_owned(), ..Bus::default() });
    let mut earlier = declared.clone();
    for stream in &mut earlier.streams {
        if stream.name == "SECOND_RES" || stream.name == "KV_second_attempt" {
            stream.allow_message_ttl = false;
        }
    }
    topology::apply(bus, &earlier).await.unwrap();
    let applied = topology::apply(bus, &declared).await.unwrap();
    let updated = applied.iter().filter(|applied| applied.action == "updated").map(|applied| applied.name.as_str());
    assert_eq!(updated.collect::<Vec<_>>(), ["SECOND_RES", "KV_second_attempt"]);
}

#[tokio::test]
async fn cut_dead_letter_has_the_beginning_of_its_message_and_is_not_replayed() {
    let test_env = BusEnv::new().await;
    let (origin, delivery) = test_env.command(&"x".repeat(1000)).await;
    let problem = Problem {
        code: "SH1005".to_owned(),
        class: "rejected".to_owned(),
        message: "it is not valid".to_owned(),
        causes: Vec::new(),
        remedy: String::new(),
    };
    for (most_bytes, cut_from_bytes) in [(Some(100), Some(delivery.payload.len() as u64)), (None, None)] {
        let (key, worker, time) = (Some(&origin.key), "w", OffsetDateTime::now_utc());
        // Each is a message of its own.
        let delivery = Delivery { sequence: 1 + most_bytes.unwrap_or_default() as u64, ..delivery.clone() };
        let (delivery, reason, problem) = (&delivery, DeadReason::Rejected, &problem);
        let letter = DeadLetter { delivery, key, reason, problem, worker, time, most_bytes };
        test_env.client.bus().dead_letter(&letter).await.unwrap();
        let filter = Filter { limit: 10, ..Filter::default() };
        let found = test_env.client.dead_letters(&filter).await.unwrap().pop().unwrap();
        assert_eq!((found.cut_from_bytes, found.event.is_none()), (cut_from_bytes, most_bytes.is_some()));
        let replayed = test_env.client.replay(&found).await;
        match most_bytes {
            None => assert!(replayed.is_ok()),
            Some(_) => assert!(replayed.unwrap_err().to_string().contains("only the beginning of its")),
        }
    }
}
