//! Errors of connections.

use crate::error::{Class, Classify, Code};
use crate::observe::envelope::Unusable;

/// A failure of a connection to a metrics store or a Grafana.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Neither the worker's configuration nor the target has it.
    #[error("the target has no connection {name:?}; known: {}", listed(.known))]
    Unknown {
        /// Name in the command.
        name: String,
        /// Names that exist.
        known: Vec<String>,
    },
    /// The connection is for another kind of server.
    #[error("connection {name:?} is for {is}, but the command needs {wanted}")]
    OtherKind {
        /// Name of the connection.
        name: String,
        /// Its kind.
        is: &'static str,
        /// The kind that is needed.
        wanted: &'static str,
    },
    /// No answer.
    #[error("{address} does not answer: {reason}")]
    NoAnswer {
        /// Service or configured connection.
        address: String,
        /// Why, in the words of the API server or of the network.
        reason: String,
    },
    /// An answer that is not one to a query.
    #[error("{address}: {source}")]
    Unusable {
        /// Service or configured connection.
        address: String,
        /// Underlying error.
        source: Unusable,
    },
    /// Bytes beyond the limit.
    #[error("the answer of {address} is longer than {most} bytes")]
    TooLarge {
        /// Service or configured connection.
        address: String,
        /// The limit.
        most: usize,
    },
    /// A file or setting of the worker's configuration cannot be used.
    #[error("connection {name:?} of the worker's configuration cannot be used: {reason}")]
    Settings {
        /// Name of the connection.
        name: String,
        /// What is wrong; no secret.
        reason: String,
    },
    /// Another error of Grafana.
    #[error("{address}: Grafana rejects {request}: {message} (HTTP {status})")]
    Rejected {
        /// Service or configured connection.
        address: String,
        /// Such as `POST /api/folders`.
        request: String,
        /// Grafana's text, at most 300 characters.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// 401 or 403 to a read or write of Grafana's API.
    #[error("{address}: Grafana refuses {request}: {message} (HTTP {status})")]
    WriteRefused {
        /// Service or configured connection.
        address: String,
        /// Such as `POST /api/folders`.
        request: String,
        /// Grafana's text, at most 300 characters; it names the missing permission.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// An object with the uid exists and this target's record does not have it.
    #[error("{object} exists in {address} and was not created by this target's dashboard.apply")]
    ForeignObject {
        /// Service or configured connection.
        address: String,
        /// Such as `dashboard "Mesh" (uid sailhand-mesh)`.
        object: String,
    },
    /// An object of ours was changed by another user.
    #[error("{object} of {address} was edited{}", .by)]
    EditedObject {
        /// Service or configured connection.
        address: String,
        /// Such as `dashboard "Mesh" (uid sailhand-mesh)`.
        object: String,
        /// Such as ` by ann at 2026-11-28T16:00:00Z`; empty if Grafana does not name the user.
        by: String,
    },
    /// Grafana refuses to change what it reads from files.
    #[error("{object} of {address} is provisioned from files and cannot be changed by the API")]
    FileProvisioned {
        /// Service or configured connection.
        address: String,
        /// Such as `dashboard "Mesh" (uid sailhand-mesh)`.
        object: String,
    },
    /// No way of delivery, or not the requested one, works with this Grafana.
    #[error("dashboards cannot be delivered to {address}: {reason}")]
    NoWay {
        /// Service or configured connection.
        address: String,
        /// The missing part.
        reason: String,
    },
    /// Monitors that this object of the Prometheus Operator would ignore.
    #[error("Prometheus {prometheus} would not select a {kind}: {reason}")]
    NotSelected {
        /// `namespace/name`.
        prometheus: String,
        /// `PodMonitor` or `ServiceMonitor`.
        kind: &'static str,
        /// Which selector does not match.
        reason: String,
    },
    /// The command names an object of the Prometheus Operator that does not exist.
    #[error("the target has no Prometheus object {prometheus}")]
    NoPrometheusObject {
        /// `namespace/name`.
        prometheus: String,
    },
    /// Other scrape jobs have the same pods as targets.
    #[error("{address} scrapes Istio already, by {}", .jobs.join(", "))]
    Scraped {
        /// Service or configured connection.
        address: String,
        /// Each job with the number of its targets.
        jobs: Vec<String>,
    },
    /// A record of an earlier command cannot be read.
    #[error("{object}: its key {key} is not a valid record: {reason}")]
    CorruptRecord {
        /// The `ConfigMap`.
        object: String,
        /// Key of its data.
        key: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Classify for ConnectionError {
    fn class(&self) -> Class {
        match self {
            Self::Unknown { .. } | Self::OtherKind { .. } => Class::Rejected,
            Self::NoAnswer { .. } | Self::Rejected { status: 429 | 500..=599, .. } => Class::RETRY,
            Self::Unusable { source, .. } => match source {
                Unusable::Query { status: 429 | 500..=599, .. } | Unusable::NotReady { .. } => Class::RETRY,
                _ => Class::Terminal,
            },
            Self::TooLarge { .. }
            | Self::Settings { .. }
            | Self::Rejected { .. }
            | Self::WriteRefused { .. }
            | Self::ForeignObject { .. }
            | Self::EditedObject { .. }
            | Self::FileProvisioned { .. }
            | Self::NoWay { .. }
            | Self::NotSelected { .. }
            | Self::NoPrometheusObject { .. }
            | Self::Scraped { .. }
            | Self::CorruptRecord { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } | Self::OtherKind { .. } => Code::SH3501,
            Self::NoAnswer { .. } => Code::SH3502,
            Self::Unusable { source, .. } => match source {
                Unusable::NotReady { .. } => Code::SH3502,
                Unusable::Refused { .. } => Code::SH3503,
                Unusable::Foreign { .. } => Code::SH3504,
                Unusable::Agent => Code::SH3505,
                Unusable::Query { .. } => Code::SH3506,
                Unusable::TooLarge => Code::SH3507,
            },
            Self::TooLarge { .. } => Code::SH3507,
            Self::Settings { .. } => Code::SH3508,
            Self::WriteRefused { .. } => Code::SH3503,
            Self::ForeignObject { .. } => Code::SH3509,
            Self::EditedObject { .. } => Code::SH3510,
            Self::FileProvisioned { .. } => Code::SH3511,
            Self::Rejected { .. } => Code::SH3512,
            Self::NoWay { .. } => Code::SH3513,
            Self::NotSelected { .. } | Self::NoPrometheusObject { .. } => Code::SH3514,
            Self::Scraped { .. } => Code::SH3515,
            Self::CorruptRecord { .. } => Code::SH3516,
        }
    }
}
