//! The store of NATS is lost while the clusters keep what was done: after `topology apply` on a new one everything goes on.

use crate::support;

use std::time::Duration;

use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::event::{Outcome, ResultData};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::worker::Stage;

async fn apply(stage: &Stage, name: &str, value: &str) -> ResultData {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "data": {"value": value},
    });
    stage.run("dev", "config.apply", json!({"name": name, "manifest": object.to_string()})).await
}

async fn label(stage: &Stage, namespace: &str, mode: &str) -> ResultData {
    let params: Value = json!({"namespace": namespace, "mode": mode, "create": true});
    stage.run("dev", "namespace.label", params).await
}

#[tokio::test]
async fn installations_outlive_the_store_of_nats() {
    let mut stage = Stage::new().await;
    let worker = stage.worker("w1").await;
    let name = format!("lost-{}", uuid::Uuid::new_v4().simple());
    let first = apply(&stage, &name, "a").await;
    assert_eq!((first.outcome, first.changed), (Outcome::Succeeded, true), "{first:?}");
    let labelled = label(&stage, &name, "enabled").await;
    assert_eq!((labelled.outcome, labelled.changed), (Outcome::Succeeded, true), "{labelled:?}");

    stage.nats.lose_store().await;
    eventually("the worker says that its streams are gone", Duration::from_mins(1), async || {
        let (status, causes) = worker.http("/readyz").await;
        (status == 503 && causes.contains("SH2003")).then_some(())
    })
    .await;
    topology::apply(stage.client.bus(), &Topology::new(&stage.config.bus)).await.unwrap();

    // The worker goes on by itself, and so does one that comes new.
    let second = apply(&stage, &name, "b").await;
    assert_eq!((second.outcome, second.changed), (Outcome::Succeeded, true), "{second:?}");
    assert!(second.fence > first.fence, "{} after {}", second.fence, first.fence);
    let labelled = label(&stage, &name, "disabled").await;
    assert_eq!((labelled.outcome, labelled.changed), (Outcome::Succeeded, true), "{labelled:?}");
    drop(worker);
    let _worker = stage.worker("w2").await;
    let third = apply(&stage, &name, "b").await;
    assert_eq!((third.outcome, third.changed), (Outcome::Succeeded, false), "{third:?}");
    let removed = stage.run("dev", "config.delete", json!({"name": name})).await;
    assert_eq!(removed.outcome, Outcome::Succeeded, "{removed:?}");
}
