//! Current findings: the newest result of `config.analyze` of each target, and each running `config.watch-analyze` with
//! what it has found and resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Extension, Query as Parameters, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::access::Viewer;
use super::index::{Query, Run, RunState};
use super::refusal::Refusal;
use super::{Shared, page};
use crate::client::{History, Observation, Observed};
use crate::event::{EventKind, Outcome};
use crate::prose::plural;
use crate::task_event::{CodeReport, FindingReport};

/// Maximum number of analyses and watches of the page.
const SOURCES: usize = 20;
/// Maximum number of findings of each.
const ROWS: usize = 500;
/// Events of a watch that are read, and about how many bytes.
const EVENTS: usize = 2_000;
const BYTES: usize = 8 << 20;
/// The newest changes of a watch that are shown.
const CHANGES: usize = 50;

/// Selects findings. Empty texts select all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FindingQuery {
    /// Namespace of the object.
    namespace: String,
    /// `error`, `warning` or `info`.
    severity: String,
    /// Start of the code, such as `IST01`.
    code: String,
}

impl FindingQuery {
    fn selects(&self, finding: &FindingReport) -> bool {
        let (namespace, severity, code) = (self.namespace.trim(), self.severity.trim(), self.code.trim());
        let of = finding.resource.split_once(' ').and_then(|(_, name)| name.split_once('/')).map(|(of, _)| of);
        (namespace.is_empty() || of == Some(namespace))
            && (severity.is_empty() || finding.severity == severity)
            && finding.code.starts_with(code)
    }

    fn form(&self) -> Markup {
        html! {
            form.filters method="get" action="/findings" role="search" {
                label { "Namespace " input type="text" name="namespace" value=(self.namespace); }
                label { "Severity "
                    select name="severity" {
                        option value="" { "all" }
                        @for severity in ["error", "warning", "info"] {
                            option value=(severity) selected[self.severity == severity] { (severity) }
                        }
                    }
                }
                label { "Code " input type="text" name="code" value=(self.code); }
                button type="submit" { "Filter" }
                a href="/findings" { "Clear" }
            }
        }
    }
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Parameters(query): Parameters<FindingQuery>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let mut parts = Vec::new();
    for run in sources(&shared) {
        let Some(key) = run.key.command_key() else { continue };
        let history = shared.client.history(&key, EVENTS, BYTES).await?;
        let mut current = current(&history);
        current.findings.retain(|finding| query.selects(finding));
        current.changes.retain(|change| query.selects(&change.finding));
        parts.push((current, run));
    }
    let content = html! {
        @if !parts.is_empty() { (query.form()) }
        @for (current, run) in &parts { (one(current, run)) }
        @if parts.is_empty() { p.empty { "No analysis yet. Send " code { "sailhand submit config.analyze --target <target>" } "." } }
    };
    Ok(page::frame(&shared, &viewer, "/findings", "Findings", &content))
}

/// The newest successful analysis of each target, and the watches that run.
fn sources(shared: &Shared) -> Vec<Run> {
    let index = shared.index();
    let mut found = Vec::new();
    let verb = |verb: &str, state| Query { verb: verb.to_owned(), state, ..Query::default() };
    let watches = verb("config.watch-analyze", Some(RunState::Running));
    found.extend(index.page(&watches, None).take(SOURCES).cloned());
    let analyses = verb("config.analyze", Some(RunState::Ended(Outcome::Succeeded)));
    let mut targets = BTreeSet::new();
    let newest = index.page(&analyses, None).filter(|run| targets.insert(run.target.clone()));
    found.extend(newest.take(SOURCES).cloned());
    found
}

/// Findings that apply now, and the pages of their codes.
struct Current {
    findings: Vec<FindingReport>,
    codes: BTreeMap<String, CodeReport>,
    /// What a watch has found and resolved, the oldest first.
    changes: Vec<Change>,
}

struct Change {
    time: String,
    is_resolved: bool,
    finding: FindingReport,
}

/// What applies after all events, as docs/contract.md describes.
fn current(history: &History) -> Current {
    let mut findings = BTreeMap::new();
    let (mut codes, mut changes) = (BTreeMap::new(), Vec::new());
    for observation in &history.observations {
        match &observation.observed {
            Observed::Event(EventKind::Found(found)) => {
                if found.first {
                    findings.clear();
                }
                changes.extend(found.findings.iter().map(|finding| change(observation, false, finding)));
                codes.extend(found.codes.clone());
                findings.extend(found.findings.iter().map(|it| (it.fingerprint.clone(), it.clone())));
            }
            Observed::Event(EventKind::Resolved(resolved)) => {
                changes.extend(resolved.findings.iter().map(|finding| change(observation, true, finding)));
                for finding in &resolved.findings {
                    findings.remove(&finding.fingerprint);
                }
            }
            Observed::Result(result) => {
                let part = |name: &str| result.report.as_ref().and_then(|report| report.get(name)).cloned();
                let listed = part("findings").and_then(|it| serde_json::from_value::<Vec<FindingReport>>(it).ok());
                findings.extend(listed.unwrap_or_default().into_iter().map(|it| (it.fingerprint.clone(), it)));
                let listed = part("codes").and_then(|it| serde_json::from_value::<BTreeMap<_, _>>(it).ok());
                codes.extend(listed.unwrap_or_default());
            }
            _ => {}
        }
    }
    let mut findings: Vec<_> = findings.into_values().collect();
    findings.sort_by(|a, b| (rank(a), &a.code, &a.resource).cmp(&(rank(b), &b.code, &b.resource)));
    Current { findings, codes, changes }
}

fn change(observation: &Observation, is_resolved: bool, finding: &FindingReport) -> Change {
    Change { time: observation.attribute("time").to_owned(), is_resolved, finding: finding.clone() }
}

fn rank(finding: &FindingReport) -> u8 {
    match finding.severity.as_str() {
        "error" => 0,
        "warning" => 1,
        _ => 2,
    }
}

fn one(current: &Current, run: &Run) -> Markup {
    let Current { findings, codes, changes } = current;
    let count = |severity: &str| findings.iter().filter(|it| it.severity == severity).count();
    html! {
        section {
            h2 { (run.target) ": " a href={ "/runs/" (run.key) } { (run.verb) } " " span.quiet { (page::moment(run.changed)) } }
            p { (plural(count("error"), "error")) ", " (plural(count("warning"), "warning")) ", " (count("info")) " info" }
            @if !findings.is_empty() {
                table.rows {
                    thead { tr { th { "Severity" } th { "Code" } th { "Resource" } th { "Message" } } }
                    tbody { @for finding in findings.iter().take(ROWS) { tr {
                        td data-label="Severity" { (page::badge(&finding.severity)) }
                        td data-label="Code" { (code(&finding.code, codes)) }
                        td data-label="Resource" { (finding.resource) @if !finding.field.is_empty() { " " code { (finding.field) } } }
                        td data-label="Message" { (finding.message) }
                    } } }
                }
            }
            @if !changes.is_empty() { (history(changes, codes)) }
            @if findings.len() > ROWS { p.notice { (findings.len() - ROWS) " more: sailhand get " (run.key) } }
        }
    }
}

/// The newest changes of a watch, the newest first.
fn history(changes: &[Change], codes: &BTreeMap<String, CodeReport>) -> Markup {
    html! {
        details {
            summary { "History: " (plural(changes.len(), "change")) }
            table.rows {
                thead { tr { th { "Time" } th { "Change" } th { "Code" } th { "Resource" } } }
                tbody { @for Change { time, is_resolved, finding } in changes.iter().rev().take(CHANGES) { tr {
                    td data-label="Time" { (page::time(time)) }
                    td data-label="Change" { (page::badge(if *is_resolved { "resolved" } else { &finding.severity })) @if !is_resolved { " found" } }
                    td data-label="Code" { (code(&finding.code, codes)) }
                    td data-label="Resource" { (finding.resource) }
                } } }
            }
            @if changes.len() > CHANGES { p.quiet { (changes.len() - CHANGES) " older changes are not shown." } }
        }
    }
}

/// A code with its title, and a link to its page.
fn code(code: &str, codes: &BTreeMap<String, CodeReport>) -> Markup {
    let known = codes.get(code).filter(|known| known.url.starts_with("https://"));
    html! {
        @if let Some(known) = known { a href=(known.url) title=(known.title) rel="noreferrer" { code.whole { (code) } } }
        @else { code.whole { (code) } }
    }
}
