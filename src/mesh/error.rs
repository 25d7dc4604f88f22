//! Errors of mesh commands (see docs/errors).

use super::owner::Owner;
use super::{Component, Finding, ObservedMesh, Severity};
use crate::error::{Class, Classify, Code};
use crate::prose::{agree, plural};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A check found something that forbids it.
    #[error("refused: {}", list(.findings))]
    Refused {
        /// All that was found, the worst ones too.
        findings: Vec<Finding>,
    },
    /// The installation to be changed does not exist, or is not managed by this worker.
    #[error("{what} is not installed by this worker{}", list_known(.known))]
    NotInstalled {
        /// Such as `revision canary`.
        what: String,
        /// What is.
        known: Vec<String>,
    },
    /// Something still needs what is to be removed.
    #[error("{what} is still in use by {}", .users.join(", "))]
    InUse {
        /// Such as `revision canary`.
        what: String,
        /// Pods, namespaces and tags.
        users: Vec<String>,
    },
    /// The request no longer has parts that are installed, and their deletion is not permitted.
    #[error("the installation would delete {}", .parts.join(", "))]
    Removes {
        /// Component and name of each, such as `gateway istio-system-istio-ingressgateway`.
        parts: Vec<String>,
    },
    /// Proxies are not where they should be.
    #[error("{} of {} {} not of revision {revision}: {}", .behind.len(), plural(*.total, "proxy"),
        agree(.behind.len(), "is", "are"), .behind.join(", "))]
    Behind {
        /// Where they should be.
        revision: String,
        /// How many were checked.
        total: usize,
        /// `namespace/pod` of each.
        behind: Vec<String>,
    },
}

impl Error {
    /// The error for a revision that this worker has not installed. The message lists the revisions in the cluster.
    #[must_use]
    pub fn not_installed(revision: &str, facts: &ObservedMesh) -> Self {
        let own = facts.installed(Component::Istiod).map(|it| format!("revision {}", it.name));
        let others = facts.control_planes.iter().filter(|it| it.owner != Owner::Sailhand);
        let others = others.map(|it| format!("revision {} by {}", it.revision, it.owner));
        Self::NotInstalled { what: format!("revision {revision}"), known: own.chain(others).collect() }
    }
}

/// The checks that stand behind the codes of their own.
const VERSION: [&str; 3] = ["kubernetes-version", "istio-version", "charts"];
const SKEW: [&str; 2] = ["skew", "canary"];
const CONFLICT: [&str; 3] = ["control-plane", "webhooks", "owner"];

fn list(findings: &[Finding]) -> String {
    let refusing = findings.iter().filter(|finding| finding.severity >= Severity::Error);
    refusing.map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ")
}

fn list_known(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!("; installed: {}", known.join(", ")) }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Behind { .. } => Class::RETRY,
            Self::Refused { .. } | Self::NotInstalled { .. } | Self::InUse { .. } | Self::Removes { .. } => {
                Class::Terminal
            }
        }
    }

    fn code(&self) -> Code {
        let worst = |findings: &[Finding], checks: &[&str]| {
            let worst = findings.iter().filter(|finding| finding.severity >= Severity::Error);
            worst.max_by_key(|finding| finding.rank()).is_some_and(|it| checks.contains(&it.check.as_str()))
        };
        match self {
            Self::Refused { findings } if worst(findings, &VERSION) => Code::SH3205,
            Self::Refused { findings } if worst(findings, &SKEW) => Code::SH3206,
            Self::Refused { findings } if worst(findings, &CONFLICT) => Code::SH3207,
            Self::Refused { .. } => Code::SH3208,
            Self::InUse { .. } => Code::SH3209,
            Self::NotInstalled { .. } => Code::SH3210,
            Self::Behind { .. } => Code::SH3211,
            Self::Removes { .. } => Code::SH3221,
        }
    }
}
