//! `MeshConfig` and `MeshNetworks`, merged with Istio's defaults. Source: istio/api `mesh/v1alpha1/config.proto` and
//! `pkg/config/mesh` (`DefaultMeshConfig`).

use super::istio::component::is_istiod;
use super::source::read_value;
use super::{Kind, Resource, Settings, Value};

/// Effective `MeshConfig`.
#[derive(Debug, Clone)]
pub struct Mesh {
    config: Value,
    domain: String,
}

/// The DNS domain of a cluster unless it is set to another one.
const DOMAIN: &str = "cluster.local";

/// Default namespace of the control plane.
pub const ISTIO_NAMESPACE: &str = "istio-system";

impl Default for Mesh {
    fn default() -> Self {
        Self::new(&Value::Null)
    }
}

impl Mesh {
    /// Merges settings into the defaults.
    #[must_use]
    pub fn new(settings: &Value) -> Self {
        let defaults = defaults();
        let config = if settings.is_null() { defaults } else { defaults.overlaid(settings) };
        Self { config, domain: DOMAIN.to_owned() }
    }

    /// With the cluster's DNS domain.
    #[must_use]
    pub fn with_domain(self, domain: Option<String>) -> Self {
        Self { domain: domain.unwrap_or_else(|| DOMAIN.to_owned()), ..self }
    }

    /// The cluster's DNS domain, such as `cluster.local`.
    #[must_use]
    pub fn cluster_domain(&self) -> &str {
        &self.domain
    }

    /// All settings with the defaults.
    #[must_use]
    pub const fn config(&self) -> &Value {
        &self.config
    }

    /// Root namespace, whose policies apply to the whole mesh.
    #[must_use]
    pub fn root_namespace(&self) -> &str {
        self.config["rootNamespace"].text()
    }

    /// Whether clients can reach hosts outside the registry (`ALLOW_ANY`), so that an unknown host may be intended.
    #[must_use]
    pub fn allows_any_outbound(&self) -> bool {
        self.config.at("outboundTrafficPolicy.mode").text() != "REGISTRY_ONLY"
    }

    /// Trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.config["trustDomain"].text()
    }

    /// Whether automatic mutual TLS is enabled.
    #[must_use]
    pub fn has_auto_mtls(&self) -> bool {
        self.config["enableAutoMtls"].as_bool().unwrap_or(true)
    }

    /// `MeshConfig` as an object, for findings about it.
    #[must_use]
    pub fn resource(&self) -> Resource {
        pseudo_resource(Kind::MeshConfig, "meshconfig", self.config.clone())
    }
}

/// `MeshNetworks` as an object, for findings about it.
#[must_use]
pub fn networks_resource(networks: Value) -> Resource {
    pseudo_resource(Kind::MeshNetworks, "meshnetworks", networks)
}

/// `MeshConfig` from the ConfigMap `istio` in the control plane's namespace, if it is among the objects. Invalid parts
/// are skipped, because a running control plane has accepted the rest.
#[must_use]
pub fn settings_in(resources: &[Resource], now: i64) -> Settings {
    let is_map = |resource: &&Resource| {
        resource.kind == Kind::ConfigMap && resource.namespace == ISTIO_NAMESPACE && resource.name == "istio"
    };
    // If several files define it, the snapshot uses the last one; so does this.
    let later = |kept: &'_ Resource, next: &Resource| next.origin > kept.origin;
    let map = resources.iter().filter(is_map).reduce(|kept, next| if later(kept, next) { next } else { kept });
    Settings { cluster_domain: domain_of_istiod(resources), ..settings_of(map, now) }
}

/// The domain that the arguments of istiod set: `--domain cluster.local`, or with `=`.
fn domain_of_istiod(resources: &[Resource]) -> Option<String> {
    let is_istiod = |it: &&Resource| it.kind == Kind::Deployment && is_istiod(it.labels());
    resources.iter().filter(is_istiod).find_map(|istiod| {
        let containers = istiod.pod_template().at("spec.containers").items();
        containers.iter().find_map(|container| {
            let arguments: Vec<&str> = container["args"].texts().collect();
            let joined = arguments.iter().find_map(|one| one.strip_prefix("--domain="));
            let next = || arguments.windows(2).find(|pair| pair[0] == "--domain").map(|pair| pair[1]);
            joined.or_else(next).map(str::to_owned)
        })
    })
}

/// `MeshConfig` in a ConfigMap.
pub(super) fn settings_of(map: Option<&Resource>, now: i64) -> Settings {
    let read = |key: &str| {
        let text = map?.root["data"][key].as_str()?;
        read_value(key, text).ok().filter(Value::is_set)
    };
    Settings { mesh_config: read("mesh"), mesh_networks: read("meshNetworks"), now, ..Settings::default() }
}

/// Parses settings embedded as YAML text in an object, such as in an annotation. None if the text is invalid.
#[must_use]
pub fn read_embedded(text: &str) -> Option<Value> {
    read_value("settings", text).ok()
}

/// Name as in Istio's analyzers.
fn pseudo_resource(kind: Kind, name: &str, root: Value) -> Resource {
    Resource {
        kind,
        api_version: "v1".into(),
        namespace: ISTIO_NAMESPACE.into(),
        is_namespace_assumed: false,
        name: name.into(),
        cluster: std::sync::Arc::default(),
        root,
        origin: None,
        repeated: Box::default(),
        build: None,
        is_generated: false,
    }
}

fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn defaults() -> Value {
    let provider = |name: &'static str, what| map([("name", Value::string(name)), (what, map([]))]);
    map([
        ("rootNamespace", Value::string(ISTIO_NAMESPACE)),
        ("ingressControllerMode", Value::string("STRICT")),
        ("ingressService", Value::string("istio-ingressgateway")),
        ("ingressClass", Value::string("istio")),
        ("outboundTrafficPolicy", map([("mode", Value::string("ALLOW_ANY"))])),
        ("enableAutoMtls", Value::Bool(true)),
        ("trustDomain", Value::string("cluster.local")),
        (
            "extensionProviders",
            Value::List(Box::new([
                provider("prometheus", "prometheus"),
                provider("stackdriver", "stackdriver"),
                provider("envoy", "envoyFileAccessLog"),
            ])),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::settings_in;
    use crate::source::{self, Sources};

    #[test]
    fn last_mesh_config_applies() {
        let mut sources = Sources::default();
        for domain in ["first", "last"] {
            let map =
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: ";
            sources.add(domain, format!("{map}'trustDomain: {domain}'}}\n"));
        }
        let mut resources = source::read(&sources, NonZero::<usize>::MIN).resources;
        for _ in 0..2 {
            let config = settings_in(&resources, 0).mesh_config.unwrap();
            assert_eq!(config["trustDomain"].text(), "last");
            resources.reverse();
        }
    }
}
