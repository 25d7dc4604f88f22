//! Deploys designs: publishes one command after the other, and waits for their results, since Meshery shows the answer of
//! the call for each component.

use std::fmt::Write as _;

use futures::StreamExt;
use futures::future::try_join_all;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::access::Caller;
use super::adapter::{Adapter, Sent};
use super::design::{self, Context, Part};
use super::error::Error;
use super::identity::Reference;
use super::proto::{ProcessOamRequest, ProvisionRequest};
use crate::client::Observed;
use crate::event::{Outcome, ResultData, Target};

impl Adapter {
    /// `Provision`.
    pub(super) async fn provision(&self, caller: &Caller, request: ProvisionRequest) -> Result<String, Error> {
        let ProvisionRequest { username, delete_op: delete, declarations, kube_configs, .. } = request;
        let wait = self.wait();
        let parsed = self
            .parse(caller, move |bridge| design::declarations(Context { bridge, delete, wait: &wait }, &declarations));
        let deployed = self.deploy(caller, parsed.await, kube_configs, &username, delete).await;
        self.metrics.design(&deployed);
        deployed
    }

    /// `ProcessOAM`.
    pub(super) async fn process_oam(&self, caller: &Caller, request: ProcessOamRequest) -> Result<String, Error> {
        let ProcessOamRequest { username, delete_op: delete, oam_comps, oam_config, kube_configs, .. } = request;
        let wait = self.wait();
        let parsed = self
            .parse(caller, move |bridge| design::oam(Context { bridge, delete, wait: &wait }, &oam_comps, &oam_config));
        let deployed = self.deploy(caller, parsed.await, kube_configs, &username, delete).await;
        self.metrics.design(&deployed);
        deployed
    }

    /// Stops at the first part that fails. A cancelled call cancels no command.
    async fn deploy(
        &self,
        caller: &Caller,
        parsed: Result<Vec<Part>, Error>,
        kubeconfigs: Vec<String>,
        username: &str,
        delete: bool,
    ) -> Result<String, Error> {
        let parts = parsed?;
        let targets = self.targets(caller, kubeconfigs).await?;
        let design = Uuid::new_v4();
        let deadline = Instant::now() + self.config.design_wait;
        let mut message = String::new();
        for (index, part) in parts.into_iter().enumerate() {
            let reference = |target: &Target| Reference {
                operation_id: format!("{design}-{}", index + 1),
                target: target.clone(),
                key: part.key.to_owned(),
                delete,
                namespace: part.namespace.to_string(),
                targets: targets.len(),
            };
            let sent = targets.iter().map(|target| {
                let (reference, params) = (reference(target), part.params.clone());
                async move { self.submit(caller, &reference, username, part.verb, params).await }
            });
            let sent = try_join_all(sent).await?;
            let Ok(results) = timeout_at(deadline, try_join_all(sent.iter().map(|sent| self.result(sent)))).await
            else {
                let keys: Vec<&str> = sent.iter().map(|sent| sent.key.as_str()).collect();
                let _ = write!(message, "{}: accepted, still running (command {})", part.label, keys.join(", "));
                return Ok(message);
            };
            for (sent, result) in sent.iter().zip(results?) {
                message.push_str(&line(&part.label, &sent.target, &result)?);
            }
        }
        Ok(message.trim_end().to_owned())
    }

    async fn result(&self, sent: &Sent) -> Result<ResultData, Error> {
        let mut events = self.client.watch_command(&sent.key);
        while let Some(observation) = events.next().await.transpose()? {
            if let Observed::Result(data) = observation.observed {
                return Ok(*data);
            }
        }
        Err(Error::Ended { key: sent.key.to_string() })
    }
}

fn line(label: &str, target: &Target, result: &ResultData) -> Result<String, Error> {
    if result.outcome == Outcome::Succeeded {
        let changes = if result.changed { "done" } else { "no changes" };
        return Ok(format!("{label} on {target}: {changes}\n"));
    }
    let problem = result.error.as_ref();
    Err(Error::Design {
        component: label.to_owned(),
        target: target.to_string(),
        outcome: result.outcome.as_str(),
        cause: problem.map(|it| format!("{}: {}", it.code, it.message)).unwrap_or_default(),
    })
}
