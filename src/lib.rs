//! sailhand operates Istio by events: CloudEvents commands come in on NATS `JetStream`, workers carry them out on
//! Kubernetes clusters, progress and results go back to the bus. ARCHITECTURE.md describes the layers.

pub mod attachment;
pub mod bridge;
pub mod bus;
pub mod chart;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod conformance;
pub mod dashboard;
pub mod event;
pub mod failpoint;
pub mod gateway;
pub mod guard;
pub mod health;
pub mod http;
pub mod mesh;
pub mod observe;
pub mod progress;
pub mod report;
pub mod retry;
pub mod smi;
pub mod smi_controller;
pub mod task;
pub mod task_event;
pub mod telemetry;
mod web;
pub mod worker;

pub use sailhand_analysis as analysis;
pub use sailhand_base::{error, hex, omit, prose, suggest, xml};
