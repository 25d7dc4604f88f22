//! The way into an application: Istio's Gateway and `VirtualService`, or the Gateway API's Gateway and `HTTPRoute`,
//! in the versions that the cluster serves. One pair for each application.

use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::{Application, Choices, Path};
use crate::cluster::{Cluster, Error};
use crate::task::istio_api::{NETWORKING, newest};

/// Port at which gateways take plain HTTP. Istio finds the gateway pod's own port behind it, so 80 suits gateways
/// installed by istioctl (80 to 8080) and by the Helm chart (80 to 80).
const PORT: u16 = 80;

/// Newest first.
const GATEWAY_API: [&str; 2] = ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"];

/// How an application is reached from outside the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Istio's API where its CRDs exist, else the Gateway API where its CRDs exist, else not at all.
    #[default]
    Auto,
    /// Istio's Gateway and `VirtualService`.
    Istio,
    /// The Gateway API's Gateway and `HTTPRoute`.
    GatewayApi,
    /// Not at all.
    None,
}

/// Where the application is reached, or why it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryReport {
    /// API group and version of the entry's objects, such as `networking.istio.io/v1`; absent without an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Why there is no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Hosts it answers to; `*` is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Port of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path to open first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// An API that can be the entry, in the version found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Istio's.
    Istio(&'static str),
    /// The Gateway API.
    GatewayApi(&'static str),
}

impl Choice {
    /// The chosen API as the cluster serves it, or why there is no entry.
    ///
    /// # Errors
    /// When discovery fails.
    pub async fn find(self, cluster: &Cluster) -> Result<Result<Served, String>, Error> {
        let istio = match self {
            Self::Auto | Self::Istio => {
                newest(cluster, &NETWORKING, &["Gateway", "VirtualService"]).await?.map(Served::Istio)
            }
            Self::GatewayApi | Self::None => None,
        };
        let gateway_api = match self {
            Self::Auto | Self::GatewayApi if istio.is_none() => {
                newest(cluster, &GATEWAY_API, &["Gateway", "HTTPRoute"]).await?.map(Served::GatewayApi)
            }
            _ => None,
        };
        let missing = match self {
            Self::None => "no entry was requested",
            Self::Istio => "the cluster has not the CRDs Gateway and VirtualService of networking.istio.io",
            Self::GatewayApi => "the cluster has not the CRDs Gateway and HTTPRoute of gateway.networking.k8s.io",
            Self::Auto => "the cluster has neither Istio's CRDs nor those of the Gateway API",
        };
        Ok(istio.or(gateway_api).ok_or_else(|| missing.to_owned()))
    }
}

/// The two objects of the entry. `ingress` is the `istio` label of the gateway's pods, which only Istio's API needs.
pub fn objects(
    application: &Application,
    served: Served,
    hosts: &[String],
    ingress: &str,
    choices: Choices<'_>,
) -> [DynamicObject; 2] {
    let entry = &application.entry;
    let port = application
        .components
        .iter()
        .find(|component| component.name == entry.service)
        .and_then(|component| component.port)
        .map(|port| port.number);
    let (version, gateway, kind, route) = match served {
        Served::Istio(version) => {
            let listener = json!({"port": {"number": PORT, "name": "http", "protocol": "HTTP"}, "hosts": hosts});
            let rules: Vec<_> = entry.paths.iter().map(|path| json!({"uri": istio_match(path)})).collect();
            let destination = json!({"host": entry.service, "port": {"number": port}});
            let route = json!({
                "hosts": hosts,
                "gateways": [entry.gateway],
                "http": [{"match": rules, "route": [{"destination": destination}]}],
            });
            (version, json!({"selector": {"istio": ingress}, "servers": [listener]}), "VirtualService", route)
        }
        Served::GatewayApi(version) => {
            let listener = json!({
                "name": "http",
                "port": PORT,
                "protocol": "HTTP",
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            });
            let rules: Vec<_> = entry.paths.iter().map(|path| json!({"path": gateway_api_match(path)})).collect();
            let backend = json!({"name": entry.service, "port": port});
            let mut route = json!({
                "parentRefs": [{"name": entry.gateway}],
                "rules": [{"matches": rules, "backendRefs": [backend]}],
            });
            // Here any host is said by naming none.
            if !hosts.iter().any(|host| host == "*") {
                route["hostnames"] = hosts.into();
            }
            (version, json!({"gatewayClassName": "istio", "listeners": [listener]}), "HTTPRoute", route)
        }
    };
    let object = |kind, name, spec: Value| {
        application.object((version, kind), name, entry.service, choices, json!({"spec": spec}))
    };
    [object("Gateway", entry.gateway, gateway), object(kind, entry.route, route)]
}

/// The report of an entry.
pub fn report(application: &Application, found: Result<Served, String>, hosts: &[String]) -> EntryReport {
    match found {
        Err(skipped) => EntryReport { skipped: Some(skipped), ..EntryReport::default() },
        Ok(Served::Istio(version) | Served::GatewayApi(version)) => EntryReport {
            api_version: Some(version.to_owned()),
            skipped: None,
            hosts: hosts.to_vec(),
            port: Some(PORT),
            path: Some(application.entry.start.to_owned()),
        },
    }
}

fn istio_match(path: &Path) -> Value {
    match path {
        Path::Exact(path) => json!({"exact": path}),
        Path::Prefix(path) => json!({"prefix": path}),
    }
}

fn gateway_api_match(path: &Path) -> Value {
    match path {
        Path::Exact(path) => json!({"type": "Exact", "value": path}),
        Path::Prefix(path) => json!({"type": "PathPrefix", "value": path}),
    }
}
