//! The real parts for the integration tests: a nats-server, a Kubernetes control plane, and waiting without sleeping.
//! Uses code of sailhand only in [`accounts`], [`cluster_env`] and [`worker`]. A part that is missing fails the test; nothing is skipped.
#![allow(dead_code, reason = "each integration test is a crate of its own and uses only some of this")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot get its real parts has to fail with a message"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the environment says where the real parts are; other processes have their own time"
)]

pub mod accounts;
pub mod admission;
pub mod api_proxy;
pub mod bookinfo;
pub mod certificates;
pub mod charts;
pub mod cluster_env;
pub mod control_plane;
pub mod eventually;
pub mod forwards;
pub mod gateway_api;
pub mod grafana;
pub mod http;
pub mod istio_crds;
pub mod istiod;
pub mod nats;
pub mod operator_crds;
pub mod own_control_plane;
pub mod prometheus;
pub mod prometheus_operator;
pub mod tcp_proxy;
pub mod tools;
pub mod worker;
