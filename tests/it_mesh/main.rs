//! Istio's life cycle on an API server of its own, with Istio's real charts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod addons;
mod ambient;
mod causes;
mod chart_rights;
mod charts;
#[path = "../cluster_target/mod.rs"]
mod cluster_target;
mod connection_figures;
mod connection_rights;
mod connection_watch;
mod connections;
mod dashboard_schema;
mod dashboards;
mod faults;
mod flavors;
mod gates;
mod grafana_operator;
mod install;
mod lifecycle;
#[path = "../mesh_settings/mod.rs"]
mod mesh_settings;
#[path = "../mesh_target/mod.rs"]
mod mesh_target;
mod permissions;
mod port_forward;
mod profiles;
mod rates;
mod safety;
mod scrapes;
#[path = "../support/mod.rs"]
mod support;
mod upgrade_gate;
