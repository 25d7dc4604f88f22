//! Grafana's HTTP API: reads and writes folders, data sources and dashboards. Folders and dashboards have two adapters:
//! [`resources`] for `/apis`, which Grafana has since 12, where the server offers it, and [`legacy`] for `/api` otherwise.
//! Data sources are below `/api` in all versions.

mod legacy;
mod resources;

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::ItemKind;
use super::plan::{Item, Live};
use crate::observe::envelope::{self, Answer};
use crate::task::Error;
use crate::task::connection::ConnectionError;
use crate::task::connection::store::{Endpoint, Store};
use resources::Resources;

/// Other dashboards that are searched for a data source's uid.
const MOST_SEARCHED: usize = 50;

/// A Grafana.
pub struct Grafana<'a> {
    store: &'a Store,
    /// The API below `/apis`; none where the server does not offer it.
    resources: Option<Resources>,
    /// Version, from the health call; some Grafanas hide it.
    pub version: Option<String>,
}

impl<'a> Grafana<'a> {
    /// Asks the server what it is and which API it offers.
    ///
    /// # Errors
    /// No answer, or one of another program.
    pub async fn open(store: &'a Store) -> Result<Self, Error> {
        let mut grafana = Self { store, resources: None, version: None };
        let answer = store.get("/api/health", &[]).await?;
        let body = grafana.json("GET /api/health", &answer)?;
        if !body["database"].is_string() {
            return Err(store.not_grafana(&answer));
        }
        grafana.version = body["version"].as_str().map(|text| envelope::cut(text, 60));
        grafana.resources = resources::discover(&grafana).await?;
        Ok(grafana)
    }

    /// The adapter for `/apis`, for items that it has.
    fn resources(&self, kind: ItemKind) -> Option<&Resources> {
        self.resources.as_ref().filter(|_| kind != ItemKind::DataSource)
    }

    /// An item by its uid.
    ///
    /// # Errors
    /// No answer, no right to read it, or another program's answer.
    pub async fn find(&self, kind: ItemKind, uid: &str) -> Result<Option<Live>, Error> {
        let (endpoint, request) = match self.resources(kind) {
            Some(resources) => resources.item(kind, uid),
            None => legacy::item(kind, uid),
        };
        let request = format!("GET {request}");
        let answer = self.store.send(Method::GET, &endpoint, &[], None).await?;
        if answer.status == 404 {
            // A proxy's page for an unknown path is not Grafana's answer that there is no such item.
            self.json(&request, &Answer { status: 200, body: answer.body })?;
            return Ok(None);
        }
        let body = self.json(&request, &answer)?;
        Ok(Some(match self.resources(kind) {
            Some(_) => resources::live(&body),
            None => legacy::live(kind, &body),
        }))
    }

    /// Writes an item; answers the version that Grafana gave it. `replaces` is the item that is replaced, none for a new
    /// one. None instead of a version: another user has written or deleted it meanwhile.
    ///
    /// # Errors
    /// No answer, no right, or Grafana's refusal.
    pub async fn write(&self, item: &Item, replaces: Option<&Live>) -> Result<Option<i64>, Error> {
        match self.resources(item.kind) {
            Some(resources) => resources.write(self, item, replaces).await,
            None => legacy::write(self, item, replaces.map(|live| live.version)).await,
        }
    }

    /// Deletes an item. An item that does not exist is a success.
    ///
    /// # Errors
    /// No answer, no right, or Grafana's refusal.
    pub async fn delete(&self, kind: ItemKind, uid: &str) -> Result<(), Error> {
        let (endpoint, request) = match self.resources(kind) {
            Some(resources) => resources.item(kind, uid),
            None => legacy::item(kind, uid),
        };
        let answer = self.store.send(Method::DELETE, &endpoint, &[], None).await?;
        if answer.status == 404 {
            return Ok(());
        }
        self.json(&format!("DELETE {request}"), &answer).map(drop)
    }

    /// Number of things in a folder: dashboards, alert rules, library panels, folders.
    ///
    /// # Errors
    /// As [`Grafana::find`].
    pub async fn content(&self, folder: &str) -> Result<usize, Error> {
        match &self.resources {
            Some(resources) => resources.content(self, folder).await,
            None => legacy::content(self, folder).await,
        }
    }

    /// A dashboard that uses a data source, by its title, except those that are about to go; also when there are too many
    /// dashboards to know.
    ///
    /// # Errors
    /// As [`Grafana::find`].
    pub async fn user_of(&self, source: &str, except: &BTreeMap<String, String>) -> Result<Option<String>, Error> {
        match &self.resources {
            Some(resources) => resources.user_of(self, source, except).await,
            None => legacy::user_of(self, source, except).await,
        }
    }

    /// Grafana's health check of a data source; none where it has no such check.
    pub async fn source_health(&self, uid: &str) -> Option<(bool, String)> {
        let endpoint = Endpoint::with(legacy::SOURCE, uid, "/health");
        let answer = self.store.send(Method::GET, &endpoint, &[], None).await.ok()?;
        let body: Value = serde_json::from_str(&answer.body).ok()?;
        let status = body["status"].as_str()?;
        Some((status == "OK", envelope::cut(body["message"].as_str().unwrap_or_default(), 300)))
    }

    /// Body of a successful answer. Both APIs have the text of an error in `message`.
    fn json(&self, request: &str, answer: &Answer) -> Result<Value, Error> {
        let (address, request) = (|| self.store.address.clone(), request.to_owned());
        let body: Option<Value> = serde_json::from_str(&answer.body).ok();
        let message = body.as_ref().and_then(|body| body["message"].as_str()).unwrap_or_default();
        let message = envelope::cut(message, 300);
        match answer.status {
            200..=299 => body.ok_or_else(|| self.store.not_grafana(answer)),
            401 | 403 => {
                Err(ConnectionError::WriteRefused { address: address(), request, message, status: answer.status }
                    .into())
            }
            status => Err(ConnectionError::Rejected { address: address(), request, message, status }.into()),
        }
    }
}

/// Whether a dashboard has a data source's uid in it.
fn uses(dashboard: &Value, source: &str) -> bool {
    dashboard.to_string().contains(&format!("\"{source}\""))
}

/// The answer of `user_of` where there are too many dashboards.
fn perhaps_used() -> String {
    format!("perhaps one of the more than {MOST_SEARCHED} other dashboards")
}

/// Who changed an item and when, as messages add it.
fn edited(by: &str, at: Option<&str>) -> String {
    format!(" by {} at {}", envelope::cut(by, 60), envelope::cut(at.unwrap_or("an unknown time"), 40))
}
