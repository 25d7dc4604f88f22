//! `config.watch-analyze`: publishes the findings of a cluster as events, and then each new and each resolved finding, for
//! a duration or until it is cancelled. Writes nothing, so it needs no lease and blocks no other command; it takes one of a
//! worker's slots.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::analyze::{count, finding_report, is_wanted, rules_for};
use super::names::Namespace;
use super::{DURATION, Error, Failure, Limits, Outcome, SlotClass, Task, TaskContext, watches};
use crate::analysis::incremental::Difference;
use crate::analysis::{Finding, Level};
use crate::cluster::configuration::Live;
use crate::prose::plural;
use crate::task_event::{Found, Resolved, TaskEvent};

/// Time for the first lists of the cluster. Kinds that are not listed by then are reported as unread; their findings
/// follow.
const READ: Duration = Duration::from_mins(1);
/// Bytes of findings in one event; a quarter of what a NATS server takes in one message by default.
const MOST: usize = 256 * 1024;
/// Between two signs of life where nothing happens.
const ALIVE: Duration = Duration::from_mins(1);

/// The task `config.watch-analyze`.
pub struct Watch;

/// Parameters of `config.watch-analyze`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchParams {
    /// Duration of the watch from its start; at most 24h. If another worker takes it over, it starts again; `expirytime`
    /// bounds it in any case.
    #[serde(default = "watches::ten_minutes")]
    #[schemars(regex(pattern = DURATION))]
    pub duration: String,
    /// Publish findings of these namespaces only; of all when empty. The same objects are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub namespaces: Vec<Namespace>,
    /// Only findings with these codes. When empty, all codes but `IST0136`, which is reported only on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub codes: Vec<String>,
}

/// Report of `config.watch-analyze`: of its last attempt.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchReport {
    /// Number of objects at the end.
    pub objects: usize,
    /// How many findings there were as it began.
    pub first: usize,
    /// How many were found later.
    pub found: usize,
    /// How many were resolved.
    pub resolved: usize,
    /// Findings of severity `error` in the end.
    pub errors: usize,
    /// Findings of severity `warning` in the end.
    pub warnings: usize,
    /// Findings of severity `info` in the end.
    pub infos: usize,
    /// Kinds that could not be read at the end, with the reason.
    #[serde(default)]
    pub unread: Vec<String>,
}

impl Task for Watch {
    const VERB: &'static str = "config.watch-analyze";
    const SUMMARY: &'static str =
        "Watches a cluster and publishes new and resolved findings of its Istio configuration as events.";
    type Params = WatchParams;
    type Report = WatchReport;
    const SLOT_CLASS: SlotClass = SlotClass::Watch;

    fn limits(&self) -> Limits {
        watches::limits()
    }

    fn installation(&self, _: &WatchParams) -> Option<String> {
        None
    }

    fn example(&self) -> WatchParams {
        WatchParams { duration: "1h".to_owned(), namespaces: vec![Namespace::known("shop")], codes: Vec::new() }
    }

    async fn run(&self, cx: &TaskContext, params: WatchParams) -> Result<Outcome<WatchReport>, Failure<WatchReport>> {
        let duration = watches::duration(&params.duration)?;
        let rules = rules_for(&params.codes)?;
        cx.step("read", 0, 1, "reading the cluster");
        let cluster = cx.cluster().await?;
        let shows = Box::new(move |finding: &Finding| is_wanted(&params.codes, &params.namespaces, finding));
        let begun = tokio::select! {
            biased;
            stop = cx.guard.stopped() => return Err(stop.into()),
            begun = Live::start(cluster, rules, shows, cx.clock, READ) => begun,
        };
        let mut live = begun.map_err(Error::Cluster)?;
        let until = Instant::now() + duration;
        let mut report = WatchReport { first: live.findings().len(), ..WatchReport::default() };
        let first: Vec<Finding> = live.findings().into_iter().cloned().collect();
        publish_found(cx, &first, true, &live.unread()).await?;
        cx.step("watch", 0, 0, said(&report, &live));
        let begun = Instant::now();
        let mut alive = tokio::time::interval_at(begun + ALIVE, ALIVE);
        loop {
            let difference = tokio::select! {
                biased;
                stop = cx.guard.stopped() => {
                    let report = Some(Outcome::Unchanged(ended(report, &live)));
                    return Err(Failure { error: stop.into(), report });
                }
                () = tokio::time::sleep_until(until) => return Ok(Outcome::Unchanged(ended(report, &live))),
                difference = live.next() => difference,
                _ = alive.tick() => {
                    let since = humantime::format_duration(Duration::from_secs(begun.elapsed().as_secs()));
                    cx.step("watch", 0, 0, format!("{}, for {since}", said(&report, &live)));
                    continue;
                }
            };
            let Some(difference) = difference else { return Ok(Outcome::Unchanged(ended(report, &live))) };
            report.found += difference.found.len();
            report.resolved += difference.resolved.len();
            publish(cx, &difference, &live).await?;
            cx.step("watch", 0, 0, said(&report, &live));
        }
    }
}

/// Publishes resolved findings first: consumers of a finding that has moved then end with its new position.
async fn publish(cx: &TaskContext, difference: &Difference, live: &Live) -> Result<(), Error> {
    for part in parts(&difference.resolved) {
        let findings = part.iter().map(finding_report).collect();
        cx.events.publish(TaskEvent::Resolved(Resolved { findings })).await?;
    }
    if !difference.found.is_empty() {
        publish_found(cx, &difference.found, false, &live.unread()).await?;
    }
    Ok(())
}

async fn publish_found(cx: &TaskContext, findings: &[Finding], first: bool, unread: &[String]) -> Result<(), Error> {
    let mut parts = parts(findings);
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    for (number, part) in parts.into_iter().enumerate() {
        let mut codes = BTreeMap::new();
        for finding in part {
            count(finding.code, &mut codes);
        }
        let findings = part.iter().map(finding_report).collect();
        let found =
            Found { first: first && number == 0, more: number < last, findings, codes, unread: unread.to_vec() };
        cx.events.publish(TaskEvent::Found(found)).await?;
    }
    Ok(())
}

/// As many together as fit into an event.
fn parts(findings: &[Finding]) -> Vec<&[Finding]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, finding) in findings.iter().enumerate() {
        let length = finding_report(finding).length();
        if bytes + length > MOST && at > start {
            parts.push(&findings[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    if start < findings.len() {
        parts.push(&findings[start..]);
    }
    parts
}

/// For who follows the command.
fn said(report: &WatchReport, live: &Live) -> String {
    let (objects, findings) = (plural(live.objects(), "object"), plural(live.findings().len(), "finding"));
    format!("{objects}, {findings}; {} found, {} resolved since", report.found, report.resolved)
}

/// With how things stand in the end.
fn ended(mut report: WatchReport, live: &Live) -> WatchReport {
    let findings = live.findings();
    let of = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    report.objects = live.objects();
    (report.errors, report.warnings, report.infos) = (of(Level::Error), of(Level::Warning), of(Level::Info));
    report.unread = live.unread();
    report
}
