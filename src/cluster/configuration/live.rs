//! Findings of a cluster that are updated while it changes: watches the kinds that rules read, and runs the rules that a
//! change affects.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::watch::{Seen, follow};
use super::{LATE, WORKLOADS, full_name, lists, secrets};
use crate::analysis::incremental::{Change, Difference, Incremental};
use crate::analysis::{Finding, Kind, ObjectRef, Resource, Rule, Selector};
use crate::clock::Clock;
use crate::cluster::{Cluster, Error};

/// A burst is over when nothing has come for so long, …
const QUIET: Duration = Duration::from_millis(50);
/// … or when it has lasted for so long, or has so many changes.
const LONGEST: Duration = Duration::from_millis(500);
const MOST: usize = 10_000;
/// Interval between lists of Secrets. They are not watched, because a watch would read those that no gateway references.
const SECRETS: Duration = Duration::from_mins(1);
/// For one such reading.
const READ: Duration = Duration::from_secs(20);
/// Between two checks for expired certificates.
const TIME: Duration = Duration::from_mins(10);

/// Findings that an observer requests.
pub type Shows = Box<dyn Fn(&Finding) -> bool + Send + Sync>;

/// A watch.
pub struct Live {
    cluster: Arc<Cluster>,
    clock: Clock,
    incremental: Incremental,
    shows: Shows,
    /// Fingerprints of what an observer knows.
    told: HashSet<String>,
    seen: mpsc::Receiver<Seen>,
    unread: BTreeMap<String, String>,
    has_secrets: bool,
    secrets_due: Instant,
    time_due: Instant,
    /// Ends the watches when this is dropped.
    _watches: JoinSet<()>,
}

impl Live {
    /// Reads what the rules need, waiting for it no longer than `within`, and judges it.
    ///
    /// # Errors
    /// When nothing at all could be read.
    pub async fn start(
        cluster: Arc<Cluster>,
        rules: Vec<&'static Rule>,
        shows: Shows,
        clock: Clock,
        within: Duration,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + within;
        let (lists, has_secrets) = lists(&rules);
        let (to, mut seen) = mpsc::channel(1024);
        let mut open: BTreeMap<Kind, String> = lists.iter().map(|list| (list.kind, list.what())).collect();
        let mut watches = JoinSet::new();
        for list in lists {
            watches.spawn(follow(list, Arc::clone(&cluster), to.clone()));
        }
        let mut objects: BTreeMap<ObjectRef, Resource> = BTreeMap::new();
        let mut unread = BTreeMap::new();
        let mut first_error = None;
        while !open.is_empty() {
            match tokio::time::timeout_at(deadline, seen.recv()).await {
                Ok(Some(Seen::All(kind, resources))) => {
                    open.remove(&kind);
                    objects.retain(|object, _| object.kind != kind);
                    objects.extend(resources.into_iter().map(|resource| (ObjectRef::from(&resource), resource)));
                }
                Ok(Some(Seen::Changed(Change::Put(resource)))) => {
                    objects.insert(ObjectRef::from(&*resource), *resource);
                }
                Ok(Some(Seen::Changed(Change::Delete(object)))) => {
                    objects.remove(&object);
                }
                Ok(Some(Seen::Unread(kind, what, error))) => {
                    open.remove(&kind);
                    unread.insert(what, error.to_string());
                    first_error.get_or_insert(error);
                }
                Ok(None) | Err(_) => break,
            }
        }
        for what in open.into_values() {
            unread.insert(what, LATE.to_owned());
        }
        if objects.is_empty()
            && let Some(error) = first_error
        {
            return Err(error);
        }
        let now = clock.now().unix_timestamp();
        let judge = move || Incremental::new(&rules, objects.into_values().collect(), now);
        let incremental = match tokio::task::spawn_blocking(judge).await {
            Ok(incremental) => incremental,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let (secrets_due, time_due) = (Instant::now(), Instant::now() + TIME);
        let mut this = Self {
            cluster,
            clock,
            incremental,
            shows,
            told: HashSet::new(),
            seen,
            unread,
            has_secrets,
            secrets_due,
            time_due,
            _watches: watches,
        };
        if has_secrets {
            let changes = this.read_secrets().await;
            this.incremental.apply(changes);
        }
        this.told = this.findings().into_iter().map(|one| one.fingerprint.clone()).collect();
        Ok(this)
    }

    /// All findings that are wanted, sorted.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        self.incremental.findings().into_iter().filter(|one| (self.shows)(one)).collect()
    }

    /// How many objects are known.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.incremental.snapshot().len()
    }

    /// Kinds that cannot be read at present, with the reason.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        self.unread.iter().map(|(what, why)| format!("{what}: {why}")).collect()
    }

    /// Waits until something is different for an observer. None when the watches have ended, which they do not by
    /// themselves. What was seen is lost when this is dropped before it ends.
    pub async fn next(&mut self) -> Option<Difference> {
        loop {
            let mut difference = Difference::default();
            tokio::select! {
                seen = self.seen.recv() => {
                    let mut changes = Vec::new();
                    self.take(seen?, &mut changes);
                    self.burst(&mut changes).await;
                    let names_secrets = self.has_secrets && changes.iter().any(|change| self.names_secrets(change));
                    self.apply(changes, &mut difference);
                    if names_secrets {
                        // Reported together with the change of the Gateway; otherwise its Secret would be reported as missing.
                        let changes = self.read_secrets().await;
                        self.apply(changes, &mut difference);
                    }
                }
                () = tokio::time::sleep_until(self.secrets_due), if self.has_secrets => {
                    let changes = self.read_secrets().await;
                    self.apply(changes, &mut difference);
                }
                () = tokio::time::sleep_until(self.time_due) => {
                    self.time_due = Instant::now() + TIME;
                    difference = self.incremental.set_now(self.clock.now().unix_timestamp());
                }
            }
            let difference = self.take_up(difference);
            if !difference.found.is_empty() || !difference.resolved.is_empty() {
                return Some(difference);
            }
        }
    }

    /// Adds what changes bring to what others have brought.
    fn apply(&mut self, changes: Vec<Change>, to: &mut Difference) {
        let then = self.incremental.apply(changes);
        let again: HashSet<&str> =
            then.found.iter().chain(&then.resolved).map(|one| one.fingerprint.as_str()).collect();
        to.found.retain(|one| !again.contains(one.fingerprint.as_str()));
        to.resolved.retain(|one| !again.contains(one.fingerprint.as_str()));
        to.found.extend(then.found);
        to.resolved.extend(then.resolved);
        to.calls += then.calls;
    }

    /// Of a difference what an observer has to know.
    fn take_up(&mut self, difference: Difference) -> Difference {
        let (found, mut resolved): (Vec<_>, Vec<_>) = difference.found.into_iter().partition(|one| (self.shows)(one));
        self.told.extend(found.iter().map(|one| one.fingerprint.clone()));
        resolved.extend(difference.resolved);
        resolved.retain(|one| self.told.remove(&one.fingerprint));
        Difference { found, resolved, calls: difference.calls }
    }

    /// Further changes that follow shortly.
    async fn burst(&mut self, changes: &mut Vec<Change>) {
        let end = Instant::now() + LONGEST;
        while changes.len() < MOST {
            let until = end.min(Instant::now() + QUIET);
            match tokio::time::timeout_at(until, self.seen.recv()).await {
                Ok(Some(seen)) => self.take(seen, changes),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, seen: Seen, changes: &mut Vec<Change>) {
        match seen {
            Seen::Changed(change) => changes.push(change),
            Seen::All(kind, resources) => {
                self.unread.retain(|what, _| !is_of(what, kind));
                self.replace(kind, resources, changes);
            }
            // Known objects stay: a kind that cannot be read may still have them.
            Seen::Unread(_, what, error) => {
                self.unread.insert(what, error.to_string());
            }
        }
    }

    fn replace(&self, kind: Kind, resources: Vec<Resource>, changes: &mut Vec<Change>) {
        let there: BTreeSet<ObjectRef> = resources.iter().map(ObjectRef::from).collect();
        let known = self.incremental.snapshot().of(kind).iter().map(|resource| ObjectRef::from(&**resource));
        changes.extend(known.filter(|object| !there.contains(object)).map(Change::Delete));
        changes.extend(resources.into_iter().map(|resource| Change::Put(Box::new(resource))));
    }

    /// Whether a change may make other Secrets count: one of a Gateway, or a new workload that a Gateway selects.
    fn names_secrets(&self, change: &Change) -> bool {
        let resource = match change {
            Change::Put(resource) => resource,
            Change::Delete(object) => return matches!(object.kind, Kind::Gateway | Kind::KubernetesGateway),
        };
        if matches!(resource.kind, Kind::Gateway | Kind::KubernetesGateway) {
            return true;
        }
        let snapshot = self.incremental.snapshot();
        let selects = |gateway: &Arc<Resource>| {
            let selector = Selector::new(&gateway.spec()["selector"]);
            !selector.is_empty() && selector.matches(resource.pod_labels())
        };
        WORKLOADS.contains(&resource.kind)
            && snapshot.of(Kind::Gateway).iter().any(selects)
            && !snapshot.of(resource.kind).iter().any(|known| ObjectRef::from(&**known) == ObjectRef::from(&**resource))
    }

    async fn read_secrets(&mut self) -> Vec<Change> {
        self.secrets_due = Instant::now() + SECRETS;
        let snapshot = self.incremental.snapshot();
        let known: Vec<&Resource> = [Kind::Gateway, Kind::KubernetesGateway]
            .into_iter()
            .chain(WORKLOADS)
            .flat_map(|kind| snapshot.of(kind))
            .map(|resource| &**resource)
            .collect();
        let read = secrets(&self.cluster, Instant::now() + READ, &known).await;
        self.unread.retain(|what, _| !is_of(what, Kind::Secret));
        let mut changes = Vec::new();
        if read.unread.is_empty() {
            self.replace(Kind::Secret, read.resources, &mut changes);
        } else {
            changes.extend(read.resources.into_iter().map(|resource| Change::Put(Box::new(resource))));
        }
        for one in read.unread {
            let why = one.reason();
            self.unread.insert(one.what, why);
        }
        changes
    }
}

fn is_of(what: &str, kind: Kind) -> bool {
    what.split(' ').next() == Some(full_name(kind).as_str())
}
