//! `sailhand bridge`: serves Meshery's gRPC contract. Publishes commands and reads results through [`crate::client`], and
//! never contacts a cluster. Its only state is the position of two durable consumers.

mod adapter;
mod design;
pub mod error;
mod feed;
pub mod identity;
pub mod kubeconfig;
pub mod matching;
mod metrics;
pub mod operation;
mod outbox;
mod probe;
pub mod proto;
mod provision;
mod register;
mod service;
mod stream;
pub mod text;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::Connected;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::client::{self, Client};
use crate::config::{Config, MutualTls};
use crate::health;
use crate::web::listener::{self, Bounded, Connection};
use adapter::{Adapter, PARSED};
use error::Error;
use feed::Feed;
use metrics::Metrics;
use outbox::Outbox;
use proto::adapter_service_server::AdapterServiceServer;
use proto::mesh_service_server::MeshServiceServer;
use service::Service;
use stream::Hub;

/// Longest request, in bytes. A manifest of 8 MiB and some kubeconfigs.
const MAX_MESSAGE: usize = 16 << 20;
/// Connections beside those of event streams.
const MORE_CONNECTIONS: usize = 256;
/// Calls of one connection.
const MAX_CALLS_PER_CONNECTION: u32 = 128;
/// Longest header block, in bytes.
const MAX_HEADERS: u32 = 16 << 10;
/// Meshery's client sends no keepalive, so the server finds dead connections.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After this time a stopped process no longer waits for open calls.
const LEAVE: Duration = Duration::from_secs(5);
/// Names of the services in `grpc.health.v1`; the empty one is the whole server.
const SERVICES: [&str; 3] = ["", "meshes.MeshService", "meshes.AdapterService"];

/// A bridge that serves calls.
pub struct Running {
    /// Address of the plaintext listener.
    pub address: SocketAddr,
    /// Address of the listener with mutual TLS.
    pub tls_address: Option<SocketAddr>,
    /// Address of `bridge.metrics_listen`.
    pub metrics_address: Option<SocketAddr>,
    /// Ends after `stop`.
    pub done: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Connects to NATS, binds the addresses of the configuration and serves until `stop`.
///
/// # Errors
/// [`Error`].
pub async fn start(config: &Config, stop: CancellationToken) -> Result<Running, Error> {
    let bridge = &config.bridge;
    if bridge.targets.is_empty() {
        return Err(Error::NoTargets);
    }
    let tls = bridge.tls.as_ref().map(tls).transpose()?;
    let metrics = Metrics::new();
    let outbox = match &bridge.meshery {
        Some(meshery) => Some(Arc::new(Outbox::new(bridge, meshery, metrics.clone()).await?)),
        None => None,
    };
    let client = Client::connect(config).await.map_err(client::Error::from)?;
    let hub = Hub::new(bridge.max_streams, metrics.clone());
    let feed = Arc::new(Feed {
        client: client.clone(),
        hub: hub.clone(),
        name: bridge.name.clone(),
        targets: bridge.targets.keys().filter_map(|id| id.parse().ok()).collect(),
    });
    feed.prepare().await?;
    if let Some(outbox) = &outbox {
        outbox.prepare(&client).await?;
    }
    let (listener, address) = bind(bridge.listen).await?;
    let second = match (&bridge.tls, tls) {
        (Some(settings), Some(tls)) => Some((bind(settings.listen).await?, tls)),
        _ => None,
    };
    let tls_address = second.as_ref().map(|((_, address), _)| *address);

    let mut background = tokio::task::JoinSet::new();
    background.spawn(feed.clone().results());
    background.spawn(feed.retries());
    if let Some(outbox) = &outbox {
        background.spawn(outbox.clone().push(client.clone()));
        background.spawn(register::register(outbox.clone(), bridge.versions.clone()));
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    background.spawn(report_health(reporter, client.clone()));
    let adapter = Arc::new(Adapter {
        config: Arc::new(bridge.clone()),
        client: client.clone(),
        hub: hub.clone(),
        outbox,
        metrics: metrics.clone(),
        parsing: Semaphore::new(PARSED),
    });
    let metrics_address = serve_metrics(bridge.metrics_listen, metrics, &hub, &client, &stop).await?;
    let routes = routes(&Service(adapter), bridge.max_calls).add_service(health);
    // Each has its own limit: clients without a certificate do not take the connections of the other listener.
    let connections = || Arc::new(Semaphore::new(bridge.max_streams + MORE_CONNECTIONS));
    let mut servers = vec![serve(server(), routes.clone(), listener, connections(), stop.clone())];
    if let Some(((listener, _), tls)) = second {
        let server = server().tls_config(tls).map_err(|error| Error::Settings(crate::http::chain(&error)))?;
        servers.push(serve(server, routes, listener, connections(), stop.clone()));
    }
    let done = tokio::spawn(async move {
        stop.cancelled().await;
        hub.close();
        let served = tokio::time::timeout(LEAVE, futures::future::try_join_all(servers)).await;
        background.shutdown().await;
        client.bus().close().await;
        match served {
            Ok(Ok(ended)) => ended.into_iter().collect(),
            _ => Ok(()), // calls that take longer are cut
        }
    });
    Ok(Running { address, tls_address, metrics_address, done })
}

/// Serves `bridge.metrics_listen`.
async fn serve_metrics(
    listen: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    hub: &Arc<Hub>,
    client: &Client,
    stop: &CancellationToken,
) -> Result<Option<SocketAddr>, Error> {
    let Some(address) = listen else { return Ok(None) };
    let open = hub.open();
    let render = Arc::new(move || {
        metrics.streams.set(i64::try_from(*open.borrow()).unwrap_or(i64::MAX));
        metrics.render()
    });
    let causes = health::connection(client.bus().health());
    let bound = health::serve(address, render, causes, stop.clone()).await;
    bound.map(Some).map_err(|source| Error::Listen { address, source })
}

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    listener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

type Served = JoinHandle<Result<(), tonic::transport::Error>>;

fn serve(
    mut server: Server,
    routes: Routes,
    listener: TcpListener,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
) -> Served {
    // Keepalive writes to live connections more often than silence is allowed.
    let bounded = Bounded::sharing(listener, connections, Duration::ZERO);
    let incoming = futures::stream::unfold(bounded, async |mut bounded| {
        let (connection, _) = bounded.accept().await;
        Some((Ok::<_, io::Error>(connection), bounded))
    });
    let running = server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    tokio::spawn(running)
}

/// Both services, with a limit on the calls that are executed at the same time, and reflection.
fn routes(service: &Service, max_calls: usize) -> Routes {
    let free = Arc::new(Semaphore::new(max_calls));
    // Before the message is read, so that its memory is limited too. The permit lives as long as the request.
    let limit = move |mut request: Request<()>| match free.clone().try_acquire_owned() {
        Ok(permit) => {
            request.extensions_mut().insert(Arc::new(permit));
            Ok(request)
        }
        Err(_) => Err(Status::from(Error::TooMany { what: "calls", key: "max_calls", limit: max_calls })),
    };
    let mesh = MeshServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
    let adapter = AdapterServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
    let mut routes = Routes::builder();
    routes.add_service(InterceptedService::new(mesh, limit.clone()));
    routes.add_service(InterceptedService::new(adapter, limit));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Clients of both versions exist. The descriptors are constants, which a test decodes.
    if let Ok(v1) = reflection().build_v1() {
        routes.add_service(v1);
    }
    if let Ok(v1alpha) = reflection().build_v1alpha() {
        routes.add_service(v1alpha);
    }
    routes.routes()
}

fn tls(settings: &MutualTls) -> Result<ServerTlsConfig, Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Error::Settings(format!("cannot read {}: {error}", path.display())))
    };
    let identity = Identity::from_pem(read(&settings.cert_file)?, read(&settings.key_file)?);
    let authority = Certificate::from_pem(read(&settings.client_ca_file)?);
    Ok(ServerTlsConfig::new().identity(identity).client_ca_root(authority).timeout(HANDSHAKE))
}

/// Serving while NATS answers.
async fn report_health(reporter: HealthReporter, client: Client) {
    let mut health = client.bus().health();
    loop {
        let connected = health.borrow_and_update().connected;
        let status = if connected { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}
