//! The Service Mesh Interface (SMI v0.6.0) on Istio: the SMI objects, their CRDs, and [`translate()`], which turns SMI
//! objects into Istio objects. Pure: knows no cluster client, no time and no bus.
//!
//! Source of the semantics: github.com/servicemeshinterface/smi-spec, `traffic-access` v1alpha3, `traffic-specs`
//! v1alpha4 and `traffic-split` v1alpha4.

pub mod crd;
mod http_route_group;
mod istio;
mod object;
mod snapshot;
mod tcp_route;
mod traffic_split;
mod traffic_target;
mod translate;
mod udp_route;

pub use http_route_group::{HttpMatch, HttpRouteGroupSpec, Method};
pub use istio::{Existing, Governs, IstioKind, IstioObject, MANAGED_BY, Owner, SOURCE_ANNOTATION};
pub use object::{Identity, Kind, Meta, Object};
pub use snapshot::{Namespace, Port, Protocol, Service, Snapshot, Workload};
pub use tcp_route::{PortMatch, TcpRouteSpec};
pub use traffic_split::{Backend, RouteGroupRef, TrafficSplitSpec};
pub use traffic_target::{IdentityRef, Rule, RuleKind, TrafficTargetSpec};
pub use translate::{Reason, Report, Settings, SettingsError, Translation, translate};
pub use udp_route::UdpRouteSpec;

/// Label of a namespace that opts in to deny by default; its value is `true`.
pub const DEFAULT_DENY_LABEL: &str = "smi.sailhand.dev/default-deny";

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "JSON values are easier to read without references")]
mod tests;
