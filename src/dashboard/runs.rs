//! The list of runs, with filters and pages.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Extension, Query, State};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::access::Viewer;
use super::index::{Position, Query as Selection, Run, STATES};
use super::{Shared, page};
use crate::prose;

/// Rows of a page.
const ROWS: usize = 50;

/// Filters and position of the list, as in the address of the page.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    state: String,
    target: String,
    verb: String,
    q: String,
    /// Only runs before this position, `<start>-<key>`.
    before: String,
}

impl ListQuery {
    /// What the filters select. An unknown state selects everything.
    pub(super) fn selection(&self) -> Selection {
        Selection {
            state: STATES.iter().find(|state| state.as_str() == self.state).copied(),
            target: self.target.trim().to_owned(),
            verb: self.verb.trim().to_owned(),
            text: self.q.trim().to_lowercase(),
        }
    }

    /// The filters as a query string.
    fn encoded(&self) -> String {
        let pairs = [("state", &self.state), ("target", &self.target), ("verb", &self.verb), ("q", &self.q)];
        let mut text = String::new();
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)); // a String takes everything
        }
        text
    }
}

/// A position of an address, `<start>-<key>`.
pub(super) fn position(text: &str) -> Option<Position> {
    let (start, key) = text.rsplit_once('-')?;
    Some((start.parse().ok()?, key.parse().ok()?))
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<ListQuery>,
) -> Markup {
    let content = {
        let index = shared.index();
        let selection = query.selection();
        let before = position(&query.before);
        let mut found: Vec<&Run> = index.page(&selection, before.as_ref()).take(ROWS + 1).collect();
        let has_more = found.len() > ROWS;
        found.truncate(ROWS);
        let filters = query.encoded();
        let live = format!("/live?from={}{filters}", shared.position(index.version()));
        let older =
            found.last().filter(|_| has_more).map(|run| format!("/runs?before={}-{}{filters}", run.started, run.key));
        html! {
            (states(&index, &query))
            (form(&query))
            table.rows.runs data-live=(live) data-first=(before.is_none()) data-rows=(ROWS) {
                thead { tr {
                    th { "State" } th { "Verb" } th { "Target" } th { "Progress" } th { "Source" }
                    th { "Attempt" } th { "Started" } th { "Key" }
                } }
                tbody { @for run in &found { (row(run)) } }
            }
            // The style hides it when the script inserts the first run.
            @if found.is_empty() {
                p.empty {
                    @if selection == Selection::default() { "No runs yet. Send a command: " code { "sailhand submit ping --target <target>" } }
                    @else { "No runs match." }
                }
            }
            nav.pages aria-label="Pages of the list" {
                @if before.is_some() { a href={ "/runs?" (filters.trim_start_matches('&')) } { "Newest" } }
                @if let Some(older) = older { a rel="next" href=(older) { "Older" } }
            }
        }
    };
    page::frame(&shared, &viewer, "/runs", "Runs", &content)
}

/// The number of runs in each state; each selects its state.
fn states(index: &super::index::Index, query: &ListQuery) -> Markup {
    html! {
        ul.states aria-label="Runs by state" {
            @for (state, count) in page::states(index) {
                li {
                    a href={ "/runs?state=" (state.as_str()) } aria-current=[(query.state == state.as_str()).then_some("true")] {
                        (page::badge(state.as_str())) " " strong data-count=(state.as_str()) { (count) }
                    }
                }
            }
        }
    }
}

fn form(query: &ListQuery) -> Markup {
    html! {
        form.filters method="get" action="/runs" role="search" {
            label { "Search " input #search type="search" name="q" value=(query.q) placeholder="key, verb, source, message"; }
            label { "Target " input type="text" name="target" value=(query.target); }
            label { "Verb " input type="text" name="verb" value=(query.verb); }
            label { "State "
                select name="state" {
                    option value="" { "all" }
                    @for state in STATES {
                        option value=(state.as_str()) selected[query.state == state.as_str()] { (state.as_str()) }
                    }
                }
            }
            button type="submit" { "Filter" }
            a href="/runs" { "Clear" }
        }
    }
}

/// One run in the list.
pub(super) fn row(run: &Run) -> Markup {
    let key = run.key.to_string();
    let href = format!("/runs/{key}");
    html! {
        tr id={ "run-" (key) } data-started=(run.started) {
            td data-label="State" { (page::badge(run.state.as_str())) }
            td data-label="Verb" { a href=(href) { (if run.verb.is_empty() { "unknown" } else { &*run.verb }) } }
            td data-label="Target" { (run.target) }
            td data-label="Progress" { (progress(run)) }
            td.source data-label="Source" { (run.source) }
            td data-label="Attempt" { (run.attempts) }
            td data-label="Started" { (page::moment(run.started)) }
            td data-label="Key" { code.whole { (key.get(..8).unwrap_or_default()) } }
        }
    }
}

/// A bar with numbers while the total is known, and the last message.
pub(super) fn progress(run: &Run) -> Markup {
    let (done, total) = run.progress;
    html! {
        @if total > 0 && !run.state.has_ended() {
            progress value=(done) max=(total) aria-label="Progress" {} " " (done) "/" (total) " "
        }
        span.message { (run.message) }
        @if run.state.has_ended() && run.changed > run.started { " " span.quiet { "in " (prose::duration((run.changed - run.started).unsigned_abs())) } }
    }
}
