//! Connects with any of NATS' ways to say who one is, and keeps what the server says about it: a denied permission is
//! otherwise only a time-out (`tests/it_bus/facts.rs`).

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

/// A client and what it hears from its server.
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Follows the connection.
    pub health: watch::Sender<Health>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether a server answers.
    pub connected: bool,
    /// How the last try to connect failed, since the last that did not.
    pub connect_error: Option<String>,
    /// The last permissions violation since the last connect, as the server told it.
    pub denied: Option<String>,
    /// How often the connection has been lost.
    pub losses: u64,
    /// What the server refuses or denies, by the kind of subject, until it does it again.
    pub refused: BTreeMap<String, Refusal>,
}

impl Health {
    /// Why no server answers, with its code; none when one does.
    #[must_use]
    pub fn disconnected(&self) -> Option<String> {
        let connect_error =
            || self.connect_error.clone().unwrap_or_else(|| "there is no connection to NATS".to_owned());
        (!self.connected).then(|| format!("{}: {}", Code::SH2001, connect_error()))
    }
}

/// Something that the server does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Code and text.
    pub text: String,
    /// When it was last heard.
    pub at: Instant,
}

impl Health {
    /// Notes a refusal.
    pub(super) fn refuse(&mut self, subject: &str, text: String) {
        self.refused.insert(kind(subject).to_owned(), Refusal { text, at: Instant::now() });
    }
}

/// What subjects that are permitted and stored alike have in common: `istio.res`, `$KV.istio_lease`,
/// `$JS.ACK.ISTIO_CMD.worker`.
pub(super) fn kind(subject: &str) -> &str {
    let tokens = if subject.starts_with("$JS.") { 4 } else { 2 };
    subject.match_indices('.').nth(tokens - 1).map_or(subject, |(end, _)| &subject[..end])
}

/// Connects as `name`. With `retry_in_background`, an unreachable server is waited for in the background instead of failing.
///
/// # Errors
/// Unreadable credentials, or (not `retry_in_background`) an unreachable server.
pub async fn connect(nats: &config::Nats, name: &str, retry_in_background: bool) -> Result<Connection, Error> {
    let health = watch::Sender::new(Health { connected: !retry_in_background, ..Health::default() });
    let tell = health.clone();
    let address = nats.url.join(",");
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(&nats.inbox_prefix)
        .ping_interval(Duration::from_secs(20))
        .connection_timeout(Duration::from_secs(5))
        .max_reconnects(None) // once connected, an outage is waited for: who asks has time limits of its own
        .reconnect_delay_callback(|attempts| retry::IN_PLACE.delay(u32::try_from(attempts).unwrap_or(u32::MAX), None))
        .event_callback(move |event| {
            let (tell, address) = (tell.clone(), address.clone());
            async move { note(&tell, &address, &event) }
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

fn note(tell: &watch::Sender<Health>, address: &str, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            tell.send_modify(|health| {
                health.connected = true;
                health.connect_error = None;
                health.denied = None;
                health.refused.clear();
            });
        }
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is lost");
            tell.send_modify(|health| {
                health.connected = false;
                health.losses += 1;
            });
        }
        Event::Closed => {
            tracing::debug!("{event}");
            tell.send_modify(|health| health.connected = false);
        }
        Event::ServerError(ServerError::Other(text)) if text.to_ascii_lowercase().contains("permissions violation") => {
            tracing::error!(code = "SH2004", "NATS denies a permission: {text}");
            let subject = text.split('"').nth(1).unwrap_or(text);
            tell.send_modify(|health| {
                health.refuse(subject, format!("{}: NATS denies a permission: {text}", Code::SH2004));
                health.denied = Some(text.clone());
            });
        }
        Event::ClientError(ClientError::Other(text)) => {
            tracing::debug!("NATS: {text}");
            tell.send_modify(|health| {
                health.connect_error = Some(format!("cannot connect to NATS at {address}: {text}"))
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
