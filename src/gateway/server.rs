//! The HTTP server: accepts connections, limits the time and size of headers, and checks every request before its body
//! is read.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::refusal::Refusal;
use crate::web::listener::{Bounded, Peer};
use crate::web::tls::{CertificateNames, Tls};

/// Bytes of the head of a request. Tokens are at most 16 KiB.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// Open requests may end within this time after `stop`.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Serves connections until `stop`, with TLS or without.
pub(super) async fn serve(
    mut listener: Bounded,
    tls: Option<Arc<Tls>>,
    router: Router,
    header_timeout: Duration,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (router, tls, stop) = (router.clone(), tls.clone(), stop.clone());
        connections.spawn(async move {
            let served = match tls {
                None => connection(stream, (peer, CertificateNames::default()), router, header_timeout, stop).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok((stream, names)) => connection(stream, (peer, names), router, header_timeout, stop).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%peer, "connection ended: {error}");
            }
        });
    }
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are still open and are closed now");
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    (peer, names): (SocketAddr, CertificateNames),
    router: Router,
    header_timeout: Duration,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(names.clone());
        TowerToHyperService::new(router.clone()).call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        served = connection.as_mut() => served?,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}

/// Around every request of the API: checks the host name, and adds headers to the response. There are no CORS headers, so
/// pages of other origins read nothing.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match shared.hosts.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(host) => Refusal::Host(host).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Names of the client's certificate.
pub(super) fn certificate(request: &Parts) -> CertificateNames {
    request.extensions.get().cloned().unwrap_or_default()
}

/// Address of the client of a request.
pub(super) fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0)
}
