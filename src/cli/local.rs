//! A cluster that this process itself changes, with the credentials of a kubeconfig: `dev`, `run`, and `apply` and `diff`
//! with `--context`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::output::{self, QUIET, STRONG, styled};
use super::{Error, confirm};
use crate::cluster::{self, Cluster, Clusters, Identity};
use crate::config::{self, Target};

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Options that name a cluster.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct LocalCluster {
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig [default: its current one]
    #[arg(long, add = super::completions::contexts())]
    pub context: Option<String>,
}

impl LocalCluster {
    /// Whether an option names a cluster.
    pub const fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Whether an option, or the target `configured` in the configuration, names a cluster: then a missing kubeconfig is an
    /// error.
    pub fn expects(&self, configured: Option<&Target>) -> bool {
        self.is_named() || configured.is_some_and(|target| target.kubeconfig.is_some())
    }

    /// The target with these credentials and the other settings of `configured`, which is the target of the same name in
    /// the configuration.
    pub fn target(&self, configured: Option<&Target>) -> Target {
        let base = configured.cloned().unwrap_or_default();
        let usual = || base.kubeconfig.clone().or_else(config::usual_kubeconfig);
        let kubeconfig = self.kubeconfig.clone().or_else(usual);
        Target { kubeconfig, context: self.context.clone().or_else(|| base.context.clone()), ..base }
    }
}

/// Whether the target has a kubeconfig file.
pub(super) fn has_kubeconfig(target: &Target) -> bool {
    target.kubeconfig.as_ref().is_some_and(|file| file.is_file())
}

/// Why there is no kubeconfig.
pub(super) fn missing(target: &Target) -> String {
    const USUAL: &str = "(--kubeconfig, $KUBECONFIG, ~/.kube/config)";
    match &target.kubeconfig {
        Some(file) => format!("no kubeconfig: {} does not exist {USUAL}", file.display()),
        None => format!("no kubeconfig {USUAL}"),
    }
}

/// Notes that there is no cluster to change.
pub(super) fn note_no_kubeconfig(target: &Target) {
    output::note(format_args!("{}; only `ping` will succeed", missing(target)));
}

/// Context, API server and user of the target.
///
/// # Errors
/// [`Error::Argument`] for a kubeconfig that does not exist or cannot be read, and for an unknown context.
pub(super) fn identity(name: &str, target: &Target) -> Result<Identity, Error> {
    if let Some(file) = target.kubeconfig.as_ref().filter(|file| !file.is_file()) {
        let reason = "does not exist; set KUBECONFIG or --kubeconfig";
        return Err(Error::argument(format!("kubeconfig {}", file.display()), reason));
    }
    Identity::of(name, target).map_err(|error: cluster::Error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let argument = target.context.as_ref().map_or("--kubeconfig".to_owned(), |name| format!("--context {name}"));
        Error::argument(argument, reason)
    })
}

/// Prints which cluster `what` will use, and checks that its API server answers.
///
/// # Errors
/// A context that does not exist, and an API server that does not answer.
pub(super) async fn reached(what: &str, name: &str, target: &Target) -> Result<Identity, Error> {
    let identity = identity(name, target)?;
    output::note(format_args!("{what} {} → {identity}", styled(STRONG, name)));
    let (_, version) = connect(name, target, &identity, ANSWER).await?;
    output::note(styled(QUIET, format_args!("  Kubernetes {version}")));
    Ok(identity)
}

/// The cluster, and its Kubernetes version, if its API server answers requests within `limit`.
///
/// # Errors
/// [`Error::NoCluster`].
pub(super) async fn connect(
    name: &str,
    target: &Target,
    identity: &Identity,
    limit: Duration,
) -> Result<(Arc<Cluster>, String), Error> {
    let clusters = Clusters::new([(name.to_owned(), Target { request_timeout: limit, ..target.clone() })].into());
    let answer = async {
        let cluster = clusters.get(name).await?;
        let version = cluster.version().await?;
        Ok((cluster, version))
    };
    answer.await.map_err(|source| {
        let Identity { context, server, .. } = identity.clone();
        Error::NoCluster { server, context, source: Box::new(source) }
    })
}

/// Whether the cluster may be changed: it is on this machine, `--yes` is set, or the user agrees to `question`. `what`
/// completes "… may change `<cluster>`".
///
/// # Errors
/// [`Error::Unconfirmed`] without a terminal to ask on.
pub(super) fn consent(identity: &Identity, yes: bool, what: &str, question: &str) -> Result<bool, Error> {
    if identity.is_local() || yes {
        return Ok(true);
    }
    if !confirm::can_ask() {
        return Err(Error::Unconfirmed { what: format!("{what} {identity}, which is not on this machine") });
    }
    confirm::ask(&format!("{} is not on this machine. {question}", identity.server))
}
