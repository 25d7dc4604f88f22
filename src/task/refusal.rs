//! Why a task refuses to write although the command is valid: the state of the cluster forbids it. Shared by all tasks.

use crate::error::{Class, Classify, Code};
use crate::prose::plural;

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Requests would go nowhere.
    #[error("no ready pods: {}", .subsets.join("; "))]
    NoPods {
        /// Each subset with its labels.
        subsets: Vec<String>,
    },
    /// Another object has a say in the same thing, and Istio takes only one.
    #[error("{subject} is governed already by {}", .objects.join(", "))]
    Conflict {
        /// Such as `host reviews in shop`.
        subject: String,
        /// Such as `VirtualService shop/old-reviews`.
        objects: Vec<String>,
    },
    /// The analysis of the new objects together with the objects in the cluster has errors.
    #[error("the analysis finds {}: {}{}", plural(*.errors, "error"), .first.join("; "), not_judged(.unread))]
    Findings {
        /// How many.
        errors: usize,
        /// The first few: code, object, message.
        first: Vec<String>,
        /// Kinds that could not be read. Findings that depend on them are not among the errors.
        unread: Vec<String>,
    },
    /// The health gate has stopped a canary.
    #[error("the canary {canary} is not healthy: {evidence}")]
    UnhealthyCanary {
        /// The subset, or the revision.
        canary: String,
        /// Numbers of the last window.
        evidence: String,
    },
    /// The health gate cannot judge.
    #[error("the health gate cannot judge revision {revision}: {reason}")]
    NothingToJudge {
        /// The new revision.
        revision: String,
        /// Numbers before the first restart.
        reason: String,
    },
    /// Nothing of the name is there.
    #[error("there is no Service {namespace}/{service}")]
    NoService {
        /// The namespace.
        namespace: String,
        /// The Service.
        service: String,
    },
    /// It runs, and does not answer as it should.
    #[error("{addon} does not answer its health call: {reason}")]
    Unhealthy {
        /// The addon.
        addon: &'static str,
        /// The last answer.
        reason: String,
    },
}

fn not_judged(unread: &[String]) -> String {
    if unread.is_empty() {
        String::new()
    } else {
        format!(" (not judged, as it could not be read: {})", unread.join("; "))
    }
}

impl Classify for Refusal {
    fn class(&self) -> Class {
        match self {
            Self::Unhealthy { .. } => Class::RETRY,
            Self::NoPods { .. }
            | Self::Conflict { .. }
            | Self::NoService { .. }
            | Self::UnhealthyCanary { .. }
            | Self::NothingToJudge { .. }
            | Self::Findings { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NoPods { .. } => Code::SH3301,
            Self::Conflict { .. } => Code::SH3302,
            Self::NoService { .. } => Code::SH3303,
            Self::Unhealthy { .. } => Code::SH3304,
            Self::UnhealthyCanary { .. } => Code::SH3517,
            Self::NothingToJudge { .. } => Code::SH3518,
            Self::Findings { .. } => Code::SH6004,
        }
    }
}
