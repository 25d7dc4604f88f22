//! Errors that end a conformance run without a verdict (see docs/errors).

use crate::cluster;
use crate::error::{Class, Classify, Code};
use crate::guard::Stop;
use crate::task_event::PublishError;

/// What the exec driver does with a pod.
pub(super) const EXEC: &str = "exec in";
/// What the port-forward driver does with a pod.
pub(super) const FORWARD: &str = "forward a port of";

/// A failure of a conformance run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such suite.
    #[error("unknown conformance suite {name:?}{}", suggestion(.nearest.as_ref()))]
    UnknownSuite {
        /// The name in the command.
        name: String,
        /// A suite with a similar name.
        nearest: Option<String>,
    },
    /// No such case.
    #[error("suite {suite} has no case {id:?}{}", suggestion(.nearest.as_ref()))]
    UnknownCase {
        /// The suite.
        suite: &'static str,
        /// The name in the command.
        id: String,
        /// A case with a similar id.
        nearest: Option<String>,
    },
    /// There is no control plane.
    #[error("target {target} has no mesh: no Deployment with the label app=istiod exists in any namespace")]
    NoMesh {
        /// The target's id.
        target: String,
    },
    /// There are control planes, and none of the requested revision.
    #[error("target {target} has no control plane of revision {revision}, only of {}", .revisions.join(", "))]
    NoRevision {
        /// The target's id.
        target: String,
        /// The name in the command.
        revision: String,
        /// Revisions of the control planes.
        revisions: Vec<String>,
    },
    /// CRDs of the suite do not exist.
    #[error("CustomResourceDefinitions of the suite do not exist: {}", .names.join(", "))]
    CrdsMissing {
        /// Their names.
        names: Vec<String>,
    },
    /// CRDs of the suite exist and do not serve the version that the suite writes.
    #[error("CustomResourceDefinitions do not serve the suite's version: {}", .found.join("; "))]
    CrdVersion {
        /// Each with the version wanted and those served.
        found: Vec<String>,
    },
    /// The kubelet cannot pull an image.
    #[error("pod {pod}: image {image} cannot be pulled: {reason}")]
    Image {
        /// `namespace/name`.
        pod: String,
        /// The image.
        image: String,
        /// The kubelet's reason and message.
        reason: String,
    },
    /// Exec or port-forward is forbidden.
    #[error("cannot {operation} pod {pod}: {reason}")]
    ExecForbidden {
        /// `EXEC` or `FORWARD`.
        operation: &'static str,
        /// `namespace/name`.
        pod: String,
        /// The API server's words.
        reason: String,
    },
    /// Exec or port-forward failed otherwise.
    #[error("cannot {operation} pod {pod}: {reason}")]
    Exec {
        /// `EXEC` or `FORWARD`.
        operation: &'static str,
        /// `namespace/name`.
        pod: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// A workload does not follow the contract of learn-layer5.
    #[error("workload {workload} does not follow the contract of learn-layer5: {reason}")]
    Contract {
        /// `namespace/name` and the port.
        workload: String,
        /// What it answers.
        reason: String,
    },
    /// Namespaces of the run still exist.
    #[error("test namespaces still exist after deletion: {}", .namespaces.join("; "))]
    NamespaceStuck {
        /// Each with what its conditions say.
        namespaces: Vec<String>,
    },
    /// The suite's workloads do not become ready.
    #[error("workloads of the suite are not ready after {seconds} s: {}", .waiting.join("; "))]
    NotReady {
        /// Each with its reason.
        waiting: Vec<String>,
        /// How long was waited.
        seconds: u64,
    },
    /// Pods run without a proxy.
    #[error("pods of the suite are not in the mesh ({data_plane}): {}", .pods.join(", "))]
    NotInMesh {
        /// `namespace/name` of each.
        pods: Vec<String>,
        /// `sidecar` or `ambient`.
        data_plane: &'static str,
    },
    /// The API server.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The guard stopped the run.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// An event may be lost.
    #[error("an event could not be published: {0}")]
    Unpublished(#[from] PublishError),
}

fn suggestion(nearest: Option<&String>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl Error {
    /// A Deployment of the suite without a pod to send from or to.
    pub(super) fn no_pod(operation: &'static str, namespace: &str, deployment: &str) -> Self {
        let reason = "the Deployment has no pod".to_owned();
        Self::Exec { operation, pod: format!("{namespace}/{deployment}"), reason }
    }

    /// Whether the whole run has to end here, not only the case.
    #[must_use]
    pub fn ends_run(&self) -> bool {
        !matches!(self, Self::Cluster(_) | Self::Exec { .. }) || self.is_stop()
    }

    /// The guard's reason, where it was one.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        match self {
            Self::Stopped(stop) | Self::Cluster(cluster::Error::Stopped(stop)) => Some(*stop),
            _ => None,
        }
    }

    fn is_stop(&self) -> bool {
        self.stop().is_some()
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::UnknownSuite { .. } | Self::UnknownCase { .. } => Class::Rejected,
            Self::NoMesh { .. }
            | Self::NoRevision { .. }
            | Self::CrdsMissing { .. }
            | Self::CrdVersion { .. }
            | Self::Image { .. }
            | Self::ExecForbidden { .. }
            | Self::Contract { .. }
            | Self::NamespaceStuck { .. }
            | Self::NotReady { .. }
            | Self::NotInMesh { .. } => Class::Terminal,
            Self::Exec { .. } | Self::Unpublished(_) => Class::RETRY,
            Self::Cluster(error) => error.class(),
            Self::Stopped(stop) => stop.class(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::UnknownSuite { .. } => Code::SH3401,
            Self::UnknownCase { .. } => Code::SH3402,
            Self::NoMesh { .. } | Self::NoRevision { .. } => Code::SH3403,
            Self::CrdsMissing { .. } => Code::SH3404,
            Self::CrdVersion { .. } => Code::SH3405,
            Self::Image { .. } => Code::SH3406,
            Self::ExecForbidden { .. } => Code::SH3407,
            Self::NamespaceStuck { .. } => Code::SH3408,
            Self::NotReady { .. } => Code::SH3409,
            Self::NotInMesh { .. } => Code::SH3410,
            Self::Exec { .. } => Code::SH3411,
            Self::Contract { .. } => Code::SH3412,
            Self::Cluster(error) => error.code(),
            Self::Stopped(stop) => stop.code(),
            Self::Unpublished(_) => Code::SH2002,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Cluster(error) => error.remedy(),
            Self::Stopped(stop) => stop.remedy(),
            _ => self.code().remedy().to_owned(),
        }
    }
}
