//! Pages about the results of certain verbs: connections and conformance.

use sailhand::event::EventKind;
use sailhand::task_event::{FindingReport, Found, Resolved};
use serde_json::{Value, json};

use crate::http::{DashboardEnv, PATIENCE, key, started};
use crate::support::eventually::eventually;
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
        "refuses",
        "thanos",
        "97 %",
        "Kiali istio-system/kiali",
        "Apply a PodMonitor.",
        "Steps of the check",
        "has recent samples",
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
async fn newest_dead_letter_is_first_and_a_filter_that_is_no_target_selects_none() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    for echo in ["first", "second"] {
        test_env.dead_letter("ping", json!({ "echo": echo })).await;
    }
    let all = dashboard.get("/dead-letters").await.body;
    let (first, second) = (all.find("#1 ").unwrap(), all.find("#2 ").unwrap());
    assert!(second < first && all.contains(", 1 delivery<"), "{all}");
    let none = dashboard.get("/dead-letters?target=Not+a+target").await.body;
    assert!(none.contains("No dead letters match.") && !none.contains("#1 "), "{none}");
}

#[tokio::test]
async fn targets_show_their_mesh_and_last_run() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let plane = json!({ "revision": "1-30", "namespace": "istio-system", "version": "1.30.3", "installed_by": "sail-operator",
        "ready": true, "supported": false, "proxies": { "1.30.3": 7 } });
    let part = json!({ "component": "istiod", "version": "1.30.3", "namespace": "istio-system", "drift": [{}, {}] });
    let status = json!({ "kubernetes": "1.34.4", "control_planes": [plane], "parts": [part], "tags": [], "namespaces": [],
        "proxies": 7, "of_a_newer_version": 1 });
    let key = ended(&test_env, "mesh.status", status).await;
    let failed = test_env.command("mesh.upgrade", json!({ "version": "1.30.3" })).await;
    test_env.publish(&failed, 1, started("mesh.upgrade")).await;
    let other = test_env.command_on("other", "ping", json!({})).await;
    test_env.publish(&other, 1, started("ping")).await;
    test_env.waiting_command_on("other", "ping", json!({})).await;
    dashboard.lists("mesh.upgrade").await;
    dashboard.lists("other").await;
    let page = dashboard.get("/targets").await;
    let row = |name: &str| {
        let at = page.body.find(&format!("<strong>{name}</strong>")).unwrap_or_else(|| panic!("{name}: {}", page.body));
        page.body[at..].split("</tr>").next().unwrap().to_owned()
    };
    let parts =
        ["Istio 1.30.3", "not supported", "revision 1-30, installed by sail-operator", "Drift: 2 objects", "7 proxies"];
    for part in parts.into_iter().chain(["Kubernetes 1.34.4", &key, "mesh.upgrade", "data-state=\"running\""]) {
        assert!(row("dev").contains(part), "{part}: {}", row("dev"));
    }
    assert!(row("other").contains("2 <span class=\"quiet\">queued or running, 1 waiting"), "{}", row("other"));
    assert!(!row("dev").contains(" waiting"), "{}", row("dev"));
    assert!(row("other").contains("/send/mesh.status?target=other"), "{}", row("other"));
}

#[tokio::test]
async fn findings_are_filtered_and_have_a_history() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let finding = |code: &str, severity: &str, resource: &str| FindingReport {
        code: code.to_owned(),
        severity: severity.to_owned(),
        resource: resource.to_owned(),
        field: String::new(),
        message: format!("message of {resource}"),
        line: None,
        fingerprint: resource.to_owned(),
    };
    let (shop, bank) =
        (finding("IST0101", "error", "VirtualService shop/one"), finding("IST0102", "warning", "Namespace bank/two"));
    let watch = test_env.command("config.watch-analyze", json!({})).await;
    test_env.publish(&watch, 1, started("config.watch-analyze")).await;
    let found = Found { first: true, findings: vec![shop.clone(), bank], ..Found::default() };
    test_env.publish(&watch, 2, EventKind::Found(found)).await;
    dashboard.lists("config.watch-analyze").await;
    let listed = async |path: &str, part: &'static str| {
        eventually(part, PATIENCE, async || dashboard.get(path).await.body.contains(part).then_some(())).await;
        dashboard.get(path).await.body
    };
    let all = listed("/findings", "message of Namespace bank/two").await;
    assert!(all.contains("message of VirtualService shop/one"), "{all}");
    for filter in ["namespace=bank", "severity=warning", "code=IST0102"] {
        let page = dashboard.get(&format!("/findings?{filter}")).await.body;
        assert!(page.contains("message of Namespace bank/two") && !page.contains("shop/one"), "{filter}: {page}");
    }
    test_env.publish(&watch, 3, EventKind::Resolved(Resolved { findings: vec![shop] })).await;
    let page = listed("/findings", "History: 3 changes").await;
    assert!(page.contains("data-state=\"resolved\"") && !page.contains("message of VirtualService shop/one"), "{page}");
}

#[tokio::test]
async fn connections_are_paged_by_target() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    for target in ["a", "b", "c", "d", "e", "f", "g"] {
        let origin = test_env.command_on(target, "connection.discover", json!({})).await;
        test_env.end(&origin, Some(json!({ "instances": [], "unread": [] }))).await;
    }
    dashboard.lists(">g</td>").await;
    let first = dashboard.get("/connections").await.body;
    assert!(first.contains("<h2>e</h2>") && !first.contains("<h2>f</h2>"), "{first}");
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let second = dashboard.get(next).await.body;
    let headings: Vec<_> = second.split("<h2>").skip(1).map(|rest| &rest[..1]).collect();
    assert!(headings == ["f", "g"] && !second.contains("rel=\"next\""), "{second}");
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
