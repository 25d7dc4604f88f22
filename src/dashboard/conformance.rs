//! The page Conformance: for each suite a matrix of specifications and targets with the results of the last runs, and a
//! page for each run with its cases and their evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::access::Viewer;
use super::index::{Position, Query as Selection, Run, RunId};
use super::refusal::Refusal;
use super::{Shared, page, report, runs};
use crate::conformance::model::{Counts, RunReport, SpecResult, Status};
use crate::conformance::report::{diff, html as cases};

/// The verb whose reports the page shows.
pub(super) const VERB: &str = "conformance.run";
/// Runs of a page. Each report has at most one megabyte.
const RUNS: usize = 60;
/// Runs of a suite on a target that the matrix shows.
const HISTORY: usize = 10;

/// One run, without its cases.
struct Summary {
    run: Run,
    suite: String,
    mesh: String,
    is_simulated: bool,
    specs: Vec<SpecResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    /// Only runs before this position, `<start>-<key>`.
    before: String,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let before = runs::position(&query.before);
    let mut suites: BTreeMap<String, Vec<Summary>> = BTreeMap::new();
    let mut found = ended(&shared, "", before.as_ref(), RUNS + 1);
    let has_more = found.len() > RUNS;
    found.truncate(RUNS);
    let older = found.last().filter(|_| has_more).map(|run| format!("/conformance?before={}-{}", run.started, run.key));
    for run in found {
        let Some(report) = report::read::<RunReport>(&shared, run.key).await? else { continue };
        let (is_simulated, info) = (is_simulated(&report), report.run);
        let summary = Summary {
            run,
            suite: format!("{} {}", info.suite.name, info.suite.version),
            mesh: format!("{} {}", info.mesh.name, info.mesh.version),
            is_simulated,
            specs: report.specs,
        };
        suites.entry(info.suite.name).or_default().push(summary);
    }
    let content = html! {
        @for runs in suites.values() { (suite(runs)) }
        @if suites.is_empty() {
            p.empty { "No conformance run has ended. Send " code { "sailhand submit conformance.run --target <target> -p suite=smi" } "." }
        }
        nav.pages aria-label="Pages of the list" {
            @if before.is_some() { a href="/conformance" { "Newest" } }
            @if let Some(older) = older { a rel="next" href=(older) { "Older runs" } }
        }
    };
    Ok(page::frame(&shared, &viewer, "/conformance", "Conformance", &content))
}

/// The newest ended runs before a position, the newest first.
fn ended(shared: &Shared, target: &str, before: Option<&Position>, most: usize) -> Vec<Run> {
    let query = Selection { verb: VERB.to_owned(), target: target.to_owned(), ..Selection::default() };
    shared.index().page(&query, before).filter(|run| run.state.has_ended()).take(most).cloned().collect()
}

/// Runs of one suite, the newest first.
fn suite(runs: &[Summary]) -> Markup {
    let targets: BTreeSet<&str> = runs.iter().map(|it| &*it.run.target).collect();
    let specs: BTreeMap<&str, &str> =
        runs.iter().rev().flat_map(|it| &it.specs).map(|spec| (spec.spec.as_str(), spec.title.as_str())).collect();
    html! {
        section {
            h2 { (runs.first().map(|it| it.suite.as_str()).unwrap_or_default()) }
            table.rows.matrix {
                thead { tr {
                    th { "Specification" }
                    @for target in &targets { th { (target) } }
                } }
                tbody {
                    @for (spec, title) in &specs { tr {
                        th scope="row" { (title) }
                        @for target in &targets { td data-label=(target) { (cell(runs, target, spec)) } }
                    } }
                    tr {
                        th scope="row" { "Newest run" }
                        @for target in &targets { td data-label=(target) { (newest(runs, target)) } }
                    }
                }
            }
        }
    }
}

/// The newest verdict, then the last runs from the oldest to the newest.
fn cell(runs: &[Summary], target: &str, spec: &str) -> Markup {
    let of = runs.iter().filter(|it| &*it.run.target == target).take(HISTORY);
    let verdicts: Vec<_> = of.map(|it| (it, it.specs.iter().find(|one| one.spec == spec))).collect();
    html! {
        div.verdict {
        @if let Some(result) = verdicts.iter().find_map(|(_, result)| *result) {
            (page::badge(result.compliance.as_str()))
            span.quiet { (counted(&result.counts)) @if !result.complete { ", incomplete" } }
        } @else { span.quiet { "not run" } }
        @if verdicts.len() > 1 {
            div.history { @for (summary, result) in verdicts.iter().rev() {
                @let state = result.map_or("not run", |result| result.compliance.as_str());
                @let text = format!("{state}, {}, {}", summary.mesh, page::text_of(summary.run.changed));
                a href={ "/conformance/" (summary.run.key) } data-state=(state) title=(text) aria-label=(text) {}
            } }
        }
        }
    }
}

/// How many cases ended in which way: `11 passed, 1 not supported`.
fn counted(counts: &Counts) -> String {
    let Counts { total: _, passed, failed, skipped, not_supported, error } = *counts;
    let all = [
        (passed, "passed"),
        (failed, "failed"),
        (error, "error"),
        (not_supported, "not supported"),
        (skipped, "skipped"),
    ];
    let some: Vec<_> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    some.join(", ")
}

fn newest(runs: &[Summary], target: &str) -> Markup {
    let newest = runs.iter().find(|it| &*it.run.target == target);
    html! {
        @if let Some(summary) = newest {
            a href={ "/conformance/" (summary.run.key) } { "Cases" } " " span.quiet { (page::moment(summary.run.changed)) }
            @if summary.is_simulated { p.changed { "simulated: no request was sent" } } @else { p.quiet { (summary.mesh) } }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CaseQuery {
    /// Only cases with this status; all when empty.
    status: String,
}

pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(key): Path<String>,
    Query(query): Query<CaseQuery>,
) -> Result<Markup, Refusal> {
    let missing = || Refusal::Missing(format!("report of conformance run {key}"));
    let known: RunId = key.parse().map_err(|()| missing())?;
    let _permit = shared.reads.acquire().await.ok();
    let report = report::read(&shared, known).await?.ok_or_else(missing)?;
    let previous = previous(&shared, known, &report).await?;
    let content = html! {
        (about(&report, known))
        @if let Some((key, previous)) = &previous { (differences(*key, previous, &report)) }
        div.conformance {
            h2 { "Specifications and features" }
            p.quiet { "Capability: how much of the specification works. Compliance: whether what works follows the specification." }
            (cases::matrix(&report.specs))
            h2 { "Cases" }
            (filters(&report, known, &query.status))
            @for case in report.cases.iter().filter(|case| query.status.is_empty() || case.status.as_str() == query.status) { (cases::one(case)) }
        }
    };
    let info = &report.run;
    let what = if is_simulated(&report) {
        "Simulated conformance".to_owned()
    } else {
        format!("Conformance of {}", info.mesh.name)
    };
    let title = format!("{what} on {}: {} {}", info.cluster.id, info.suite.name, info.suite.version);
    Ok(page::frame(&shared, &viewer, "/conformance", &title, &content))
}

/// The run of the same suite and target before this one.
async fn previous(shared: &Shared, key: RunId, report: &RunReport) -> Result<Option<(RunId, RunReport)>, Refusal> {
    let Some(position) = shared.index().get(key).map(|run| (run.started, run.key)) else { return Ok(None) };
    for run in ended(shared, &report.run.cluster.id, Some(&position), HISTORY) {
        let found = report::read::<RunReport>(shared, run.key).await?;
        if let Some(found) = found.filter(|it| it.run.suite.name == report.run.suite.name) {
            return Ok(Some((run.key, found)));
        }
    }
    Ok(None)
}

/// Whether no request was sent.
fn is_simulated(report: &RunReport) -> bool {
    report.run.driver == "simulated"
}

fn about(report: &RunReport, key: RunId) -> Markup {
    let (info, counts) = (&report.run, &report.summary.counts);
    html! {
        @if is_simulated(report) { p.notice { "Simulated: no request was sent. This report does not describe the cluster." } }
        dl.facts {
            @if !is_simulated(report) { dt { "Mesh" } dd { (info.mesh.name) " " (info.mesh.version) ", revision " (info.mesh.revision) ", " (info.mesh.data_plane) } }
            dt { "Cluster" } dd { (info.cluster.id) @if !is_simulated(report) { ", Kubernetes " (info.cluster.kubernetes_version) } }
            dt { "Suite" } dd { (info.suite.origin) ", driver " (info.driver) }
            dt { "Passed" } dd { (counts.passed) " of " (counts.total) " cases" @if let Some(percent) = report.summary.pass_percent { ", " (percent) " % of those judged" } }
            dt { "Run" } dd { a href={ "/runs/" (key) } { code { (key) } } " " (page::time(&info.started_at)) }
        }
    }
}

fn differences(key: RunId, previous: &RunReport, report: &RunReport) -> Markup {
    let differences = diff::compare(previous, report);
    html! {
        h2 { "Changes since " a href={ "/conformance/" (key) } { "the previous run" } }
        @if differences.is_empty() { p.quiet { "Every case and specification has the same verdict." } }
        @else {
            table.rows {
                thead { tr { th { "Case or specification" } th { "Before" } th { "Now" } } }
                tbody { @for one in &differences { tr {
                    td data-label="Case" { code { (one.what) } }
                    td data-label="Before" { (one.before) }
                    td data-label="Now" { @if one.is_regression { (page::badge("failed")) " " } (one.after) }
                } } }
            }
        }
    }
}

/// The number of cases with each status; each selects its status.
fn filters(report: &RunReport, key: RunId, selected: &str) -> Markup {
    let all = [Status::Failed, Status::Error, Status::Passed, Status::NotSupported, Status::Skipped];
    let count = |status: Status| report.cases.iter().filter(|case| case.status == status).count();
    html! {
        ul.states aria-label="Cases by status" {
            li { a href={ "/conformance/" (key) } aria-current=[selected.is_empty().then_some("true")] { "all " strong { (report.cases.len()) } } }
            @for status in all {
                @let text = status.as_str();
                @if count(status) > 0 {
                    li { a href={ "/conformance/" (key) "?status=" (text) } aria-current=[(selected == text).then_some("true")] { (page::badge(text)) " " strong { (count(status)) } } }
                }
            }
        }
    }
}
