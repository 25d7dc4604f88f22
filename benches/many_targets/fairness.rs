//! A ping of a quiet target, alone and while others are flooded with commands that write. Beside each ping, the same
//! number of messages without a worker: what the machine itself adds under this load.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::{self, Context, consumer, stream};
use futures::StreamExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::{Bench, Results, apply};
use crate::measure::{quantile, table};

/// Pings, one after the other.
const PINGS: usize = 300;
/// Between two pings.
const PAUSE: Duration = Duration::from_millis(20);
/// Messages that a worker writes for one command: record, `started`, result.
const WRITES: usize = 3;

pub async fn measure(targets: usize, workers: usize, slots: usize, flooded: usize, backlog: usize) {
    let bench = Bench::start(targets).await;
    let _workers = bench.workers(workers, slots).await;
    let (busy, quiet) = bench.targets.split_at(flooded);
    let quiet = &quiet[0].name;
    let mut results = bench.results().await;
    let mut bare = Bare::start(&bench).await;
    let alone = pings(&bench, &mut results, &mut bare, quiet, |_| true).await;
    let commands = flooded * backlog;
    let start = Instant::now();
    let namespace = |number: usize| busy[number % flooded].namespace.as_str();
    bench.fill(busy, commands, |number| ("config.apply", apply(&format!("f{number}"), namespace(number)))).await;
    let mut left = commands;
    let flooded_targets: HashSet<&str> = busy.iter().map(|target| target.name.as_str()).collect();
    let beside = pings(&bench, &mut results, &mut bare, quiet, |ended| {
        left -= usize::from(flooded_targets.contains(ended));
        left > 0
    })
    .await;
    println!(
        "ping of a quiet target, from before its publish to its result; {flooded} targets have {commands} queued config.apply of one object, {left} are left after {:.1} s:",
        start.elapsed().as_secs_f64()
    );
    while left > 0 {
        left -= usize::from(flooded_targets.contains(results.next().await.target.as_str()));
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut rows = vec![["", "pings", "p50 ms", "p99 ms", "worst ms"].map(str::to_owned).to_vec()];
    for (when, Taken { mut pings, mut bare }) in [("alone", alone), ("beside", beside)] {
        println!("first ping {when}: {:.1} ms", pings[0].as_secs_f64() * 1e3);
        let of = |taken: &mut Vec<Duration>, share| format!("{:.1}", quantile(taken, share));
        for (what, taken) in [("ping", &mut pings), ("messages only", &mut bare)] {
            let figures = [of(taken, 0.5), of(taken, 0.99), of(taken, 1.0)];
            let mut row = vec![format!("{what}, {when}"), taken.len().to_string()];
            row.extend(figures);
            rows.push(row);
        }
    }
    table(&rows);
    println!("config.apply of the flooded targets: {:.0} commands/s", commands as f64 / seconds);
}

/// Times of pings and of the messages between them. The first ping has the whole backlog before it.
struct Taken {
    pings: Vec<Duration>,
    bare: Vec<Duration>,
}

/// One after the other, until there are [`PINGS`] or `goes_on` is false for the target of another result.
async fn pings(
    bench: &Bench,
    results: &mut Results,
    bare: &mut Bare,
    target: &str,
    mut goes_on: impl FnMut(&str) -> bool,
) -> Taken {
    let mut taken = Taken { pings: Vec::new(), bare: Vec::new() };
    let mut is_on = true;
    while is_on && taken.pings.len() < PINGS {
        let start = Instant::now();
        bench.send(target, "ping", json!({})).await;
        loop {
            let ended = results.next().await;
            if ended.target == target {
                taken.pings.push(ended.at - start);
                break;
            }
            is_on = goes_on(&ended.target);
        }
        tokio::time::sleep(PAUSE).await;
        taken.bare.push(bare.exchange().await);
        tokio::time::sleep(PAUSE).await;
    }
    taken
}

/// A stream of its own on the same server, and a consumer that waits for its messages.
struct Bare {
    context: Context,
    stream: stream::Stream,
    messages: consumer::pull::Stream,
}

impl Bare {
    async fn start(bench: &Bench) -> Self {
        let url = bench.server.url();
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        let subjects = vec!["bench.>".to_owned()];
        let config = stream::Config { name: "BENCH".into(), subjects, allow_direct: true, ..Default::default() };
        let stream = context.create_stream(config).await.unwrap();
        let config = consumer::pull::Config { filter_subject: "bench.in".into(), ..Default::default() };
        let messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
        Self { context, stream, messages }
    }

    /// What a command costs in messages: publish, delivery, one read, the writes of the worker, acknowledgement.
    async fn exchange(&mut self) -> Duration {
        let start = Instant::now();
        self.publish("bench.in").await;
        let message = self.messages.next().await.unwrap().unwrap();
        assert!(self.stream.direct_get_last_for_subject("bench.none").await.is_err());
        for _ in 0..WRITES {
            self.publish("bench.out").await;
        }
        let taken = start.elapsed();
        message.double_ack().await.unwrap();
        taken
    }

    async fn publish(&self, subject: &'static str) {
        self.context.publish(subject, vec![b'x'; 512].into()).await.unwrap().await.unwrap();
    }
}
