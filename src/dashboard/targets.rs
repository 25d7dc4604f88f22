//! Targets: their workers, mesh, last run, queue, dead letters and pause.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};

use super::access::{Viewer, check_form};
use super::index::{Query as Selection, Run, RunState};
use super::mesh::{self, Mesh};
use super::page::{self, After, Token};
use super::refusal::Refusal;
use super::{Shared, report};
use crate::bus;
use crate::client::{self, TargetState};
use crate::event::{Outcome, Target};
use crate::prose::plural;

const STATUS: &str = "mesh.status";
/// Targets of a page. Each is one request for its mesh.
const ROWS: usize = 50;

/// The newest run of a target, and its newest successful `mesh.status`.
#[derive(Default)]
struct Newest {
    run: Option<Run>,
    status: Option<Run>,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<After>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let (mut targets, complete) = targets(&shared).await?;
    let more = page::after(&mut targets, &query.after, ROWS, |target| &target.target);
    let newest = newest(&shared, &targets);
    let mut rows = Vec::new();
    for target in &targets {
        let Some(Newest { run, status }) = newest.get(target.target.as_str()) else { continue };
        let mesh = match status {
            Some(status) => report::read::<Mesh>(&shared, status.key).await?.map(|mesh| (mesh, status)),
            None => None,
        };
        rows.push((target, run.as_ref(), mesh));
    }
    let content = html! {
        @if !complete { p.notice { "Queue and pauses are not shown, because the NATS user may not read them. The permissions of the operator in deploy/nats include them." } }
        table.rows {
            thead { tr { th { "Target" } th { "Mesh" } th { "Last run" } th { "Workers" } th { "Queue" } th { "Dead letters" } th { "Pause" } } }
            tbody { @for (target, run, mesh) in &rows { (row(&viewer, target, *run, mesh.as_ref(), complete)) } }
        }
        @if rows.is_empty() { p.empty { "No targets. A worker publishes the targets that it has." } }
        (page::more("/targets", &query.after, more.as_deref()))
    };
    Ok(page::frame(&shared, &viewer, "/targets", "Targets", &content))
}

/// Reads the index once for all targets, because a target without runs would need the whole index.
fn newest(shared: &Shared, targets: &[TargetState]) -> HashMap<String, Newest> {
    let mut found: HashMap<String, Newest> =
        targets.iter().map(|target| (target.target.clone(), Newest::default())).collect();
    let mut missing = 2 * found.len();
    let index = shared.index();
    for run in index.page(&Selection::default(), None) {
        let Some(newest) = found.get_mut(&*run.target) else { continue };
        if newest.run.is_none() {
            newest.run = Some(run.clone());
            missing -= 1;
        }
        let is_status = &*run.verb == STATUS && run.state == RunState::Ended(Outcome::Succeeded);
        if is_status && newest.status.is_none() {
            newest.status = Some(run.clone());
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    found
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

fn row(
    viewer: &Viewer,
    target: &TargetState,
    run: Option<&Run>,
    mesh: Option<&(Mesh, &Run)>,
    complete: bool,
) -> Markup {
    let name = &target.target;
    html! {
        tr {
            td data-label="Target" {
                strong { (name) }
                @if let Some(worker) = target.workers.first() { p.quiet { (worker.context) " " span.url { (worker.server) } } }
            }
            td data-label="Mesh" {
                @if let Some((mesh, run)) = mesh { (mesh::render(mesh, run)) }
                @else if viewer.may_act { span.quiet { "unknown: " } a href={ "/send/" (STATUS) "?target=" (name) } { "send mesh.status" } }
                @else { span.quiet { "unknown: no " (STATUS) " has ended" } }
            }
            td data-label="Last run" {
                @if let Some(run) = run {
                    (page::badge(run.state.as_str())) " " a href={ "/runs/" (run.key) } { (if run.verb.is_empty() { "unknown" } else { &*run.verb }) }
                    " " span.quiet { (page::moment(run.changed)) }
                    p { a href={ "/runs?target=" (name) } { "all runs" } }
                } @else { span.quiet { "none" } }
            }
            td data-label="Workers" {
                @if target.workers.is_empty() { span.quiet { "none" } }
                ul.plain { @for worker in &target.workers { li {
                    (worker.worker) " " span.quiet { (worker.version) ", " (plural(usize::try_from(worker.slots).unwrap_or(usize::MAX), "slot")) }
                    @if let Some(problem) = &worker.problem { p.problem { (problem) } }
                } } }
            }
            td data-label="Queue" {
                @if complete { (target.queued) " " span.quiet { "queued or running" @if target.waiting > 0 { ", " (target.waiting) " waiting" } } } @else { "–" }
            }
            td data-label="Dead letters" { @if complete { a href={ "/dead-letters?target=" (name) } { (target.dead_letters) } } @else { "–" } }
            td data-label="Pause" {
                @if let Some(pause) = &target.paused {
                    p { (page::badge("paused")) " by " (pause.by) " since " (page::time(&pause.since)) @if let Some(reason) = &pause.reason { ": " (reason) } }
                    (page::button(viewer, &format!("/targets/{name}/resume"), "Resume", None))
                } @else if complete {
                    (page::button(viewer, &format!("/targets/{name}/pause"), "Pause", Some("Pause this target? Its queued commands wait.")))
                }
            }
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
