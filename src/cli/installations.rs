//! `sailhand installations`: the named sets of objects that workers manage in a cluster, from their inventories.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::local::{self, LocalCluster};
use super::output::{self, Format, QUIET, STRONG, styled};
use super::table::{Cell, Table};
use super::{Error, Exit, Global};
use crate::cluster::{self, Clusters};

const EXAMPLES: &str = "\
Examples:
  sailhand installations
  sailhand installations --context kind-dev -o name";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(flatten)]
    cluster: LocalCluster,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

/// One installation.
#[derive(Debug, Serialize)]
struct Installation {
    name: String,
    objects: usize,
    namespaces: BTreeSet<String>,
    /// Fence of the last lease under which it was written.
    fence: u64,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    // Settings such as the namespace of the inventories are those of the only target, if there is one.
    let targets = global.config()?.targets;
    let configured = targets.values().next().filter(|_| targets.len() == 1);
    let target = options.cluster.target(configured);
    let name = "kubeconfig";
    let identity = local::identity(name, &target)?;
    output::note(styled(QUIET, format_args!("reading {identity}")));
    let cluster = Clusters::new([(name.to_owned(), target)].into()).get(name).await?;
    let stored = cluster::stored(&cluster).await?;
    let installations: Vec<Installation> = stored.into_iter().map(installation).collect();
    let format = Format::or_fitting(options.output);
    if !format.list(&installations, |one| one.name.clone())? {
        if installations.is_empty() {
            output::note("no installations");
        } else {
            output::line(table(&installations).text(format))?;
        }
    }
    Ok(Exit::Success)
}

fn installation(stored: cluster::Stored) -> Installation {
    Installation {
        objects: stored.objects.len(),
        namespaces: stored.objects.iter().filter_map(|object| object.namespace.clone()).collect(),
        name: stored.installation,
        fence: stored.fence,
    }
}

fn table(installations: &[Installation]) -> Table {
    let mut table = Table::new(&["INSTALLATION", "OBJECTS", "NAMESPACES"]);
    for one in installations {
        let namespaces: Vec<&str> = one.namespaces.iter().map(String::as_str).collect();
        table.row([
            Cell::styled(STRONG, &one.name),
            Cell::plain(one.objects.to_string()),
            Cell::filling(namespaces.join(", ")),
        ]);
    }
    table
}
