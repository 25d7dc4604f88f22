//! What KEDA's `nats-jetstream` scaler reads off a real server's monitoring port, and what it and its HPA make of that
//! (kedacore/keda `pkg/scalers/nats_jetstream_scaler.go`; Kubernetes' HPA with an average value and its tolerance).
//! KEDA itself is not run: its arithmetic is done again here.
#![allow(clippy::print_stderr, reason = "what could not be checked has to be heard")]

use crate::support;

use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, Delivery, Queue, Settlement, Subjects};
use sailhand::config;
use sailhand::event::{CommandDraft, Target, decode};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::nats::{NatsServer, Options};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WITHIN: Duration = Duration::from_secs(20);
const ACCOUNT: &str = "SAILHAND";

/// The scaler as the chart sets it up.
struct Keda {
    server: String,
    slots: u64,
    least: u64,
    most: u64,
}

impl Keda {
    async fn jsz(&self, account: &str) -> Value {
        let mut stream = tokio::net::TcpStream::connect(&self.server).await.unwrap();
        let path = format!("/jsz?acc={account}&consumers=true&config=true");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (start, end) = (text.find('{').unwrap_or(0), text.rfind('}').map_or(0, |end| end + 1));
        serde_json::from_str(&text[start..end]).unwrap_or(Value::Null)
    }

    /// `None`: "stream not found".
    async fn lag_of(&self, account: &str, consumer: &str) -> Option<u64> {
        let answer = self.jsz(account).await;
        let accounts = answer["account_details"].as_array()?;
        let account = accounts.iter().find(|one| one["name"] == account)?;
        let stream = account["stream_detail"].as_array()?.iter().find(|one| one["name"] == "ISTIO_CMD")?;
        let consumers = stream["consumer_detail"].as_array().cloned().unwrap_or_default();
        match consumers.iter().find(|one| one["name"] == consumer) {
            Some(one) => Some(one["num_pending"].as_u64()? + one["num_ack_pending"].as_u64()?),
            None => stream["state"]["last_seq"].as_u64(), // what the scaler takes in its place
        }
    }

    /// The server counts what is pending a moment after it is stored.
    async fn lag_becomes(&self, number: u64, when: &str) {
        eventually(when, WITHIN, async || (self.lag().await == number).then_some(())).await;
    }

    async fn lag(&self) -> u64 {
        self.lag_of(ACCOUNT, "worker").await.expect("the stream is there")
    }

    /// The number of workers it asks for, while there are so many.
    #[allow(clippy::cast_precision_loss, reason = "some hundred commands")]
    fn replicas(&self, lag: u64, present: u64) -> u64 {
        if lag == 0 {
            return self.least; // not active, after the cool-down
        }
        let wanted = lag.div_ceil(self.slots);
        let ratio = lag as f64 / (self.slots * present.max(1)) as f64;
        let wanted = if present > 0 && (ratio - 1.0).abs() <= 0.1 { present } else { wanted };
        wanted.clamp(self.least.max(1), self.most)
    }
}

async fn send(bus: &NatsBus, number: u32) {
    let target: Target = "dev".parse().unwrap();
    let draft = CommandDraft {
        id: number.to_string(),
        source: "/test".to_owned(),
        verb: "ping".to_owned(),
        params: json!({}),
        ..CommandDraft::default()
    };
    let event = draft.event(&target, OffsetDateTime::now_utc()).unwrap();
    bus.send_command(&target, "ping", &draft.key(), &event).await.unwrap();
}

async fn take(bus: &NatsBus, number: usize) -> Vec<Delivery> {
    let taken: Vec<_> = bus.pull(Queue::Commands, number, WITHIN).map(Result::unwrap).collect().await;
    assert_eq!(taken.len(), number);
    taken
}

#[tokio::test]
async fn keda_scales_workers_to_the_queue_length() {
    let config = format!(
        "http: \"127.0.0.1:-1\"\naccounts {{ {ACCOUNT} {{ jetstream: enabled, users: [{{user: a, password: b}}] }} }}\n"
    );
    let server = NatsServer::start_with(Options { config: Some(config), ..Options::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "b").unwrap();
    let login = config::Nats {
        url: vec![server.url()],
        user: Some("a".to_owned()),
        password_file: Some(password),
        ..config::Nats::default()
    };
    let bus = NatsBus::new(nats::connect(&login, "test", false).await.unwrap(), Subjects::new("istio"));
    let slots = u64::try_from(config::Worker::default().slots).unwrap();
    let keda = Keda { server: server.monitoring(), slots, least: 1, most: 10 };

    assert_eq!(keda.lag_of(ACCOUNT, "worker").await, None, "before `topology apply` it fails, and scales nothing");
    topology::apply(&bus, &Topology::new(&config::Bus::default())).await.unwrap();
    keda.lag_becomes(0, "idle: the consumer is there before the first worker").await;
    assert_eq!(keda.replicas(0, 1), 1);
    assert_eq!(keda.lag_of("$G", "worker").await, None, "the account has to be named");

    for number in 0..300 {
        send(&bus, number).await;
    }
    keda.lag_becomes(300, "a burst").await;
    assert_eq!(keda.replicas(300, 1), 5);

    let taken = take(&bus, 64).await;
    keda.lag_becomes(300, "what is under way counts").await;
    let (delayed, done) = taken.split_at(32);
    for delivery in done {
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    }
    keda.lag_becomes(268, "lag").await;
    assert_eq!(keda.replicas(268, 5), 5);
    for delivery in delayed {
        delivery.acker.settle(Settlement::Nak(Duration::from_secs(50))).await.unwrap();
    }
    keda.lag_becomes(268, "delayed NAKs count, so their workers stay").await;

    for delivery in take(&bus, 236).await {
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    }
    keda.lag_becomes(32, "only the delayed ones").await;
    assert_eq!(keda.replicas(32, 5), 1);

    send(&bus, 300).await;
    let retried = take(&bus, 1).await.remove(0);
    let (target, verb) = retried.address.clone().unwrap();
    let origin = decode(&target, &verb, &retried.header_pairs(), &retried.payload).unwrap().origin;
    let later = OffsetDateTime::now_utc() + Duration::from_mins(2);
    bus.schedule(&retried, &origin, later).await.unwrap();
    retried.acker.settle(Settlement::Ack).await.unwrap();
    keda.lag_becomes(32, "a retry in minutes does not keep a worker").await;

    // The 32 come back when their time is over; that they are taken off here stands for it.
    let mut purged = bus.context().get_stream("ISTIO_CMD").await.unwrap();
    purged.purge().filter("istio.cmd.>").await.unwrap();
    purged.info().await.unwrap();
    eventually("drained", WITHIN, async || (keda.lag().await == 0).then_some(())).await;
    assert_eq!(keda.replicas(0, 5), 1);
    bus.context().delete_consumer_from_stream("worker", "ISTIO_CMD").await.unwrap();
    let lag = keda.lag().await;
    assert!(lag >= 301, "without the consumer all messages there ever were are the lag: {lag}");
    assert_eq!(keda.replicas(lag, 1), 5);
}

#[test]
fn chart_scales_by_the_consumer_and_the_slots_of_a_worker() {
    let helm = support::tools::cache().join("bin/helm");
    if !helm.is_file() {
        eprintln!("NOT CHECKED: the chart with autoscaling; `just tools istio` prepares helm");
        return;
    }
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/sailhand");
    let render = |args: &[&str]| {
        let mut command = Command::new(&helm);
        let output = command.args(["template", "pool", chart]).args(args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (plain, text, _) = render(&[]);
    assert!(plain && !text.contains("ScaledObject") && text.contains("replicas: 2"), "{text}");
    let on = ["--set", "autoscaling.enabled=true"];
    let named = ["--set", "autoscaling.monitoringEndpoint=nats-headless:8222", "--set", "autoscaling.account=A"];
    for missing in [&named[..2], &named[2..]] {
        let (rendered, _, error) = render(&[&on, missing].concat());
        assert!(!rendered && error.contains("autoscaling."), "{error}");
    }
    let (rendered, text, error) = render(&[&on[..], &named].concat());
    assert!(rendered, "{error}");
    assert!(!text.contains("replicas: 2"), "the number of pods is KEDA's");
    let topology = Topology::new(&config::Bus::default());
    let (stream, consumer) = &topology.consumers[0];
    let (waiting, due) = &topology.consumers[2];
    assert_eq!(due.durable_name, consumer.durable_name);
    assert_eq!(text.matches("type: nats-jetstream").count(), 2, "{text}");
    for line in [
        format!("stream: {waiting}"),
        format!("stream: {stream}"),
        format!("consumer: {}", consumer.durable_name.as_ref().unwrap()),
        format!("lagThreshold: \"{}\"", config::Worker::default().slots),
        "natsServerMonitoringEndpoint: \"nats-headless:8222\"".to_owned(),
        "account: \"A\"".to_owned(),
        "cooldownPeriod: 600".to_owned(),
        "scaleTargetRef: { name: pool }".to_owned(),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}
