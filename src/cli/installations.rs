//! `sailhand installations`: the named sets of objects that workers manage in a cluster. Reads the inventories in the
//! cluster, because NATS keeps commands and results for a limited time only.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use super::list::age;
use super::local::{self, LocalCluster};
use super::output::{self, Format, QUIET, STRONG, styled};
use super::table::{Cell, Table};
use super::{Error, Exit, Global, completions};
use crate::cluster::{self, Clusters};
use crate::config::Target;
use crate::suggest;

const EXAMPLES: &str = "\
Reads the inventories (ConfigMaps) in the cluster with your kubeconfig. NATS is not used: it stores commands and
results for a limited time, the cluster has every installation.

Examples:
  sailhand installations
  sailhand installations --context kind-dev -o wide
  sailhand installations -t prod -o name";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Target of the configuration of this machine [default: the only one, else the kubeconfig]
    #[arg(short, long, add = completions::targets())]
    target: Option<String>,
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
    /// Family of verbs that owns it, such as `mesh`.
    owner: String,
    objects: usize,
    /// When its objects were last changed, RFC 3339.
    changed: Option<String>,
    namespaces: BTreeSet<String>,
    /// Target of the worker that wrote it last.
    target: Option<String>,
    /// Fence of the last lease under which it was written.
    fence: u64,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let configured = configured(global, options.target.as_deref())?;
    let target = options.cluster.target(configured.as_ref());
    let name = options.target.as_deref().unwrap_or("kubeconfig");
    let identity = local::identity(name, &target)?;
    output::note(styled(QUIET, format_args!("reading the inventories in {identity}")));
    let cluster = Clusters::new([(name.to_owned(), target)].into()).get(name).await?;
    let stored = cluster::stored(&cluster).await?;
    let installations: Vec<Installation> = stored.into_iter().map(installation).collect();
    let format = Format::or_fitting(options.output);
    if !format.list(&installations, |one| one.name.clone())? {
        if installations.is_empty() {
            output::note("no installations");
        } else {
            output::line(table(&installations, format, OffsetDateTime::now_utc()).text(format))?;
        }
    }
    Ok(Exit::Success)
}

/// The named target of the configuration, or its only one: settings such as the namespace of the inventories are its own.
fn configured(global: &Global, named: Option<&str>) -> Result<Option<Target>, Error> {
    let mut targets = global.config()?.targets;
    let Some(named) = named else { return Ok(if targets.len() == 1 { targets.into_values().next() } else { None }) };
    targets.remove(named).map(Some).ok_or_else(|| {
        let near = suggest::nearest(named, targets.keys().map(String::as_str));
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let reason = format!(
            "not in the configuration of this machine{near}; name the cluster of another target with --context or \
             --kubeconfig"
        );
        Error::argument(format!("--target {named}"), reason)
    })
}

fn installation(stored: cluster::Stored) -> Installation {
    Installation {
        objects: stored.objects.len(),
        namespaces: stored.objects.iter().filter_map(|object| object.namespace.clone()).collect(),
        name: stored.installation,
        owner: stored.family,
        changed: stored.changed,
        target: stored.target,
        fence: stored.fence,
    }
}

fn table(installations: &[Installation], format: Format, now: OffsetDateTime) -> Table {
    let mut header = vec!["INSTALLATION", "OWNER", "OBJECTS", "CHANGED", "NAMESPACES"];
    if format == Format::Wide {
        header.insert(4, "TARGET");
    }
    let mut table = Table::new(&header);
    for one in installations {
        let namespaces: Vec<&str> = one.namespaces.iter().map(String::as_str).collect();
        let mut row = vec![
            Cell::styled(STRONG, &one.name),
            Cell::plain(format!("{}.*", one.owner)),
            Cell::plain(one.objects.to_string()),
            Cell::plain(one.changed.as_deref().map_or_else(String::new, |changed| age(changed, now))),
        ];
        if format == Format::Wide {
            row.push(Cell::plain(one.target.as_deref().unwrap_or_default()));
        }
        row.push(Cell::filling(namespaces.join(", ")));
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_fits_the_terminal() {
        let one = |name: &str, owner: &str, objects, namespaces: &[&str]| Installation {
            name: name.to_owned(),
            owner: owner.to_owned(),
            objects,
            changed: Some("2026-01-01T00:00:00Z".to_owned()),
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            target: Some("dev".to_owned()),
            fence: 7,
        };
        let all =
            [one("istiod-default", "mesh", 21, &["istio-system"]), one("shop", "config", 3, &["cart", "pay", "web"])];
        let now = OffsetDateTime::from_unix_timestamp(1_767_225_600 + 3 * 3600).unwrap();
        let rows = "INSTALLATION    OWNER     OBJECTS  CHANGED  NAMESPACES\n\
                    istiod-default  mesh.*    21       3h       istio-system\n\
                    shop            config.*  3        3h       cart, pay, web";
        for (width, expected) in [
            (140, rows),
            (80, rows),
            (
                40,
                "istiod-default\n  owner: mesh.*\n  objects: 21\n  changed: 3h\n  namespaces: istio-system\n\
                 shop\n  owner: config.*\n  objects: 3\n  changed: 3h\n  namespaces: cart, pay, web",
            ),
        ] {
            let text = anstream::adapter::strip_str(&table(&all, Format::Text, now).within(Some(width))).to_string();
            assert_eq!(text.trim_end(), expected, "{width}");
        }
    }
}
