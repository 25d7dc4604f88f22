//! HTTP to workloads by port-forward: past the proxy of the pod, as from within it. One connection for each port of a
//! workload, which is opened again when it has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use tokio::sync::Mutex;

use super::Error;
use super::contract::{Endpoint, Reply, Workloads};
use super::error::FORWARD;
use super::exec::failed;
use super::kubernetes::Kubernetes;
use super::simulated::workload;
use crate::cluster::Cluster;
use crate::guard::Guard;

/// Longest time for one request and its response, with the request that a workload sends for it.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest body, bytes: counts of 3,000 requests have about 300 KiB.
const MOST: usize = 1024 * 1024;

type Slot = Arc<Mutex<Option<SendRequest<Full<Bytes>>>>>;

/// HTTP client of workloads, by port-forward.
pub struct PortForward<'a> {
    environment: Kubernetes<'a>,
    connections: Mutex<BTreeMap<Endpoint, Slot>>,
    /// Ports of a namespace's workloads. They do not change during a run.
    endpoints: Mutex<BTreeMap<String, Vec<Endpoint>>>,
}

impl<'a> PortForward<'a> {
    /// Forwards ports of pods of the cluster.
    #[must_use]
    pub fn new(cluster: &'a Cluster, guard: &'a Guard) -> Self {
        let environment = Kubernetes { cluster, guard };
        Self { environment, connections: Mutex::default(), endpoints: Mutex::default() }
    }

    async fn slot(&self, to: &Endpoint) -> Slot {
        Arc::clone(self.connections.lock().await.entry(to.clone()).or_default())
    }

    async fn connect(&self, to: &Endpoint) -> Result<SendRequest<Full<Bytes>>, Error> {
        let pod = self.environment.pod_of(&to.namespace, &to.workload, FORWARD).await?;
        let api: Api<Pod> = Api::namespaced(self.environment.cluster.client().await, &to.namespace);
        let place = format!("{}/{pod}", to.namespace);
        let mut forwarder = api
            .portforward(&pod, &[to.port])
            .await
            .map_err(|cause| failed(FORWARD, "pods/portforward", &place, &cause))?;
        let stream = forwarder.take_stream(to.port);
        let stream = stream.ok_or_else(|| unreached(to, format!("port {}: no stream", to.port)))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| unreached(to, format!("port {}: {cause}", to.port)))?;
        tokio::spawn(async move {
            // The next request finds the connection closed and opens another one.
            let _ = connection.await;
            drop(forwarder);
        });
        Ok(sender)
    }

    async fn exchange(&self, to: &Endpoint, request: http::Request<Full<Bytes>>) -> Result<Reply, Error> {
        let slot = self.slot(to).await;
        let mut slot = slot.lock().await;
        let mut sender = match slot.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect(to).await?,
        };
        let broken = |cause: &dyn std::error::Error| unreached(to, format!("port {}: {cause}", to.port));
        let response = sender.send_request(request).await.map_err(|cause| broken(&cause))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|cause| broken(cause.as_ref()))?.to_bytes();
        // Without an error the connection can be used again.
        *slot = Some(sender);
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

#[async_trait]
impl Workloads for PortForward<'_> {
    async fn endpoints(&self, namespace: &str) -> Result<Vec<Endpoint>, Error> {
        if let Some(known) = self.endpoints.lock().await.get(namespace) {
            return Ok(known.clone());
        }
        let pods = self.environment.pods(namespace).await?;
        let found: Vec<_> = pods.iter().flat_map(|pod| ports(namespace, pod)).collect();
        self.endpoints.lock().await.insert(namespace.to_owned(), found.clone());
        Ok(found)
    }

    async fn http(&self, to: &Endpoint, method: &str, path: &str, body: String) -> Result<Reply, Error> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("localhost:{}", to.port))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(|cause| unreached(to, cause.to_string()))?;
        let late = |_| unreached(to, format!("no response to {method} {path} within {LIMIT:?}"));
        tokio::time::timeout(LIMIT, self.exchange(to, request)).await.map_err(late)?
    }

    fn name(&self) -> &'static str {
        "port-forward"
    }
}

fn unreached(to: &Endpoint, reason: String) -> Error {
    Error::Exec { operation: FORWARD, pod: format!("{}/{}", to.namespace, to.workload), reason }
}

/// Ports of the containers that the suite deployed, and not of proxies.
fn ports(namespace: &str, pod: &Value) -> Vec<Endpoint> {
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = containers.iter().filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with("echo")));
    let ports = own.flat_map(|one| one["ports"].as_array().map(Vec::as_slice).unwrap_or_default());
    let numbers = ports.filter_map(|port| u16::try_from(port["containerPort"].as_u64()?).ok());
    let name = workload(pod["metadata"]["name"].as_str().unwrap_or_default());
    numbers.map(|port| Endpoint { namespace: namespace.to_owned(), workload: name.to_owned(), port }).collect()
}
