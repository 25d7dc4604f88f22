//! Results and events at HTTP endpoints: form, filters, retries, dead letters, restarts of each part.
#![allow(clippy::print_stdout, reason = "figures and seeds are printed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use sailhand::bus::{Bus, Retention};
use sailhand::client::Filter;
use sailhand::config::gateway::{Hmac, Mode, Sink};
use sailhand::config::{Config, Gateway};
use sailhand::event::{CommandKey, EventKind, Origin, Outcome, ResultData, Started, progress_event, result_event};
use sailhand::hex::hex;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::endpoint::{Endpoint, Reply};
use crate::gateway::PATIENCE;
use crate::support::eventually::eventually;
use crate::support::http::Server;
use crate::support::nats::NatsServer;
use crate::support::worker::{WorkerEnv, succeeded, toml};

fn sink(endpoint: &Endpoint) -> Sink {
    Sink {
        url: endpoint.url.clone(),
        timeout: Duration::from_millis(500),
        max_retry_delay: Duration::from_millis(50),
        ..Sink::default()
    }
}

/// A gateway in this process, on a runtime of its own that can be killed.
struct InProcess {
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
    metrics: String,
}

impl InProcess {
    async fn start(test_env: &WorkerEnv, sinks: &[(&str, Sink)]) -> Self {
        let mut config = test_env.config.clone();
        config.gateway = Gateway {
            listen: ([127, 0, 0, 1], 0).into(),
            metrics_listen: Some(([127, 0, 0, 1], 0).into()),
            sinks: sinks.iter().map(|(name, sink)| ((*name).to_owned(), sink.clone())).collect(),
            ..Gateway::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let running = runtime.spawn(async move { sailhand::gateway::start(&config, &[], stopped).await.unwrap() });
        let metrics = running.await.unwrap().metrics_address.unwrap().to_string();
        Self { runtime: Some(runtime), stop, metrics }
    }

    /// Ends all tasks where they are, as SIGKILL does.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn metrics(&self) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.metrics).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics);
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        crate::support::http::Response::read(&mut stream, PATIENCE).await.body
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill();
    }
}

pub fn origin(id: &str, source: &str) -> Origin {
    Origin {
        key: CommandKey::new(source, id),
        id: id.to_owned(),
        source: source.to_owned(),
        target: "dev".parse().unwrap(),
        verb: "ping".to_owned(),
        correlation: id.to_owned(),
        traceparent: None,
        tracestate: None,
        digest: None,
    }
}

pub async fn publish(test_env: &WorkerEnv, origin: &Origin, result: &ResultData) {
    let event = result_event(origin, OffsetDateTime::now_utc(), result).unwrap();
    test_env.client.bus().commit_result(origin, &event, Retention::Full).await.unwrap();
}

pub async fn dead_letters(test_env: &WorkerEnv) -> Vec<sailhand::client::DeadLetter> {
    test_env.client.dead_letters(&undelivered()).await.unwrap()
}

fn undelivered() -> Filter {
    Filter { reason: Some("undelivered".to_owned()), limit: 10_000, ..Filter::default() }
}

#[tokio::test]
async fn results_and_chosen_events_are_posted_in_both_modes() {
    let test_env = WorkerEnv::new().await;
    let (binary, structured) =
        (Endpoint::start(|_| Reply::status(204)).await, Endpoint::start(|_| Reply::status(202)).await);
    let folder = TempDir::with_prefix("sailhand-sink-").unwrap();
    let secret_file = folder.path().join("secret");
    std::fs::write(&secret_file, "0123456789abcdef-sink\n").unwrap();
    let _gateway = InProcess::start(
        &test_env,
        &[
            ("binary", sink(&binary)),
            (
                "structured",
                Sink {
                    mode: Mode::Structured,
                    kinds: vec!["started".to_owned(), "result".to_owned()],
                    outcomes: vec![Outcome::Failed],
                    targets: vec!["dev".to_owned(), "prod".to_owned()],
                    source_prefix: "/ci/".to_owned(),
                    hmac: Some(Hmac { secret_file, header: "X-Signature".to_owned() }),
                    ..sink(&structured)
                },
            ),
        ],
    )
    .await;
    let (ci, other) = (origin("a b", "/ci/shop"), origin("2", "/other"));
    for origin in [&ci, &other] {
        let started = EventKind::Started(Started {
            verb: "ping".to_owned(),
            attempt: 1,
            worker: "w".to_owned(),
            deadline: "2026-01-31T12:00:00Z".to_owned(),
            waited: Vec::new(),
        });
        let event = progress_event(origin, 1, (1, 1), "w", OffsetDateTime::now_utc(), &started).unwrap();
        test_env.client.bus().publish_event(origin, "started", &event).await.unwrap();
        publish(&test_env, origin, &ResultData { outcome: Outcome::Failed, ..succeeded() }).await;
    }
    publish(&test_env, &origin("3", "/ci/shop"), &succeeded()).await;

    let posted = binary.wait_for(3).await;
    let first = posted.iter().find(|request| request.header("ce-commandid") == Some("a%20b")).unwrap();
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("ce-commandsource"), Some("/ci/shop"));
    assert_eq!(first.header("ce-type"), Some("io.meshery.istio.result.ping.v1"));
    assert_eq!(first.json()["outcome"], "failed");
    assert!(first.header("x-signature").is_none());

    let posted = structured.wait_for(2).await;
    let kinds: BTreeSet<String> = posted.iter().map(|post| post.json()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["started", "ping"].map(|kind| {
            let family = if kind == "ping" { "result" } else { "event" };
            format!("io.meshery.istio.{family}.{kind}.v1")
        }))
    );
    for post in &posted {
        assert_eq!(post.json()["commandsource"], "/ci/shop");
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"0123456789abcdef-sink");
        let signature = format!("sha256={}", hex(ring::hmac::sign(&key, post.body.as_bytes()).as_ref()));
        assert_eq!(post.header("x-signature"), Some(signature.as_str()));
    }
}

#[tokio::test]
async fn refused_and_too_old_events_become_dead_letters() {
    let test_env = WorkerEnv::new().await;
    let refuses = Endpoint::start(|_| Reply::status(415).with_body("no such\r\nmedia type")).await;
    // A redirect of a POST would become a GET that answers 200.
    let redirects = Endpoint::start(|request| {
        if request.line.starts_with("POST") {
            Reply::status(302).with_header("Location: /login")
        } else {
            Reply::status(200)
        }
    })
    .await;
    let old = Sink { give_up_after: Duration::from_secs(1), ..sink(&redirects) };
    let gateway = InProcess::start(&test_env, &[("refuses", sink(&refuses)), ("redirects", old)]).await;
    publish(&test_env, &origin("1", "/ci/shop"), &succeeded()).await;
    let letters = eventually("two dead letters", PATIENCE, async || {
        Some(dead_letters(&test_env).await).filter(|letters| letters.len() == 2)
    })
    .await;
    for letter in &letters {
        assert_eq!((letter.code.as_str(), letter.command.as_str()), ("SH3814", origin("1", "/ci/shop").key.as_str()));
        assert_eq!(letter.event.as_ref().unwrap()["commandid"], "1");
        let error = test_env.client.replay(letter).await.unwrap_err().to_string();
        assert!(error.contains("did not accept"), "{error}");
    }
    let message = |name: &str| letters.iter().find(|it| it.worker == format!("sink {name}")).unwrap().message.clone();
    assert!(
        message("refuses").contains("responds 415: no such  media type, after 1 delivery"),
        "{}",
        message("refuses")
    );
    assert!(message("redirects").contains("responds 302"), "{}", message("redirects"));
    assert_eq!(refuses.requests().len(), 1);
    assert!(redirects.requests().iter().all(|request| request.line.starts_with("POST")));
    let metrics = gateway.metrics().await;
    assert!(
        metrics.contains("sailhand_gateway_sink_deliveries_total{sink=\"refuses\",outcome=\"dead_lettered\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn endpoint_that_asks_for_a_delay_gets_it() {
    let test_env = WorkerEnv::new().await;
    let endpoint = Endpoint::start(|request| {
        if request.number == 0 { Reply::status(503).with_header("Retry-After: 1") } else { Reply::status(200) }
    })
    .await;
    let slow = Sink { max_retry_delay: Duration::from_secs(5), ..sink(&endpoint) };
    let _gateway = InProcess::start(&test_env, &[("busy", slow)]).await;
    publish(&test_env, &origin("1", "/ci/shop"), &succeeded()).await;
    let posted = endpoint.wait_for(2).await;
    assert!(posted[1].at - posted[0].at >= Duration::from_millis(950), "{:?}", posted[1].at - posted[0].at);
    assert_eq!(posted[0].header("ce-id"), posted[1].header("ce-id"), "the repetition is the same event");
}

#[tokio::test]
async fn result_is_at_the_sink_within_100_ms() {
    const RESULTS: usize = 100;
    let test_env = WorkerEnv::new().await;
    let endpoint = Endpoint::start(|_| Reply::status(200)).await;
    let _gateway = InProcess::start(&test_env, &[("fast", sink(&endpoint))]).await;
    let mut published = BTreeMap::new();
    for number in 0..RESULTS {
        let origin = origin(&number.to_string(), "/ci/shop");
        publish(&test_env, &origin, &succeeded()).await;
        published.insert(number.to_string(), Instant::now());
        // One after the other: a queue on a busy machine is not the subject.
        endpoint.wait_for(number + 1).await;
    }
    let posted = endpoint.requests();
    let mut delays: Vec<Duration> = posted
        .iter()
        .map(|post| post.at.saturating_duration_since(published[post.header("ce-commandid").unwrap()]))
        .collect();
    delays.sort();
    let (median, high) = (delays[RESULTS / 2], delays[RESULTS * 99 / 100]);
    println!("from the ack of the bus to the sink, {RESULTS} results: p50 {median:?}, p99 {high:?}");
    // A busy machine delays most of them, as when all tests run; alone, the median is some milliseconds.
    let quick = delays[RESULTS / 10];
    assert!(quick < Duration::from_millis(100), "p10 {quick:?}, p50 {median:?}");
}

/// One seed: results while gateway, endpoint and sometimes the bus fail at random moments.
async fn run_seed(test_env: &mut WorkerEnv, seed: u64) -> Result<String, String> {
    const RESULTS: usize = 12;
    let mut random = SmallRng::seed_from_u64(seed);
    let replies = std::sync::Mutex::new(SmallRng::seed_from_u64(seed ^ 0xD00E));
    let endpoint = Arc::new(
        Endpoint::start(move |request| {
            // From the 4th request of an event on, the endpoint is healthy.
            let healthy = request.header("ce-commandid").is_none() || request.repetition >= 3;
            match replies.lock().unwrap().random_range(0..10) {
                _ if healthy => Reply::status(200),
                0..5 => Reply::status(200),
                5 => Reply::status(500),
                6 => Reply::status(200).after(Duration::from_secs(2)), // it has the event; the gateway does not know
                7 => Reply::closed(),
                8 => Reply::status(429),
                _ => Reply::status(422),
            }
        })
        .await,
    );
    let name = format!("s{seed}");
    let settings = Sink { timeout: Duration::from_millis(150), ..sink(&endpoint) };
    let sinks = [(name.as_str(), settings)];
    let mut gateway = InProcess::start(test_env, &sinks).await;
    let mut kills = 0;
    let source = format!("/seed/{seed}");
    for number in 0..RESULTS {
        publish(test_env, &origin(&number.to_string(), &source), &succeeded()).await;
        match random.random_range(0..10) {
            0..3 => {
                kills += 1;
                gateway.kill();
                // Results while no gateway runs.
                if random.random_bool(0.5) {
                    publish(test_env, &origin(&format!("{number}-alone"), &source), &succeeded()).await;
                }
                gateway = InProcess::start(test_env, &sinks).await;
            }
            3 if seed.is_multiple_of(5) => test_env.nats.restart().await,
            4..6 => tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await,
            _ => {}
        }
    }
    let expected: BTreeSet<String> = (0..RESULTS).map(|number| number.to_string()).collect();
    let begun = Instant::now();
    loop {
        let accepted: BTreeSet<String> = endpoint
            .requests()
            .iter()
            .filter(|request| request.status == Some(200) && request.header("ce-commandsource") == Some(&source))
            .filter_map(|request| request.header("ce-commandid").map(str::to_owned))
            .collect();
        // The client may still reconnect.
        let letters = test_env.client.dead_letters(&undelivered()).await.unwrap_or_default();
        let dead: BTreeSet<String> = letters
            .iter()
            .filter(|letter| letter.worker == format!("sink {name}"))
            .filter_map(|letter| letter.event.as_ref()?["commandid"].as_str().map(str::to_owned))
            .collect();
        let missing: Vec<_> = expected.iter().filter(|id| !accepted.contains(*id) && !dead.contains(*id)).collect();
        if missing.is_empty() {
            return Ok(format!("{kills} kills, {} requests, {} dead letters", endpoint.requests().len(), dead.len()));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("seed {seed}: lost {missing:?} after {kills} kills"));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// 100 seeds in four lanes, each with a nats-server of its own. `SEEDS=7` runs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_when_gateway_endpoint_and_bus_fail() {
    const LANES: u64 = 4;
    #[allow(clippy::disallowed_methods, reason = "a choice of the person who runs the test")]
    let only: Option<u64> = std::env::var("SEEDS").ok().and_then(|seed| seed.parse().ok());
    let lanes = (0..LANES).map(|lane| async move {
        let mut test_env = WorkerEnv::on(NatsServer::start().await, |config: &mut Config| config.targets.clear()).await;
        let mut failures = Vec::new();
        for seed in (lane..100).step_by(4).filter(|seed| only.is_none_or(|only| only == *seed)) {
            match run_seed(&mut test_env, seed).await {
                Ok(done) => println!("seed {seed}: {done}"),
                Err(failure) => failures.push(failure),
            }
        }
        failures
    });
    let failures: Vec<String> = futures::future::join_all(lanes).await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The same with processes: SIGKILL of the gateway and of nats-server, and an endpoint that is gone for a while.
#[tokio::test]
async fn no_event_is_lost_when_processes_are_killed() {
    let mut test_env = WorkerEnv::on(NatsServer::start().await, |config: &mut Config| config.targets.clear()).await;
    let mut endpoint = Endpoint::start(|_| Reply::status(200)).await;
    let folder = TempDir::with_prefix("sailhand-sink-").unwrap();
    let mut config = test_env.config.clone();
    config.gateway.listen = ([127, 0, 0, 1], 0).into();
    config.gateway.sinks.insert("all".to_owned(), sink(&endpoint));
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, toml(&config)).unwrap();
    let start = async || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(["gateway", "--config"]).arg(&file);
        Server::spawn(command, PATIENCE).await
    };
    let mut gateway = start().await;
    let mut expected = BTreeSet::new();
    for round in 0..4 {
        for number in 0..10 {
            let id = format!("{round}-{number}");
            publish(&test_env, &origin(&id, "/ci/shop"), &succeeded()).await;
            expected.insert(id);
            if number == 5 {
                match round {
                    0 => {
                        drop(gateway); // SIGKILL
                        gateway = start().await;
                    }
                    1 => test_env.nats.restart().await,
                    2 => endpoint.stop(),
                    _ => {}
                }
            }
        }
        endpoint.resume().await;
    }
    eventually("all results are at the sink", PATIENCE * 2, async || {
        let seen: BTreeSet<String> =
            endpoint.requests().iter().filter_map(|post| post.header("ce-commandid").map(str::to_owned)).collect();
        expected.is_subset(&seen).then_some(())
    })
    .await;
    drop(gateway);
}
