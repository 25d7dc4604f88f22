//! A gateway process with a bus.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::eventually::eventually;
use crate::support::http::{self, Response, Server};

pub const PATIENCE: Duration = Duration::from_secs(30);
/// Token of the principal `ci`.
pub const TOKEN: &str = "0123456789abcdef-ci";
/// Token of the principal `other`, which has another source.
pub const OTHER: &str = "0123456789abcdef-other";

/// The process; killed when dropped.
pub struct Gateway {
    server: Server,
    pub folder: TempDir,
}

/// Principals `ci` (ping, config.*, every target) and `other` (ping on `dev`).
pub fn principals(folder: &std::path::Path) -> String {
    for (name, token) in [("ci", TOKEN), ("other", OTHER)] {
        std::fs::write(folder.join(name), format!("{token}\n")).unwrap();
    }
    let file = |name: &str| folder.join(name).display().to_string();
    format!(
        "[gateway.principals.ci]\ntoken_file = {:?}\nverbs = [\"ping\", \"config.*\"]\ntargets = [\"*\"]\n\
         source_prefix = \"/ci/\"\nrate_per_second = 1000\nburst = 2000\n\
         [gateway.principals.other]\ntoken_file = {:?}\nverbs = [\"ping\"]\ntargets = [\"dev\"]\n\
         source_prefix = \"/other/\"\n",
        file("ci"),
        file("other")
    )
}

impl Gateway {
    pub async fn start(nats_url: &str) -> Self {
        Self::with(nats_url, |_| String::new(), principals).await
    }

    /// `keys` are lines of `[gateway]`, `tables` its sub-tables.
    pub async fn with(
        nats_url: &str,
        keys: impl FnOnce(&std::path::Path) -> String,
        tables: impl FnOnce(&std::path::Path) -> String,
    ) -> Self {
        let folder = TempDir::with_prefix("sailhand-gateway-").unwrap();
        let text = format!(
            "[nats]\nurl = \"{nats_url}\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n{}\n{}",
            keys(folder.path()),
            tables(folder.path())
        );
        std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        Self::run(folder).await
    }

    /// Starts the process on the configuration `gateway.toml` of a folder.
    pub async fn run(folder: TempDir) -> Self {
        #[allow(clippy::disallowed_methods, reason = "another program to measure")]
        let program = std::env::var_os("SAILHAND_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sailhand").into());
        let mut command = Command::new(program);
        command.arg("gateway").args(["--log-format", "json", "--config"]).arg(folder.path().join("gateway.toml"));
        Self { server: Server::spawn(command, PATIENCE).await, folder }
    }

    /// Waits until the log contains a text.
    pub async fn logs(&self, text: &str) {
        eventually(&format!("the log contains {text}"), PATIENCE, async || self.log().contains(text).then_some(()))
            .await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[("Authorization", &bearer(TOKEN))], "").await
    }

    /// Sends an event in structured mode as `ci`.
    pub async fn post(&self, event: &Value) -> Response {
        let headers = [("Authorization", bearer(TOKEN)), ("Content-Type", "application/cloudevents+json".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.request("POST", "/v1/events", &headers, &event.to_string()).await
    }

    /// Opens a stream of server-sent events as `ci`.
    pub async fn live(&self, path: &str, last: Option<&str>) -> Live {
        let authorization = bearer(TOKEN);
        let last = last.map(|id| ("Last-Event-ID", id));
        let headers: Vec<_> = last.into_iter().chain([("Authorization", authorization.as_str())]).collect();
        Live { events: self.server.live(path, &headers).await }
    }
}

impl Deref for Gateway {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A command of `ci`.
#[allow(clippy::needless_pass_by_value, reason = "callers build it in place")]
pub fn event(id: &str, verb: &str, target: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/ci/shop", "subject": target,
        "type": format!("io.meshery.istio.command.{verb}.v1"), "data": data,
    })
}

pub fn ping(id: &str) -> Value {
    event(id, "ping", "dev", json!({}))
}

impl Response {
    /// Checks that it is a problem with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["status"], status);
        for field in ["type", "title", "detail", "remedy"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
        }
    }
}

/// Server-sent events whose data is JSON.
pub struct Live {
    events: http::Live,
}

impl Live {
    /// The next event: id, kind, data. `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, String, Value)> {
        let (id, kind, data) = self.events.next().await?;
        Some((id, kind, serde_json::from_str(&data).unwrap()))
    }
}
