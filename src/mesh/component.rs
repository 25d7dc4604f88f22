//! The parts a mesh is installed in, each with a chart, a release name and an inventory of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Request, Version};

/// A part, in the order of installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// CRDs, the default validator.
    Base,
    /// The CRDs of the Gateway API, from a bundle that the command brings.
    GatewayApi,
    /// The control plane of one revision.
    Istiod,
    /// One revision tag.
    Tag,
    /// The CNI plugin, one for the cluster.
    Cni,
    /// The node proxy, one for the cluster.
    Ztunnel,
    /// One gateway.
    Gateway,
}

impl Component {
    /// Its chart in the repository; a tag is a part of istiod's.
    #[must_use]
    pub const fn chart(self) -> Option<&'static str> {
        match self {
            Self::Base => Some("base"),
            Self::GatewayApi => None,
            Self::Istiod | Self::Tag => Some("istiod"),
            Self::Cni => Some("cni"),
            Self::Ztunnel => Some("ztunnel"),
            Self::Gateway => Some("gateway"),
        }
    }

    /// The inventory of a part. `name` is the revision, the tag, or namespace and name of the gateway.
    #[must_use]
    pub fn installation(self, name: &str) -> String {
        match self {
            Self::Base => "istio-base".to_owned(),
            Self::GatewayApi => "istio-gateway-api".to_owned(),
            Self::Istiod => format!("istiod-{name}"),
            Self::Tag => format!("istio-tag-{name}"),
            Self::Cni => "istio-cni".to_owned(),
            Self::Ztunnel => "istio-ztunnel".to_owned(),
            Self::Gateway => format!("istio-gateway-{name}"),
        }
    }

    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::GatewayApi => "gateway-api",
            Self::Istiod => "istiod",
            Self::Tag => "tag",
            Self::Cni => "cni",
            Self::Ztunnel => "ztunnel",
            Self::Gateway => "gateway",
        }
    }
}

/// Chart, version and values of a component, stored in its inventory so that a later command can render it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Which part.
    pub component: Component,
    /// The revision, the tag or the gateway's name; empty for the others.
    pub name: String,
    /// The revision it belongs to; empty for the default one and for what has none.
    pub revision: String,
    /// Helm's release name.
    pub release: String,
    /// The charts' version.
    pub version: Version,
    /// The chart's digest.
    pub digest: String,
    /// The release's namespace.
    pub namespace: String,
    /// The chart's values.
    pub values: Value,
    /// The parameters of the command, stored with the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<Request>>,
}

impl Provenance {
    /// The part in messages: the component, and its name where there can be several, such as
    /// `gateway istio-system-istio-ingressgateway`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.name.as_str() {
            "" => self.component.as_str().to_owned(),
            name => format!("{} {name}", self.component.as_str()),
        }
    }
}
