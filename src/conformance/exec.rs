//! Sends requests by exec of Istio's echo client in the sender's pod, and reads its output.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use kube::client::UpgradeConnectionError;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Mutex, Semaphore};

use super::Error;
use super::error::EXEC;
use super::kubernetes::Kubernetes;
use super::simulated::workload;
use super::traffic::{Answer, Protocol, Request, TrafficDriver};
use crate::cluster::Cluster;
use crate::guard::Guard;

/// Container of the echo server and client.
const CONTAINER: &str = "echo";
/// Largest output of one exec, bytes: 2,000 answers have about 3 MiB.
const MOST: u64 = 16 * 1024 * 1024;
/// Execs at the same time: each is a process in a container, which the kubelet starts through the container runtime.
const AT_ONCE: usize = 16;
/// Limit of one exec, beyond the client's own.
const GRACE: Duration = Duration::from_secs(15);

/// Traffic driver that runs the echo client in the sender's pod.
pub struct Exec<'a> {
    environment: Kubernetes<'a>,
    /// Pods by namespace and workload.
    pods: Mutex<BTreeMap<(String, String), String>>,
    turns: Semaphore,
}

impl<'a> Exec<'a> {
    /// Sends from pods of the cluster.
    #[must_use]
    pub fn new(cluster: &'a Cluster, guard: &'a Guard) -> Self {
        Self { environment: Kubernetes { cluster, guard }, pods: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    async fn pod(&self, request: &Request) -> Result<String, Error> {
        let key = (request.namespace.clone(), request.from.clone());
        if let Some(pod) = self.pods.lock().await.get(&key) {
            return Ok(pod.clone());
        }
        let pod = self.environment.pod_of(&request.namespace, &request.from, EXEC).await?;
        self.pods.lock().await.insert(key, pod.clone());
        Ok(pod)
    }

    async fn output(&self, pod: &str, request: &Request, limit: Duration) -> Result<(String, String), Error> {
        let place = format!("{}/{pod}", request.namespace);
        let client = self.environment.cluster.client().await;
        let pods: Api<Pod> = Api::namespaced(client, &request.namespace);
        let params = AttachParams::default().container(CONTAINER).stdout(true).stderr(true).stdin(false);
        let run = async {
            let mut process = pods
                .exec(pod, command(request, limit), &params)
                .await
                .map_err(|error| failed(EXEC, "pods/exec", &place, &error))?;
            let (out, errors) = (process.stdout(), process.stderr());
            Ok(tokio::join!(text(out), text(errors)))
        };
        let late = |_| Error::Exec {
            operation: EXEC,
            pod: place.clone(),
            reason: format!("the command did not end within {:?}", limit + GRACE),
        };
        tokio::time::timeout(limit + GRACE, run).await.map_err(late)?
    }
}

#[async_trait]
impl TrafficDriver for Exec<'_> {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        let pod = self.pod(request).await?;
        // The client's limit is for all requests together.
        let paced = request.count.checked_div(request.per_second).unwrap_or_default();
        let limit = Duration::from_secs(5 + u64::from(request.count / 50 + paced));
        let _turn = self.turns.acquire().await;
        match self.output(&pod, request, limit).await {
            Ok((out, errors)) => Ok(answers(&out, &errors, request.count)),
            Err(error) => {
                self.pods.lock().await.remove(&(request.namespace.clone(), request.from.clone()));
                Err(error)
            }
        }
    }

    fn name(&self) -> &'static str {
        "exec"
    }
}

/// The error of a request for a stream to a pod.
pub(super) fn failed(operation: &'static str, resource: &str, pod: &str, error: &kube::Error) -> Error {
    let (pod, reason) = (pod.to_owned(), error.to_string());
    match error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) if status.as_u16() == 403 => {
            let reason = format!("the API server answers 403 Forbidden to {resource}");
            Error::ExecForbidden { operation, pod, reason }
        }
        kube::Error::Api(status) if status.code == 403 => Error::ExecForbidden { operation, pod, reason },
        _ => Error::Exec { operation, pod, reason },
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before the connection broke is judged; a missing answer does not pass.
        let _ = stream.take(MOST).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The client's command line. There is no shell: each argument arrives as it is.
fn command(request: &Request, limit: Duration) -> Vec<String> {
    let mut command = vec!["client".to_owned(), request.url(), format!("--timeout={}s", limit.as_secs())];
    if request.protocol == Protocol::Http {
        command.push(format!("--method={}", request.method));
    }
    command.push(format!("--count={}", request.count));
    if request.per_second > 0 {
        command.push(format!("--qps={}", request.per_second));
    }
    for (name, value) in &request.headers {
        command.extend(["-H".to_owned(), format!("{name}:{value}")]);
    }
    command
}

/// Reads the output: lines such as `[3] StatusCode=200` and `[3 body] Hostname=app-b-…`, one number for each request.
/// With one failed request the client prints no answer at all, and the first error on its log.
fn answers(out: &str, errors: &str, count: u32) -> Vec<Answer> {
    let mut answers: BTreeMap<u32, Answer> = BTreeMap::new();
    for line in out.lines() {
        let Some((head, text)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) else { continue };
        let (number, is_body) = head.split_once(' ').map_or((head, false), |(number, kind)| (number, kind == "body"));
        let Ok(number) = number.parse() else { continue };
        field(answers.entry(number).or_default(), text, is_body);
    }
    answers.retain(|_, answer| answer.status.is_some());
    let missing = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(answers.len());
    let error = errors.lines().rev().find(|line| line.to_ascii_lowercase().contains("error")).unwrap_or(errors).trim();
    let error = if error.is_empty() { "the client printed no answer" } else { error };
    answers.into_values().chain(std::iter::repeat_n(Answer::failed(error), missing)).collect()
}

fn field(answer: &mut Answer, text: &str, is_body: bool) {
    let Some((name, value)) = text.split_once('=') else {
        if is_body && answer.status == Some(403) {
            answer.response_headers.push(("X-Denied-By".to_owned(), text.to_owned()));
        }
        return;
    };
    let pair = || value.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    match name {
        "StatusCode" if answer.status.is_none() => answer.status = value.parse().ok(),
        "Hostname" => workload(value).clone_into(&mut answer.backend),
        "URL" if is_body => value.clone_into(&mut answer.path),
        "Host" if is_body => value.clone_into(&mut answer.host),
        "RequestHeader" if is_body => answer.request_headers.extend(pair()),
        "ResponseHeader" => answer.response_headers.extend(pair()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::traffic::Failure;
    use super::*;

    #[test]
    fn output_of_the_echo_client_is_read_by_request() {
        let out = "[0] Url=http://app-b:9091/echo\n[0] StatusCode=200\n[0] ResponseHeader=Server:envoy\n\
                   [0 body] Host=app-b:9091\n[0 body] RequestHeader=X-User:jason\n[0 body] URL=/echo?a=b\n\
                   [0 body] Hostname=app-b-5d4b8c7f9-x2x4z\n[1] StatusCode=403\n[1 body] RBAC: access denied\n";
        let read = answers(out, "", 2);
        assert_eq!(
            (read[0].status, read[0].backend.as_str(), read[0].path.as_str()),
            (Some(200), "app-b", "/echo?a=b")
        );
        assert_eq!(read[0].request_headers, [("X-User".to_owned(), "jason".to_owned())]);
        assert_eq!(read[1].status, Some(403));
        assert_eq!(read[1].response_headers, [("X-Denied-By".to_owned(), "RBAC: access denied".to_owned())]);
    }

    #[test]
    fn failed_client_is_a_transport_error_of_every_request() {
        let log = "2026-01-31T12:00:00Z\tfatal\tError 1/3 requests had errors; first error: Get \"http://b\": read: \
                   connection reset by peer\n";
        let read = answers("", log, 3);
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|answer| matches!(answer.error, Some((Failure::Reset, _)))));
        assert!(matches!(answers("", "", 1)[0].error, Some((Failure::Other, _))));
    }
}
