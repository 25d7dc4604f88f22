//! Finds pods and workloads by label, and the services that select them.

use std::sync::Arc;

use super::index::{KeyIndex, Keys};
use super::{Kind, Resource, Selector, Value, View};

/// Search scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within<'a> {
    /// One namespace.
    Namespace(&'a str),
    /// All namespaces.
    Anywhere,
}

/// Kinds of pods and of workloads, which exist even if they are scaled to zero or not running.
pub const WORKLOADS: &[Kind] =
    &[Kind::Pod, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::CronJob];

static PODS: KeyIndex = KeyIndex { name: "pods by label", kinds: &[Kind::Pod], keys: by_label };
static ALL_WORKLOADS: KeyIndex = KeyIndex { name: "workloads by label", kinds: WORKLOADS, keys: by_label };
static SERVICES: KeyIndex = KeyIndex { name: "services by selector", kinds: &[Kind::Service], keys: by_selector };

/// Each pair with and without the namespace, and one key for queries without a pair.
fn by_label(workload: &Resource, keys: &mut Keys<'_>) {
    keys.add(&[]);
    keys.add(&[&workload.namespace]);
    for (key, value) in workload.pod_labels().entries() {
        keys.add(&[key, value.text()]);
        keys.add(&[&workload.namespace, key, value.text()]);
    }
}

/// The first pair is enough as a key: labels that match all pairs contain it.
fn by_selector(service: &Resource, keys: &mut Keys<'_>) {
    match Selector::new(&service.spec()["selector"]).pairs().first() {
        Some((key, value)) => keys.add(&[&service.namespace, key, value]),
        None => keys.add(&[&service.namespace]),
    }
}

impl<'a> View<'a> {
    /// Pods that a selector matches. Needs [`Kind::Pod`].
    pub fn pods<'s>(
        &self,
        within: Within<'_>,
        selector: &'s Selector<'_>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 's
    where
        'a: 's,
    {
        self.matching(&PODS, within, selector)
    }

    /// Pods that a selector matches, and workloads whose template it matches. Needs [`WORKLOADS`].
    pub fn workloads<'s>(
        &self,
        within: Within<'_>,
        selector: &'s Selector<'_>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 's
    where
        'a: 's,
    {
        self.matching(&ALL_WORKLOADS, within, selector)
    }

    /// Whether a selector matches any of [`View::workloads`].
    #[must_use]
    pub fn has_workload(&self, within: Within<'_>, selector: &Selector<'_>) -> bool {
        let index = &ALL_WORKLOADS;
        match (selector.pairs(), within) {
            ([], Within::Anywhere) => self.has_key(index, &[]),
            ([], Within::Namespace(namespace)) => self.has_key(index, &[namespace]),
            ([(key, value)], Within::Anywhere) => self.has_key(index, &[key, value]),
            ([(key, value)], Within::Namespace(namespace)) => self.has_key(index, &[namespace, key, value]),
            _ => self.workloads(within, selector).next().is_some(),
        }
    }

    fn matching<'s>(
        &self,
        index: &'static KeyIndex,
        within: Within<'_>,
        selector: &'s Selector<'_>,
    ) -> impl Iterator<Item = &'a Arc<Resource>> + 's
    where
        'a: 's,
    {
        let found = self.shortest(index, within, selector);
        found.iter().filter(|workload| selector.matches(workload.pod_labels()))
    }

    /// Objects with the rarest pair of the selector.
    fn shortest(&self, index: &'static KeyIndex, within: Within<'_>, selector: &Selector<'_>) -> &'a [Arc<Resource>] {
        let candidates = |key: &str, value: &str| match within {
            Within::Namespace(namespace) => self.peek(index, &[namespace, key, value]),
            Within::Anywhere => self.peek(index, &[key, value]),
        };
        let rarest = selector.pairs().iter().min_by_key(|(key, value)| candidates(key, value).len());
        match (rarest, within) {
            (Some((key, value)), Within::Namespace(namespace)) => self.lookup(index, &[namespace, key, value]),
            (Some((key, value)), Within::Anywhere) => self.lookup(index, &[key, value]),
            (None, Within::Namespace(namespace)) => self.lookup(index, &[namespace]),
            (None, Within::Anywhere) => self.lookup(index, &[]),
        }
    }

    /// Services of a namespace whose selector matches labels, without those that have no selector. Needs
    /// [`Kind::Service`].
    #[must_use]
    pub fn services_selecting(&self, namespace: &str, labels: &Value) -> Vec<&'a Arc<Resource>> {
        let mut found: Vec<&Arc<Resource>> = labels
            .entries()
            .iter()
            .flat_map(|(key, value)| self.lookup(&SERVICES, &[namespace, key, value.text()]))
            .filter(|service| Selector::new(&service.spec()["selector"]).matches(labels))
            .collect();
        found.sort_by(|a, b| (&a.name, &a.cluster).cmp(&(&b.name, &b.cluster)));
        found
    }

    /// Services of a namespace without a selector. Needs [`Kind::Service`].
    #[must_use]
    pub fn services_without_selector(&self, namespace: &str) -> &'a [Arc<Resource>] {
        self.lookup(&SERVICES, &[namespace])
    }
}
