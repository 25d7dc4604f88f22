//! The API below `/apis`, which Grafana has since 12: folders and dashboards are resources as in Kubernetes. Source:
//! Grafana documentation, "New API structure", "Dashboard HTTP API" and "Folder HTTP API"; grafana/grafana,
//! `pkg/apimachinery/utils/meta.go` (annotations), `pkg/registry/apis` and `pkg/storage/unified/apistore` (conditions).
//!
//! `metadata.generation` is the version that `/api` shows of the same dashboard, so a record is valid for both APIs. It rises
//! with the content; `metadata.resourceVersion` changes with each write, and an update names the one that it replaces.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Grafana, MOST_SEARCHED, edited, perhaps_used, uses};
use crate::task::Error;
use crate::task::connection::store::Endpoint;
use crate::task::dashboard::ItemKind;
use crate::task::dashboard::plan::{Item, Live};

const DASHBOARDS: Group = Group {
    name: "dashboard.grafana.app",
    kind: "Dashboard",
    resources: "/dashboards",
    versions: [
        ("v1", "/apis/dashboard.grafana.app/v1/namespaces"),
        ("v1beta1", "/apis/dashboard.grafana.app/v1beta1/namespaces"),
    ],
};
const FOLDERS: Group = Group {
    name: "folder.grafana.app",
    kind: "Folder",
    resources: "/folders",
    versions: [
        ("v1", "/apis/folder.grafana.app/v1/namespaces"),
        ("v1beta1", "/apis/folder.grafana.app/v1beta1/namespaces"),
    ],
};

const FOLDER: &str = "grafana.app/folder";
const MESSAGE: &str = "grafana.app/message";
const UPDATED_BY: &str = "grafana.app/updatedBy";
const UPDATED_AT: &str = "grafana.app/updatedTimestamp";
/// Kinds of managers whose objects Grafana does not let others change.
const MANAGERS: [&str; 3] = ["classic-file-provisioning", "repo", "plugin"];
/// Dashboards of one page of a list.
const PAGE: &str = "10";
/// Pages of a list that are read. A server may send pages with fewer dashboards, or without any, and tokens without end.
const MOST_PAGES: usize = 20;

/// An API group, and the versions that the adapter knows, newest first, with the head of their paths. Both have the classic
/// dashboard model.
struct Group {
    name: &'static str,
    kind: &'static str,
    resources: &'static str,
    versions: [(&'static str, &'static str); 2],
}

impl Group {
    /// The newest version that the server offers, from an `APIGroupList`.
    fn offered(&self, groups: &Value) -> Option<Version> {
        let group = groups["groups"].as_array()?.iter().find(|group| group["name"] == self.name)?;
        let offered = group["versions"].as_array()?;
        let is_offered = |name: &str| offered.iter().any(|one| one["version"] == name);
        let (name, head) = self.versions.into_iter().find(|(name, _)| is_offered(name))?;
        Some(Version { name, head })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    name: &'static str,
    /// Path that is followed by a namespace.
    head: &'static str,
}

/// Versions and namespace of a server that offers the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resources {
    dashboards: Version,
    folders: Version,
    /// `default`, `org-<id>` or `stacks-<id>`.
    namespace: String,
}

/// What the server offers below `/apis`; none where it does not offer both groups. A Grafana below 12 answers 404; a proxy
/// may refuse the path or answer with a page.
pub(super) async fn discover(grafana: &Grafana<'_>) -> Result<Option<Resources>, Error> {
    let answer = grafana.store.get("/apis", &[]).await?;
    if answer.status == 429 || answer.status >= 500 {
        grafana.json("GET /apis", &answer)?;
    }
    let groups: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let (Some(dashboards), Some(folders)) = (DASHBOARDS.offered(&groups), FOLDERS.offered(&groups)) else {
        return Ok(None);
    };
    let namespace = namespace(grafana).await?;
    Ok(Some(Resources { dashboards, folders, namespace }))
}

/// The namespace of the credential's organization. The settings of the web pages name it, also in Grafana Cloud.
async fn namespace(grafana: &Grafana<'_>) -> Result<String, Error> {
    let answer = grafana.store.get("/api/frontend/settings", &[]).await?;
    let settings: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if let Some(name) = settings["namespace"].as_str().filter(|name| is_namespace(name)) {
        return Ok(name.to_owned());
    }
    let answer = grafana.store.get("/api/org", &[]).await?;
    let organization = grafana.json("GET /api/org", &answer)?;
    match organization["id"].as_u64() {
        Some(1) => Ok("default".to_owned()),
        Some(id) => Ok(format!("org-{id}")),
        None => Err(grafana.store.not_grafana(&answer)),
    }
}

fn is_namespace(name: &str) -> bool {
    let number = name.strip_prefix("org-").or_else(|| name.strip_prefix("stacks-"));
    let is_number = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    name == "default" || number.is_some_and(is_number)
}

impl Resources {
    const fn group(&self, kind: ItemKind) -> (Group, Version) {
        match kind {
            ItemKind::Folder => (FOLDERS, self.folders),
            _ => (DASHBOARDS, self.dashboards),
        }
    }

    fn endpoint<'a>(&'a self, kind: ItemKind, uid: Option<&'a str>, tail: &'static str) -> Endpoint<'a> {
        let (group, version) = self.group(kind);
        Endpoint::in_namespace(version.head, (&self.namespace, group.resources), uid, tail)
    }

    /// Path of the resources of a kind, for messages.
    fn path(&self, kind: ItemKind) -> String {
        let (group, version) = self.group(kind);
        format!("{}/{}{}", version.head, self.namespace, group.resources)
    }

    /// Endpoint of an item, and its name in messages.
    pub(super) fn item<'a>(&'a self, kind: ItemKind, uid: &'a str) -> (Endpoint<'a>, String) {
        (self.endpoint(kind, Some(uid), ""), format!("{}/<name>", self.path(kind)))
    }

    /// As [`Grafana::write`].
    pub(super) async fn write(
        &self,
        grafana: &Grafana<'_>,
        item: &Item,
        replaces: Option<&Live>,
    ) -> Result<Option<i64>, Error> {
        let (group, version) = self.group(item.kind);
        let body = json!({
            "apiVersion": format!("{}/{}", group.name, version.name),
            "kind": group.kind,
            "metadata": metadata(item, replaces),
            "spec": spec(item),
        });
        // Grafana 12.0 refuses dashboards with an older version of their schema unless asked not to, as its own pages do,
        // and migrates them itself.
        let parameters = [("fieldValidation", "Ignore".to_owned())];
        let (method, endpoint, request) = match replaces {
            Some(_) => (
                Method::PUT,
                self.endpoint(item.kind, Some(&item.uid), ""),
                format!("PUT {}/<name>", self.path(item.kind)),
            ),
            None => (Method::POST, self.endpoint(item.kind, None, ""), format!("POST {}", self.path(item.kind))),
        };
        let answer = grafana.store.send(method, &endpoint, &parameters, Some(&body)).await?;
        if matches!(answer.status, 409 | 412) || (answer.status == 404 && replaces.is_some()) {
            return Ok(None);
        }
        let written = grafana.json(&request, &answer)?;
        Ok(Some(live(&written).version))
    }

    /// As [`Grafana::content`]. While Grafana moves dashboards to its newer storage, several groups count the same ones.
    pub(super) async fn content(&self, grafana: &Grafana<'_>, folder: &str) -> Result<usize, Error> {
        let endpoint = self.endpoint(ItemKind::Folder, Some(folder), "/counts");
        let answer = grafana.store.send(Method::GET, &endpoint, &[], None).await?;
        let counted = grafana.json(&format!("GET {}/<name>/counts", self.path(ItemKind::Folder)), &answer)?;
        let mut most: BTreeMap<&str, u64> = BTreeMap::new();
        for one in counted["counts"].as_array().into_iter().flatten() {
            let count = most.entry(one["resource"].as_str().unwrap_or_default()).or_default();
            *count = one["count"].as_u64().unwrap_or_default().max(*count);
        }
        Ok(usize::try_from(most.values().sum::<u64>()).unwrap_or(usize::MAX))
    }

    /// As [`Grafana::user_of`].
    pub(super) async fn user_of(
        &self,
        grafana: &Grafana<'_>,
        source: &str,
        except: &BTreeMap<String, String>,
    ) -> Result<Option<String>, Error> {
        let request = format!("GET {}", self.path(ItemKind::Dashboard));
        let mut next: Option<String> = None;
        let mut searched = 0;
        for _page in 0..MOST_PAGES {
            let mut parameters = vec![("limit", PAGE.to_owned())];
            parameters.extend(next.take().map(|token| ("continue", token)));
            let endpoint = self.endpoint(ItemKind::Dashboard, None, "");
            let answer = grafana.store.send(Method::GET, &endpoint, &parameters, None).await?;
            let list = grafana.json(&request, &answer)?;
            for one in list["items"].as_array().into_iter().flatten() {
                if one["metadata"]["name"].as_str().is_some_and(|uid| except.contains_key(uid)) {
                    continue;
                }
                searched += 1;
                if searched > MOST_SEARCHED {
                    return Ok(Some(perhaps_used()));
                }
                if uses(&one["spec"], source) {
                    return Ok(Some(format!("dashboard {:?}", live(one).title)));
                }
            }
            match list["metadata"]["continue"].as_str() {
                Some(more) if !more.is_empty() => next = Some(more.to_owned()),
                _ => return Ok(None),
            }
        }
        Ok(Some(format!("perhaps another dashboard, because the list of dashboards has more than {MOST_PAGES} pages,")))
    }
}

/// Metadata of an item to be written. An update sends back labels and annotations, which Grafana would remove otherwise, and
/// the versions that it replaces: 12.0 compares `generation`, later versions `resourceVersion`.
fn metadata(item: &Item, replaces: Option<&Live>) -> Value {
    let mut annotations = Map::new();
    let mut metadata = json!({"name": item.uid});
    if let Some(live) = replaces {
        annotations = live.metadata["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|key, _| key != UPDATED_BY && key != UPDATED_AT);
        for field in ["labels", "resourceVersion", "generation"] {
            if !live.metadata[field].is_null() {
                metadata[field] = live.metadata[field].clone();
            }
        }
    }
    if let Some(folder) = &item.folder {
        annotations.insert(FOLDER.to_owned(), folder.as_str().into());
        annotations.insert(MESSAGE.to_owned(), "sailhand dashboard.apply".into());
    } else if replaces.is_none() {
        // Without it only administrators see a folder at the root; `/api` grants the usual permissions itself.
        annotations.insert("grafana.app/grant-permissions".to_owned(), "default".into());
    }
    metadata["annotations"] = annotations.into();
    metadata
}

/// Content of an item; its uid is metadata here.
fn spec(item: &Item) -> Value {
    let mut spec = item.body.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("uid");
    }
    spec
}

/// A resource of an answer.
pub(super) fn live(body: &Value) -> Live {
    let metadata = &body["metadata"];
    let annotation = |key: &str| metadata["annotations"][key].as_str();
    let is_managed = annotation("grafana.app/managedBy").is_some_and(|kind| MANAGERS.contains(&kind));
    Live {
        version: metadata["generation"].as_i64().unwrap_or(1),
        title: body["spec"]["title"].as_str().unwrap_or_default().to_owned(),
        read_only: is_managed && annotation("grafana.app/managerAllowsEdits") != Some("true"),
        edited: annotation(UPDATED_BY).map(|by| edited(by, annotation(UPDATED_AT))),
        folder: annotation(FOLDER).map(str::to_owned),
        body: body["spec"].clone(),
        metadata: metadata.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(versions: &[&str]) -> Value {
        let versions: Vec<Value> = versions.iter().map(|name| json!({"version": name})).collect();
        json!({"groups": [{"name": "dashboard.grafana.app", "versions": versions}]})
    }

    #[test]
    fn the_newest_known_version_is_used() {
        let name = |versions: &[&str]| DASHBOARDS.offered(&groups(versions)).map(|version| version.name);
        assert_eq!(name(&["v2beta1", "v1beta1", "v1"]), Some("v1"));
        assert_eq!(name(&["v0alpha1", "v1beta1"]), Some("v1beta1"));
        assert_eq!(name(&["v0alpha1", "v1alpha1", "v2"]), None);
        assert_eq!(FOLDERS.offered(&groups(&["v1"])), None);
        assert_eq!(FOLDERS.offered(&Value::Null), None);
    }

    #[test]
    fn namespaces_of_other_forms_are_not_used() {
        for name in ["default", "org-2", "stacks-123456"] {
            assert!(is_namespace(name), "{name}");
        }
        for name in ["", "org-", "org-2/../x", "stacks-1x", "other", "org-123456789012345678901"] {
            assert!(!is_namespace(name), "{name}");
        }
    }

    #[test]
    fn an_update_keeps_labels_and_annotations_of_others() {
        let item = Item {
            kind: ItemKind::Dashboard,
            uid: "u".to_owned(),
            title: "t".to_owned(),
            folder: Some("ours".to_owned()),
            body: json!({"uid": "u", "title": "t"}),
        };
        let body = json!({"metadata": {"name": "u", "generation": 3, "resourceVersion": "17", "labels": {"team": "a"},
            "annotations": {"team/note": "n", "grafana.app/folder": "theirs", "grafana.app/updatedBy": "user:ann"}}});
        let metadata = metadata(&item, Some(&live(&body)));
        assert_eq!(
            metadata,
            json!({"name": "u", "generation": 3, "resourceVersion": "17", "labels": {"team": "a"}, "annotations": {
                "team/note": "n", "grafana.app/folder": "ours", "grafana.app/message": "sailhand dashboard.apply"}})
        );
        assert_eq!(spec(&item), json!({"title": "t"}));
    }

    #[test]
    fn dashboards_of_files_and_repositories_are_read_only_unless_edits_are_allowed() {
        let of = |annotations: Value| live(&json!({"metadata": {"annotations": annotations}})).read_only;
        assert!(of(json!({"grafana.app/managedBy": "classic-file-provisioning"})));
        assert!(of(json!({"grafana.app/managedBy": "repo"})));
        assert!(!of(json!({"grafana.app/managedBy": "repo", "grafana.app/managerAllowsEdits": "true"})));
        assert!(!of(json!({"grafana.app/managedBy": "terraform"})) && !of(json!({})));
    }
}
