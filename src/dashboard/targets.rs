//! Targets: their workers, queue, dead letters and pause.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Path, State};
use axum::response::Redirect;
use maud::{Markup, html};

use super::Shared;
use super::access::{Viewer, check_form};
use super::page::{self, Token};
use super::refusal::Refusal;
use crate::bus;
use crate::client::{self, TargetState};
use crate::event::Target;

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let (targets, complete) = targets(&shared).await?;
    let content = html! {
        @if !complete { p.notice { "The NATS user may not read the queue and the pauses; they are not shown. The operator's permissions of deploy/nats include them." } }
        table.rows {
            thead { tr { th { "Target" } th { "Workers" } th { "Cluster" } th { "Queued" } th { "Dead letters" } th { "Pause" } th { "Runs" } } }
            tbody { @for target in &targets { (row(&viewer, target, complete)) } }
        }
        @if targets.is_empty() { p.empty { "No targets. A worker publishes the targets that it has." } }
    };
    Ok(page::frame(&shared, &viewer, "/targets", "Targets", &content))
}

/// All that the user may read; `false` if this is only the cards of the workers.
async fn targets(shared: &Shared) -> Result<(Vec<TargetState>, bool), Refusal> {
    match shared.client.targets(Vec::new()).await {
        Ok(targets) => Ok((targets, true)),
        Err(client::Error::Bus(bus::Error::Denied { .. })) => {
            let cards = shared.client.cards().await?.unwrap_or_default();
            let state = |(target, workers)| TargetState { target, workers, ..TargetState::default() };
            Ok((cards.into_iter().map(state).collect(), false))
        }
        Err(error) => Err(error.into()),
    }
}

fn row(viewer: &Viewer, target: &TargetState, complete: bool) -> Markup {
    let name = &target.target;
    html! {
        tr {
            td data-label="Target" { strong { (name) } }
            td data-label="Workers" {
                @if target.workers.is_empty() { span.quiet { "none" } }
                ul.plain { @for worker in &target.workers { li {
                    (worker.worker) " " span.quiet { (worker.version) ", " (worker.slots) " slots" }
                    @if let Some(problem) = &worker.problem { p.problem { (problem) } }
                } } }
            }
            td data-label="Cluster" { @if let Some(worker) = target.workers.first() { (worker.context) " " span.quiet { (worker.server) } } }
            td data-label="Queued" { @if complete { (target.queued) } @else { "–" } }
            td data-label="Dead letters" { @if complete { a href={ "/dead-letters?target=" (name) } { (target.dead_letters) } } @else { "–" } }
            td data-label="Pause" {
                @if let Some(pause) = &target.paused {
                    p { "paused by " (pause.by) " since " (pause.since) @if let Some(reason) = &pause.reason { ": " (reason) } }
                    (page::button(viewer, &format!("/targets/{name}/resume"), "Resume", None))
                } @else if complete {
                    (page::button(viewer, &format!("/targets/{name}/pause"), "Pause", Some("Pause this target? Its queued commands wait.")))
                }
            }
            td data-label="Runs" { a href={ "/runs?target=" (name) } { "runs" } }
        }
    }
}

pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path((target, action)): Path<(String, String)>,
    Form(form): Form<Token>,
) -> Result<Redirect, Refusal> {
    check_form(&viewer, &form.token)?;
    let target: Target = target.parse().map_err(|()| Refusal::Missing(format!("target {target}")))?;
    match action.as_str() {
        "pause" => shared.client.pause(&target, viewer.name.as_deref().unwrap_or("dashboard"), None).await?,
        "resume" => drop(shared.client.resume(&target).await?),
        _ => return Err(Refusal::Missing(format!("action {action}"))),
    }
    Ok(Redirect::to("/targets"))
}
