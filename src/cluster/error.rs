//! Errors of a cluster (see docs/errors).

use super::api_error::ApiError;
use super::manifest;
use crate::error::{Class, Classify, Code};
use crate::guard::Stop;
use crate::prose::plural;

/// A failure of the cluster layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not have it.
    #[error("target {target} is not in this worker's configuration")]
    UnknownTarget {
        /// Id of the target in the command.
        target: String,
    },
    /// File, context or credentials cannot be used.
    #[error("the kubeconfig of target {target} cannot be used")]
    Kubeconfig {
        /// The target's id.
        target: String,
        /// Underlying error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server did not do what was asked.
    #[error("cannot {verb} {object}: {fault}")]
    Request {
        /// Such as `apply`.
        verb: &'static str,
        /// Such as `Deployment default/web`.
        object: String,
        /// Error of the API server.
        fault: ApiError,
    },
    /// Neither the cluster nor a CRD of the same set has it.
    #[error("{object}: the cluster has no kind {kind} in {api_version}{}", match near {
        Some(near) => format!("; {near}"),
        None => String::new(),
    })]
    UnknownKind {
        /// Such as `Gadget default/a`.
        object: String,
        /// Such as `example.com/v1`.
        api_version: String,
        /// Such as `Gadget`.
        kind: String,
        /// Suggestions: other versions of the kind, or a kind with a similar name.
        near: Option<String>,
    },
    /// Discovery lacks the kind, and its objects may exist: an aggregated API is down, or a CRD serves no version.
    #[error("{object}: its kind is not served at the moment: {reason}")]
    KindUnserved {
        /// Such as `Gadget default/a`.
        object: String,
        /// Why, such as the CRD that does not serve it.
        reason: String,
    },
    /// The installation belongs to another family of verbs.
    #[error("installation {installation} belongs to {owner}, and {own} cannot use its name")]
    Reserved {
        /// The installation.
        installation: String,
        /// Such as `mesh.*`.
        owner: String,
        /// Such as `config.*`.
        own: String,
    },
    /// Another target of some worker has written the inventory: two targets name one cluster and inventory namespace.
    #[error("installation {installation} belongs to target {stored}, this command is for target {own}")]
    OtherTarget {
        /// The installation.
        installation: String,
        /// The target in the inventory.
        stored: String,
        /// The command's target.
        own: String,
    },
    /// The object is an inventory of a worker, or the namespace of the inventories.
    #[error("{object} holds the inventory of installations, which only workers write")]
    IsInventory {
        /// Such as `ConfigMap sailhand-system/sailhand-web`.
        object: String,
    },
    /// The target's allow-list in the worker's configuration does not have the object.
    #[error("{object} may not be written: it is not in {list} of target {target} in the worker's configuration")]
    NotAllowed {
        /// The target's id.
        target: String,
        /// Such as `ConfigMap kube-system/a`.
        object: String,
        /// `kinds` or `namespaces`.
        list: &'static str,
    },
    /// Not usable in the name of an inventory.
    #[error("installation name {name:?}: want 1 to 50 lower-case letters, digits and inner dashes")]
    InstallationName {
        /// Name in the command.
        name: String,
    },
    /// Without kind or name an object cannot be applied (`generateName` would make a new one each time).
    #[error("object {number} of the set has no {field}")]
    Incomplete {
        /// Its place in the set, from 1.
        number: usize,
        /// The missing field.
        field: &'static str,
    },
    /// Two objects of a set are one object in the cluster.
    #[error("{object} is in the set twice")]
    Twice {
        /// Such as `ConfigMap default/a`.
        object: String,
    },
    /// It carries the marks of another owner.
    #[error("{object} belongs to {owner}")]
    Owned {
        /// Such as `ConfigMap default/a`.
        object: String,
        /// Such as `Helm release default/web`.
        owner: String,
    },
    /// A newer holder of the lease has written to the installation (the fence is the lease's revision).
    #[error("installation {installation}: {}", match stored {
        Some(stored) => format!("fence {stored} in the cluster is higher than this work's {own}"),
        None => "its inventory went away while it was worked on".to_owned(),
    })]
    Fenced {
        /// The installation.
        installation: String,
        /// The higher fence; none when the inventory itself went away.
        stored: Option<u64>,
        /// The fence of this command.
        own: u64,
    },
    /// A newer command has been applied.
    #[error("installation {installation}: generation {stored} was applied before; this command has generation {own}")]
    Superseded {
        /// The installation.
        installation: String,
        /// The generation in the cluster.
        stored: u64,
        /// The command's.
        own: u64,
    },
    /// The inventory cannot be read; guessing what it held could delete too much.
    #[error("inventory {inventory}: {reason}")]
    Inventory {
        /// `namespace/name` of the `ConfigMap`.
        inventory: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// A CRD was applied and did not become usable.
    #[error("CustomResourceDefinition {name} is not established: {reason}")]
    NotEstablished {
        /// The CRD's name.
        name: String,
        /// The condition that prevents it.
        reason: String,
    },
    /// Deleted objects that stay.
    #[error("still there{}: {}", match after {
        Some(after) => format!(" after {}", humantime::format_duration(*after)),
        None => String::new(),
    }, .objects.join("; "))]
    StillThere {
        /// Each with the finalizers and conditions that hold it.
        objects: Vec<String>,
        /// The time that the command has for it; `None` when it gives none.
        after: Option<std::time::Duration>,
    },
    /// Some objects failed; each one's problem is in the report.
    #[error("{failed} of {} failed, first {first}", plural(*.total, "object"))]
    SomeFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// The first one's text.
        first: String,
        /// Retry when a retry may help each of them, else terminal.
        class: Class,
    },
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The time to become ready is over.
    #[error("not ready after {}: {}", humantime::format_duration(*.after), .waiting.join("; "))]
    NotReady {
        /// Each object with what it waits for.
        waiting: Vec<String>,
        /// How long was waited.
        after: std::time::Duration,
    },
    /// The status of an object reports that it will not become ready.
    #[error("{object} has failed: {reason}")]
    WorkloadFailed {
        /// Such as `Job shop/migrate`.
        object: String,
        /// The reason in its status.
        reason: String,
    },
    /// The guard stopped the work.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

impl Error {
    /// The API server's reason, where it was one.
    pub(crate) const fn fault(&self) -> Option<&ApiError> {
        match self {
            Self::Request { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// Whether the whole work has to end here, not only the one object.
    pub(crate) const fn ends_work(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::Fenced { .. } | Self::Superseded { .. })
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Request { fault, .. } => fault.class(),
            Self::Fenced { .. } => Class::LostLease,
            Self::Superseded { .. } => Class::Superseded,
            Self::KindUnserved { .. } | Self::NotEstablished { .. } | Self::StillThere { after: None, .. } => {
                Class::RETRY
            }
            Self::SomeFailed { class, .. } => *class,
            Self::Manifest(error) => error.class(),
            Self::Stopped(stop) => stop.class(),
            Self::UnknownTarget { .. }
            | Self::UnknownKind { .. }
            | Self::InstallationName { .. }
            | Self::Incomplete { .. }
            | Self::Twice { .. }
            | Self::NotAllowed { .. } => Class::Rejected,
            // The command's time for it is over: another attempt would take it again.
            Self::NotReady { .. }
            | Self::StillThere { after: Some(_), .. }
            | Self::WorkloadFailed { .. }
            | Self::Kubeconfig { .. }
            | Self::Owned { .. }
            | Self::Reserved { .. }
            | Self::OtherTarget { .. }
            | Self::IsInventory { .. }
            | Self::Inventory { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::UnknownTarget { .. } => Code::SH1008,
            Self::Kubeconfig { .. } => Code::SH3014,
            Self::Request { fault, .. } => fault.code(),
            Self::UnknownKind { .. } => Code::SH3004,
            Self::KindUnserved { .. } => Code::SH3024,
            Self::Reserved { .. } => Code::SH3021,
            Self::OtherTarget { .. } => Code::SH3022,
            Self::IsInventory { .. } => Code::SH3023,
            Self::NotAllowed { .. } => Code::SH1021,
            Self::InstallationName { .. } => Code::SH1005,
            Self::Incomplete { .. } => Code::SH3103,
            Self::Twice { .. } => Code::SH3104,
            Self::Owned { .. } => Code::SH3008,
            Self::Fenced { .. } => Code::SH3015,
            Self::Superseded { .. } => Code::SH1011,
            Self::Inventory { .. } => Code::SH3005,
            Self::NotEstablished { .. } | Self::NotReady { .. } => Code::SH3009,
            Self::StillThere { .. } => Code::SH3019,
            Self::SomeFailed { .. } => Code::SH3016,
            Self::Manifest(error) => error.code(),
            Self::WorkloadFailed { .. } => Code::SH3017,
            Self::Stopped(stop) => stop.code(),
        }
    }
}
