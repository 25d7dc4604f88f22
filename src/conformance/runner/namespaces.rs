//! The namespaces of a run: created with labels that name the run, always deleted, and swept by label and age after a
//! crash.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::super::Error;
use super::super::environment::reference;
use super::super::suite::{Group, NAMESPACE, SECOND, THIRD};
use super::case::ends;
use super::precheck::items;
use super::{Context, Options, waypoint};
use crate::analysis::istio::waypoint::USE as USE_WAYPOINT;
use crate::cluster::ObjectRef;
use crate::guard::Stop;
use crate::hex::hex;

/// Label with the run's id.
pub const RUN_LABEL: &str = "conformance.sailhand.dev/run";
/// Label with the time of creation, seconds since 1970.
pub const CREATED_LABEL: &str = "conformance.sailhand.dev/created";
/// Label of namespaces that `keep_namespace` leaves.
pub const KEPT_LABEL: &str = "conformance.sailhand.dev/kept";
/// Label by which the SMI controller denies all traffic of a namespace that no `TrafficTarget` allows.
const DEFAULT_DENY: &str = "smi.sailhand.dev/default-deny";

/// Age, seconds, from which a namespace of another run was left by a crash: no run takes so long.
const ABANDONED: i64 = 3600;
/// Age, seconds, from which a namespace with [`KEPT_LABEL`] is deleted.
const KEPT: i64 = 24 * 3600;
/// Time limit for the deletion of namespaces.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// Namespaces of a run.
pub(super) struct Namespaces<'a> {
    cx: &'a Context<'a>,
    options: &'a Options,
    /// Labels by which the namespaces are in the mesh.
    mesh_labels: BTreeMap<String, String>,
    short: String,
}

impl<'a> Namespaces<'a> {
    /// The names differ for each attempt: an earlier one's may still be on their way out.
    pub(super) fn new(cx: &'a Context<'a>, options: &'a Options, mesh_labels: BTreeMap<String, String>) -> Self {
        let seed = format!("{}/{}/{}", options.run_id, options.attempt, cx.guard.fence());
        let short = hex(&Sha256::digest(seed.as_bytes())[..4]);
        Self { cx, options, mesh_labels, short }
    }

    /// Name of a group's namespace, from 0.
    pub(super) fn name(&self, group: &Group, number: usize) -> String {
        let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
        format!("{}-{}-{}{suffix}", self.options.suite.prefix, self.short, group.name)
    }

    pub(super) fn names(&self, group: &Group) -> Vec<String> {
        (0..group.namespaces).map(|number| self.name(group, number)).collect()
    }

    /// Replaces placeholders in text.
    pub(super) fn resolve(&self, group: &Group, text: &str) -> String {
        let mut text = text.to_owned();
        for (number, placeholder) in [NAMESPACE, SECOND, THIRD].into_iter().enumerate() {
            text = text.replace(placeholder, &self.name(group, number));
        }
        text.replace("$image", &self.options.image)
    }

    /// Replaces placeholders in every string of an object.
    pub(super) fn resolve_object(&self, group: &Group, object: &Value) -> Value {
        match object {
            Value::String(text) => Value::String(self.resolve(group, text)),
            Value::Array(items) => items.iter().map(|item| self.resolve_object(group, item)).collect(),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (name.clone(), self.resolve_object(group, value))).collect(),
            ),
            other => other.clone(),
        }
    }

    pub(super) async fn create(&self, group: &Group) -> Result<(), Error> {
        for number in 0..group.namespaces {
            self.cx.environment.apply(&self.object(group, number, false)).await?;
        }
        Ok(())
    }

    /// Opts the group's first namespace in to or out of deny by default.
    pub(super) async fn default_deny(&self, group: &Group, deny: bool) -> Result<(), Error> {
        self.cx.environment.apply(&self.object(group, 0, deny)).await?;
        Ok(())
    }

    fn object(&self, group: &Group, number: usize, deny: bool) -> Value {
        let mut labels = json!({
            RUN_LABEL: self.options.run_id,
            CREATED_LABEL: self.cx.clock.now().unix_timestamp().to_string(),
        });
        // Deny by default is for the destination's namespace only; the labels of the mesh are for all.
        for (key, value) in &self.mesh_labels {
            labels[key] = json!(value);
        }
        if let Some(name) = waypoint::name(group, self.options.data_plane) {
            labels[USE_WAYPOINT] = json!(name);
        }
        if self.options.keep_namespace {
            labels[KEPT_LABEL] = json!("true");
        }
        if deny {
            labels[DEFAULT_DENY] = json!("true");
        }
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.name(group, number), "labels": labels},
        })
    }

    /// Requests the deletion of a group's namespaces, and of its workloads before: the API server starts to empty a
    /// namespace five seconds after its deletion, and the pods end in the meantime.
    pub(super) async fn remove(&self, group: &Group) -> Result<(), Error> {
        for workload in group.app.iter().filter(|object| object["kind"] == "Deployment") {
            let workload = reference(&self.resolve_object(group, workload));
            ends(self.cx.environment.delete(&workload).await)?;
        }
        for name in self.names(group) {
            self.cx.environment.delete(&ObjectRef::new("v1", "Namespace", None, &name)).await?;
        }
        Ok(())
    }

    /// Deletes what an earlier attempt of this run left, and namespaces of other runs that are older than any run.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        let now = self.cx.clock.now().unix_timestamp();
        for namespace in self.cx.environment.list("v1", "Namespace", None, Some(RUN_LABEL)).await? {
            let labels = &namespace["metadata"]["labels"];
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
            let ours = ["smi-conf-", "gateway-conf-"].iter().any(|prefix| name.starts_with(prefix));
            // Without a readable time the namespace is not one of ours.
            let Some(created) = labels[CREATED_LABEL].as_str().and_then(|text| text.parse::<i64>().ok()) else {
                continue;
            };
            let limit = if labels[KEPT_LABEL] == "true" { KEPT } else { ABANDONED };
            let earlier = labels[RUN_LABEL] == *self.options.run_id && labels[KEPT_LABEL] != "true";
            if ours && (earlier || now - created > limit) {
                tracing::info!(namespace = name, "deleting a namespace that an earlier conformance run left");
                self.cx.environment.delete(&reference(&namespace)).await?;
            }
        }
        Ok(())
    }

    /// Deletes the run's namespaces and waits until they are deleted; returns the names of the remaining ones. Without the
    /// lease nothing is deleted: the next attempt sweeps them. After another stop they are deleted and not waited for.
    pub(super) async fn remove_all(&self, done: &Result<(), Error>) -> Result<Vec<String>, Error> {
        let stop = done.as_ref().err().and_then(Error::stop);
        if stop == Some(Stop::LostLease) {
            return Ok(Vec::new());
        }
        let names: Vec<String> = self.options.suite.selected_groups().flat_map(|group| self.names(group)).collect();
        if self.options.keep_namespace {
            let left = self.left(&names).await?;
            return Ok(left.into_iter().map(|(name, _)| name).collect());
        }
        for name in &names {
            self.cx.environment.delete(&ObjectRef::new("v1", "Namespace", None, name)).await?;
        }
        if stop.is_some() {
            return Ok(Vec::new());
        }
        self.cx.step("delete", 0, names.len(), "deleting the test namespaces");
        let begun = Instant::now();
        let label = self.label();
        let mut changes = self.cx.environment.changes("v1", "Namespace", None, Some(&label));
        loop {
            let left = self.left(&names).await?;
            if left.is_empty() {
                return Ok(Vec::new());
            }
            if begun.elapsed() > GONE_WITHIN {
                let namespaces = left.into_iter().map(|(name, why)| format!("{name} ({why})")).collect();
                return Err(Error::NamespaceStuck { namespaces });
            }
            self.cx.changed(&mut changes).await?;
        }
    }

    /// Selects the run's namespaces.
    fn label(&self) -> String {
        format!("{RUN_LABEL}={}", self.options.run_id)
    }

    /// Of these namespaces those that exist, with the conditions that keep them.
    async fn left(&self, names: &[String]) -> Result<Vec<(String, String)>, Error> {
        let found = self.cx.environment.list("v1", "Namespace", None, Some(&self.label())).await?;
        let left = found.iter().filter_map(|namespace| {
            let name = namespace["metadata"]["name"].as_str()?;
            let conditions =
                items(&namespace["status"]["conditions"]).filter(|condition| condition["status"] == "True");
            let why: Vec<_> = conditions.filter_map(|condition| condition["message"].as_str()).collect();
            let why = if why.is_empty() { "no condition".to_owned() } else { why.join(" ") };
            names.iter().any(|one| one == name).then(|| (name.to_owned(), why))
        });
        Ok(left.collect())
    }
}
