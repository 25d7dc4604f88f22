//! Commands through a real bus and a real worker process to a real API server: what each verb does, and that doing it
//! again does nothing.

use crate::support;

use std::time::Duration;

use sailhand::client::{Filter, State};
use sailhand::event::{EventKind, Outcome};
use serde_json::{Value, json};
use support::worker::{WorkerEnv, draft, unique_name};
use time::OffsetDateTime;

fn config_map(namespace: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {namespace}}}\ndata: {{a: {value}}}\n"
    )
}

/// No node has the label, so its pod waits for ever.
fn never_ready(namespace: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "waits", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "waits"}}, "template": {
            "metadata": {"labels": {"app": "waits"}},
            "spec": {"nodeSelector": {"no": "node"}, "containers": [{"name": "a", "image": "example.com/a:1"}]},
        }},
    })
    .to_string()
}

/// A Grafana whose pod has a sidecar that reads dashboards. No node runs it.
fn grafana(namespace: &str) -> String {
    let env = json!([{"name": "LABEL", "value": "grafana_dashboard"}, {"name": "FOLDER", "value": "/tmp/dashboards"}]);
    let sidecar = json!({"name": "sidecar", "image": "quay.io/kiwigrid/k8s-sidecar:1.30.0", "env": env});
    let metadata = json!({"name": "boards", "namespace": namespace, "labels": {"app": "boards"}});
    let service = json!({"selector": {"app": "boards"}, "ports": [{"name": "http", "port": 80}]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"schedulerName": "none", "containers": [sidecar]}},
    ]})
    .to_string()
}

fn actions(report: &Value) -> Vec<&str> {
    report["objects"].as_array().unwrap().iter().map(|object| object["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_verb_works_and_its_second_run_changes_nothing() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let (app, space) = (unique_name("app"), unique_name("space"));
    let boards = unique_name("boards");
    let manifest = config_map(&space, "one");
    support::istio_crds::install();
    let rules = json!([{"destinations": [{"subset": "v1"}], "timeout": "3s"}]);
    for (verb, params) in [
        ("ping", json!({"echo": "hello"})),
        ("namespace.label", json!({"namespace": space, "mode": "enabled", "create": true})),
        ("config.apply", json!({"name": app, "manifest": manifest, "wait": "30s"})),
        ("sample.deploy", json!({"application": "httpbin", "namespace": space, "wait": "60s"})),
        ("traffic.apply", json!({"namespace": space, "service": "httpbin", "rules": rules})),
        ("traffic.clear", json!({"namespace": space})),
        ("policy.apply", json!({"scope": {"of": "namespace", "namespace": space}, "mtls": {"mode": "strict"}})),
        ("policy.remove", json!({"scope": {"of": "namespace", "namespace": space}, "kind": "mtls"})),
        ("addon.apply", json!({"addon": "zipkin", "namespace": space, "wait": "0s"})),
        ("connection.discover", json!({"namespaces": [space], "ask": false})),
        (
            "connection.apply",
            json!({"name": app, "kind": "prometheus", "check": false, "service": {"namespace": space, "name": "zipkin", "port": 9411}}),
        ),
        // The store does not run: what it scrapes is not known, and the jobs are in the report.
        ("scrape.apply", json!({"connection": app})),
        ("scrape.remove", json!({"connection": app})),
        ("config.apply", json!({"name": boards, "manifest": grafana(&space)})),
        (
            "connection.apply",
            json!({"name": boards, "kind": "grafana", "check": false, "service": {"namespace": space, "name": "boards", "port": 80}}),
        ),
        ("dashboard.apply", json!({"grafana": boards, "prometheus": app, "dashboards": ["mesh"]})),
        ("dashboard.remove", json!({"grafana": boards})),
        ("connection.remove", json!({"name": boards})),
        ("connection.remove", json!({"name": app})),
        ("addon.remove", json!({"addon": "zipkin", "namespace": space, "wait": "60s"})),
        (
            "smi.install",
            // Another test may have applied the CRDs.
            json!({"image": "example.invalid/sailhand:0", "namespace": space, "root_namespace": space, "force": true, "wait": "0s"}),
        ),
        // The finalizer of kube-apiserver 1.34 sometimes needs more than 3 minutes for a CRD that is a second old: it lists the
        // objects while the storage of the CRD starts.
        ("smi.remove", json!({"namespace": space, "root_namespace": space, "remove_crds": true, "wait": "5m"})),
        ("sample.remove", json!({"application": "httpbin", "namespace": space, "wait": "60s"})),
        ("config.delete", json!({"name": app, "wait": "30s"})),
    ] {
        let first = test_env.run("dev", verb, params.clone()).await;
        assert_eq!(first.outcome, Outcome::Succeeded, "{verb}: {first:?}");
        let reads = matches!(verb, "ping" | "connection.discover" | "scrape.apply" | "scrape.remove");
        assert_eq!(first.changed, !reads, "{verb}: {first:?}");
        let second = test_env.run("dev", verb, params).await;
        assert_eq!(second.outcome, Outcome::Succeeded, "{verb}, again: {second:?}");
        assert!(!second.changed, "{verb}, again: {second:?}");
    }
}

#[tokio::test]
async fn the_same_command_again_has_one_result_and_one_attempt() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let target = "dev".parse().unwrap();
    let draft = draft(
        "config.apply",
        json!({"name": unique_name("twice"), "manifest": config_map(&unique_name("twice"), "x"), "create_namespace": true}),
    );
    let key = draft.key();
    let payload = serde_json::to_vec(&draft.event(&target, OffsetDateTime::now_utc()).unwrap()).unwrap();
    let subject = test_env.client.bus().subjects().command(&target, "config.apply");
    // Without a message id the queue takes every copy.
    for _ in 0..5 {
        let sent = test_env.client.bus().context().publish(subject.clone(), payload.clone().into()).await.unwrap();
        sent.await.unwrap();
    }
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.changed, result.attempts), (Outcome::Succeeded, true, 1));
    let context = test_env.client.bus().context().clone();
    support::eventually::eventually("the queue is empty", Duration::from_secs(20), async || {
        let info = context.get_stream("ISTIO_CMD").await.unwrap().get_info().await.unwrap();
        (info.state.messages == 0).then_some(())
    })
    .await;
    assert_eq!(context.get_stream("ISTIO_RES").await.unwrap().get_info().await.unwrap().state.messages, 1);
    assert_eq!(test_env.result(&key).await, result, "the first result stays");
}

#[tokio::test]
async fn cancelled_command_reports_completed_changes() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let params = json!({"name": unique_name("cancel"), "manifest": never_ready(&unique_name("cancel")), "create_namespace": true, "wait": "5m"});
    let key = test_env.send("dev", "config.apply", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Progress(step) if step.phase == "wait")).await;
    test_env.client.cancel(&key, "test").await.unwrap();
    let result = test_env.result(&key).await;
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert_eq!(result.error.unwrap().code, "SH1012");
    assert_eq!(actions(&result.report.unwrap()), ["created", "created"], "the namespace and the Deployment");
}

#[tokio::test]
async fn one_command_cancels_another_of_its_own_target_only() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let params = json!({"name": unique_name("cancel"), "manifest": never_ready(&unique_name("cancel")), "create_namespace": true, "wait": "5m"});
    let key = test_env.send("dev", "config.apply", params).await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Progress(step) if step.phase == "wait")).await;
    let cancel = json!({"command": key.to_string()});
    let elsewhere = test_env.run("gone", "cancel", cancel.clone()).await;
    assert_eq!(elsewhere.outcome, Outcome::Succeeded);
    assert!(matches!(test_env.client.state(&key).await.unwrap(), State::Started(_)), "it is another target's");
    assert!(test_env.run("dev", "cancel", cancel.clone()).await.changed);
    assert_eq!(test_env.result(&key).await.outcome, Outcome::Cancelled);
    let again = test_env.run("dev", "cancel", cancel).await;
    assert_eq!((again.changed, again.report.unwrap()["cancelled"].as_str()), (false, Some("ended")));
}

#[tokio::test]
async fn a_command_that_is_cancelled_before_it_starts_is_not_begun() {
    let test_env = WorkerEnv::new().await;
    let key = test_env.send("dev", "ping", json!({})).await;
    test_env.client.cancel(&key, "test").await.unwrap();
    let _worker = test_env.worker("w1").await;
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Cancelled, 0));
}

#[tokio::test]
async fn a_deadline_ends_a_command_in_the_queue_and_while_it_runs() {
    let test_env = WorkerEnv::new().await;
    let target = "dev".parse().unwrap();
    let mut late = draft("ping", json!({}));
    late.expiry = Some(OffsetDateTime::now_utc() - Duration::from_secs(1));
    let late = test_env.client.submit(&target, late).await.unwrap().key;
    let _worker = test_env.worker("w1").await;
    let result = test_env.result(&late).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Expired, 0));
    assert_eq!(result.error.unwrap().code, "SH1010");

    let mut short = draft(
        "config.apply",
        json!({"name": unique_name("short"), "manifest": never_ready(&unique_name("short")), "create_namespace": true, "wait": "5m"}),
    );
    short.expiry = Some(OffsetDateTime::now_utc() + Duration::from_secs(3));
    let short = test_env.client.submit(&target, short).await.unwrap().key;
    let result = test_env.result(&short).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Expired, 1), "{result:?}");
    assert_eq!(result.error.unwrap().code, "SH1015");
}

#[tokio::test]
async fn an_older_generation_is_superseded() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let target = "dev".parse().unwrap();
    let installation = unique_name("generation");
    for (generation, value, outcome) in [(2, "new", Outcome::Succeeded), (1, "old", Outcome::Superseded)] {
        let params =
            json!({"name": installation, "manifest": config_map(&installation, value), "create_namespace": true});
        let mut draft = draft("config.apply", params);
        draft.generation = Some(generation);
        let key = test_env.client.submit(&target, draft).await.unwrap().key;
        assert_eq!(test_env.result(&key).await.outcome, outcome, "generation {generation}");
    }
}

#[tokio::test]
async fn command_for_an_unreachable_cluster_is_retried_then_replayable_dead_letter() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let mut draft = draft("config.apply", json!({"name": "a", "manifest": config_map("default", "x")}));
    draft.expiry = Some(OffsetDateTime::now_utc() + Duration::from_secs(6));
    let key = test_env.client.submit(&"gone".parse().unwrap(), draft).await.unwrap().key;
    test_env
        .event(&key, |kind| matches!(kind, EventKind::Retrying(retrying) if retrying.problem.code == "SH3001"))
        .await;
    let result = test_env.result(&key).await;
    // A retry that would come too late ends the command; one that comes just in time finds it expired.
    assert!(matches!(result.outcome, Outcome::Failed | Outcome::Expired), "{result:?}");
    if result.outcome == Outcome::Failed {
        let filter = Filter { limit: 10, ..Filter::default() };
        let letters = test_env.client.dead_letters(&filter).await.unwrap();
        assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "exhausted"));
        let again = test_env.client.replay(&letters[0]).await.unwrap();
        assert_ne!(again.key, key);
        test_env.event(&again.key, |kind| matches!(kind, EventKind::Retrying(_))).await;
    }
}

#[tokio::test]
async fn trace_context_is_propagated_to_the_result() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let mut draft = draft("ping", json!({}));
    draft.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let key = test_env.client.submit(&"dev".parse().unwrap(), draft).await.unwrap().key;
    test_env.result(&key).await;
    let mut told = test_env.client.watch_command(&key);
    while let Some(observation) = futures::StreamExt::next(&mut told).await {
        let event = observation.unwrap().event;
        let traceparent = event["traceparent"].as_str().unwrap();
        assert!(traceparent.contains("0af7651916cd43dd8448eb211c80319c"), "{event}");
    }
}
