//! `sailhand gateway`: CloudEvents over HTTP. Sends commands and reads their events and results through
//! [`crate::client`]. Its only state is the position of the consumers of its sinks, so replicas are equal and a restart loses
//! nothing.

mod accept;
mod audit;
mod catalogue;
mod commands;
mod feed;
mod hooks;
mod metrics;
mod openapi;
mod principals;
mod rate;
mod refusal;
mod server;
mod sinks;
mod template;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Client};
use crate::config::{self, Config};
use crate::error::{Class, Classify, Code};
use crate::event::Command;
use crate::event::schema::Verb;
use crate::health;
use crate::http;
use crate::web::hosts::Hosts;
use crate::web::listener::{self, Bounded};
use crate::web::tls::Tls;

pub use openapi::document as openapi;

use catalogue::Catalogue;
use feed::Subscribers;
use metrics::Metrics;
use principals::Principals;
use refusal::Refusal;

/// Bodies that are parsed and sent at once. Each may use some megabytes.
const PARSED: usize = 32;

/// Why the gateway does not start.
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
    /// A token, a secret, a certificate or the keys of an issuer.
    #[error("{what}: {reason}")]
    Credential {
        /// Key of the configuration.
        what: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A schema of the catalogue.
    #[error("the schema of {verb} is not a JSON Schema: {reason}")]
    Schema {
        /// The verb.
        verb: &'static str,
        /// Cause of the error, as in the message.
        reason: String,
    },
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
            Self::Listen { .. } => Code::SH3801,
            Self::Credential { .. } => Code::SH3802,
            Self::Schema { .. } => Code::SH5004,
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

/// A gateway that serves requests.
pub struct Running {
    /// Address and port.
    pub address: SocketAddr,
    /// Address and port of `gateway.tls`.
    pub tls_address: Option<SocketAddr>,
    /// Address and port of `gateway.metrics_listen`.
    pub metrics_address: Option<SocketAddr>,
    /// Ends after `stop`, when the open requests have ended or their time is over.
    pub done: JoinHandle<()>,
}

/// State of all requests.
struct Shared {
    client: Client,
    settings: config::Gateway,
    hosts: Hosts,
    principals: Principals,
    catalogue: Catalogue,
    openapi: Bytes,
    subscribers: Arc<Subscribers>,
    metrics: Arc<Metrics>,
    parsed: Semaphore,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Shared {
    /// Admits a body that will be parsed and sent. Waits while [`PARSED`] others are.
    ///
    /// # Errors
    /// [`Refusal::Disconnected`].
    async fn admit(&self) -> Result<Option<SemaphorePermit<'_>>, Refusal> {
        if let Some(reason) = self.client.bus().health().borrow().disconnected() {
            return Err(Refusal::Disconnected(reason));
        }
        Ok(self.parsed.acquire().await.ok())
    }
}

/// Connects to NATS, binds the address of the configuration and serves until `stop`. `verbs` are the commands that it
/// accepts.
///
/// # Errors
/// [`Error`].
pub async fn start(config: &Config, verbs: &[Verb], stop: CancellationToken) -> Result<Running, Error> {
    let settings = config.gateway.clone();
    let principals = Principals::load(&settings).await?;
    let catalogue = Catalogue::new(verbs)?;
    let client = Client::connect(config).await.map_err(client::Error::from)?;
    let (listener, address) = bind(settings.listen, &settings).await?;
    let secure = match &settings.tls {
        None => None,
        Some(tls) => {
            let fail =
                |error: http::Error| Error::Credential { what: "gateway.tls".to_owned(), reason: error.to_string() };
            let loaded = Arc::new(Tls::load(tls, "http/1.1").await.map_err(fail)?);
            tokio::spawn(loaded.clone().reread(stop.clone()));
            let (listener, address) = bind(tls.listen, &settings).await?;
            Some((loaded, listener, address))
        }
    };
    if settings.principals.is_empty() {
        tracing::warn!("gateway.principals is empty: every request for commands is refused");
    }
    let metrics = Metrics::new();
    let sinks = sinks::start(&settings, &client, &metrics, &stop).await?;
    let subscribers = Arc::new(Subscribers::default());
    tokio::spawn(feed::follow(client.clone(), subscribers.clone(), stop.clone()));
    let tls_address = secure.as_ref().map(|(.., address)| *address);
    let shared = Arc::new(Shared {
        client,
        hosts: Hosts::new(address, &settings.hosts),
        principals,
        catalogue,
        openapi: openapi(verbs).to_string().into(),
        subscribers,
        metrics,
        parsed: Semaphore::new(PARSED),
        streams: Arc::new(Semaphore::new(settings.max_streams)),
        stop: stop.clone(),
        settings,
    });
    tokio::spawn(principals::reread(shared.clone()));
    let metrics_address = serve_metrics(&shared).await?;
    let header_timeout = shared.settings.header_timeout;
    let done = tokio::spawn(async move {
        let router = router(shared);
        let open = server::serve(listener, None, router.clone(), header_timeout, stop.clone());
        match secure {
            None => open.await,
            Some((tls, listener, _)) => {
                tokio::join!(open, server::serve(listener, Some(tls), router, header_timeout, stop));
            }
        }
        if tokio::time::timeout(server::GRACE, sinks.wait()).await.is_err() {
            tracing::warn!("requests to sinks are still open and are closed now; their events are posted again");
        }
    });
    Ok(Running { address, tls_address, metrics_address, done })
}

/// Opens a listener. Each has its own limit: clients without a certificate do not take the connections of the other one.
async fn bind(address: SocketAddr, settings: &config::Gateway) -> Result<(Bounded, SocketAddr), Error> {
    let bound = listener::bind(address).await;
    let (listener, address) = bound.map_err(|source| Error::Listen { address, source })?;
    Ok((Bounded::new(listener, settings.max_connections, settings.max_wait), address))
}

/// Serves `gateway.metrics_listen`.
async fn serve_metrics(shared: &Arc<Shared>) -> Result<Option<SocketAddr>, Error> {
    let Some(address) = shared.settings.metrics_listen else { return Ok(None) };
    let causes = health::connection(shared.client.bus().health());
    let rendered = shared.clone();
    let render = Arc::new(move || {
        let waiting = rendered.settings.max_streams - rendered.streams.available_permits();
        rendered.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        rendered.metrics.render()
    });
    let bound = health::serve(address, render, causes, shared.stop.clone()).await;
    bound.map(Some).map_err(|source| Error::Listen { address, source })
}

/// The commands of a request to `/v1/events` in each mode, without permissions and parameters being checked. Pure, for fuzz
/// tests.
///
/// # Errors
/// What the gateway would refuse, as text.
pub fn commands_of_request(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Command>, String> {
    let events = accept::read_events(headers, body).map_err(|refusal| refusal.to_string())?;
    events.into_iter().map(|event| accept::decode(event).map_err(|refusal| refusal.to_string())).collect()
}

fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/v1/events", axum::routing::post(accept::events).options(webhook::handshake))
        .route("/v1/hooks/{name}", axum::routing::post(hooks::receive).options(webhook::handshake))
        .route("/v1/openapi.json", get(openapi::serve))
        .route("/v1/commands/{target}/{key}", get(commands::state))
        .route("/v1/commands/{target}/{key}/events", get(commands::stream))
        .fallback(|| async { Refusal::Route })
        .method_not_allowed_fallback(|| async { Refusal::Method })
        .layer(axum::middleware::from_fn_with_state(shared.clone(), server::guard))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), metrics::count))
        .with_state(shared.clone());
    // For probes, which use the address of the pod.
    let probes =
        Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(shared);
    api.merge(probes)
}

/// Ready while a NATS server answers.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.client.bus().health().borrow().disconnected() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
