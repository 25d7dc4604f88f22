//! Executes Meshery's calls: checks a request completely, then publishes one command for each target.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use super::access::Caller;
use super::error::Error;
use super::identity::{self, Reference};
use super::matching;
use super::metrics::Metrics;
use super::operation::{self, Inputs};
use super::outbox::Outbox;
use super::probe;
use super::proto::{
    ApplyRuleRequest, ApplyRuleResponse, ComponentInfoResponse, CreateMeshInstanceRequest, SupportedOperation,
    SupportedOperationsResponse,
};
use super::stream::{EventStream, Hub, Item, Rank};
use super::text;
use crate::client::Client;
use crate::config::Bridge;
use crate::event::{CommandDraft, CommandKey, Target};

/// Longest wait for the confirmation of NATS.
const CONFIRM: Duration = Duration::from_secs(5);
/// Commands expire: no user of Meshery waits longer.
const EXPIRY: time::Duration = time::Duration::hours(1);

/// Requests whose YAML is parsed at once. Each may use a processor for some milliseconds.
pub(super) const PARSED: usize = 4;

/// State of all calls.
pub(super) struct Adapter {
    pub config: Arc<Bridge>,
    pub client: Client,
    pub hub: Arc<Hub>,
    /// Absent without `bridge.meshery`.
    pub outbox: Option<Arc<Outbox>>,
    pub metrics: Arc<Metrics>,
    /// Permits of [`Adapter::parse`].
    pub parsing: Semaphore,
}

/// A command that NATS has confirmed.
pub(super) struct Sent {
    pub target: Target,
    pub key: CommandKey,
}

impl Adapter {
    /// `ApplyOperation`.
    pub(super) async fn apply(&self, caller: &Caller, request: ApplyRuleRequest) -> Result<ApplyRuleResponse, Error> {
        let key = request.op_name.clone();
        let applied = self.submit_all(caller, request).await;
        self.metrics.operation(&key, &applied);
        applied
    }

    /// Parses YAML of a request outside of the threads that serve calls, of at most [`PARSED`] requests at once.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Argument`] when it panics.
    pub(super) async fn parse<T: Send + 'static>(
        &self,
        caller: &Caller,
        read: impl FnOnce(&Bridge) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self.parsing.acquire().await;
        let config = caller.config.clone();
        let parsed = tokio::task::spawn_blocking(move || read(&config)).await;
        let parsed = parsed
            .unwrap_or_else(|_| Err(Error::Argument { field: "request", reason: "it cannot be parsed".to_owned() }));
        parsed.map_err(|error| caller.explain(error))
    }

    /// The targets of kubeconfigs, which are dropped before any request is sent or command is published.
    ///
    /// # Errors
    /// Those of [`matching::read`], [`matching::targets`] and [`Caller::check`].
    pub(super) async fn targets(&self, caller: &Caller, kubeconfigs: Vec<String>) -> Result<Vec<Target>, Error> {
        let read = self.parse(caller, move |bridge| {
            let facts = matching::read(&kubeconfigs)?;
            let probes = if bridge.probe { probe::prepare(bridge, &kubeconfigs, &facts) } else { Vec::new() };
            Ok((facts, probes))
        });
        let (facts, probes) = read.await?;
        let uids = probe::send(probes).await;
        let targets = self.parse(caller, move |bridge| matching::targets(bridge, &facts, &uids)).await?;
        caller.check(&targets)?;
        Ok(targets)
    }

    async fn submit_all(&self, caller: &Caller, request: ApplyRuleRequest) -> Result<ApplyRuleResponse, Error> {
        let operation = operation::find(&request.op_name)?;
        let delete = request.delete_op;
        let namespace = operation::namespace(&request.namespace)?;
        let operation_id = identity::operation_id(&request.operation_id)?;
        let (version, warning) = if operation.has_version(delete) {
            operation::version(&caller.config, &request.version)?
        } else {
            (String::new(), None)
        };
        let wait = self.wait();
        let ApplyRuleRequest { username, kube_configs, custom_body, .. } = request;
        let of_request = namespace.clone();
        let parsed = self.parse(caller, move |bridge| {
            let driver = bridge.conformance_driver;
            let inputs =
                Inputs { namespace: &of_request, delete, body: &custom_body, version: &version, wait: &wait, driver };
            let (verb, params) = operation.command(inputs)?;
            operation.check(bridge, delete)?;
            Ok((verb, params))
        });
        let (verb, params) = parsed.await?;
        let targets = self.targets(caller, kube_configs).await?;
        let reference = |target: &Target| Reference {
            operation_id: operation_id.clone(),
            target: target.clone(),
            key: operation.key.to_owned(),
            delete,
            namespace: namespace.to_string(),
            targets: targets.len(),
        };
        let sent = targets.iter().map(|target| {
            let reference = reference(target);
            let params = params.clone();
            let username = &username;
            async move { self.submit(caller, &reference, username, verb, params).await }
        });
        let sent = try_join_all(sent).await?;
        if let Some(warning) = warning {
            for sent in &sent {
                self.warn(&reference(&sent.target), &warning);
            }
        }
        Ok(ApplyRuleResponse { error: String::new(), operation_id })
    }

    /// Publishes one command. The same reference and user is the same command.
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        reference: &Reference,
        username: &str,
        verb: &str,
        params: serde_json::Value,
    ) -> Result<Sent, Error> {
        let draft = CommandDraft {
            id: reference.id(),
            source: identity::source(&self.config.name, caller.client.as_deref(), username),
            verb: verb.to_owned(),
            params,
            expiry: Some(OffsetDateTime::now_utc() + EXPIRY),
            correlation: Some(reference.operation_id.clone()),
            ..CommandDraft::default()
        };
        let confirmed = tokio::time::timeout(CONFIRM, self.client.submit(&reference.target, draft)).await;
        let submitted = confirmed.map_err(|_| Error::Timeout { seconds: CONFIRM.as_secs() })??;
        tracing::info!(
            key = %submitted.key, target = %reference.target, verb, user = ?&username[..username.floor_char_boundary(64)],
            client = caller.client.as_deref(), duplicate = submitted.duplicate, "command sent"
        );
        Ok(Sent { target: reference.target.clone(), key: submitted.key })
    }

    /// Limit for readiness, as parameters have it.
    pub(super) fn wait(&self) -> String {
        format!("{}s", self.config.wait.as_secs())
    }

    fn warn(&self, reference: &Reference, warning: &str) {
        let event = text::warning(reference, warning);
        let targets = vec![reference.target.clone()];
        if let Some(outbox) = &self.outbox {
            outbox.warn(reference, &event);
        }
        self.hub.publish(&Item { event: Arc::new(event), rank: Rank::Warning, targets, sent: None });
    }

    /// `CreateMeshInstance`: verifies the kubeconfig, stores nothing.
    pub(super) async fn create(&self, caller: &Caller, request: CreateMeshInstanceRequest) -> Result<(), Error> {
        let invalid = |_| Error::Kubeconfig { number: 1, reason: "it is not UTF-8" };
        let text = String::from_utf8(request.k8s_config).map_err(invalid)?;
        let kubeconfigs = if text.trim().is_empty() { Vec::new() } else { vec![text] };
        self.targets(caller, kubeconfigs).await.map(|_| ())
    }

    /// `SupportedOperations`.
    pub(super) fn operations(caller: &Caller) -> SupportedOperationsResponse {
        let ops = operation::listed(&caller.config).map(|operation| SupportedOperation {
            key: operation.key.to_owned(),
            value: operation.title.to_owned(),
            category: operation.category.into(),
        });
        SupportedOperationsResponse { ops: ops.collect(), error: String::new() }
    }

    /// `ComponentInfo`. Meshery's UI depends on type and name.
    pub(super) fn info(&self) -> ComponentInfoResponse {
        let properties =
            [("adapter", "sailhand bridge".to_owned()), ("targets", self.config.targets.len().to_string())];
        ComponentInfoResponse {
            r#type: "adapter".to_owned(),
            name: NAME.to_owned(),
            version: concat!("v", env!("CARGO_PKG_VERSION")).to_owned(),
            git_sha: String::new(),
            properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// `StreamEvents`.
    pub(super) fn events(&self, caller: &Caller) -> Result<EventStream, Error> {
        self.hub.subscribe(caller.targets.clone())
    }
}

/// Name of the adapter, by which Meshery's UI finds it.
pub(super) const NAME: &str = "ISTIO";
