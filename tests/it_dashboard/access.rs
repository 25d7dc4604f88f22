//! Who may read and who may act.

use serde_json::json;

use crate::http::{Dashboard, World, key, started};

#[tokio::test]
async fn other_host_names_are_refused() {
    let world = World::new().await;
    let dashboard = world.dashboard(&[]).await;
    for path in ["/runs", "/live", "/assets/page.js"] {
        let refused = dashboard.request("GET", path, &[("Host", "rebind.example.com")], "").await;
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.body.contains("SH3703"), "{}", refused.body);
    }
    assert_eq!(dashboard.request("GET", "/runs", &[("Host", "localhost:1")], "").await.status, 200);
}

#[tokio::test]
async fn read_only_dashboard_has_no_actions() {
    let world = World::new().await;
    let dashboard = world.dashboard(&[]).await;
    let origin = world.command("ping", json!({})).await;
    world.publish(&origin, 1, started("ping")).await;
    dashboard.lists(key(&origin).as_str()).await;
    let path = format!("/runs/{}", key(&origin));
    assert!(!dashboard.get(&path).await.body.contains("<form class=\"inline\""));
    let own = format!("http://{}", dashboard.address);
    let headers = [("Origin", own.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let refused = dashboard.request("POST", &format!("{path}/cancel"), &headers, "token=x").await;
    assert!(refused.status == 403 && refused.body.contains("SH3705"), "{} {}", refused.status, refused.body);
}

#[tokio::test]
async fn only_forms_of_the_dashboard_act() {
    let world = World::new().await;
    let dashboard = world.dashboard(&["--allow-actions"]).await;
    let origin = world.command("ping", json!({})).await;
    world.publish(&origin, 1, started("ping")).await;
    dashboard.lists(key(&origin).as_str()).await;
    let path = format!("/runs/{}/cancel", key(&origin));
    let (token, cookie) = dashboard.get(&format!("/runs/{}", key(&origin))).await.form();
    let own = format!("http://{}", dashboard.address);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = format!("token={token}");
    let session = ("Cookie", cookie.as_str());
    for (what, headers, body) in [
        ("another origin", vec![form, session, ("Origin", "http://evil.example.com")], body.as_str()),
        ("no origin", vec![form, session], &body),
        ("another session", vec![form, ("Origin", &own)], &body),
        ("no token", vec![form, session, ("Origin", &own)], "token="),
    ] {
        let refused = dashboard.request("POST", &path, &headers, body).await;
        assert!(refused.status == 403 && refused.body.contains("SH3706"), "{what}: {}", refused.status);
    }
    let done = dashboard.request("POST", &path, &[form, session, ("Origin", &own)], &body).await;
    assert_eq!(done.status, 303, "{}", done.body);
}

#[tokio::test]
async fn header_identity_is_required_and_limited_to_operators() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "[dashboard]\nlisten = \"127.0.0.1:0\"\nidentity_header = \"X-Forwarded-User\"\n\
                trusted_proxies = [\"127.0.0.1\"]\nallow_actions = true\noperators = [\"jane\"]\n";
    std::fs::write(&file, text).unwrap();
    let url = world.nats.url();
    let dashboard = Dashboard::start(&["--config", file.to_str().unwrap(), "--nats-url", &url]).await;
    let refused = dashboard.get("/runs").await;
    assert!(refused.status == 401 && refused.body.contains("SH3704"), "{}", refused.body);
    let joe = dashboard.request("GET", "/runs", &[("X-Forwarded-User", "joe")], "").await;
    assert!(joe.status == 200 && joe.body.contains("read-only"), "{}", joe.body);
    let jane = dashboard.request("GET", "/runs", &[("X-Forwarded-User", "jane")], "").await;
    assert!(jane.status == 200 && !jane.body.contains("read-only"), "{}", jane.body);
    let twice = [("X-Forwarded-User", "jane"), ("X-Forwarded-User", "joe")];
    assert_eq!(dashboard.request("GET", "/runs", &twice, "").await.status, 401);
}
