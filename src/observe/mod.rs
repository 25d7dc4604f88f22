//! Metrics stores and dashboards of a mesh: which Prometheus-compatible servers and Grafanas a cluster has, whether one
//! is usable for Istio, and what it says about traffic. The submodules are pure: objects and answers in, reports out.
//! [`crate::task::connection`] and [`crate::task::metrics`] ask clusters and servers.

pub mod changes;
pub mod chart;
pub mod dashboard;
pub mod discovery;
pub mod envelope;
pub mod gate;
pub mod image;
pub mod instance;
pub mod ladder;
pub mod promql;
pub mod scrape;
pub mod signals;
pub mod witness;
