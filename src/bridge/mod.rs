//! `sailhand bridge`: serves Meshery's gRPC contract. Publishes commands and reads results through [`crate::client`], and
//! never contacts a cluster. Its only state is the position of two durable consumers.

mod access;
mod adapter;
mod design;
pub mod error;
mod feed;
pub mod identity;
mod incoming;
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
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::client::{self, Client};
use crate::config::Config;
use crate::health;
use crate::web::listener;
use crate::web::tls::Tls;
use access::Access;
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
    let second = match &bridge.tls {
        Some(settings) => {
            let tls = Tls::load(settings, "h2").await;
            let tls = Arc::new(tls.map_err(|error| Error::Settings(format!("bridge.tls: {error}")))?);
            let (listener, address) = bind(settings.listen).await?;
            Some((tls, listener, address))
        }
        None => None,
    };
    let tls_address = second.as_ref().map(|(.., address)| *address);

    let mut background = tokio::task::JoinSet::new();
    background.spawn(feed.clone().results());
    background.spawn(feed.retries());
    if let Some(outbox) = &outbox {
        background.spawn(outbox.clone().push(client.clone()));
        background.spawn(register::register(outbox.clone(), bridge.versions.clone()));
    }
    let (reporter, health) = tonic_health::server::health_reporter();
    background.spawn(report_health(reporter, client.clone()));
    let config = Arc::new(bridge.clone());
    let access = Arc::new(Access::new(&config));
    let adapter = Arc::new(Adapter {
        config,
        client: client.clone(),
        hub: hub.clone(),
        outbox,
        metrics: metrics.clone(),
        parsing: Semaphore::new(PARSED),
    });
    let metrics_address = serve_metrics(bridge.metrics_listen, metrics, &hub, &client, &stop).await?;
    let routes = routes(&Service(adapter), access, bridge.max_calls).add_service(health);
    // A limit for each listener, so that clients without a certificate do not use up the connections of the other one.
    let most = bridge.max_streams + MORE_CONNECTIONS;
    let mut servers = vec![serve(routes.clone(), incoming::plaintext(listener, most), stop.clone())];
    if let Some((tls, listener, _)) = second {
        tokio::spawn(tls.clone().reread(stop.clone()));
        servers.push(serve(routes, incoming::secure(listener, most, tls, stop.clone()), stop.clone()));
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

type Served = JoinHandle<Result<(), tonic::transport::Error>>;

fn serve<S, C>(routes: Routes, incoming: S, stop: CancellationToken) -> Served
where
    S: Stream<Item = io::Result<C>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Connected<ConnectInfo: Clone + Send + Sync> + Unpin + Send + 'static,
{
    let running = server().add_routes(routes).serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
    tokio::spawn(running)
}

/// Both services, with the permissions of the caller and a limit on the calls that are executed at the same time; and
/// reflection.
fn routes(service: &Service, access: Arc<Access>, max_calls: usize) -> Routes {
    let free = Arc::new(Semaphore::new(max_calls));
    // Before the message is read, so that its memory is limited too. The permit lives as long as the request.
    let admit = move |mut request: Request<()>| {
        let caller = access.caller(request.extensions().get())?;
        let too_many = |_| Error::TooMany { what: "calls", key: "max_calls", limit: max_calls };
        let permit = free.clone().try_acquire_owned().map_err(too_many)?;
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(Arc::new(permit));
        Ok::<_, Status>(request)
    };
    let mesh = MeshServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
    let adapter = AdapterServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
    let mut routes = Routes::builder();
    routes.add_service(InterceptedService::new(mesh, admit.clone()));
    routes.add_service(InterceptedService::new(adapter, admit));
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
