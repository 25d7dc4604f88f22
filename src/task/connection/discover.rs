//! `connection.discover`: finds Prometheus-compatible stores and Grafanas of a cluster, and asks them what they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::known::{self, KnownConnection};
use super::listing::Unread;
use super::objects::Objects;
use super::probe;
use super::store::Store;
use crate::cluster::Cluster;
use crate::observe::discovery::discover;
use crate::observe::envelope;
use crate::observe::instance::{Flavor, Instance, InstanceKind, State};
use crate::task::{Error, Failure, Limits, Outcome, Task, TaskContext};

/// Servers that are asked at the same time.
const AT_ONCE: usize = 3;
/// Maximum number of servers that are identified by a request. The others have the state `discovered` with the reason.
const MOST_ASKED: usize = 30;
/// Stores that are asked whether they have what another one lacks.
const MOST_COMPARED: usize = 5;
/// Servers in one report.
const MOST_REPORTED: usize = 200;
/// Endpoint with the version, which also shows the product.
const BUILD_INFO: &str = "/api/v1/status/buildinfo";

/// The task.
pub struct Discover;

/// Parameters of `connection.discover`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverParams {
    /// Kinds to report; both when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub kinds: Vec<InstanceKind>,
    /// Namespaces whose servers are reported; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Whether to ask each server what it is, through the API server's Service proxy, or by port-forward where the worker has
    /// no right to the proxy.
    #[serde(default = "yes")]
    pub ask: bool,
    /// Whether to report servers outside the cluster that other programs are configured with.
    #[serde(default = "yes")]
    pub outside: bool,
}

const fn yes() -> bool {
    true
}

/// Report of `connection.discover`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverReport {
    /// Servers, best score first, at most 200.
    pub instances: Vec<Instance>,
    /// Servers with lower scores that the report leaves out; `namespaces` and `kinds` select fewer.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub omitted: usize,
    /// Connections of the target, by name: those of the worker's configuration, and those that `connection.apply` stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<KnownConnection>,
    /// Kinds that could not be listed, with the reason. What they would show is missing from the scores.
    pub unread: Vec<String>,
}

impl Task for Discover {
    const VERB: &'static str = "connection.discover";
    const SUMMARY: &'static str =
        "Finds Prometheus-compatible stores and Grafanas of a cluster, how to reach them, and which programs use them.";
    type Params = DiscoverParams;
    type Report = DiscoverReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(2), attempts: 3 }
    }

    fn installation(&self, _: &DiscoverParams) -> Option<String> {
        None
    }

    fn example(&self) -> DiscoverParams {
        DiscoverParams { kinds: vec![InstanceKind::Prometheus], namespaces: Vec::new(), ask: true, outside: true }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: DiscoverParams,
    ) -> Result<Outcome<DiscoverReport>, Failure<DiscoverReport>> {
        let cluster = cx.cluster().await?;
        cx.step("plan", 0, 1, "listing Services, pods and the configuration of Kiali, Flagger, Argo Rollouts and KEDA");
        let (mut instances, unread) = servers(cx, &cluster, &params).await?;
        cx.guard.check()?;
        let omitted = instances.len().saturating_sub(MOST_REPORTED);
        instances.truncate(MOST_REPORTED);
        let mut unread = unread.iter().map(ToString::to_string).collect();
        let connections = known::read(&cluster, &instances, &mut unread).await?;
        known::name_outside(&mut instances, &connections);
        Ok(Outcome::Unchanged(DiscoverReport { instances, omitted, connections, unread }))
    }
}

/// The servers that `params` select, best score first, and what could not be listed.
///
/// # Errors
/// When the API server cannot be reached at all.
async fn servers(
    cx: &TaskContext,
    cluster: &Arc<Cluster>,
    params: &DiscoverParams,
) -> Result<(Vec<Instance>, Vec<Unread>), Error> {
    let (mut objects, unread) = Objects::read(cluster).await?;
    let instances = selected(&mut objects, params);
    Ok((if params.ask { ask_all(cx, cluster, instances, &BTreeMap::new()).await } else { instances }, unread))
}

/// The servers that `params` select, best score first. None of them is asked.
pub(super) fn selected(objects: &mut Objects, params: &DiscoverParams) -> Vec<Instance> {
    let mut instances = objects.with(discover);
    instances.retain(|one| is_selected(one, params));
    instances
}

/// Asks the first servers what they are, some at the same time. Those that are `connected` in `known`, by fingerprint, are
/// not asked again.
pub(super) async fn ask_all(
    cx: &TaskContext,
    cluster: &Arc<Cluster>,
    mut instances: Vec<Instance>,
    known: &BTreeMap<String, Instance>,
) -> Vec<Instance> {
    let mut rest = instances.split_off(instances.len().min(MOST_ASKED));
    for one in rest.iter_mut().filter(|one| one.service.is_some() && one.reason.is_none()) {
        one.reason = Some(format!("not asked: a command asks the {MOST_ASKED} servers with the best scores"));
    }
    let total = instances.len();
    let asked = futures::stream::iter(instances.into_iter().enumerate()).map(|(index, instance)| {
        let cluster = cluster.clone();
        let known = known.get(&instance.fingerprint).filter(|known| known.state == State::Connected);
        async move {
            if let Some(known) = known.filter(|_| instance.state != State::Unreachable) {
                let (flavor, version, state) = (known.flavor, known.version.clone(), known.state);
                return Instance { flavor, version, state, reason: known.reason.clone(), ..instance };
            }
            cx.step("plan", index, total, format!("asking {}", instance.fingerprint));
            ask(cluster, instance).await
        }
    });
    let mut all: Vec<Instance> = asked.buffered(AT_ONCE).collect().await;
    all.extend(rest);
    all
}

fn is_selected(one: &Instance, params: &DiscoverParams) -> bool {
    let kind = params.kinds.is_empty() || params.kinds.contains(&one.kind);
    let place = match &one.service {
        Some(service) => params.namespaces.is_empty() || params.namespaces.contains(&service.namespace),
        None => params.outside,
    };
    kind && place
}

/// Identifies one server.
async fn ask(cluster: Arc<Cluster>, mut instance: Instance) -> Instance {
    let Some(service) = instance.service.clone() else { return instance };
    if instance.state == State::Unreachable {
        return instance;
    }
    let store = Store::of_service(cluster, instance.kind, service);
    match probe::ask(&store).await {
        Ok(health) => {
            instance.state = State::Connected;
            instance.reason = None;
            match instance.kind {
                InstanceKind::Prometheus => identify(&store, &mut instance).await,
                InstanceKind::Grafana => instance.version = text(&health["version"]),
            }
        }
        Err(error) => {
            instance.state = probe::state(&error);
            instance.reason = Some(probe::reason(&error));
            if instance.state == State::Connected {
                instance.flavor = Flavor::PrometheusAgent;
            }
        }
    }
    instance
}

/// Version and product of a store, where it states them.
async fn identify(store: &Store, instance: &mut Instance) {
    let Ok(data) = store.data(BUILD_INFO, &[]).await else { return };
    instance.version = text(&data["version"]);
    instance.flavor = flavor(&data).unwrap_or(instance.flavor);
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(|text| envelope::cut(text, 60))
}

/// Whether the store is a `VictoriaMetrics`; false where its answer does not show that.
pub(super) async fn is_victoria_metrics(store: &Store) -> bool {
    store.data(BUILD_INFO, &[]).await.is_ok_and(|data| flavor(&data) == Some(Flavor::VictoriaMetrics))
}

/// Other stores of the cluster that have metrics of Istio, by Service. A store that cannot be asked is left out.
///
/// # Errors
/// When the API server cannot be reached at all.
pub(super) async fn stores_with_istio(cluster: &Arc<Cluster>, than: &Store) -> Result<Vec<String>, Error> {
    let (mut objects, _) = Objects::read(cluster).await?;
    let is_other = |one: &Instance| {
        let same = one.service.as_ref() == than.service();
        one.kind == InstanceKind::Prometheus && one.state != State::Unreachable && !same
    };
    let others = objects.with(discover).into_iter().filter(is_other).filter_map(|one| one.service).take(MOST_COMPARED);
    let asked = futures::stream::iter(others).map(|service| {
        let store = Store::of_service(cluster.clone(), InstanceKind::Prometheus, service);
        async move {
            let answer = store.query("count(istio_build or istio_requests_total)", None).await.ok()?;
            (!answer.series.is_empty()).then(|| store.address.clone())
        }
    });
    Ok(asked.buffered(AT_ONCE).filter_map(std::future::ready).collect().await)
}

/// Product, from [`BUILD_INFO`].
fn flavor(data: &Value) -> Option<Flavor> {
    if data["application"].as_str().is_some_and(|application| application.contains("Mimir")) {
        Some(Flavor::Mimir)
    } else if data["goVersion"].as_str().is_none_or(str::is_empty)
        && data["revision"].as_str().is_none_or(str::is_empty)
    {
        Some(Flavor::VictoriaMetrics)
    } else {
        None // Prometheus and Thanos give the same answer, so the answer does not change what the objects show.
    }
}
