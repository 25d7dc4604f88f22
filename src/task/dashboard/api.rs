//! Grafana's HTTP API: reads and writes folders, data sources and dashboards. Source: Grafana documentation, "HTTP API".

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ItemKind;
use super::plan::{Item, Live};
use crate::observe::envelope::{self, Answer};
use crate::task::Error;
use crate::task::connection::ConnectionError;
use crate::task::connection::store::{Endpoint, Store};

/// Other dashboards that are searched for a data source's uid.
const MOST_SEARCHED: usize = 50;

const FOLDERS: &str = "/api/folders";
const SOURCES: &str = "/api/datasources";
const SOURCE: &str = "/api/datasources/uid";
const DASHBOARD: &str = "/api/dashboards/uid";

/// A Grafana.
pub struct Grafana<'a>(pub &'a Store);

impl Grafana<'_> {
    /// Version, from the health call.
    ///
    /// # Errors
    /// No answer, or one of another program.
    pub async fn version(&self) -> Result<Option<String>, Error> {
        let answer = self.0.get("/api/health", &[]).await?;
        let body = self.json("GET /api/health", &answer)?;
        if !body["database"].is_string() {
            return Err(self.0.foreign(&answer));
        }
        Ok(body["version"].as_str().map(|text| envelope::cut(text, 60)))
    }

    /// An item by its uid.
    ///
    /// # Errors
    /// No answer, no right to read it, or another program's answer.
    pub async fn find(&self, kind: ItemKind, uid: &str) -> Result<Option<Live>, Error> {
        let (endpoint, request) = (Endpoint::with(path(kind), uid, ""), format!("GET {}/<uid>", path(kind)));
        let answer = self.0.send(Method::GET, &endpoint, &[], None).await?;
        if answer.status == 404 {
            // A proxy's page for an unknown path is not Grafana's answer that there is no such item.
            self.json(&request, &Answer { status: 200, body: answer.body })?;
            return Ok(None);
        }
        let body = self.json(&request, &answer)?;
        Ok(Some(live(kind, &body)))
    }

    /// Writes an item; answers the version that Grafana gave it. `replaces` is the version that is replaced, none for a
    /// new item. None instead of a version: another user has written it meanwhile.
    ///
    /// # Errors
    /// No answer, no right, or Grafana's refusal.
    pub async fn write(&self, item: &Item, replaces: Option<i64>) -> Result<Option<i64>, Error> {
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
        let answer = self.0.send(method, &endpoint, &[], Some(&body)).await?;
        if answer.status == 412 || (answer.status == 409 && item.kind != ItemKind::DataSource) {
            return Ok(None);
        }
        let body = self.json(request, &answer)?;
        let version = match item.kind {
            ItemKind::Folder => Some(1),
            ItemKind::DataSource => body["datasource"]["version"].as_i64(),
            ItemKind::Dashboard => body["version"].as_i64(),
        };
        Ok(Some(version.unwrap_or_else(|| replaces.map_or(1, |version| version + 1))))
    }

    /// Deletes an item. An item that does not exist is a success.
    ///
    /// # Errors
    /// No answer, no right, or Grafana's refusal.
    pub async fn delete(&self, kind: ItemKind, uid: &str) -> Result<(), Error> {
        let (endpoint, request) = (Endpoint::with(path(kind), uid, ""), format!("DELETE {}/<uid>", path(kind)));
        let answer = self.0.send(Method::DELETE, &endpoint, &[], None).await?;
        if answer.status == 404 {
            return Ok(());
        }
        self.json(&request, &answer).map(drop)
    }

    /// Number of things in a folder: dashboards, alert rules, library panels, folders.
    ///
    /// # Errors
    /// As [`Grafana::find`].
    pub async fn content(&self, folder: &str) -> Result<usize, Error> {
        let endpoint = Endpoint::with(FOLDERS, folder, "/counts");
        let answer = self.0.send(Method::GET, &endpoint, &[], None).await?;
        let counts = self.json("GET /api/folders/<uid>/counts", &answer)?;
        let counts = counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64());
        Ok(usize::try_from(counts.sum::<u64>()).unwrap_or(usize::MAX))
    }

    /// A dashboard that uses a data source, by its title, except those that are about to go; also when there are too many
    /// dashboards to know.
    ///
    /// # Errors
    /// As [`Grafana::find`].
    pub async fn user_of(&self, source: &str, except: &BTreeMap<String, String>) -> Result<Option<String>, Error> {
        let limit = (MOST_SEARCHED + except.len() + 1).to_string();
        let parameters = [("type", "dash-db".to_owned()), ("limit", limit)];
        let answer = self.0.get("/api/search", &parameters).await?;
        let found = self.json("GET /api/search", &answer)?;
        let uids = found.as_array().into_iter().flatten().filter_map(|one| one["uid"].as_str());
        let others: Vec<&str> = uids.filter(|uid| !except.contains_key(*uid)).collect();
        if others.len() > MOST_SEARCHED {
            return Ok(Some(format!("perhaps one of the more than {MOST_SEARCHED} other dashboards")));
        }
        for uid in others {
            if let Some(live) = self.find(ItemKind::Dashboard, uid).await?
                && live.body.to_string().contains(&format!("\"{source}\""))
            {
                return Ok(Some(format!("dashboard {:?}", live.title)));
            }
        }
        Ok(None)
    }

    /// Grafana's health check of a data source; none where it has no such check.
    pub async fn source_health(&self, uid: &str) -> Option<(bool, String)> {
        let endpoint = Endpoint::with(SOURCE, uid, "/health");
        let answer = self.0.send(Method::GET, &endpoint, &[], None).await.ok()?;
        let body: Value = serde_json::from_str(&answer.body).ok()?;
        let status = body["status"].as_str()?;
        Some((status == "OK", envelope::cut(body["message"].as_str().unwrap_or_default(), 300)))
    }

    fn json(&self, request: &str, answer: &Answer) -> Result<Value, Error> {
        let (address, request) = (|| self.0.address.clone(), request.to_owned());
        let body: Option<Value> = serde_json::from_str(&answer.body).ok();
        let message = body.as_ref().and_then(|body| body["message"].as_str()).unwrap_or_default();
        let message = envelope::cut(message, 300);
        match answer.status {
            200..=299 => body.ok_or_else(|| self.0.foreign(answer)),
            401 | 403 => {
                Err(ConnectionError::WriteRefused { address: address(), request, message, status: answer.status }
                    .into())
            }
            status => Err(ConnectionError::Rejected { address: address(), request, message, status }.into()),
        }
    }
}

/// Path of the items of a kind, to which an uid is added.
const fn path(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Folder => FOLDERS,
        ItemKind::DataSource => SOURCE,
        ItemKind::Dashboard => DASHBOARD,
    }
}

fn live(kind: ItemKind, body: &Value) -> Live {
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
            let edited = meta["updatedBy"].as_str().map(|by| {
                let by = envelope::cut(by, 60);
                format!(" by {by} at {}", envelope::cut(meta["updated"].as_str().unwrap_or("an unknown time"), 40))
            });
            Live {
                version: meta["version"].as_i64().or_else(|| body["dashboard"]["version"].as_i64()).unwrap_or(1),
                title: text(&body["dashboard"]["title"]),
                read_only: meta["provisioned"] == true,
                edited,
                folder: meta["folderUid"].as_str().map(str::to_owned),
                body: body["dashboard"].clone(),
            }
        }
    }
}
