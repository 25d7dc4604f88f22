//! A dashboard process with a bus.

use std::ops::Deref;
use std::time::Duration;

use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, DeadLetter, DeadReason, Delivery, Queue, Retention, Settlement, Subjects};
use sailhand::client::Client;
use sailhand::config::Config;
use sailhand::error::Problem;
use sailhand::event::{CommandKey, EventKind, Origin, ResultData, Started, decode, progress_event, result_event};
use sailhand::progress::Step;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::process::Command;

use crate::support::eventually::eventually;
use crate::support::http::{self, Response, Server};
use crate::support::nats::NatsServer;
use crate::support::worker::{draft, succeeded};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A bus with its streams.
pub struct DashboardEnv {
    pub nats: NatsServer,
    pub client: Client,
    bus: NatsBus,
}

impl DashboardEnv {
    pub async fn new() -> Self {
        let nats = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![nats.url()];
        let client = Client::connect(&config).await.unwrap();
        topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
        let bus = NatsBus::new(nats::connect(&config.nats, "test", false).await.unwrap(), Subjects::new("istio"));
        Self { nats, client, bus }
    }

    pub async fn dashboard(&self, args: &[&str]) -> Dashboard {
        Dashboard::start(&[&["--nats-url", &self.nats.url()], args].concat()).await
    }

    /// Sends a command that no worker executes, and takes it from the queue.
    pub async fn command(&self, verb: &str, params: Value) -> Origin {
        self.command_on("dev", verb, params).await
    }

    pub async fn command_on(&self, target: &str, verb: &str, params: Value) -> Origin {
        self.client.submit(&target.parse().unwrap(), draft(verb, params)).await.unwrap();
        self.take().await.origin
    }

    /// Takes a command from the queue.
    pub async fn take(&self) -> sailhand::event::Command {
        self.pull().await.1
    }

    async fn pull(&self) -> (Delivery, sailhand::event::Command) {
        use futures::StreamExt;
        let mut batch = self.bus.pull(Queue::Commands, 1, Duration::from_secs(5));
        let delivery = batch.next().await.expect("a command").unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        let command = decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap();
        (delivery, command)
    }

    /// Sends a command and moves it to the waiting stream, as a worker does while the lease belongs to another command.
    pub async fn waiting_command_on(&self, target: &str, verb: &str, params: Value) {
        self.client.submit(&target.parse().unwrap(), draft(verb, params)).await.unwrap();
        let (delivery, command) = self.pull().await;
        let due = OffsetDateTime::now_utc() + Duration::from_hours(1);
        self.bus.schedule(&delivery, &command.origin, due).await.unwrap();
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    }

    /// Sends a command and rejects it, as a worker does.
    pub async fn dead_letter(&self, verb: &str, params: Value) {
        self.client.submit(&"dev".parse().unwrap(), draft(verb, params)).await.unwrap();
        let (delivery, command) = self.pull().await;
        let problem = Problem {
            code: "SH1005".to_owned(),
            class: "rejected".to_owned(),
            message: "data: refused".to_owned(),
            causes: Vec::new(),
            remedy: String::new(),
        };
        let letter = DeadLetter {
            delivery: &delivery,
            key: Some(&command.origin.key),
            reason: DeadReason::Rejected,
            problem: &problem,
            worker: "w",
            time: OffsetDateTime::now_utc(),
            most_bytes: None,
        };
        self.bus.dead_letter(&letter).await.unwrap();
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    }

    pub async fn publish(&self, origin: &Origin, n: u32, kind: EventKind) {
        let event = progress_event(origin, 1, (1, n), "w", OffsetDateTime::now_utc(), &kind).unwrap();
        self.bus.publish_event(origin, kind.name(), &event).await.unwrap();
    }

    pub async fn end(&self, origin: &Origin, report: Option<Value>) {
        let result = ResultData { report, ..succeeded() };
        let event = result_event(origin, OffsetDateTime::now_utc(), &result).unwrap();
        self.bus.commit_result(origin, &event, Retention::Full).await.unwrap();
    }
}

pub fn started(verb: &str) -> EventKind {
    let (verb, worker, deadline) = (verb.to_owned(), "w".to_owned(), "2026-01-31T12:00:00Z".to_owned());
    EventKind::Started(Started { verb, attempt: 1, worker, deadline, waited: Vec::new() })
}

pub fn step(message: &str, done: u64) -> EventKind {
    EventKind::Progress(Step { phase: "apply".to_owned(), message: message.to_owned(), done, total: 10 })
}

/// The process; killed when dropped.
pub struct Dashboard {
    server: Server,
}

impl Dashboard {
    pub async fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.arg("dashboard").args(["--log-format", "json"]).args(args);
        if !args.contains(&"--config") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self::spawn(command).await
    }

    /// Starts a command that prints the address of a dashboard.
    pub async fn spawn(command: Command) -> Self {
        Self { server: Server::spawn(command, PATIENCE).await }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "").await
    }

    /// Opens a stream of server-sent events.
    pub async fn live(&self, path: &str, last: Option<&str>) -> Live {
        let headers: Vec<_> = last.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        Live { events: self.server.live(path, &headers).await }
    }

    /// Waits until the list of runs contains a text.
    pub async fn lists(&self, text: &str) -> Response {
        eventually(&format!("the list contains {text}"), PATIENCE, async || {
            let page = self.get("/runs").await;
            page.body.contains(text).then_some(page)
        })
        .await
    }
}

impl Deref for Dashboard {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Response {
    /// The form token and the session cookie.
    pub fn form(&self) -> (String, String) {
        let token = self.body.split("name=\"token\" value=\"").nth(1).expect("a form").split('"').next().unwrap();
        let cookie = self.head.split("set-cookie: ").nth(1).expect("a cookie").split(';').next().unwrap();
        (token.to_owned(), cookie.to_owned())
    }
}

/// Server-sent events.
pub struct Live {
    events: http::Live,
}

impl Live {
    /// The next event of a kind: its id and data.
    pub async fn next(&mut self, wanted: &str) -> (String, String) {
        let read = async {
            loop {
                let (id, kind, data) = self.events.next().await.expect("the stream ended");
                if kind == wanted {
                    return (id, data);
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no event {wanted}"))
    }
}

pub fn key(origin: &Origin) -> CommandKey {
    origin.key.clone()
}
