//! Connects with any of NATS' ways to say who one is, and keeps what the server says about it: a denied permission is
//! otherwise only a time-out (bus.md fact 13).

use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerError};
use tokio::sync::watch;

use crate::bus::Error;
use crate::config;
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
    /// The last permissions violation since the last connect, as the server told it.
    pub denied: Option<String>,
    /// How often the connection has been lost.
    pub losses: u64,
}

/// Connects as `name`. With `patient`, an unreachable server is waited for in the background instead of failing.
///
/// # Errors
/// Unreadable credentials, or (not `patient`) an unreachable server.
pub async fn connect(nats: &config::Nats, name: &str, patient: bool) -> Result<Connection, Error> {
    let health = watch::Sender::new(Health { connected: !patient, ..Health::default() });
    let tell = health.clone();
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(&nats.inbox_prefix)
        .ping_interval(Duration::from_secs(20))
        .connection_timeout(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| retry::IN_PLACE.delay(u32::try_from(attempts).unwrap_or(u32::MAX), None))
        .event_callback(move |event| {
            let tell = tell.clone();
            async move { note(&tell, &event) }
        });
    options = if patient { options.retry_on_initial_connect().max_reconnects(None) } else { options.max_reconnects(3) };
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

fn note(tell: &watch::Sender<Health>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            tell.send_modify(|health| {
                health.connected = true;
                health.denied = None;
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
            tell.send_modify(|health| health.denied = Some(text.clone()));
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
