//! Asks a server that a command names: a Service of the target through the API server's Service proxy, or a connection
//! of the worker's configuration by its URL. Endpoints are fixed; no path and no URL comes from a command.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConnectionError;
use crate::cluster::{self, Cluster, ObjectRef};
use crate::config;
use crate::http;
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
}

/// Path of an endpoint below a server's prefix: our own words, and at most one identifier, which is percent-encoded. No
/// path comes from a command, because stores have endpoints that delete series on a plain GET.
pub struct Endpoint<'a> {
    head: &'static str,
    id: Option<&'a str>,
    tail: &'static str,
}

impl<'a> Endpoint<'a> {
    /// Without an identifier, such as `/api/health`.
    pub const fn of(path: &'static str) -> Self {
        Self { head: path, id: None, tail: "" }
    }

    /// `head`, the identifier as one segment, `tail`.
    pub const fn with(head: &'static str, id: &'a str, tail: &'static str) -> Self {
        Self { head, id: Some(id), tail }
    }

    fn path(&self) -> String {
        let id =
            self.id.map_or_else(String::new, |id| format!("/{}", percent_encoding::utf8_percent_encode(id, SEGMENT)));
        format!("{}{id}{}", self.head, self.tail)
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
    Proxy { cluster: Arc<Cluster>, service: ServiceAddress },
    Url { client: http::Client, base: String },
}

/// Installation, and name of the ConfigMap, of a connection.
pub fn installation(name: &str) -> String {
    format!("metrics-connection-{name}")
}

impl Store {
    /// A Service, without asking it anything.
    pub fn of_service(cluster: Arc<Cluster>, kind: InstanceKind, service: ServiceAddress) -> Self {
        let address = format!("Service {}/{}:{}", service.namespace, service.name, service.port);
        Self { address, kind, scope: BTreeMap::new(), credential: false, reach: Reach::Proxy { cluster, service } }
    }

    /// The server of a reference.
    ///
    /// # Errors
    /// Not exactly one of connection and Service, an unknown name, a connection to another kind of server, settings that cannot be used.
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
            Some(configured) => Self::configured(name, configured).await?,
            None => Self::recorded(cluster, name).await?,
        };
        if store.kind != wanted {
            let (is, wanted) = (store.kind.as_str(), wanted.as_str());
            return Err(ConnectionError::OtherKind { name: name.to_owned(), is, wanted }.into());
        }
        Ok(store)
    }

    async fn configured(name: &str, connection: &config::Connection) -> Result<Self, ConnectionError> {
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
        let mut store = Self::of_service(cluster, record.kind, record.service);
        store.scope = record.scope;
        Ok(store)
    }

    /// The Service, for a server that is reached through the API server's proxy.
    pub const fn service(&self) -> Option<&ServiceAddress> {
        match &self.reach {
            Reach::Proxy { service, .. } => Some(service),
            Reach::Url { .. } => None,
        }
    }

    /// Pods behind the Service; none for a server by URL, and for a Service without a selector.
    ///
    /// # Errors
    /// Reading the Service or listing pods failed.
    pub async fn pods(&self) -> Result<Vec<Value>, Error> {
        let mut pods = Vec::new();
        let Reach::Proxy { cluster, service } = &self.reach else { return Ok(pods) };
        let object = ObjectRef::new("v1", "Service", Some(&service.namespace), &service.name);
        let live = cluster.get(&object).await?.unwrap_or_default();
        let selector = live["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
        if let (Some(selector), Some(kind)) = (selector, cluster.kind("v1", "Pod").await?) {
            let pairs: Vec<String> =
                selector.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
            cluster.list(&kind, Some(&service.namespace), Some(&pairs.join(",")), |pod| pods.push(pod)).await?;
        }
        Ok(pods)
    }

    /// Whether requests carry a credential, a client certificate or a header of the worker's configuration.
    pub const fn has_credential(&self) -> bool {
        self.credential
    }

    /// URL at which other programs of the cluster reach the server: the Service's name, or the configured URL.
    pub fn url(&self) -> String {
        match &self.reach {
            Reach::Proxy { service, .. } => {
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
            Reach::Proxy { cluster, service } => {
                let uri = proxy_uri(service, &endpoint.path(), parameters);
                self.through_proxy(cluster, &method, &uri, body).await
            }
        }
    }

    async fn through_proxy(
        &self,
        cluster: &Cluster,
        method: &Method,
        uri: &str,
        body: Option<String>,
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
        match refusal_of_the_api_server(status, &body) {
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

    /// An answer of a program that is not the expected one.
    pub fn foreign(&self, answer: &Answer) -> Error {
        let reason = format!("the body begins with {:?}", envelope::cut(&answer.body, 40));
        self.unusable(Unusable::Foreign { status: answer.status, reason })
    }

    fn unusable(&self, source: Unusable) -> Error {
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
    let mut uri = format!(
        "/api/v1/namespaces/{}/services/{scheme}{}:{}/proxy{}",
        service.namespace,
        service.name,
        service.port,
        join(&service.path, endpoint)
    );
    for (index, (name, value)) in parameters.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        uri = format!("{uri}{separator}{name}={value}");
    }
    uri
}

/// The API server answers for the Service where it cannot reach it, with a `Status` object.
fn refusal_of_the_api_server(status: u16, body: &str) -> Option<String> {
    if status < 400 || !body.contains("\"Status\"") {
        return None;
    }
    let status: Value = serde_json::from_str(body).ok()?;
    let is_status = status["kind"] == "Status" && status["apiVersion"] == "v1";
    is_status.then(|| envelope::cut(status["message"].as_str().unwrap_or_default(), 300))
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
    }

    #[test]
    fn a_status_object_is_the_api_servers_answer() {
        let status =
            r#"{"kind":"Status","apiVersion":"v1","message":"no endpoints available for service \"p\"","code":503}"#;
        assert!(refusal_of_the_api_server(503, status).unwrap().contains("no endpoints"));
        assert_eq!(refusal_of_the_api_server(503, r#"{"status":"error","errorType":"timeout","error":"x"}"#), None);
        assert_eq!(refusal_of_the_api_server(200, status), None);
    }
}
