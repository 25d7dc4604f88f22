//! `ping`: does nothing. For health checks and load tests of bus and workers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Limits, Outcome, Task, TaskContext};

/// The task `ping`.
pub struct Ping;

/// Parameters of `ping`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Comes back in the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub echo: Option<String>,
}

/// Report of `ping`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The parameter `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<String>,
}

impl Task for Ping {
    const VERB: &'static str = "ping";
    const SUMMARY: &'static str = "No-op round trip through the queue and a worker, for health checks.";
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: std::time::Duration::from_secs(30), ..Limits::default() }
    }

    fn installation(&self, _: &Params) -> Option<String> {
        None
    }

    fn example(&self) -> Params {
        Params { echo: Some("hello".to_owned()) }
    }

    async fn run(&self, _: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        Ok(Outcome::Unchanged(Report { echo: params.echo }))
    }
}
