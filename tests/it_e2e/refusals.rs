//! A bus that takes nothing more, or denies what it allowed: the worker says so on /readyz, loses nothing, and goes on by
//! itself when the cause has gone.

use crate::support;

use std::time::Duration;

use async_nats::jetstream::stream;
use sailhand::event::Outcome;
use serde_json::json;
use support::accounts;
use support::eventually::eventually;
use support::nats::{NatsServer, Options};
use support::worker::{Worker, WorkerEnv};
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_mins(1);

/// Waits until the worker is unready for a cause that has all these words.
async fn unready(worker: &Worker, words: &[&str]) {
    eventually(&format!("unready because of {words:?}"), WITHIN, async || {
        let (status, body) = worker.http("/readyz").await;
        (status == 503 && words.iter().all(|word| body.contains(word))).then_some(())
    })
    .await;
}

async fn ready(worker: &Worker) {
    eventually("ready again", WITHIN, async || (worker.http("/readyz").await.0 == 200).then_some(())).await;
}

#[tokio::test]
async fn full_store_makes_the_worker_unready_until_there_is_space() {
    let config = "jetstream { max_file_store: 4MB }".to_owned();
    let nats = NatsServer::start_with(Options { config: Some(config), ..Options::default() }).await;
    let limits = |config: &mut sailhand::config::Config| {
        (config.bus.max_bytes, config.bus.max_result_bytes) = (256 * 1024, 256 * 1024);
    };
    let test_env = WorkerEnv::on(nats, limits).await;
    let keys = [test_env.send("dev", "ping", json!({})).await, test_env.send("dev", "ping", json!({})).await];
    // Somebody else fills the disk.
    let context = test_env.client.bus().context();
    let other = stream::Config { name: "OTHER".to_owned(), subjects: vec!["other".to_owned()], ..Default::default() };
    context.create_stream(other).await.unwrap();
    let mut size = 256 * 1024;
    while size >= 16 {
        if context.publish("other", vec![0; size].into()).await.unwrap().await.is_err() {
            size /= 2;
        }
    }
    let worker = test_env.worker("w1").await;
    unready(&worker, &["SH2002", "resource"]).await;
    for key in &keys {
        assert!(test_env.client.state(key).await.is_ok(), "it is still in the queue");
    }
    context.delete_stream("OTHER").await.unwrap();
    for key in &keys {
        assert_eq!(test_env.result(key).await.outcome, Outcome::Succeeded);
    }
    ready(&worker).await;
}

/// The example accounts, with the worker's rights without one line.
fn configuration(without: Option<&str>) -> String {
    let text = accounts::configuration();
    let Some(without) = without else { return text };
    let (before, worker) = text.split_once("# The pool of workers.").unwrap();
    let changed = worker.replacen(without, "", 1);
    assert_ne!(worker, changed, "{without} is a right of the worker");
    format!("{before}# The pool of workers.{changed}")
}

#[tokio::test]
async fn a_revoked_permission_makes_the_worker_unready_until_it_is_granted() {
    let nats = accounts::server().await;
    let dir = TempDir::new().unwrap();
    let [admin, worker] = ["admin", "worker"].map(|user| accounts::login(&nats, dir.path(), user));
    let mut test_env = WorkerEnv::on(nats, |config| config.nats = admin).await;
    test_env.config.nats = worker;
    let worker = test_env.worker("w1").await;
    assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);

    for right in [r#""istio.res.>""#, r#""$JS.API.CONSUMER.MSG.NEXT.ISTIO_CMD.worker""#] {
        let reloads = || test_env.nats.log().matches("Reloaded server configuration").count();
        let before = reloads();
        test_env.nats.reload(&configuration(Some(right)));
        eventually("the right is gone", WITHIN, async || (reloads() > before).then_some(())).await;
        let key = test_env.send("dev", "ping", json!({})).await;
        unready(&worker, &["SH2004", right.trim_matches(['"', '>', '.'])]).await;
        test_env.nats.reload(&configuration(None));
        let result = test_env.result(&key).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{right}");
        ready(&worker).await;
    }
    let results = test_env.client.bus().context().get_stream("ISTIO_RES").await.unwrap();
    assert_eq!(results.get_info().await.unwrap().state.messages, 3, "one for each command");
}
