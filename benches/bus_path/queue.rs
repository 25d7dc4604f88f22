//! A server with the real streams and a queue of `ping` commands. Its own connection, closed before anything is timed.

use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::Subjects;
use sailhand::bus::nats::{self, NatsBus};
use sailhand::bus::topology::Topology;
use sailhand::config::Config;
use sailhand::event::{CommandDraft, Target};
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::support::nats::NatsServer;

/// Publishes at once; the server takes some 50,000 each second.
const AT_ONCE: usize = 64;

pub struct Queue {
    server: NatsServer,
    config: Config,
}

impl Queue {
    pub async fn start() -> Self {
        let server = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        let queue = Self { server, config };
        let bus = queue.connect().await;
        nats::topology::apply(&bus, &Topology::new(&queue.config.bus)).await.unwrap();
        bus.close().await;
        queue
    }

    /// A new connection, as a worker makes it.
    pub async fn connect(&self) -> NatsBus {
        let connection = nats::connect(&self.config.nats, "bench", false).await.unwrap();
        NatsBus::new(connection, Subjects::new(&self.config.bus.prefix))
    }

    /// The same without anything of sailhand.
    pub async fn connect_bare(&self) -> async_nats::Client {
        async_nats::connect(self.server.url()).await.unwrap()
    }

    pub async fn fill(&self, commands: usize) {
        let bus = self.connect().await;
        let sent = futures::stream::iter(0..commands).map(|n| send(&bus, n)).buffer_unordered(AT_ONCE);
        sent.collect::<()>().await;
        bus.close().await;
    }

    /// How many results there are.
    pub async fn results(&self) -> usize {
        let bus = self.connect().await;
        let mut stream = bus.context().get_stream(bus.subjects().result_stream()).await.unwrap();
        usize::try_from(stream.info().await.unwrap().state.messages).unwrap()
    }

    /// Sends each command after the result of the one before.
    pub async fn one_by_one(&self, commands: usize) -> Vec<Duration> {
        let bus = self.connect().await;
        let mut results = self.connect_bare().await.subscribe(bus.subjects().results()).await.unwrap();
        let mut taken = Vec::with_capacity(commands);
        for n in 0..commands {
            let sent = Instant::now();
            send(&bus, n).await;
            results.next().await.unwrap();
            taken.push(sent.elapsed());
        }
        taken
    }
}

async fn send(bus: &NatsBus, n: usize) {
    let target: Target = "dev".parse().unwrap();
    let draft = CommandDraft {
        id: format!("7d4d3c39-0a5e-4f0e-9b8b-{n:012}"),
        source: "/bench/bus-path".to_owned(),
        verb: "ping".to_owned(),
        params: json!({ "echo": "hello" }),
        ..CommandDraft::default()
    };
    let event = draft.event(&target, OffsetDateTime::now_utc()).unwrap();
    bus.send_command(&target, &draft.verb, &draft.key(), &event).await.unwrap();
}
