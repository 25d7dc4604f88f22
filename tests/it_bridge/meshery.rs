//! Results pushed to Meshery and models in its registry, against strict doubles of its HTTP endpoints.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use sailhand::config::Meshery;
use sailhand::event::ResultData;
use sailhand::http::Credentials;
use serde_json::{Value, json};

use crate::bridge::{BridgeEnv, PATIENCE, request};
use crate::support::eventually::eventually;
use crate::support::worker::succeeded;

/// What the double has and does.
#[derive(Default)]
struct Server {
    events: Vec<Value>,
    versions: BTreeSet<String>,
    posts: usize,
    /// Statuses of the next event requests.
    failures: Vec<u16>,
    /// Whether the current endpoint of the registry exists.
    is_old: bool,
    cookies: BTreeSet<String>,
}

type Shared = Arc<Mutex<Server>>;

/// `POST /api/system/events`: refuses what Meshery's handler refuses.
async fn event(State(server): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    const SEVERITIES: [&str; 8] =
        ["alert", "critical", "debug", "emergency", "error", "informational", "warning", "success"];
    let mut server = server.lock().unwrap();
    server.cookies.insert(headers["cookie"].to_str().unwrap().to_owned());
    if let Some(status) = server.failures.pop() {
        return StatusCode::from_u16(status).unwrap();
    }
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let acted_upon: Result<uuid::Uuid, _> = text("actedUpon").parse();
    let valid = acted_upon.is_ok_and(|id| !id.is_nil())
        && !text("action").is_empty()
        && !text("category").is_empty()
        && SEVERITIES.contains(&text("severity"));
    let fields = ["actedUpon", "action", "category", "severity", "description", "metadata"];
    if !valid || !body.as_object().unwrap().keys().all(|key| fields.contains(&key.as_str())) {
        return StatusCode::BAD_REQUEST;
    }
    server.events.push(body);
    StatusCode::CREATED
}

/// `POST /api/registry/components`: like Meshery's, it answers 200 whether the component is valid or not.
async fn component(State(server): State<Shared>, Json(body): Json<Value>) -> StatusCode {
    let mut server = server.lock().unwrap();
    server.posts += 1;
    let entity = base64::engine::general_purpose::STANDARD.decode(body["entity"].as_str().unwrap_or_default());
    let entity: Value = serde_json::from_slice(&entity.unwrap_or_default()).unwrap_or_default();
    let connection = &body["connection"];
    let required = ["id", "schemaVersion", "name", "type", "subType", "kind", "status"];
    let valid = body["entityType"] == "component"
        && required.iter().all(|name| connection[name].as_str().is_some_and(|text| !text.is_empty()))
        && connection["metadata"].get("port").is_none()
        && entity["schemaVersion"] == "components.meshery.io/v1beta2"
        && entity["model"]["schemaVersion"] == "models.meshery.io/v1beta1"
        && entity["model"]["name"] == "istio"
        && entity["component"]["schema"].as_str().is_some_and(|text| !text.is_empty());
    if valid {
        server.versions.insert(entity["model"]["version"].as_str().unwrap().to_owned());
    }
    StatusCode::OK
}

async fn models(State(server): State<Shared>) -> Json<Value> {
    let versions = server.lock().unwrap().versions.clone();
    let models: Vec<_> = versions.into_iter().map(|version| json!({"name": "istio", "version": version})).collect();
    Json(json!({"models": models, "total_count": models.len()}))
}

async fn current(state: State<Shared>, body: Json<Value>) -> StatusCode {
    if state.lock().unwrap().is_old { StatusCode::NOT_FOUND } else { component(state, body).await }
}

async fn meshery(server: Server) -> (Shared, Meshery) {
    let shared = Arc::new(Mutex::new(server));
    let router = Router::new()
        .route("/api/system/events", post(event))
        .route("/api/registry/components", post(current))
        .route("/api/meshmodels/components", post(component))
        .route("/api/meshmodels/models/istio", get(models))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = Meshery { url, provider: "Local".to_owned(), token_file: None, credentials: Credentials::default() };
    (shared, settings)
}

#[tokio::test]
async fn results_reach_meshery_also_when_it_was_down_and_the_bridge_was_restarted() {
    let (server, settings) = meshery(Server { failures: vec![503, 500], ..Server::default() }).await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "secret\n").unwrap();
    let settings = Meshery { token_file: Some(token.path().to_owned()), ..settings };
    let test_env = BridgeEnv::new().await;
    let start = || test_env.bridge(|bridge| bridge.meshery = Some(settings.clone()));
    let bridge = start().await;
    let call = request("bookinfo", "shop");
    let operation_id = call.operation_id.clone();
    bridge.client().await.apply_operation(call).await.unwrap();
    test_env.end(&test_env.command().await, succeeded()).await;
    let second = request("bookinfo", "shop");
    bridge.client().await.apply_operation(second).await.unwrap();
    drop(bridge);
    let failed = sailhand::error::Problem {
        code: "SH3007".to_owned(),
        class: "terminal".to_owned(),
        message: "no access".to_owned(),
        causes: vec!["forbidden".to_owned()],
        remedy: "Grant it.".to_owned(),
    };
    let outcome = sailhand::event::Outcome::Failed;
    test_env.end(&test_env.command().await, ResultData { outcome, error: Some(failed), ..succeeded() }).await;
    let bridge = start().await;
    let events = eventually("Meshery has both results", PATIENCE, async || {
        let events = server.lock().unwrap().events.clone();
        (events.len() >= 2).then_some(events)
    })
    .await;
    let by_severity = |severity: &str| events.iter().find(|event| event["severity"] == severity).unwrap();
    let good = by_severity("success");
    assert_eq!(good["metadata"]["operationId"], operation_id);
    assert_eq!(good["metadata"]["target"], "dev");
    assert_eq!(by_severity("error")["metadata"]["error"]["ProbableCause"], json!(["forbidden"]));
    let cookies = server.lock().unwrap().cookies.clone();
    assert_eq!(cookies.into_iter().collect::<Vec<_>>(), ["meshery-provider=Local; token=secret"]);
    assert!(!bridge.log().contains("secret"));
}

#[tokio::test]
async fn one_model_for_each_version_is_registered_and_checked() {
    for is_old in [false, true] {
        let versions = BTreeSet::from(["1.29.2".to_owned()]);
        let (server, settings) = meshery(Server { versions, is_old, ..Server::default() }).await;
        let test_env = BridgeEnv::new().await;
        let _bridge = test_env
            .bridge(|bridge| {
                bridge.meshery = Some(settings);
                bridge.versions = ["1.30.3", "1.29.2", "1.28.10"].map(str::to_owned).to_vec();
            })
            .await;
        eventually("all versions are registered", PATIENCE, async || {
            (server.lock().unwrap().versions.len() == 3).then_some(())
        })
        .await;
        assert_eq!(server.lock().unwrap().posts, 2, "only what is missing is posted");
    }
}

/// Before: the redirect was followed as a GET, whose page was taken for the acceptance of the event.
#[tokio::test]
async fn redirect_to_the_login_page_is_no_acceptance() {
    let posts = Arc::new(Mutex::new(0));
    let counter = posts.clone();
    let router = Router::new()
        .route(
            "/api/system/events",
            post(async move || {
                *counter.lock().unwrap() += 1;
                (StatusCode::FOUND, [("Location", "/user/login")])
            }),
        )
        .route("/user/login", get(async || "the login page"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let settings = Meshery { url, provider: "Local".to_owned(), token_file: None, credentials: Credentials::default() };
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| bridge.meshery = Some(settings)).await;
    bridge.client().await.apply_operation(request("bookinfo", "shop")).await.unwrap();
    test_env.end(&test_env.command().await, succeeded()).await;
    eventually("the bridge reports the credentials", PATIENCE, async || {
        bridge.log().contains("does not accept the credentials").then_some(())
    })
    .await;
    assert_eq!(*posts.lock().unwrap(), 1);
}
