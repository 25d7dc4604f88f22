//! Asks a server that a command names: a Service of the target through the API server's Service proxy or a port-forward, or
//! a connection of the worker's configuration by its URL. Endpoints are fixed; no path and no URL comes from a command.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::Method;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConnectionError;
use super::forward::{self, Failed, Forward};
use crate::cluster::{self, Cluster, ObjectRef};
use crate::config;
use crate::http::{self, Credentials};
use crate::observe::envelope::{self, Answer, MAX_ANSWER, QueryAnswer, Unusable};
use crate::observe::instance::{InstanceKind, ServiceAddress, join};
use crate::task::{Error, TaskContext, record};

/// Longest time for one request to a store.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit that the store is asked to keep itself, so that it answers with an error before ours ends.
const QUERY_TIMEOUT: &str = "9s";
/// Annotation that marks the ConfigMap of a connection.
pub const RECORD: &str = "connection.json";

/// Which server a command names: a connection, or a Service of the target.
pub type Reference<'a> = (Option<&'a str>, Option<&'a ServiceAddress>);

/// The record of `connection.apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub kind: InstanceKind,
    pub service: ServiceAddress,
    #[serde(default)]
    pub scope: BTreeMap<String, String>,
    #[serde(default)]
    pub via: Via,
}

/// How a Service is reached from outside its cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// By the API server's proxy; by port-forward where the worker has no right to the proxy.
    #[default]
    Auto,
    /// By the API server's proxy only (right `get` on `services/proxy`).
    Proxy,
    /// By the API server's port-forward to a ready pod (rights `create` and `get` on `pods/portforward`), which also reaches
    /// a server that listens on localhost only, or that accepts mutual TLS only.
    PortForward,
}

/// Path of an endpoint below a server's prefix: our own words, and a namespace and an identifier, which are
/// percent-encoded. No path comes from a command, because stores have endpoints that delete series on a plain GET.
pub struct Endpoint<'a> {
    head: &'static str,
    /// Namespace, and the path of the resources in it.
    namespace: Option<(&'a str, &'static str)>,
    id: Option<&'a str>,
    tail: &'static str,
}

impl<'a> Endpoint<'a> {
    /// Without an identifier, such as `/api/health`.
    pub const fn of(path: &'static str) -> Self {
        Self { head: path, namespace: None, id: None, tail: "" }
    }

    /// `head`, the identifier as one segment, `tail`.
    pub const fn with(head: &'static str, id: &'a str, tail: &'static str) -> Self {
        Self { head, namespace: None, id: Some(id), tail }
    }

    /// `head`, the namespace as one segment, the path of the resources, and one of them, where `id` names it, with `tail`.
    pub const fn in_namespace(
        head: &'static str,
        (namespace, resources): (&'a str, &'static str),
        id: Option<&'a str>,
        tail: &'static str,
    ) -> Self {
        Self { head, namespace: Some((namespace, resources)), id, tail }
    }

    fn path(&self) -> String {
        let segment = |text: &str| format!("/{}", percent_encoding::utf8_percent_encode(text, SEGMENT));
        let namespace = self.namespace.map(|(namespace, resources)| segment(namespace) + resources).unwrap_or_default();
        format!("{}{namespace}{}{}", self.head, self.id.map(segment).unwrap_or_default(), self.tail)
    }

    /// Whether the server answers with objects of Kubernetes, as Grafana does below `/apis`.
    fn has_status_objects(&self) -> bool {
        self.head.starts_with("/apis")
    }
}

/// Characters that stay in an identifier: those of Grafana's uids.
const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A server that can be asked.
pub struct Store {
    /// For messages: the Service, or the name of the configured connection.
    pub address: String,
    pub kind: InstanceKind,
    /// Labels that every selector gets.
    pub scope: BTreeMap<String, String>,
    credential: bool,
    reach: Reach,
}

enum Reach {
    Proxy { forward: Forward, falls_back: bool, is_forbidden: AtomicBool },
    Forward(Forward),
    Url { client: http::Client, base: String },
}

/// Installation, and name of the ConfigMap, of a connection.
pub fn installation(name: &str) -> String {
    format!("metrics-connection-{name}")
}

impl Store {
    /// A Service, without asking it anything.
    pub fn of_service(cluster: Arc<Cluster>, kind: InstanceKind, service: ServiceAddress) -> Self {
        Self::via(Forward { cluster, service, credentials: Credentials::default() }, kind, Via::Auto)
    }

    fn via(forward: Forward, kind: InstanceKind, via: Via) -> Self {
        let service = &forward.service;
        let mut address = format!("Service {}/{}:{}", service.namespace, service.name, service.port);
        let credential = forward.credentials.is_sent();
        let reach = if via == Via::PortForward || credential {
            address.push_str(" by port-forward");
            Reach::Forward(forward)
        } else {
            Reach::Proxy { forward, falls_back: via == Via::Auto, is_forbidden: AtomicBool::new(false) }
        };
        Self { address, kind, scope: BTreeMap::new(), credential, reach }
    }

    /// The server of a reference.
    ///
    /// # Errors
    /// Not exactly one of connection and Service, an unknown name, a connection to another kind of server, settings that
    /// cannot be used.
    pub async fn open(cx: &TaskContext, reference: Reference<'_>, wanted: InstanceKind) -> Result<Self, Error> {
        let cluster = cx.cluster().await?;
        let name = match reference {
            (None, Some(service)) => return Ok(Self::of_service(cluster, wanted, service.clone())),
            (Some(name), None) => name,
            _ => {
                let reason = "give exactly one of `connection` and `service`".to_owned();
                return Err(Error::Parameter { field: "connection", reason });
            }
        };
        let store = match cluster.connections().get(name) {
            Some(configured) => Self::configured(&cluster, name, configured).await?,
            None => Self::recorded(cluster, name).await?,
        };
        if store.kind != wanted {
            let (is, wanted) = (store.kind.as_str(), wanted.as_str());
            return Err(ConnectionError::OtherKind { name: name.to_owned(), is, wanted }.into());
        }
        Ok(store)
    }

    async fn configured(
        cluster: &Arc<Cluster>,
        name: &str,
        connection: &config::Connection,
    ) -> Result<Self, ConnectionError> {
        if let Some(service) = &connection.service {
            let (service, credentials) = (service.clone(), connection.credentials.clone());
            let forward = Forward { cluster: Arc::clone(cluster), service, credentials };
            let store = Self::via(forward, connection.kind, Via::Auto);
            let address = format!("connection {name} ({})", store.address);
            return Ok(Self { address, scope: connection.scope.clone(), ..store });
        }
        let client = http::Client::new(&connection.credentials, TIMEOUT).await;
        let unusable =
            |error: http::Error| ConnectionError::Settings { name: name.to_owned(), reason: error.to_string() };
        Ok(Self {
            address: format!("connection {name}"),
            kind: connection.kind,
            scope: connection.scope.clone(),
            credential: connection.credentials.is_sent(),
            reach: Reach::Url { client: client.map_err(unusable)?, base: connection.url.clone() },
        })
    }

    async fn recorded(cluster: Arc<Cluster>, name: &str) -> Result<Self, Error> {
        let Some(record) = read_record(&cluster, name).await? else {
            let known = cluster.connections().keys().cloned().collect();
            return Err(ConnectionError::Unknown { name: name.to_owned(), known }.into());
        };
        Ok(Self::of_record(cluster, &record))
    }

    /// The Service of a record, without asking it anything.
    pub fn of_record(cluster: Arc<Cluster>, record: &Record) -> Self {
        let (service, credentials) = (record.service.clone(), Credentials::default());
        let store = Self::via(Forward { cluster, service, credentials }, record.kind, record.via);
        Self { scope: record.scope.clone(), ..store }
    }

    const fn forward(&self) -> Option<&Forward> {
        match &self.reach {
            Reach::Proxy { forward, .. } | Reach::Forward(forward) => Some(forward),
            Reach::Url { .. } => None,
        }
    }

    /// The Service, for a server that is not reached by a URL.
    pub fn service(&self) -> Option<&ServiceAddress> {
        self.forward().map(|forward| &forward.service)
    }

    /// Pods behind the Service; none for a server by URL, and for a Service without a selector.
    ///
    /// # Errors
    /// Reading the Service or listing pods failed.
    pub async fn pods(&self) -> Result<Vec<Value>, Error> {
        let Some(Forward { cluster, service, .. }) = self.forward() else { return Ok(Vec::new()) };
        let object = ObjectRef::new("v1", "Service", Some(&service.namespace), &service.name);
        match cluster.get(&object).await? {
            Some(live) => forward::pods_of(cluster, &live).await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether requests carry a credential, a client certificate or a header of the worker's configuration.
    pub const fn has_credential(&self) -> bool {
        self.credential
    }

    /// URL at which other programs of the cluster reach the server: the Service's name, or the configured URL.
    pub fn url(&self) -> String {
        match &self.reach {
            Reach::Proxy { forward: Forward { service, .. }, .. } | Reach::Forward(Forward { service, .. }) => {
                let scheme = if service.tls { "https" } else { "http" };
                let base = format!("{scheme}://{}.{}.svc:{}", service.name, service.namespace, service.port);
                join(&base, &service.path).trim_end_matches('/').to_owned()
            }
            Reach::Url { base, .. } => base.trim_end_matches('/').to_owned(),
        }
    }

    /// Answer of one of our endpoints, whatever its status.
    ///
    /// # Errors
    /// [`ConnectionError::NoAnswer`] and [`ConnectionError::TooLarge`]; the API server's refusal as it is.
    pub async fn get(&self, endpoint: &'static str, parameters: &[(&str, String)]) -> Result<Answer, Error> {
        self.send(Method::GET, &Endpoint::of(endpoint), parameters, None).await
    }

    /// The same for any method, with a JSON body. The request is sent once: a lost answer does not show
    /// whether the server has carried it out.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn send(
        &self,
        method: Method,
        endpoint: &Endpoint<'_>,
        parameters: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let body = body.map(Value::to_string);
        match &self.reach {
            Reach::Url { client, base } => {
                let url = join(base, &endpoint.path());
                match client.send(method, &url, parameters, body, MAX_ANSWER).await {
                    Ok(answer) => Ok(Answer { status: answer.status, body: answer.body }),
                    Err(http::Error::TooLarge(most)) => Err(self.too_large(most)),
                    Err(error) => Err(self.no_answer(error.to_string())),
                }
            }
            Reach::Forward(forward) => self.by_forward(forward, &method, endpoint, parameters, body).await,
            Reach::Proxy { forward, falls_back, is_forbidden } => {
                if is_forbidden.load(Ordering::Relaxed) {
                    return self.by_forward(forward, &method, endpoint, parameters, body).await;
                }
                let uri = proxy_uri(&forward.service, &endpoint.path(), parameters);
                let own = endpoint.has_status_objects();
                let refusal = match self.through_proxy(&forward.cluster, &method, &uri, body.clone(), own).await {
                    Err(Error::Cluster(error)) if *falls_back && is_refusal(&error) => error,
                    answer => return answer,
                };
                // The request did not reach the server.
                is_forbidden.store(true, Ordering::Relaxed);
                match self.by_forward(forward, &method, endpoint, parameters, body).await {
                    // Without either permission, the error names the one on the proxy.
                    Err(Error::Cluster(second)) if is_refusal(&second) => Err(refusal.into()),
                    answer => answer,
                }
            }
        }
    }

    async fn by_forward(
        &self,
        forward: &Forward,
        method: &Method,
        endpoint: &Endpoint<'_>,
        parameters: &[(&str, String)],
        body: Option<String>,
    ) -> Result<Answer, Error> {
        let target = with_parameters(join(&forward.service.path, &endpoint.path()), parameters);
        match Box::pin(forward.send(method, &target, body, TIMEOUT)).await {
            Ok(answer) => Ok(answer),
            Err(Failed::Task(error)) => Err(error),
            Err(Failed::NoAnswer(reason)) => Err(self.no_answer(reason)),
            Err(Failed::TooLarge) => Err(self.too_large(MAX_ANSWER)),
            Err(Failed::Settings(reason)) => {
                Err(ConnectionError::Settings { name: self.address.clone(), reason }.into())
            }
        }
    }

    async fn through_proxy(
        &self,
        cluster: &Cluster,
        method: &Method,
        uri: &str,
        body: Option<String>,
        has_status_objects: bool,
    ) -> Result<Answer, Error> {
        let asked = cluster
            .call_unretried("query", &self.address, |client| {
                let mut request = ::http::Request::builder().method(method).uri(uri);
                if body.is_some() {
                    request = request.header(::http::header::CONTENT_TYPE, "application/json");
                }
                let request = request.body(body.clone().map_or_else(Body::empty, |text| Body::from(text.into_bytes())));
                async move {
                    let request = request
                        .map_err(|error| kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error)))?;
                    let (head, body) = client.send(request).await?.into_parts();
                    let body = Limited::new(body, MAX_ANSWER).collect().await.map(http_body_util::Collected::to_bytes);
                    Ok((head.status.as_u16(), body))
                }
            })
            .await;
        let (status, body) = match asked {
            Ok(answer) => answer,
            Err(error) => return Err(error.into()),
        };
        let body = body.map_err(|_| self.too_large(MAX_ANSWER))?;
        let body = String::from_utf8_lossy(&body).into_owned();
        match refusal_of_the_api_server(status, &body, has_status_objects) {
            Some(message) if status == 403 => Err(self.forbidden(message)),
            Some(message) => Err(self.no_answer(message)),
            None => Ok(Answer { status, body }),
        }
    }

    fn forbidden(&self, message: String) -> Error {
        cluster::Error::Request {
            verb: "query",
            object: self.address.clone(),
            fault: cluster::ApiError::Forbidden(message),
        }
        .into()
    }

    fn no_answer(&self, reason: String) -> Error {
        ConnectionError::NoAnswer { address: self.address.clone(), reason }.into()
    }

    fn too_large(&self, most: usize) -> Error {
        ConnectionError::TooLarge { address: self.address.clone(), most }.into()
    }

    /// Runs an instant query.
    ///
    /// # Errors
    /// As [`Store::get`], and answers that are not one to a query.
    pub async fn query(&self, promql: &str, at: Option<&str>) -> Result<QueryAnswer, Error> {
        let mut parameters = vec![("query", promql.to_owned()), ("timeout", QUERY_TIMEOUT.to_owned())];
        parameters.extend(at.map(|at| ("time", at.to_owned())));
        let answer = self.get("/api/v1/query", &parameters).await?;
        envelope::query(&answer).map_err(|source| self.unusable(source))
    }

    /// Runs a query for the times from `start` to `end`, all `step` seconds; times are seconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn query_range(&self, promql: &str, (start, end): (f64, f64), step: f64) -> Result<QueryAnswer, Error> {
        let parameters = [
            ("query", promql.to_owned()),
            ("start", format!("{start:.3}")),
            ("end", format!("{end:.3}")),
            ("step", format!("{step:.3}")),
            ("timeout", QUERY_TIMEOUT.to_owned()),
        ];
        let answer = self.get("/api/v1/query_range", &parameters).await?;
        envelope::query(&answer).map_err(|source| self.unusable(source))
    }

    /// `data` of an answer of Prometheus' HTTP API.
    ///
    /// # Errors
    /// As [`Store::get`], and answers that are errors or not of this API.
    pub async fn data(&self, endpoint: &'static str, parameters: &[(&str, String)]) -> Result<Value, Error> {
        let answer = self.get(endpoint, parameters).await?;
        let (data, _) = envelope::data(&answer).map_err(|source| self.unusable(source))?;
        Ok(data)
    }

    /// Active targets; none if the answer has no list of them.
    ///
    /// # Errors
    /// As [`Store::data`]; vmselect and Mimir do not serve the endpoint.
    pub async fn active_targets(&self) -> Result<Option<Vec<Value>>, Error> {
        let mut data = self.data("/api/v1/targets", &[("state", "active".to_owned())]).await?;
        Ok(match data.get_mut("activeTargets").map(Value::take) {
            Some(Value::Array(targets)) => Some(targets),
            _ => None,
        })
    }

    /// An answer of a program that is not Grafana.
    pub fn not_grafana(&self, answer: &Answer) -> Error {
        self.unusable(envelope::foreign(answer, envelope::GRAFANA))
    }

    pub(super) fn unusable(&self, source: Unusable) -> Error {
        ConnectionError::Unusable { address: self.address.clone(), source }.into()
    }
}

/// The ConfigMap that `connection.apply` wrote.
pub async fn read_record(cluster: &Cluster, name: &str) -> Result<Option<Record>, Error> {
    record::read(cluster, &installation(name), RECORD).await
}

/// Path of the API server that leads to a Service's endpoint.
fn proxy_uri(service: &ServiceAddress, endpoint: &str, parameters: &[(&str, String)]) -> String {
    let scheme = if service.tls { "https:" } else { "" };
    let path = format!(
        "/api/v1/namespaces/{}/services/{scheme}{}:{}/proxy{}",
        service.namespace,
        service.name,
        service.port,
        join(&service.path, endpoint)
    );
    with_parameters(path, parameters)
}

fn with_parameters(mut path: String, parameters: &[(&str, String)]) -> String {
    for (index, (name, value)) in parameters.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        path = format!("{path}{separator}{name}={value}");
    }
    path
}

/// Whether the worker has no right to what it requested.
const fn is_refusal(error: &cluster::Error) -> bool {
    matches!(error, cluster::Error::Request { fault: cluster::ApiError::Forbidden(_), .. })
}

/// The API server answers for the Service where it cannot reach it, with a `Status` object. A server behind the proxy may
/// have such objects of its own (`has_status_objects`); then the API server's are those about the Service, and those of
/// a proxy that gets no answer.
fn refusal_of_the_api_server(code: u16, body: &str, has_status_objects: bool) -> Option<String> {
    if code < 400 || !body.contains("\"Status\"") {
        return None;
    }
    let status: Value = serde_json::from_str(body).ok()?;
    let is_status = status["kind"] == "Status" && status["apiVersion"] == "v1";
    let group = status["details"]["group"].as_str().unwrap_or_default();
    let is_of_the_proxy = status["details"]["kind"] == "services"
        || (matches!(code, 401 | 502..=504) && !group.ends_with(".grafana.app"));
    (is_status && (is_of_the_proxy || !has_status_objects))
        .then(|| envelope::cut(status["message"].as_str().unwrap_or_default(), 300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_cannot_leave_the_query_string() {
        let service = ServiceAddress {
            namespace: "m".to_owned(),
            name: "p".to_owned(),
            port: 9090,
            path: "/x".to_owned(),
            tls: true,
        };
        let uri = proxy_uri(&service, "/api/v1/query", &[("query", "up{a=\"b\"}&time=1#/../".to_owned())]);
        assert_eq!(
            uri,
            "/api/v1/namespaces/m/services/https:p:9090/proxy/x/api/v1/query?query=up%7Ba%3D%22b%22%7D%26time%3D1%23%2F%2E%2E%2F"
        );
    }

    #[test]
    fn identifiers_are_one_segment_of_the_path() {
        assert_eq!(
            Endpoint::with("/api/folders", "a/../b?c", "/counts").path(),
            "/api/folders/a%2F%2E%2E%2Fb%3Fc/counts"
        );
        assert_eq!(Endpoint::of("/api/health").path(), "/api/health");
        let of = |namespace, id| Endpoint::in_namespace("/apis/a/v1/namespaces", (namespace, "/things"), id, "").path();
        assert_eq!(of("org-2", None), "/apis/a/v1/namespaces/org-2/things");
        assert_eq!(of("a/b", Some("c/d")), "/apis/a/v1/namespaces/a%2Fb/things/c%2Fd");
    }

    #[test]
    fn a_status_object_is_the_api_servers_answer() {
        let status =
            r#"{"kind":"Status","apiVersion":"v1","message":"no endpoints available for service \"p\"","code":503}"#;
        for has_status_objects in [false, true] {
            let refusal = |code, body| refusal_of_the_api_server(code, body, has_status_objects);
            assert!(refusal(503, status).unwrap().contains("no endpoints"));
            assert_eq!(refusal(503, r#"{"status":"error","errorType":"timeout","error":"x"}"#), None);
            assert_eq!(refusal(200, status), None);
        }
    }

    /// Grafana's API below `/apis` answers with `Status` objects too.
    #[test]
    fn a_status_object_of_the_server_behind_the_proxy_is_its_answer() {
        let status = |code: u16, details: Value| {
            serde_json::json!({"kind": "Status", "apiVersion": "v1", "message": "m", "code": code, "details": details})
                .to_string()
        };
        let board = serde_json::json!({"name": "u", "group": "dashboard.grafana.app", "kind": "dashboards"});
        for code in [400, 403, 404, 409, 422, 500, 503] {
            assert_eq!(refusal_of_the_api_server(code, &status(code, board.clone()), true), None, "{code}");
        }
        let service = serde_json::json!({"name": "grafana", "kind": "services"});
        for code in [403, 404, 503] {
            assert!(refusal_of_the_api_server(code, &status(code, service.clone()), true).is_some(), "{code}");
        }
    }
}
