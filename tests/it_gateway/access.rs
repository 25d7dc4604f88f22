//! Who may send what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Reply};
use crate::gateway::{Gateway, OTHER, PATIENCE, TOKEN, bearer, event, ping, principals};
use crate::sinks;
use crate::support::accounts;
use crate::support::eventually::eventually;
use crate::support::http::{Issuer, Response};
use crate::support::worker::{WorkerEnv, succeeded};

async fn send(gateway: &Gateway, token: &str, event: &Value) -> Response {
    let authorization = bearer(token);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/cloudevents+json")];
    gateway.request("POST", "/v1/events", &headers, &event.to_string()).await
}

#[tokio::test]
async fn principal_sends_only_its_verbs_targets_and_source() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let from = |source: &str, verb: &str, target: &str| {
        let mut event = event("1", verb, target, json!({}));
        event["source"] = json!(source);
        event
    };
    assert_eq!(send(&gateway, OTHER, &from("/other/a", "ping", "dev")).await.status, 202);
    for event in [
        from("/other/a", "config.apply", "dev"),
        from("/other/a", "ping", "gone"),
        from("/ci/shop", "ping", "dev"),
        from("/other", "ping", "dev"),
    ] {
        send(&gateway, OTHER, &event).await.is_problem(403, "SH3805");
    }
    gateway.logs("SH3805").await;
}

#[tokio::test]
async fn requests_without_a_known_token_are_refused() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    let kind = ("Content-Type", "application/cloudevents+json");
    let body = ping("1").to_string();
    let token = bearer(TOKEN);
    for headers in [
        vec![kind],
        vec![kind, ("Authorization", "Bearer 0123456789abcdef-no")],
        vec![kind, ("Authorization", "Basic Y2k6Y2k=")],
        vec![kind, ("Authorization", "Bearer ")],
        vec![kind, ("Authorization", &token), ("Authorization", "Bearer x")],
    ] {
        let refused = gateway.request("POST", "/v1/events", &headers, &body).await;
        refused.is_problem(401, "SH3804");
        assert_eq!(refused.header("www-authenticate"), Some("bearer"));
    }
    let other_host = [("Host", "rebind.example.com"), ("Authorization", token.as_str()), kind];
    gateway.request("POST", "/v1/events", &other_host, &body).await.is_problem(421, "SH3803");
}

#[tokio::test]
async fn rotated_token_is_used() {
    let test_env = WorkerEnv::new().await;
    let gateway = Gateway::start(&test_env.nats.url()).await;
    std::fs::write(gateway.path("ci"), "another-token-of-ci").unwrap();
    eventually("the new token is accepted", PATIENCE, async || {
        (send(&gateway, "another-token-of-ci", &ping("r")).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(send(&gateway, TOKEN, &ping("r")).await.status, 401);
}

#[tokio::test]
async fn rate_limit_is_per_principal() {
    let test_env = WorkerEnv::new().await;
    let tables = |folder: &std::path::Path| {
        principals(folder).replace("rate_per_second = 1000\nburst = 2000", "rate_per_second = 1\nburst = 2")
    };
    let gateway = Gateway::with(&test_env.nats.url(), |_| String::new(), tables).await;
    let mut statuses = Vec::new();
    for n in 0..6 {
        statuses.push(gateway.post(&ping(&n.to_string())).await);
    }
    assert_eq!(statuses[0].status, 202);
    let refused = statuses.iter().find(|response| response.status == 429).expect("a refused request");
    refused.is_problem(429, "SH3806");
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{refused:?}");
    let mut other = ping("o");
    other["source"] = json!("/other/a");
    assert_eq!(send(&gateway, OTHER, &other).await.status, 202);
}

/// Claims as GitHub Actions issues them.
#[allow(clippy::needless_pass_by_value, reason = "callers build it in place")]
fn github(change: Value) -> Value {
    let mut claims = json!({
        "iss": "https://token.actions.githubusercontent.com", "aud": "sailhand", "exp": 4_000_000_000_u64,
        "sub": "repo:acme/shop:environment:production", "repository": "acme/shop", "repository_owner": "acme",
        "ref": "refs/heads/main", "environment": "production", "workflow": "deploy", "run_id": "42",
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

#[tokio::test]
async fn oidc_tokens_are_accepted_by_their_claims() {
    let test_env = WorkerEnv::new().await;
    let issuer = Issuer::new();
    let cluster = Issuer::new();
    let tables = |folder: &std::path::Path| {
        let (github, kubernetes) = (folder.join("github.json"), folder.join("kubernetes.json"));
        std::fs::write(&github, issuer.jwks()).unwrap();
        std::fs::write(&kubernetes, cluster.jwks()).unwrap();
        format!(
            "[gateway.oidc.github]\nissuer = \"https://token.actions.githubusercontent.com\"\naudience = \"sailhand\"\n\
             jwks = {github:?}\nalgorithms = [\"ES256\"]\n\
             [gateway.oidc.kubernetes]\nissuer = \"https://kubernetes.default.svc\"\naudience = \"sailhand\"\n\
             jwks = {kubernetes:?}\nalgorithms = [\"ES256\"]\n\
             [gateway.principals.shop]\noidc = \"github\"\nverbs = [\"ping\"]\ntargets = [\"dev\"]\n\
             source_prefix = \"/ci/\"\n[gateway.principals.shop.claims]\nrepository = \"acme/shop\"\n\
             ref = \"refs/heads/*\"\nenvironment = \"production\"\n\
             [gateway.principals.deployer]\noidc = \"kubernetes\"\nverbs = [\"ping\"]\ntargets = [\"dev\"]\n\
             source_prefix = \"/ci/\"\n[gateway.principals.deployer.claims]\n\
             sub = \"system:serviceaccount:ci:deployer\"\n\"/kubernetes.io/namespace\" = \"ci\"\n"
        )
    };
    let gateway = Gateway::with(&test_env.nats.url(), |_| String::new(), tables).await;
    let accepted = send(&gateway, &issuer.sign(&github(json!({}))), &ping("g")).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    gateway.logs("repo:acme/shop:environment:production").await;
    let account = json!({
        "iss": "https://kubernetes.default.svc", "aud": ["sailhand"], "exp": 4_000_000_000_u64,
        "sub": "system:serviceaccount:ci:deployer", "kubernetes.io": { "namespace": "ci" },
    });
    let accepted = send(&gateway, &cluster.sign(&account), &ping("k")).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");

    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = encode(&header, &github(json!({})), &EncodingKey::from_secret(issuer.public_key())).unwrap();
    let claims = URL_SAFE_NO_PAD.encode(github(json!({})).to_string());
    let unsigned = |alg: &str| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","kid":"one"}}"#));
        format!("{header}.{claims}.")
    };
    let signed = issuer.sign(&github(json!({})));
    let (head, rest) = signed.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let changed = URL_SAFE_NO_PAD.encode(github(json!({ "repository": "acme/other" })).to_string());
    for (what, token) in [
        ("another repository", issuer.sign(&github(json!({ "repository": "evil/shop" })))),
        ("a longer repository", issuer.sign(&github(json!({ "repository": "acme/shop-evil" })))),
        ("a tag", issuer.sign(&github(json!({ "ref": "refs/tags/v1" })))),
        ("no environment", issuer.sign(&github(json!({ "environment": null })))),
        ("another audience", issuer.sign(&github(json!({ "aud": "https://github.com/acme" })))),
        ("another issuer", issuer.sign(&github(json!({ "iss": "https://evil.example.com" })))),
        ("the issuer of the other key", issuer.sign(&github(json!({ "iss": "https://kubernetes.default.svc" })))),
        ("expired", issuer.sign(&github(json!({ "exp": 1_000_000_000 })))),
        ("not valid yet", issuer.sign(&github(json!({ "nbf": 3_900_000_000_u64 })))),
        ("no expiry", issuer.sign(&github(json!({ "exp": null })))),
        ("another key", Issuer::new().sign(&github(json!({})))),
        ("HS256 with the public key", shared),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("no signature", unsigned("ES256")),
        ("changed claims", format!("{head}.{changed}.{signature}")),
        ("not a token", "a.b.c".to_owned()),
        ("a long token", "a".repeat(17_000)),
    ] {
        let refused = send(&gateway, &token, &ping("forged")).await;
        assert_eq!(refused.status, 401, "{what}: {refused:?}");
        refused.is_problem(401, "SH3804");
    }
    let log = gateway.log();
    assert!(!log.contains(signature), "the log has a token");
}

#[tokio::test]
async fn webhook_handshake_allows_configured_origins() {
    let test_env = WorkerEnv::new().await;
    let keys = |_: &std::path::Path| "webhook_origins = [\"eventemitter.example.com\"]\n".to_owned();
    let gateway = Gateway::with(&test_env.nats.url(), keys, principals).await;
    let ask = async |headers: &[(&str, &str)]| gateway.request("OPTIONS", "/v1/events", headers, "").await;
    let allowed = ask(&[("WebHook-Request-Origin", "eventemitter.example.com"), ("WebHook-Request-Rate", "120")]).await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
    assert_eq!(allowed.header("webhook-allowed-origin"), Some("eventemitter.example.com"));
    // 50 events per second.
    assert_eq!(allowed.header("webhook-allowed-rate"), Some("3000"));
    assert_eq!(allowed.header("allow"), Some("options, post"));
    let refused = ask(&[("WebHook-Request-Origin", "evil.example.com")]).await;
    refused.is_problem(403, "SH3811");
    assert_eq!(refused.header("webhook-allowed-origin"), None);
    assert_eq!(ask(&[]).await.status, 204);
}

/// With the user `gateway` of deploy/nats, the gateway works, and no principal reaches beyond that user.
#[tokio::test]
async fn nats_user_bounds_all_principals() {
    let nats = accounts::server().await;
    let secrets = tempfile::tempdir().unwrap();
    let [admin, login] = ["admin", "gateway"].map(|user| accounts::login(&nats, secrets.path(), user));
    let test_env = WorkerEnv::on(nats, |config| config.nats = admin).await;
    let url = format!(
        "{}\"\nuser = \"gateway\"\npassword_file = {:?}\ninbox_prefix = \"_INBOX_gateway",
        test_env.nats.url(),
        login.password_file.unwrap()
    );
    let (accepts, refuses) =
        (Endpoint::start(|_| Reply::status(204)).await, Endpoint::start(|_| Reply::status(415)).await);
    let tables = |folder: &std::path::Path| {
        let sink = |name: &str, url: &str| {
            format!("[gateway.sinks.{name}]\nurl = {url:?}\nkinds = [\"result\", \"started\"]\n")
        };
        principals(folder) + &sink("accepts", &accepts.url) + &sink("refuses", &refuses.url)
    };
    let gateway = Gateway::with(&url, |_| String::new(), tables).await;
    let ended = sinks::origin("ended", "/ci/shop");
    sinks::publish(&test_env, &ended, &succeeded()).await;
    accepts.wait_for(1).await;
    eventually("a dead letter", PATIENCE, async || (sinks::dead_letters(&test_env).await.len() == 1).then_some(()))
        .await;
    let accepted = gateway.post(&ping("n")).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let location = accepted.json()["location"].as_str().unwrap().to_owned();
    assert_eq!(gateway.get(&format!("{location}?wait=200ms")).await.json()["state"], "pending");
    let large = json!({ "name": "n", "manifest": "x".repeat(300_000) });
    assert_eq!(gateway.post(&event("blob", "config.apply", "dev", large)).await.status, 202);
    gateway.post(&event("o", "ping", "gone", json!({}))).await.is_problem(403, "SH2004");
    let log = gateway.log();
    assert!(!log.contains("cannot follow"), "{log}");
}
