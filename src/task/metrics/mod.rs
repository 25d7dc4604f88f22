//! `metrics.*`: golden signals of a mesh, and any `PromQL` expression.

mod promql;
mod query;

pub use promql::{Promql, PromqlParams, PromqlReport};
pub use query::{Query, QueryParams, QueryReport, Signal, SignalKind};
