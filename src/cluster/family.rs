//! The family of verbs that an installation belongs to. An inventory carries the family, and only verbs of that family
//! write the installation: otherwise `config.apply` under the name of a mesh's part would prune the control plane.

/// A family of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// `config.*`: names that a producer chooses.
    #[default]
    Config,
    /// `sample.*`.
    Sample,
    /// `addon.*`.
    Addon,
    /// `traffic.*`.
    Traffic,
    /// `policy.*`.
    Policy,
    /// `mesh.*`.
    Mesh,
    /// `smi.*`.
    Smi,
    /// `connection.*`.
    Connection,
    /// `dashboard.*`.
    Dashboard,
    /// `scrape.*`.
    Scrape,
}

/// Names that one family reserves: the prefix, and whether a hash of eight hex digits ends the name.
const RESERVED: &[(Family, &str, bool)] = &[
    (Family::Sample, "sample-bookinfo-", false),
    (Family::Sample, "sample-httpbin-", false),
    (Family::Sample, "sample-online-boutique-", false),
    (Family::Addon, "addon-prometheus-", false),
    (Family::Addon, "addon-grafana-", false),
    (Family::Addon, "addon-kiali-", false),
    (Family::Addon, "addon-jaeger-", false),
    (Family::Addon, "addon-zipkin-", false),
    (Family::Addon, "addon-loki-", false),
    (Family::Traffic, "traffic-", true),
    (Family::Policy, "policy-mtls-", true),
    (Family::Policy, "policy-access-", true),
    (Family::Mesh, "istiod-", false),
    (Family::Mesh, "istio-tag-", false),
    (Family::Mesh, "istio-gateway-", false),
    (Family::Connection, "metrics-connection-", false),
    (Family::Dashboard, "grafana-dashboards-", false),
    (Family::Scrape, "metrics-scrape-", false),
];

/// Parts of a mesh that a cluster has once.
const MESH_PARTS: [&str; 6] =
    ["istio-base", "istio-cni", "istio-ztunnel", "istio-gateway-api", "istio-residue", "istio-upgrade-gate"];

/// The installation of `smi.install`; a cluster has one.
const SMI: &str = "smi";

impl Family {
    /// The first word of its verbs, as it is written in inventories.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Sample => "sample",
            Self::Addon => "addon",
            Self::Traffic => "traffic",
            Self::Policy => "policy",
            Self::Mesh => "mesh",
            Self::Smi => "smi",
            Self::Connection => "connection",
            Self::Dashboard => "dashboard",
            Self::Scrape => "scrape",
        }
    }

    /// The family whose naming scheme the installation's name follows; `Config` for all other names. It decides for
    /// inventories that do not exist yet and for those of versions that did not mark them.
    #[must_use]
    pub fn of_name(installation: &str) -> Self {
        let reserves = |(_, prefix, hash): &&(Self, &str, bool)| {
            installation.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && (!hash || ends_in_hash(rest)))
        };
        if MESH_PARTS.contains(&installation) {
            return Self::Mesh;
        }
        if installation == SMI {
            return Self::Smi;
        }
        RESERVED.iter().find(reserves).map_or(Self::Config, |(family, ..)| *family)
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.*", self.as_str())
    }
}

fn ends_in_hash(text: &str) -> bool {
    text.rsplit_once('-').is_some_and(|(readable, hash)| {
        !readable.is_empty() && hash.len() == 8 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_names_of_other_families_are_reserved() {
        for (name, family) in [
            ("istiod-default", Family::Mesh),
            ("istio-cni", Family::Mesh),
            ("istio-gateway-istio-ingress-ingress", Family::Mesh),
            ("sample-bookinfo-shop", Family::Sample),
            ("addon-kiali-istio-system", Family::Addon),
            ("traffic-reviews-bookinfo-0a1b2c3d", Family::Traffic),
            ("policy-mtls-default-shop-0a1b2c3d", Family::Policy),
            ("smi", Family::Smi),
            ("metrics-connection-mesh", Family::Connection),
            ("grafana-dashboards-mesh", Family::Dashboard),
            ("metrics-scrape-mesh", Family::Scrape),
            ("istio", Family::Config),
            ("istiod-", Family::Config),
            ("sample-web", Family::Config),
            ("traffic-lights", Family::Config),
            ("traffic-0a1b2c3d", Family::Config),
            ("policy-shop", Family::Config),
        ] {
            assert_eq!(Family::of_name(name), family, "{name}");
        }
    }
}
