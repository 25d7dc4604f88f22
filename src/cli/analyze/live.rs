//! Reads clusters for the analysis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Options;
use crate::analysis::source::Reading;
use crate::analysis::{Kind, Rule, rules};
use crate::cli::output::{self, QUIET, styled};
use crate::cli::{Error, local};
use crate::cluster::configuration::{self, Configuration, Unread};
use crate::cluster::{Cluster, Clusters};
use crate::config::{self, Target};

/// Parts of clusters that were not read.
#[derive(Default)]
pub(super) struct Gaps {
    /// Number of objects.
    pub unread: Vec<Unread>,
    /// Whether some kinds were read only in the requested namespaces.
    pub is_narrow: bool,
    /// Clusters that were read, with context and API server.
    pub clusters: Vec<String>,
}

impl Gaps {
    /// The rules whose input was read completely. A single namespace is treated like files: without the control plane,
    /// missing objects are not reported.
    pub(super) fn rules(&self, rules: &[&'static Rule]) -> Vec<&'static Rule> {
        let unread: BTreeSet<Kind> = self.unread.iter().map(|unread| unread.kind).collect();
        if self.is_narrow { rules.to_vec() } else { rules::without(rules, &unread) }
    }
}

/// Adds the objects of each cluster to those of files.
pub(super) async fn read(options: &Options, rules: &[&Rule], reading: &mut Reading) -> Result<Gaps, Error> {
    let contexts: Vec<Option<String>> =
        if options.context.is_empty() { vec![None] } else { options.context.iter().cloned().map(Some).collect() };
    reading.resources.iter_mut().for_each(|resource| resource.default_namespace("default"));
    let several = contexts.len() > 1;
    let mut gaps = Gaps::default();
    for context in contexts {
        let (name, cluster) = connect(options, context.clone()).await?;
        gaps.clusters.push(
            context.map_or_else(
                || "the cluster of the current context".to_owned(),
                |it| format!("cluster of context {it}"),
            ),
        );
        let mut read = configuration::read(&cluster, rules, options.timeout, &options.files.only_namespace).await;
        if read.resources.is_empty()
            && let Some(error) = read.unread.iter_mut().find_map(|unread| unread.error.take())
        {
            return Err(Error::Cluster(error));
        }
        if read.is_narrow {
            gaps.is_narrow = true;
            read.resources.retain(|it| {
                it.kind != Kind::Namespace || options.files.only_namespace.iter().any(|name| it.name == name)
            });
        }
        gaps.unread.append(&mut read.unread);
        add(reading, read, &if several { Arc::from(name.as_str()) } else { Arc::default() });
    }
    Ok(gaps)
}

/// The cluster of a context, with its name.
pub(super) async fn connect(options: &Options, context: Option<String>) -> Result<(String, Arc<Cluster>), Error> {
    let kubeconfig = options.kubeconfig.clone().or_else(config::usual_kubeconfig);
    let name = context.clone().unwrap_or_else(|| "(current context)".to_owned());
    let target = Target { kubeconfig, context, ..Target::default() };
    let identity = local::identity(&name, &target)?;
    output::note(styled(QUIET, format_args!("reading {identity}")));
    let clusters = Clusters::new(BTreeMap::from([(name.clone(), target)]));
    let cluster = clusters.get(&name).await.map_err(Error::Cluster)?;
    Ok((name, cluster))
}

fn add(reading: &mut Reading, read: Configuration, cluster: &Arc<str>) {
    reading.resources.extend(read.resources.into_iter().map(|mut resource| {
        resource.cluster = cluster.clone();
        resource
    }));
}
