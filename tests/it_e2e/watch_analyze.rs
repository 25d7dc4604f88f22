//! `config.watch-analyze` through a real bus and a real worker to a real API server: what becomes wrong is found, what
//! is mended is resolved, nobody is kept from writing, and a worker that leaves hands the watch over.

use crate::support;

use std::cell::Cell;

use sailhand::event::{EventKind, Outcome};
use serde_json::{Value, json};
use support::worker::{WorkerEnv, unique_name};

/// A Deployment whose user is the proxy's, or is not.
fn apply(name: &str, user: u32) -> Value {
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"securityContext": {"runAsUser": user}, "containers": [{"name": "web", "image": "web:1"}]},
        }},
    });
    json!({"name": name, "manifest": manifest.to_string(), "create_namespace": true, "wait": "0s"})
}

/// Whether an event tells IST0144 of the Deployment.
fn tells(kind: &EventKind, name: &str, is_found: bool, is_first: bool) -> bool {
    let findings = match kind {
        EventKind::Found(found) if is_found && found.first == is_first => &found.findings,
        EventKind::Resolved(resolved) if !is_found => &resolved.findings,
        _ => return false,
    };
    let resource = format!("Deployment {name}/web");
    findings.iter().any(|one| one.code == "IST0144" && one.resource == resource && !one.fingerprint.is_empty())
}

#[tokio::test]
async fn watch_publishes_new_and_resolved_findings() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let app = unique_name("watched");
    let params = json!({"duration": "10m", "namespaces": [app], "codes": ["IST0144"]});
    let key = test_env.send("dev", "config.watch-analyze", params).await;
    test_env
        .event(&key, |kind| matches!(kind, EventKind::Found(found) if found.first && found.findings.is_empty()))
        .await;
    for (user, is_found, times) in [(1337, true, 1), (1000, false, 1), (1337, true, 2)] {
        // Another command of the same target is not kept waiting.
        let written = test_env.run("dev", "config.apply", apply(&app, user)).await;
        assert_eq!(written.outcome, Outcome::Succeeded, "{written:?}");
        // All that has been told is seen again.
        let seen = Cell::new(0);
        let counted = |kind: &EventKind| {
            seen.set(seen.get() + u32::from(tells(kind, &app, is_found, false)));
            seen.get() == times
        };
        test_env.event(&key, counted).await;
    }
    test_env.client.cancel(&key, "test").await.unwrap();
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.changed), (Outcome::Cancelled, false));
    let report = result.report.unwrap();
    assert_eq!(
        (&report["first"], &report["found"], &report["resolved"]),
        (&json!(0), &json!(2), &json!(1)),
        "{report}"
    );
    assert_eq!((&report["warnings"], &report["unread"]), (&json!(1), &json!([])), "{report}");
}

#[tokio::test]
async fn watch_ends_at_its_deadline_and_moves_to_another_worker_on_shutdown() {
    let test_env = WorkerEnv::new().await;
    let app = unique_name("watched");
    let first = test_env.worker("w1").await;
    let written = test_env.run("dev", "config.apply", apply(&app, 1337)).await;
    assert_eq!(written.outcome, Outcome::Succeeded, "{written:?}");
    let params = json!({"duration": "15s", "namespaces": [app], "codes": ["IST0144"]});
    let key = test_env.send("dev", "config.watch-analyze", params).await;
    test_env.event(&key, |kind| tells(kind, &app, true, true)).await;
    let _second = test_env.worker("w2").await;
    first.stop().await;
    test_env.event(&key, |kind| matches!(kind, EventKind::Started(started) if started.worker == "w2")).await;
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.worker.as_str(), result.attempts), (Outcome::Succeeded, "w2", 1), "{result:?}");
    assert_eq!(result.report.unwrap()["first"], json!(1));

    let wrong = test_env.run("dev", "config.watch-analyze", json!({"duration": "25h"})).await;
    assert_eq!(wrong.outcome, Outcome::Rejected);
    assert!(wrong.error.unwrap().message.contains("24h"));
}
