//! The report of a command about its objects; part of the wire contract.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// Which object, as a person would name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Absent for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectRef {
    /// The object with this `apiVersion`, kind, namespace (none if it is cluster-scoped) and name.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// The API group, empty for the core one.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether both are one object in the cluster, whatever version each names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// The identity of the object in the cluster: all fields but the version.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            group: self.group().to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

/// See [`ObjectRef::identity`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// The action on an object; in a dry run, the action that would be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was as wanted; nothing was written.
    Unchanged,
    /// Deleted and created again, as `recreate` allowed.
    Recreated,
    /// Left alone on purpose; see the reason.
    Skipped,
    /// Removed, because it left the set.
    Pruned,
    /// Removed, as asked.
    Deleted,
    /// To be removed, and not there.
    Absent,
    /// See the problem.
    Failed,
}

impl Action {
    /// Name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Recreated => "recreated",
            Self::Skipped => "skipped",
            Self::Pruned => "pruned",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }

    /// Whether the cluster was written to.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Created | Self::Configured | Self::Recreated | Self::Pruned | Self::Deleted)
    }
}

/// One object's line in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectReport {
    /// Which object.
    pub object: ObjectRef,
    /// The action.
    pub action: Action,
    /// Why it was skipped, or what became of the fields of an earlier manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// In a dry run: the fields that would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<FieldChange>,
}

/// One field that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Path such as `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// Value in the cluster; absent when the field would be added. Values of Secrets read `(redacted)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// Value wanted; absent when the field would be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
}

/// The report of a command about a set of objects, in the order of its writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectsReport {
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// Every object that the command names or prunes; all but those of `omitted`.
    pub objects: Vec<ObjectReport>,
    /// Lines left out because the report would not fit into a message: unchanged objects first.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub omitted: usize,
    /// Reasons why the command may not have had the intended effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl ObjectsReport {
    /// The same in at most about `bytes` of JSON. What was not changed goes first, then diffs, then the last lines;
    /// failures stay longest.
    #[must_use]
    pub fn fit(mut self, bytes: usize) -> Self {
        let size = |line: &ObjectReport| serde_json::to_string(line).map_or(0, |text| text.len() + 1);
        let mut total: usize = self.objects.iter().map(size).sum();
        if total <= bytes {
            return self;
        }
        let all = self.objects.len();
        self.objects.retain(|line| line.action != Action::Unchanged);
        total = self.objects.iter().map(size).sum();
        if total > bytes {
            self.objects.iter_mut().for_each(|line| line.diff.clear());
            self.objects.sort_by_key(|line| line.action != Action::Failed); // stable: their order stays
        }
        let mut room = bytes;
        let fitting = self.objects.iter().take_while(|line| {
            let size = size(line);
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        let fitting = fitting.count();
        self.objects.truncate(fitting);
        self.omitted = all - fitting;
        self
    }

    /// Whether the cluster was (or in a dry run would be) written to.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.objects.iter().any(|object| object.action.writes())
    }
}
