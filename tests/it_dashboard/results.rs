//! Pages about the results of certain verbs: connections and conformance.

use serde_json::{Value, json};

use crate::http::{DashboardEnv, key};
use crate::support::worker::WorkerEnv;

const HOSTILE: &str = "<script>alert(1)</script>";

async fn ended(test_env: &DashboardEnv, verb: &str, report: Value) -> String {
    let origin = test_env.command(verb, json!({})).await;
    test_env.end(&origin, Some(report)).await;
    key(&origin).to_string()
}

#[tokio::test]
async fn connections_show_servers_checks_and_signals() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    assert!(dashboard.get("/connections").await.body.contains("No connections yet"));
    let server = json!({ "fingerprint": "prometheus/istio-system/prometheus:9090", "kind": "prometheus", "flavor": "thanos",
        "version": "0.40", "score": 0.97, "evidence": [], "used_by": ["Kiali istio-system/kiali"], "state": "refused",
        "reason": HOSTILE, "of_a_newer_version": 1 });
    ended(&test_env, "connection.discover", json!({ "instances": [server], "unread": [] })).await;
    let finding = json!({ "cause": "proxies-not-scraped", "severity": "error", "message": "No proxy is scraped.",
        "evidence": [], "remedy": "Apply a PodMonitor." });
    let check = json!({ "store": "http://prometheus", "rung": "fresh", "of": "correct", "findings": [finding],
        "expected_targets": 7, "unread": [] });
    ended(&test_env, "connection.check", check).await;
    for rate in [1.0, 12.5] {
        let value = |value: f64| json!([{ "namespace": "shop", "service": "reviews", "version": "v2", "presence": "value", "value": value }]);
        let signals = json!([{ "name": "rate", "values": value(rate) }, { "name": "errors", "values": value(0.25) },
            { "name": "latency-p99", "values": value(40.0) }]);
        ended(&test_env, "metrics.query", json!({ "store": "http://prometheus", "signals": signals })).await;
    }
    dashboard.lists("metrics.query").await;
    let page = dashboard.get("/connections").await;
    for part in [
        "refused",
        "thanos",
        "97 %",
        "Kiali istio-system/kiali",
        "Apply a PodMonitor.",
        "Reached: fresh",
        "12.5 /s",
        "25.0 %",
        "40.0 ms",
        "<polyline",
        "v2",
        "&lt;script&gt;",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains(HOSTILE) && !page.body.contains("style="), "{}", page.body);
}

#[tokio::test]
async fn conformance_shows_verdicts_cases_and_changes() {
    let test_env = WorkerEnv::on(crate::support::nats::NatsServer::start().await, |_| {}).await;
    let _worker = test_env.worker("w1").await;
    let dashboard = crate::http::Dashboard::start(&["--nats-url", &test_env.nats.url()]).await;
    assert!(dashboard.get("/conformance").await.body.contains("No conformance run has ended"));
    let mut last = None;
    for _ in 0..2 {
        let run = test_env.send("dev", "conformance.run", json!({ "suite": "smi", "driver": "simulated" })).await;
        test_env.result(&run).await;
        last = Some(run);
    }
    let last = last.unwrap();
    dashboard.lists(&format!("/runs/{last}")).await;
    let matrix = dashboard.get("/conformance").await;
    for part in ["Traffic Split", "dev", "simulated", &format!("/conformance/{last}"), "class=\"history\""] {
        assert!(matrix.body.contains(part), "{part}: {}", matrix.body);
    }
    let run = dashboard.get(&format!("/conformance/{last}")).await;
    for part in
        ["no request was sent", "Every case and specification has the same verdict", "TS-", "<details>", "Expected"]
    {
        assert!(run.body.contains(part), "{part}: {}", run.body);
    }
    assert!(!run.body.contains("style="), "{}", run.body);
    let filtered = dashboard.get(&format!("/conformance/{last}?status=failed")).await;
    assert!(
        filtered.status == 200 && !filtered.body.contains("<summary><span class=\"b passed\""),
        "{}",
        filtered.body
    );
    assert_eq!(dashboard.get(&format!("/conformance/{}", "0".repeat(32))).await.status, 404);
}
