//! A server process that prints its address, an HTTP client that can send any bytes, and an issuer of tokens.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// The process; killed when dropped.
pub struct Server {
    pub address: String,
    /// Longest time for a response or an event.
    patience: Duration,
    log: watch::Receiver<String>,
    child: Child,
}

impl Server {
    /// Starts a command that prints `http://` and its address on standard error.
    pub async fn spawn(mut command: Command, patience: Duration) -> Self {
        let mut child = command
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
            address = line.split("http://").nth(1).map(str::to_owned);
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
        Self { address, patience, log, child }
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Sends a request; `Host` is the address unless it is given.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = self.head(method, path, headers);
        let text = format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        // A server that refuses before the body closes the connection.
        let _ = stream.write_all(text.as_bytes()).await;
        Response::read(&mut stream, self.patience).await
    }

    /// Opens a stream of server-sent events.
    pub async fn live(&self, path: &str, headers: &[(&str, &str)]) -> Live {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{}\r\n", self.head("GET", path, headers)).as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = tokio::time::timeout(self.patience, lines.read_line(&mut head)).await.expect("a head");
            assert!(read.unwrap() > 0, "the connection was closed: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Live { lines, patience: self.patience }
    }

    /// Request line and headers.
    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(text, "Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Response {
    pub async fn read(stream: &mut TcpStream, patience: Duration) -> Self {
        let mut bytes = Vec::new();
        // A reset after the response does not lose what has arrived.
        let read = tokio::time::timeout(patience, stream.read_to_end(&mut bytes)).await.expect("a response");
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
}

/// Server-sent events.
pub struct Live {
    lines: BufReader<TcpStream>,
    patience: Duration,
}

impl Live {
    /// The next event with data: id, kind, data. `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, String, String)> {
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
                    return Some((id, kind, data));
                }
            }
        };
        tokio::time::timeout(self.patience, read).await.expect("an event")
    }
}

/// An OIDC issuer: one key with the id `one`, and tokens that it signs.
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
