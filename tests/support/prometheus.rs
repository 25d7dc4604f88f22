//! A real Prometheus on loopback (`tests/tools/build.sh istio`), and a small HTTP server that answers what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::tools;

/// Ends with the test. The text is its address, `host:port`.
pub struct Prometheus(Child, pub String);

impl Prometheus {
    /// Starts it with a configuration file, its data below `folder`, and further flags.
    pub fn start(configuration: &Path, folder: &Path, flags: &[&str]) -> Self {
        let data = format!("--storage.tsdb.path={}", folder.join("data").display());
        let flags: Vec<&str> = [data.as_str()].into_iter().chain(flags.iter().copied()).collect();
        Self::start_as(configuration, &flags)
    }

    /// The same without a flag for its data, for agents.
    pub fn start_as(configuration: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(tools::program("prometheus", "PROMETHEUS_BIN"))
            .arg(format!("--config.file={}", configuration.display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = |line: &String| line.contains("Listening on");
        let line = lines.find(said).unwrap_or_else(|| panic!("Prometheus did not start"));
        let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }

    /// Makes it read its configuration again.
    pub fn reload(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }

    /// The answer's data, or nothing while it starts.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let answer: Value = serde_json::from_str(&get(&self.1, &format!("/api/v1/{path}"))?.1).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    /// The data of a query, percent-encoded; nothing without a series.
    pub fn series(&self, query: &str) -> Option<Value> {
        let data = self.ask(&format!("query?query={query}"))?;
        data["result"].as_array().is_some_and(|result| !result.is_empty()).then_some(data)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status and body of a GET, where a server answers at all.
pub fn get(address: &str, target: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {target} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Answers each request for a path with the given status and body, and 404 otherwise, until the test ends.
pub fn serve(answer: impl Fn(&str) -> Option<(u16, String)> + Send + 'static) -> String {
    serve_at("127.0.0.1:0", answer)
}

/// The same at this address.
pub fn serve_at(address: &str, answer: impl Fn(&str) -> Option<(u16, String)> + Send + 'static) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            // The head is read to its end, or the client takes the closed connection for a failure.
            let mut head = vec![first.clone()];
            head.extend(lines.map_while(Result::ok).take_while(|line| !line.is_empty()));
            let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
            let wanted = format!("{path}\n{}", head[1..].join("\n"));
            let (status, body) = answer(&wanted).unwrap_or((404, String::new()));
            let _ = write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}
