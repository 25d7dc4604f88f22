//! A bridge process, its gRPC client, and a bus on which tests play the worker.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use sailhand::bridge::proto::mesh_service_client::MeshServiceClient;
use sailhand::bridge::proto::{ApplyRuleRequest, EventType, EventsRequest, EventsResponse};
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, Queue, Retention, Subjects};
use sailhand::client::Client;
use sailhand::config::{self, BridgeTarget, Config};
use sailhand::event::{Command, ResultData, decode, result_event};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::process::Child;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::support::eventually::eventually;
use crate::support::nats::NatsServer;
use crate::support::worker::toml;

pub const PATIENCE: Duration = Duration::from_mins(4);
/// Appears in every kubeconfig, and nowhere else.
pub const CANARY: &str = "CANARY-TOKEN-7f3a";

/// A kubeconfig for a server without a certificate authority.
pub fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         contexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{token: {CANARY}}}}}]\n"
    )
}

pub fn target(server: &str) -> BridgeTarget {
    BridgeTarget { server: vec![server.to_owned()], server_only: true, ..BridgeTarget::default() }
}

/// A request for the cluster `dev` of [`BridgeEnv`].
pub fn request(key: &str, namespace: &str) -> ApplyRuleRequest {
    ApplyRuleRequest {
        op_name: key.to_owned(),
        namespace: namespace.to_owned(),
        username: "jane@example.com".to_owned(),
        operation_id: uuid::Uuid::new_v4().to_string(),
        kube_configs: vec![kubeconfig("https://dev")],
        ..ApplyRuleRequest::default()
    }
}

/// A bus with its streams, on which the test plays the worker, and a configuration with the targets `dev` and `prod`.
pub struct BridgeEnv {
    pub nats: NatsServer,
    pub config: Config,
    pub client: Client,
    pub bus: NatsBus,
}

impl BridgeEnv {
    pub async fn new() -> Self {
        let nats = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![nats.url()];
        let client = Client::connect(&config).await.unwrap();
        topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
        let bus = NatsBus::new(nats::connect(&config.nats, "test", false).await.unwrap(), Subjects::new("istio"));
        for id in ["dev", "prod"] {
            config.bridge.targets.insert(id.to_owned(), target(&format!("https://{id}")));
        }
        Self { nats, config, client, bus }
    }

    pub async fn bridge(&self, set: impl FnOnce(&mut config::Bridge)) -> Bridge {
        let mut config = self.config.clone();
        set(&mut config.bridge);
        Bridge::start(config).await
    }

    /// Takes the next command from the queue; `None` when there is none.
    pub async fn next_command(&self, wait: Duration) -> Option<Command> {
        let delivery = self.bus.pull(Queue::Commands, 1, wait).next().await?.unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        let command = decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap();
        delivery.acker.settle(sailhand::bus::Settlement::Ack).await.unwrap();
        Some(command)
    }

    pub async fn command(&self) -> Command {
        self.next_command(Duration::from_secs(20)).await.expect("a command")
    }

    pub async fn end(&self, command: &Command, result: ResultData) {
        let event = result_event(&command.origin, OffsetDateTime::now_utc(), &result).unwrap();
        self.bus.commit_result(&command.origin, &event, Retention::Full).await.unwrap();
    }
}

/// The process; killed when dropped.
pub struct Bridge {
    pub address: String,
    pub tls_address: Option<String>,
    pub child: Child,
    log: PathBuf,
    dir: TempDir,
}

impl Bridge {
    pub async fn start(mut config: Config) -> Self {
        config.bridge.listen = ([127, 0, 0, 1], 0).into();
        let dir = TempDir::with_prefix("sailhand-bridge-").unwrap();
        let file = dir.path().join("bridge.toml");
        std::fs::write(&file, toml(&config)).unwrap();
        let log = dir.path().join("log");
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["bridge", "--log-format", "json", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut bridge = Self { address: String::new(), tls_address: None, child, log, dir };
        let with_tls = config.bridge.tls.is_some();
        let (address, tls_address) = eventually("the bridge has started", PATIENCE, async || {
            let log = bridge.log();
            let after = |text: &str| log.split(text).nth(1).and_then(|rest| rest.lines().next()).map(str::to_owned);
            let started = after("Bridge at ")?;
            let tls = after("mutual TLS at ");
            (tls.is_some() || !with_tls).then_some((started, tls))
        })
        .await;
        bridge.address = address;
        bridge.tls_address = tls_address;
        bridge
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Folder with its configuration and log, where it may write.
    pub fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub async fn client(&self) -> MeshServiceClient<Channel> {
        MeshServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    pub async fn events(&self) -> Events {
        Events(self.client().await.stream_events(EventsRequest {}).await.unwrap().into_inner())
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// One event stream.
pub struct Events(pub Streaming<EventsResponse>);

impl Events {
    pub async fn next(&mut self) -> EventsResponse {
        let next = tokio::time::timeout(PATIENCE, self.0.message()).await;
        next.expect("an event in time").expect("no status").expect("an event")
    }

    /// No event arrives for some time.
    pub async fn is_silent(&mut self, wait: Duration) {
        if let Ok(event) = tokio::time::timeout(wait, self.0.message()).await {
            panic!("{event:?}");
        }
    }

    /// The last event of an operation: not a warning.
    pub async fn end_of(&mut self, operation_id: &str) -> EventsResponse {
        loop {
            let event = self.next().await;
            if event.operation_id == operation_id && event.event_type() != EventType::Warn {
                return event;
            }
        }
    }
}
