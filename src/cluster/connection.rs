//! One cluster: its isolated client, created on first use and again when its credentials are rejected, and the basic
//! requests. Objects are JSON. Uses no order and no inventory.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::request::Request;
use kube::core::{DynamicObject, Resource};
use kube::{Client, Config};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use super::api_error::ApiError;
use super::discovery::{Kind, Kinds};
use super::{Error, Identity, ObjectRef};
use crate::config::Target;

/// Owns what this crate applies. One name for all versions: a rename would leave fields behind.
pub const FIELD_MANAGER: &str = "sailhand";

/// Objects in one page of a list; bounds memory, not what is read.
const PAGE: u32 = 500;

/// How often a list whose continue token expires starts again. The API server keeps tokens for some five minutes.
const RESTARTS: u32 = 3;

/// One cluster and its client.
pub struct Cluster {
    name: String,
    target: Target,
    connection: Mutex<Connection>,
    kinds: Kinds,
}

/// A client, and how many there were before it.
#[derive(Clone)]
struct Connection {
    client: Client,
    /// The same without kube's retries of 429, 503 and 504: through the API server's proxy these are answers of another
    /// server. Made on first use, because most targets need none.
    unretried: Arc<OnceCell<Client>>,
    settings: Arc<Config>,
    number: u64,
}

impl Connection {
    async fn unretried(&self) -> Result<Client, kube::Error> {
        let connect = async || {
            let mut settings = (*self.settings).clone();
            settings.default_retry = false;
            Client::try_from(settings)
        };
        self.unretried.get_or_try_init(connect).await.cloned()
    }
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    items: Vec<Value>,
}

#[derive(Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl Cluster {
    /// Reads the credentials. Sends no request.
    pub(super) async fn new(name: &str, target: Target) -> Result<Self, Error> {
        let connection = Mutex::new(connect(name, &target, 0).await?);
        Ok(Self { name: name.to_owned(), target, connection, kinds: Kinds::default() })
    }

    /// The target's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace of the inventories.
    pub(crate) fn inventory_namespace(&self) -> &str {
        &self.target.inventory_namespace
    }

    /// Checks the object against the target's allow-list. [`Cluster::patch`], [`Cluster::merge`] and [`Cluster::remove`]
    /// check it themselves; other writes have to.
    ///
    /// # Errors
    /// [`Error::NotAllowed`].
    pub(crate) fn check_write(&self, object: &ObjectRef) -> Result<(), Error> {
        let kind = (object.group(), object.kind.as_str());
        self.target.allows_write(kind, object.namespace.as_deref(), &object.name).map_err(|list| Error::NotAllowed {
            target: self.name.clone(),
            object: object.to_string(),
            list,
        })
    }

    /// Servers of the worker's configuration for this target, by name.
    pub(crate) fn connections(&self) -> &std::collections::BTreeMap<String, crate::config::Connection> {
        &self.target.connections
    }

    /// The client as it is now, for watches and the like; prefer the methods below, which time out and classify.
    pub async fn client(&self) -> Client {
        self.connection.lock().await.client.clone()
    }

    /// Sends a request within the target's time limit. If the credentials are rejected, they are read again and the
    /// request is sent once more, because their file may have been rotated.
    ///
    /// # Errors
    /// [`Error::Request`] with the cause.
    pub async fn call<T, F, A>(
        &self,
        verb: &'static str,
        object: &(dyn fmt::Display + Sync),
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, kube::Error>>,
    {
        self.send(verb, object, |connection| request(connection.client.clone())).await
    }

    /// As [`Cluster::call`], without kube's retries, for requests to a server behind the API server's proxy.
    ///
    /// # Errors
    /// [`Error::Request`] with the cause.
    pub(crate) async fn call_unretried<T, F, A>(
        &self,
        verb: &'static str,
        object: &(dyn fmt::Display + Sync),
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, kube::Error>>,
    {
        let request = &request;
        self.send(verb, object, |connection| {
            let connection = connection.clone();
            async move { request(connection.unretried().await?).await }
        })
        .await
    }

    async fn send<T, F, A>(
        &self,
        verb: &'static str,
        object: &(dyn fmt::Display + Sync),
        request: F,
    ) -> Result<T, Error>
    where
        F: Fn(&Connection) -> A,
        A: Future<Output = Result<T, kube::Error>>,
    {
        let mut connection = self.connection.lock().await.clone();
        let mut renewed = false;
        loop {
            let answer = tokio::time::timeout(self.target.request_timeout, request(&connection)).await;
            let fault = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => ApiError::of(&error),
                Err(_) => ApiError::Timeout(self.target.request_timeout),
            };
            if !matches!(fault, ApiError::Unauthorized(_)) || renewed {
                return Err(Error::Request { verb, object: object.to_string(), fault });
            }
            connection = self.renew(connection.number).await?;
            renewed = true;
        }
    }

    /// A client after the one numbered `refused`; the first of several callers makes it.
    async fn renew(&self, refused: u64) -> Result<Connection, Error> {
        let mut connection = self.connection.lock().await;
        if connection.number == refused {
            tracing::info!(target = self.name, "credentials rejected; reading them again");
            *connection = connect(&self.name, &self.target, refused + 1).await?;
        }
        Ok(connection.clone())
    }

    /// The API server's version, such as `v1.34.4`.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn version(&self) -> Result<String, Error> {
        let ask = |client: Client| async move { client.apiserver_version().await };
        Ok(self.call("request", &"the API server's version", ask).await?.git_version)
    }

    /// How the cluster serves a kind; asks again when it does not know it. `None` when it still does not.
    ///
    /// # Errors
    /// When discovery fails.
    pub async fn kind(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        self.kinds.exact(self, api_version, kind).await
    }

    /// Suggestions for a kind that the cluster does not serve, for an error message.
    pub(super) async fn near_kind(&self, api_version: &str, kind: &str) -> Option<String> {
        self.kinds.near(api_version, kind).await
    }

    /// As [`Cluster::kind`], in another version when the named one is no longer served.
    pub(super) async fn kind_any_version(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        self.kinds.any(self, api_version, kind).await
    }

    /// Forgets what discovery said, after CRDs changed.
    pub(super) async fn forget_kinds(&self) {
        self.kinds.forget().await;
    }

    /// One object, or `None` when it or its kind does not exist.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        let Some(kind) = self.kind(&object.api_version, &object.kind).await? else { return Ok(None) };
        match self.get_as(&kind, object).await {
            // Discovery is read again: the kind may not be served any more.
            Err(error) if matches!(error.fault(), Some(ApiError::NotServed)) => {
                match self.kind(&object.api_version, &object.kind).await? {
                    None => Ok(None),
                    Some(_) => Err(error),
                }
            }
            answer => answer,
        }
    }

    /// One object of a known kind. `None` only if the API server says that this object does not exist: a 404 of the
    /// whole resource is an error.
    pub(super) async fn get_as(&self, kind: &Kind, object: &ObjectRef) -> Result<Option<Value>, Error> {
        let path = kind.path(object.namespace.as_deref());
        let answer = self
            .call("get", object, |client| {
                let request = Request::new(path.as_str()).get(&segment(&object.name), &kube::api::GetParams::default());
                async move { client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await }
            })
            .await;
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(Error::Request { fault: ApiError::NotFound(_) | ApiError::Namespace { .. }, .. }) => Ok(None),
            Err(error) => Err(self.doubted(error).await),
        }
    }

    /// A 404 of a whole resource contradicts what discovery said, so that is read again by the next question.
    async fn doubted(&self, error: Error) -> Error {
        if matches!(error.fault(), Some(ApiError::NotServed)) {
            self.forget_kinds().await;
        }
        error
    }

    /// Hands all objects of a kind in a namespace (or in all) to `each`, page by page. A list whose continue token
    /// expires starts again and hands on only what it had not handed on before.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        labels: Option<&str>,
        mut each: impl FnMut(Value) + Send,
    ) -> Result<(), Error> {
        let path = kind.path(namespace);
        let what = match namespace {
            Some(namespace) => format!("{} in namespace {namespace}", kind.resource.plural),
            None => kind.resource.plural.clone(),
        };
        let mut params = ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default().limit(PAGE) };
        let mut handed = HashSet::new();
        let mut restarts = 0;
        loop {
            let page: Result<Page, Error> = self
                .call("list", &what, |client| {
                    let request = Request::new(path.as_str()).list(&params);
                    async move { client.request(request.map_err(kube::Error::BuildRequest)?).await }
                })
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error)
                    if matches!(error.fault(), Some(ApiError::Expired(_)))
                        && params.continue_token.take().is_some()
                        && restarts < RESTARTS =>
                {
                    restarts += 1;
                    continue;
                }
                Err(error) => return Err(self.doubted(error).await),
            };
            let next = page.metadata.next.filter(|next| !next.is_empty());
            for item in page.items {
                let again = next.is_some() || params.continue_token.is_some() || restarts > 0;
                let name = |key: &str| item["metadata"][key].as_str().unwrap_or_default().to_owned();
                if !again || handed.insert((name("namespace"), name("name"))) {
                    each(item);
                }
            }
            match next {
                Some(next) => params.continue_token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Server-side apply of one object as [`FIELD_MANAGER`]; answers the object as it is (or in a dry run would be).
    ///
    /// # Errors
    /// [`Error::NotAllowed`], [`Error::Request`].
    pub(super) async fn patch(
        &self,
        kind: &Kind,
        object: &ObjectRef,
        body: &Value,
        how: Apply,
    ) -> Result<Value, Error> {
        self.check_write(object)?;
        self.patch_unchecked(kind, object, body, how).await
    }

    /// As [`Cluster::patch`], for the worker's own namespace of inventories, which the allow-list does not restrict.
    pub(super) async fn patch_unchecked(
        &self,
        kind: &Kind,
        object: &ObjectRef,
        body: &Value,
        how: Apply,
    ) -> Result<Value, Error> {
        let path = kind.path(object.namespace.as_deref());
        let params = PatchParams { dry_run: how.dry_run, force: how.force, ..PatchParams::apply(FIELD_MANAGER) };
        self.call("apply", object, |client| {
            let request = Request::new(path.as_str()).patch(&segment(&object.name), &params, &Patch::Apply(body));
            async move { client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await }
        })
        .await
    }

    /// Merge patch of one object; answers the object as it is (or in a dry run would be). A `metadata.resourceVersion` in
    /// the changes is a condition.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::Request`], with [`ApiError::Conflict`] when the object has changed since.
    pub(super) async fn merge(
        &self,
        kind: &Kind,
        object: &ObjectRef,
        changes: &Value,
        dry_run: bool,
    ) -> Result<Value, Error> {
        self.check_write(object)?;
        let path = kind.path(object.namespace.as_deref());
        let params = PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.call("patch", object, |client| {
            let request = Request::new(path.as_str()).patch(&segment(&object.name), &params, &Patch::Merge(changes));
            async move { client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await }
        })
        .await
    }

    /// Requests an object's deletion. An object that does not exist is a success.
    ///
    /// # Errors
    /// [`Error::NotAllowed`], [`Error::Request`].
    pub(super) async fn remove(&self, kind: &Kind, object: &ObjectRef, params: &DeleteParams) -> Result<(), Error> {
        self.check_write(object)?;
        self.remove_unchecked(kind, object, params).await
    }

    /// As [`Cluster::remove`], for the worker's own inventories, which the allow-list does not restrict.
    pub(super) async fn remove_unchecked(
        &self,
        kind: &Kind,
        object: &ObjectRef,
        params: &DeleteParams,
    ) -> Result<(), Error> {
        let path = kind.path(object.namespace.as_deref());
        let answer = self
            .call("delete", object, |client| {
                let request = Request::new(path.as_str()).delete(&segment(&object.name), params);
                async move { client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await }
            })
            .await;
        match answer {
            Ok(_) | Err(Error::Request { fault: ApiError::NotFound(_), .. }) => Ok(()),
            Err(error) => Err(self.doubted(error).await),
        }
    }
}

/// How to send a server-side apply.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Apply {
    /// Take over fields of other managers.
    pub force: bool,
    /// Only answer what would be.
    pub dry_run: bool,
}

impl Kind {
    /// Of its collection.
    fn path(&self, namespace: Option<&str>) -> String {
        let namespace = namespace.filter(|_| self.namespaced).map(segment);
        DynamicObject::url_path(&self.resource, namespace.as_deref())
    }
}

/// What may stand in a path as it is; RBAC names have colons.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// One segment of a path. The client puts names in as they are, and one with a `?` would name another object.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

/// A client of its own for the target. kube's retries stay on (429, 503, 504, `Retry-After` heeded); the limit on
/// each call bounds them.
async fn connect(name: &str, target: &Target, number: u64) -> Result<Connection, Error> {
    let unusable =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Kubeconfig { target: name.to_owned(), source };
    let mut config = match &target.kubeconfig {
        None => Config::incluster().map_err(|error| unusable(error.into()))?,
        Some(file) => {
            Identity::of(name, target)?; // its message lists the contexts
            let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(error.into()))?;
            let options = KubeConfigOptions { context: target.context.clone(), cluster: None, user: None };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(error.into()))?
        }
    };
    // Shorter than the limit of the whole call, to distinguish an unreachable server from a slow one.
    config.connect_timeout = Some(target.request_timeout / 2);
    let client = Client::try_from(config.clone()).map_err(|error| unusable(error.into()))?;
    Ok(Connection { client, unretried: Arc::default(), settings: Arc::new(config), number })
}
