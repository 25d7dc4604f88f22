//! The frame of every page, and parts that several pages use. `maud` escapes every text.

use axum::extract::{Extension, Path, State};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use time::OffsetDateTime;

use super::Shared;
use super::access::Viewer;
use super::index::{Index, RunState, STATES};
use super::refusal::Refusal;
use crate::error::{Code, Problem};
use crate::event::rfc3339;

const PAGES: &[(&str, &str)] = &[
    ("/runs", "Runs"),
    ("/targets", "Targets"),
    ("/findings", "Findings"),
    ("/conformance", "Conformance"),
    ("/connections", "Connections"),
    ("/dead-letters", "Dead letters"),
    (SEND, "Send"),
];
/// Shown to users who may act.
const SEND: &str = "/send";

/// A whole page.
pub(super) fn frame(shared: &Shared, viewer: &Viewer, path: &str, title: &str, content: &Markup) -> Markup {
    let connected = shared.client.bus().health().borrow().connected;
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (head(title)) script src="/assets/page.js" defer {} }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    a.brand href="/runs" { "sailhand" }
                    nav aria-label="Pages" {
                        @for (href, name) in PAGES.iter().filter(|(href, _)| *href != SEND || viewer.may_act) {
                            a href=(href) aria-current=[(path == *href).then_some("page")] { (name) }
                        }
                    }
                    span #connection role="status" data-connected=(connected) {
                        (if connected { "NATS connected" } else { "NATS connection lost" })
                    }
                    @if let Some(name) = &viewer.name { span.user { (name) } }
                    @if !viewer.may_act { span.note { "read-only" } }
                }
                main #content {
                    h1 { (title) }
                    (feed_notice(shared))
                    (content)
                }
            }
        }
    }
}

/// The content of `head` on all pages.
pub(super) fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width,initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " – sailhand" }
        link rel="icon" href="/assets/icon.svg";
        link rel="stylesheet" href="/assets/style.css";
    }
}

/// Number of runs of each state.
pub(super) fn states(index: &Index) -> impl Iterator<Item = (RunState, usize)> {
    STATES.iter().map(|state| (*state, index.count(*state)))
}

/// A state as a sign and a word.
pub(super) fn badge(state: &str) -> Markup {
    badge_with(state, state)
}

/// A state as a sign, and another word for it.
pub(super) fn badge_with(state: &str, word: &str) -> Markup {
    let sign = match state {
        "running" => "▶",
        "retrying" => "↻",
        "succeeded" | "created" | "passed" | "pass" | "full" | "connected" | "correct" | "ready" | "resolved" => "✔",
        "failed" | "rejected" | "expired" | "error" | "fail" | "unreachable" | "refused" => "✖",
        "warning" | "partial" | "not ready" => "▲",
        "queued" => "◌",
        _ => "•",
    };
    html! { span.badge data-state=(state) { span aria-hidden="true" { (sign) } " " (word) } }
}

/// A time that the script shows as an age.
pub(super) fn moment(milliseconds: i64) -> Markup {
    let text = text_of(milliseconds);
    html! { time data-age datetime=(text) { (text) } }
}

/// Milliseconds since 1970 as RFC 3339.
pub(super) fn text_of(milliseconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    time.map(rfc3339).unwrap_or_default()
}

/// A time of an event, to the millisecond.
pub(super) fn time(text: &str) -> Markup {
    let fraction = text.find('.').filter(|_| text.ends_with('Z'));
    let short = fraction.and_then(|dot| text.get(..dot + 4)).map(|start| format!("{start}Z"));
    html! { time datetime=(text) { (short.as_deref().unwrap_or(text)) } }
}

/// A code, with a link to its explanation where the dashboard has one.
pub(super) fn code_link(code: &str) -> Markup {
    let known = Code::ALL.iter().any(|one| one.as_str() == code);
    html! { @if known { a href={ "/codes/" (code) } { code.whole { (code) } } } @else { code.whole { (code) } } }
}

/// An error with its causes and remedy.
pub(super) fn problem(problem: &Problem) -> Markup {
    html! {
        div.problem {
            p { (code_link(&problem.code)) " " (problem.message) }
            @if !problem.causes.is_empty() { ul { @for cause in &problem.causes { li { (cause) } } } }
            @if !problem.remedy.is_empty() { p { strong { "Remedy: " } (problem.remedy) } }
        }
    }
}

/// A form with one button, for users who may act.
pub(super) fn button(viewer: &Viewer, action: &str, label: &str, question: Option<&str>) -> Markup {
    html! {
        @if viewer.may_act {
            form.inline method="post" action=(action) data-ask=[question] {
                input type="hidden" name="token" value=(viewer.form_token);
                button type="submit" { (label) }
            }
        }
    }
}

/// Position in a list by name.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct After {
    /// Only entries with a later name.
    pub(super) after: String,
}

/// Leaves the first `most` entries after a name in a sorted list. Returns the last of them if there are more.
pub(super) fn after<T>(entries: &mut Vec<T>, after: &str, most: usize, name: impl Fn(&T) -> &str) -> Option<String> {
    entries.retain(|entry| name(entry) > after);
    let has_more = entries.len() > most;
    entries.truncate(most);
    entries.last().filter(|_| has_more).map(|last| name(last).to_owned())
}

/// Links to the first and to the next page of a list by name.
pub(super) fn more(path: &str, after: &str, last: Option<&str>) -> Markup {
    html! {
        nav.pages aria-label="Pages of the list" {
            @if !after.is_empty() { a href=(path) { "First" } }
            @if let Some(last) = last { a rel="next" href={ (path) "?after=" (utf8_percent_encode(last, NON_ALPHANUMERIC)) } { "More" } }
        }
    }
}

/// The form token of an action.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
}

/// Title and remedy of an error code.
pub(super) async fn code(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(code): Path<String>,
) -> Result<Markup, Refusal> {
    let found = Code::ALL.iter().find(|one| one.as_str() == code);
    let found = found.ok_or_else(|| Refusal::Missing(format!("error code {code}")))?;
    let content = html! {
        p.lead { (found.title()) }
        p { strong { "Remedy: " } (found.remedy()) }
        p { "More: " code { "sailhand explain " (found.as_str()) } }
    };
    Ok(frame(&shared, &viewer, "", found.as_str(), &content))
}

/// Says that the list is not complete yet.
fn feed_notice(shared: &Shared) -> Markup {
    let unread = *shared.unread.borrow();
    html! {
        @if unread > 0 { p.notice role="status" { "Reading stored events: " (unread) " left. The lists are incomplete until then." } }
    }
}
