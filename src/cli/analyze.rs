//! `sailhand analyze`: reads configuration and tells what is wrong with it. What needs files only is in
//! [`sailhand_analyze`]; this adds clusters.

mod gaps;
mod live;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sailhand_analyze::{Analysis, Filter, Input};

use live::Gaps;

use super::{Error, Exit};
use crate::clock::Clock;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing at or above --fail-on, 1 something, 2 usage, 6 some of the input was not read.

Examples:
  sailhand analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand analyze -
  sailhand analyze -A ./manifests          # what would be wrong if this were applied
  sailhand analyze -o html ./manifests >findings.html
  sailhand analyze --watch -n shop         # what becomes wrong, what is mended
  sailhand analyze --explain IST0101")]
pub(super) struct Options {
    #[command(flatten)]
    files: sailhand_analyze::FileOptions,
    /// Read a cluster too, all its namespaces; files win over what is there, as if they were applied
    #[arg(short = 'A', long)]
    live: bool,
    /// Go on watching the cluster: tell what becomes wrong (+) and what is mended (-) until it is interrupted
    #[arg(short, long, conflicts_with_all = ["paths", "mesh_config", "mesh_networks", "default_objects", "write_baseline"])]
    watch: bool,
    /// Context in the kubeconfig [default: its current one]; several are read as the clusters of one mesh
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    context: Vec<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Longest time for reading a cluster; what has not come by then is named and left out
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration)]
    timeout: Duration,
}

pub(super) async fn run(options: &Options) -> Result<Exit, Error> {
    let files = &options.files;
    if let Some(exit) = files.answer()? {
        return Ok(exit.into());
    }
    if files.paths.is_empty() && !options.is_live() {
        let reason = "name files or folders to analyse, `-` for standard input, or --live for a cluster";
        return Err(Error::argument("PATH", reason));
    }
    if options.watch {
        let suppressions = sailhand_analyze::suppressions(files)?;
        return watch::run(options, Filter::new(&files.codes)?, suppressions).await;
    }
    let mut analysis = Analysis::read(files)?;
    let all = analysis.rules();
    let gaps =
        if options.is_live() { live::read(options, &all, &mut analysis.reading).await? } else { Gaps::default() };
    let rules = gaps.rules(&all);
    let now = Clock::system().now().unix_timestamp();
    let input = Input { now, is_live: options.is_live(), is_whole: gaps.unread.is_empty() };
    let exit = analysis.report(&rules, input)?;
    gaps::gaps(&gaps, all.len() - rules.len(), &files.namespace);
    Ok(exit.into())
}

/// The explanation of a code of the analysis.
pub(super) fn explain(id: &str) -> Result<Exit, Error> {
    Ok(sailhand_analyze::explain(id)?.into())
}

/// Ids and names of the codes of the analysis, and the ids that Kiali gives them.
pub(super) fn codes() -> Vec<&'static str> {
    let codes = crate::analysis::rules::codes();
    codes.iter().flat_map(|code| [code.id, code.name].into_iter().chain(code.also.iter().copied())).collect()
}

impl Options {
    fn is_live(&self) -> bool {
        self.live || self.watch || self.kubeconfig.is_some() || !self.context.is_empty()
    }
}
