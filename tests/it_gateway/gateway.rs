//! A gateway process with a bus, and an HTTP client that can send any bytes.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::support::eventually::eventually;

pub const PATIENCE: Duration = Duration::from_secs(30);
/// Token of the principal `ci`.
pub const TOKEN: &str = "0123456789abcdef-ci";
/// Token of the principal `other`, which has another source.
pub const OTHER: &str = "0123456789abcdef-other";

/// The process; killed when dropped.
pub struct Gateway {
    pub address: String,
    pub folder: TempDir,
    log: watch::Receiver<String>,
    _child: Child,
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .arg("gateway")
            .args(["--log-format", "json", "--config"])
            .arg(folder.path().join("gateway.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (write, log) = watch::channel(String::new());
        let mut address = None;
        while let Some(line) = lines.next_line().await.unwrap() {
            address = line.split("Gateway at http://").nth(1).map(str::to_owned);
            write.send_modify(|log| log.push_str(&(line + "\n")));
            if address.is_some() {
                break;
            }
        }
        let address = address.unwrap_or_else(|| panic!("no address: {}", log.borrow().as_str()));
        // Reads on, so that the pipe does not fill.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                write.send_modify(|log| log.push_str(&(line + "\n")));
            }
        });
        Self { address, folder, log, _child: child }
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
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

    /// Sends a request; `Host` is the address unless it is given.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(text, "Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        // A server that refuses before the body closes the connection.
        let _ = stream.write_all(text.as_bytes()).await;
        Response::read(&mut stream).await
    }

    /// Opens a stream of server-sent events as `ci`.
    pub async fn live(&self, path: &str, last: Option<&str>) -> Live {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n{last}\r\n", self.address, bearer(TOKEN));
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = tokio::time::timeout(PATIENCE, lines.read_line(&mut head)).await.expect("a head");
            assert!(read.unwrap() > 0, "the connection was closed: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Live { lines }
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

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Response {
    pub async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the response does not lose what has arrived.
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("a response");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {read:?} {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

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

/// Server-sent events.
pub struct Live {
    lines: BufReader<TcpStream>,
}

impl Live {
    /// The next event: id, kind, data. `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, String, Value)> {
        let read = async {
            let (mut kind, mut id, mut data) = (String::new(), String::new(), String::new());
            loop {
                let mut line = String::new();
                if self.lines.read_line(&mut line).await.unwrap() == 0 {
                    return None;
                }
                let line = line.trim_end();
                if let Some(value) = line.strip_prefix("event: ") {
                    value.clone_into(&mut kind);
                } else if let Some(value) = line.strip_prefix("id: ") {
                    value.clone_into(&mut id);
                } else if let Some(value) = line.strip_prefix("data: ") {
                    data.push_str(value);
                } else if line == "0" {
                    return None; // the last chunk
                } else if line.is_empty() && !data.is_empty() {
                    return Some((id, kind, serde_json::from_str(&data).unwrap()));
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an event")
    }
}

/// An OIDC issuer: one key, and tokens that it signs.
pub struct Issuer {
    pair: rcgen::KeyPair,
}

impl Issuer {
    pub fn new() -> Self {
        Self { pair: rcgen::KeyPair::generate().unwrap() }
    }

    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    pub fn jwks(&self) -> String {
        // An uncompressed point: 4, x, y.
        let point = self.pair.public_key_raw();
        let coordinate = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let (x, y) = (coordinate(&point[1..33]), coordinate(&point[33..65]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "one", "x": x, "y": y }] }).to_string()
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).unwrap()
    }
}
