//! `TrafficSplit` (split.smi-spec.io/v1alpha4): shares of the traffic to a Service for other Services.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a `TrafficSplit`. All Services are in the namespace of the `TrafficSplit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficSplitSpec {
    /// The root Service, which clients call.
    pub service: String,
    /// The Services that receive the traffic. The root Service cannot be one of them.
    pub backends: Vec<Backend>,
    /// `HTTPRouteGroups`. With them, only matching requests are split; the others go to the root Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RouteGroupRef>,
}

/// A Service and its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Backend {
    /// Name of the Service. It may not exist yet.
    pub service: String,
    /// The share, relative to the sum of all weights; a whole number.
    #[schemars(with = "u32")]
    pub weight: f64,
}

/// A reference to an `HTTPRouteGroup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteGroupRef {
    /// `HTTPRouteGroup`.
    pub kind: RouteGroupKind,
    /// Name of the `HTTPRouteGroup`.
    pub name: String,
}

/// The one kind that a `TrafficSplit` can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteGroupKind {
    /// Routes of HTTP requests.
    #[serde(rename = "HTTPRouteGroup")]
    HttpRouteGroup,
}
