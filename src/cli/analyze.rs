//! `sailhand analyze`: analyzes Istio configuration in files and clusters and reports problems. The analysis of files
//! is in [`sailhand_analyze`]; this module adds clusters.

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
Exit codes: 0 no finding at or above --fail-on, 1 findings, 2 usage, 6 part of the input was not read, or it was empty.

Examples:
  sailhand analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand analyze -
  sailhand analyze -A ./manifests          # the cluster with these manifests applied
  sailhand analyze -o html ./manifests >findings.html
  sailhand analyze --diff ./manifests      # what --fix would correct
  sailhand analyze --watch --only-namespace shop  # new and resolved findings
  sailhand analyze --explain IST0101")]
pub(super) struct Options {
    #[command(flatten)]
    files: sailhand_analyze::FileOptions,
    /// Also read a cluster, all its namespaces; files override live objects of the same name, as if they were applied
    #[arg(short = 'A', long, alias = "all-namespaces")]
    live: bool,
    /// Keep watching the cluster: print new (+) and resolved (-) findings until interrupted
    #[arg(short, long, conflicts_with_all = ["paths", "mesh_config", "mesh_networks", "default_objects", "write_baseline", "whole_cluster", "namespace", "fix", "diff"])]
    watch: bool,
    /// Context in the kubeconfig [default: its current one]; several are analyzed as clusters of one mesh
    #[arg(long, value_name = "NAME", value_delimiter = ',', add = super::completions::contexts())]
    context: Vec<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Timeout for reading a cluster; kinds that were not read by then are listed and skipped
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration)]
    timeout: Duration,
}

pub(super) async fn run(options: &Options) -> Result<Exit, Error> {
    let files = &options.files;
    if let Some(exit) = files.answer()? {
        return Ok(exit.into());
    }
    if files.paths.is_empty() && !options.is_live() {
        let reason = "name files or folders to analyze, `-` for standard input, or --live for a cluster";
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
    let input = Input { now, is_live: options.is_live(), is_whole: gaps.unread.is_empty(), clusters: &gaps.clusters };
    let exit = analysis.report(&rules, input)?;
    gaps::gaps(&gaps, all.len() - rules.len(), &files.only_namespace);
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

/// Ids and titles of the codes of the analysis.
pub(super) fn code_titles() -> impl Iterator<Item = (&'static str, &'static str)> {
    crate::analysis::rules::codes().into_iter().map(|code| (code.id, code.title))
}

impl Options {
    fn is_live(&self) -> bool {
        self.live || self.watch || self.kubeconfig.is_some() || !self.context.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;

    #[test]
    fn examples_of_help_are_valid_command_lines() {
        let command = Options::augment_args(Command::new("analyze"));
        let help = command.get_after_help().unwrap().to_string();
        let examples: Vec<&str> =
            help.lines().filter_map(|line| line.split_once("sailhand analyze")).map(|it| it.1).collect();
        assert_eq!(examples.len(), 7, "{help}");
        for example in examples {
            let line = example.split(['#', '>']).next().unwrap_or_default();
            let arguments = std::iter::once("analyze").chain(line.split_whitespace());
            let parsed = command.clone().try_get_matches_from(arguments);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
