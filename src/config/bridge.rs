//! `[bridge]`: what `sailhand bridge` serves to Meshery, and which clusters it reaches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tls::MutualTls;
use crate::http::Credentials;

/// `[bridge]`: Meshery's gRPC contract. Without an entry in `targets` the bridge does not start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bridge {
    /// Name of this bridge in the `source` of its commands, a DNS label. Replicas of one bridge share it.
    pub name: String,
    /// Address and port of the plaintext listener, which is what Meshery's server dials. It has no authentication.
    pub listen: SocketAddr,
    /// Address and port of `/metrics`, `/livez` and `/readyz` over HTTP, without authentication. None if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// A second listener with mutual TLS.
    pub tls: Option<MutualTls>,
    /// What clients of `tls` may do, by a name of the operator's choice. Empty: each client with a certificate may do what
    /// clients of `listen` may. Else clients that it does not list are refused.
    pub clients: BTreeMap<String, BridgeClient>,
    /// Allowed operations by Meshery's keys, such as `bookinfo`. Empty: every operation except `custom` and the removal
    /// of Istio, which need the entries `custom` and `istio:delete`.
    pub operations: Vec<String>,
    /// Clusters that requests may reach, by target id.
    pub targets: BTreeMap<String, BridgeTarget>,
    /// Target of requests without a kubeconfig; such requests are refused when absent.
    pub default_target: Option<String>,
    /// Istio versions that Meshery may ask for, such as `1.30.3`; the first is the default.
    pub versions: Vec<String>,
    /// Refuse a version that is not in `versions`, instead of installing the default with a warning.
    pub reject_unknown_versions: bool,
    /// How long commands wait for readiness.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How `smi_conformance` sends requests.
    pub conformance_driver: ConformanceDriver,
    /// How long the deployment of a design waits for results.
    #[serde(with = "humantime_serde")]
    pub design_wait: Duration,
    /// Ask the clusters of kubeconfigs for the UID of `kube-system`, with the credentials of the kubeconfig: only addresses of
    /// targets that have a `cluster_uid`.
    pub probe: bool,
    /// Open event streams, 1 to 10,000.
    pub max_streams: usize,
    /// Calls that are executed at the same time, 1 to 10,000.
    pub max_calls: usize,
    /// Meshery's HTTP API, to which results are pushed; no push when absent.
    pub meshery: Option<Meshery>,
}

impl Default for Bridge {
    fn default() -> Self {
        Self {
            name: "meshery".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 10_000)),
            metrics_listen: None,
            tls: None,
            clients: BTreeMap::new(),
            operations: Vec::new(),
            targets: BTreeMap::new(),
            default_target: None,
            versions: vec!["1.30.3".to_owned()],
            reject_unknown_versions: false,
            wait: Duration::from_mins(5),
            conformance_driver: ConformanceDriver::Exec,
            design_wait: Duration::from_mins(10),
            probe: false,
            max_streams: 256,
            max_calls: 64,
            meshery: None,
        }
    }
}

/// `[bridge.targets.<id>]`: how a kubeconfig is recognized as this target's. `sailhand bridge match` prints the values.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BridgeTarget {
    /// Addresses of the API server, such as `https://10.0.0.1:6443`. A path is compared too.
    pub server: Vec<String>,
    /// SHA-256 of the certificate authorities' DER form, 64 lower-case hex digits each.
    pub ca_sha256: Vec<String>,
    /// Names of contexts.
    pub contexts: Vec<String>,
    /// Accept a kubeconfig that has the address and no certificate authority.
    pub server_only: bool,
    /// UID of the namespace `kube-system`, by which Meshery identifies the cluster in its events. With `bridge.probe` a
    /// kubeconfig must be for the cluster with this UID.
    pub cluster_uid: Option<String>,
}

/// `[bridge.clients.<name>]`: permissions of a client certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeClient {
    /// Subject alternative name of the certificate: a DNS name, or a URI such as `spiffe://cluster.local/ns/ci/sa/deployer`.
    pub certificate: String,
    /// Operations, of those that `bridge.operations` allows. `custom` and `istio:delete` need an entry.
    pub operations: Vec<String>,
    /// Ids of `bridge.targets`. The client's event streams show only these.
    pub targets: Vec<String>,
}

/// The driver of `conformance.run`; docs/conformance.md compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConformanceDriver {
    /// By exec of the echo client in pods.
    Exec,
    /// By port-forward to pods that speak the contract of Meshery's learn-layer5.
    PortForward,
    /// Not at all: cluster and data plane are in memory, and the report says so. For tests of Meshery without a mesh.
    Simulated,
}

/// `[bridge.meshery]`: the server that results are pushed to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meshery {
    /// `http://` or `https://` address, such as `http://meshery:9081`.
    pub url: String,
    /// Name of Meshery's identity provider, as its login page shows it: `Local` or `None` for the local one.
    #[serde(default = "local")]
    pub provider: String,
    /// File with a user's token of that provider. The local one needs none.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Certificates, and credentials for a proxy in front of Meshery.
    #[serde(default)]
    pub credentials: Credentials,
}

fn local() -> String {
    "Local".to_owned()
}
