//! The configuration: defaults, then a TOML file, then `SAILHAND__SECTION__KEY`, then flags. The only reader of the
//! environment. Secrets are named by file, never written here.

mod allow;
mod bridge;
mod dashboard;
mod error;
pub mod gateway;
mod load;
mod tls;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::Credentials;
use crate::observe::instance::{InstanceKind, ServiceAddress};

pub use bridge::{Bridge, BridgeClient, BridgeTarget, ConformanceDriver, Meshery};
pub use dashboard::{Dashboard, Network, Oidc, TRACE_ID};
pub use error::Error;
pub use gateway::Gateway;
#[cfg(feature = "failpoints")]
pub use load::failpoint_folder;
pub use load::{Loaded, Override, find_program, load, usual_kubeconfig};
pub use tls::MutualTls;

/// The whole configuration of a process. Unknown keys are errors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How to reach the bus.
    pub nats: Nats,
    /// Names and replication of the streams.
    pub bus: Bus,
    /// The engine.
    pub worker: Worker,
    /// The clusters, by target id.
    pub targets: BTreeMap<String, Target>,
    /// Istio's Helm charts.
    pub charts: Charts,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// Liveness, readiness, metrics.
    pub health: Health,
    /// Meshery's gRPC contract.
    pub bridge: Bridge,
    /// The web pages.
    pub dashboard: Dashboard,
    /// CloudEvents over HTTP.
    pub gateway: Gateway,
}

/// `[nats]`: address and credentials. At most one kind of credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nats {
    /// One or more `nats://` or `tls://` addresses: a list, or one string with commas.
    #[serde(deserialize_with = "load::one_or_many")]
    pub url: Vec<String>,
    /// User; with `password_file`.
    pub user: Option<String>,
    /// File with the password of `user`.
    pub password_file: Option<PathBuf>,
    /// File with a token.
    pub token_file: Option<PathBuf>,
    /// File with an nkey seed.
    pub nkey_file: Option<PathBuf>,
    /// A `.creds` file (JWT and seed).
    pub creds_file: Option<PathBuf>,
    /// Certificate authorities (PEM) that the server's certificate is verified with.
    pub tls_ca: Option<PathBuf>,
    /// Client certificate; with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Client key; with `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// Prefix of the reply subjects. The permissions of the user must contain it.
    pub inbox_prefix: String,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: vec!["nats://127.0.0.1:4222".to_owned()],
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            creds_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            inbox_prefix: "_INBOX_sailhand".to_owned(),
        }
    }
}

/// `[bus]`: the streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bus {
    /// First subject token, and in upper case the prefix of the streams' names.
    pub prefix: String,
    /// Replicas of every stream and bucket: 1, 3 or 5.
    pub replicas: usize,
    /// Upper bound of the queued commands, the waiting commands, the events, the dead letters, the stored parameters and
    /// the attachments, bytes each.
    pub max_bytes: i64,
    /// Upper bound of the results, bytes. Workers start no commands while the stream of results is full.
    pub max_result_bytes: i64,
    /// Names of further object stores of parameters, each with permissions of its own: `ci` is the bucket
    /// `<prefix>_blob_ci`. Clients write to the first one, or to `<prefix>_blob` if there is none.
    #[serde(deserialize_with = "load::one_or_many")]
    pub parameter_stores: Vec<String>,
    /// Time to live of a lease without renewal.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// A command without a heartbeat for this time is delivered to another worker.
    #[serde(with = "humantime_serde")]
    pub ack_wait: Duration,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            prefix: "istio".to_owned(),
            replicas: 1,
            max_bytes: 1 << 30,
            max_result_bytes: 2 << 30,
            parameter_stores: Vec::new(),
            lease_ttl: Duration::from_secs(45),
            ack_wait: Duration::from_secs(30),
        }
    }
}

/// `[worker]`: the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Name in events, leases and logs; the host's name and process id when empty.
    pub id: String,
    /// Commands that are executed at the same time.
    pub slots: usize,
    /// How long running tasks may continue after SIGTERM before their commands are requeued.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Longest time a `pull` waits for commands.
    #[serde(with = "humantime_serde")]
    pub pull_wait: Duration,
}

impl Default for Worker {
    fn default() -> Self {
        Self { id: String::new(), slots: 64, grace: Duration::from_secs(20), pull_wait: Duration::from_secs(2) }
    }
}

/// `[targets.<id>]`: one cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Kubeconfig file; in-cluster credentials when absent.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the file; its current one when absent.
    pub context: Option<String>,
    /// Where the inventories of this target's installations live; made on first use.
    pub inventory_namespace: String,
    /// Longest time for one request to the API server.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Verbs that commands for this target may have: `ping`, `mesh.*` or `*`. All verbs when absent, none when empty.
    pub verbs: Option<Vec<String>>,
    /// Kinds of objects that commands may write: `ConfigMap`, `Deployment.apps`, `*.networking.istio.io` or `*`. All kinds
    /// when absent.
    pub kinds: Option<Vec<String>>,
    /// Namespaces in which commands may write, and Namespaces that they may write: `shop`, `team-a-*` or `*`. All
    /// namespaces when absent. If set, commands write cluster-scoped objects only of kinds that `kinds` lists.
    pub namespaces: Option<Vec<String>>,
    /// Metrics stores and Grafanas that commands may name, beside those that `connection.apply` records.
    pub connections: BTreeMap<String, Connection>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            inventory_namespace: "sailhand-system".to_owned(),
            request_timeout: Duration::from_secs(30),
            verbs: None,
            kinds: None,
            namespaces: None,
            connections: BTreeMap::new(),
        }
    }
}

/// `[targets.<id>.connections.<name>]`: a metrics store or a Grafana with a URL, inside or outside the cluster. This list
/// is closed: no command makes the worker connect to another URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `prometheus` or `grafana`.
    pub kind: InstanceKind,
    /// `http://` or `https://`, with the path prefix of the API if it has one, such as `/prometheus`. Empty with `service`.
    #[serde(default)]
    pub url: String,
    /// A Service of the target instead of a URL. With credentials it is reached by the API server's port-forward, because
    /// the API server's proxy removes the header `Authorization`.
    #[serde(default)]
    pub service: Option<ServiceAddress>,
    /// Labels that every query selects, such as `cluster = "prod-1"`.
    #[serde(default)]
    pub scope: BTreeMap<String, String>,
    /// Credentials, certificates and headers.
    #[serde(default)]
    pub credentials: Credentials,
}

/// `[charts]`: where Istio's Helm charts come from and what renders them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Charts {
    /// A folder, an HTTP repository (`https://…`) or an OCI registry (`oci://…`).
    pub source: String,
    /// Folder that keeps charts and what was rendered of them; only memory does when absent.
    pub cache: Option<PathBuf>,
    /// The helm program, version 3.8 or newer: a path, or a name that `PATH` is searched for.
    pub helm: PathBuf,
    /// Longest time for one chart to be fetched, and for one to be rendered.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Digests that charts must have, such as `base-1.30.3 = "sha256:…"`.
    pub digests: BTreeMap<String, String>,
}

impl Default for Charts {
    fn default() -> Self {
        Self {
            source: "https://istio-release.storage.googleapis.com/charts".to_owned(),
            cache: None,
            helm: PathBuf::from("helm"),
            timeout: Duration::from_mins(1),
            digests: BTreeMap::new(),
        }
    }
}

/// `[telemetry]`: logs and traces.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// `text` or `json`; text on a terminal and JSON otherwise when absent.
    pub log_format: Option<LogFormat>,
    /// A tracing filter such as `info,sailhand=debug`.
    pub log_filter: Option<String>,
    /// OTLP/gRPC endpoint such as `http://collector:4317`; no traces are sent when absent.
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

impl LogFormat {
    /// As in the configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// `[health]`: the HTTP port.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Address of `/livez`, `/readyz` and `/metrics`; `"off"` for none.
    #[serde(deserialize_with = "load::address_or_off", serialize_with = "load::write_address_or_off")]
    pub listen: Option<SocketAddr>,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 8321))) }
    }
}
