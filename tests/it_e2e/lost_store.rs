//! The store of NATS is lost while the clusters keep what was done: after `topology apply` on a new one everything goes on.

use crate::support;

use std::time::Duration;

use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::event::{Outcome, ResultData};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::worker::WorkerEnv;

async fn apply(test_env: &WorkerEnv, name: &str, value: &str) -> ResultData {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "data": {"value": value},
    });
    test_env.run("dev", "config.apply", json!({"name": name, "manifest": object.to_string()})).await
}

async fn label(test_env: &WorkerEnv, namespace: &str, mode: &str) -> ResultData {
    let params: Value = json!({"namespace": namespace, "mode": mode, "create": true});
    test_env.run("dev", "namespace.label", params).await
}

#[tokio::test]
async fn installations_outlive_the_store_of_nats() {
    let mut test_env = WorkerEnv::new().await;
    let worker = test_env.worker("w1").await;
    let name = format!("lost-{}", uuid::Uuid::new_v4().simple());
    let first = apply(&test_env, &name, "a").await;
    assert_eq!((first.outcome, first.changed), (Outcome::Succeeded, true), "{first:?}");
    let labelled = label(&test_env, &name, "enabled").await;
    assert_eq!((labelled.outcome, labelled.changed), (Outcome::Succeeded, true), "{labelled:?}");

    test_env.nats.lose_store().await;
    eventually("the worker says that its streams are gone", Duration::from_mins(1), async || {
        let (status, causes) = worker.http("/readyz").await;
        (status == 503 && causes.contains("SH2003")).then_some(())
    })
    .await;
    topology::apply(test_env.client.bus(), &Topology::new(&test_env.config.bus)).await.unwrap();

    // The worker goes on by itself, and so does one that comes new.
    let second = apply(&test_env, &name, "b").await;
    assert_eq!((second.outcome, second.changed), (Outcome::Succeeded, true), "{second:?}");
    assert!(second.fence > first.fence, "{} after {}", second.fence, first.fence);
    let labelled = label(&test_env, &name, "disabled").await;
    assert_eq!((labelled.outcome, labelled.changed), (Outcome::Succeeded, true), "{labelled:?}");
    drop(worker);
    let _worker = test_env.worker("w2").await;
    let third = apply(&test_env, &name, "b").await;
    assert_eq!((third.outcome, third.changed), (Outcome::Succeeded, false), "{third:?}");
    let removed = test_env.run("dev", "config.delete", json!({"name": name})).await;
    assert_eq!(removed.outcome, Outcome::Succeeded, "{removed:?}");
}
