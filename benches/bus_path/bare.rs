//! The messages of one command on the NATS client and nothing else: the floor for any worker of this design.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Request;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use sailhand::bus::Subjects;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::{Latencies, engine};

/// What the engine wrote for one command, to be written for all.
#[derive(Clone)]
pub struct Sample {
    command: usize,
    attempt: Bytes,
    started: Bytes,
    result: Bytes,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, attempt, started, result } = self;
        write!(
            f,
            "command {command}, attempt record {}, started {}, result {}",
            attempt.len(),
            started.len(),
            result.len()
        )
    }
}

/// Lets the engine carry out one command and takes what it wrote.
pub async fn sample() -> Sample {
    let queue = Queue::start(1).await;
    queue.fill(1).await;
    let bus = queue.connect().await;
    let subjects = bus.subjects().clone();
    let last = async |stream: &str| bus.last(stream, ">").await.unwrap().unwrap().payload;
    let command = last(&subjects.command_stream()).await.len();
    let latencies = Arc::new(Latencies::new(1));
    let stop = CancellationToken::new();
    let running = tokio::spawn(engine::worker(bus.clone(), 1, latencies.clone(), stop.clone()).await);
    latencies.all.notified().await;
    stop.cancel();
    running.abort();
    Sample {
        command,
        attempt: last(&format!("KV_{}", subjects.attempt_bucket())).await,
        started: last(&subjects.event_stream()).await,
        result: last(&subjects.result_stream()).await,
    }
}

struct Worker {
    client: Client,
    context: Context,
    results: Stream<()>,
    sample: Sample,
    subjects: Subjects,
    latencies: Arc<Latencies>,
}

/// Pulls as the engine does, no more than is free, and carries each message in a task of its own; until dropped.
pub async fn worker(
    client: Client,
    sample: &Sample,
    slots: usize,
    latencies: Arc<Latencies>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let context = jetstream::new(client.clone());
    let subjects = Subjects::new("istio");
    let consumer: PullConsumer = context.get_consumer_from_stream("worker", subjects.command_stream()).await.unwrap();
    let results = context.get_stream_no_info(subjects.result_stream()).await.unwrap();
    let worker = Arc::new(Worker { client, context, results, sample: sample.clone(), subjects, latencies });
    async move {
        let free = Arc::new(Semaphore::new(slots));
        let mut commands = JoinSet::new(); // which end with this
        loop {
            while commands.try_join_next().is_some() {}
            let mut permits = free.clone().acquire_owned().await.unwrap();
            let more = u32::try_from(free.available_permits()).unwrap();
            if let Ok(rest) = free.clone().try_acquire_many_owned(more) {
                permits.merge(rest);
            }
            let batch = consumer.batch().max_messages(permits.num_permits()).expires(Duration::from_secs(2));
            let mut batch = batch.messages().await.unwrap();
            while let Some(message) = batch.next().await {
                let (message, received) = (message.unwrap().message, Instant::now());
                let (worker, permit) = (Arc::clone(&worker), permits.split(1));
                commands.spawn(async move {
                    worker.carry(message).await;
                    worker.latencies.settled(received);
                    drop(permit);
                });
            }
        }
    }
}

impl Worker {
    async fn carry(&self, message: async_nats::Message) {
        let key = message.headers.as_ref().unwrap().get(NATS_MESSAGE_ID).unwrap().as_str();
        let result = format!("istio.res.dev.{key}");
        let found = self.results.direct_get_last_for_subject(result.as_str()).await;
        assert_eq!(found.unwrap_err().kind(), DirectGetErrorKind::NotFound);
        let Sample { attempt, started, result: ended, .. } = &self.sample;
        self.write(format!("$KV.{}.{key}", self.subjects.attempt_bucket()), key, true, attempt).await;
        self.write(format!("istio.evt.dev.{key}.started"), &format!("{key}.1.0"), false, started).await;
        self.write(result, key, true, ended).await;
        let ack = Request::new().payload("+ACK".into());
        self.client.send_request(message.reply.unwrap(), ack).await.unwrap();
    }

    async fn write(&self, subject: String, id: &str, swap: bool, payload: &Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        headers.insert(NATS_MESSAGE_ID, id);
        if swap {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        self.context.publish_with_headers(subject, headers, payload.clone()).await.unwrap().await.unwrap();
    }
}
