//! `metrics.promql`: any expression. A verb of its own, because the right to it shows everything that the store holds.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::observe::instance::{InstanceKind, ServiceAddress};
use crate::task::connection::store::Store;
use crate::task::{Failure, Limits, Outcome, Task, TaskContext};

/// Series in one report.
const MOST: usize = 500;

/// The task.
pub struct Promql;

/// Parameters of `metrics.promql`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromqlParams {
    /// Name of a connection: one made by `connection.apply`, or one of the worker's configuration for this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub connection: Option<String>,
    /// A Service of the target instead of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAddress>,
    /// The expression. Scope labels of the connection are not added.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Time of the query, RFC 3339; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"), length(max = 40), regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$"))]
    pub at: Option<String>,
}

/// Report of `metrics.promql`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromqlReport {
    /// Series of the answer, at most 500.
    pub series: Vec<PromqlSeries>,
    /// Series that were left out.
    pub omitted: usize,
    /// Warnings of the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One series.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromqlSeries {
    /// Labels, without the metric's name.
    pub labels: BTreeMap<String, String>,
    /// The value as `PromQL` writes it: a decimal number, `NaN`, `+Inf` or `-Inf`.
    pub value: String,
}

impl Task for Promql {
    const VERB: &'static str = "metrics.promql";
    const SUMMARY: &'static str = "Evaluates a PromQL expression in a connected store.";
    type Params = PromqlParams;
    type Report = PromqlReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(1), attempts: 3 }
    }

    fn installation(&self, _: &PromqlParams) -> Option<String> {
        None
    }

    fn example(&self) -> PromqlParams {
        PromqlParams {
            connection: Some("mesh".to_owned()),
            service: None,
            query: "sum by (destination_service_name) (rate(istio_requests_total[2m]))".to_owned(),
            at: None,
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: PromqlParams,
    ) -> Result<Outcome<PromqlReport>, Failure<PromqlReport>> {
        let store =
            Store::open(cx, (params.connection.as_deref(), params.service.as_ref()), InstanceKind::Prometheus).await?;
        let answer = store.query(&params.query, params.at.as_deref()).await?;
        cx.guard.check()?;
        let omitted = answer.series.len().saturating_sub(MOST);
        let series = answer.series.into_iter().take(MOST).map(|one| PromqlSeries {
            value: one.last().map_or_else(|| "NaN".to_owned(), number),
            labels: one.labels.into_iter().collect(),
        });
        Ok(Outcome::Unchanged(PromqlReport { series: series.collect(), omitted, warnings: answer.warnings }))
    }
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}
