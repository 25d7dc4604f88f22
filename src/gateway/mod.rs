//! `sailhand gateway`: CloudEvents over HTTP. Sends commands and reads their events and results through
//! [`crate::client`]. It stores nothing, so replicas are equal and a restart loses nothing.

mod accept;
mod audit;
mod catalogue;
mod commands;
mod feed;
mod hooks;
mod openapi;
mod principals;
mod rate;
mod refusal;
mod server;
mod template;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Client};
use crate::config::{self, Config};
use crate::error::{Class, Classify, Code};
use crate::event::schema::Verb;
use crate::web::hosts::Hosts;
use crate::web::listener::{self, Bounded};

pub use openapi::document as openapi;

use catalogue::Catalogue;
use feed::Subscribers;
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
    /// A token, a secret or the keys of an issuer.
    #[error("{what}: {reason}")]
    Credential {
        /// Key of the configuration.
        what: String,
        /// The operation that failed.
        reason: String,
    },
    /// A schema of the catalogue.
    #[error("the schema of {verb} is not a JSON Schema: {reason}")]
    Schema {
        /// The verb.
        verb: &'static str,
        /// The reason.
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
    let fail = |source| Error::Listen { address: settings.listen, source };
    let (listener, address) = listener::bind(settings.listen).await.map_err(fail)?;
    if settings.principals.is_empty() {
        tracing::warn!("gateway.principals is empty: every request for commands is refused");
    }
    let subscribers = Arc::new(Subscribers::default());
    tokio::spawn(feed::follow(client.clone(), subscribers.clone(), stop.clone()));
    let listener = Bounded::new(listener, settings.max_connections, settings.max_wait);
    let shared = Arc::new(Shared {
        client,
        hosts: Hosts::new(address, &settings.hosts),
        principals,
        catalogue,
        openapi: openapi(verbs).to_string().into(),
        subscribers,
        parsed: Semaphore::new(PARSED),
        streams: Arc::new(Semaphore::new(settings.max_streams)),
        stop: stop.clone(),
        settings,
    });
    tokio::spawn(principals::reread(shared.clone()));
    let header_timeout = shared.settings.header_timeout;
    let done = tokio::spawn(server::serve(listener, router(shared), header_timeout, stop));
    Ok(Running { address, done })
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
