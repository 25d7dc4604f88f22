//! The health gate of `mesh.upgrade`: its parameters and report, and the metrics of restarted workloads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::restart::Workload;
use super::{Stage, Strategy, UpgradeParams};
use crate::cluster::Cluster;
use crate::mesh::usage;
use crate::observe::envelope::QueryAnswer;
use crate::observe::gate::{Sample, Verdict, judge, judge_workloads};
use crate::observe::promql::{self, Selection, Subject};
use crate::observe::signals;
use crate::prose::plural;
use crate::task::Error;
use crate::task::connection::store::Store;
use crate::task::health_gate::{Health, round, wrong};
use crate::task::mesh::facts::list;

/// Longest time that all windows of an upgrade may take, without those that are repeated.
pub(super) const LONGEST: Duration = Duration::from_hours(10);
/// Workloads that one query names, so that its URL stays below 8 KiB with usual names.
const IN_ONE_QUERY: usize = 40;

/// Restarts workloads only while their metrics are healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeGate {
    /// Metrics, and their thresholds.
    #[serde(flatten)]
    pub health: Health,
}

impl UpgradeGate {
    /// Rejects parameters that exclude a gate.
    pub(super) fn check(&self, params: &UpgradeParams) -> Result<(), Error> {
        let reason = if params.strategy != Strategy::Canary {
            "needs strategy canary: an upgrade in place has no old revision to go back to"
        } else if params.rollback {
            "judges an upgrade, not a rollback"
        } else if params.until.is_some_and(|until| until < Stage::Restart) {
            "needs stage restart or a later one: earlier ones restart nothing"
        } else if params.common.wait.is_zero() {
            "needs a wait: workloads that are not ready cannot be judged"
        } else {
            return self.health.check(1, LONGEST);
        };
        Err(wrong(reason))
    }
}

/// How the gate judged an upgrade.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeGateReport {
    /// The store, as messages name it.
    pub store: String,
    /// Workloads with proxies of the mesh.
    pub workloads: usize,
    /// Those that were restarted for the new revision.
    pub restarted: usize,
    /// Whether an earlier attempt of the command had started the upgrade.
    pub resumed: bool,
    /// Whether tags, namespaces, workloads and gateways are back at the old revision.
    pub went_back: bool,
    /// Workloads that exceeded a threshold before the upgrade. They are restarted and not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<String>,
    /// The query whose answers decide on errors, for the first workloads.
    pub query: String,
    /// What was seen after each batch, oldest first; at most 200, of this attempt.
    pub observations: Vec<UpgradeObservation>,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeObservation {
    /// Workloads that were restarted until then; 0 for the window before the upgrade.
    pub restarted: usize,
    /// Requests to them in the window; 0 without data.
    pub requests: f64,
    /// Those that failed.
    pub failed: f64,
    /// 99th percentile of the duration of all of them, milliseconds; absent without data and if latency is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
    /// A workload that exceeds a threshold by itself, with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<String>,
    /// What it shows.
    pub verdict: Verdict,
    /// Why there are no data, in the store's words; or why nothing had to be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl UpgradeObservation {
    /// As evidence of an error.
    pub(super) fn text(&self) -> String {
        let latency = self.latency_p99_ms.map(|ms| format!(", p99 {ms} ms")).unwrap_or_default();
        let worst = self.worst.as_ref().map(|worst| format!("; {worst}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
        format!(
            "after {}, {} of {} failed{latency}{worst}{reason}",
            plural(self.restarted, "restarted workload"),
            self.failed,
            plural(self.requests, "request")
        )
    }
}

/// Namespace and name of a workload.
pub(super) type Pair = (String, String);

/// Numbers of workloads in one window.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub each: BTreeMap<Pair, Sample>,
    pub all: Sample,
}

impl Measured {
    /// Requests to these workloads.
    pub fn requests<'a>(&self, of: impl Iterator<Item = &'a Pair>) -> f64 {
        of.filter_map(|pair| self.each.get(pair)).map(|sample| sample.requests).sum()
    }

    /// Verdict on the window.
    pub fn judge(&self, health: &Health, restarted: usize) -> UpgradeObservation {
        let samples: Vec<Sample> = self.each.values().copied().collect();
        let (verdict, worst) = judge_workloads(&health.thresholds(), &samples, &self.all);
        let worst = worst.and_then(|index| self.each.iter().nth(index)).map(|((namespace, name), sample)| {
            let latency = sample.latency_p99_ms.map(|ms| format!(", p99 {} ms", round(ms))).unwrap_or_default();
            let (failed, requests) = (round(sample.failed), round(sample.requests));
            format!("{namespace}/{name}: {failed} of {} failed{latency}", plural(requests, "request"))
        });
        UpgradeObservation {
            restarted,
            requests: round(self.all.requests),
            failed: round(self.all.failed),
            latency_p99_ms: self.all.latency_p99_ms.map(round),
            worst,
            verdict,
            reason: None,
        }
    }

    /// Workloads that exceed a threshold by themselves.
    pub fn exceeding(&self, health: &Health) -> BTreeSet<Pair> {
        let thresholds = health.thresholds();
        let is_bad = |sample: &Sample| judge(&thresholds, Some(sample)) == Verdict::Bad;
        self.each.iter().filter(|(_, sample)| is_bad(sample)).map(|(pair, _)| pair.clone()).collect()
    }
}

/// The query for requests, as reports show it.
pub(super) fn query(store: &Store, health: &Health, workloads: &[&Workload]) -> String {
    let first: Vec<Pair> = workloads.iter().take(IN_ONE_QUERY).map(|one| one.pair()).collect();
    promql::requests_to_workloads(&first, &store.scope, health.window_s())
}

/// Services (namespace and name) that select pods of these workloads, each with the workload.
async fn services(cluster: &Cluster, workloads: &[&Workload]) -> Result<BTreeMap<Pair, Pair>, Error> {
    let mut found = BTreeMap::new();
    for service in list(cluster, "v1", "Service", None).await? {
        let selector = &service["spec"]["selector"];
        let text = |key: &str| service["metadata"][key].as_str().unwrap_or_default().to_owned();
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        let selector = json!({ "matchLabels": selector });
        let selected = |one: &&&Workload| {
            one.object.namespace.as_deref() == service["metadata"]["namespace"].as_str()
                && usage::selects(&selector, &one.labels)
        };
        if let Some(workload) = workloads.iter().find(selected) {
            found.insert((text("namespace"), text("name")), workload.pair());
        }
    }
    Ok(found)
}

/// Whether the store has requests of the mesh from before the window that ends at this time (seconds since 1970).
pub(super) async fn has_whole_window(store: &Store, health: &Health, at: i64) -> Result<bool, Error> {
    let query = promql::window_start(&Selection::of(&Subject::Mesh {}, &store.scope), health.window_s());
    Ok(signals::has_start(&store.query(&query, Some(&at.to_string())).await?, promql::START_OF_REQUESTS))
}

/// Asks the store about workloads, at a time (seconds since 1970) or now.
pub(super) async fn ask(
    cluster: &Cluster,
    store: &Store,
    health: &Health,
    workloads: &[&Workload],
    at: Option<i64>,
) -> Result<Measured, Error> {
    let pairs: Vec<Pair> = workloads.iter().map(|one| one.pair()).collect();
    let wanted: BTreeSet<&Pair> = pairs.iter().collect();
    let services = services(cluster, workloads).await?;
    let names: Vec<Pair> = services.keys().cloned().collect();
    let at = at.map(|at| at.to_string());
    let (scope, window) = (&store.scope, health.window_s());
    let asked = async |query: fn(&[Pair], &BTreeMap<String, String>, u64) -> String, of: &[Pair]| {
        let mut answer = QueryAnswer { series: Vec::new(), warnings: Vec::new() };
        for part in of.chunks(IN_ONE_QUERY) {
            answer.series.extend(store.query(&query(part, scope, window), at.as_deref()).await?.series);
        }
        Ok::<_, Error>(answer)
    };
    let requests = asked(|of, scope, window| promql::requests_to_workloads(of, scope, window), &pairs).await?;
    let unreached = asked(|of, scope, window| promql::unreached_requests(of, scope, window), &names).await?;
    let mut measured = Measured::default();
    let mut add = |pair: Pair, traffic: signals::Traffic| {
        let sample = measured.each.entry(pair).or_default();
        sample.requests += health.in_window(traffic.rate);
        sample.failed += health.in_window(traffic.failed);
        measured.all.requests += health.in_window(traffic.rate);
        measured.all.failed += health.in_window(traffic.failed);
    };
    for (pair, traffic) in signals::workload_traffic(&requests) {
        if wanted.contains(&pair) {
            add(pair, traffic);
        }
    }
    for (service, traffic) in signals::unreached_traffic(&unreached) {
        if let Some(pair) = services.get(&service) {
            add(pair.clone(), traffic);
        }
    }
    if health.max_latency_p99_ms.is_some() {
        let mut buckets =
            asked(|of, scope, window| promql::latency_buckets_of_workloads(of, scope, window), &pairs).await?;
        buckets.series.retain(|series| wanted.contains(&signals::workload_of(series)));
        for (pair, (_, latency, _)) in signals::latency_by(&buckets, 0.99, signals::workload_of) {
            if let Some(sample) = measured.each.get_mut(&pair) {
                sample.latency_p99_ms = Some(latency);
            }
        }
        let all = signals::latency_by(&buckets, 0.99, |_| ());
        measured.all.latency_p99_ms = all.get(&()).map(|(_, latency, _)| *latency);
    }
    Ok(measured)
}
