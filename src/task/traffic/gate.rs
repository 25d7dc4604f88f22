//! The health gate of `traffic.apply`: weights move to a canary in steps, while the store's metrics of it are healthy;
//! otherwise they go back. Where it stands is in an annotation of the `VirtualService`, written together with the weights,
//! so that another attempt of the command continues there.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::params::ApplyParams;
use super::spec::{Spec, catches_all};
use crate::event::CommandKey;
use crate::observe::gate::{self, Progress, Reason, Sample, Steps, Thresholds, Verdict};
use crate::observe::promql::{self, Selection, Subject};
use crate::observe::signals::{self, ErrorClass, Key};
use crate::prose::plural;
use crate::task::Error;
use crate::task::connection::store::Store;
use crate::task::health_gate::{Health, round, wrong};

/// Annotation with the progress of a gated change; absent when none is in progress.
pub const ANNOTATION: &str = "sailhand.meshery.io/traffic-gate";
/// Longest time that the steps of a gated change may take, without windows that are repeated.
const LONGEST: Duration = Duration::from_mins(100);

/// Moves weights in steps, while metrics of the canary are healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Metrics, and their thresholds.
    #[serde(flatten)]
    pub health: Health,
    /// The subset whose weight grows and whose metrics decide. It has the label `version`. One rule without `match` sends
    /// requests to it and to one other destination; the weights of this rule are the target.
    #[schemars(length(min = 1, max = 63), regex(pattern = super::params::LABEL))]
    pub canary: String,
    /// Weight that each step adds, percent.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    pub step_percent: u8,
}

const fn ten() -> u8 {
    10
}

/// How a gated change went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateReport {
    /// The store, as messages name it.
    pub store: String,
    /// The subset.
    pub canary: String,
    /// Its weight before the change, percent.
    pub baseline_percent: u8,
    /// Its requested weight, percent.
    pub target_percent: u8,
    /// Its weight now, percent.
    pub weight_percent: u8,
    /// Whether an earlier attempt of the command had started to move weights.
    pub resumed: bool,
    /// The query whose answers decide on errors; that of the latency has the same labels.
    pub query: String,
    /// Observations at each weight, oldest first; at most 200, of this attempt.
    pub observations: Vec<Observation>,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Weight of the canary, percent.
    pub weight_percent: u8,
    /// Requests to the canary in the window; 0 without data.
    pub requests: f64,
    /// Those that failed.
    pub failed: f64,
    /// 99th percentile of their duration, milliseconds; absent without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99_ms: Option<f64>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why there are no data, in the store's words, or that the samples begin within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The annotation's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The command that moves the weights.
    command: String,
    progress: Progress,
}

/// A gated change that is checked: which destination of which rule moves.
pub struct Plan {
    pub gate: Gate,
    pub steps: Steps,
    thresholds: Thresholds,
    pub store: Store,
    rule: usize,
    canary: usize,
    selection: Selection,
    key: Key,
}

impl Plan {
    /// The plan of a command.
    ///
    /// # Errors
    /// A gate that does not fit the rules.
    pub fn of(params: &ApplyParams, gate: &Gate, specs: &[Spec], store: Store) -> Result<Self, Error> {
        let [spec] = specs else {
            return Err(wrong("one service only can be gated, so name `service`, not `scenario`"));
        };
        let (rule, canary, target) = moving(spec, &gate.canary)?;
        let version = spec.subsets.get(&gate.canary).and_then(|labels| labels.get("version"));
        let version = version.ok_or_else(|| {
            wrong(format!(
                "subset {} has no label `version`, by which Istio's metrics distinguish workloads",
                gate.canary
            ))
        })?;
        gate.health.check(u32::from(target.div_ceil(gate.step_percent)) + 1, LONGEST)?;
        let subject = Subject::Service { namespace: params.namespace.to_string(), name: spec.service.clone() };
        let key = Key {
            namespace: params.namespace.to_string(),
            service: spec.service.clone(),
            version: Some(version.clone()),
        };
        Ok(Self {
            steps: Steps { target, step: gate.step_percent, patience: gate.health.patience },
            thresholds: gate.health.thresholds(),
            rule,
            canary,
            selection: Selection::of(&subject, &store.scope),
            store,
            key,
            gate: gate.clone(),
        })
    }

    /// The spec with this weight of the canary.
    pub fn with_weight(&self, spec: &Spec, weight: u8) -> Spec {
        let mut spec = spec.clone();
        for (index, destination) in spec.rules[self.rule].destinations.iter_mut().enumerate() {
            destination.weight = Some(if index == self.canary { weight } else { 100 - weight });
        }
        spec
    }

    /// Where the change stands: continued if the live routes carry the mark of this command, else at the live weight of
    /// the canary, which is 0 without routes of ours.
    pub fn begin(&self, live: Option<&Value>, key: &CommandKey) -> (Progress, bool) {
        let mark = live.and_then(|live| live["metadata"]["annotations"][ANNOTATION].as_str());
        let mark: Option<Mark> = mark.and_then(|text| serde_json::from_str(text).ok());
        let mark = mark.filter(|mark| mark.progress.weight <= 100 && mark.progress.baseline <= 100);
        if let Some(mark) = &mark {
            if mark.command == key.to_string() {
                return (mark.progress.clone(), true);
            }
            // Another command was stopped half way: its baseline is the last known good state.
            let baseline = mark.progress.baseline;
            return (Progress { baseline, weight: baseline, ..Progress::default() }, false);
        }
        let weight = live.map_or(0, |live| live_weight(live, &self.gate.canary));
        (Progress { baseline: weight, weight, ..Progress::default() }, false)
    }

    /// The annotation's value.
    pub fn mark(progress: &Progress, key: &CommandKey) -> String {
        let mark = Mark { command: key.to_string(), progress: progress.clone() };
        serde_json::to_string(&mark).unwrap_or_default()
    }

    /// The query for requests.
    pub fn query(&self) -> String {
        promql::requests(&self.selection, self.gate.health.window_s())
    }

    /// Asks the store about the canary. A store that does not answer gives no data.
    pub async fn observe(&self, weight: u8) -> Observation {
        let (sample, mut reason) = match self.sample().await {
            Ok(sample) => (sample, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut verdict = gate::judge(&self.thresholds, sample.as_ref().map(|(sample, _)| sample));
        if let Some((_, is_full)) = sample {
            verdict = gate::on_window(verdict, is_full);
            let is_short = !is_full && verdict == Verdict::NoData;
            reason = is_short.then(|| {
                let window = self.gate.health.window_s();
                format!("no sample of {} is older than the window of {window} s", self.key.service)
            });
        }
        let seen = sample.map(|(sample, _)| sample).unwrap_or_default();
        Observation {
            weight_percent: weight,
            requests: round(seen.requests),
            failed: round(seen.failed),
            latency_p99_ms: seen.latency_p99_ms.map(round),
            verdict,
            reason,
        }
    }

    /// What the store has of the canary, and whether it has samples of its service for the whole window.
    async fn sample(&self) -> Result<Option<(Sample, bool)>, Error> {
        let answer = self.store.query(&self.query(), None).await?;
        let traffic = signals::traffic(&answer, true, ErrorClass::Server);
        let Some((_, traffic)) = traffic.get(&self.key) else { return Ok(None) };
        let health = &self.gate.health;
        let (requests, failed) = (health.in_window(traffic.rate), health.in_window(traffic.failed));
        let mut sample = Sample { requests, failed, latency_p99_ms: None };
        if self.thresholds.max_latency_p99_ms.is_some() {
            let answer = self
                .store
                .query(&promql::latency_buckets(&self.selection, true, self.gate.health.window_s()), None)
                .await?;
            let latency = signals::latency(&answer, true, 0.99);
            sample.latency_p99_ms = latency.get(&self.key).map(|(_, value, _)| *value);
        }
        let before = promql::window_start(&self.selection, self.gate.health.window_s());
        let is_full = signals::has_start(&self.store.query(&before, None).await?, promql::START_OF_REQUESTS);
        Ok(Some((sample, is_full)))
    }
}

/// What was seen, for an error: the last observation.
pub fn evidence(reason: Reason, observations: &[Observation]) -> String {
    let Some(last) = observations.last() else { return "nothing was observed".to_owned() };
    let at = format!("at {} %", last.weight_percent);
    match (reason, &last.reason) {
        (Reason::Undecided, Some(reason)) => format!("{at} the store gave no data: {reason}"),
        (Reason::Undecided, None) => {
            format!("{at} only {} in a window, {} failed", plural(last.requests, "request"), last.failed)
        }
        (Reason::Unhealthy, _) => {
            let latency = last.latency_p99_ms.map(|ms| format!(", p99 {ms} ms")).unwrap_or_default();
            format!("{at} {} of {} failed{latency}", last.failed, plural(last.requests, "request"))
        }
    }
}

/// The rule and the destination whose weight moves, and the requested weight.
fn moving(spec: &Spec, canary: &str) -> Result<(usize, usize, u8), Error> {
    let named: Vec<usize> = (0..spec.rules.len())
        .filter(|index| spec.rules[*index].destinations.iter().any(|one| one.subset.as_deref() == Some(canary)))
        .filter(|index| catches_all(&spec.rules[*index]))
        .collect();
    let [rule] = named[..] else {
        return Err(wrong(format!("exactly one rule without `match` has to send requests to subset {canary}")));
    };
    let destinations = &spec.rules[rule].destinations;
    if destinations.len() != 2 {
        return Err(wrong(
            "that rule needs two destinations: the canary, and the one it replaces (weight 0 is allowed)",
        ));
    }
    let index = usize::from(destinations[0].subset.as_deref() != Some(canary));
    let target = destinations[index].weight.unwrap_or(0);
    Ok((rule, index, target))
}

/// Weight of a subset in the live routes; the largest of all routes without `match`.
fn live_weight(live: &Value, subset: &str) -> u8 {
    let routes = live["spec"]["http"].as_array().into_iter().flatten().filter(|route| route["match"].is_null());
    let weights = routes.flat_map(|route| route["route"].as_array().into_iter().flatten()).filter_map(|one| {
        let is_subset = one["destination"]["subset"] == subset;
        is_subset.then(|| one["weight"].as_u64().unwrap_or(100))
    });
    weights.max().and_then(|weight| u8::try_from(weight).ok()).unwrap_or(0).min(100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn live_weight_is_that_of_the_route_for_all_requests() {
        let route = |weights: [u64; 2]| {
            json!({"route": [
            {"destination": {"host": "a", "subset": "v1"}, "weight": weights[0]},
            {"destination": {"host": "a", "subset": "v2"}, "weight": weights[1]}]})
        };
        let mut matched = route([0, 100]);
        matched["match"] = json!([{"headers": {}}]);
        assert_eq!(live_weight(&json!({"spec": {"http": [matched, route([70, 30])]}}), "v2"), 30);
        assert_eq!(
            live_weight(&json!({"spec": {"http": [{"route": [{"destination": {"subset": "v2"}}]}]}}), "v2"),
            100
        );
        assert_eq!(live_weight(&json!({"spec": {"http": []}}), "v2"), 0);
    }

    #[test]
    fn mark_carries_the_progress_to_another_attempt() {
        let key = CommandKey::new("/a", "1");
        let progress = Progress { baseline: 5, weight: 40, bad: 1, undecided: 2 };
        let mark: Mark = serde_json::from_str(&Plan::mark(&progress, &key)).unwrap();
        assert_eq!((mark.command, mark.progress), (key.to_string(), progress));
    }
}
