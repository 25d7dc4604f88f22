//! `sailhand run`: executes one command in this process, without NATS and workers. The engine is that of a worker, on a bus
//! in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::draft::{self, VerbArgs};
use super::local::{self, LocalCluster};
use super::output::{self, CHANGED, Format, STRONG, styled};
use super::watch::{Followed, View};
use super::{Error, Exit, Global, completions, deletions};
use crate::bus::memory::MemoryBus;
use crate::bus::{Bus as _, Cancellation};
use crate::client::{self, Observed};
use crate::clock::Clock;
use crate::cluster::{self, Clusters};
use crate::config::{self, Config, Override};
use crate::event::{CommandDraft, CommandId, ResultData, Target};
use crate::task::Registry;
use crate::telemetry::metrics::Metrics;
use crate::worker::serve::Error as WorkerError;
use crate::worker::{Engine, Settings};

const EXAMPLES: &str = "\
Examples:
  sailhand run mesh.status
  sailhand run mesh.install -p version=1.30.3 --context kind-dev
  sailhand run config.analyze -o yaml

`run` writes as a worker does, but takes no lease on NATS. Do not run it while a worker writes to the same installation.";

/// Name of the target when none is given.
pub(super) const TARGET: &str = "dev";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(flatten)]
    command: VerbArgs,
    /// Target of the configuration, or the name that the inventories record for the cluster
    #[arg(short, long, default_value = TARGET, add = completions::targets())]
    target: String,
    #[command(flatten)]
    cluster: LocalCluster,
    /// Istio's Helm charts: a folder, https:// repository or oci:// registry [default: charts.source of the configuration]
    #[arg(long, value_name = "PLACE", value_hint = clap::ValueHint::DirPath)]
    charts: Option<String>,
    /// Do not ask before a cluster on another machine is changed, or control planes, gateways, namespaces or CRDs are
    /// deleted
    #[arg(short, long)]
    yes: bool,
    /// Write the attachment of the result to a file, such as all findings of config.analyze as JSON
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    attachment: Option<PathBuf>,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let target = draft::target(&options.target)?;
    let draft = options.command.draft()?;
    let process = Process::new(global, &target, &options.cluster, options.charts.as_ref())?;
    let view = View::new(Format::or_fitting(options.output));
    let Some((followed, bus)) = process.confirm_and_execute(draft, options.yes, view).await? else {
        return Ok(Exit::Failed);
    };
    let Followed::Ended(result) = followed else { return Ok(Exit::Interrupted) };
    if let Some(file) = &options.attachment {
        write_attachment(&bus, &result, file)?;
    }
    Ok(result.outcome.into())
}

fn write_attachment(bus: &MemoryBus, result: &ResultData, file: &Path) -> Result<(), Error> {
    let Some(bytes) = client::attachment(result).and_then(|named| bus.attachment(&named.dataref)) else {
        output::note("The result has no attachment: its report is complete.");
        return Ok(());
    };
    std::fs::write(file, &bytes).map_err(|source| Error::local(format!("write {}", file.display()), source))?;
    output::note(format_args!("{} bytes written to {}", bytes.len(), file.display()));
    Ok(())
}

/// This process as the worker of one target.
pub(super) struct Process {
    config: Config,
    target: Target,
    settings: config::Target,
    /// Whether a cluster was named, so that a missing kubeconfig is an error.
    expects_cluster: bool,
}

impl Process {
    /// The target with its settings of the configuration and the credentials of `cluster`.
    ///
    /// # Errors
    /// An invalid configuration.
    pub(super) fn new(
        global: &Global,
        target: &Target,
        cluster: &LocalCluster,
        charts: Option<&String>,
    ) -> Result<Self, Error> {
        let config = global.load([Override::new("charts.source", "--charts", charts.cloned())])?.config;
        let configured = config.targets.get(target.as_str());
        let (settings, expects_cluster) = (cluster.target(configured), cluster.expects(configured));
        Ok(Self { config, target: target.clone(), settings, expects_cluster })
    }

    /// Executes the command after consent. `None` without consent.
    ///
    /// # Errors
    /// An API server that does not answer, a missing confirmation, and an engine that does not start.
    pub(super) async fn confirm_and_execute(
        &self,
        draft: CommandDraft,
        yes: bool,
        view: View,
    ) -> Result<Option<(Followed, MemoryBus)>, Error> {
        draft::encode(&draft, &self.target)?;
        deletions::refuse_unconfirmed(&self.target, &draft, yes)?;
        if self.expects_cluster || local::has_kubeconfig(&self.settings) {
            let what = format!("{} on target", draft.verb);
            let identity = local::reached(&what, self.target.as_str(), &self.settings).await?;
            if writes(&draft) {
                let what = format!("{} may change", draft.verb);
                let question = format!("Execute {}?", styled(STRONG, &draft.verb));
                if !local::consent(&identity, yes, &what, &question)? {
                    output::note("Nothing was done.");
                    return Ok(None);
                }
            }
            let rehearse = async |rehearsal| {
                let (followed, _) = self.execute(rehearsal, View::progress()).await?;
                Ok(match followed {
                    Followed::Ended(result) => Some(*result),
                    Followed::Detached => None,
                })
            };
            let cluster = Some(identity.to_string());
            if !deletions::confirmed(&self.target, &draft, cluster, yes, rehearse).await? {
                output::note("Nothing was done.");
                return Ok(None);
            }
        } else {
            local::note_no_kubeconfig(&self.settings);
        }
        self.execute(draft, view).await.map(Some)
    }

    async fn execute(&self, draft: CommandDraft, mut view: View) -> Result<(Followed, MemoryBus), Error> {
        let clock = Clock::system();
        let clusters = BTreeMap::from([(self.target.to_string(), self.settings.clone())]);
        let clusters = Arc::new(Clusters::new(clusters));
        let settings = Settings {
            worker: format!("run-{}", std::process::id()),
            slots: 2,
            pull_wait: Duration::from_millis(200),
            ack_wait: self.config.bus.ack_wait,
            lease_ttl: self.config.bus.lease_ttl,
            grace: self.config.worker.grace,
        };
        let fence = if writes(&draft) { self.fence(&clusters).await? } else { 1 };
        let bus = MemoryBus::new(clock, settings.ack_wait, settings.lease_ttl).with_fence(fence);
        let registry = Registry::configured(&self.config.charts);
        let engine =
            Engine::new(Arc::new(bus.clone()), registry, clusters, clock, Arc::new(Metrics::default()), settings)
                .map_err(|reason| Error::Worker(WorkerError::Registry { reason }))?;
        let stop = CancellationToken::new();
        let command = CommandId::new(&self.target, &draft.key());
        let mut published = bus.published();
        bus.publish(&self.target, &draft.verb, draft::encode(&draft, &self.target)?);
        let worker = tokio::spawn({
            let stop = stop.clone();
            async move { engine.run(stop).await }
        });
        let followed = follow(&bus, &command, &mut published, &mut view).await;
        stop.cancel();
        let _ = worker.await;
        Ok((followed?, bus))
    }

    /// The highest fence of the installations in the cluster. A command with this fence may write to all of them, and
    /// every later lease of the workers has a higher one.
    async fn fence(&self, clusters: &Clusters) -> Result<u64, Error> {
        let cluster = clusters.get(self.target.as_str()).await.map_err(Error::Cluster)?;
        let stored = cluster::stored(&cluster).await.map_err(Error::Cluster)?;
        Ok(stored.iter().map(|installation| installation.fence).max().unwrap_or_default().max(1))
    }
}

/// Whether the command may write to an installation.
fn writes(draft: &CommandDraft) -> bool {
    let registry = Registry::standard();
    let task = registry.get(&draft.verb);
    let is_dry_run = draft.params["dry_run"] == true;
    !is_dry_run && task.is_none_or(|task| !matches!(task.installation(&draft.params), Ok(None)))
}

/// Shows the events until the result. The first Ctrl-C cancels the command, the second one ends the process.
async fn follow(
    bus: &MemoryBus,
    command: &CommandId,
    published: &mut tokio::sync::watch::Receiver<usize>,
    view: &mut View,
) -> Result<Followed, Error> {
    let mut shown = 0;
    let mut is_cancelled = false;
    loop {
        let events = bus.events();
        for event in events.iter().skip(shown) {
            view.show(&client::observation(command, object(event)?), true)?;
        }
        shown = events.len();
        if let Some(event) = bus.results().get(command) {
            let observation = client::observation(command, object(event)?);
            view.show(&observation, true)?;
            if let Observed::Result(result) = &observation.observed {
                let result = result.clone();
                return Ok(Followed::Ended(result));
            }
            return Ok(Followed::Detached);
        }
        tokio::select! {
            _ = published.changed() => {}
            _ = tokio::signal::ctrl_c() => {
                if is_cancelled {
                    return Ok(Followed::Detached);
                }
                is_cancelled = true;
                let text = "the command before its next write; press Ctrl-C again to end at once";
                view.screen().interrupted(format_args!("{} {text}", styled(CHANGED, "cancelling")));
                bus.control().cancel(Cancellation::from(command));
            }
        }
    }
}

fn object(event: &impl serde::Serialize) -> Result<serde_json::Map<String, Value>, Error> {
    match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Ok(serde_json::Map::new()),
        Err(source) => Err(Error::local("read an event", source.into())),
    }
}
