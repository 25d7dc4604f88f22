//! `TrafficTarget` (access.smi-spec.io/v1alpha3): which identities may call which identity, on which routes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `spec` of a `TrafficTarget`. Access is additive, and enforced at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficTargetSpec {
    /// The identity that the called pods run under.
    pub destination: IdentityRef,
    /// The routes on which calls are allowed. Without a rule, no call is allowed.
    pub rules: Vec<Rule>,
    /// The identities that are allowed to call. Without a source, no call is allowed.
    pub sources: Vec<IdentityRef>,
}

/// A service identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct IdentityRef {
    /// Kind of the identity; only `ServiceAccount` is supported.
    pub kind: String,
    /// Name of the identity.
    pub name: String,
    /// Namespace of the identity. Defaults to the namespace of the `TrafficTarget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub namespace: Option<String>,
}

/// A reference to a route object in the namespace of the `TrafficTarget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Kind of the route object.
    pub kind: RuleKind,
    /// Name of the route object.
    pub name: String,
    /// Names of matches of an `HTTPRouteGroup`. When omitted, every match of the group applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub matches: Option<Vec<String>>,
}

/// Kinds of route objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleKind {
    /// Routes of HTTP requests.
    #[serde(rename = "HTTPRouteGroup")]
    HttpRouteGroup,
    /// TCP ports.
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// UDP ports. Istio does not proxy UDP.
    #[serde(rename = "UDPRoute")]
    UdpRoute,
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpRouteGroup => "HTTPRouteGroup",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
        })
    }
}
