//! The page of one run: state, timeline, result, report and the CloudEvents themselves.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access::{Viewer, check_form};
use super::page::{self, Token};
use super::refusal::Refusal;
use super::{Shared, conformance, report};
use crate::client::{History, Observation, Observed};
use crate::config::TRACE_ID;
use crate::event::{CommandKey, EventKind, ResultData, waited_text};
use crate::prose::{duration, plural};

/// Maximum number of events of the timeline, and about how many bytes of them.
const EVENTS: usize = 500;
const BYTES: usize = 4 << 20;
/// Maximum number of CloudEvents that are shown as JSON, and bytes of each.
const RAW: usize = 50;
const RAW_BYTES: usize = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunQuery {
    /// Whether the command was just sent, so that it may have no event yet.
    sent: bool,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(key): Path<String>,
    Query(query): Query<RunQuery>,
) -> Result<Markup, Refusal> {
    let position = shared.position(shared.index().version());
    let key = parse(&key)?;
    let history = read(&shared, &key).await?;
    let Some(first) = history.observations.first() else {
        if !query.sent {
            return Err(Refusal::Missing(format!("event or result of run {key}")));
        }
        // The script takes the title from the body once the run has one.
        let content = html! { div data-untitled { (live(&key, &position, &waiting(&viewer, &key))) } };
        return Ok(page::frame(&shared, &viewer, "/runs", "Command sent", &content));
    };
    let title = title(&history, first);
    let body = render(&shared, &viewer, &key, &history);
    let content = if result(&history).is_some() {
        html! { div #run { (body) } }
    } else {
        live(&key, &position, &body)
    };
    Ok(page::frame(&shared, &viewer, "/runs", &title, &content))
}

/// The page's script replaces the body at each change of the run after `position`.
pub(super) fn live(key: &CommandKey, position: &str, body: &Markup) -> Markup {
    html! { div #run data-live={ "/live?from=" (position) "&run=" (key) } data-body={ "/runs/" (key) "/body" } { (body) } }
}

/// Body of a command without events.
pub(super) fn waiting(viewer: &Viewer, key: &CommandKey) -> Markup {
    html! {
        dl.facts {
            dt { "State" } dd { (page::badge("queued")) }
            dt { "Key" } dd { code { (key) } }
        }
        p.quiet { "No worker has started this command yet. It waits if its target has no worker or is paused, or if another command changes the same installation." }
        (page::button(viewer, &format!("/runs/{key}/cancel"), "Cancel", Some("Cancel this command?")))
    }
}

/// Only what a change of the run can change; the page's script replaces it.
pub(super) async fn fragment(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(key): Path<String>,
) -> Result<Markup, Refusal> {
    let key = parse(&key)?;
    let history = read(&shared, &key).await?;
    if history.observations.is_empty() {
        return Err(Refusal::Missing(format!("event or result of run {key}")));
    }
    Ok(render(&shared, &viewer, &key, &history))
}

/// Requests the cancellation.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(key): Path<String>,
    Form(form): Form<Token>,
) -> Result<Redirect, Refusal> {
    check_form(&viewer, &form.token)?;
    let key = parse(&key)?;
    let who = viewer.name.as_deref().unwrap_or("dashboard");
    shared.client.cancel(&key, who).await.map_err(crate::client::Error::from)?;
    Ok(Redirect::to(&format!("/runs/{key}")))
}

fn parse(key: &str) -> Result<CommandKey, Refusal> {
    key.parse().map_err(|()| Refusal::Missing(format!("run {key}")))
}

async fn read(shared: &Shared, key: &CommandKey) -> Result<History, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    Ok(shared.client.history(key, EVENTS, BYTES).await?)
}

fn result(history: &History) -> Option<&ResultData> {
    match &history.observations.last()?.observed {
        Observed::Result(result) => Some(result),
        _ => None,
    }
}

fn verb(history: &History) -> String {
    let started = |it: &Observation| match &it.observed {
        Observed::Event(EventKind::Started(started)) => Some(started.verb.clone()),
        _ => None,
    };
    let found = history.observations.iter().find_map(|it| started(it).or_else(|| it.result_verb().map(str::to_owned)));
    found.unwrap_or_else(|| "command".to_owned())
}

/// Milliseconds from the start of the first attempt to the result.
fn took(history: &History, result: &ResultData) -> Option<u64> {
    let is_start = |it: &&Observation| matches!(it.observed, Observed::Event(EventKind::Started(_)));
    let first = history.observations.first().filter(is_start).filter(|_| history.omitted == 0)?;
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    u64::try_from((at(&result.ended)? - at(first.attribute("time"))?).whole_milliseconds()).ok()
}

/// Verb and target.
fn title(history: &History, any: &Observation) -> String {
    format!("{} on {}", verb(history), any.target)
}

fn render(shared: &Shared, viewer: &Viewer, key: &CommandKey, history: &History) -> Markup {
    let Some(newest) = history.observations.last() else { return Markup::default() };
    let result = result(history);
    let state = match (&newest.observed, result) {
        (_, Some(result)) => result.outcome.as_str(),
        (Observed::Event(EventKind::Retrying(_)), _) => "retrying",
        _ => "running",
    };
    let attempts = history.observations.iter().filter_map(|it| it.event.get("attempt")?.as_u64()).max();
    let attempts = result.map_or(attempts.unwrap_or_default(), |result| u64::from(result.attempts));
    html! {
        dl.facts data-title=(title(history, newest)) {
            dt { "State" } dd { (page::badge(state)) }
            dt { "Key" } dd { code { (key) } }
            dt { "Command" } dd { code { (newest.attribute("commandid")) } " from " code { (newest.attribute("commandsource")) } }
            dt { "Correlation" } dd { code { (newest.attribute("correlationid")) } }
            dt { "Attempts" } dd { (attempts) }
            @if let Some(trace) = newest.attribute("traceparent").split('-').nth(1) { dt { "Trace" } dd { (trace_link(shared.trace_url.as_deref(), trace)) } }
            @if let Some(result) = result {
                dt { "Changed" } dd { (if result.changed { "yes" } else { "no" }) }
                dt { "Worker" } dd { (result.worker) }
                dt { "Ended" } dd {
                    (page::time(&result.ended))
                    @if let Some(took) = took(history, result) { " " span.quiet { "after " (duration(took)) } }
                }
            }
        }
        @if result.is_none() {
            (page::button(viewer, &format!("/runs/{key}/cancel"), "Cancel", Some("Cancel this run?")))
        }
        @if let Some(result) = result {
            @let verb = history.observations.iter().find_map(Observation::result_verb).unwrap_or_default();
            @if let Some(error) = &result.error { h2 { "Error" } (page::problem(error)) }
            @if let Some(value) = &result.report {
                h2 { "Report" }
                @if crate::report::is_dry_run(value) { p.notice { "Dry run: nothing was written. The report says what the command would do." } }
                @if verb == conformance::VERB { p { a href={ "/conformance/" (key) } { "Cases with their evidence" } } }
                (report::render(verb, value))
            }
        }
        h2 { "Timeline" }
        @if history.omitted > 0 { p.notice { (history.omitted) " older events are not shown." } }
        table.rows {
            thead { tr { th { "Time" } th { "Attempt" } th { "Event" } th { "Details" } } }
            tbody { @for it in &history.observations { tr {
                td data-label="Time" { (page::time(it.attribute("time"))) }
                td data-label="Attempt" { @if let Some(attempt) = it.event.get("attempt").and_then(Value::as_u64) { (attempt) } }
                td data-label="Event" { (kind(it)) }
                td data-label="Details" { (details(it, result)) }
            } } }
        }
        h2 { "CloudEvents" }
        @for it in history.observations.iter().rev().take(RAW) { (raw(it)) }
        p { "As a command: " code { "sailhand watch " (key) } }
    }
}

/// The id of a trace, with a link if the configuration names a tracing system. A producer chooses the id.
fn trace_link(url: Option<&str>, trace: &str) -> Markup {
    let is_id = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    html! {
        @if let Some(url) = url.filter(|_| is_id) { a href=(url.replace(TRACE_ID, trace)) rel="noreferrer" { code { (trace) } } }
        @else { code { (trace) } }
    }
}

fn kind(observation: &Observation) -> &'static str {
    match &observation.observed {
        Observed::Event(kind) => kind.name(),
        Observed::Result(_) => "result",
        Observed::Unknown => "unknown",
    }
}

fn details(observation: &Observation, result: Option<&ResultData>) -> Markup {
    match &observation.observed {
        Observed::Event(EventKind::Started(started)) => {
            html! {
                p { "by " (started.worker) ", deadline " (page::time(&started.deadline)) }
                @if let Some(waited) = waited_text(&started.waited) { p { (waited) } }
            }
        }
        Observed::Event(EventKind::Progress(step)) => html! {
            (step.phase) ": " (step.message)
            @if step.total > 0 { " " progress value=(step.done) max=(step.total) aria-label="Progress" {} " " (step.done) "/" (step.total) }
        },
        Observed::Event(EventKind::Retrying(retrying)) => html! {
            p { "next attempt in " (retrying.delay_ms) " ms" } (page::problem(&retrying.problem))
        },
        Observed::Event(EventKind::DeadLettered(letter)) => html! {
            p { (letter.reason) " after " (plural(letter.deliveries, "delivery")) }
            // The page begins with the error of the result.
            @if result.is_none_or(|result| result.error.as_ref() != Some(&letter.problem)) { (page::problem(&letter.problem)) }
        },
        Observed::Event(EventKind::Found(found)) => html! {
            (plural(found.findings.len(), "finding")) @if found.first { ", the first of this attempt" }
        },
        Observed::Event(EventKind::Resolved(resolved)) => {
            html! { (plural(resolved.findings.len(), "finding")) " resolved" }
        }
        Observed::Event(EventKind::ConformanceCase(event)) => html! {
            (page::badge(event.case.status.as_str())) " " (event.case.case_id) ", " (event.done) "/" (event.total)
        },
        Observed::Event(EventKind::ConformanceSpec(event)) => html! { (event.spec.title) },
        Observed::Event(EventKind::ConformanceSummary(event)) => html! { (plural(event.summary.counts.total, "case")) },
        Observed::Event(EventKind::Discovered(discovered)) => {
            html! { (plural(discovered.instances.len(), "server")) " discovered" }
        }
        Observed::Event(EventKind::Changed(changed)) => {
            html! { (plural(changed.changes.len(), "server")) " changed" }
        }
        Observed::Event(EventKind::Lost(lost)) => html! { (plural(lost.instances.len(), "server")) " lost" },
        Observed::Result(result) => html! { (page::badge(result.outcome.as_str())) },
        Observed::Unknown => html! { "an event of a newer version of the contract" },
    }
}

fn raw(observation: &Observation) -> Markup {
    let json = serde_json::to_string_pretty(&observation.event).unwrap_or_default();
    let end = json.floor_char_boundary(RAW_BYTES);
    html! {
        details {
            summary { (kind(observation)) " " span.quiet { (page::time(observation.attribute("time"))) } }
            pre { (json[..end]) @if end < json.len() { "\n… " (json.len() - end) " bytes more: sailhand get " (observation.key) " -o json" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::trace_link;

    #[test]
    fn trace_is_linked_only_by_a_valid_id() {
        let (url, id) = ("https://traces.example.com/trace/{trace_id}?orgId=1", "4bf92f3577b34da6a3ce929d0e0e4736");
        let link = trace_link(Some(url), id).into_string();
        assert!(link.contains(&format!("href=\"https://traces.example.com/trace/{id}?orgId=1\"")), "{link}");
        for (url, id) in [(None, id), (Some(url), "../../admin"), (Some(url), "\" onclick=\"x")] {
            let text = trace_link(url, id).into_string();
            assert!(!text.contains("href") && !text.contains("onclick=\""), "{text}");
        }
    }
}
