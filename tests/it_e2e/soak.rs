//! Memory of a worker at the documented maximum: all slots in use, with parameters up to their limits, on an API server that
//! does not answer, so that each command keeps its objects.

use crate::support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sailhand::config;
use sailhand::event::CommandKey;
use serde_json::{Value, json};
use support::eventually::eventually;
use support::nats::NatsServer;
use support::worker::WorkerEnv;
use tempfile::TempDir;
use tokio::net::TcpListener;

const WITHIN: Duration = Duration::from_mins(4);
const SLOTS: usize = 64;
const LARGE: usize = 6;

/// Memory limit of a worker in the values of the Helm chart, bytes.
fn chart_limit() -> u64 {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/sailhand/values.yaml");
    let values = fs::read_to_string(path).unwrap();
    let resources = values.split("\nresources:\n").nth(1).expect("resources of the worker");
    let limit = resources.split("limits: { memory: ").nth(1).and_then(|rest| rest.split("Mi").next()).unwrap();
    limit.parse::<u64>().unwrap() << 20
}

/// A kubeconfig for a server that accepts connections and does not answer.
async fn silent_cluster(dir: &TempDir) -> PathBuf {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "silent",
        "clusters": [{"name": "silent", "cluster": {"server": server}}],
        "users": [{"name": "silent", "user": {}}],
        "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "silent"}}],
    });
    let file = dir.path().join("silent.kubeconfig");
    fs::write(&file, kubeconfig.to_string()).unwrap();
    file
}

/// Parameters of a `config.apply`.
fn apply(name: &str, manifest: &Value) -> Value {
    json!({"name": name, "manifest": manifest.to_string()})
}

/// Objects with long strings, about 16 MiB.
fn strings() -> Value {
    let text = "x".repeat(16_000);
    let item = |n: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("a{n}")}, "data": {"a": text}});
    json!({"apiVersion": "v1", "kind": "List", "items": (0..1_000).map(item).collect::<Vec<_>>()})
}

/// One object with so many numbers.
fn numbers(count: usize) -> Value {
    json!({"apiVersion": "example.org/v1", "kind": "Numbers", "metadata": {"name": "a"}, "list": vec![0; count]})
}

#[tokio::test]
async fn worker_at_the_documented_maximum_stays_below_the_memory_limit_of_the_chart() {
    let dir = TempDir::with_prefix("sailhand-soak-").unwrap();
    let kubeconfig = silent_cluster(&dir).await;
    let test_env = WorkerEnv::on(NatsServer::start().await, |config| {
        config.worker.slots = SLOTS;
        config.targets.clear();
        let settings = config::Target { kubeconfig: Some(kubeconfig), ..config::Target::default() };
        config.targets.insert("silent".to_owned(), settings);
    })
    .await;
    let worker = test_env.worker("w1").await;
    let before = worker.peak_memory_bytes();
    let (strings, many, few) = (strings(), numbers(900_000), numbers(30_000));
    let mut large = Vec::new();
    for n in 0..LARGE {
        large.push(test_env.send("silent", "config.apply", apply(&format!("strings{n}"), &strings)).await);
        large.push(test_env.send("silent", "config.apply", apply(&format!("many{n}"), &many)).await);
    }
    let mut small = Vec::new();
    for n in 0..SLOTS {
        small.push(test_env.send("silent", "config.apply", apply(&format!("few{n}"), &few)).await);
    }
    let is_started = async |key: &CommandKey| {
        let subject = format!("istio.evt.silent.{key}.started");
        test_env.client.bus().last("ISTIO_EVT", &subject).await.unwrap().is_some()
    };
    eventually("the small commands are executed", WITHIN, async || {
        let mut started = 0;
        for key in &small {
            started += usize::from(is_started(key).await);
        }
        (started >= SLOTS - 2 * LARGE).then_some(())
    })
    .await;
    eventually("large commands are executed", WITHIN, async || {
        let mut started = 0;
        for key in &large {
            started += usize::from(is_started(key).await);
        }
        // The memory for parameters is enough for three of them.
        (started >= 3).then_some(())
    })
    .await;
    let (peak, limit) = (worker.peak_memory_bytes(), chart_limit());
    println!(
        "{} MiB at start, {} MiB with {SLOTS} slots in use, limit of the chart {} MiB",
        before >> 20,
        peak >> 20,
        limit >> 20
    );
    assert!(peak < limit, "the worker has used {} MiB", peak >> 20);
}
