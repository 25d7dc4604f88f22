//! Reads clusters for the analysis.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Options;
use crate::analysis::Rule;
use crate::analysis::source::Reading;
use crate::cli::{Error, output};
use crate::cluster::configuration::{self, Configuration, Unread};
use crate::cluster::{Cluster, Clusters};
use crate::config::{self, Target};

/// What is told of what was not read.
const SHOWN: usize = 5;

/// Adds the objects of each cluster to what was read of files. False if something could not be read; it is told.
pub(super) async fn read(options: &Options, rules: &[&Rule], reading: &mut Reading) -> Result<bool, Error> {
    let contexts: Vec<Option<String>> =
        if options.context.is_empty() { vec![None] } else { options.context.iter().cloned().map(Some).collect() };
    reading.resources.iter_mut().for_each(|resource| resource.default_namespace("default"));
    let several = contexts.len() > 1;
    let mut is_whole = true;
    for context in contexts {
        let (name, cluster) = connect(options, context).await?;
        let mut read = configuration::read(&cluster, rules, options.timeout).await;
        if read.resources.is_empty()
            && let Some(error) = read.unread.iter_mut().find_map(|unread| unread.error.take())
        {
            return Err(Error::Cluster(error));
        }
        tell(&read.unread);
        is_whole &= read.unread.is_empty();
        add(reading, read, &if several { Arc::from(name.as_str()) } else { Arc::default() });
    }
    Ok(is_whole)
}

/// The cluster of a context, with its name.
pub(super) async fn connect(options: &Options, context: Option<String>) -> Result<(String, Arc<Cluster>), Error> {
    let kubeconfig = options.kubeconfig.clone().or_else(config::usual_kubeconfig);
    let name = context.clone().unwrap_or_else(|| "the current context".to_owned());
    let target = Target { kubeconfig, context, ..Target::default() };
    let clusters = Clusters::new(BTreeMap::from([(name.clone(), target)]));
    let cluster = clusters.get(&name).await.map_err(Error::Cluster)?;
    Ok((name, cluster))
}

/// The first few; a slow or closed cluster gives nothing of anything.
fn tell(unread: &[Unread]) {
    for one in unread.iter().take(SHOWN) {
        output::note(format_args!("{} {one}", output::styled(output::BAD, "not read:")));
    }
    if unread.len() > SHOWN {
        output::note(format_args!("  and {} more kinds", unread.len() - SHOWN));
    }
    if !unread.is_empty() {
        output::note(
            "What is not read is not known: findings may be missing, and references may seem to lead nowhere.",
        );
    }
}

fn add(reading: &mut Reading, read: Configuration, cluster: &Arc<str>) {
    reading.resources.extend(read.resources.into_iter().map(|mut resource| {
        resource.cluster = cluster.clone();
        resource
    }));
}
