//! Istio's profiles: which components each turns on, and the value of the charts it stands for. Helm's own profiles
//! set values only; the list of components is istioctl's (`manifests/profiles`, 1.24 to 1.30).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A profile by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Control plane and an ingress gateway.
    #[default]
    Default,
    /// As default, with an egress gateway, small requests and full tracing. For trying out.
    Demo,
    /// The control plane only.
    Minimal,
    /// Only the components in `components` and `gateways`.
    Empty,
    /// Control plane, CNI and ztunnel; no gateways.
    Ambient,
    /// As default, with the CNI in kube-system and the paths of `OpenShift`.
    Openshift,
    /// As ambient, on `OpenShift`.
    OpenshiftAmbient,
    /// As default, with experimental features.
    Preview,
    /// Only the injector, for a control plane outside of the cluster.
    Remote,
    /// As default, with an admission policy that allows stable fields only.
    Stable,
}

/// How workloads are in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A proxy in each pod.
    Sidecar,
    /// ztunnel on each node, waypoints on request.
    Ambient,
}

/// Which components a profile turns on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// CRDs and cluster-wide roles.
    pub base: bool,
    /// The control plane.
    pub istiod: bool,
    /// The CNI plugin.
    pub cni: bool,
    /// The node proxy.
    pub ztunnel: bool,
    /// `istio-ingressgateway`.
    pub ingress: bool,
    /// `istio-egressgateway`.
    pub egress: bool,
}

impl Profile {
    /// Its components.
    #[must_use]
    pub const fn components(self) -> Defaults {
        let plane = Defaults { base: true, istiod: true, cni: false, ztunnel: false, ingress: false, egress: false };
        match self {
            Self::Default | Self::Preview | Self::Stable => Defaults { ingress: true, ..plane },
            Self::Demo => Defaults { ingress: true, egress: true, ..plane },
            Self::Minimal | Self::Remote => plane,
            Self::Empty => Defaults { base: false, istiod: false, ..plane },
            Self::Ambient | Self::OpenshiftAmbient => Defaults { cni: true, ztunnel: true, ..plane },
            Self::Openshift => Defaults { cni: true, ingress: true, ..plane },
        }
    }

    /// The charts' value `profile`.
    #[must_use]
    pub const fn chart_profile(self) -> Option<&'static str> {
        match self {
            Self::Default | Self::Minimal | Self::Empty | Self::Openshift => None,
            Self::Demo => Some("demo"),
            Self::Ambient | Self::OpenshiftAmbient => Some("ambient"),
            Self::Preview => Some("preview"),
            Self::Remote => Some("remote"),
            Self::Stable => Some("stable"),
        }
    }

    /// The charts' value `global.platform`.
    #[must_use]
    pub const fn platform(self) -> Option<&'static str> {
        match self {
            Self::Openshift | Self::OpenshiftAmbient => Some("openshift"),
            _ => None,
        }
    }

    /// The same profile for a mode, where there is one.
    #[must_use]
    pub const fn in_mode(self, mode: Option<Mode>) -> Option<Self> {
        match (mode, self) {
            (Some(Mode::Ambient), Self::Default | Self::Minimal | Self::Ambient) => Some(Self::Ambient),
            (Some(Mode::Ambient), Self::Openshift | Self::OpenshiftAmbient) => Some(Self::OpenshiftAmbient),
            (Some(Mode::Ambient), _) | (Some(Mode::Sidecar), Self::Ambient | Self::OpenshiftAmbient) => None,
            (None | Some(Mode::Sidecar), own) => Some(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_plane_mode_changes_the_profile_or_conflicts_with_it() {
        assert_eq!(Profile::Default.in_mode(Some(Mode::Ambient)), Some(Profile::Ambient));
        assert_eq!(Profile::Openshift.in_mode(Some(Mode::Ambient)), Some(Profile::OpenshiftAmbient));
        assert_eq!(Profile::Demo.in_mode(Some(Mode::Ambient)), None);
        assert_eq!(Profile::Ambient.in_mode(Some(Mode::Sidecar)), None);
        assert_eq!(Profile::Demo.in_mode(Some(Mode::Sidecar)), Some(Profile::Demo));
    }
}
