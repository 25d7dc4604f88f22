//! Reports about metrics stores and Grafanas: what discovery found, how useful a store is, golden signals, dashboards.

use super::verbs::{Render, list, objects, table, warnings};
use super::{Block, Cell, Tone, Words};
use crate::observe::chart::{number, sparkline};
use crate::observe::instance::{Instance, State};
use crate::observe::ladder::{Diagnosis, Rung, Severity, headline};
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
                Cell::new(tone, one.state.shown()),
                Cell::plain(self.connections_to(Some(&one.fingerprint)).join(", ")),
                Cell::plain(one.used_by.join(", ")),
            ]
        });
        let mut blocks = Vec::new();
        blocks.extend(table(&["PRODUCT", "ADDRESS", "STATE", "CONNECTIONS", "USED BY"], rows.collect()));
        if self.instances.is_empty() {
            blocks.push(Block::Line(Cell::plain("no Prometheus-compatible store and no Grafana was found")));
        }
        let reasons =
            self.instances.iter().filter_map(|one| Some(format!("{}: {}", address(one), one.reason.as_ref()?)));
        blocks.extend(list("reasons", &reasons.collect::<Vec<_>>()));
        if self.omitted > 0 {
            let text = format!(
                "{} with lower scores are left out; select namespaces or kinds",
                plural(self.omitted, "server")
            );
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        blocks.extend(list("connections to other servers", &self.connections_to(None)));
        blocks.extend(list("could not be listed", &self.unread));
        blocks
    }
}

impl DiscoverReport {
    /// Names of the connections to a server, or to none of the reported ones.
    fn connections_to(&self, fingerprint: Option<&str>) -> Vec<String> {
        let to = self.connections.iter().filter(|one| one.fingerprint.as_deref() == fingerprint);
        to.map(|one| one.name.clone()).collect()
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
            (Some(state), _) => {
                blocks.push(Block::Line(Cell::new(Tone::Good, format!("the server {}", state.shown()))));
            }
            (None, _) => {}
        }
        blocks.extend(warnings(&self.warnings));
        blocks
    }
}

impl Render for CheckReport {
    fn blocks(&self, _: bool) -> Vec<Block> {
        let tone = if self.rung == self.of { Tone::Good } else { Tone::Bad };
        let text = format!("{} {}", self.store, headline(self.rung, &self.findings));
        let mut blocks = vec![Block::Line(Cell::new(tone, text))];
        if self.rung >= Rung::Fresh {
            let text = format!("the cluster has {} with a proxy", plural(self.expected_targets, "running pod"));
            blocks.push(Block::Line(Cell::new(Tone::Quiet, text)));
        }
        blocks.extend(self.findings.iter().map(finding));
        blocks.extend(list("the check may miss causes, because these could not be read", &self.unread));
        blocks
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ladder::Cause;

    fn lines(report: &impl Render) -> Vec<String> {
        let text = |block: Block| match block {
            Block::Line(cell) => cell.text,
            Block::Message { severity, text } => format!("{}: {text}", severity.text),
            Block::Table { header, rows } => {
                let cells = |row: &Vec<Cell>| row.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" | ");
                let rows = rows.iter().map(cells);
                [header.join(" | ")].into_iter().chain(rows).collect::<Vec<_>>().join("; ")
            }
            Block::List { title, items } => format!("{title}: {}", items.join(", ")),
            _ => String::new(),
        };
        report.blocks(false).into_iter().map(text).collect()
    }

    #[test]
    fn check_says_what_the_store_lacks() {
        let finding = Diagnosis {
            cause: Cause::ProxiesNotScraped,
            severity: Severity::Error,
            message: "istiod is scraped, none of 2 proxies is".to_owned(),
            evidence: Vec::new(),
            remedy: "Send `scrape.apply` for this connection.".to_owned(),
        };
        let report = CheckReport {
            store: "connection mesh".to_owned(),
            rung: Rung::Fresh,
            of: Rung::Correct,
            findings: vec![finding],
            expected_targets: 2,
            unread: Vec::new(),
        };
        let expected = [
            "connection mesh has metrics of istiod, but of no proxy",
            "the cluster has 2 running pods with a proxy",
            "error: istiod is scraped, none of 2 proxies is (proxies-not-scraped). Send `scrape.apply` for this connection.",
        ];
        assert_eq!(lines(&report), expected);
    }

    #[test]
    fn discovery_names_the_connections_to_a_server() {
        let report: DiscoverReport = serde_json::from_value(serde_json::json!({
            "instances": [{"fingerprint": "prometheus/m/p:9090", "kind": "prometheus", "flavor": "prometheus", "score": 0.9,
                "evidence": [], "state": "connected", "service": {"namespace": "m", "name": "p", "port": 9090}}],
            "connections": [
                {"name": "central", "kind": "grafana", "configured": true},
                {"name": "mesh", "kind": "prometheus", "configured": false, "fingerprint": "prometheus/m/p:9090"}],
            "unread": [],
        }))
        .unwrap();
        let expected = [
            "PRODUCT | ADDRESS | STATE | CONNECTIONS | USED BY; prometheus | http://p.m:9090 | answers | mesh | ",
            "connections to other servers: central",
        ];
        assert_eq!(lines(&report), expected);
    }
}
