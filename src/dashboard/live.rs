//! Server-sent events of the pages. A page gets the newest state of each run that has changed since its position, so a
//! slow or reconnected page misses intermediate states only, and the server buffers nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::index::{Index, Query as Selection, RunId};
use super::runs::{self, ListQuery};
use super::{Shared, page};
use crate::bus::nats;
use crate::clock::Clock;

/// Changes that come within this time are sent together.
const GATHER: Duration = Duration::from_millis(20);
/// Maximum number of runs of one message.
const BATCH: usize = 100;
/// A page that is further behind loads itself again.
const BEHIND: usize = 1_000;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which changes, from which position.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LiveQuery {
    /// Position that the page was rendered at.
    from: String,
    /// Only this run, without its row.
    run: Option<String>,
    #[serde(flatten)]
    list: ListQuery,
}

struct Live {
    shared: Arc<Shared>,
    selection: Selection,
    run: Option<RunId>,
    version: u64,
    must_reload: bool,
    changed: watch::Receiver<u64>,
    health: watch::Receiver<nats::Health>,
    connected: Option<bool>,
}

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // The browser sends the id of the last event when it connects again.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or(&query.from);
    let known = last.split_once('-').filter(|(epoch, _)| *epoch == shared.epoch);
    let version = known.and_then(|(_, version)| version.parse::<u64>().ok());
    let live = Live {
        selection: query.list.selection(),
        run: query.run.and_then(|key| key.parse().ok()),
        must_reload: version.is_none_or(|version| version > shared.index().version()),
        version: version.unwrap_or_default(),
        changed: shared.changed.subscribe(),
        health: shared.client.bus().health(),
        connected: None,
        shared: shared.clone(),
    };
    let stop = shared.stop.clone();
    let events = stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok(event), live))
    });
    let events = events.take_until(stop.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let connected = self.health.borrow_and_update().connected;
            if self.connected != Some(connected) {
                self.connected = Some(connected);
                return Some(Event::default().event("bus").data(if connected { "connected" } else { "lost" }));
            }
            self.changed.borrow_and_update();
            if let Some(event) = self.changes() {
                return Some(event);
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                changed = self.health.changed() => { changed.ok()?; continue; }
            }
            Clock::system().sleep(GATHER).await;
        }
    }

    /// The next message; `None` when the page is up to date.
    fn changes(&mut self) -> Option<Event> {
        let shared = self.shared.clone();
        let index = shared.index();
        if self.must_reload || index.since(self.version).take(BEHIND + 1).count() > BEHIND {
            self.must_reload = false;
            self.version = index.version();
            return Some(Event::default().event("reload").id(shared.position(self.version)).data("reload"));
        }
        if let Some(key) = self.run {
            let changed = index.get(key).filter(|run| run.version > self.version)?;
            self.version = changed.version;
            return Some(Event::default().event("run").id(shared.position(self.version)).data(changed.state.as_str()));
        }
        let (mut rows, mut newest) = (Vec::new(), None);
        for run in index.since(self.version).take(BATCH) {
            let row = self.selection.matches(run).then(|| runs::row(run).into_string());
            rows.push(json!({ "key": run.key.to_string(), "started": run.started, "row": row }));
            newest = Some(run.version);
        }
        self.version = newest?;
        let data = json!({ "rows": rows, "counts": counts(&index) }).to_string();
        Some(Event::default().event("runs").id(shared.position(self.version)).data(data))
    }
}

fn counts(index: &Index) -> serde_json::Value {
    page::states(index)
        .map(|(state, count)| (state.as_str().to_owned(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
