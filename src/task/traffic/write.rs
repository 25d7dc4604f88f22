//! Brings a service's objects about so that no request is lost on the way: what routes name is there before they name
//! it and goes after they no longer do. Judges nothing.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::Value;

use super::gate::ANNOTATION;
use super::live::Found;
use super::params::{ApplyParams, TrafficReport};
use super::spec::Spec;
use super::{MARK, ROUTES, RULE, installation, object_name, objects, reference};
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{Action, ApplyOptions, Cluster, Family, ObjectReport, ObjectsFailure, ObjectsReport, apply};
use crate::guard::Guard;
use crate::task::istio_api::object;
use crate::task::names::Namespace;
use crate::task::{Error, Failure, Outcome, TaskContext};

/// Pause between two writes if every proxy must have the first one before the second. No status reports that: istiod
/// batches changes for 0.1 s and sends them within a second unless it is overloaded.
pub const SETTLE: Duration = Duration::from_secs(2);

/// One command's writes.
pub struct Work<'a> {
    cx: &'a TaskContext,
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    report: TrafficReport,
    wrote: bool,
    guard: Guard,
}

impl<'a> Work<'a> {
    pub fn new(cx: &'a TaskContext, cluster: &'a Cluster, namespace: &'a Namespace, report: TrafficReport) -> Self {
        let guard = cx.guard.clone();
        Self { cx, cluster, namespace, report, wrote: false, guard }
    }

    pub fn done(self) -> Outcome<TrafficReport> {
        Outcome::new(self.wrote, self.report)
    }

    pub fn failed(self, error: Error) -> Failure<TrafficReport> {
        let begun = !self.report.objects.is_empty();
        let outcome = self.done();
        Failure { error, report: begun.then_some(outcome) }
    }

    /// From now on writes continue for `time` although the command was stopped, to restore what it has changed.
    pub fn restore_for(&mut self, time: Duration) {
        self.guard = self.cx.guard.for_cleanup(time);
    }

    pub const fn report(&mut self) -> &mut TrafficReport {
        &mut self.report
    }

    /// Writes the objects of a service. The routes carry `mark` as the annotation of a gated change.
    pub async fn apply(
        &mut self,
        spec: &Spec,
        found: &Found,
        version: &str,
        params: &ApplyParams,
        mark: Option<&str>,
    ) -> Result<(), Error> {
        let rule = objects::destination_rule(spec);
        let routes = objects::virtual_service(spec);
        let options = ApplyOptions {
            family: Family::Traffic,
            namespace: Some(self.namespace.to_string()),
            dry_run: params.dry_run,
            prune: true,
            force: params.force,
            generation: self.cx.generation,
            ..ApplyOptions::default()
        };
        let name = object_name(&spec.service);
        let object = |kind, body: &Value| -> DynamicObject {
            object((version, kind), self.namespace.as_str(), &name, (MARK, spec.service.as_str()), body)
        };
        let set = |rule: Option<&Value>| -> Vec<_> {
            let rule = rule.map(|it| object(RULE, it));
            let routes = routes.as_ref().map(|it| marked(object(ROUTES, it), mark));
            rule.into_iter().chain(routes).collect()
        };
        let live = found.rule.as_ref().filter(|_| !params.dry_run);
        // What old routes name has to outlive them; without routes nothing is named.
        let bridge = live.filter(|_| found.routes.is_some()).and_then(|live| objects::bridge(live, rule.as_ref()));
        let first = bridge.as_ref().or(rule.as_ref());
        if let Some(first) = first.filter(|first| !params.dry_run && objects::adds_subsets(first, live)) {
            // Proxies that know a subset's name and not yet its pods answer 503.
            self.write(spec, vec![object(RULE, first)], &ApplyOptions { prune: false, ..options.clone() }).await?;
            if routes.is_some() {
                self.settle(&spec.service, "proxies take the new subsets before routes name them").await?;
            }
        }
        if bridge.is_some() {
            self.write(spec, set(first), &options).await?;
            self.settle(&spec.service, "proxies take the new routes before the old subsets go").await?;
        }
        self.write(spec, set(rule.as_ref()), &options).await
    }

    async fn write(&mut self, spec: &Spec, set: Vec<DynamicObject>, options: &ApplyOptions) -> Result<(), Error> {
        let installation = installation(self.namespace, &spec.service);
        let (guard, progress) = (&self.guard, &*self.cx.progress);
        let done = apply::apply(self.cluster, &installation, set, options, guard, progress).await;
        self.note(done)
    }

    pub async fn clear(&mut self, service: &str, version: Option<&str>, dry_run: bool) -> Result<(), Error> {
        let installation = installation(self.namespace, service);
        let options = DeleteOptions {
            family: Family::Traffic,
            namespace: Some(self.namespace.to_string()),
            dry_run,
            adopt: false,
            purge: false,
            wait: (!dry_run).then_some(Duration::from_secs(30)),
            generation: self.cx.generation,
        };
        let (cluster, guard, progress) = (self.cluster, &self.cx.guard, &*self.cx.progress);
        if let Some(version) = version.filter(|_| !dry_run)
            && self.ours(version, ROUTES, service, &installation).await?
            && self.ours(version, RULE, service, &installation).await?
        {
            let name = object_name(service);
            let routes = object((version, ROUTES), self.namespace.as_str(), &name, (MARK, service), &Value::Null);
            let done = delete::delete(cluster, &installation, Some(vec![routes]), &options, guard, progress).await;
            self.note(done)?;
            self.settle(service, "proxies forget the routes before the subsets go").await?;
        }
        let done = delete::delete(cluster, &installation, None, &options, guard, progress).await;
        self.note(done)
    }

    async fn ours(&self, version: &str, kind: &str, service: &str, installation: &str) -> Result<bool, Error> {
        let live = self.cluster.get(&reference(version, kind, self.namespace, service)).await?;
        Ok(live.is_some_and(|live| self.cluster.is_member(&live, installation)))
    }

    async fn settle(&self, service: &str, why: &str) -> Result<(), Error> {
        self.cx.step("wait", 0, 0, format!("{service}: {why}"));
        tokio::select! {
            stop = self.guard.stopped() => Err(stop.into()),
            () = self.cx.clock.sleep(SETTLE) => Ok(()),
        }
    }

    fn note(&mut self, done: Result<ObjectsReport, ObjectsFailure>) -> Result<(), Error> {
        let (report, result) = match done {
            Ok(report) => (report, Ok(())),
            Err(failure) => {
                let (error, report) = *failure;
                (report.unwrap_or_default(), Err(error.into()))
            }
        };
        self.wrote |= report.changed() && !self.report.dry_run;
        for line in report.objects {
            note(&mut self.report.objects, line);
        }
        result
    }
}

fn marked(mut routes: DynamicObject, mark: Option<&str>) -> DynamicObject {
    if let Some(mark) = mark {
        routes.metadata.annotations = Some([(ANNOTATION.to_owned(), mark.to_owned())].into());
    }
    routes
}

/// One line for each object, that of the last thing done to it.
fn note(lines: &mut Vec<ObjectReport>, line: ObjectReport) {
    let Some(earlier) = lines.iter_mut().find(|earlier| earlier.object == line.object) else {
        lines.push(line);
        return;
    };
    let stays = matches!(line.action, Action::Unchanged | Action::Absent)
        || (line.action == Action::Configured && earlier.action == Action::Created);
    if !stays {
        *earlier = line;
    }
}
