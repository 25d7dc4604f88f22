//! The API below `/api`, which all versions of Grafana have, and which Grafana 13 deprecates. Source: Grafana
//! documentation, "HTTP API", and the models of grafana-openapi-client-go.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::{Grafana, MOST_SEARCHED, edited, perhaps_used, uses};
use crate::task::Error;
use crate::task::connection::store::Endpoint;
use crate::task::dashboard::ItemKind;
use crate::task::dashboard::plan::{Item, Live};

const FOLDERS: &str = "/api/folders";
const SOURCES: &str = "/api/datasources";
pub(super) const SOURCE: &str = "/api/datasources/uid";
const DASHBOARD: &str = "/api/dashboards/uid";

/// Endpoint of an item, and its name in messages.
pub(super) fn item(kind: ItemKind, uid: &str) -> (Endpoint<'_>, String) {
    let path = match kind {
        ItemKind::Folder => FOLDERS,
        ItemKind::DataSource => SOURCE,
        ItemKind::Dashboard => DASHBOARD,
    };
    (Endpoint::with(path, uid, ""), format!("{path}/<uid>"))
}

/// As [`Grafana::write`]; `replaces` is the version that is replaced.
pub(super) async fn write(grafana: &Grafana<'_>, item: &Item, replaces: Option<i64>) -> Result<Option<i64>, Error> {
    let (method, endpoint, request, body) = match (item.kind, replaces) {
        (ItemKind::Folder, _) => (Method::POST, Endpoint::of(FOLDERS), "POST /api/folders", item.body.clone()),
        (ItemKind::DataSource, None) => {
            (Method::POST, Endpoint::of(SOURCES), "POST /api/datasources", item.body.clone())
        }
        (ItemKind::DataSource, Some(version)) => {
            let mut body = item.body.clone();
            body["version"] = version.into();
            (Method::PUT, Endpoint::with(SOURCE, &item.uid, ""), "PUT /api/datasources/uid/<uid>", body)
        }
        (ItemKind::Dashboard, replaces) => {
            let mut dashboard = item.body.clone();
            dashboard["version"] = replaces.unwrap_or(0).into();
            let message = "sailhand dashboard.apply";
            let body =
                json!({"dashboard": dashboard, "folderUid": item.folder, "message": message, "overwrite": false});
            (Method::POST, Endpoint::of("/api/dashboards/db"), "POST /api/dashboards/db", body)
        }
    };
    let answer = grafana.store.send(method, &endpoint, &[], Some(&body)).await?;
    if answer.status == 412 || (answer.status == 409 && item.kind != ItemKind::DataSource) {
        return Ok(None);
    }
    let body = grafana.json(request, &answer)?;
    let version = match item.kind {
        ItemKind::Folder => Some(1),
        ItemKind::DataSource => body["datasource"]["version"].as_i64(),
        ItemKind::Dashboard => body["version"].as_i64(),
    };
    Ok(Some(version.unwrap_or_else(|| replaces.map_or(1, |version| version + 1))))
}

/// As [`Grafana::content`].
pub(super) async fn content(grafana: &Grafana<'_>, folder: &str) -> Result<usize, Error> {
    let endpoint = Endpoint::with(FOLDERS, folder, "/counts");
    let answer = grafana.store.send(Method::GET, &endpoint, &[], None).await?;
    let counts = grafana.json("GET /api/folders/<uid>/counts", &answer)?;
    let counts = counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64());
    Ok(usize::try_from(counts.sum::<u64>()).unwrap_or(usize::MAX))
}

/// As [`Grafana::user_of`].
pub(super) async fn user_of(
    grafana: &Grafana<'_>,
    source: &str,
    except: &BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    let limit = (MOST_SEARCHED + except.len() + 1).to_string();
    let parameters = [("type", "dash-db".to_owned()), ("limit", limit)];
    let answer = grafana.store.get("/api/search", &parameters).await?;
    let found = grafana.json("GET /api/search", &answer)?;
    let uids = found.as_array().into_iter().flatten().filter_map(|one| one["uid"].as_str());
    let others: Vec<&str> = uids.filter(|uid| !except.contains_key(*uid)).collect();
    if others.len() > MOST_SEARCHED {
        return Ok(Some(perhaps_used()));
    }
    for uid in others {
        if let Some(live) = grafana.find(ItemKind::Dashboard, uid).await?
            && uses(&live.body, source)
        {
            return Ok(Some(format!("dashboard {:?}", live.title)));
        }
    }
    Ok(None)
}

/// An item of an answer.
pub(super) fn live(kind: ItemKind, body: &Value) -> Live {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match kind {
        ItemKind::Folder => Live { version: 1, title: text(&body["title"]), body: body.clone(), ..Live::default() },
        ItemKind::DataSource => Live {
            version: body["version"].as_i64().unwrap_or(1),
            title: text(&body["name"]),
            read_only: body["readOnly"] == true,
            body: body.clone(),
            ..Live::default()
        },
        ItemKind::Dashboard => {
            let meta = &body["meta"];
            Live {
                version: meta["version"].as_i64().or_else(|| body["dashboard"]["version"].as_i64()).unwrap_or(1),
                title: text(&body["dashboard"]["title"]),
                read_only: meta["provisioned"] == true,
                edited: meta["updatedBy"].as_str().map(|by| edited(by, meta["updated"].as_str())),
                folder: meta["folderUid"].as_str().map(str::to_owned),
                body: body["dashboard"].clone(),
                ..Live::default()
            }
        }
    }
}
