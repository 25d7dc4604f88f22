//! A dashboard process with a bus, and an HTTP client that can send any header.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, Queue, Retention, Subjects};
use sailhand::client::Client;
use sailhand::config::Config;
use sailhand::event::{CommandKey, EventKind, Origin, ResultData, Started, decode, progress_event, result_event};
use sailhand::progress::Step;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::eventually::eventually;
use crate::support::nats::NatsServer;
use crate::support::worker::{draft, succeeded};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A bus with its streams.
pub struct World {
    pub nats: NatsServer,
    pub client: Client,
    bus: NatsBus,
}

impl World {
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
        self.client.submit(&"dev".parse().unwrap(), draft(verb, params)).await.unwrap();
        self.take().await.origin
    }

    /// Takes a command from the queue.
    pub async fn take(&self) -> sailhand::event::Command {
        use futures::StreamExt;
        let mut batch = self.bus.pull(Queue::Commands, 1, Duration::from_secs(5));
        let delivery = batch.next().await.expect("a command").unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap()
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
    EventKind::Started(Started { verb, attempt: 1, worker, deadline })
}

pub fn step(message: &str, done: u64) -> EventKind {
    EventKind::Progress(Step { phase: "apply".to_owned(), message: message.to_owned(), done, total: 10 })
}

/// The process; killed when dropped.
pub struct Dashboard {
    pub address: String,
    _child: Child,
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
    pub async fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut address, mut log) = (None, String::new());
        while let Some(line) = lines.next_line().await.unwrap() {
            address = line.split("http://").nth(1).map(str::to_owned);
            if address.is_some() {
                break;
            }
            log.push_str(&line);
        }
        // Reads on, so that the pipe does not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address: address.unwrap_or_else(|| panic!("no address: {log}")), _child: child }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "").await
    }

    /// Sends a request; `Host` is the address unless it is given.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut stream = self.send(method, path, headers, body).await;
        let mut text = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("a response").unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            write!(text, "Host: {}\r\n", self.address).unwrap();
        }
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    /// Opens a stream of server-sent events.
    pub async fn live(&self, path: &str, last: Option<&str>) -> Live {
        let headers: Vec<_> = last.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        Live { lines: BufReader::new(self.send("GET", path, &headers, "").await) }
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

pub struct Response {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
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
    lines: BufReader<TcpStream>,
}

impl Live {
    /// The next event of a kind: its id and data.
    pub async fn next(&mut self, wanted: &str) -> (String, String) {
        let read = async {
            let (mut kind, mut id, mut data) = (String::new(), String::new(), String::new());
            loop {
                let mut line = String::new();
                assert!(self.lines.read_line(&mut line).await.unwrap() > 0, "the stream ended");
                let line = line.trim_end();
                if let Some(value) = line.strip_prefix("event: ") {
                    value.clone_into(&mut kind);
                } else if let Some(value) = line.strip_prefix("id: ") {
                    value.clone_into(&mut id);
                } else if let Some(value) = line.strip_prefix("data: ") {
                    data.push_str(value);
                } else if line.is_empty() {
                    if kind == wanted {
                        return (id, data);
                    }
                    (kind, id, data) = Default::default();
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no event {wanted}"))
    }
}

pub fn key(origin: &Origin) -> CommandKey {
    origin.key.clone()
}
