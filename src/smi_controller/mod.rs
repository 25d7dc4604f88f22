//! `sailhand smi-controller`: keeps Istio objects equal to the translation of the cluster's SMI objects.
//!
//! Watches fill stores (`follow.rs`, `stores.rs`). Whenever a store changes, the leader (`lease.rs`) translates all of
//! them with [`crate::smi::translate()`] and writes what differs (`reconcile.rs`, `write.rs`), then reports refusals and
//! conflicts (`report.rs`).

mod error;
mod follow;
mod lease;
mod reconcile;
mod report;
mod request;
mod stores;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Clusters;
use crate::config;
use crate::health;
use crate::smi::{Settings, Snapshot, Translation, translate};
use crate::telemetry::metrics::Metrics;
use lease::Lease;
use reconcile::Reconciler;
use stores::Stores;

pub use error::Error;

/// Field manager of everything that the controller writes.
pub const FIELD_MANAGER: &str = "sailhand-smi-controller";
/// Name of the Lease by which one of several controllers leads.
pub const LEASE: &str = "sailhand-smi-controller";

/// Settings of the controller.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster; in-cluster credentials without a kubeconfig.
    pub target: config::Target,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of this process in the Lease and in Events, unique among the controllers of a cluster.
    pub identity: String,
    /// The mesh's root namespace.
    pub root_namespace: String,
    /// `ConfigMap` with the mesh's configuration, in the root namespace.
    pub mesh_config: String,
    /// The trust domain; read from `mesh_config` when absent.
    pub trust_domain: Option<String>,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub listen: Option<SocketAddr>,
}

/// How SMI objects become Istio objects: [`crate::smi::translate`].
pub type Translate = Arc<dyn Fn(&Snapshot, &Settings) -> Translation + Send + Sync>;

/// Runs until `stop`. Gives the Lease back at the end, so that another controller leads at once.
///
/// # Errors
/// What keeps it from starting: the credentials, a setting, or the address of the health port. Afterwards it retries, and
/// `/readyz` says what it waits for.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    run_with(Arc::new(translate), options, stop).await
}

/// The same with another translation. Tests of the conformance suite run a controller that translates wrongly.
///
/// # Errors
/// As [`run`].
pub async fn run_with(translate: Translate, options: Options, stop: CancellationToken) -> Result<(), Error> {
    if let Some(domain) = &options.trust_domain {
        Settings::new(domain, &options.root_namespace)?;
    }
    Settings::new("cluster.local", &options.root_namespace)?;
    let clusters = Clusters::new(BTreeMap::from([("cluster".to_owned(), options.target.clone())]));
    let client = clusters.get("cluster").await?.client().await;
    let (causes, ready) = watch::channel(vec!["starting".to_owned()]);
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    if let Some(address) = options.listen {
        let bound = health::serve(address, Arc::new(Metrics::default()).renderer(), ready, ended.clone()).await;
        let bound = bound.map_err(|source| Error::Listen { address, source })?;
        tracing::info!("health and metrics on http://{bound}");
    }
    let stores = Arc::new(Stores::default());
    stores.follow(&client, &options, &ended);
    let lease = Arc::new(Lease::new(&client, &options));
    let leading = tokio::spawn(Arc::clone(&lease).run(Arc::clone(&stores.changed), stop.clone()));
    Reconciler::new(client, &options, translate, Arc::clone(&stores), lease).run(&causes, stop).await;
    let _ = leading.await; // it gives the Lease back
    tracing::info!("stopped");
    Ok(())
}
