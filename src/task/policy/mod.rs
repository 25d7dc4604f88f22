//! `policy.apply` and `policy.remove`: which connections and which requests workloads take, by Istio's
//! `PeerAuthentication` and `AuthorizationPolicy`.

mod desired;
mod facts;
mod params;
mod preflight;

use serde_json::json;

use super::istio_api::{SECURITY, newest, object};
use super::names::{self, Namespace};
use super::refusal::Refusal;
use super::{Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{self, ApplyOptions, Family, ObjectReport, ObjectsReport, apply};
use desired::Policy;

pub use params::{Access, Action, ApplyParams, Kind, Mode, Mtls, Of, PolicyReport, Preset, RemoveParams, Rule, Scope};

/// The label on our objects.
const MARK: (&str, &str) = ("sailhand.meshery.io/policy", "true");

/// Policies of one namespace bear on each other, so a command holds all of them.
fn lease(scope: &Scope) -> String {
    names::installation("policy", &scope.namespace())
}

fn installation(kind: Kind, namespace: &Namespace, name: &str) -> String {
    let kind = match kind {
        Kind::Mtls => "mtls",
        Kind::Access => "access",
    };
    names::installation_of("policy", namespace, &format!("{kind}-{name}"))
}

impl Kind {
    /// Its kind in Istio.
    const fn object(self) -> &'static str {
        match self {
            Self::Mtls => "PeerAuthentication",
            Self::Access => "AuthorizationPolicy",
        }
    }
}

/// `policy.apply`.
pub struct Apply;

impl Task for Apply {
    const VERB: &'static str = "policy.apply";
    const SUMMARY: &'static str = "Sets PeerAuthentication (mTLS mode) and AuthorizationPolicy (allow or deny) of the mesh, a namespace or workloads.";
    type Params = ApplyParams;
    type Report = PolicyReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(lease(&params.scope))
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            scope: Scope { of: Of::Namespace, namespace: Some(Namespace::known("bookinfo")), labels: None },
            name: None,
            preset: None,
            mtls: Some(Mtls { mode: Mode::Strict, ports: [].into() }),
            access: None,
            dry_run: false,
            force: false,
            adopt: false,
        }
    }

    fn check(&self, params: &ApplyParams) -> Result<(), Error> {
        Policy::of(params).map(drop)
    }

    async fn run(&self, cx: &TaskContext, params: ApplyParams) -> Result<Outcome<PolicyReport>, Failure<PolicyReport>> {
        let policy = Policy::of(&params)?;
        let cluster = cx.cluster().await?;
        let kind = policy.kind.object();
        let Some(version) = newest(&cluster, &SECURITY, &[kind]).await.map_err(Error::from)? else {
            let unknown = cluster::Error::UnknownKind {
                near: None,
                object: format!("{kind} {}/{}", policy.namespace, policy.name),
                api_version: SECURITY[0].to_owned(),
                kind: kind.to_owned(),
            };
            return Err(Error::from(unknown).into());
        };
        cx.step("plan", 0, 1, format!("looking at what {kind} {}/{} will meet", policy.namespace, policy.name));
        let facts = facts::read(&cluster, &policy).await.map_err(Error::from)?;
        let mut warnings = preflight::warnings(&policy, &facts);
        let conflicts = preflight::conflicts(&policy, &facts);
        if !conflicts.is_empty() {
            let refusal =
                Refusal::Conflict { subject: format!("mTLS of {}", policy.scope.summary()), objects: conflicts };
            if !params.force {
                return Err(Error::from(refusal).into());
            }
            warnings.push(refusal.to_string());
        }
        let options = ApplyOptions {
            family: Family::Policy,
            namespace: Some(policy.namespace.to_string()),
            dry_run: params.dry_run,
            prune: true,
            force: params.force,
            adopt: params.adopt,
            generation: cx.generation,
            ..ApplyOptions::default()
        };
        let object = object((version, kind), policy.namespace.as_str(), &policy.name, MARK, &policy.spec());
        let installation = installation(policy.kind, &policy.namespace, &policy.name);
        let done = apply::apply(&cluster, &installation, vec![object], &options, &cx.guard, &*cx.progress).await;
        let report = |done: ObjectsReport| PolicyReport {
            holds: policy.summary(),
            warnings: warnings.clone(),
            dry_run: done.dry_run,
            objects: done.objects,
        };
        objects_ended(done, report)
    }
}

/// `policy.remove`.
pub struct Remove;

impl Task for Remove {
    const VERB: &'static str = "policy.remove";
    const SUMMARY: &'static str = "Removes a policy that policy.apply wrote.";
    type Params = RemoveParams;
    type Report = PolicyReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        Some(lease(&params.scope))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams {
            scope: Scope { of: Of::Namespace, namespace: Some(Namespace::known("bookinfo")), labels: None },
            kind: Kind::Mtls,
            name: None,
            dry_run: false,
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: RemoveParams,
    ) -> Result<Outcome<PolicyReport>, Failure<PolicyReport>> {
        let default = match params.kind {
            Kind::Mtls => "default",
            Kind::Access => "deny-all",
        };
        let name = params.scope.name(params.name.as_ref(), default)?;
        if params.scope.of != Of::Mesh && params.scope.namespace.is_none() {
            return Err(desired::wrong("scope.namespace", "name the namespace").into());
        }
        let namespace = params.scope.namespace();
        let cluster = cx.cluster().await?;
        let options = DeleteOptions {
            family: Family::Policy,
            namespace: Some(namespace.to_string()),
            dry_run: params.dry_run,
            adopt: false,
            purge: false,
            wait: None,
            generation: cx.generation,
        };
        let installation = installation(params.kind, &namespace, &name);
        let done = delete::delete(&cluster, &installation, None, &options, &cx.guard, &*cx.progress).await;
        let holds = json!(params.kind);
        let report = |done: ObjectsReport| PolicyReport {
            holds: format!(
                "{}: no policy {} {name} of ours",
                params.scope.summary(),
                holds.as_str().unwrap_or_default()
            ),
            warnings: Vec::new(),
            dry_run: done.dry_run,
            objects: done.objects,
        };
        objects_ended(done, report)
    }
}

#[cfg(test)]
mod tests;
