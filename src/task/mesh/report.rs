//! The report of the mesh verbs that write; part of the wire contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upgrade::UpgradeGateReport;
use crate::cluster::{ObjectReport, ObjectsReport};
use crate::mesh::{Component, Finding, Version};
use crate::task::{Error, Failure, MAX_REPORT, Outcome};

/// Report of the verbs that write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshReport {
    /// The requested version; absent for an uninstallation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The revision it is about, `default` for the default one; empty for all of them.
    pub revision: String,
    /// The report of each component, in order.
    pub parts: Vec<PartReport>,
    /// Namespaces that were moved or lost their mesh labels, and workloads that were restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<String>,
    /// Leftovers of Istio in the cluster, one line for each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
    /// Findings of the checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How the health gate of `mesh.upgrade` judged the restarted workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<UpgradeGateReport>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartReport {
    /// Which part.
    pub component: Component,
    /// The revision, the tag or the gateway's name, where there can be several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Name of its inventory, for `config.delete` and people.
    pub installation: String,
    /// Version of its chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// It was waited for and is ready.
    #[serde(default)]
    pub ready: bool,
    /// Its objects.
    pub objects: Vec<ObjectReport>,
    /// Lines left out because the report would not fit into a message: unchanged objects first.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub omitted: usize,
}

impl PartReport {
    /// Whether the cluster was (or in a dry run would be) written to.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.objects.iter().any(|object| object.action.writes())
    }

    /// Takes over what was done to its objects.
    pub(super) fn take(&mut self, done: ObjectsReport) {
        self.omitted += done.omitted;
        self.objects.extend(done.objects);
    }
}

impl MeshReport {
    /// Nothing done yet.
    pub(super) const fn new(revision: String) -> Self {
        Self {
            version: None,
            revision,
            parts: Vec::new(),
            moved: Vec::new(),
            leftovers: Vec::new(),
            findings: Vec::new(),
            gate: None,
            dry_run: false,
        }
    }

    /// Notes what was moved or restarted.
    pub(super) fn moved(&mut self, changed: bool, what: String) {
        if changed {
            self.moved.push(what);
        }
    }

    /// Takes over what a run of its own has done.
    pub(super) fn absorb(&mut self, other: Self) {
        self.parts.extend(other.parts);
        self.moved.extend(other.moved);
        self.findings.extend(other.findings);
    }

    /// The end of the task.
    pub(super) fn end(self, done: Result<(), Error>) -> Result<Outcome<Box<Self>>, Failure<Box<Self>>> {
        let changed = !self.dry_run && (!self.moved.is_empty() || self.parts.iter().any(PartReport::changed));
        let begun = !self.parts.is_empty() || !self.findings.is_empty();
        let report = Box::new(self.fit(MAX_REPORT));
        let outcome = Outcome::new(changed, report);
        match done {
            Ok(()) => Ok(outcome),
            Err(error) => Err(Failure { error, report: begun.then_some(outcome) }),
        }
    }

    /// The same in at most about `bytes` of JSON, shared by the parts.
    #[must_use]
    pub(super) fn fit(mut self, bytes: usize) -> Self {
        let share = bytes / self.parts.len().max(1);
        for part in &mut self.parts {
            let objects = std::mem::take(&mut part.objects);
            let report = ObjectsReport { dry_run: self.dry_run, objects, omitted: part.omitted, warnings: Vec::new() };
            let fitted = report.fit(share);
            part.omitted = fitted.omitted;
            part.objects = fitted.objects;
        }
        self
    }
}
