//! Streams at their size limit: no command is lost, and all end when there is space again.

use crate::support;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::client::{Client, Observed, State};
use sailhand::config::Config;
use sailhand::event::{CommandKey, Outcome as Ended, Target};
use sailhand::task::{Failure, Limits, Outcome, Registry, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::nats::NatsServer;
use support::worker::draft;
use tokio_util::sync::CancellationToken;

use crate::in_process::{SLOTS, start_worker};

const AT_LAST: Duration = Duration::from_mins(2);

/// Counts how often it is executed.
struct Count(Arc<AtomicUsize>);

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Params {
    text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Report {}

impl Task for Count {
    const VERB: &'static str = "test.count";
    const SUMMARY: &'static str = "Counts.";
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(1), attempts: 5 }
    }

    fn installation(&self, _: &Params) -> Option<String> {
        None
    }

    fn example(&self) -> Params {
        Params { text: "a".into() }
    }

    async fn run(&self, _: &TaskContext, _: Params) -> Result<Outcome<Report>, Failure<Report>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Unchanged(Report {}))
    }
}

struct BusEnv {
    _server: NatsServer,
    config: Config,
    client: Client,
    executions: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl BusEnv {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let server = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        config.bus.ack_wait = Duration::from_secs(3);
        change(&mut config);
        let client = Client::connect(&config).await.unwrap();
        let test_env =
            Self { _server: server, config, client, executions: Arc::default(), stop: CancellationToken::new() };
        test_env.apply_topology().await;
        let registry = Registry::standard().with(Count(Arc::clone(&test_env.executions)));
        start_worker(&test_env.config, registry, &["dev", "quick"], &test_env.stop).await;
        test_env
    }

    async fn apply_topology(&self) {
        topology::apply(self.client.bus(), &Topology::new(&self.config.bus)).await.unwrap();
    }

    async fn try_send(&self, target: &Target, params: Value) -> Option<CommandKey> {
        Some(self.client.submit(target, draft("test.count", params)).await.ok()?.key)
    }

    async fn outcome(&self, key: &CommandKey) -> Option<Ended> {
        match self.client.state(key).await {
            Ok(State::Ended(observation)) => match observation.observed {
                Observed::Result(result) => Some(result.outcome),
                other => panic!("{other:?}"),
            },
            _ => None,
        }
    }

    /// Messages and bytes of a stream.
    async fn size(&self, stream: &str) -> (u64, u64) {
        let found = self.client.bus().context().get_stream(stream).await.unwrap();
        (found.cached_info().state.messages, found.cached_info().state.bytes)
    }

    async fn all_succeed(self, keys: &[CommandKey]) {
        for key in keys {
            let ended = eventually(&format!("command {key} ends"), AT_LAST, async || self.outcome(key).await).await;
            assert_eq!(ended, Ended::Succeeded);
        }
        for stream in ["ISTIO_CMD", "ISTIO_WAIT"] {
            eventually("the queues are empty", AT_LAST, async || (self.size(stream).await.0 == 0).then_some(())).await;
        }
        self.stop.cancel();
    }
}

#[tokio::test]
async fn full_stream_of_results_ends_no_command_and_loses_none() {
    const LIMIT: i64 = 8 * 1024;
    let mut test_env = BusEnv::new(|config| config.bus.max_result_bytes = LIMIT).await;
    let target = "dev".parse().unwrap();
    let mut keys = Vec::new();
    for _ in 0..40 {
        keys.push(test_env.try_send(&target, json!({"text": "a"})).await.expect("the command stream has space"));
    }
    // The first refusal pauses the worker, and what has begun by then is executed again after the pause.
    eventually("the stream is full, and commands wait", AT_LAST, async || {
        let (results, bytes) = test_env.size("ISTIO_RES").await;
        let is_full = bytes + 1024 > LIMIT.cast_unsigned();
        (is_full && results > 3 && test_env.size("ISTIO_CMD").await.0 > 0).then_some(())
    })
    .await;
    let (results, bytes) = test_env.size("ISTIO_RES").await;
    assert!(bytes <= LIMIT.cast_unsigned(), "{bytes}");
    let queued = test_env.size("ISTIO_CMD").await.0 + test_env.size("ISTIO_WAIT").await.0;
    assert!(results + queued >= 40, "{results} results and {queued} messages for 40 commands");
    let executions = test_env.executions.load(Ordering::Relaxed);
    assert!(executions <= 40 + 4 * SLOTS, "commands that cannot end are executed {executions} times");

    test_env.config.bus.max_result_bytes = 1 << 20;
    test_env.apply_topology().await;
    test_env.all_succeed(&keys).await;
}

#[tokio::test]
async fn full_waiting_stream_loses_no_command_and_stops_producers() {
    const LIMIT: u64 = 256 * 1024;
    let test_env = BusEnv::new(|config| config.bus.max_bytes = LIMIT.cast_signed()).await;
    let target = "dev".parse().unwrap();
    test_env.client.pause(&target, "test", None).await.unwrap();
    let keys = RefCell::new(Vec::new());
    let params = json!({"text": "a".repeat(2000)});
    eventually("both streams are full", AT_LAST, async || {
        let sent = test_env.try_send(&target, params.clone()).await;
        let is_refused = sent.is_none();
        keys.borrow_mut().extend(sent);
        (is_refused && test_env.size("ISTIO_WAIT").await.1 + 4096 > LIMIT).then_some(())
    })
    .await;
    let keys = keys.into_inner();
    let (waiting, bytes) = test_env.size("ISTIO_WAIT").await;
    assert!(bytes <= LIMIT * 5 / 4, "{bytes} bytes in the waiting stream");
    let queued = test_env.size("ISTIO_CMD").await.0;
    assert!(waiting + queued >= keys.len() as u64, "{waiting} and {queued} messages for {} commands", keys.len());

    test_env.client.resume(&target).await.unwrap();
    test_env.all_succeed(&keys).await;
}
