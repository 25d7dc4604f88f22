//! An HTTP endpoint that records requests and replies as the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::gateway::PATIENCE;
use crate::support::eventually::eventually;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method, path and version.
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
    /// From 0.
    pub number: usize,
    /// Earlier requests with the same `ce-id`.
    pub repetition: usize,
    pub at: Instant,
    /// Status of the reply; absent when the connection was closed instead.
    pub status: Option<u16>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the endpoint replies.
pub struct Reply {
    status: Option<u16>,
    header: String,
    body: String,
    delay: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), header: String::new(), body: String::new(), delay: Duration::ZERO }
    }

    /// Closes the connection without a reply.
    pub fn closed() -> Self {
        Self { status: None, ..Self::status(0) }
    }

    pub fn with_header(self, header: &str) -> Self {
        Self { header: format!("{header}\r\n"), ..self }
    }

    pub fn with_body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

type Answer = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

#[derive(Default)]
struct Record {
    requests: Vec<Request>,
    by_id: HashMap<String, usize>,
}

/// The endpoint; closed when dropped.
pub struct Endpoint {
    pub url: String,
    address: SocketAddr,
    answer: Answer,
    record: Arc<Mutex<Record>>,
    task: Option<JoinHandle<()>>,
}

impl Endpoint {
    pub async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut endpoint = Self {
            url: format!("http://{address}/events"),
            address,
            answer: Arc::new(answer),
            record: Arc::default(),
            task: None,
        };
        endpoint.serve(listener);
        endpoint
    }

    fn serve(&mut self, listener: TcpListener) {
        let (answer, record) = (self.answer.clone(), self.record.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, answer.clone(), record.clone()));
                while connections.try_join_next().is_some() {}
            }
        }));
    }

    /// Closes the port and all connections.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Opens the port again, if it is closed.
    pub async fn resume(&mut self) {
        if self.task.is_none() {
            let address = self.address;
            let listener =
                eventually("the port is free", PATIENCE, async || TcpListener::bind(address).await.ok()).await;
            self.serve(listener);
        }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.record.lock().unwrap().requests.clone()
    }

    /// Waits for so many requests.
    pub async fn wait_for(&self, requests: usize) -> Vec<Request> {
        eventually(&format!("{requests} requests"), PATIENCE, async || {
            Some(self.requests()).filter(|found| found.len() >= requests)
        })
        .await
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn connection(mut stream: TcpStream, answer: Answer, record: Arc<Mutex<Record>>) {
    let mut buffer = Vec::new();
    while let Some((line, headers, body)) = read(&mut stream, &mut buffer).await {
        let mut request = Request { line, headers, body, number: 0, repetition: 0, at: Instant::now(), status: None };
        let reply = {
            let mut record = record.lock().unwrap();
            request.number = record.requests.len();
            let id = request.header("ce-id").unwrap_or_default().to_owned();
            let count = record.by_id.entry(id).or_default();
            request.repetition = *count;
            *count += 1;
            let reply = answer(&request);
            request.status = reply.status;
            record.requests.push(request);
            reply
        };
        let Some(status) = reply.status else { return };
        tokio::time::sleep(reply.delay).await;
        let head = format!("HTTP/1.1 {status} X\r\n{}Content-Length: {}\r\n\r\n", reply.header, reply.body.len());
        if stream.write_all(format!("{head}{}", reply.body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Request line, headers in lower case, body; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<(String, String)>, String)> {
    loop {
        let head = buffer.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let mut lines = text.split("\r\n");
            let line = lines.next().unwrap_or_default().to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.map_or(0, |(_, length)| length.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
                buffer.drain(..end + 4 + length);
                return Some((line, headers, body));
            }
        }
        let mut part = [0; 8192];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&part[..read]),
        }
    }
}
