//! `TCPRoute` (specs.smi-spec.io/v1alpha4): TCP ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a `TCPRoute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpRouteSpec {
    /// The ports.
    pub matches: PortMatch,
}

/// Ports of the destination's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortMatch {
    /// Port numbers, 1 to 65535. An empty list stands for every port.
    pub ports: Vec<i64>,
}
