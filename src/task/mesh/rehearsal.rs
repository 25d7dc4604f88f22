//! Tries all writes of an installation by server-side dry run before the first one is made, so that an installation that
//! would fail half-way is refused while the cluster is still as it was. Writes nothing.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::rendered_chart::Part;
use super::report::PartReport;
use crate::cluster::{Cluster, ObjectRef, ObjectReport};
use crate::error::Problem;
use crate::mesh::{Finding, Request, Severity};
use crate::prose::plural;
use crate::task::{Error, TaskContext};

/// Objects of one part that findings name.
const NAMED: usize = 5;

/// Findings about writes that would fail.
pub(super) struct Failures {
    /// The first error.
    pub error: Error,
    /// Each part that would fail, with the objects that would.
    pub parts: Vec<PartReport>,
}

/// Tries every part. `None` when the API server takes them all.
///
/// # Errors
/// When the cluster cannot be asked.
pub(super) async fn rehearse(
    cx: &TaskContext,
    cluster: &Cluster,
    request: &Request,
    adopt: bool,
    parts: &[Part],
) -> Result<Option<Failures>, Error> {
    let mut failures: Option<Failures> = None;
    let mut coming = BTreeSet::new();
    for (index, part) in parts.iter().enumerate() {
        cx.step("plan", index, parts.len(), format!("checking {} by dry run", part.title()));
        // Objects of a kind that an earlier part brings cannot be tried yet.
        let known = |object: &DynamicObject| kind_of(object).is_none_or(|kind| !coming.contains(&kind));
        let objects = part.objects.iter().filter(|object| known(object)).cloned().collect();
        if let Err((error, mut report)) = part.try_out(cx, cluster, request, adopt, objects).await {
            // What has no object to blame is about the cluster: no connection, a newer fence.
            if !report.objects.iter().any(|line| line.problem.is_some()) {
                return Err(error);
            }
            report.objects.retain(|line| line.problem.as_ref().is_some_and(|problem| counts(line, problem)));
            if !report.objects.is_empty() {
                let found = failures.get_or_insert_with(|| Failures { error, parts: Vec::new() });
                found.parts.push(*report);
            }
        }
        if let Err((error, mut report)) =
            part.try_out(cx, cluster, request, adopt, new_pods(cluster, part).await?).await
        {
            report.objects.retain(|line| line.problem.as_ref().is_some_and(|problem| problem.code == DENIED));
            if !report.objects.is_empty() {
                let found = failures.get_or_insert_with(|| Failures { error, parts: Vec::new() });
                found.parts.push(*report);
            }
        }
        coming.extend(part.of_kind("CustomResourceDefinition").filter_map(defined));
    }
    Ok(failures)
}

/// The code of what an admission controller denies: a quota, a pod security level, a policy.
const DENIED: &str = "SH3012";

/// A pod of each workload that does not exist yet, where its namespace does. Workloads are accepted although their pods
/// are denied, which shows only when nothing becomes ready.
async fn new_pods(cluster: &Cluster, part: &Part) -> Result<Vec<DynamicObject>, Error> {
    let mut pods = Vec::new();
    for workload in ["Deployment", "DaemonSet"].into_iter().flat_map(|kind| part.of_kind(kind)) {
        let namespace = workload.metadata.namespace.clone().unwrap_or_else(|| part.step.namespace.clone());
        let name = workload.metadata.name.clone().unwrap_or_default();
        let kind = workload.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let exists = cluster.get(&ObjectRef::new("v1", "Namespace", None, &namespace)).await?.is_some();
        if !exists || cluster.get(&ObjectRef::new("apps/v1", &kind, Some(&namespace), &name)).await?.is_some() {
            continue;
        }
        let template = &workload.data["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
            "metadata": {
                "name": format!("{name}-dry-run"), "namespace": namespace,
                "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
            },
        });
        // Its own ServiceAccount may come with the same part.
        pod["spec"]["serviceAccountName"] = json!("default");
        pods.extend(serde_json::from_value::<DynamicObject>(pod).ok());
    }
    Ok(pods)
}

/// Whether a failed dry run says that the write fails too.
fn counts(line: &ObjectReport, problem: &Problem) -> bool {
    // A webhook with side effects cannot be tried.
    let unsupported = problem.message.contains("does not support dry run");
    // A binding is refused where its role does not exist yet and the worker may not grant every role.
    let binding = line.object.kind.ends_with("RoleBinding") && problem.message.contains("not found");
    !unsupported && !binding
}

fn kind_of(object: &DynamicObject) -> Option<(String, String)> {
    let types = object.types.as_ref()?;
    let group = types.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    Some((group.to_owned(), types.kind.clone()))
}

/// Group and kind of the objects that a CRD defines.
fn defined(crd: &DynamicObject) -> Option<(String, String)> {
    let text = |pointer: &str| crd.data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Some((text("/spec/group")?, text("/spec/names/kind")?))
}

impl Failures {
    /// One finding for each object, up to a limit for each part.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for part in &self.parts {
            let failing = part.objects.iter().filter_map(|line| Some((line, line.problem.as_ref()?)));
            found.extend(failing.take(NAMED).map(|(line, problem)| {
                // Most messages name the object.
                let object = line.object.to_string();
                let place = if problem.message.contains(&object) { String::new() } else { format!("{object}: ") };
                let message = format!("{place}{} ({})", problem.message, problem.code);
                Finding::new(Severity::Error, "objects", message)
            }));
            if let Some(more) = part.objects.len().checked_sub(NAMED).filter(|more| *more > 0) {
                let message = format!("{} of {} would fail", plural(more, "more object"), part.installation);
                found.push(Finding::new(Severity::Error, "objects", message));
            }
        }
        found
    }
}
