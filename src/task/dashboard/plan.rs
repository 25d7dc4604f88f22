//! The wanted items of a Grafana, the record of those that this target has written, and the decision about each. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApplyParams, ItemKind, ItemReport, digest};
use crate::cluster::Action;
use crate::observe::dashboard::{DashboardName, Settings, dashboard, queries_of};
use crate::task::connection::store::Store;

/// One item that a Grafana is to have.
#[derive(Debug, Clone)]
pub struct Item {
    pub kind: ItemKind,
    pub uid: String,
    pub title: String,
    /// Uid of the folder; dashboards only.
    pub folder: Option<String>,
    /// Folder, data source or dashboard as Grafana's API takes it.
    pub body: Value,
}

impl Item {
    /// Digest of what is sent. Grafana fills and migrates what it stores, so the stored text is not compared.
    pub fn sent(&self) -> String {
        digest(&[&self.body.to_string(), self.folder.as_deref().unwrap_or_default()])
    }

    pub fn report(&self, action: Action, reason: Option<&str>) -> ItemReport {
        ItemReport {
            kind: self.kind,
            uid: self.uid.clone(),
            title: self.title.clone(),
            path: (self.kind == ItemKind::Dashboard).then(|| format!("/d/{}", self.uid)),
            action,
            reason: reason.map(str::to_owned),
        }
    }
}

/// All items of a command.
pub struct Set {
    pub folder: Item,
    /// None where an existing one is used.
    pub data_source: Option<Item>,
    pub dashboards: Vec<(DashboardName, Item)>,
    pub warnings: Vec<String>,
}

impl Set {
    /// Uids are of the target and the connections, so that several targets can share one Grafana.
    pub fn new(target: &str, params: &ApplyParams, prometheus: &Store) -> Self {
        let owner = &digest(&[target, &params.grafana])[..8];
        let made = format!("sailhand-{}", &digest(&[target, &params.grafana, &params.prometheus])[..8]);
        let source = params.data_source_uid.as_ref().unwrap_or(&made);
        let data_source = params.data_source_uid.is_none().then(|| data_source(target, &made, params, prometheus));
        let wanted = if params.dashboards.is_empty() { DashboardName::ALL.to_vec() } else { params.dashboards.clone() };
        let folder = folder(&params.folder);
        let mut dashboards = BTreeMap::new();
        for name in wanted {
            let uid = format!("sailhand-{}-{owner}", name.as_str());
            let settings = Settings { uid: &uid, data_source: Some(source), scope: &prometheus.scope };
            let body = dashboard(name, settings);
            let title = name.title().to_owned();
            let item = Item { kind: ItemKind::Dashboard, uid, title, folder: Some(folder.uid.clone()), body };
            dashboards.insert(name, item);
        }
        let mut warnings = Vec::new();
        if data_source.is_some() && prometheus.has_credential() {
            warnings.push(format!(
                "{} wants a credential, which is not passed to Grafana: complete the data source in Grafana, or name one \
                 with data_source_uid",
                prometheus.address
            ));
        }
        Self { folder, data_source, dashboards: dashboards.into_iter().collect(), warnings }
    }

    /// Folder first, because dashboards are in it; the data source before the dashboards that use it.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        let dashboards = self.dashboards.iter().map(|(_, item)| item);
        std::iter::once(&self.folder).chain(&self.data_source).chain(dashboards)
    }

    pub fn reported(&self, action: Action, reason: Option<&str>) -> Vec<ItemReport> {
        self.items().map(|item| item.report(action, reason)).collect()
    }
}

fn folder(title: &str) -> Item {
    let slug: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let uid = format!("sailhand-{}-{}", &slug[..slug.len().min(20)], &digest(&[title])[..8]);
    let body = json!({"uid": uid, "title": title});
    Item { kind: ItemKind::Folder, uid, title: title.to_owned(), folder: None, body }
}

/// `isDefault` is never set, because making a data source the default takes that from another one.
fn data_source(target: &str, uid: &str, params: &ApplyParams, prometheus: &Store) -> Item {
    let name = format!("Istio {target} {}", params.prometheus);
    let mut body = json!({
        "uid": uid, "name": name, "type": "prometheus", "access": "proxy", "url": prometheus.url(),
        "jsonData": {"httpMethod": "GET"},
    });
    if let Some(interval) = params.scrape_interval_s {
        body["jsonData"]["timeInterval"] = format!("{interval}s").into();
    }
    Item { kind: ItemKind::DataSource, uid: uid.to_owned(), title: name, folder: None, body }
}

/// The record of a written item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub kind: ItemKind,
    pub title: String,
    /// [`Item::sent`] of the last write.
    pub sent: String,
    /// Version that Grafana gave it; none while a write is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Version before the write that is in progress; 0 when there was none.
    #[serde(default)]
    pub base: i64,
}

/// Entries by uid.
pub type Record = BTreeMap<String, Entry>;

/// An item as Grafana has it.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Version; 1 for kinds that have none.
    pub version: i64,
    pub title: String,
    /// Whether the API refuses to change it.
    pub read_only: bool,
    /// Who changed it and when, as ` by ann at 2026-11-28T16:00:00Z`.
    pub edited: Option<String>,
    /// Uid of the folder; dashboards only.
    pub folder: Option<String>,
    pub body: Value,
    /// Metadata of a resource below `/apis`; null for items of `/api`.
    pub metadata: Value,
}

/// The planned action for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// As wanted.
    Keep,
    /// There, and not ours; it is used and never changed. Folders only.
    Use,
    Create,
    /// Replace this version.
    Update(i64),
}

/// Why an item must not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// No record of it.
    Foreign,
    /// Another version than the recorded one.
    Edited,
    /// From files.
    Provisioned,
}

/// Decides about one item.
///
/// # Errors
/// A [`Conflict`] that neither `adopt` nor `force` permits.
pub fn decide(
    item: &Item,
    entry: Option<&Entry>,
    live: Option<&Live>,
    (adopt, force): (bool, bool),
) -> Result<Step, Conflict> {
    let Some(live) = live else { return Ok(Step::Create) };
    if item.kind == ItemKind::Folder {
        return Ok(if entry.is_some() { Step::Keep } else { Step::Use });
    }
    if live.read_only {
        return Err(Conflict::Provisioned);
    }
    match entry {
        None if adopt => Ok(Step::Update(live.version)),
        None => Err(Conflict::Foreign),
        Some(entry) => match state(entry, live, &item.body) {
            State::Ours if entry.sent == item.sent() => Ok(Step::Keep),
            State::Ours | State::Before => Ok(Step::Update(live.version)),
            State::Edited if force => Ok(Step::Update(live.version)),
            State::Edited => Err(Conflict::Edited),
        },
    }
}

/// Whose content a recorded item has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// That of our last write.
    Ours,
    /// That before our last write, which did not arrive.
    Before,
    /// That of another user.
    Edited,
}

/// Compares an item with its entry. `sent` is what was sent, for a write whose answer was lost.
pub fn state(entry: &Entry, live: &Live, sent: &Value) -> State {
    match entry.version {
        Some(version) if version == live.version => State::Ours,
        None if live.version == entry.base => State::Before,
        None if live.version == entry.base + 1 && is_same(&live.body, sent) => State::Ours,
        _ => State::Edited,
    }
}

/// Whether a stored item has the content that was sent: the fields that Grafana leaves as they are.
fn is_same(live: &Value, sent: &Value) -> bool {
    if sent["panels"].is_array() {
        return queries_of(live) == queries_of(sent) && live["title"] == sent["title"];
    }
    ["type", "url", "name"].iter().all(|field| live[field] == sent[field])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let body = json!({"title": "t", "panels": [{"title": "p", "targets": [{"expr": "up"}]}]});
        Item { kind: ItemKind::Dashboard, uid: "u".to_owned(), title: "t".to_owned(), folder: None, body }
    }

    fn entry(version: Option<i64>, base: i64) -> Entry {
        Entry { kind: ItemKind::Dashboard, title: "t".to_owned(), sent: item().sent(), version, base }
    }

    fn live(version: i64) -> Live {
        Live { version, body: item().body, ..Live::default() }
    }

    fn step(entry: Option<&Entry>, live: Option<&Live>) -> Result<Step, Conflict> {
        decide(&item(), entry, live, (false, false))
    }

    #[test]
    fn unchanged_items_remain_and_missing_ones_are_created() {
        assert_eq!(step(Some(&entry(Some(3), 2)), Some(&live(3))), Ok(Step::Keep));
        assert_eq!(step(Some(&entry(Some(3), 2)), None), Ok(Step::Create), "the Grafana lost its storage");
        assert_eq!(step(None, None), Ok(Step::Create));
        let older = Entry { sent: "other".to_owned(), ..entry(Some(3), 2) };
        assert_eq!(step(Some(&older), Some(&live(3))), Ok(Step::Update(3)));
    }

    #[test]
    fn items_of_others_and_edited_items_are_not_overwritten() {
        assert_eq!(step(None, Some(&live(1))), Err(Conflict::Foreign));
        assert_eq!(decide(&item(), None, Some(&live(1)), (true, false)), Ok(Step::Update(1)));
        assert_eq!(step(Some(&entry(Some(3), 2)), Some(&live(4))), Err(Conflict::Edited));
        assert_eq!(decide(&item(), Some(&entry(Some(3), 2)), Some(&live(4)), (false, true)), Ok(Step::Update(4)));
        let files = Live { read_only: true, ..live(1) };
        assert_eq!(decide(&item(), None, Some(&files), (true, true)), Err(Conflict::Provisioned));
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_recognized() {
        assert_eq!(step(Some(&entry(None, 0)), Some(&live(1))), Ok(Step::Keep), "it arrived");
        assert_eq!(step(Some(&entry(None, 2)), Some(&live(2))), Ok(Step::Update(2)), "it did not arrive");
        let mut other = live(3);
        other.body["panels"][0]["targets"][0]["expr"] = "down".into();
        assert_eq!(step(Some(&entry(None, 2)), Some(&other)), Err(Conflict::Edited));
        assert_eq!(step(Some(&entry(None, 2)), Some(&live(4))), Err(Conflict::Edited));
    }
}
