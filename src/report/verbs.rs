//! Reports of single verbs. Each report type knows its own form; the verb of a result says which type its report has.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Block, Cell, CodeGroup, Objects, Tone, Words};
use crate::cluster::ObjectReport;
use crate::mesh::{Finding, Severity};
use crate::observe::gate::Verdict;
use crate::prose::{agree, plural};
use crate::task::analyze::AnalysisReport;
use crate::task::connection::{CheckReport, ConnectionReport, DiscoverReport};
use crate::task::dashboard::DashboardReport;
use crate::task::mesh::{MeshReport, PrecheckReport, StatusReport, UpgradeGateReport};
use crate::task::metrics::{PromqlReport, QueryReport};
use crate::task::scrape::ScrapeReport;
use crate::task::traffic::{GateReport, TrafficReport};

/// A report that knows its own form.
pub(super) trait Render {
    /// Its blocks. `wide` lists unchanged objects too.
    fn blocks(&self, wide: bool) -> Vec<Block>;
}

/// The report of a verb; `None` for a verb without a form of its own, and for reports of newer versions.
#[must_use]
pub fn blocks(verb: &str, report: &Value, wide: bool) -> Option<Vec<Block>> {
    match verb {
        "mesh.install" | "mesh.upgrade" | "mesh.uninstall" => of::<MeshReport>(report, wide),
        "mesh.status" => of::<StatusReport>(report, wide),
        "mesh.precheck" => of::<PrecheckReport>(report, wide),
        "config.analyze" => of::<AnalysisReport>(report, wide),
        "scrape.apply" | "scrape.remove" => of::<ScrapeReport>(report, wide),
        "traffic.apply" | "traffic.clear" => of::<TrafficReport>(report, wide),
        "connection.discover" => of::<DiscoverReport>(report, wide),
        "connection.apply" => of::<ConnectionReport>(report, wide),
        "connection.check" => of::<CheckReport>(report, wide),
        "metrics.query" => of::<QueryReport>(report, wide),
        "metrics.promql" => of::<PromqlReport>(report, wide),
        "dashboard.apply" | "dashboard.remove" => of::<DashboardReport>(report, wide),
        _ => None,
    }
}

fn of<T: Render + DeserializeOwned>(report: &Value, wide: bool) -> Option<Vec<Block>> {
    Some(serde_json::from_value::<T>(report.clone()).ok()?.blocks(wide))
}

fn yes_or_no(value: bool) -> Cell {
    if value { Cell::new(Tone::Good, "yes") } else { Cell::new(Tone::Bad, "no") }
}

/// A table unless it has no rows.
pub(super) fn table(header: &[&'static str], rows: Vec<Vec<Cell>>) -> Option<Block> {
    (!rows.is_empty()).then(|| Block::Table { header: header.to_vec(), rows })
}

/// A list unless it has no items.
pub(super) fn list(title: impl Into<String>, items: &[String]) -> Option<Block> {
    (!items.is_empty()).then(|| Block::List { title: title.into(), items: items.to_vec() })
}

pub(super) fn objects(words: Words, objects: &[ObjectReport]) -> Option<Block> {
    (!objects.is_empty()).then(|| Block::Objects(Objects::of(words, objects)))
}

/// A warning of a task.
#[must_use]
pub fn warning(text: &str) -> Block {
    Block::Message { severity: Cell::new(Tone::Changed, "warning"), text: text.to_owned() }
}

pub(super) fn warnings(texts: &[String]) -> impl Iterator<Item = Block> {
    texts.iter().map(|text| warning(text))
}

/// Findings of checks, the most severe first.
fn messages(findings: &[Finding]) -> impl Iterator<Item = Block> {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    sorted.into_iter().map(message)
}

/// A finding of a check, such as `mesh.precheck`.
#[must_use]
pub fn message(finding: &Finding) -> Block {
    let severity = match finding.severity {
        Severity::Info => Cell::new(Tone::Quiet, "info"),
        Severity::Warning => Cell::new(Tone::Changed, "warning"),
        Severity::Error => Cell::new(Tone::Bad, "error"),
    };
    Block::Message { severity, text: format!("{} ({})", finding.message, finding.check) }
}

impl Render for MeshReport {
    fn blocks(&self, wide: bool) -> Vec<Block> {
        let words = if self.dry_run { Words::Planned } else { Words::Done };
        let rows = self.parts.iter().map(|part| {
            vec![
                Cell::new(Tone::Strong, part.component.as_str()),
                Cell::plain(&part.name),
                Cell::plain(part.version.as_ref().map(ToString::to_string).unwrap_or_default()),
                // A deleted part, and one that was not waited for, is neither ready nor broken.
                if part.ready { yes_or_no(true) } else { Cell::new(Tone::Quiet, "-") },
                Cell::plain(words.summary(&part.objects)),
            ]
        });
        let mut blocks = Vec::new();
        blocks.extend(table(&["COMPONENT", "NAME", "VERSION", "READY", "OBJECTS"], rows.collect()));
        for part in &self.parts {
            let is_shown =
                |it: &&ObjectReport| wide || it.action.writes() || it.problem.is_some() || it.reason.is_some();
            let shown: Vec<_> = part.objects.iter().filter(is_shown).cloned().collect();
            blocks.extend(objects(words, &shown));
        }
        blocks.extend(list("moved or restarted", &self.moved));
        blocks.extend(list("left in the cluster", &self.leftovers));
        if let Some(gate) = &self.gate {
            blocks.extend(upgrade_gate_blocks(gate));
        }
        blocks.extend(messages(&self.findings));
        blocks
    }
}

impl Render for StatusReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let gateway_api = self.gateway_api.as_deref().unwrap_or("not installed");
        let line =
            format!("Kubernetes {}, Gateway API {gateway_api}, {}", self.kubernetes, plural(self.proxies, "proxy"));
        let mut blocks = vec![Block::Line(Cell::plain(line))];
        let header = ["REVISION", "VERSION", "NAMESPACE", "READY", "INSTALLED BY", "SUPPORTED", "PROXIES"];
        let planes = self.control_planes.iter().map(|plane| {
            let proxies = plane.proxies.iter().map(|(version, count)| format!("{count} of {version}"));
            vec![
                Cell::new(Tone::Strong, &plane.revision),
                Cell::plain(plane.version.as_deref().unwrap_or("unknown")),
                Cell::plain(&plane.namespace),
                yes_or_no(plane.ready),
                Cell::plain(plane.installed_by.to_string()),
                if plane.supported { yes_or_no(true) } else { Cell::new(Tone::Changed, "end of life") },
                Cell::plain(proxies.collect::<Vec<_>>().join(", ")),
            ]
        });
        blocks.extend(table(&header, planes.collect()));
        let parts = self.parts.iter().map(|part| {
            vec![
                Cell::new(Tone::Strong, part.component.as_str()),
                Cell::plain(&part.name),
                Cell::plain(part.version.to_string()),
                Cell::plain(&part.namespace),
                yes_or_no(part.ready),
                if part.drift.is_empty() {
                    Cell::plain("none")
                } else {
                    Cell::new(Tone::Changed, Words::Drift.summary(&part.drift))
                },
            ]
        });
        blocks.extend(table(&["COMPONENT", "NAME", "VERSION", "NAMESPACE", "READY", "DRIFT"], parts.collect()));
        let tags = self.tags.iter().map(|tag| {
            vec![
                Cell::new(Tone::Strong, &tag.tag),
                Cell::plain(&tag.revision),
                Cell::plain(tag.installed_by.to_string()),
            ]
        });
        blocks.extend(table(&["TAG", "REVISION", "INSTALLED BY"], tags.collect()));
        let spaces = self.namespaces.iter().map(|space| {
            vec![
                Cell::new(Tone::Strong, &space.namespace),
                Cell::plain(if space.ambient { "ambient" } else { "sidecar" }),
                Cell::plain(space.revision.as_deref().unwrap_or_default()),
            ]
        });
        blocks.extend(table(&["NAMESPACE", "MODE", "REVISION OR TAG"], spaces.collect()));
        for part in &self.parts {
            let name = format!("{} {}", part.component.as_str(), part.name);
            blocks.extend(list(format!("{} is not ready", name.trim_end()), &part.waiting));
            blocks.extend(objects(Words::Drift, &part.drift));
        }
        blocks.extend(messages(&self.findings));
        blocks
    }
}

impl Render for PrecheckReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let platform = self.platform.as_deref().map(|platform| format!(" on {platform}")).unwrap_or_default();
        let verdict = if self.ready {
            Cell::new(Tone::Good, "✔ ready: the installation would succeed")
        } else {
            Cell::new(Tone::Bad, "✖ not ready: the installation would fail")
        };
        let version = Cell::plain(format!("Kubernetes {}{platform}", self.kubernetes));
        let mut blocks = vec![Block::Line(verdict), Block::Line(version)];
        blocks.extend(messages(&self.findings));
        blocks
    }
}

impl Render for AnalysisReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let mut groups: Vec<CodeGroup> = Vec::new();
        for finding in &self.findings {
            let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
            let line = (format!("{}{field}", finding.resource), finding.message.clone());
            if let Some(group) = groups.iter_mut().find(|group| group.code == finding.code) {
                group.findings.push(line);
                continue;
            }
            let known = self.codes.get(&finding.code);
            let tone = match finding.severity.as_str() {
                "error" => Tone::Bad,
                "warning" => Tone::Changed,
                _ => Tone::Quiet,
            };
            groups.push(CodeGroup {
                level: Cell::new(tone, finding.severity.as_str()),
                code: finding.code.clone(),
                title: known.map(|known| known.title.clone()).unwrap_or_default(),
                findings: vec![line],
                remedy: known.map(|known| known.remedy.clone()).unwrap_or_default(),
            });
        }
        let mut blocks: Vec<Block> = groups.into_iter().map(Block::Code).collect();
        if self.omitted > 0 {
            let line = format!("{}: `sailhand get <key> --attachment -`", plural(self.omitted, "more finding"));
            blocks.push(Block::Line(Cell::plain(line)));
        }
        blocks.extend(list("not read", &self.unread));
        let counts = format!(
            "{}, {}, {} info in {}",
            plural(self.errors, "error"),
            plural(self.warnings, "warning"),
            self.infos,
            plural(self.objects, "object")
        );
        blocks.push(Block::Line(Cell::new(Tone::Quiet, counts)));
        blocks
    }
}

impl Render for TrafficReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let subsets = self.services.iter().flat_map(|service| service.subsets.iter().map(move |it| (service, it)));
        let rows = subsets.map(|(service, subset)| {
            let labels = subset.labels.0.iter().map(|(key, value)| format!("{key}={value}"));
            vec![
                Cell::new(Tone::Strong, &service.service),
                Cell::plain(&subset.name),
                Cell::plain(labels.collect::<Vec<_>>().join(",")),
                match subset.ready_pods {
                    Some(0) => Cell::new(Tone::Bad, "0"),
                    Some(pods) => Cell::plain(pods.to_string()),
                    None => Cell::new(Tone::Quiet, "unknown"),
                },
            ]
        });
        let mut blocks = Vec::new();
        blocks.extend(table(&["SERVICE", "SUBSET", "LABELS", "READY PODS"], rows.collect()));
        for service in &self.services {
            let none = ["no rules".to_owned()];
            let rules = if service.rules.is_empty() { none.as_slice() } else { &service.rules };
            blocks.extend(list(format!("rules of {}", service.service), rules));
        }
        if let Some(gate) = &self.gate {
            blocks.extend(gate_blocks(gate));
        }
        blocks.extend(warnings(&self.warnings));
        blocks.extend(objects(Words::Done, &self.objects));
        blocks
    }
}

fn gate_blocks(gate: &GateReport) -> Vec<Block> {
    let title = format!(
        "{} has {} % of the requests; it had {} %, {} % were requested",
        gate.canary, gate.weight_percent, gate.baseline_percent, gate.target_percent
    );
    let rows = gate.observations.iter().map(|one| {
        vec![
            Cell::plain(format!("{} %", one.weight_percent)),
            Cell::plain(one.requests.to_string()),
            Cell::plain(one.failed.to_string()),
            Cell::plain(one.latency_p99_ms.map(|ms| ms.to_string()).unwrap_or_default()),
            verdict(one.verdict),
        ]
    });
    let mut blocks = vec![Block::Line(Cell::new(Tone::Quiet, title))];
    blocks.extend(table(&["WEIGHT", "REQUESTS", "FAILED", "P99 MS", "VERDICT"], rows.collect()));
    blocks
}

fn verdict(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Good => Cell::new(Tone::Good, "good"),
        Verdict::Bad => Cell::new(Tone::Bad, "bad"),
        Verdict::Unclear => Cell::plain("unclear"),
        Verdict::NoData => Cell::new(Tone::Quiet, "no data"),
    }
}

fn upgrade_gate_blocks(gate: &UpgradeGateReport) -> Vec<Block> {
    let back = if gate.went_back { ", and everything went back" } else { "" };
    let title = format!(
        "{} of {} {} restarted under the gate{back}",
        gate.restarted,
        plural(gate.workloads, "workload"),
        agree(gate.restarted, "was", "were")
    );
    let rows = gate.observations.iter().map(|one| {
        vec![
            Cell::plain(one.restarted.to_string()),
            Cell::plain(one.requests.to_string()),
            Cell::plain(one.failed.to_string()),
            Cell::plain(one.latency_p99_ms.map(|ms| ms.to_string()).unwrap_or_default()),
            verdict(one.verdict),
            Cell::plain(one.worst.as_ref().or(one.reason.as_ref()).cloned().unwrap_or_default()),
        ]
    });
    let mut blocks = vec![Block::Line(Cell::new(Tone::Quiet, title))];
    blocks.extend(table(&["RESTARTED", "REQUESTS", "FAILED", "P99 MS", "VERDICT", "EVIDENCE"], rows.collect()));
    blocks.extend(list("exceeded a threshold before, not judged", &gate.not_judged));
    blocks
}

impl Render for ScrapeReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let mut blocks = match (&self.prometheus, &self.jobs) {
            (Some(prometheus), _) => vec![Block::Line(Cell::plain(format!("monitors for Prometheus {prometheus}")))],
            (None, Some(jobs)) => {
                let title = "add to scrape_configs of the store's prometheus.yml:";
                vec![Block::Line(Cell::new(Tone::Quiet, title)), Block::Text(jobs.clone())]
            }
            (None, None) => Vec::new(),
        };
        blocks.extend(warnings(&self.warnings));
        blocks.extend(objects(Words::Done, &self.objects));
        blocks
    }
}
