//! `UDPRoute` (specs.smi-spec.io/v1alpha4): UDP ports. Istio does not proxy UDP, so every rule with one is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tcp_route::PortMatch;

/// `spec` of a `UDPRoute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UdpRouteSpec {
    /// The ports.
    pub matches: PortMatch,
}
