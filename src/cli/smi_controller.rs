//! `sailhand smi-controller`: translates SMI objects into Istio objects until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::server::{self, Logging};
use super::{Error, Exit, Global};
use crate::config::Target;
use crate::smi_controller;

const LOGGED: &str = "info,kube_client=off,kube_runtime=off";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Kubeconfig file [default: in-cluster credentials]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig [default: its current one]
    #[arg(long, requires = "kubeconfig")]
    context: Option<String>,
    /// Namespace of the Lease by which one of several controllers leads
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    namespace: String,
    /// Unique name of this process in the Lease [default: a random one]
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Root namespace of the mesh
    #[arg(long, default_value = "istio-system")]
    root_namespace: String,
    /// ConfigMap in the root namespace with the configuration of the mesh
    #[arg(long, value_name = "NAME", default_value = "istio")]
    mesh_config: String,
    /// Trust domain of the mesh [default: from the configuration of the mesh]
    #[arg(long)]
    trust_domain: Option<String>,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    logging: Logging,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let loaded = global.load([options.logging.as_override()])?;
    let random = || format!("sailhand-smi-controller-{}", uuid::Uuid::new_v4().simple());
    let options = smi_controller::Options {
        target: Target { kubeconfig: options.kubeconfig, context: options.context, ..Target::default() },
        namespace: options.namespace,
        identity: options.identity.unwrap_or_else(random),
        root_namespace: options.root_namespace,
        mesh_config: options.mesh_config,
        trust_domain: options.trust_domain,
        listen: options.listen,
    };
    server::serve(&loaded.config.telemetry, LOGGED, async |stop| Ok(smi_controller::run(options, stop).await?)).await?;
    Ok(Exit::Success)
}
