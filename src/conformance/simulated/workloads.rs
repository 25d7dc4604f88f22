//! Workloads in memory with the contract of learn-layer5, on the simulated data plane.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::Error;
use super::super::contract::{CALLER, Endpoint, Reply, UNSERVED, Workloads, namespace_of};
use super::super::environment::Environment;
use super::super::traffic::{Answer, Protocol, Request, TrafficDriver as _};
use super::world::each;
use super::{Simulated, workload};

/// Workloads of the simulated data plane.
pub struct SimulatedWorkloads {
    environment: Arc<dyn Environment>,
    plane: Simulated,
    counts: Mutex<BTreeMap<Endpoint, Counts>>,
}

#[derive(Default)]
struct Counts {
    received: Vec<String>,
    succeeded: Vec<Value>,
    failed: Vec<Value>,
}

impl SimulatedWorkloads {
    /// Workloads of the environment, whose requests the plane carries.
    #[must_use]
    pub fn new(environment: Arc<dyn Environment>, plane: Simulated) -> Self {
        Self { environment, plane, counts: Mutex::default() }
    }

    fn change<R>(&self, of: &Endpoint, change: impl FnOnce(&mut Counts) -> R) -> R {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(of.clone()).or_default())
    }

    async fn call(&self, sender: &Endpoint, call: &Value) -> Result<Reply, Error> {
        let request = request(sender, call);
        let answer = self.plane.send(&request).await?.pop().unwrap_or_default();
        let sent = json!({"URL": call["url"], "Method": call["method"], "Headers": call["headers"]});
        let (is_success, body) = match answer.status {
            None => return Ok(Reply { status: 500, body: "Error completing the request\n".to_owned() }),
            Some(200) if request.path.starts_with("/echo") => {
                let namespace = namespace_of(&request).to_owned();
                let backend = Endpoint { namespace, workload: answer.backend.clone(), port: request.port };
                self.change(&backend, |counts| counts.received.push(sender.workload.clone()));
                (true, wire_form(&request, &answer, &sender.workload))
            }
            Some(200) if request.path == "/metrics" => (true, Counts::default().json()),
            Some(200) => (false, format!("{UNSERVED}\n")),
            Some(403) => (false, "RBAC: access denied".to_owned()),
            Some(_) => (false, String::new()),
        };
        self.change(sender, |counts| if is_success { &mut counts.succeeded } else { &mut counts.failed }.push(sent));
        Ok(Reply { status: 200, body })
    }
}

impl Counts {
    fn json(&self) -> String {
        json!({"ReqReceived": self.received, "RespSucceeded": self.succeeded, "RespFailed": self.failed}).to_string()
    }
}

fn request(sender: &Endpoint, call: &Value) -> Request {
    let text = |field: &str| call[field].as_str().unwrap_or_default();
    let rest = text("url").trim_start_matches("http://");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let headers = call["headers"].as_object().into_iter().flatten();
    Request {
        namespace: sender.namespace.clone(),
        from: sender.workload.clone(),
        host: host.to_owned(),
        port: port.parse().unwrap_or_default(),
        method: text("method").to_owned(),
        path: path.to_owned(),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        protocol: Protocol::Http,
        count: 1,
        per_second: 0,
    }
}

fn wire_form(request: &Request, answer: &Answer, caller: &str) -> String {
    let mut text =
        format!("{} {} HTTP/1.1\r\nHost: {}\r\n{CALLER}: {caller}\r\n", request.method, answer.path, answer.host);
    for (name, value) in &answer.request_headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text + "\r\n"
}

#[async_trait]
impl Workloads for SimulatedWorkloads {
    async fn endpoints(&self, namespace: &str) -> Result<Vec<Endpoint>, Error> {
        let pods = self.environment.list("v1", "Pod", Some(namespace), None).await?;
        let endpoint = |pod: &Value, port: &Value| Endpoint {
            namespace: namespace.to_owned(),
            workload: workload(pod["metadata"]["name"].as_str().unwrap_or_default()).to_owned(),
            port: port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        };
        let ports = pods.iter().flat_map(|pod| {
            let ports = each(&pod["spec"]["containers"]).flat_map(|container| each(&container["ports"]));
            ports.map(move |port| endpoint(pod, port))
        });
        Ok(ports.collect())
    }

    async fn http(&self, to: &Endpoint, method: &str, path: &str, body: String) -> Result<Reply, Error> {
        let ok = |body: String| Reply { status: 200, body };
        match (method, path) {
            ("DELETE", "/metrics") => Ok(self.change(to, |counts| {
                *counts = Counts::default();
                ok(String::new())
            })),
            ("GET", "/metrics") => Ok(self.change(to, |counts| ok(counts.json()))),
            ("POST", "/call") => self.call(to, &serde_json::from_str(&body).unwrap_or_default()).await,
            _ => Ok(Reply { status: 404, body: format!("{UNSERVED}\n") }),
        }
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
