//! An HTTP proxy for an API server: records each write, and answers instead of the server on request. Clients connect without
//! TLS and have the rights of an administrator.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Largest body that is passed on.
const MAX: usize = 16 << 20;

/// A write that the API server has executed.
#[derive(Debug, Clone)]
pub struct Write {
    /// Who asked: the name of the proxy.
    pub by: String,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// What was sent; null when it is not JSON.
    pub sent: Value,
    /// The server's own order of all writes, where its answer has one.
    pub version: Option<u64>,
    /// When the answer was there.
    pub at: OffsetDateTime,
}

/// Answers in the server's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Of the answer.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub after: Option<u32>,
    /// Of 100 requests, so many get it.
    pub percent: u32,
}

/// Answers of a test: from path and query to status and body, `None` for the server's own answer.
pub type Answers = Arc<dyn Fn(&str, &str) -> Option<(u16, String)> + Send + Sync>;

/// All writes through some proxies.
pub type Record = Arc<Mutex<Vec<Write>>>;

/// Listens until the runtime of the test ends.
pub struct ApiProxy {
    port: u16,
    answers: Arc<watch::Sender<Option<Answers>>>,
    refusal: Arc<watch::Sender<Option<Refusal>>>,
    refused: Arc<AtomicUsize>,
    watches: Arc<watch::Sender<u64>>,
}

#[derive(Clone)]
struct Shared {
    by: String,
    upstream: Client,
    record: Record,
    answers: Arc<watch::Sender<Option<Answers>>>,
    refusal: Arc<watch::Sender<Option<Refusal>>>,
    refused: Arc<AtomicUsize>,
    watches: Arc<watch::Sender<u64>>,
}

impl ApiProxy {
    /// Before the API server of this kubeconfig; what it writes is recorded as done by `by`.
    pub async fn start(by: &str, kubeconfig: &Path, record: Record) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false; // the client behind the proxy has its own
        let answers = Arc::new(watch::Sender::new(None));
        let refusal = Arc::new(watch::Sender::new(None));
        let refused = Arc::new(AtomicUsize::new(0));
        let watches = Arc::new(watch::Sender::new(0));
        let shared = Shared {
            by: by.to_owned(),
            upstream: Client::try_from(config).unwrap(),
            record,
            answers: Arc::clone(&answers),
            refusal: Arc::clone(&refusal),
            refused: Arc::clone(&refused),
            watches: Arc::clone(&watches),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, answers, refusal, refused, watches }
    }

    /// The port for clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Answers some requests in the server's place from now on.
    pub fn answer(&self, answers: impl Fn(&str, &str) -> Option<(u16, String)> + Send + Sync + 'static) {
        self.answers.send_replace(Some(Arc::new(answers)));
    }

    /// From now on; `None` for the server's own answers.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.refusal.send_replace(refusal);
    }

    /// How many requests have been answered in the server's place.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends all watches that are open.
    pub fn cut_watches(&self) {
        self.watches.send_modify(|cuts| *cuts += 1);
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let answers = shared.answers.borrow().clone();
    let uri = request.uri();
    if let Some((status, body)) = answers.and_then(|answers| answers(uri.path(), uri.query().unwrap_or_default())) {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        let response = Response::builder().status(status).header("content-type", "application/json");
        return response.body(Body::from(body)).unwrap();
    }
    let refusal = *shared.refusal.borrow();
    if let Some(refusal) = refusal.filter(|refusal| rand::random_range(0..100) < refusal.percent) {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return refuse(refusal);
    }
    // In a task of its own: what the server does is recorded even if the client does not wait for the answer.
    let passed = tokio::spawn(pass(shared, request)).await.unwrap_or_else(|panic| Err(panic.to_string()));
    passed.unwrap_or_else(|reason| {
        let gone = Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::from(reason));
        gone.unwrap()
    })
}

fn refuse(refusal: Refusal) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "as ordered by a test",
        "code": refusal.status, "details": {"retryAfterSeconds": refusal.after.unwrap_or_default()},
    });
    let mut response = Response::builder().status(refusal.status).header("content-type", "application/json");
    if let Some(after) = refusal.after {
        response = response.header("retry-after", after);
    }
    response.body(Body::from(status.to_string())).unwrap()
}

async fn pass(shared: Shared, request: Request) -> Result<Response, String> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let path = parts.uri.path().to_owned();
    let writes = !matches!(parts.method, Method::GET | Method::HEAD) && !query.contains("dryRun=");
    let method = parts.method.clone();
    let sent = to_bytes(body, MAX).await.map_err(|error| error.to_string())?;
    let mut upstream = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in &parts.headers {
        if !matches!(name.as_str(), "host" | "connection" | "content-length" | "transfer-encoding") {
            upstream = upstream.header(name, value);
        }
    }
    let upstream = upstream.body(kube::client::Body::from(sent.to_vec())).map_err(|error| error.to_string())?;
    let mut cut = shared.watches.subscribe();
    let answer = shared.upstream.send(upstream).await.map_err(|error| error.to_string())?;
    let (mut head, body) = answer.into_parts();
    // Each connection has its own framing.
    for name in ["connection", "content-length", "transfer-encoding"] {
        head.headers.remove(name);
    }
    let body = Body::new(body);
    if query.contains("watch=true") || query.contains("watch=1") {
        let cut = Box::pin(async move { cut.changed().await });
        return Ok(Response::from_parts(head, Body::from_stream(body.into_data_stream().take_until(cut))));
    }
    let body = to_bytes(body, MAX).await.map_err(|error| error.to_string())?;
    if writes && head.status.is_success() {
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let write = Write {
            by: shared.by,
            method,
            path,
            sent: serde_json::from_slice(&sent).unwrap_or_default(),
            version: told["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()),
            at: OffsetDateTime::now_utc(),
        };
        shared.record.lock().unwrap_or_else(PoisonError::into_inner).push(write);
    }
    Ok(Response::from_parts(head, Body::from(body)))
}
