//! `sailhand dashboard`: web pages about runs, targets, findings, connections, conformance and dead letters, and a
//! form for each verb. Reads the bus through [`crate::client`] and
//! stores nothing: a restarted dashboard shows the same.

mod access;
mod chart;
mod conformance;
mod connections;
mod dead_letters;
mod feed;
mod findings;
mod index;
mod live;
mod mesh;
mod page;
mod refusal;
mod report;
mod run;
mod runs;
mod send;
mod targets;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Client};
use crate::config::Config;
use crate::error::{Class, Classify, Code};
use crate::web::listener::{self, Bounded, Peer};
use crate::web::token::Verifier;
use access::Access;
use index::Index;
pub use send::{Catalog, Verb};

/// Longest body of a form, in bytes.
const MAX_FORM: usize = 1 << 20;
/// Concurrent reads of whole histories and lists from the bus. Each may use some megabytes.
const READS: usize = 8;

/// Why the dashboard does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address of the configuration.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The keys of the token issuer.
    #[error("{0}")]
    Keys(String),
    /// The bus.
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl Classify for Error {
    fn class(&self) -> Class {
        Class::Terminal
    }

    fn code(&self) -> Code {
        match self {
            Self::Listen { .. } => Code::SH3701,
            Self::Keys(_) => Code::SH3702,
            Self::Client(error) => error.code(),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Client(error) => error.remedy(),
            _ => self.code().remedy().to_owned(),
        }
    }
}

/// A dashboard that serves requests.
pub struct Running {
    /// Address and port.
    pub address: SocketAddr,
    /// Ends after `stop`.
    pub done: JoinHandle<std::io::Result<()>>,
}

/// State of all requests.
struct Shared {
    client: Client,
    index: RwLock<Index>,
    /// Number of stored events and results that have not been read yet.
    unread: watch::Sender<u64>,
    /// Version of the index.
    changed: watch::Sender<u64>,
    /// Changes with each start. Positions of live pages have it, because versions start at 0 again.
    epoch: String,
    access: Access,
    reads: Semaphore,
    catalog: Catalog,
    /// `dashboard.trace_url`.
    trace_url: Option<String>,
    stop: CancellationToken,
}

impl Shared {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Position of a live page that shows this version of the index.
    fn position(&self, version: u64) -> String {
        format!("{}-{version}", self.epoch)
    }
}

/// Connects to NATS, binds the address of the configuration and serves until `stop`. Shows runs with events since
/// `since` before now. The page Send offers the verbs of the catalog.
///
/// # Errors
/// [`Error`].
pub async fn start(
    config: &Config,
    since: Duration,
    catalog: Catalog,
    stop: CancellationToken,
) -> Result<Running, Error> {
    let dashboard = &config.dashboard;
    let verifier = match &dashboard.oidc {
        Some(oidc) => Some(Verifier::new(oidc.clone()).await.map_err(|error| Error::Keys(error.to_string()))?),
        None => None,
    };
    let client = Client::connect(config).await.map_err(client::Error::from)?;
    let fail = |source| Error::Listen { address: dashboard.listen, source };
    let (listener, address) = listener::bind(dashboard.listen).await.map_err(fail)?;
    let shared = Arc::new(Shared {
        client,
        index: RwLock::new(Index::new(dashboard.max_runs)),
        unread: watch::Sender::new(0),
        changed: watch::Sender::new(0),
        epoch: crate::hex::hex(&rand::random::<[u8; 4]>()),
        access: Access::new(dashboard, verifier),
        reads: Semaphore::new(READS),
        catalog,
        trace_url: dashboard.trace_url.clone(),
        stop: stop.clone(),
    });
    tokio::spawn(feed::follow(shared.clone(), since));
    let service = router(shared).into_make_service_with_connect_info::<Peer>();
    let listener = Bounded::new(listener, dashboard.max_connections, Duration::ZERO);
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
    Ok(Running { address, done: tokio::spawn(async move { served.await }) })
}

fn router(shared: Arc<Shared>) -> Router {
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/runs") }))
        .route("/runs", get(runs::list))
        .route("/runs/{key}", get(run::page))
        .route("/runs/{key}/body", get(run::fragment))
        .route("/runs/{key}/cancel", post(run::cancel))
        .route("/targets", get(targets::page))
        .route("/targets/{target}/{action}", post(targets::act))
        .route("/findings", get(findings::page))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{sequence}/{action}", post(dead_letters::act))
        .route("/connections", get(connections::page))
        .route("/conformance", get(conformance::page))
        .route("/conformance/{key}", get(conformance::run))
        .route("/send", get(send::list))
        .route("/send/{verb}", get(send::form).post(send::act))
        .route("/codes/{code}", get(page::code))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", include_str!("assets/icon.svg")) }))
        .route("/live", get(live::stream))
        .route(
            "/assets/style.css",
            get(|| async { asset("text/css; charset=utf-8", include_str!("assets/style.css")) }),
        )
        .route(
            "/assets/page.js",
            get(|| async { asset("text/javascript; charset=utf-8", include_str!("assets/page.js")) }),
        )
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), access::guard))
        .with_state(shared);
    // For probes, which use the address of the pod.
    pages.route("/livez", get(|| async { "ok\n" }))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}
