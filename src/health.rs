//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::nats::Health;

/// Renders the metrics of a process in the text format of `OpenMetrics`.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Why the process cannot work, one line for each cause; empty when it can.
pub type Causes = Vec<String>;

/// The connection to NATS as the only cause, for processes without a worker.
#[must_use]
pub fn connection(mut bus: watch::Receiver<Health>) -> watch::Receiver<Causes> {
    let (write, causes) = watch::channel(Causes::new());
    tokio::spawn(async move {
        loop {
            let cause = bus.borrow_and_update().disconnected();
            write.send_replace(cause.into_iter().collect());
            if bus.changed().await.is_err() {
                return;
            }
        }
    });
    causes
}

#[derive(Clone)]
struct Shared {
    metrics: Render,
    causes: watch::Receiver<Causes>,
}

/// Binds `listen` and serves until `stop`. Gives the address, for port 0.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    metrics: Render,
    causes: watch::Receiver<Causes>,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(Shared { metrics, causes });
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!("the health port failed: {error}");
        }
    });
    Ok(address)
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    let causes = shared.causes.borrow();
    if causes.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, causes.join("\n") + "\n")
    }
}

async fn render(State(shared): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], (shared.metrics)())
}
