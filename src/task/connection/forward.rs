//! Requests to a pod of a Service by the API server's port-forward. Unlike its proxy it leaves every header alone, and it
//! connects to the pod's localhost, so it reaches servers that want a credential, that listen on localhost only, or that
//! accept nothing but mutual TLS on their other addresses.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HOST, HeaderMap};
use ::http::{Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::cluster::{self, ApiError, Cluster, ObjectRef};
use crate::http::{self, Credentials, chain};
use crate::observe::envelope::{Answer, MAX_ANSWER};
use crate::observe::instance::ServiceAddress;
use crate::task::{Error, pods};

/// A Service that is reached by port-forward.
pub struct Forward {
    pub cluster: Arc<Cluster>,
    pub service: ServiceAddress,
    pub credentials: Credentials,
}

/// Why there is no answer.
pub enum Failed {
    /// The API server's, or the cluster's.
    Task(Error),
    /// No pod, no connection, no answer in time.
    NoAnswer(String),
    /// A file or setting of the configuration.
    Settings(String),
    /// The response exceeds the size limit.
    TooLarge,
}

impl From<cluster::Error> for Failed {
    fn from(error: cluster::Error) -> Self {
        Self::Task(error.into())
    }
}

impl From<http::Error> for Failed {
    fn from(error: http::Error) -> Self {
        match error {
            http::Error::NoAnswer(reason) => Self::NoAnswer(reason),
            http::Error::TooLarge(_) => Self::TooLarge,
            error @ (http::Error::File { .. } | http::Error::Settings(_)) => Self::Settings(error.to_string()),
        }
    }
}

impl Forward {
    /// Sends one request; never repeats it. `target` is the path with its query.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn send(
        &self,
        method: &Method,
        target: &str,
        body: Option<String>,
        within: Duration,
    ) -> Result<Answer, Failed> {
        let sent = self.send_unbounded(method, target, body);
        let late = |_| Failed::NoAnswer(format!("no answer within {} s by port-forward", within.as_secs()));
        tokio::time::timeout(within, sent).await.map_err(late)?
    }

    async fn send_unbounded(&self, method: &Method, target: &str, body: Option<String>) -> Result<Answer, Failed> {
        let mut headers = self.credentials.headers().await?;
        if let Ok(host) = self.host().parse() {
            headers.insert(HOST, host);
        }
        let (pod, port) = self.pod().await?;
        let object = format!("Pod {}/{pod}", self.service.namespace);
        let namespace = self.service.namespace.as_str();
        let opened = self.cluster.call("port-forward", &object, |client| {
            let pod = pod.as_str();
            let api: Api<Pod> = Api::namespaced(client, namespace);
            async move { api.portforward(pod, &[port]).await }
        });
        let mut forwarder = match opened.await {
            Ok(forwarder) => forwarder,
            Err(error @ cluster::Error::Request { fault: ApiError::Forbidden(_) | ApiError::Unauthorized(_), .. }) => {
                return Err(error.into());
            }
            Err(error) => return Err(Failed::NoAnswer(error.to_string())),
        };
        let stream = forwarder.take_stream(port);
        let refusal = forwarder.take_error(port);
        let stream = stream.ok_or_else(|| Failed::NoAnswer("the port-forward has no stream".to_owned()))?;
        let request = request(method, target, headers, body)?;
        let answer = if self.service.tls {
            exchange(self.encrypt(stream).await?, request).await
        } else {
            exchange(stream, request).await
        };
        drop(forwarder);
        match (answer, refusal) {
            // The kubelet says why the port cannot be reached.
            (Err(Failed::NoAnswer(reason)), Some(refusal)) => match refusal.await {
                Some(text) => Err(Failed::NoAnswer(format!("{object}, port {port}: {}", text.trim()))),
                None => Err(Failed::NoAnswer(format!("{object}, port {port}: {reason}"))),
            },
            (answer, _) => answer,
        }
    }

    fn host(&self) -> String {
        format!("{}.{}.svc:{}", self.service.name, self.service.namespace, self.service.port)
    }

    /// A ready pod of the Service, and its port.
    async fn pod(&self) -> Result<(String, u16), Failed> {
        let object = ObjectRef::new("v1", "Service", Some(&self.service.namespace), &self.service.name);
        let Some(live) = self.cluster.get(&object).await? else {
            return Err(Failed::NoAnswer(format!("{object} does not exist")));
        };
        let mut ready = pods_of(&self.cluster, &live).await.map_err(Failed::Task)?;
        ready.retain(pods::is_ready);
        ready.sort_by(|a, b| a["metadata"]["name"].as_str().cmp(&b["metadata"]["name"].as_str()));
        let Some(pod) = ready.first() else {
            return Err(Failed::NoAnswer("the Service selects no ready pod".to_owned()));
        };
        let port = target_port(&live, self.service.port, pod);
        let no_port = || Failed::NoAnswer(format!("{object} has no port {}", self.service.port));
        Ok((pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), port.ok_or_else(no_port)?))
    }

    /// TLS to the pod. Its certificate has to be one for the Service's name.
    async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<TlsStream<S>, Failed> {
        let config = self.credentials.tls().await?;
        let name = format!("{}.{}.svc", self.service.name, self.service.namespace);
        let server = ServerName::try_from(name).map_err(|error| Failed::Settings(error.to_string()))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
        connected.map_err(|error| Failed::NoAnswer(format!("TLS: {error}")))
    }
}

/// Pods that a Service selects; none without a selector.
///
/// # Errors
/// Listing pods failed.
pub async fn pods_of(cluster: &Cluster, service: &Value) -> Result<Vec<Value>, Error> {
    let mut pods = Vec::new();
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
    if let (Some(selector), Some(kind)) = (selector, cluster.kind("v1", "Pod").await?) {
        let pairs: Vec<String> =
            selector.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let namespace = service["metadata"]["namespace"].as_str();
        cluster.list(&kind, namespace, Some(&pairs.join(",")), |pod| pods.push(pod)).await?;
    }
    Ok(pods)
}

/// Port of the pod behind a port of the Service: by number, or by the name of a container's port.
fn target_port(service: &Value, port: u16, pod: &Value) -> Option<u16> {
    let ports = service["spec"]["ports"].as_array()?;
    let entry = ports.iter().find(|entry| entry["port"].as_u64() == Some(port.into()))?;
    match &entry["targetPort"] {
        Value::Null => Some(port),
        Value::String(name) => {
            let containers =
                ["containers", "initContainers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
            let mut ports = containers.flatten().filter_map(|container| container["ports"].as_array()).flatten();
            let number = ports.find(|one| one["name"] == *name)?["containerPort"].as_u64()?;
            u16::try_from(number).ok()
        }
        number => u16::try_from(number.as_u64()?).ok(),
    }
}

fn request(
    method: &Method,
    target: &str,
    headers: HeaderMap,
    body: Option<String>,
) -> Result<Request<Full<Bytes>>, Failed> {
    let has_body = body.is_some();
    let built = Request::builder().method(method).uri(target).body(Full::from(body.unwrap_or_default()));
    let mut request = built.map_err(|error| Failed::Settings(error.to_string()))?;
    *request.headers_mut() = headers;
    if has_body {
        request.headers_mut().insert(CONTENT_TYPE, ::http::HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

/// One request over a connection of its own.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Failed> {
    let broken = |error: hyper::Error| Failed::NoAnswer(chain(&error));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(_) => Failed::TooLarge,
        })?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection carries the exchange; it may end before the answer is read to its end.
    tokio::select! {
        answer = &mut exchange => return answer,
        _ = connection => {}
    }
    exchange.await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn target_ports_are_numbers_names_or_the_port_itself() {
        let service = json!({"spec": {"ports": [
            {"port": 80, "targetPort": "web"}, {"port": 90, "targetPort": 9090}, {"port": 9091}, {"port": 1, "targetPort": "gone"}]}});
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 3000}]}]}});
        let of = |port| target_port(&service, port, &pod);
        assert_eq!((of(80), of(90), of(9091), of(1), of(7)), (Some(3000), Some(9090), Some(9091), None, None));
    }
}
