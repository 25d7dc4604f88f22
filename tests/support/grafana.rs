//! A double of Grafana's HTTP API as a process of its own (`tests/tools/grafana`, built by `tests/tools/build.sh istio`). It
//! is in Go, because the models and the strict schema of Grafana's API are Go modules.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::tools;

/// A running double; ends with the last copy.
#[derive(Clone)]
pub struct Grafana {
    /// `host:port`.
    pub address: String,
    _process: Arc<Process>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Grafana {
    /// A Grafana that offers these versions of the groups below `/apis`; none is a Grafana below 12.
    pub fn start(apis: &[&str]) -> Self {
        let mut child = Command::new(tools::program("grafana-double", "GRAFANA_DOUBLE_BIN"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening ").expect("the double prints its address").to_owned();
        let grafana = Self { address, _process: Arc::new(Process(child)) };
        grafana.set(&json!({"apis": apis}));
        grafana
    }

    /// Requests but health calls since the last call, as `GET /api/org`.
    pub fn requests(&self) -> Vec<String> {
        texts(&self.control("POST", "requests", &Value::Null)["requests"])
    }

    /// Those of them that write.
    pub fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|one| !one.starts_with("GET")).collect()
    }

    /// Headers `Authorization` since the last call of this or of [`Self::requests`].
    pub fn authorizations(&self) -> Vec<String> {
        texts(&self.control("POST", "requests", &Value::Null)["authorizations"])
    }

    /// `folders`, `sources` and `dashboards` by uid.
    pub fn state(&self) -> Value {
        self.control("GET", "state", &Value::Null)
    }

    /// Uids of one of these kinds, sorted.
    pub fn uids(&self, kind: &str) -> Vec<String> {
        self.state()[kind].as_object().unwrap().keys().cloned().collect()
    }

    /// Changes settings and faults; `settings` of `tests/tools/grafana/state.go` has them.
    pub fn set(&self, settings: &Value) {
        self.control("POST", "settings", settings);
    }

    /// A user saves a dashboard again.
    pub fn edit(&self, uid: &str) {
        self.control("POST", &format!("edit/{uid}"), &Value::Null);
    }

    /// Whether all dashboards and data sources come from files.
    pub fn provision(&self, value: bool) {
        self.control("POST", "provisioned", &json!({"value": value}));
    }

    /// Another user's dashboard.
    pub fn put_dashboard(&self, uid: &str, folder: &str, spec: &Value) {
        self.control("POST", &format!("dashboard/{uid}"), &json!({"folder": folder, "spec": spec}));
    }

    /// The storage is empty, as after a pod was replaced.
    pub fn clear(&self) {
        self.control("POST", "clear", &Value::Null);
    }

    fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} /control/{path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}
