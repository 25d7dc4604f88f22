//! What pages show of runs.

use sailhand::event::{EventKind, Started};
use serde_json::json;

use crate::http::{DashboardEnv, key, started, step};
use crate::support::worker::{WorkerEnv, waited};

#[tokio::test]
async fn run_of_a_real_worker_is_listed_and_shown() {
    let test_env = WorkerEnv::on(crate::support::nats::NatsServer::start().await, |_| {}).await;
    let _worker = test_env.worker("w1").await;
    let url = test_env.nats.url();
    let dashboard = crate::http::Dashboard::start(&["--nats-url", &url]).await;
    let mut live = dashboard.live("/live?from=", None).await;
    live.next("reload").await;
    let command = test_env.send("dev", "ping", json!({ "echo": "ahoy" })).await;
    live.next("runs").await;
    test_env.result(&command).await;
    dashboard.lists(&format!("/runs/{command}")).await;
    let page = dashboard.get(&format!("/runs/{command}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    for part in ["ping on dev", "succeeded", "ahoy", "w1", "io.meshery.istio.result.ping.v1"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let (mut size, mut files) = (page.body.len(), 0);
    for path in page.body.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = dashboard.get(path).await;
        assert_eq!(file.status, 200, "{path}");
        (size, files) = (size + file.body.len(), files + 1);
    }
    assert!(files == 3 && size < 150_000, "{files} files, {size} bytes");
    let targets = dashboard.get("/targets").await;
    assert!(targets.body.contains("w1"), "{}", targets.body);
}

#[tokio::test]
async fn timeline_states_what_the_run_waited_for() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let origin = test_env.command("ping", json!({})).await;
    let EventKind::Started(started) = started("ping") else { unreachable!("a start") };
    test_env.publish(&origin, 1, EventKind::Started(Started { waited: waited(), ..started })).await;
    dashboard.lists(key(&origin).as_str()).await;
    let page = dashboard.get(&format!("/runs/{}", key(&origin))).await;
    assert!(page.body.contains("waited 12 s for another command of the installation shop"), "{}", page.body);
}

#[tokio::test]
async fn hostile_texts_are_escaped_on_all_pages() {
    const HOSTILE: &str = "<script>alert(1)</script>";
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let origin = test_env.command("ping", json!({ "echo": HOSTILE })).await;
    test_env.publish(&origin, 1, started("ping")).await;
    test_env.publish(&origin, 2, step(HOSTILE, 1)).await;
    let list = dashboard.lists("&lt;script&gt;").await;
    assert!(!list.body.contains(HOSTILE), "{}", list.body);
    let report = json!({ "objects": [{ "object": { "kind": HOSTILE, "name": HOSTILE }, "action": HOSTILE }] });
    test_env.end(&origin, Some(report)).await;
    dashboard.lists("succeeded</span>").await;
    let page = dashboard.get(&format!("/runs/{}", key(&origin))).await;
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains(HOSTILE), "{}", page.body);
    let search = dashboard.get("/runs?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!search.body.contains("<script>alert"), "{}", search.body);
    for page in [&list, &page, &search] {
        assert!(page.head.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{}", page.head);
        assert!(!page.body.contains("style="), "{}", page.body);
    }
}

#[tokio::test]
async fn resumed_stream_has_the_changes_of_the_gap() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let (one, two) = (test_env.command("ping", json!({})).await, test_env.command("ping", json!({})).await);
    test_env.publish(&one, 1, started("ping")).await;
    dashboard.lists(key(&one).as_str()).await;
    let mut live = dashboard.live("/live?from=", None).await;
    let (position, _) = live.next("reload").await;
    drop(live);
    test_env.publish(&two, 1, started("ping")).await;
    test_env.end(&one, None).await;
    dashboard.lists(key(&two).as_str()).await;
    let mut live = dashboard.live("/live?from=unused", Some(&position)).await;
    let mut seen = String::new();
    while !(seen.contains(key(&two).as_str()) && seen.contains("succeeded")) {
        seen.push_str(&live.next("runs").await.1);
    }
    // Another process has other positions: the page loads again.
    let other = test_env.dashboard(&[]).await;
    other.live("/live?from=unused", Some(&position)).await.next("reload").await;
}

#[tokio::test]
async fn filters_and_pages_select_runs() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let mut keys = Vec::new();
    for n in 0..60 {
        let origin = test_env.command("ping", json!({})).await;
        test_env.publish(&origin, 1, started("ping")).await;
        test_env.publish(&origin, 2, step(&format!("message {n:02}"), 1)).await;
        keys.push(key(&origin));
    }
    let page = dashboard.lists("message 59").await;
    assert_eq!(page.body.matches("<tr id=\"run-").count(), 50);
    assert!(!page.body.contains("message 09"));
    let older = page.body.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let page = dashboard.get(&older.replace("&amp;", "&")).await;
    assert_eq!(page.body.matches("<tr id=\"run-").count(), 10);
    let found = dashboard.get("/runs?q=MESSAGE%2007&state=running&target=dev").await;
    assert!(found.body.matches("<tr id=\"run-").count() == 1 && found.body.contains(keys[7].as_str()));
    for none in ["/runs?q=message&state=failed", "/runs?target=other", "/runs?verb=pin"] {
        assert!(dashboard.get(none).await.body.contains("No runs match"), "{none}");
    }
    assert_eq!(dashboard.get(&format!("/runs/{}", "0".repeat(32))).await.status, 404);
    assert_eq!(dashboard.get("/runs/..%2f..%2fetc").await.status, 404);
}

#[tokio::test]
async fn dev_prints_the_address_of_a_dashboard_with_actions() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sailhand"));
    command.args(["dev", "--port", &port.to_string(), "--nats-server"]);
    command.arg(crate::support::tools::program("nats-server", "NATS_SERVER_BIN")).env("KUBECONFIG", "/no/such/file");
    let dashboard = crate::http::Dashboard::spawn(command).await;
    let page = dashboard.get("/runs").await;
    assert!(page.status == 200 && !page.body.contains("read-only"), "{}", page.body);
}

#[tokio::test]
async fn pages_state_and_survive_a_restart_of_nats() {
    let mut test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let origin = test_env.command("ping", json!({})).await;
    test_env.publish(&origin, 1, started("ping")).await;
    dashboard.lists(key(&origin).as_str()).await;
    let mut live = dashboard.live("/live?from=", None).await;
    assert_eq!(live.next("bus").await.1, "connected");
    test_env.nats.kill();
    assert_eq!(live.next("bus").await.1, "lost");
    assert!(dashboard.get("/runs").await.body.contains("NATS connection lost"));
    test_env.nats.restart().await;
    assert_eq!(live.next("bus").await.1, "connected");
    test_env.end(&origin, None).await;
    assert!(live.next("runs").await.1.contains("succeeded"));
}
