//! Reads what the analysis needs from a live cluster: of each kind that a rule reads, page by page; Secrets only where
//! something refers to them, `ConfigMap`s only of the control plane. Judges nothing.

mod live;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::ListParams;
use kube::core::request::Request;
use serde::Deserialize;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::{Cluster, Error};
use crate::analysis::mesh::ISTIO_NAMESPACE;
use crate::analysis::{Kind, Resource, Rule, Value};

pub use live::Live;

/// Objects in one page; bounds memory, not what is read.
const PAGE: u32 = 500;
/// Lists at once.
const PARALLEL: usize = 6;
/// Up to this many Secrets of a namespace are read one by one; above that, the namespace's are listed.
const FEW: usize = 16;
/// Secrets that are never a certificate: releases of Helm, tokens of service accounts.
const OTHER_SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";

/// The objects that were read from a cluster.
#[derive(Debug, Default)]
pub struct Configuration {
    /// In no order.
    pub resources: Vec<Resource>,
    /// Kinds that could not be read. Findings about them may be missing.
    pub unread: Vec<Unread>,
    /// Whether some kinds were read in the requested namespaces only.
    pub is_narrow: bool,
}

/// Objects that could not be read.
#[derive(Debug)]
pub struct Unread {
    /// Of which kind.
    pub kind: Kind,
    /// Which, in the words of the API: `pods`, `secrets in namespace shop`.
    pub what: String,
    /// Why; none if the deadline came first.
    pub error: Option<Error>,
}

/// `pods: the API server denied the request (forbidden)`
impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.reason())
    }
}

impl Unread {
    /// Whether the credentials do not allow it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self.error, Some(Error::Request { fault: ApiError::Forbidden(_), .. }))
    }

    fn reason(&self) -> String {
        self.error.as_ref().map_or_else(|| LATE.to_owned(), ToString::to_string)
    }
}

/// Why something is not known that had not come by the deadline.
const LATE: &str = "not read in time";

/// Reads what these rules need within a time; what is not there by then is among what is unread. What may not be read in
/// the whole cluster is read in `namespaces`, as far as it may be there.
pub async fn read(cluster: &Cluster, rules: &[&Rule], within: Duration, namespaces: &[String]) -> Configuration {
    let deadline = Instant::now() + within;
    let (lists, has_secrets) = lists(rules);
    let mut configuration = Configuration::default();
    run(cluster, lists, deadline, &mut configuration).await;
    if !namespaces.is_empty() && configuration.unread.iter().any(Unread::is_forbidden) {
        narrow(cluster, deadline, namespaces, &mut configuration).await;
    }
    if has_secrets {
        let known: Vec<&Resource> = configuration.resources.iter().collect();
        let secrets = secrets(cluster, deadline, &known).await;
        configuration.resources.extend(secrets.resources);
        configuration.unread.extend(secrets.unread);
    }
    configuration
}

/// Reads in some namespaces what is forbidden in all of them together.
async fn narrow(cluster: &Cluster, deadline: Instant, namespaces: &[String], configuration: &mut Configuration) {
    let is_narrower =
        |unread: &mut Unread| unread.is_forbidden() && (unread.kind.is_namespaced() || unread.kind == Kind::Namespace);
    for forbidden in configuration.unread.extract_if(.., is_narrower).collect::<Vec<_>>() {
        let kind = forbidden.kind;
        let mut there = Configuration::default();
        if kind == Kind::ConfigMap {
            // Only those of the control plane's namespace are requested.
        } else if kind == Kind::Namespace {
            // Who may do something in a namespace may often see it, and list none.
            for name in namespaces {
                there.resources.extend(namespace(cluster, name).await);
            }
        } else {
            let list = |name: &String| List { kind, namespace: Some(name.clone()), labels: None, fields: None };
            run(cluster, namespaces.iter().map(list).collect(), deadline, &mut there).await;
        }
        let is_read = kind == Kind::Namespace || there.unread.len() < namespaces.len() && kind != Kind::ConfigMap;
        if is_read {
            configuration.is_narrow = true;
            configuration.resources.append(&mut there.resources);
            configuration.unread.append(&mut there.unread);
        } else {
            configuration.unread.push(forbidden);
        }
    }
}

/// One namespace, if it may be seen.
async fn namespace(cluster: &Cluster, name: &str) -> Option<Resource> {
    let path = format!("/api/v1/namespaces/{}", super::connection::segment(name));
    let got = cluster.call("get", &name, |client| {
        let request = http::Request::get(path.as_str()).body(Vec::new());
        async move { client.request(request.map_err(kube::Error::HttpError)?).await }
    });
    resource(got.await.ok()?, "v1", Kind::Namespace)
}

/// Kinds that these rules read, and whether they read Secrets too.
fn lists(rules: &[&Rule]) -> (Vec<List>, bool) {
    let fetching = rules.iter().filter(|rule| !rule.is_about_text());
    let mut kinds: BTreeSet<Kind> = fetching.flat_map(|rule| rule.inputs).copied().collect();
    // Settings of the mesh, revisions and injection templates.
    kinds.insert(Kind::ConfigMap);
    let has_secrets = kinds.remove(&Kind::Secret);
    let kinds = kinds
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::MeshConfig | Kind::MeshNetworks | Kind::Unknown | Kind::Generator));
    let lists = kinds.map(|kind| {
        let namespace = (kind == Kind::ConfigMap).then_some(ISTIO_NAMESPACE);
        List { kind, namespace: namespace.map(str::to_owned), labels: None, fields: None }
    });
    (lists.collect(), has_secrets)
}

/// One list, or one object by name.
#[derive(Debug, Clone)]
struct List {
    kind: Kind,
    namespace: Option<String>,
    labels: Option<&'static str>,
    fields: Option<String>,
}

async fn run(cluster: &Cluster, lists: Vec<List>, deadline: Instant, into: &mut Configuration) {
    let mut lists = stream::iter(lists)
        .map(|list| async move {
            let mut found = Vec::new();
            let read = tokio::time::timeout_at(deadline, list.read(cluster, &mut found)).await;
            (list, found, read)
        })
        .buffer_unordered(PARALLEL);
    while let Some((list, found, read)) = lists.next().await {
        into.resources.extend(found);
        match read {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => into.unread.push(Unread { kind: list.kind, what: list.what(), error: Some(error) }),
            Err(_) => into.unread.push(Unread { kind: list.kind, what: list.what(), error: None }),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
    #[serde(default, rename = "resourceVersion")]
    resource_version: String,
}

/// How and up to when a list was read.
#[derive(Debug, Clone)]
struct Place {
    version: &'static str,
    resource_version: String,
}

/// As `kubectl` names a kind: `pods`, `gateways.networking.istio.io`.
fn full_name(kind: Kind) -> String {
    let (plural, group) = (kind.plural(), kind.group());
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

impl List {
    fn what(&self) -> String {
        let name = full_name(self.kind);
        self.namespace.as_ref().map_or(name.clone(), |namespace| format!("{name} in namespace {namespace}"))
    }

    /// In the first version that the cluster serves; of a kind that it does not serve there are no objects, and no place.
    async fn read(&self, cluster: &Cluster, found: &mut Vec<Resource>) -> Result<Option<Place>, Error> {
        for version in self.kind.versions() {
            match self.read_version(cluster, version, found).await {
                Ok(resource_version) => return Ok(Some(Place { version, resource_version })),
                Err(Error::Request { fault: ApiError::NotFound(_) | ApiError::NotServed, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn path(&self, version: &str) -> String {
        let group = self.kind.group();
        let api = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match &self.namespace {
            Some(namespace) => {
                format!("{api}/namespaces/{}/{}", super::connection::segment(namespace), self.kind.plural())
            }
            None => format!("{api}/{}", self.kind.plural()),
        }
    }

    fn api_version(&self, version: &str) -> String {
        let group = self.kind.group();
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
    }

    /// As a resource, if a rule may want it.
    fn resource(&self, item: Value, api_version: &str) -> Option<Resource> {
        let resource = resource(item, api_version, self.kind)?;
        (self.kind != Kind::ConfigMap || resource.name.starts_with("istio")).then_some(resource)
    }

    /// Up to when it was read.
    async fn read_version(&self, cluster: &Cluster, version: &str, found: &mut Vec<Resource>) -> Result<String, Error> {
        let (path, api_version) = (self.path(version), self.api_version(version));
        let mut params = ListParams {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.clone(),
            ..ListParams::default().limit(PAGE)
        };
        let what = self.what();
        loop {
            let page: Page = cluster
                .call("list", &what, |client| {
                    let request = Request::new(path.as_str()).list(&params);
                    async move { client.request(request.map_err(kube::Error::BuildRequest)?).await }
                })
                .await?;
            found.extend(page.items.into_iter().filter_map(|item| self.resource(item, &api_version)));
            match page.metadata.next {
                Some(next) if !next.is_empty() => params.continue_token = Some(next),
                _ => return Ok(page.metadata.resource_version),
            }
        }
    }
}

/// Kinds of which no rule reads the status, which changes all the time.
const WITHOUT_STATUS: [Kind; 9] = [
    Kind::Namespace,
    Kind::Node,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Job,
    Kind::CronJob,
    Kind::HorizontalPodAutoscaler,
    Kind::PodDisruptionBudget,
];

/// A list item as a resource, without Secret values and fields that no rule reads. List items have no `apiVersion` and
/// `kind`.
fn resource(item: Value, api_version: &str, kind: Kind) -> Option<Resource> {
    let Value::Map(entries) = item else { return None };
    let mut entries = entries.into_vec();
    entries.retain(|(key, _)| match key.as_str() {
        "apiVersion" | "kind" => false,
        "status" => !WITHOUT_STATUS.contains(&kind),
        _ => true,
    });
    for (key, value) in &mut entries {
        match (key.as_str(), kind) {
            ("metadata", _) => {
                drop_keys(value, &["managedFields", "uid", "selfLink", "generation", "resourceVersion"]);
            }
            ("status", Kind::Pod) => keep_key(value, "phase"),
            ("data", Kind::Secret) => conceal(value),
            _ => {}
        }
    }
    entries.insert(0, ("apiVersion".into(), Value::string(api_version)));
    entries.insert(1, ("kind".into(), Value::string(kind.name())));
    Resource::from_value(Value::Map(entries.into()))
}

fn drop_keys(node: &mut Value, keys: &[&str]) {
    if let Value::Map(entries) = node {
        let kept = std::mem::take(entries).into_vec();
        *entries = kept.into_iter().filter(|(key, _)| !keys.contains(&key.as_str())).collect();
    }
}

fn keep_key(node: &mut Value, wanted: &str) {
    if let Value::Map(entries) = node {
        let kept = std::mem::take(entries).into_vec();
        *entries = kept.into_iter().filter(|(key, _)| key == wanted).collect();
    }
}

/// Replaces the values of a Secret, except certificates, which are public. The keys remain.
fn conceal(data: &mut Value) {
    const CERTIFICATES: [&str; 7] =
        ["tls.crt", "cert", "ca.crt", "cacert", "ca-cert.pem", "root-cert.pem", "cert-chain.pem"];
    if let Value::Map(entries) = data {
        for (_, value) in entries.iter_mut().filter(|(key, _)| !CERTIFICATES.contains(&key.as_str())) {
            if !value.text().is_empty() {
                *value = Value::string("Y29uY2VhbGVk"); // "concealed"
            }
        }
    }
}

/// Secrets that something names, those that join clusters, and the control plane's own certificates.
async fn secrets(cluster: &Cluster, deadline: Instant, known: &[&Resource]) -> Configuration {
    let mut lists = vec![List {
        kind: Kind::Secret,
        namespace: Some(ISTIO_NAMESPACE.to_owned()),
        labels: Some("istio/multiCluster=true"),
        fields: None,
    }];
    let wanted = referenced(known);
    for (namespace, names) in &wanted {
        let list = |fields: String| List {
            kind: Kind::Secret,
            namespace: Some(namespace.clone()),
            labels: None,
            fields: Some(fields),
        };
        if names.len() <= FEW {
            lists.extend(names.iter().map(|name| list(format!("metadata.name={name}"))));
        } else {
            lists.push(list(OTHER_SECRETS.to_owned()));
        }
    }
    let mut configuration = Configuration::default();
    run(cluster, lists, deadline, &mut configuration).await;
    configuration.resources.retain(|secret| {
        secret.label("istio/multiCluster").is_some()
            || wanted.get(secret.namespace.as_str()).is_some_and(|names| names.contains(secret.name.as_str()))
    });
    configuration
}

/// Kinds whose pods a Gateway of Istio may select. A workload without pods, such as one that is scaled to 0, counts too.
const WORKLOADS: [Kind; 6] =
    [Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

/// Names of Secrets by namespace. The Secrets of a Gateway are in the namespaces of its workloads.
fn referenced(resources: &[&Resource]) -> BTreeMap<String, BTreeSet<String>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut want = |namespace: &str, name: &str| {
        if is_name(name) {
            wanted.entry(namespace.to_owned()).or_default().insert(name.to_owned());
        }
    };
    for name in ["cacerts", "istio-ca-secret"] {
        want(ISTIO_NAMESPACE, name);
    }
    let workloads = GatewayWorkloads::new(resources);
    for resource in resources {
        match resource.kind {
            Kind::Gateway => {
                let credentials = credentials(resource.spec());
                if !credentials.is_empty() {
                    for namespace in workloads.namespaces(&resource.spec()["selector"]) {
                        for name in &credentials {
                            want(namespace, name);
                        }
                    }
                }
            }
            Kind::KubernetesGateway => {
                for reference in resource.spec()["listeners"]
                    .items()
                    .iter()
                    .flat_map(|listener| listener.at("tls.certificateRefs").items())
                {
                    let namespace = reference["namespace"].as_str().unwrap_or(&resource.namespace);
                    want(namespace, reference["name"].text());
                }
            }
            _ => {}
        }
    }
    wanted
}

fn credentials(gateway: &Value) -> BTreeSet<&str> {
    let tls = gateway["servers"].items().iter().map(|server| &server["tls"]);
    let names = tls.flat_map(|tls| tls["credentialName"].as_str().into_iter().chain(tls["credentialNames"].texts()));
    names.collect()
}

/// A name goes into a field selector, whose syntax it must not be able to leave.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// Workloads by one label of their pods.
struct GatewayWorkloads<'a> {
    by_label: BTreeMap<(&'a str, &'a str), Vec<&'a Resource>>,
}

impl<'a> GatewayWorkloads<'a> {
    fn new(resources: &[&'a Resource]) -> Self {
        let mut by_label: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let gateways = resources.iter().filter(|resource| resource.kind == Kind::Gateway);
        let keys: BTreeSet<(&str, &str)> = gateways
            .flat_map(|gateway| gateway.spec()["selector"].entries().iter())
            .map(|(key, value)| (key.as_str(), value.text()))
            .collect();
        for workload in resources.iter().copied().filter(|resource| WORKLOADS.contains(&resource.kind)) {
            for (key, value) in workload.pod_labels().entries() {
                let pair = (key.as_str(), value.text());
                if keys.contains(&pair) {
                    by_label.entry(pair).or_default().push(workload);
                }
            }
        }
        Self { by_label }
    }

    fn namespaces(&self, selector: &Value) -> BTreeSet<&'a str> {
        let wanted = crate::analysis::Selector::new(selector);
        let Some(pair) = wanted.pairs().first() else { return BTreeSet::new() };
        let workloads = self.by_label.get(pair).map_or(&[][..], Vec::as_slice);
        let selected = workloads.iter().filter(|workload| wanted.matches(workload.pod_labels()));
        selected.map(|workload| workload.namespace.as_str()).collect()
    }
}
