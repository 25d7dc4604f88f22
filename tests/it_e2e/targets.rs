//! Targets beside each other: one whose API server hangs does not keep the commands of another waiting.

use crate::support;

use std::net::TcpListener;
use std::time::Duration;

use sailhand::bus::{Bus, RecordKey};
use sailhand::event::{CommandId, Outcome};
use serde_json::json;
use support::eventually::eventually;
use support::nats::NatsServer;
use support::worker::WorkerEnv;
use tokio::time::Instant;

#[tokio::test]
async fn a_target_that_hangs_leaves_slots_to_the_others() {
    // Connections are accepted by the kernel, and nobody ever says anything.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("silent.kubeconfig");
    let server = format!("http://{}", silent.local_addr().unwrap());
    let access = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    std::fs::write(&file, access.to_string()).unwrap();
    let test_env = WorkerEnv::on(NatsServer::start().await, |config| {
        config.worker.slots = 4;
        let hangs = sailhand::config::Target { kubeconfig: Some(file.clone()), ..config.targets["dev"].clone() };
        config.targets.insert("hangs".to_owned(), hangs);
    })
    .await;
    let _worker = test_env.worker("w1").await;
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}).to_string();
    let mut keys = Vec::new();
    for number in 0..12 {
        let params = json!({"name": format!("hangs-{number}"), "manifest": manifest});
        keys.push(test_env.send("hangs", "config.apply", params).await);
    }
    eventually("three are begun, which hang", Duration::from_secs(20), async || {
        let attempts = keys.iter().map(async |key| {
            let command = CommandId::new(&"hangs".parse().unwrap(), key);
            test_env.client.bus().attempts(&RecordKey::command(&command)).await
        });
        let records = futures::future::join_all(attempts).await;
        let running = records.into_iter().filter(|found| found.as_ref().unwrap().0.in_progress);
        (running.count() == 3).then_some(())
    })
    .await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);
    }
    let limit = test_env.config.targets["hangs"].request_timeout;
    assert!(begun.elapsed() < limit.min(Duration::from_secs(20)), "they waited for the others: {:?}", begun.elapsed());
}
