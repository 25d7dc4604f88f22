//! Errors of charts (see docs/errors).

use std::time::Duration;

use crate::error::{Class, Classify, Code};

/// A failure of the chart room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source does not answer.
    #[error("the charts at {place} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        place: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// The source has no such chart.
    #[error("{place} has no chart {chart}: {reason}")]
    Missing {
        /// Folder or address.
        place: String,
        /// Name and version.
        chart: String,
        /// Where was looked, or what the source said.
        reason: String,
    },
    /// The chart is not the one it was.
    #[error("chart {chart} has digest {found}, but {wanted} is pinned")]
    Digest {
        /// Name and version.
        chart: String,
        /// Digest that the command or the cache pins.
        wanted: String,
        /// Digest of the chart that was read.
        found: String,
    },
    /// The archive is unsafe to unpack, or is not a chart.
    #[error("chart {chart} is not used: {reason}")]
    Unsafe {
        /// Name and version.
        chart: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// The renderer could not be run.
    #[error("helm cannot be run: {reason}")]
    Helm {
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// It took too long.
    #[error("helm did not render chart {chart} within {after:?}")]
    Slow {
        /// Name and version.
        chart: String,
        /// How long was waited.
        after: Duration,
    },
    /// It refused the chart or the values.
    #[error("helm does not render chart {chart}: {reason}")]
    Refused {
        /// Name and version.
        chart: String,
        /// Its output.
        reason: String,
    },
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } => Class::RETRY,
            _ => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Missing { .. } => Code::SH3201,
            Self::Digest { .. } => Code::SH3202,
            Self::Unsafe { .. } => Code::SH3203,
            Self::Helm { .. } | Self::Slow { .. } | Self::Refused { .. } => Code::SH3204,
        }
    }
}
