//! Sends requests through workloads with the contract of Meshery's learn-layer5: `POST /call` makes a workload send a
//! request, `/echo` answers with the request as it arrived, and `/metrics` has what the workload sent and received.
//!
//! The contract returns neither the status of an answer nor the workload that gave it. The status is read from the body: what
//! the workload echoes was delivered, and Envoy denies with a text. The workloads that answered are read from their counts
//! before and after, therefore requests to one namespace wait for each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Error;
use super::error::FORWARD;
use super::traffic::{Answer, Request, TrafficDriver};
use crate::clock::Clock;

/// Header by which a workload names itself to others.
pub(super) const CALLER: &str = "ServiceName";
/// How Envoy denies.
const DENIED: &str = "RBAC: access denied";
/// How the workload answers for a path that it does not serve: the request was delivered.
pub(super) const UNSERVED: &str = "404 page not found";

/// A port of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Namespace.
    pub namespace: String,
    /// Name of the Deployment.
    pub workload: String,
    /// Port of the container.
    pub port: u16,
}

/// An HTTP response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// At most 1 MiB.
    pub body: String,
}

/// HTTP requests to the workloads themselves, which do not pass their proxies.
#[async_trait]
pub trait Workloads: Send + Sync {
    /// Ports of all workloads of a namespace.
    ///
    /// # Errors
    /// [`Error::Cluster`].
    async fn endpoints(&self, namespace: &str) -> Result<Vec<Endpoint>, Error>;

    /// Sends one request.
    ///
    /// # Errors
    /// When there is no answer.
    async fn http(&self, to: &Endpoint, method: &str, path: &str, body: String) -> Result<Reply, Error>;

    /// Name in reports.
    fn name(&self) -> &'static str;
}

/// Traffic driver for workloads with the contract of learn-layer5.
pub struct Contract<W> {
    workloads: W,
    /// One lock for each namespace that receives requests.
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

/// What a workload counts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Counts {
    #[serde(default)]
    req_received: Vec<String>,
    #[serde(default)]
    resp_succeeded: Vec<Value>,
    #[serde(default)]
    resp_failed: Vec<Value>,
}

impl<W: Workloads> Contract<W> {
    /// Sends through these workloads.
    pub fn new(workloads: W) -> Self {
        Self { workloads, turns: Mutex::default() }
    }

    async fn turn(&self, namespace: &str) -> Arc<Mutex<()>> {
        Arc::clone(self.turns.lock().await.entry(namespace.to_owned()).or_default())
    }

    async fn counts(&self, endpoint: &Endpoint) -> Result<Counts, Error> {
        let reply = self.workloads.http(endpoint, "GET", "/metrics", String::new()).await?;
        serde_json::from_str(&reply.body).map_err(|error| {
            violation(endpoint, format!("the answer to GET /metrics has no counts (status {}): {error}", reply.status))
        })
    }

    async fn reset(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let reply = self.workloads.http(endpoint, "DELETE", "/metrics", String::new()).await?;
        if reply.status == 200 {
            return Ok(());
        }
        Err(violation(endpoint, format!("DELETE /metrics answers {}", reply.status)))
    }

    async fn call(&self, sender: &Endpoint, request: &Request) -> Result<Answer, Error> {
        let headers: BTreeMap<_, _> = request.headers.iter().cloned().collect();
        let call = json!({"url": request.url(), "method": request.method, "body": "", "headers": headers});
        let reply = self.workloads.http(sender, "POST", "/call", call.to_string()).await?;
        match reply.status {
            200 => Ok(answer(&reply.body)),
            // The text does not distinguish DNS errors, resets and time limits; it is never taken for a denial.
            500 => Ok(Answer::failed(reply.body.trim())),
            status => Err(violation(sender, format!("POST /call answers {status}: {}", first_line(&reply.body)))),
        }
    }
}

#[async_trait]
impl<W: Workloads> TrafficDriver for Contract<W> {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        let namespace = namespace_of(request);
        let turn = self.turn(namespace).await;
        let _turn = turn.lock().await;
        let receivers = self.workloads.endpoints(namespace).await?;
        let sender = self.workloads.endpoints(&request.namespace).await?;
        let sender = sender
            .into_iter()
            .find(|one| one.workload == request.from)
            .ok_or_else(|| Error::no_pod(FORWARD, &request.namespace, &request.from))?;
        for endpoint in receivers.iter().chain([&sender]) {
            self.reset(endpoint).await?;
        }
        let mut answers = Vec::new();
        for number in 0..request.count {
            if number > 0 && request.per_second > 0 {
                Clock::system().sleep(std::time::Duration::from_secs(1) / request.per_second).await;
            }
            answers.push(self.call(&sender, request).await?);
        }
        let sent = self.counts(&sender).await?;
        let completed = answers.iter().filter(|answer| answer.error.is_none()).count();
        let counted = sent.resp_succeeded.len() + sent.resp_failed.len();
        if completed != counted {
            let reason = format!("GET /metrics counts {counted} responses, but POST /call got {completed}");
            return Err(violation(&sender, reason));
        }
        let mut backends = Vec::new();
        for endpoint in &receivers {
            let received = self.counts(endpoint).await?.req_received;
            let own = received.iter().filter(|caller| **caller == request.from);
            backends.extend(own.map(|_| endpoint.workload.clone()));
        }
        // Which of several equal requests a workload answered is unknown, and nothing judges it.
        let delivered = answers.iter_mut().filter(|answer| answer.status == Some(200));
        for (answer, backend) in delivered.zip(backends) {
            answer.backend = backend;
        }
        Ok(answers)
    }

    /// One container for each port: the program serves one. It takes its port and name from the environment.
    fn adapt(&self, deployment: &mut Value) {
        let name = deployment["metadata"]["name"].clone();
        let spec = &mut deployment["spec"]["template"]["spec"];
        let echo = spec["containers"][0].clone();
        let ports = echo["ports"].as_array().cloned().unwrap_or_default();
        let containers = ports.into_iter().enumerate().map(|(place, port)| {
            let mut container = echo.clone();
            if let Some(fields) = container.as_object_mut() {
                fields.remove("args");
            }
            if place > 0 {
                container["name"] = json!(format!("echo-{}", port["containerPort"]));
            }
            container["env"] = json!([
                {"name": "SERVICE_NAME", "value": name},
                {"name": "PORT", "value": port["containerPort"].to_string()},
            ]);
            container["ports"] = json!([port]);
            container
        });
        spec["containers"] = containers.collect();
    }

    fn name(&self) -> &'static str {
        self.workloads.name()
    }
}

fn violation(endpoint: &Endpoint, reason: String) -> Error {
    let Endpoint { namespace, workload, port } = endpoint;
    Error::Contract { workload: format!("{namespace}/{workload}, port {port}"), reason }
}

/// Namespace of the request's host, such as `app-b` or `app-b.shop.svc.cluster.local`.
pub(super) fn namespace_of(request: &Request) -> &str {
    request.host.split('.').nth(1).unwrap_or(&request.namespace)
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    &line[..line.floor_char_boundary(200)]
}

/// The answer that a passed-on body shows.
fn answer(body: &str) -> Answer {
    if body.starts_with(DENIED) {
        let response_headers = vec![("X-Denied-By".to_owned(), DENIED.to_owned())];
        return Answer { status: Some(403), response_headers, ..Answer::default() };
    }
    let is_counts = || serde_json::from_str::<Counts>(body).is_ok();
    if body.trim_end() == UNSERVED || is_counts() {
        return Answer { status: Some(200), ..Answer::default() };
    }
    echoed(body).unwrap_or_else(|| Answer {
        error: None,
        // The contract has no other evidence: neither delivered nor denied.
        status: Some(502),
        response_headers: vec![("X-Body".to_owned(), first_line(body).to_owned())],
        ..Answer::default()
    })
}

/// A request in its form on the wire.
fn echoed(body: &str) -> Option<Answer> {
    let mut lines = body.lines();
    let mut first = lines.next()?.split(' ');
    let (_, path, version) = (first.next()?, first.next()?, first.next()?);
    if !version.starts_with("HTTP/") {
        return None;
    }
    let headers: Vec<(String, String)> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let host = headers.iter().find(|(name, _)| name == "Host").map(|(_, host)| host.clone());
    Some(Answer {
        status: Some(200),
        path: path.to_owned(),
        host: host.unwrap_or_default(),
        request_headers: headers,
        ..Answer::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_from_the_body() {
        let echo = "GET /echo HTTP/1.1\r\nHost: app-b:9091\r\nX-User: jason\r\nServicename: app-a\r\n\r\n";
        let read = answer(echo);
        assert_eq!((read.status, read.path.as_str(), read.host.as_str()), (Some(200), "/echo", "app-b:9091"));
        assert!(read.request_headers.contains(&("X-User".to_owned(), "jason".to_owned())));
        assert_eq!(answer("RBAC: access denied").status, Some(403));
        assert_eq!(answer("404 page not found\n").status, Some(200), "the workload answered");
        assert_eq!(answer("{\"ReqReceived\":[],\"RespSucceeded\":[],\"RespFailed\":[]}\n").status, Some(200));
        for body in ["", "upstream connect error or disconnect/reset before headers", "no healthy upstream", "null"] {
            assert_eq!(answer(body).status, Some(502), "{body}");
        }
    }

    #[test]
    fn each_port_has_a_container_with_its_name_and_port() {
        struct Unused;
        #[async_trait]
        impl Workloads for Unused {
            async fn endpoints(&self, _: &str) -> Result<Vec<Endpoint>, Error> {
                Ok(Vec::new())
            }
            async fn http(&self, _: &Endpoint, _: &str, _: &str, _: String) -> Result<Reply, Error> {
                Ok(Reply::default())
            }
            fn name(&self) -> &'static str {
                "unused"
            }
        }
        let mut deployment = json!({"metadata": {"name": "app-b"}, "spec": {"template": {"spec": {"containers": [
            {"name": "echo", "image": "i", "args": ["--port=1"], "ports": [{"containerPort": 9091}, {"containerPort": 9092}]},
        ]}}}});
        Contract::new(Unused).adapt(&mut deployment);
        let containers = &deployment["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["env"][1], json!({"name": "PORT", "value": "9091"}));
        assert_eq!((&containers[1]["name"], &containers[1]["args"]), (&json!("echo-9092"), &Value::Null));
        assert_eq!(containers[1]["ports"], json!([{"containerPort": 9092}]));
    }
}
