//! Parameters that the health gates of `traffic.apply` and `mesh.upgrade` share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DURATION, Error, TaskContext};
use crate::observe::gate::Thresholds;
use crate::observe::instance::InstanceKind;
use crate::task::connection::store::Store;

/// Shortest window.
const SHORTEST: Duration = Duration::from_secs(5);
/// Observations in a report: the first and the last ones.
const MOST: usize = 200;

/// Which metrics decide, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Name of the connection to the metrics store.
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub connection: String,
    /// Time between a change and the decision, such as `1m`; also the window of the metrics. It should hold four scrapes of
    /// the store.
    #[serde(default = "minute", with = "humantime_serde")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub window: Duration,
    /// Largest share of failed requests, 0 to 1. Failed are 5xx, requests without a response, and gRPC statuses except 0.
    #[serde(default = "one_percent")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_error_ratio: f64,
    /// Largest 99th percentile of the request duration, milliseconds. Latency is not judged when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 86_400_000.0))]
    pub max_latency_p99_ms: Option<f64>,
    /// Requests in a window below which nothing is decided.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u64,
    /// Windows in a row without a decision, for lack of requests or of answers of the store, after which the change is
    /// undone.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 100))]
    pub patience: u8,
}

const fn minute() -> Duration {
    Duration::from_mins(1)
}

const fn one_percent() -> f64 {
    0.01
}

const fn fifty() -> u64 {
    50
}

const fn five() -> u8 {
    5
}

/// A gate that does not fit the rules.
pub fn wrong(reason: impl Into<String>) -> Error {
    Error::Parameter { field: "gate", reason: reason.into() }
}

impl Health {
    /// Refuses windows that are too short, and `steps` windows that take longer than `longest`.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(&self, steps: u32, longest: Duration) -> Result<(), Error> {
        let window = humantime::format_duration(self.window);
        if self.window < SHORTEST {
            return Err(wrong(format!("a window of {window} is shorter than 5s")));
        }
        if self.window.saturating_mul(steps) > longest {
            let minutes = longest.as_secs() / 60;
            return Err(wrong(format!("{steps} windows of {window} take more than {minutes}m")));
        }
        Ok(())
    }

    /// The store of the gate.
    ///
    /// # Errors
    /// No such connection.
    pub async fn store(&self, cx: &TaskContext) -> Result<Store, Error> {
        Store::open(cx, (Some(&self.connection), None), InstanceKind::Prometheus).await
    }

    /// What is judged.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds {
            max_error_ratio: self.max_error_ratio,
            max_latency_p99_ms: self.max_latency_p99_ms,
            min_requests: self.min_requests,
        }
    }

    /// Seconds of the window.
    #[must_use]
    pub const fn window_s(&self) -> u64 {
        self.window.as_secs()
    }

    /// Requests in a window, from a rate.
    #[must_use]
    pub fn in_window(&self, rate: f64) -> f64 {
        rate * self.window.as_secs_f64()
    }
}

/// Keeps the first and the last observations.
pub fn push<T>(observations: &mut Vec<T>, one: T) {
    if observations.len() >= MOST {
        observations.remove(MOST / 2);
    }
    observations.push(one);
}

/// Two digits after the point.
pub fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_observations_stay() {
        let mut observations = Vec::new();
        (0..500).for_each(|number| push(&mut observations, number));
        assert_eq!((observations.len(), observations[0], observations[99]), (200, 0, 99));
        assert_eq!(observations[199], 499);
    }
}
