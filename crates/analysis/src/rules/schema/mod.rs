//! Validates single objects: against the schemas of their CRDs, and by the rules of Istio's own validation. One file
//! for each kind, and one for each message that several kinds use.
//!
//! Source: `pkg/config/validation` of istio/istio, which istiod's webhook runs. As in `istioctl analyze`, labels and
//! annotations are not checked. Each finding has its field.

pub mod authorization_policy;
pub mod destination_rule;
pub mod envoy_filter;
mod export_to;
pub mod fields;
pub mod gateway;
mod load_balancer;
mod locality;
pub mod old_version;
pub mod peer_authentication;
pub mod plugin;
pub mod proxy_config;
pub mod repeated_keys;
mod report;
pub mod request_authentication;
mod selector;
mod server;
pub mod service_entry;
pub mod sidecar;
pub mod telemetry;
mod traffic_policy;
pub mod unknown_kind;
pub mod virtual_service;
pub mod workload;
