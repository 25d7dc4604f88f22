//! Workers that die, stop and start over; a bus that goes away; messages that are no commands.

use crate::support;

use std::time::Duration;

use async_nats::HeaderMap;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use sailhand::client::Filter;
use sailhand::event::{CommandKey, EventKind, Outcome, binding};
use serde_json::{Value, json};
use support::control_plane;
use support::eventually::eventually;
use support::worker::{WorkerEnv, unique_name};

/// A Deployment in that namespace that nobody schedules before the gate is [open](open).
fn gated(namespace: &str) -> String {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "waits", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "waits"}}, "template": {
            "metadata": {"labels": {"app": "waits"}},
            "spec": {
                "schedulingGates": [{"name": "sailhand.test/gate"}],
                "containers": [{"name": "a", "image": "example.com/a:1"}],
            },
        }},
    });
    deployment.to_string()
}

async fn open(namespace: &str) {
    let config = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config).unwrap(), namespace);
    let name = eventually("its pod is there", Duration::from_secs(20), async || {
        let found = pods.list(&ListParams::default().labels("app=waits")).await.unwrap();
        found.items.first().map(ResourceExt::name_any)
    })
    .await;
    let opened = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    pods.patch(&name, &PatchParams::default(), &opened).await.unwrap();
}

#[tokio::test]
async fn killed_worker_is_replaced_and_the_command_has_one_result() {
    let test_env = WorkerEnv::new().await;
    let mut first = test_env.worker("first").await;
    let name = unique_name("killed");
    let params = json!({"name": name, "manifest": gated(&name), "create_namespace": true, "wait": "2m"});
    let key = test_env.send("dev", "config.apply", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Progress(step) if step.phase == "wait")).await;
    first.kill();
    let _second = test_env.worker("second").await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Started(started) if started.worker == "second")).await;
    open(&name).await;
    let result = test_env.result(&key).await;
    assert_eq!(result.outcome, Outcome::Succeeded, "{result:?}");
    assert_eq!((result.worker.as_str(), result.attempts), ("second", 2));
    assert!(result.changed, "the first had written, the second found nothing to do: {result:?}");
    let report = result.report.unwrap();
    assert_eq!(report["objects"][0]["action"], "unchanged", "{report:#}");
    let results = test_env.client.bus().context().get_stream("ISTIO_RES").await.unwrap();
    assert_eq!(results.get_info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn result_after_a_crash_lists_the_attempts() {
    let test_env = WorkerEnv::new().await;
    let mut first = test_env.worker("first").await;
    let name = unique_name("given-up");
    let params = json!({"name": name, "manifest": gated(&name), "create_namespace": true, "wait": "5m"});
    let key = test_env.send("dev", "config.apply", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Progress(step) if step.phase == "wait")).await;
    first.kill();
    test_env.client.cancel(&key, "test").await.unwrap();
    let _second = test_env.worker("second").await;
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts, result.worker.as_str()), (Outcome::Cancelled, 1, "second"));
    assert!(result.changed, "the one that died had written: {result:?}");
}

#[tokio::test]
async fn stopping_worker_completes_running_commands_and_pulls_no_more() {
    let test_env = WorkerEnv::new().await;
    let worker = test_env.worker("leaving").await;
    let params = json!({"application": "bookinfo", "namespace": unique_name("leaving"), "wait": "60s"});
    let key = test_env.send("dev", "sample.deploy", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Started(_))).await;
    assert!(worker.stop().await.success());
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts, result.worker.as_str()), (Outcome::Succeeded, 1, "leaving"));
}

#[tokio::test]
async fn task_that_outlasts_the_grace_period_is_requeued_and_continues_on_another_worker() {
    let mut test_env = WorkerEnv::new().await;
    test_env.config.worker.grace = Duration::from_secs(1);
    let leaving = test_env.worker("leaving").await;
    let name = unique_name("grace");
    let params = json!({"name": name, "manifest": gated(&name), "create_namespace": true, "wait": "5m"});
    let key = test_env.send("dev", "config.apply", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Progress(step) if step.phase == "wait")).await;
    assert!(leaving.stop().await.success());
    let _next = test_env.worker("next").await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Started(started) if started.worker == "next")).await;
    test_env.client.cancel(&key, "test").await.unwrap();
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Cancelled, 1), "what is handed back is no attempt");
}

#[tokio::test]
async fn readiness_follows_the_bus_connection() {
    let mut test_env = WorkerEnv::new().await;
    let worker = test_env.worker("w1").await;
    assert_eq!(worker.http("/livez").await.0, 200);
    assert_eq!(worker.http("/readyz").await.0, 200);
    test_env.nats.kill();
    let cause = eventually("the worker is not ready", Duration::from_secs(20), async || {
        let (status, body) = worker.http("/readyz").await;
        (status == 503).then_some(body)
    })
    .await;
    assert!(cause.contains("SH2001"), "{cause}");
    let late = test_env.start("late");
    let address = test_env.nats.url();
    eventually("a worker that starts meanwhile says whom it cannot reach", Duration::from_secs(20), async || {
        let log = late.log();
        (log.contains("SH2001: cannot connect to NATS") && log.contains(&address)).then_some(())
    })
    .await;
    test_env.nats.restart().await;
    eventually("so is the late one", Duration::from_secs(30), async || late.log().contains("\"ready\"").then_some(()))
        .await;
    assert!(late.stop().await.success(), "the other one takes the command");
    eventually("the worker is ready again", Duration::from_secs(30), async || {
        (worker.http("/readyz").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);
    eventually("the metrics count the command", Duration::from_secs(10), async || {
        let metrics = worker.http("/metrics").await.1;
        metrics.contains(r#"sailhand_commands_total{verb="ping",outcome="succeeded"} 1"#).then_some(())
    })
    .await;
}

/// Sent as they are; the code each ends with, and whether its sender can be answered.
fn bad_input() -> Vec<(&'static str, &'static str, HeaderMap, String, &'static str, bool)> {
    let event = |change: &dyn Fn(&mut Value)| {
        let mut event = json!({
            "specversion": "1.0", "id": uuid::Uuid::new_v4().to_string(), "source": "/bad", "subject": "dev",
            "type": "io.meshery.istio.command.ping.v1", "data": {},
        });
        change(&mut event);
        event.to_string()
    };
    let none = HeaderMap::new;
    let mut binary = HeaderMap::new();
    for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "%ff"), ("ce-source", "/bad")] {
        binary.insert(name, value);
    }
    let apply = |manifest: &str| json!({"name": "bad", "manifest": manifest});
    let typed = |verb: &str, data: Value| {
        let ty = format!("io.meshery.istio.command.{verb}.v1");
        event(&|event| {
            event["type"] = json!(ty);
            event["data"] = data.clone();
        })
    };
    vec![
        ("malformed JSON", "ping", none(), "{".to_owned(), "SH1001", false),
        ("invalid UTF-8 in a header", "ping", binary, "{}".to_owned(), "SH1002", false),
        ("no id", "ping", none(), event(&|e| e["id"] = json!("")), "SH1002", false),
        ("no type", "ping", none(), event(&|e| e["type"] = Value::Null), "SH1002", true),
        ("no time", "ping", none(), event(&|e| e["time"] = json!("yesterday")), "SH1002", true),
        (
            "unknown type",
            "fly",
            none(),
            event(&|e| e["type"] = json!("io.meshery.istio.command.fly.v1")),
            "SH1003",
            true,
        ),
        (
            "unknown version",
            "ping",
            none(),
            event(&|e| e["type"] = json!("io.meshery.istio.command.ping.v9")),
            "SH1004",
            true,
        ),
        ("unknown field", "ping", none(), event(&|e| e["data"] = json!({"ehco": "x"})), "SH1005", true),
        (
            "no duration",
            "config.apply",
            none(),
            typed("config.apply", json!({"name": "a", "manifest": "x", "wait": "soon"})),
            "SH1005",
            true,
        ),
        ("wrong type", "ping", none(), event(&|e| e["data"] = json!({"echo": 1})), "SH1005", true),
        ("other verb than its subject", "config.delete", none(), event(&|_| {}), "SH1009", true),
        (
            "a dataref to nowhere",
            "ping",
            none(),
            event(&|e| {
                e["dataref"] = json!(format!("nats-object://istio_blob/{}", "0".repeat(64)));
                e.as_object_mut().unwrap().remove("data");
            }),
            "SH1007",
            true,
        ),
        ("cancel of nothing", "cancel", none(), typed("cancel", json!({})), "SH1005", true),
        (
            "unknown kind",
            "config.apply",
            none(),
            typed("config.apply", apply("apiVersion: a/v1\nkind: B\nmetadata: {name: c}")),
            "SH3004",
            true,
        ),
        ("broken YAML", "config.apply", none(), typed("config.apply", apply("a: [")), "SH3101", true),
        ("not an object", "config.apply", none(), typed("config.apply", apply("a: 1")), "SH3103", true),
    ]
}

#[tokio::test]
async fn invalid_input_gets_a_result_with_its_code() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let context = test_env.client.bus().context();
    for (what, verb, headers, payload, code, answered) in bad_input() {
        let sent = context.publish_with_headers(format!("istio.cmd.dev.{verb}"), headers, payload.clone().into()).await;
        sent.unwrap().await.unwrap();
        if answered {
            let event = binding::read(&std::iter::empty(), payload.as_bytes()).unwrap();
            let key = CommandKey::new(event["source"].as_str().unwrap(), event["id"].as_str().unwrap());
            let result = test_env.result(&key).await;
            assert_eq!(result.outcome, Outcome::Rejected, "{what}: {result:?}");
            assert_eq!(result.error.expect(what).code, code, "{what}");
        } else {
            let filter = Filter { limit: 100, ..Filter::default() };
            eventually(what, Duration::from_secs(10), async || {
                let letters = test_env.client.dead_letters(&filter).await.unwrap();
                letters.into_iter().find(|letter| letter.code == code && letter.raw.as_deref() != Some(""))
            })
            .await;
        }
    }
    let unknown = test_env.run("elsewhere", "ping", json!({})).await;
    assert_eq!((unknown.outcome, unknown.error.unwrap().code.as_str()), (Outcome::Rejected, "SH1008"));
    assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded, "the queue goes on");
}
