//! `connection.watch`: publishes the metrics stores and Grafanas of a cluster, and then what changes, as events, for a
//! while or until it is cancelled. It watches the objects by which servers are found, and asks the servers at an interval. It
//! writes nothing and holds no lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::discover::{self, DiscoverParams};
use super::objects::{Changes, Objects};
use crate::cluster::Cluster;
use crate::observe::changes::{Difference, LOST_AFTER_S, Tracker};
use crate::observe::instance::{Instance, InstanceKind, State};
use crate::prose::plural;
use crate::task::{DURATION, Error, Failure, Limits, Outcome, SlotClass, Task, TaskContext, watches};
use crate::task_event::{Changed, Discovered, Lost, TaskEvent};

/// Servers in one event: about 1 KB each.
const MOST: usize = 100;
/// From the first change of an object to the next discovery, which covers all changes until then.
const COALESCE: Duration = Duration::from_secs(2);
/// From a discovery that lacks a known server to the next one.
const ABSENT: Duration = Duration::from_secs(LOST_AFTER_S);

/// The task.
pub struct Watch;

/// Parameters of `connection.watch`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchParams {
    /// Duration of the watch from its start; at most 24h. If another worker takes it over, it starts again; `expirytime`
    /// bounds it in any case.
    #[serde(default = "watches::ten_minutes")]
    #[schemars(regex(pattern = DURATION))]
    pub duration: String,
    /// Seconds after which each server is asked again. Changes of objects are reported within seconds, except those of kinds
    /// that the worker may list and not watch: these are listed at this interval.
    #[serde(default = "thirty")]
    #[schemars(range(min = 5, max = 3600))]
    pub interval_s: u32,
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

const fn thirty() -> u32 {
    30
}

const fn yes() -> bool {
    true
}

/// Report of `connection.watch`: of its last attempt.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchReport {
    /// Servers when it began.
    pub first: usize,
    /// Servers that were discovered later.
    pub discovered: usize,
    /// Changes.
    pub changed: usize,
    /// Servers that were lost.
    pub lost: usize,
    /// Servers at the end.
    pub servers: usize,
    /// Servers at the end that answer.
    pub connected: usize,
    /// Lists and watches that failed; nothing changes by them.
    pub failed_lists: usize,
}

impl Task for Watch {
    const VERB: &'static str = "connection.watch";
    const SUMMARY: &'static str = "Watches the metrics stores and Grafanas of a cluster and publishes what is discovered, changed and lost as events.";
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
        WatchParams {
            duration: "1h".to_owned(),
            interval_s: thirty(),
            kinds: vec![InstanceKind::Prometheus],
            namespaces: Vec::new(),
            ask: true,
            outside: true,
        }
    }

    async fn run(&self, cx: &TaskContext, params: WatchParams) -> Result<Outcome<WatchReport>, Failure<WatchReport>> {
        let duration = watches::duration(&params.duration)?;
        let begun = Instant::now();
        let interval = Duration::from_secs(params.interval_s.into());
        let WatchParams { kinds, namespaces, ask, outside, .. } = params;
        let params = DiscoverParams { kinds, namespaces, ask, outside };
        let mut watched = Watched::new(cx, params, begun);
        // A stop does not wait for lists or for servers that do not answer.
        let stop = tokio::select! {
            biased;
            stop = cx.guard.stopped() => stop,
            ended = watched.follow(interval, begun + duration) => match ended {
                Ok(()) => return Ok(Outcome::Unchanged(watched.ended())),
                Err(error) => return Err(error.into()),
            },
        };
        Err(Failure { error: stop.into(), report: Some(Outcome::Unchanged(watched.ended())) })
    }
}

struct Watched<'a> {
    cx: &'a TaskContext,
    params: DiscoverParams,
    begun: Instant,
    objects: Objects,
    /// The servers with their last answers, by fingerprint.
    answers: BTreeMap<String, Instance>,
    tracker: Tracker,
    report: WatchReport,
}

impl<'a> Watched<'a> {
    fn new(cx: &'a TaskContext, params: DiscoverParams, begun: Instant) -> Self {
        Self {
            cx,
            params,
            begun,
            objects: Objects::default(),
            answers: BTreeMap::new(),
            tracker: Tracker::default(),
            report: WatchReport::default(),
        }
    }

    /// Publishes the servers, and then what changes, until a time.
    async fn follow(&mut self, interval: Duration, until: Instant) -> Result<(), Error> {
        let cluster = self.cx.cluster().await?;
        // An API server that cannot be reached is a failure, and not an empty cluster.
        cluster.kind("v1", "Service").await?;
        let mut changes = Changes::of(&cluster, interval);
        let (objects, unread) = Objects::first(&mut changes).await;
        self.objects = objects;
        let unread = unread.iter().map(ToString::to_string).collect();
        let instances = self.look(&cluster, true).await;
        self.first(instances, unread).await?;
        let again = self.again(&cluster, &mut changes, interval);
        tokio::time::timeout_at(until, again).await.unwrap_or(Ok(()))
    }

    async fn again(&mut self, cluster: &Arc<Cluster>, changes: &mut Changes, interval: Duration) -> Result<(), Error> {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due: Option<Instant> = None;
        loop {
            let asks = tokio::select! {
                (number, seen) = changes.next() => {
                    match self.objects.take(number, seen) {
                        Ok(true) => due = Some(sooner(due, Instant::now() + COALESCE)),
                        Ok(false) => {}
                        Err(unread) => {
                            self.report.failed_lists += 1;
                            self.cx.step("watch", 0, 0, format!("cannot be read at the moment: {unread}"));
                        }
                    }
                    continue;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => false,
                _ = ticks.tick() => true,
            };
            let instances = self.look(cluster, asks).await;
            let difference = self.tracker.update(self.begun.elapsed().as_secs(), instances);
            // A missing server counts as lost only if it is still missing then.
            due = self.tracker.has_absent().then(|| Instant::now() + ABSENT);
            self.publish(difference).await?;
            self.step();
        }
    }

    /// The servers, with the answers of all of them or of those that were not connected.
    async fn look(&mut self, cluster: &Arc<Cluster>, asks_all: bool) -> Vec<Instance> {
        let instances = discover::selected(&mut self.objects, &self.params);
        if !self.params.ask {
            return instances;
        }
        if asks_all {
            self.answers.clear();
        }
        let instances = discover::ask_all(self.cx, cluster, instances, &self.answers).await;
        self.answers = instances.iter().map(|one| (one.fingerprint.clone(), one.clone())).collect();
        instances
    }

    async fn first(&mut self, instances: Vec<Instance>, unread: Vec<String>) -> Result<(), Error> {
        let difference = self.tracker.update(0, instances);
        self.report.first = difference.discovered.len();
        let mut parts: Vec<_> = difference.discovered.chunks(MOST).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for (number, part) in parts.into_iter().enumerate() {
            let first = number == 0;
            let unread = if first { unread.clone() } else { Vec::new() };
            let discovered = Discovered { first, instances: part.to_vec(), unread };
            self.cx.events.publish(TaskEvent::Discovered(discovered)).await?;
        }
        self.step();
        Ok(())
    }

    async fn publish(&mut self, difference: Difference) -> Result<(), Error> {
        self.report.discovered += difference.discovered.len();
        self.report.changed += difference.changed.len();
        self.report.lost += difference.lost.len();
        for part in difference.lost.chunks(MOST) {
            self.cx.events.publish(TaskEvent::Lost(Lost { instances: part.to_vec() })).await?;
        }
        for part in difference.changed.chunks(MOST) {
            self.cx.events.publish(TaskEvent::Changed(Changed { changes: part.to_vec() })).await?;
        }
        for part in difference.discovered.chunks(MOST) {
            let discovered = Discovered { first: false, instances: part.to_vec(), unread: Vec::new() };
            self.cx.events.publish(TaskEvent::Discovered(discovered)).await?;
        }
        Ok(())
    }

    /// Reports the counts, also to show that the watch continues.
    fn step(&self) {
        let report = &self.report;
        let servers = plural(self.tracker.instances().count(), "server");
        let text = format!(
            "{servers}; {} discovered, {} changed, {} lost since the start",
            report.discovered, report.changed, report.lost
        );
        self.cx.step("watch", 0, 0, text);
    }

    fn ended(&self) -> WatchReport {
        let servers = self.tracker.instances().count();
        let connected = self.tracker.instances().filter(|one| one.state == State::Connected).count();
        WatchReport { servers, connected, ..self.report.clone() }
    }
}

/// The earlier of the time of the next discovery, if it is set, and `at`.
fn sooner(due: Option<Instant>, at: Instant) -> Instant {
    due.map_or(at, |due| due.min(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_published_soon_although_a_missing_server_is_searched_later() {
        let now = Instant::now();
        let (soon, absent) = (now + COALESCE, now + ABSENT);
        assert_eq!(sooner(Some(absent), soon), soon);
        assert_eq!(sooner(None, soon), soon);
        assert_eq!(sooner(Some(now), soon), now, "later changes do not postpone the discovery");
    }
}
