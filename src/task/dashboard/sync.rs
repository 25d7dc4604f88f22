//! Writes a set of items by Grafana's HTTP API. The record of what was written is a ConfigMap of the installation: it is
//! written before the first request, so that a crash leaves no item without a record, and after the last one.

use std::collections::BTreeMap;

use super::api::Grafana;
use super::plan::{Conflict, Entry, Item, Live, Record, Set, State, Step, decide, state};
use super::{ApplyParams, DashboardReport, DataSourceHealth, ItemKind, ItemReport, RemoveParams};
use crate::cluster::apply::apply;
use crate::cluster::{Action, ApplyOptions, Cluster, Family, ObjectsReport};
use crate::task::connection::ConnectionError;
use crate::task::connection::store::Store;
use crate::task::{Error, Failure, Outcome, TaskContext, record};

/// Key of the record in its ConfigMap.
const RECORD: &str = "record.json";

/// One synchronization.
pub struct Sync<'a> {
    pub cx: &'a TaskContext,
    pub cluster: &'a Cluster,
    pub grafana: &'a Store,
    /// The installation, and name of the record's ConfigMap.
    pub name: String,
}

/// What is done to one item, as Grafana has it.
struct Planned<'a> {
    item: &'a Item,
    step: Step,
    live: Option<Live>,
}

/// The record of the items that this target has written by the API; `None` when there are none.
pub async fn read_record(cluster: &Cluster, name: &str) -> Result<Option<Record>, Error> {
    record::read(cluster, name, RECORD).await
}

/// Lines of recorded items that are no longer wanted, in the order of their deletion.
#[derive(Default)]
struct Removal(Vec<ItemReport>);

impl Removal {
    fn lines(&self) -> Vec<ItemReport> {
        self.0.clone()
    }

    /// Marks what will be deleted, as a write in progress. The record is written before the first deletion,
    /// which raises the fence of the installation.
    fn announce(&self, record: &mut Record) {
        for line in self.0.iter().filter(|line| line.action == Action::Deleted) {
            if let Some(entry) = record.get_mut(&line.uid)
                && let Some(version) = entry.version.take()
            {
                entry.base = version;
            }
        }
    }
}

impl Sync<'_> {
    pub async fn apply(
        &self,
        set: Set,
        params: &ApplyParams,
        mut report: DashboardReport,
    ) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
        let api = Grafana::open(self.grafana).await?;
        report.version.clone_from(&api.version);
        let mut record = read_record(self.cluster, &self.name).await?.unwrap_or_default();
        let before = record.clone();
        let permits = (params.adopt, params.force);
        let mut steps = Vec::new();
        let mut folders = BTreeMap::new();
        for item in set.items() {
            self.cx.guard.check()?;
            let live = api.find(item.kind, &item.uid).await?;
            folders.extend(live.as_ref().and_then(|live| live.folder.clone()).map(|folder| (item.uid.clone(), folder)));
            let step = self.decided(item, record.get(&item.uid), live.as_ref(), permits)?;
            if step == Step::Keep
                && let (Some(entry), Some(live)) = (record.get_mut(&item.uid), &live)
            {
                entry.version = Some(live.version); // of a write whose answer was lost
            }
            steps.push(Planned { item, step, live });
        }
        let wanted: Vec<&str> = set.items().map(|item| item.uid.as_str()).collect();
        let stale: Vec<String> = record.keys().filter(|uid| !wanted.contains(&uid.as_str())).cloned().collect();
        let removal = self.plan_removal(&api, stale, &record, folders, params.force).await?;
        if params.dry_run {
            report.items = steps.iter().map(|one| one.item.report(action(one.step), None)).collect();
            report.items.extend(removal.lines());
            return Ok(Outcome::Unchanged(report));
        }
        for Planned { item, step, .. } in &steps {
            let base = match step {
                Step::Keep | Step::Use => continue,
                Step::Create => 0,
                Step::Update(version) => *version,
            };
            let entry = Entry { kind: item.kind, title: item.title.clone(), sent: item.sent(), version: None, base };
            record.insert(item.uid.clone(), entry);
        }
        removal.announce(&mut record);
        let mut done = ObjectsReport::default();
        if record != before {
            done = self.write_record(&record).await?;
        }
        let written = self.write_all(&api, &steps, (&before, permits), &mut record, &mut report).await;
        let removed = match written {
            Ok(()) => self.remove_all(&api, removal, &mut record, &mut report).await,
            Err(error) => Err(error),
        };
        // Also after a failure, to record the versions of the dashboards that were written.
        let recorded = self.write_record(&record).await;
        if let Err(error) = removed.and(recorded.map(|last| done = merged(done.clone(), last))) {
            report.objects = done.objects;
            let changed = report.items.iter().any(|item| item.action.writes());
            return Err(Failure { error, report: Some(Outcome::new(changed, report)) });
        }
        report.objects = done.objects;
        let source = set.data_source.as_ref().map(|item| &item.uid).or(params.data_source_uid.as_ref());
        if let Some(uid) = source {
            let health = api.source_health(uid).await;
            report.data_source = health.map(|(healthy, message)| DataSourceHealth { healthy, message });
        }
        let changed = record != before || report.items.iter().any(|item| item.action.writes());
        Ok(Outcome::new(changed, report))
    }

    async fn write_all(
        &self,
        api: &Grafana<'_>,
        steps: &[Planned<'_>],
        (before, permits): (&Record, (bool, bool)),
        record: &mut Record,
        report: &mut DashboardReport,
    ) -> Result<(), Error> {
        for (index, Planned { item, step, live }) in steps.iter().enumerate() {
            self.cx.step("apply", index, steps.len(), format!("{} {}", item.kind.as_str(), item.title));
            self.cx.guard.check()?;
            let replaces = match step {
                Step::Keep | Step::Use => {
                    report.items.push(item.report(Action::Unchanged, None));
                    continue;
                }
                Step::Create => None,
                Step::Update(_) => live.as_ref(),
            };
            let version = match api.write(item, replaces).await? {
                Some(version) => version,
                None => self.write_again(api, item, before.get(&item.uid), permits).await?,
            };
            if let Some(entry) = record.get_mut(&item.uid) {
                entry.version = Some(version);
            }
            report.items.push(item.report(action(*step), None));
        }
        Ok(())
    }

    /// Another user has written the item since it was read: it is read and judged once more.
    async fn write_again(
        &self,
        api: &Grafana<'_>,
        item: &Item,
        entry: Option<&Entry>,
        permits: (bool, bool),
    ) -> Result<i64, Error> {
        let live = api.find(item.kind, &item.uid).await?;
        let replaces = match self.decided(item, entry, live.as_ref(), permits)? {
            Step::Keep | Step::Use => return Ok(live.map_or(1, |live| live.version)),
            Step::Create => None,
            Step::Update(_) => live.as_ref(),
        };
        self.cx.guard.check()?;
        match api.write(item, replaces).await? {
            Some(version) => Ok(version),
            None => Err(self.conflict(item, Conflict::Edited, live.as_ref())),
        }
    }

    /// Decides what of `uids` is deleted. `leaving` has dashboards that move to another folder, with their folder.
    async fn plan_removal(
        &self,
        api: &Grafana<'_>,
        uids: Vec<String>,
        record: &Record,
        mut leaving: BTreeMap<String, String>,
        force: bool,
    ) -> Result<Removal, Error> {
        let mut removal = Removal::default();
        // Dashboards first: they are in the folder and use the data source.
        for kind in [ItemKind::Dashboard, ItemKind::DataSource, ItemKind::Folder] {
            for uid in &uids {
                let Some(entry) = record.get(uid).filter(|entry| entry.kind == kind) else { continue };
                self.cx.guard.check()?;
                let live = api.find(kind, uid).await?;
                let reason = match &live {
                    Some(live) => self.reason_to_stay(api, (uid, entry, live), &leaving, force).await?,
                    None => None,
                };
                let action = match (&live, &reason) {
                    (None, _) => Action::Absent,
                    (Some(_), Some(_)) => Action::Skipped,
                    (Some(live), None) => {
                        if kind == ItemKind::Dashboard {
                            leaving.insert(uid.clone(), live.folder.clone().unwrap_or_default());
                        }
                        Action::Deleted
                    }
                };
                let title = entry.title.clone();
                removal.0.push(ItemReport { kind, uid: uid.clone(), title, path: None, action, reason });
            }
        }
        Ok(removal)
    }

    /// Why an item is not deleted; none when it is.
    async fn reason_to_stay(
        &self,
        api: &Grafana<'_>,
        (uid, entry, live): (&str, &Entry, &Live),
        leaving: &BTreeMap<String, String>,
        force: bool,
    ) -> Result<Option<String>, Error> {
        match entry.kind {
            ItemKind::Folder => {
                let ours = leaving.values().filter(|folder| *folder == uid).count();
                let other = api.content(uid).await? > ours;
                Ok(other.then(|| "the folder has other content".to_owned()))
            }
            _ if live.read_only => Ok(Some("it is provisioned from files now".to_owned())),
            _ if force => Ok(None),
            _ if state(entry, live, &live.body) == State::Edited => {
                Ok(Some(format!("it was edited{}; set force to delete it", live.edited.as_deref().unwrap_or_default())))
            }
            ItemKind::DataSource => {
                let user = api.user_of(uid, leaving).await?;
                Ok(user.map(|user| format!("{user} uses it; set force to delete it")))
            }
            ItemKind::Dashboard => Ok(None),
        }
    }

    async fn remove_all(
        &self,
        api: &Grafana<'_>,
        removal: Removal,
        record: &mut Record,
        report: &mut DashboardReport,
    ) -> Result<(), Error> {
        for line in removal.0 {
            match line.action {
                Action::Deleted => {
                    self.cx.guard.check()?;
                    api.delete(line.kind, &line.uid).await?;
                    record.remove(&line.uid);
                }
                Action::Absent => drop(record.remove(&line.uid)),
                _ => {}
            }
            report.items.push(line);
        }
        Ok(())
    }

    pub async fn remove(
        &self,
        mut record: Record,
        params: &RemoveParams,
        mut report: DashboardReport,
    ) -> Result<Outcome<DashboardReport>, Failure<DashboardReport>> {
        let api = Grafana::open(self.grafana).await?;
        report.version.clone_from(&api.version);
        let before = record.clone();
        let uids: Vec<String> = record.keys().cloned().collect();
        let removal = self.plan_removal(&api, uids, &record, BTreeMap::new(), params.force).await?;
        if params.dry_run {
            report.items = removal.lines();
            return Ok(Outcome::Unchanged(report));
        }
        removal.announce(&mut record);
        if record != before {
            self.write_record(&record).await?;
        }
        let removed = self.remove_all(&api, removal, &mut record, &mut report).await;
        if removed.is_ok() && record.is_empty() {
            return super::remove_objects(self.cx, &self.name, false, &report).await;
        }
        let recorded = self.write_record(&record).await;
        let changed = record != before;
        let outcome = |report| Outcome::new(changed, report);
        match removed.and(recorded) {
            Ok(done) => Ok(outcome(DashboardReport { objects: done.objects, ..report })),
            Err(error) => Err(Failure { error, report: Some(outcome(report)) }),
        }
    }

    async fn write_record(&self, record: &Record) -> Result<ObjectsReport, Error> {
        let object = record::object(self.cluster, &self.name, RECORD, record);
        let options = ApplyOptions {
            family: Family::Dashboard,
            create_namespace: true,
            prune: true,
            generation: self.cx.generation,
            ..ApplyOptions::default()
        };
        let (guard, progress) = (&self.cx.guard, self.cx.progress.as_ref());
        apply(self.cluster, &self.name, vec![object], &options, guard, progress)
            .await
            .map_err(|failure| failure.0.into())
    }

    fn decided(
        &self,
        item: &Item,
        entry: Option<&Entry>,
        live: Option<&Live>,
        permits: (bool, bool),
    ) -> Result<Step, Error> {
        decide(item, entry, live, permits).map_err(|conflict| self.conflict(item, conflict, live))
    }

    fn conflict(&self, item: &Item, conflict: Conflict, live: Option<&Live>) -> Error {
        let address = self.grafana.address.clone();
        let title = live.map_or(&item.title, |live| &live.title);
        let object = format!("{} {title:?} (uid {})", item.kind.as_str(), item.uid);
        let error = match conflict {
            Conflict::Foreign => ConnectionError::ForeignObject { address, object },
            Conflict::Provisioned => ConnectionError::FileProvisioned { address, object },
            Conflict::Edited => {
                let by = live.and_then(|live| live.edited.clone()).unwrap_or_default();
                ConnectionError::EditedObject { address, object, by }
            }
        };
        error.into()
    }
}

const fn action(step: Step) -> Action {
    match step {
        Step::Keep | Step::Use => Action::Unchanged,
        Step::Create => Action::Created,
        Step::Update(_) => Action::Configured,
    }
}

/// One line for the record, that of the write that did most.
fn merged(first: ObjectsReport, last: ObjectsReport) -> ObjectsReport {
    if first.changed() && !last.changed() || first.objects.iter().any(|object| object.action == Action::Created) {
        return first;
    }
    last
}
