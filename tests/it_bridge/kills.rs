//! The bridge is killed at random moments: no operation is lost or executed twice, and the end of each reaches a stream.
#![allow(clippy::print_stdout, reason = "seeds are printed")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use sailhand::bridge::proto::mesh_service_client::MeshServiceClient;
use sailhand::bridge::proto::{ApplyRuleRequest, EventType, EventsRequest};
use sailhand::config::Config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::{BridgeEnv, PATIENCE, request};
use crate::support::worker::succeeded;

const OPERATIONS: usize = 40;

/// A bridge in this process, on a runtime of its own that can be killed.
struct InProcess(Option<tokio::runtime::Runtime>);

impl InProcess {
    async fn start(config: &Config, address: &watch::Sender<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = config.clone();
        let starting = runtime.spawn(async move {
            sailhand::bridge::start(&config, CancellationToken::new()).await.unwrap().address.to_string()
        });
        address.send_replace(starting.await.unwrap());
        Self(Some(runtime))
    }
}

impl Drop for InProcess {
    /// Ends all tasks where they are, as SIGKILL does.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sends an operation until a bridge accepts it, as a client that repeats does.
async fn apply(address: &watch::Receiver<String>, call: &ApplyRuleRequest) {
    loop {
        let url = format!("http://{}", address.borrow().as_str());
        if let Ok(mut client) = MeshServiceClient::connect(url).await
            && client.apply_operation(call.clone()).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads streams one after the other, as Meshery reopens a broken one.
async fn read(address: watch::Receiver<String>, ends: Arc<Mutex<BTreeMap<String, usize>>>) {
    loop {
        let url = format!("http://{}", address.borrow().as_str());
        if let Ok(mut client) = MeshServiceClient::connect(url).await
            && let Ok(stream) = client.stream_events(EventsRequest {}).await
        {
            let mut stream = stream.into_inner();
            while let Ok(Some(event)) = stream.message().await {
                if event.event_type() != EventType::Warn {
                    *ends.lock().unwrap().entry(event.operation_id).or_default() += 1;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run_seed(seed: u64) -> Result<String, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut test_env = BridgeEnv::new().await;
    test_env.config.bridge.listen = ([127, 0, 0, 1], 0).into();
    let (write, address) = watch::channel(String::new());
    let mut bridge = InProcess::start(&test_env.config, &write).await;
    let ends = Arc::new(Mutex::new(BTreeMap::new()));
    let reader = tokio::spawn(read(address.clone(), ends.clone()));
    let mut kills = 0;
    let mut commands: BTreeMap<String, usize> = BTreeMap::new();
    let mut sent = Vec::new();
    for _ in 0..OPERATIONS {
        let call = request("bookinfo", "shop");
        sent.push(call.operation_id.clone());
        let applied = {
            let (address, call) = (address.clone(), call.clone());
            tokio::spawn(async move { apply(&address, &call).await })
        };
        if random.random_bool(0.15) {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..6_000))).await;
            kills += 1;
            drop(bridge);
            bridge = InProcess::start(&test_env.config, &write).await;
        }
        applied.await.unwrap();
        let command = test_env.command().await;
        *commands.entry(command.origin.correlation.clone()).or_default() += 1;
        test_env.end(&command, succeeded()).await;
        if random.random_bool(0.1) {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..6_000))).await;
            kills += 1;
            drop(bridge);
            bridge = InProcess::start(&test_env.config, &write).await;
        }
    }
    while let Some(command) = test_env.next_command(Duration::from_millis(200)).await {
        *commands.entry(command.origin.correlation.clone()).or_default() += 1;
    }
    if sent.iter().any(|id| commands.get(id) != Some(&1)) {
        return Err(format!("seed {seed}: {commands:?}"));
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let counts = ends.lock().unwrap().clone();
        let missing = sent.iter().filter(|id| !counts.contains_key(*id)).count();
        if missing == 0 {
            reader.abort();
            let repeated: usize = counts.values().map(|count| count - 1).sum();
            let most = counts.values().max().copied().unwrap_or_default();
            // A result whose acknowledgment was lost with the process is sent once more.
            return if repeated <= kills && most <= 2 {
                Ok(format!("{kills} kills, {repeated} events repeated"))
            } else {
                Err(format!("seed {seed}: {repeated} events repeated after {kills} kills, {most} times"))
            };
        }
        if tokio::time::Instant::now() > end {
            return Err(format!("seed {seed}: {missing} operations have no end after {kills} kills"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ten seeds side by side. `SEEDS=7` runs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_is_lost_or_executed_twice_when_the_bridge_is_killed() {
    #[allow(clippy::disallowed_methods, reason = "a seed for the test")]
    let only: Option<u64> = std::env::var("SEEDS").ok().and_then(|seed| seed.parse().ok());
    let seeds = (0..10).filter(|seed| only.is_none_or(|only| only == *seed));
    let runs = futures::future::join_all(seeds.map(async |seed| (seed, run_seed(seed).await))).await;
    let mut failures = Vec::new();
    for (seed, run) in runs {
        match run {
            Ok(done) => println!("seed {seed}: {done}"),
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
