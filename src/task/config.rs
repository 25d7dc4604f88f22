//! `config.apply` and `config.delete`: any Kubernetes objects, as one named installation.

use std::time::Duration;

use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::Namespace;
use super::{DURATION, Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::cluster::delete::DeleteOptions;
use crate::cluster::{self, ApplyOptions, Cluster, Family, ObjectReport, ObjectsReport, apply, delete, manifest};
use crate::guard::Stop;
use crate::prose::plural;
use crate::suggest;

/// A DNS label with room for the inventory's prefix.
const NAME: &str = "^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$";

/// The task `config.apply`.
pub struct Apply;

/// Parameters of `config.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Names the installation: the worker keeps a list of its objects in the cluster under this name, so that a later
    /// manifest can leave some out and `config.delete` finds all of them.
    #[schemars(regex(pattern = NAME), length(min = 1, max = 50))]
    pub name: String,
    /// The objects, YAML or JSON: several documents, `List`s, CRDs together with their objects.
    #[schemars(length(min = 1, max = 8_388_608))]
    pub manifest: String,
    /// For namespaced objects that name none; `default` when absent. An object's own namespace is respected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Create namespaces that objects are in and that do not exist. They outlive the installation.
    #[serde(default)]
    pub create_namespace: bool,
    /// Refuse, and write nothing, if the analysis of the cluster together with the manifest finds errors in it.
    #[serde(default)]
    pub analyze: bool,
    /// Report what would change, field by field, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete objects that an earlier manifest of this name had and this one has not; never a Namespace, a CRD or a
    /// `PersistentVolumeClaim`.
    #[serde(default = "yes")]
    pub prune: bool,
    /// Take fields over from other field managers, and every field that `kubectl apply` has set: those that the manifest
    /// does not have are removed.
    #[serde(default)]
    pub force: bool,
    /// Take over objects that another tool (Helm, Argo CD, Flux, istioctl, another installation) owns, with every field
    /// that it has set: those that the manifest does not have are removed.
    #[serde(default)]
    pub adopt: bool,
    /// Delete and create objects whose immutable fields differ; never a Namespace, a CRD or a
    /// `PersistentVolumeClaim`.
    #[serde(default)]
    pub recreate: bool,
    /// Wait until all objects are ready, at most so long, such as `120s`; do not wait when absent.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub wait: Option<Duration>,
}

const fn yes() -> bool {
    true
}

impl Task for Apply {
    const VERB: &'static str = "config.apply";
    const SUMMARY: &'static str =
        "Applies Kubernetes objects as one named installation, and prunes objects that are no longer part of it.";
    type Params = ApplyParams;
    type Report = ObjectsReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(params.name.clone())
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            name: "greeting".to_owned(),
            manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: greeting\ndata:\n  text: hello\n".to_owned(),
            namespace: Some(Namespace::known("default")),
            create_namespace: false,
            analyze: false,
            dry_run: false,
            prune: true,
            force: false,
            adopt: false,
            recreate: false,
            wait: Some(Duration::from_mins(2)),
        }
    }

    fn check(&self, params: &ApplyParams) -> Result<(), Error> {
        refuse_empty(&manifest::read(&params.manifest)?)
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: ApplyParams,
    ) -> Result<Outcome<ObjectsReport>, Failure<ObjectsReport>> {
        if params.analyze {
            let namespace = params.namespace.as_ref().map_or("default", Namespace::as_str);
            super::analyze::refuse_errors(cx, params.manifest.clone(), namespace.to_owned()).await?;
        }
        let objects = read(params.manifest).await?;
        refuse_empty(&objects)?;
        let options = ApplyOptions {
            family: Family::Config,
            namespace: params.namespace.map(Into::into),
            create_namespace: params.create_namespace,
            dry_run: params.dry_run,
            prune: params.prune,
            force: params.force,
            adopt: params.adopt,
            recreate: params.recreate,
            wait: params.wait.filter(|wait| !wait.is_zero()), // as for the other verbs, `0s` is no wait
            generation: cx.generation,
            origin: None,
        };
        let cluster = cx.cluster().await?;
        let warning = hooks(&objects);
        let done = apply::apply(&cluster, &params.name, objects, &options, &cx.guard, cx.progress.as_ref()).await;
        objects_ended(done, |report| ObjectsReport { warnings: warning.iter().cloned().collect(), ..report })
    }
}

/// The warning for objects that Helm would create only at a certain time, such as the pods of a test.
fn hooks(objects: &[DynamicObject]) -> Option<String> {
    const HOOK: &str = "helm.sh/hook";
    let is_hook =
        |object: &&DynamicObject| object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(HOOK));
    let first = objects.iter().find(is_hook)?;
    let kind = first.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
    let name = first.metadata.name.as_deref().unwrap_or_default();
    Some(format!(
        "{} of Helm, such as {kind} {name}, applied like the other objects: config.apply runs no hooks; render the chart with \
         `helm template --no-hooks` to leave them out",
        plural(objects.iter().filter(is_hook).count(), "hook")
    ))
}

/// The task `config.delete`.
pub struct Delete;

/// Parameters of `config.delete`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteParams {
    /// The installation, as `config.apply` named it. One that does not exist is deleted already.
    #[schemars(regex(pattern = NAME), length(min = 1, max = 50))]
    pub name: String,
    /// Delete only these objects; the whole installation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8_388_608))]
    pub manifest: Option<String>,
    /// For namespaced objects of the manifest that name none; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Report what would be deleted, and delete nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete objects of the manifest even if the installation does not own them.
    #[serde(default)]
    pub adopt: bool,
    /// Delete Namespaces, CRDs and `PersistentVolumeClaim`s too, **with everything in them**; without it they stay, and
    /// the installation keeps them. Needs `confirm`.
    #[serde(default)]
    pub purge: bool,
    /// The target's name, to confirm `purge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub confirm: Option<String>,
    /// Longest time to wait until the objects are deleted, such as `60s`. When absent, the worker waits between the phases
    /// of the deletion, at most a minute for each, and not for the last one.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32), regex(pattern = DURATION))]
    pub wait: Option<Duration>,
}

impl DeleteParams {
    fn check(&self, target: &str) -> Result<(), Error> {
        if self.purge && !self.dry_run && self.confirm.as_deref() != Some(target) {
            let reason = format!(
                "purge deletes Namespaces, CRDs and PersistentVolumeClaims with everything in them: confirm it with \
                 the target's name, {target}"
            );
            return Err(Error::Parameter { field: "confirm", reason });
        }
        Ok(())
    }
}

impl Task for Delete {
    const VERB: &'static str = "config.delete";
    const SUMMARY: &'static str = "Deletes a named installation, or some of its objects, in reverse order.";
    type Params = DeleteParams;
    type Report = ObjectsReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &DeleteParams) -> Option<String> {
        Some(params.name.clone())
    }

    fn example(&self) -> DeleteParams {
        DeleteParams {
            name: "greeting".to_owned(),
            manifest: None,
            namespace: None,
            dry_run: false,
            adopt: false,
            purge: false,
            confirm: None,
            wait: Some(Duration::from_mins(1)),
        }
    }

    fn check(&self, params: &DeleteParams) -> Result<(), Error> {
        params.manifest.as_deref().map(manifest::read).transpose()?;
        Ok(())
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: DeleteParams,
    ) -> Result<Outcome<ObjectsReport>, Failure<ObjectsReport>> {
        params.check(&cx.target)?;
        let objects = match params.manifest {
            Some(manifest) => Some(read(manifest).await?),
            None => None,
        };
        let options = DeleteOptions {
            family: Family::Config,
            namespace: params.namespace.map(Into::into),
            dry_run: params.dry_run,
            adopt: params.adopt,
            purge: params.purge,
            wait: params.wait,
            generation: cx.generation,
        };
        let cluster = cx.cluster().await?;
        let is_whole = objects.is_none();
        let done = delete::delete(&cluster, &params.name, objects, &options, &cx.guard, cx.progress.as_ref()).await;
        let warning = match &done {
            Ok(report) if is_whole && report.objects.is_empty() => unknown_installation(&cluster, &params.name).await,
            _ => None,
        };
        objects_ended(done, |report| ObjectsReport { warnings: warning.iter().cloned().collect(), ..report })
    }
}

/// The warning for an installation that does not exist: a repeated deletion succeeds, and so does that of a mistyped name.
async fn unknown_installation(cluster: &Cluster, name: &str) -> Option<String> {
    // Without the right to list inventories there is no warning.
    let stored = cluster::stored(cluster).await.ok()?;
    let names: Vec<&str> = stored.iter().map(|one| one.installation.as_str()).collect();
    if names.contains(&name) {
        return None;
    }
    let near = suggest::nearest(name, names.iter().copied()).map(|near| format!("; did you mean {near}?"));
    let known = match names.as_slice() {
        [] => "; the target has no installations".to_owned(),
        some if some.len() > NAMED => format!("; the target has {} installations", some.len()),
        some => format!("; the target has: {}", some.join(", ")),
    };
    Some(format!("installation {name} does not exist{}", near.unwrap_or(known)))
}

/// Installations that a warning lists at most.
const NAMED: usize = 10;

/// An empty manifest is refused: pruning would delete the whole installation, for which there is `config.delete`.
fn refuse_empty(objects: &[DynamicObject]) -> Result<(), Error> {
    if objects.is_empty() {
        return Err(Error::Parameter { field: "manifest", reason: "it has no objects".to_owned() });
    }
    Ok(())
}

/// Apart from the threads that carry commands: a manifest near the reader's limits takes long enough to keep their
/// heartbeats and leases waiting.
async fn read(manifest: String) -> Result<Vec<DynamicObject>, Error> {
    match tokio::task::spawn_blocking(move || manifest::read(&manifest)).await {
        Ok(read) => Ok(read?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Stop::Shutdown.into()), // the runtime ended before it began
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pruning_is_on_and_force_options_are_off_by_default() {
        let params: ApplyParams = serde_json::from_value(json!({"name": "a", "manifest": "x", "wait": "2m"})).unwrap();
        assert!(params.prune);
        assert!(!(params.force || params.adopt || params.recreate || params.dry_run || params.create_namespace));
        assert_eq!(params.wait, Some(Duration::from_mins(2)));
    }

    #[test]
    fn hooks_of_helm_are_named() {
        let text = "{apiVersion: v1, kind: Pod, metadata: {name: test, annotations: {helm.sh/hook: test}}}";
        let warning = hooks(&manifest::read(text).unwrap()).unwrap();
        assert!(warning.starts_with("1 hook of Helm, such as Pod test, "), "{warning}");
        assert_eq!(hooks(&manifest::read("{apiVersion: v1, kind: Pod, metadata: {name: a}}").unwrap()), None);
    }

    #[test]
    fn examples_match_their_schemas_and_invalid_values_do_not() {
        let schema = schemars::schema_for!(ApplyParams);
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        let example = serde_json::to_value(Apply.example()).unwrap();
        assert!(validator.is_valid(&example), "{:?}", validator.iter_errors(&example).collect::<Vec<_>>());
        for (field, bad) in [("name", json!("A")), ("namespace", json!("a.b")), ("extra", json!(1))] {
            let mut params = example.clone();
            params[field] = bad;
            assert!(!validator.is_valid(&params), "{field}");
        }
        let schema = schemars::schema_for!(DeleteParams);
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(Delete.example()).unwrap()));
    }
}
