//! The requested configuration of a mesh. Part of the wire contract, as parameters of `mesh.install`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Mode, Profile, Version};
use crate::analysis::mesh::ISTIO_NAMESPACE;

/// A DNS label.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// An image's place: host, port, path. Not a URL: no image is called so.
const HUB: &str = "^[A-Za-z0-9][-A-Za-z0-9._]*(:[0-9]+)?(/[-A-Za-z0-9._]+)*$";

/// A mesh. Commands have its fields among their own, and refuse unknown ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Which Istio.
    pub version: Version,
    /// Which components, and the values of the charts that go with them.
    #[serde(default)]
    pub profile: Profile,
    /// Sidecars or ambient; as the profile says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Revision of the control plane, such as `1-30-3`; the default one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = LABEL))]
    pub revision: Option<String>,
    /// Tags that point to this revision, such as `prod`; the tag `default` makes it the one for
    /// `istio-injection=enabled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 38), regex(pattern = LABEL)))]
    pub tags: Vec<String>,
    /// Namespace of the control plane; created when it does not exist.
    #[serde(default = "istio_system")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: String,
    /// Turns components on or off that the profile has otherwise.
    #[serde(default)]
    pub components: Switches,
    /// The gateways, instead of those of the profile; an empty list for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub gateways: Option<Vec<Gateway>>,
    /// Where the images are, such as `mirror.example/istio`; the release's own place when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = HUB))]
    pub hub: Option<String>,
    /// Tag of the images; the version when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9_][-A-Za-z0-9_.]*$"))]
    pub tag: Option<String>,
    /// Names of Secrets to pull images with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))
    )]
    pub pull_secrets: Vec<String>,
    /// Values for the charts of base, istiod, cni and ztunnel together, as the charts name them: `global`,
    /// `meshConfig`, `pilot`, `cni`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// Values for single charts; they take precedence over `values`.
    #[serde(default)]
    pub component_values: ComponentValues,
    /// The CRDs of the Gateway API: the text of a release's `standard-install.yaml`. They are applied and never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8_388_608))]
    pub gateway_api: Option<String>,
}

fn istio_system() -> String {
    ISTIO_NAMESPACE.to_owned()
}

impl Request {
    /// The defaults for a version.
    #[must_use]
    pub fn of(version: Version) -> Self {
        Self {
            version,
            profile: Profile::default(),
            mode: None,
            revision: None,
            tags: Vec::new(),
            namespace: istio_system(),
            components: Switches::default(),
            gateways: None,
            hub: None,
            tag: None,
            pull_secrets: Vec::new(),
            values: Map::new(),
            component_values: ComponentValues::default(),
            gateway_api: None,
        }
    }

    /// The revision as the charts have it: empty for the default one.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().filter(|revision| *revision != "default").unwrap_or_default()
    }

    /// The revision as labels have it: `default` for the default one.
    #[must_use]
    pub fn revision_label(&self) -> &str {
        if self.revision().is_empty() { "default" } else { self.revision() }
    }
}

/// Components by name; absent means as the profile says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// CRDs and the default validator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<bool>,
    /// The control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istiod: Option<bool>,
    /// The CNI plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<bool>,
    /// The node proxy of ambient mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ztunnel: Option<bool>,
}

/// Values for single charts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentValues {
    /// Of the chart base.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub base: Map<String, Value>,
    /// Of the chart istiod.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub istiod: Map<String, Value>,
    /// Of the chart cni.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub cni: Map<String, Value>,
    /// Of the chart ztunnel.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub ztunnel: Map<String, Value>,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Name of its objects. Its pods' label `istio` is the name without a leading `istio-`.
    #[schemars(length(min = 1, max = 53), regex(pattern = LABEL))]
    pub name: String,
    /// Its namespace, created when it does not exist; the control plane's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL))]
    pub namespace: Option<String>,
    /// Values of the chart gateway, such as `{"service": {"type": "ClusterIP"}}`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}
