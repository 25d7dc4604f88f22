//! `sample.deploy` and `sample.remove`: applications to try a mesh with, described in this crate. The namespace's
//! place in the mesh is the matter of `namespace.label`.

mod bookinfo;
mod entry;
mod httpbin;
mod membership;
mod model;
mod online_boutique;
mod params;

use kube::core::DynamicObject;

use super::names::{self, Namespace};
use super::{Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::cluster::apply;
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{ApplyOptions, Family, ObjectReport, ObjectsReport};
use model::{Application, Choices};

pub use entry::{Choice, EntryReport};
pub use params::{DeployParams, DeployReport, Name, RemoveParams, RemoveReport};

impl Name {
    const fn application(self) -> &'static Application {
        match self {
            Self::Bookinfo => &bookinfo::BOOKINFO,
            Self::Httpbin => &httpbin::HTTPBIN,
            Self::OnlineBoutique => &online_boutique::ONLINE_BOUTIQUE,
        }
    }

    /// The named one, or that of the application's own name.
    fn namespace(self, named: Option<&Namespace>) -> Namespace {
        named.cloned().unwrap_or_else(|| Namespace::known(self.application().name))
    }

    fn installation(self, namespace: &Namespace) -> String {
        names::installation(&format!("sample-{}", self.application().name), namespace)
    }
}

/// `sample.deploy`.
pub struct Deploy;

impl Task for Deploy {
    const VERB: &'static str = "sample.deploy";
    const SUMMARY: &'static str = "Deploys a sample application and waits until it is ready.";
    type Params = DeployParams;
    type Report = DeployReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &DeployParams) -> Option<String> {
        let namespace = params.application.namespace(params.namespace.as_ref());
        Some(params.application.installation(&namespace))
    }

    fn example(&self) -> DeployParams {
        DeployParams::of(Name::Bookinfo)
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: DeployParams,
    ) -> Result<Outcome<DeployReport>, Failure<DeployReport>> {
        let cluster = cx.cluster().await?;
        let namespace = params.application.namespace(params.namespace.as_ref());
        let found = params.entry.find(&cluster).await.map_err(Error::from)?;
        let objects = wanted(&params, &namespace, found.as_ref().ok().copied());
        let options = ApplyOptions {
            family: Family::Sample,
            namespace: Some(namespace.to_string()),
            create_namespace: params.create_namespace,
            dry_run: params.dry_run,
            prune: true,
            force: params.force,
            adopt: params.adopt,
            recreate: false,
            wait: Some(params.wait).filter(|wait| !params.dry_run && !wait.is_zero()),
            generation: cx.generation,
            origin: None,
        };
        let entry = entry::report(params.application.application(), found, &params.hosts);
        let mut warnings = Vec::new();
        let report = |done: ObjectsReport, ready, warnings: &[String]| DeployReport {
            application: params.application,
            namespace: namespace.clone(),
            ready,
            entry: entry.clone(),
            warnings: warnings.to_vec(),
            dry_run: done.dry_run,
            objects: done.objects,
        };
        let installation = params.application.installation(&namespace);
        let done = apply::apply(&cluster, &installation, objects, &options, &cx.guard, &*cx.progress).await;
        let ready = done.is_ok() && options.wait.is_some();
        if done.is_ok() {
            // The application is deployed: without the right to read the namespace there is no warning.
            warnings.extend(membership::warning(&cluster, &namespace).await.ok().flatten());
        }
        objects_ended(done, |done| report(done, ready, &warnings))
    }
}

/// Everything the application is to consist of.
fn wanted(params: &DeployParams, namespace: &Namespace, served: Option<entry::Served>) -> Vec<DynamicObject> {
    let application = params.application.application();
    let choices = Choices { namespace: namespace.as_str(), registry: params.registry.as_deref() };
    let components = application.components.iter();
    let chosen = components.filter(|it| params.load_generator || it.name != online_boutique::LOAD_GENERATOR);
    let mut objects = application.objects(chosen, choices);
    if let Some(served) = served {
        objects.extend(entry::objects(application, served, &params.hosts, &params.ingress, choices));
    }
    objects
}

/// `sample.remove`.
pub struct Remove;

impl Task for Remove {
    const VERB: &'static str = "sample.remove";
    const SUMMARY: &'static str = "Removes the objects that sample.deploy created, but not the namespace.";
    type Params = RemoveParams;
    type Report = RemoveReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        let namespace = params.application.namespace(params.namespace.as_ref());
        Some(params.application.installation(&namespace))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams::of(Name::Bookinfo)
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: RemoveParams,
    ) -> Result<Outcome<RemoveReport>, Failure<RemoveReport>> {
        let cluster = cx.cluster().await?;
        let namespace = params.application.namespace(params.namespace.as_ref());
        let options = DeleteOptions {
            family: Family::Sample,
            namespace: Some(namespace.to_string()),
            dry_run: params.dry_run,
            adopt: false,
            purge: false,
            wait: Some(params.wait).filter(|wait| !params.dry_run && !wait.is_zero()),
            generation: cx.generation,
        };
        let report = |done: ObjectsReport| RemoveReport {
            application: params.application,
            namespace: namespace.clone(),
            dry_run: done.dry_run,
            objects: done.objects,
        };
        let installation = params.application.installation(&namespace);
        let done = delete::delete(&cluster, &installation, None, &options, &cx.guard, &*cx.progress).await;
        objects_ended(done, report)
    }
}

#[cfg(test)]
mod tests;
