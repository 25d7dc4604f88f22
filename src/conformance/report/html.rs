//! One self-contained HTML page: matrix of specifications and features, evidence of each case, observed beside expected
//! shares. Light and dark by the reader's setting; printable. Every text is escaped.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::super::model::{CaseResult, Evidence, RunReport, SpecResult, Status};
use crate::prose::plural;

const STYLE: &str = "
:root{color-scheme:light dark;--ok:#1a7f37;--bad:#cf222e;--mid:#9a6700;--quiet:#6e7781;--line:#d0d7de}
@media(prefers-color-scheme:dark){:root{--ok:#3fb950;--bad:#f85149;--mid:#d29922;--quiet:#8b949e;--line:#30363d}}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
code,td{overflow-wrap:anywhere}
td,th{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.b{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;margin:.1rem;font-size:.85rem}
.passed,.supported,.full,.pass{color:var(--ok)}.failed,.fail,.error{color:var(--bad)}.partial{color:var(--mid)}
.not-supported,.skipped,.unsupported,.untested,.none,.unknown,.not-applicable,q{color:var(--quiet)}
summary{cursor:pointer}details{border-bottom:1px solid var(--line);padding:.35rem 0}code{font-size:.85rem}
q{quotes:none}.nowrap{white-space:nowrap}.w{border:2px solid var(--mid);padding:.5rem 1rem}
.share{display:grid;grid-template-columns:5rem 1fr 4rem;gap:.5rem;align-items:center;print-color-adjust:exact}
.bar{height:.9rem;width:100%;fill:var(--ok);display:block}.bar.e{fill:var(--quiet);opacity:.6}
@media(max-width:40rem){.matrix tr:first-child{display:none}.matrix tr{display:block;border-bottom:1px solid var(--line)}
.matrix td{display:block;border:0}.matrix td:nth-child(2)::before{content:\"Capability: \"}.matrix td:nth-child(3)::before{content:\"Compliance: \"}}
@media print{body{max-width:none;margin:0}details{break-inside:avoid}details::details-content{content-visibility:visible;block-size:auto}}
";

/// The page.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let run = &report.run;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Conformance of " (run.mesh.name) " on " (run.cluster.id) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Conformance: " (title(&run.suite.name)) " " (run.suite.version) }
                @if run.driver == "simulated" {
                    p.w { "Simulated: no request was sent. This report says nothing about the cluster." }
                }
                (about(report))
                h2 { "Specifications and features" }
                (matrix(&report.specs))
                h2 { "Cases" }
                @for case in &report.cases { (one(case)) }
            }
        }
    };
    page.into_string()
}

fn about(report: &RunReport) -> Markup {
    let run = &report.run;
    let percent = report.summary.pass_percent.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %"));
    html! {
        table {
            tr { th { "Mesh" } td { (run.mesh.name) " " (run.mesh.version) ", revision " (run.mesh.revision) ", " (run.mesh.data_plane) } }
            tr { th { "Cluster" } td { (run.cluster.id) ", Kubernetes " (run.cluster.kubernetes_version) } }
            @if run.suite.name == "smi" {
                tr { th { "Adapter" } td { (run.adapter.mode) " " (run.adapter.name) " " (run.adapter.version) } }
            }
            tr { th { "Suite" } td { (run.suite.origin) ", driver " (run.driver) } }
            tr { th { "Run" } td { code { (run.run_id) } ", " (to_seconds(&run.started_at)) } }
            tr { th { "Passed" } td { (report.summary.counts.passed) " of " (report.summary.counts.total) " cases, " (percent) " of those judged" } }
        }
    }
}

/// Specifications with capability, compliance and features.
#[must_use]
pub fn matrix(specs: &[SpecResult]) -> Markup {
    html! {
        table.matrix {
            tr { th { "Specification" } th { "Capability" } th { "Compliance" } th { "Features" } }
            @for spec in specs {
                tr {
                    td.nowrap { (spec.title) br; q { (spec.version) } }
                    td class=(spec.capability.as_str()) { (spec.capability.as_str()) }
                    td class={ "nowrap " (spec.compliance.as_str()) } { (spec.compliance.as_str()) @if !spec.complete { " (incomplete)" } }
                    td { @for (name, state) in &spec.features {
                        span class={ "b " (state.as_str()) } title=(state.as_str()) { (name.replace('_', " ")) ": " (state.as_str()) } " "
                    } }
                }
            }
        }
    }
}

/// One case with its evidence; details that can be opened.
#[must_use]
pub fn one(case: &CaseResult) -> Markup {
    let evidence = &case.evidence;
    html! {
        details open[matches!(case.status, Status::Failed | Status::Error)] {
            summary {
                span class={ "b " (case.status.as_str()) } { (case.status.as_str()) } " "
                strong { (case.case_id) } " " (case.title) " " q { (case.feature.replace('_', " ")) ", " (case.duration_ms) " ms" }
            }
            @if !case.message.is_empty() { p class=(case.status.as_str()) { (case.message) } }
            @if !evidence.expected.is_empty() { (shares(evidence)) }
            @for phase in &evidence.phases {
                p { strong { (phase.name) } @if phase.control { " (control)" } " " q { (phase.duration_ms) " ms, " (plural(phase.rounds, "round")) } }
                table {
                    tr { th { "Check" } th { "Expected" } th { "Observed" } }
                    @for check in &phase.checks {
                        tr {
                            td { code { (check.what) } }
                            td { (check.expected) }
                            td class=(if check.held { "passed" } else { "failed" }) { (check.observed) }
                        }
                    }
                }
            }
            p { q { (plural(evidence.requests_sent, "request")) @for (status, count) in &evidence.by_status { ", " (status) ": " (count) } } }
            @for (title, texts) in [("Applied", &evidence.applied), ("Translated", &evidence.translated), ("Transport errors", &evidence.transport_errors)] {
                @if !texts.is_empty() { p { (title) ": " code { (texts.join(" · ")) } } }
            }
        }
    }
}

/// Expected above observed, for each backend.
fn shares(evidence: &Evidence) -> Markup {
    let total: u64 = evidence.by_backend.values().sum::<u64>().max(1);
    html! {
        table {
            tr { th { "Backend" } th { "Share of the requests; accepted difference: " (evidence.tolerance) " points" } }
            @for (name, expected) in &evidence.expected {
                @let observed = observed(evidence, name, total);
                tr { td { (name) } td {
                    div.share { "expected" (bar(*expected, "bar e")) span { (expected) " %" } }
                    div.share { "observed" (bar(observed, "bar")) span { (observed) " %" } }
                } }
            }
        }
    }
}

/// A suite's name for people.
fn title(suite: &str) -> &str {
    match suite {
        "smi" => "Service Mesh Interface",
        "gateway-api-mesh" => "Gateway API for mesh",
        other => other,
    }
}

/// A time in UTC without its fraction of a second.
fn to_seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

/// SVG, because the Content-Security-Policy of the dashboard permits no style attributes.
fn bar(percent: f64, class: &str) -> Markup {
    html! {
        svg class=(class) viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" { rect width=(percent.clamp(0.0, 100.0)) height="8" {} }
    }
}

fn observed(evidence: &Evidence, name: &str, total: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "numbers of requests are far below 2^52")]
    let share = evidence.by_backend.get(name).copied().unwrap_or(0) as f64 / total as f64;
    (share * 1000.0).round() / 10.0
}
