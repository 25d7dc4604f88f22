//! Who may read and who may act.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use sailhand::config::Config;
use serde_json::{Value, json};

use crate::http::{Dashboard, DashboardEnv, PATIENCE, key, started};
use crate::support::accounts;
use crate::support::eventually::eventually;
use crate::support::http::Issuer;
use crate::support::worker::toml;

#[tokio::test]
async fn other_host_names_are_refused() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    for path in ["/runs", "/live", "/assets/page.js"] {
        let refused = dashboard.request("GET", path, &[("Host", "rebind.example.com")], "").await;
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.body.contains("SH3703"), "{}", refused.body);
    }
    assert_eq!(dashboard.request("GET", "/runs", &[("Host", "localhost:1")], "").await.status, 200);
}

#[tokio::test]
async fn read_only_dashboard_has_no_actions() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    let origin = test_env.command("ping", json!({})).await;
    test_env.publish(&origin, 1, started("ping")).await;
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
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let origin = test_env.command("ping", json!({})).await;
    test_env.publish(&origin, 1, started("ping")).await;
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
    let test_env = DashboardEnv::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "[dashboard]\nlisten = \"127.0.0.1:0\"\nidentity_header = \"X-Forwarded-User\"\n\
                trusted_proxies = [\"127.0.0.1\"]\nallow_actions = true\noperators = [\"jane\"]\n";
    std::fs::write(&file, text).unwrap();
    let url = test_env.nats.url();
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

#[tokio::test]
async fn only_valid_tokens_of_the_issuer_are_accepted() {
    let test_env = DashboardEnv::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (Issuer::new(), Issuer::new());
    let keys = folder.path().join("jwks.json");
    std::fs::write(&keys, own.jwks()).unwrap();
    let file = folder.path().join("config.toml");
    let text = format!(
        "[dashboard]\nlisten = \"127.0.0.1:0\"\n[dashboard.oidc]\nissuer = \"https://issuer\"\naudience = \"sailhand\"\n\
         jwks = \"{}\"\nalgorithms = [\"ES256\"]\nuser_claim = \"email\"\n",
        keys.display()
    );
    std::fs::write(&file, text).unwrap();
    let url = test_env.nats.url();
    let dashboard = Dashboard::start(&["--config", file.to_str().unwrap(), "--nats-url", &url]).await;

    let claims = |change: Value| {
        let mut claims = json!({ "iss": "https://issuer", "aud": "sailhand", "exp": 4_000_000_000_u64, "email": "jane@example.com" });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let signed = |change, issuer: &Issuer| issuer.sign(&claims(change));
    let ask = async |token: &str| {
        dashboard.request("GET", "/runs", &[("Authorization", &format!("Bearer {token}"))], "").await
    };

    let page = ask(&signed(json!({}), &own)).await;
    assert!(page.status == 200 && page.body.contains("jane@example.com"), "{}", page.body);
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = encode(&header, &claims(json!({})), &EncodingKey::from_secret(own.public_key())).unwrap();
    let body = URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
    let unsigned = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"one"}"#));
    for (what, token) in [
        ("another key", signed(json!({}), &other)),
        ("expired", signed(json!({ "exp": 1_000_000_000 }), &own)),
        ("not yet valid", signed(json!({ "nbf": 3_900_000_000_u64 }), &own)),
        ("another audience", signed(json!({ "aud": "other" }), &own)),
        ("another issuer", signed(json!({ "iss": "https://other" }), &own)),
        ("no user", signed(json!({ "email": "" }), &own)),
        ("a shared secret", shared),
        ("no signature", unsigned),
        ("no token", String::new()),
    ] {
        let refused = ask(&token).await;
        assert!(refused.status == 401 && refused.body.contains("SH3704"), "{what}: {}", refused.status);
    }
    assert_eq!(dashboard.get("/runs").await.status, 401);
}

#[tokio::test]
async fn observer_permissions_suffice_to_show_pages() {
    let nats = accounts::server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |user: &str| {
        let mut config = Config { nats: accounts::login(&nats, folder.path(), user), ..Config::default() };
        config.dashboard.listen = ([127, 0, 0, 1], 0).into();
        let file = folder.path().join(format!("{user}.toml"));
        std::fs::write(&file, toml(&config)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let run = async |args: &[&str]| {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sailhand")).args(args).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["topology", "apply", "--config", &file("admin")]).await;
    for (user, complete) in [("observer", false), ("operator", true)] {
        let dashboard = Dashboard::start(&["--config", &file(user)]).await;
        for path in ["/runs", "/targets", "/findings", "/dead-letters"] {
            let page = dashboard.get(path).await;
            assert_eq!(page.status, 200, "{user} {path}: {}", page.body);
            let limited = page.body.contains("Queue and pauses are not shown");
            assert_eq!(limited, path == "/targets" && !complete, "{user} {path}");
        }
        let unknown = dashboard.get(&format!("/runs/{}", "a".repeat(32))).await;
        assert_eq!(unknown.status, 404, "{user}: {}", unknown.body);
    }
}

/// Answers each request for `/keys` with a file, over TLS with a certificate of its own authority.
struct KeyServer {
    folder: tempfile::TempDir,
    port: u16,
    _server: tokio::process::Child,
}

impl KeyServer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), own.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = tokio::process::Command::new("openssl");
        command.args(["s_server", "-quiet", "-HTTP", "-cert", "cert.pem", "-key", "key.pem", "-accept"]);
        let command = command.arg(format!("127.0.0.1:{port}")).current_dir(folder.path()).kill_on_drop(true);
        let server = command.stdin(std::process::Stdio::null()).spawn().unwrap();
        eventually("the server of keys listens", PATIENCE, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self { folder, port, _server: server }
    }

    fn publish(&self, keys: &str) {
        let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
        std::fs::write(self.folder.path().join("keys"), format!("{head}{keys}")).unwrap();
    }

    fn config(&self, ca_file: Option<&str>) -> String {
        let ca = ca_file.map(|name| format!("ca_file = \"{}\"\n", self.folder.path().join(name).display()));
        let text = format!(
            "[dashboard]\nlisten = \"127.0.0.1:0\"\n[dashboard.oidc]\nissuer = \"https://issuer\"\naudience = \"sailhand\"\n\
             jwks = \"https://localhost:{}/keys\"\nalgorithms = [\"ES256\"]\n{}",
            self.port,
            ca.unwrap_or_default()
        );
        let file = self.folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

#[tokio::test]
async fn keys_of_an_issuer_are_read_over_https() {
    let (test_env, server, issuer) = (DashboardEnv::new().await, KeyServer::start().await, Issuer::new());
    server.publish(&issuer.jwks());
    let url = test_env.nats.url();
    let dashboard = Dashboard::start(&["--config", &server.config(Some("cert.pem")), "--nats-url", &url]).await;
    let claims = json!({ "iss": "https://issuer", "aud": "sailhand", "exp": 4_000_000_000_u64, "sub": "jane" });
    let token = issuer.sign(&claims);
    let page = dashboard.request("GET", "/runs", &[("Authorization", &format!("Bearer {token}"))], "").await;
    assert!(page.status == 200 && page.body.contains("jane"), "{}", page.body);
    // Without the authority, the certificate is not accepted and the dashboard does not start.
    let refused = tokio::process::Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(["dashboard", "--config", &server.config(None), "--nats-url", &url])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("SH3702"), "{text}");
}
