//! Connects with any of the credentials of NATS, and records what the server reports on the connection: without that, a
//! denied permission is only a timeout (`tests/it_bus/facts.rs`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ClientError, ConnectOptions, Event, ServerError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bus::Error;
use crate::config;
use crate::error::Code;
use crate::retry;

/// A NATS client and the state of its connection.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// State of the connection, updated on each event.
    pub health: watch::Sender<Health>,
}

/// State of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether a server answers.
    pub connected: bool,
    /// Error of the last try to connect; `None` after a success.
    pub connect_error: Option<String>,
    /// The last permissions violation since the last connect, as the server reported it.
    pub denied: Option<String>,
    /// How often the connection has been lost.
    pub losses: u64,
    /// Requests that the server refuses or denies, by the kind of subject, until such a request succeeds.
    pub refused: BTreeMap<String, Refusal>,
}

impl Health {
    /// Why there is no connection, with the error code; `None` while there is one.
    #[must_use]
    pub fn disconnected(&self) -> Option<String> {
        let connect_error =
            || self.connect_error.clone().unwrap_or_else(|| "there is no connection to NATS".to_owned());
        (!self.connected).then(|| format!("{}: {}", Code::SH2001, connect_error()))
    }
}

/// A request that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Code and text.
    pub text: String,
    /// When the server last refused it.
    pub at: Instant,
}

impl Health {
    /// Records a refusal.
    pub(super) fn refuse(&mut self, subject: &str, text: String) {
        self.refused.insert(kind(subject).to_owned(), Refusal { text, at: Instant::now() });
    }
}

/// The prefix of subjects that have the same permissions and the same stream: `istio.res`, `$KV.istio_lease`,
/// `$JS.ACK.ISTIO_CMD.worker`.
pub(super) fn kind(subject: &str) -> &str {
    let tokens = if subject.starts_with("$JS.") { 4 } else { 2 };
    subject.match_indices('.').nth(tokens - 1).map_or(subject, |(end, _)| &subject[..end])
}

/// Connects as `name`. With `retry_in_background`, an unreachable server is not an error: the client connects later.
///
/// # Errors
/// Unreadable credentials, or (not `retry_in_background`) an unreachable server.
pub async fn connect(nats: &config::Nats, name: &str, retry_in_background: bool) -> Result<Connection, Error> {
    let health = watch::Sender::new(Health { connected: !retry_in_background, ..Health::default() });
    let state = health.clone();
    let address = nats.url.join(",");
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(&nats.inbox_prefix)
        .ping_interval(Duration::from_secs(20))
        .connection_timeout(Duration::from_secs(5))
        .max_reconnects(None) // an outage is not an error of the connection, because each request has a timeout
        .reconnect_delay_callback(|attempts| retry::IN_PLACE.delay(u32::try_from(attempts).unwrap_or(u32::MAX), None))
        .event_callback(move |event| {
            let (state, address) = (state.clone(), address.clone());
            async move { record_event(&state, &address, &event) }
        });
    if retry_in_background {
        options = options.retry_on_initial_connect();
    }
    options = credentials(options, nats).await?;
    if let Some(ca) = &nats.tls_ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&nats.tls_cert, &nats.tls_key) {
        options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    let client = options
        .connect(nats.url.as_slice())
        .await
        .map_err(|source| Error::Connect { url: nats.url.join(","), source: source.into() })?;
    Ok(Connection { client, health })
}

fn record_event(state: &watch::Sender<Health>, address: &str, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            state.send_modify(|health| {
                health.connected = true;
                health.connect_error = None;
                health.denied = None;
                health.refused.clear();
            });
        }
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is lost");
            state.send_modify(|health| {
                health.connected = false;
                health.losses += 1;
            });
        }
        Event::Closed => {
            tracing::debug!("{event}");
            state.send_modify(|health| health.connected = false);
        }
        Event::ServerError(ServerError::Other(text)) if text.to_ascii_lowercase().contains("permissions violation") => {
            tracing::error!(code = "SH2004", "NATS denies a permission: {text}");
            let subject = text.split('"').nth(1).unwrap_or(text);
            state.send_modify(|health| {
                health.refuse(subject, format!("{}: NATS denies a permission: {text}", Code::SH2004));
                health.denied = Some(text.clone());
            });
        }
        Event::ClientError(ClientError::Other(text)) => {
            tracing::debug!("NATS: {text}");
            state.send_modify(|health| {
                health.connect_error = Some(format!("cannot connect to NATS at {address}: {text}"));
            });
        }
        other => tracing::debug!("NATS: {other}"),
    }
}

async fn credentials(mut options: ConnectOptions, nats: &config::Nats) -> Result<ConnectOptions, Error> {
    if let (Some(user), Some(path)) = (&nats.user, &nats.password_file) {
        options = options.user_and_password(user.clone(), secret(path).await?);
    }
    if let Some(path) = &nats.token_file {
        options = options.token(secret(path).await?);
    }
    if let Some(path) = &nats.nkey_file {
        options = options.nkey(secret(path).await?);
    }
    if let Some(path) = &nats.creds_file {
        options = options.credentials_file(path).await.map_err(|source| unusable(path, source))?;
    }
    Ok(options)
}

async fn secret(path: &Path) -> Result<String, Error> {
    let text = tokio::fs::read_to_string(path).await.map_err(|source| unusable(path, source))?;
    Ok(text.trim().to_owned())
}

fn unusable(path: &Path, source: std::io::Error) -> Error {
    Error::Credentials { path: path.display().to_string(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn subjects_of_one_kind_fail_and_recover_together() {
        for (subject, of) in [
            ("istio.res.dev.0123", "istio.res"),
            ("$KV.istio_lease.dev.shop", "$KV.istio_lease"),
            ("$JS.ACK.ISTIO_CMD.worker.1.2.3.4.5", "$JS.ACK.ISTIO_CMD.worker"),
            ("$JS.API.DIRECT.GET.ISTIO_RES.istio.res.dev.k", "$JS.API.DIRECT.GET"),
            ("short", "short"),
        ] {
            assert_eq!(kind(subject), of);
        }
    }
}
