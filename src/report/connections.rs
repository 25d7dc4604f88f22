//! Reports about metrics stores and Grafanas: what discovery found, how useful a store is, golden signals, dashboards.

use super::verbs::{Render, list, objects, table, warnings};
use super::{Block, Cell, Tone, Words};
use crate::observe::chart::{number, sparkline};
use crate::observe::instance::{Instance, State};
use crate::observe::ladder::{Diagnosis, Rung, Severity};
use crate::observe::signals::{Presence, SignalValue};
use crate::prose::plural;
use crate::task::connection::{CheckReport, ConnectionReport, DiscoverReport};
use crate::task::dashboard::DashboardReport;
use crate::task::metrics::{PromqlReport, QueryReport};

/// Rows of a table of signals, unless everything is wanted.
const ROWS: usize = 40;

/// The word of the contract.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Render for DiscoverReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let rows = self.instances.iter().map(|one| {
            let tone = match one.state {
                State::Connected => Tone::Good,
                State::Discovered => Tone::Plain,
                State::Refused | State::Unreachable => Tone::Bad,
            };
            let product = format!("{} {}", word(one.flavor), one.version.as_deref().unwrap_or_default());
            vec![
                Cell::new(Tone::Strong, product.trim_end()),
                Cell::plain(address(one)),
                Cell::new(tone, word(one.state)),
                Cell::plain(one.used_by.join(", ")),
            ]
        });
        let mut blocks = Vec::new();
        blocks.extend(table(&["PRODUCT", "ADDRESS", "STATE", "USED BY"], rows.collect()));
        if self.instances.is_empty() {
            blocks.push(Block::Line(Cell::plain("no Prometheus-compatible store and no Grafana was found")));
        }
        let reasons =
            self.instances.iter().filter_map(|one| Some(format!("{}: {}", address(one), one.reason.as_ref()?)));
        blocks.extend(list("not connected", &reasons.collect::<Vec<_>>()));
        if self.omitted > 0 {
            let text = format!(
                "{} with lower scores are left out; select namespaces or kinds",
                plural(self.omitted, "server")
            );
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        blocks.extend(list("could not be listed", &self.unread));
        blocks
    }
}

fn address(one: &Instance) -> String {
    let service = one.service.as_ref().map(ToString::to_string);
    service.or_else(|| one.url.clone()).unwrap_or_else(|| one.fingerprint.clone())
}

impl Render for ConnectionReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let words = if self.dry_run { Words::Planned } else { Words::Done };
        let mut blocks: Vec<Block> = objects(words, &self.objects).into_iter().collect();
        match (self.state, &self.reason) {
            (Some(State::Unreachable), reason) => blocks.push(Block::Message {
                severity: Cell::new(Tone::Changed, "unreachable"),
                text: reason.clone().unwrap_or_default(),
            }),
            (Some(state), _) => blocks.push(Block::Line(Cell::new(Tone::Good, word(state)))),
            (None, _) => {}
        }
        blocks.extend(warnings(&self.warnings));
        blocks
    }
}

impl Render for CheckReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let reached = if self.rung == self.of {
            Cell::new(Tone::Good, format!("{} serves Istio well: every check passed", self.store))
        } else {
            let text = format!("{}: {} is reached, {} is not", self.store, word(self.rung), word(next(self.rung)));
            Cell::new(Tone::Bad, text)
        };
        let mut blocks = vec![Block::Line(reached)];
        if self.rung >= Rung::Fresh {
            let text = format!("{} with a proxy should be scraped", plural(self.expected_targets, "pod"));
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        blocks.extend(self.findings.iter().map(finding));
        blocks.extend(list("could not be listed, so what they explain is not explained", &self.unread));
        blocks
    }
}

/// The rung above, which was not reached.
const fn next(rung: Rung) -> Rung {
    match rung {
        Rung::Unreachable => Rung::Reachable,
        Rung::Reachable => Rung::Authorized,
        Rung::Authorized => Rung::Prometheus,
        Rung::Prometheus => Rung::Fresh,
        Rung::Fresh => Rung::ScrapesIstio,
        Rung::ScrapesIstio => Rung::Complete,
        Rung::Complete | Rung::Correct => Rung::Correct,
    }
}

fn finding(one: &Diagnosis) -> Block {
    let severity = match one.severity {
        Severity::Error => Cell::new(Tone::Bad, "error"),
        Severity::Warning => Cell::new(Tone::Changed, "warning"),
        Severity::Info => Cell::new(Tone::Quiet, "info"),
    };
    Block::Message { severity, text: format!("{} ({}). {}", one.message, word(one.cause), one.remedy) }
}

impl Render for QueryReport {
    fn blocks(&self, wide: bool) -> Vec<Block> {
        let mut rows = Vec::new();
        for signal in &self.signals {
            for value in &signal.values {
                let mut row =
                    vec![Cell::new(Tone::Strong, &signal.name), Cell::plain(value.name()), shown(value, &signal.unit)];
                row.extend(self.history.is_some().then(|| Cell::plain(sparkline(&value.points))));
                rows.push(row);
            }
        }
        let total = rows.len();
        if !wide {
            rows.truncate(ROWS);
        }
        let shown = rows.len();
        let mut header = vec!["SIGNAL", "SERVICE", "VALUE"];
        header.extend(self.history.is_some().then_some("HISTORY"));
        let mut blocks = Vec::new();
        blocks.extend(table(&header, rows));
        if shown < total {
            let text = format!("{} more; -o wide shows all", total - shown);
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        let without = self.signals.iter().filter(|signal| signal.values.is_empty());
        let without: Vec<&str> = without.map(|signal| signal.name.as_str()).collect();
        if !without.is_empty() {
            let text = format!("no series, which is not zero: {}; connection.check shows why", without.join(", "));
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        blocks.extend(warnings(&self.warnings));
        blocks
    }
}

fn shown(value: &SignalValue, unit: &str) -> Cell {
    let at_least = if value.saturated { "≥ " } else { "" };
    let text = match (value.presence, unit) {
        (Presence::None, _) => "none".to_owned(),
        (_, "ratio") => format!("{} %", number(value.value * 100.0)),
        (_, "requests-per-second" | "pushes-per-second" | "rejects-per-second") => {
            format!("{} /s", number(value.value))
        }
        (_, "bytes-per-second") => format!("{} B/s", number(value.value)),
        (_, "milliseconds") => format!("{at_least}{} ms", number(value.value)),
        (_, "seconds") if value.value >= 172_800.0 => format!("{} days", number(value.value / 86_400.0)),
        (_, "seconds") => format!("{} s", number(value.value)),
        _ => number(value.value),
    };
    let tone = if value.presence == Presence::Value { Tone::Plain } else { Tone::Quiet };
    Cell::new(tone, text)
}

impl Render for PromqlReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let rows = self.series.iter().map(|one| {
            let labels = one.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
            vec![Cell::plain(labels.collect::<Vec<_>>().join(", ")), Cell::plain(&one.value)]
        });
        let mut blocks = Vec::new();
        blocks.extend(table(&["LABELS", "VALUE"], rows.collect()));
        if self.series.is_empty() {
            blocks.push(Block::Line(Cell::plain("no series")));
        }
        if self.omitted > 0 {
            blocks.push(Block::Line(Cell::new(Tone::Quiet, format!("{} more", self.omitted))));
        }
        blocks.extend(warnings(&self.warnings));
        blocks
    }
}

impl Render for DashboardReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let way = self.by.map(|by| format!(" by {}", word(by))).unwrap_or_default();
        let dry = if self.dry_run { "; nothing was written" } else { "" };
        let mut blocks = vec![Block::Line(Cell::plain(format!("{}{way}{dry}", self.grafana)))];
        let rows = self.items.iter().map(|item| {
            vec![
                Cell::new(Tone::Strong, word(item.kind)),
                Cell::plain(&item.title),
                Cell::plain(word(item.action)),
                Cell::plain(item.reason.as_ref().or(item.path.as_ref()).cloned().unwrap_or_default()),
            ]
        });
        blocks.extend(table(&["ITEM", "TITLE", "ACTION", "PATH OR REASON"], rows.collect()));
        blocks.extend(objects(if self.dry_run { Words::Planned } else { Words::Done }, &self.objects));
        if let Some(health) = &self.data_source {
            let (tone, text) = if health.healthy { (Tone::Good, "works") } else { (Tone::Bad, "does not work") };
            blocks.push(Block::Line(Cell::new(tone, format!("the data source {text}: {}", health.message))));
        }
        blocks.extend(warnings(&self.warnings));
        blocks
    }
}
