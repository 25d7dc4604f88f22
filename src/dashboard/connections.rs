//! The page Connections: metrics stores and Grafanas as the newest `connection.discover` and `connection.check` of each
//! target report them, and golden signals of the newest `metrics.query` results.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Extension, Query as Parameters, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::access::Viewer;
use super::index::{Query, Run, RunState};
use super::page::After;
use super::refusal::Refusal;
use super::{Shared, chart, page, report};
use crate::event::Outcome;
use crate::observe::instance::State as ServerState;

/// Targets of a page. Each is up to 35 requests of about 0.3 ms.
const TARGETS: usize = 5;
/// Results of each verb and target that are read.
const CHECKS: usize = 10;
const QUERIES: usize = 24;
/// Maximum number of rows of a table.
const ROWS: usize = 200;
/// Rungs of the check, lowest first, with what the page says of a store that has reached them.
const RUNGS: &[(&str, &str)] = &[
    ("unreachable", ""),
    ("reachable", "answers"),
    ("authorized", "accepts the worker's requests"),
    ("prometheus", "is compatible with Prometheus"),
    ("fresh", "has recent samples"),
    ("scrapes-istio", "has metrics of Istio"),
    ("complete", "has metrics of every proxy"),
    ("correct", "nothing falsifies the numbers"),
];

/// Fields of the report of `connection.discover` that the page shows. Unknown fields of a newer worker are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Discovered {
    instances: Vec<Server>,
    connections: Vec<Connection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    name: String,
    kind: String,
    configured: bool,
    fingerprint: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    kind: String,
    flavor: String,
    version: Option<String>,
    fingerprint: String,
    state: String,
    reason: Option<String>,
    score: f64,
    used_by: Vec<String>,
}

/// Fields of the report of `connection.check`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Checked {
    store: String,
    rung: String,
    findings: Vec<Finding>,
    expected_targets: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Finding {
    cause: String,
    severity: String,
    message: String,
    remedy: String,
}

/// Fields of the report of `metrics.query`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Queried {
    store: String,
    signals: Vec<Signal>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Signal {
    name: String,
    values: Vec<SignalValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignalValue {
    namespace: String,
    service: String,
    version: Option<String>,
    presence: String,
    value: f64,
    saturated: bool,
}

/// A report, and the run that it is from.
struct Of<R> {
    run: Run,
    report: R,
}

struct Target {
    name: Arc<str>,
    discovered: Option<Of<Discovered>>,
    /// The newest check of each store.
    checks: BTreeMap<String, Of<Checked>>,
    /// By store; the oldest query first.
    queries: BTreeMap<String, Vec<Of<Queried>>>,
}

pub(super) async fn page(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Parameters(query): Parameters<After>,
) -> Result<Markup, Refusal> {
    let _permit = shared.reads.acquire().await.ok();
    let mut targets = Vec::new();
    let mut names = names(&shared);
    let more = page::after(&mut names, &query.after, TARGETS, |name| name);
    for name in names {
        targets.push(read(&shared, name).await?);
    }
    let content = html! {
        @for target in &targets { (one(target)) }
        @if targets.is_empty() {
            p.empty { "No connections yet. Find metrics stores and Grafanas: " code { "sailhand submit connection.discover --target <target>" } }
        }
        (page::more("/connections", &query.after, more.as_deref()))
    };
    Ok(page::frame(&shared, &viewer, "/connections", "Connections", &content))
}

fn succeeded(verb: &str, target: &str) -> Query {
    let state = Some(RunState::Ended(Outcome::Succeeded));
    Query { state, verb: verb.to_owned(), target: target.to_owned(), ..Query::default() }
}

/// Targets with a result of one of the verbs, by name.
fn names(shared: &Shared) -> Vec<Arc<str>> {
    let index = shared.index();
    let mut names = BTreeSet::new();
    for verb in ["connection.discover", "connection.check", "metrics.query"] {
        names.extend(index.page(&succeeded(verb, ""), None).map(|run| run.target.clone()));
    }
    names.into_iter().collect()
}

async fn read(shared: &Shared, name: Arc<str>) -> Result<Target, Refusal> {
    let discovered = reports(shared, "connection.discover", &name, 1).await?.pop();
    let mut checks: BTreeMap<String, Of<Checked>> = BTreeMap::new();
    for check in reports::<Checked>(shared, "connection.check", &name, CHECKS).await? {
        checks.entry(check.report.store.clone()).or_insert(check);
    }
    let mut queries: BTreeMap<String, Vec<Of<Queried>>> = BTreeMap::new();
    for query in reports::<Queried>(shared, "metrics.query", &name, QUERIES).await?.into_iter().rev() {
        queries.entry(query.report.store.clone()).or_default().push(query);
    }
    Ok(Target { name, discovered, checks, queries })
}

/// The newest reports of a verb, the newest first. Reports that this version cannot read are left out.
async fn reports<R: DeserializeOwned>(
    shared: &Shared,
    verb: &str,
    target: &str,
    most: usize,
) -> Result<Vec<Of<R>>, Refusal> {
    let runs: Vec<Run> = shared.index().page(&succeeded(verb, target), None).take(most).cloned().collect();
    let mut found = Vec::new();
    for run in runs {
        found.extend(report::read(shared, run.key).await?.map(|report| Of { run, report }));
    }
    Ok(found)
}

fn one(target: &Target) -> Markup {
    html! {
        section {
            h2 { (target.name) }
            @if let Some(discovered) = &target.discovered { (servers(discovered)) }
            @for check in target.checks.values() { (ladder(check)) }
            @for (store, queries) in &target.queries { (signals(store, queries)) }
        }
    }
}

/// When, and which run.
fn origin(run: &Run) -> Markup {
    html! { a href={ "/runs/" (run.key) } { (run.verb) } " " span.quiet { (page::moment(run.changed)) } }
}

fn servers(discovered: &Of<Discovered>) -> Markup {
    let Discovered { instances, connections } = &discovered.report;
    let names = |server: &Server| {
        let to = connections.iter().filter(|one| one.fingerprint.as_ref() == Some(&server.fingerprint));
        to.map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let is_reported =
        |one: &&Connection| instances.iter().any(|server| one.fingerprint.as_ref() == Some(&server.fingerprint));
    let others: Vec<&Connection> = connections.iter().filter(|one| !is_reported(one)).collect();
    html! {
        h3 { "Servers: " (origin(&discovered.run)) }
        @if instances.is_empty() { p.empty { "No Prometheus and no Grafana was found." } }
        @else {
            table.rows {
                thead { tr { th { "State" } th { "Product" } th { "Address" } th { "Connections" } th { "Score" } th { "Used by" } th { "Reason" } } }
                tbody { @for server in instances.iter().take(ROWS) { tr {
                    td data-label="State" { (page::badge_with(&server.state, word(&server.state))) }
                    td data-label="Product" { (server.flavor) " " span.quiet { (server.version.as_deref().unwrap_or_default()) } }
                    td data-label="Address" { code { (server.fingerprint.strip_prefix(&format!("{}/", server.kind)).unwrap_or(&server.fingerprint)) } }
                    td data-label="Connections" { (names(server)) }
                    td data-label="Score" { (format!("{:.0} %", server.score * 100.0)) }
                    td data-label="Used by" { (server.used_by.join(", ")) }
                    td data-label="Reason" { @if let Some(reason) = &server.reason { (reason) } }
                } } }
            }
        }
        @if !others.is_empty() {
            p { "Connections to servers that are not in this list: "
                @for (at, one) in others.iter().take(ROWS).enumerate() {
                    @if at > 0 { ", " }
                    strong { (one.name) } " " span.quiet { "(" (one.kind) @if one.configured { ", of the worker's configuration" } ")" }
                }
            }
        }
    }
}

/// The state in words; as it is where this version does not know it.
fn word(state: &str) -> &str {
    match serde_json::from_value::<ServerState>(state.into()) {
        Ok(known) => known.shown(),
        Err(_) => state,
    }
}

/// The rungs that the store has reached, and why not the next.
fn ladder(check: &Of<Checked>) -> Markup {
    let Of { run, report } = check;
    let reached = RUNGS.iter().position(|(rung, _)| *rung == report.rung).unwrap_or_default();
    html! {
        h3 { code { (report.store) } ": " (origin(run)) }
        ol.ladder aria-label="Steps of the check" {
            @for (at, (_, says)) in RUNGS.iter().enumerate().skip(1) {
                li data-reached=(at <= reached) {
                    span aria-hidden="true" { (if at <= reached { "✔" } else { "○" }) } " " (says)
                    @if at > reached { span.hidden { " (no)" } }
                }
            }
        }
        p.quiet {
            @if report.expected_targets == 0 { "The cluster has no pods of a mesh that can be scraped." }
            @else { (report.expected_targets) " pods of the mesh should be scraped." }
        }
        @for finding in report.findings.iter().take(ROWS) {
            div.problem data-severity=(finding.severity) {
                p { (page::badge(&finding.severity)) " " code.whole { (finding.cause) } " " (finding.message) }
                @if !finding.remedy.is_empty() { p { strong { "Remedy: " } (finding.remedy) } }
            }
        }
    }
}

/// Namespace, service and version; empty names are the whole mesh.
type Subject = (String, String, Option<String>);
/// Values of each signal, the newest last; whether the newest is a lower bound.
type Series = BTreeMap<String, (Vec<f64>, bool)>;

fn series(queries: &[Of<Queried>]) -> BTreeMap<Subject, Series> {
    let mut found: BTreeMap<Subject, Series> = BTreeMap::new();
    for query in queries {
        for signal in &query.report.signals {
            for value in signal.values.iter().filter(|value| value.presence != "none" && value.value.is_finite()) {
                let subject = (value.namespace.clone(), value.service.clone(), value.version.clone());
                let (values, saturated) = found.entry(subject).or_default().entry(signal.name.clone()).or_default();
                values.push(value.value);
                *saturated = value.saturated;
            }
        }
    }
    found
}

fn signals(store: &str, queries: &[Of<Queried>]) -> Markup {
    let found = series(queries);
    let newest = |series: &Series, name: &str| series.get(name).and_then(|(values, _)| values.last().copied());
    let most = |name: &str| found.values().filter_map(|series| newest(series, name)).fold(0.0, f64::max);
    let (rate, latency) = (most("rate"), most("latency-p99"));
    html! {
        h3 { "Golden signals of " code { (store) } @if let Some(query) = queries.last() { ": " (origin(&query.run)) } }
        @if found.is_empty() { p.empty { "The store has no series of requests: there was no traffic, or nothing is scraped." } }
        @else {
            table.rows.signals {
                thead { tr { th { "Service" } th { "Requests" } th { "Errors" } th { "Latency" } th { "TCP" } th { "Requests over time" } } }
                tbody { @for (subject, series) in found.iter().take(ROWS) { tr {
                    td data-label="Service" { (name(subject)) }
                    td data-label="Requests" { @if let Some(value) = newest(series, "rate") { (chart::bar(value, rate, "rate")) (chart::number(value)) " /s" } }
                    td data-label="Errors" { @if let Some(value) = newest(series, "errors") {
                        (chart::bar(value, 1.0, "errors")) (chart::number(value * 100.0)) " %"
                    } }
                    td data-label="Latency" { (quantiles(series, latency)) }
                    td data-label="TCP" { @if let (Some(sent), Some(received)) = (newest(series, "tcp-sent"), newest(series, "tcp-received")) {
                        "↑ " (bytes(sent)) " ↓ " (bytes(received))
                    } }
                    td data-label="Over time" { @if let Some((values, _)) = series.get("rate") { (chart::sparkline(values)) } }
                } } }
            }
            p.quiet { "The newest value of each signal, from " (queries.len()) " results." @if found.len() > ROWS { " " (found.len() - ROWS) " more services are in the results." } }
        }
    }
}

fn name((namespace, service, version): &Subject) -> Markup {
    html! {
        @if service.is_empty() && namespace.is_empty() { strong { "whole mesh" } }
        @else { strong { (service) } " " span.quiet { (namespace) } }
        @if let Some(version) = version { " " code.whole { (version) } }
    }
}

fn quantiles(series: &Series, most: f64) -> Markup {
    html! {
        @for (quantile, name) in [("p50", "latency-p50"), ("p95", "latency-p95"), ("p99", "latency-p99")] {
            @if let Some((values, saturated)) = series.get(name) {
                @if let Some(value) = values.last() {
                    div.quantile { span.quiet { (quantile) } (chart::bar(*value, most, "latency")) span { @if *saturated { "> " } (chart::number(*value)) " ms" } }
                }
            }
        }
    }
}

fn bytes(rate: f64) -> String {
    let (mut rate, mut unit) = (rate, "B/s");
    for larger in ["KB/s", "MB/s", "GB/s"] {
        if rate < 1000.0 {
            break;
        }
        (rate, unit) = (rate / 1000.0, larger);
    }
    format!("{} {unit}", chart::number(rate))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index_run(verb: &str) -> Run {
        Run {
            key: "0".repeat(32).parse().unwrap(),
            target: "dev".into(),
            verb: verb.into(),
            source: "".into(),
            state: RunState::Ended(Outcome::Succeeded),
            attempts: 1,
            started: 0,
            changed: 0,
            progress: (0, 0),
            message: "".into(),
            version: 1,
        }
    }

    #[test]
    fn signals_of_several_results_are_one_series() {
        let query = |rate: f64, presence: &str| {
            let value =
                json!({ "namespace": "shop", "service": "reviews", "presence": presence, "value": rate, "unknown": 1 });
            let report =
                json!({ "store": "s", "signals": [{ "name": "rate", "unit": "", "query": "", "values": [value] }] });
            Of { run: index_run("metrics.query"), report: serde_json::from_value::<Queried>(report).unwrap() }
        };
        let found = series(&[query(1.0, "value"), query(0.0, "none"), query(3.0, "value"), query(0.0, "zero")]);
        let (values, _) = &found[&("shop".to_owned(), "reviews".to_owned(), None)]["rate"];
        assert_eq!(values, &[1.0, 3.0, 0.0]);
        let page = signals("<script>", &[query(1.0, "value"), query(2.0, "value")]).into_string();
        assert!(page.contains("<polyline") && page.contains("2.00 /s") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn check_steps_match_the_contract() {
        use crate::observe::ladder::Rung;
        let all = [
            Rung::Unreachable,
            Rung::Reachable,
            Rung::Authorized,
            Rung::Prometheus,
            Rung::Fresh,
            Rung::ScrapesIstio,
            Rung::Complete,
            Rung::Correct,
        ];
        assert!(all.iter().map(|rung| json!(rung)).eq(RUNGS.iter().map(|(rung, _)| json!(rung))));
    }

    #[test]
    fn servers_have_the_names_of_their_connections() {
        let report = json!({
            "instances": [{ "kind": "prometheus", "fingerprint": "prometheus/a" }],
            "connections": [
                { "name": "mesh", "kind": "prometheus", "fingerprint": "prometheus/a" },
                { "name": "central", "kind": "grafana", "configured": true },
            ],
        });
        let report = serde_json::from_value(report).unwrap();
        let page = servers(&Of { run: index_run("connection.discover"), report }).into_string();
        assert!(page.contains(r#"<td data-label="Connections">mesh</td>"#), "{page}");
        assert!(
            page.contains("<strong>central</strong>") && page.contains("(grafana, of the worker's configuration)"),
            "{page}"
        );
    }
}
