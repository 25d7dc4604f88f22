//! Dead letters: reason, error and remedy; replay and purge.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::Shared;
use super::access::{Viewer, check_form};
use super::page::{self, Token};
use super::refusal::Refusal;
use crate::bus::nats::UNDELIVERED;
use crate::client::{DeadLetter, DeadLetters, Filter};
use crate::error::Code;
use crate::event::{CommandKey, Target};
use crate::prose::plural;

/// Dead letters of a page. Each is one request of about 0.3 ms.
const ROWS: usize = 200;
/// Bytes of a message that are shown.
const BYTES: usize = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    target: String,
    code: String,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let (target, code) = (query.target.trim(), query.code.trim());
    let wanted = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let filter = Filter { target: wanted(target), code: wanted(code), limit: ROWS, ..Filter::default() };
    // The name of a target is a part of a subject, which must not have wildcards.
    let is_possible = target.is_empty() || target.parse::<Target>().is_ok();
    let found = if is_possible { shared.client.newest_dead_letters(&filter).await? } else { DeadLetters::default() };
    let is_filtered = !target.is_empty() || !code.is_empty();
    let content = html! {
        form.filters method="get" action="/dead-letters" role="search" {
            label { "Target " input type="text" name="target" value=(target); }
            label { "Code " input type="text" name="code" value=(query.code); }
            button type="submit" { "Filter" }
            a href="/dead-letters" { "Clear" }
        }
        @if found.older > 0 || is_possible && !found.is_complete { p.notice { "These are the newest " (found.letters.len()) ". Filter to see others." } }
        @for letter in found.letters.iter().rev() { (one(&viewer, letter)) }
        @if found.letters.is_empty() { p.empty { (if is_filtered { "No dead letters match." } else { "No dead letters." }) } }
    };
    Ok(page::frame(&shared, &viewer, "/dead-letters", "Dead letters", &content))
}

fn one(viewer: &Viewer, letter: &DeadLetter) -> Markup {
    let code = Code::ALL.iter().find(|code| code.as_str() == letter.code);
    let text = match (&letter.event, &letter.raw) {
        (Some(event), _) => serde_json::to_string_pretty(event).unwrap_or_default(),
        (None, raw) => raw.clone().unwrap_or_default(),
    };
    let end = text.floor_char_boundary(BYTES);
    let number = letter.sequence;
    let message = letter.message.strip_prefix(&format!("{}: ", letter.code)).unwrap_or(&letter.message);
    html! {
        article.card {
            h2 { "#" (number) " " (page::badge(&letter.reason)) " " code { (letter.subject) } }
            p { (page::code_link(&letter.code)) " " (message) }
            @if let Some(code) = code { p { strong { "Remedy: " } (code.remedy()) } }
            p.quiet { (page::time(&letter.time)) ", worker " (letter.worker) ", " (plural(letter.deliveries, "delivery")) }
            @if letter.command.parse::<CommandKey>().is_ok() { p { a href={ "/runs/" (letter.command) } { "Run" } } }
            @if letter.event.is_some() && letter.reason != UNDELIVERED {
                (page::button(viewer, &format!("/dead-letters/{number}/replay"), "Replay", Some("Send this command again with a new id?")))
            }
            (page::button(viewer, &format!("/dead-letters/{number}/purge"), "Purge", Some("Delete this dead letter?")))
            details { summary { "Message" } pre { (text[..end]) @if end < text.len() { "\n…" } } }
        }
    }
}

pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path((sequence, action)): Path<(u64, String)>,
    Form(form): Form<Token>,
) -> Result<Redirect, Refusal> {
    check_form(&viewer, &form.token)?;
    let letter = shared.client.dead_letter(sequence).await?;
    match action.as_str() {
        "replay" => {
            shared.client.replay(&letter).await?;
            Ok(Redirect::to("/runs"))
        }
        "purge" => {
            shared.client.purge(&letter).await?;
            Ok(Redirect::to("/dead-letters"))
        }
        _ => Err(Refusal::Missing(format!("action {action}"))),
    }
}
