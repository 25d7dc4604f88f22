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

use super::support::eventually::eventually;
use super::support::nats::NatsServer;

/// Publishes at once; the server takes some 50,000 each second.
const AT_ONCE: usize = 64;

pub struct Queue {
    servers: Vec<NatsServer>,
    config: Config,
}

impl Queue {
    /// One server, or a cluster of three.
    pub async fn start(replicas: usize) -> Self {
        let servers = if replicas == 1 { vec![NatsServer::start().await] } else { NatsServer::cluster().await };
        let mut config = Config::default();
        config.bus.replicas = replicas;
        config.nats.url = vec![servers[0].url()];
        let mut queue = Self { servers, config };
        let bus = queue.connect().await;
        // Three servers have to find each other first; until they have a leader, they do not answer.
        eventually("the servers have a leader", Duration::from_mins(1), async || {
            let asked = tokio::time::timeout(Duration::from_millis(300), bus.context().query_account());
            asked.await.ok()?.ok()
        })
        .await;
        let topology = Topology::new(&queue.config.bus);
        eventually("the streams are made", Duration::from_mins(1), async || {
            nats::topology::apply(&bus, &topology).await.ok()
        })
        .await;
        if replicas > 1 {
            let leader = leader(&bus).await;
            // Both paths talk to the server that leads the commands, or chance decides which is faster.
            let leads = queue.servers.iter().find(|server| Some(server.name()) == leader.as_deref()).unwrap();
            queue.config.nats.url = vec![leads.url()];
        }
        bus.close().await;
        queue
    }

    /// A new connection, as a worker makes it.
    pub async fn connect(&self) -> NatsBus {
        let connection = nats::connect(&self.config.nats, "bench", false).await.unwrap();
        NatsBus::new(connection, Subjects::new(&self.config.bus.prefix))
    }

    /// Connects with the plain client.
    pub async fn connect_bare(&self) -> async_nats::Client {
        async_nats::connect(self.config.nats.url[0].clone()).await.unwrap()
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

async fn leader(bus: &NatsBus) -> Option<String> {
    let stream = bus.context().get_stream(bus.subjects().command_stream()).await.unwrap();
    stream.cached_info().cluster.as_ref()?.leader.clone()
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
