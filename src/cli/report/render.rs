//! Results of single verbs as tables. Each report type renders itself; the verb of a result says which type its report
//! has. Reports of other verbs, and of newer versions, are shown field by field in `super`.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DONE, DRIFT, PLANNED, check_line, summary, table};
use crate::cli::output::{BAD, CHANGED, Format, GOOD, QUIET, STRONG, styled};
use crate::cli::table::{Cell, Table};
use crate::cluster::ObjectReport;
use crate::mesh::Finding;
use crate::observe::gate::Verdict;
use crate::task::analyze::AnalysisReport;
use crate::task::mesh::{MeshReport, PrecheckReport, StatusReport};
use crate::task::scrape::ScrapeReport;
use crate::task::traffic::{GateReport, TrafficReport};

/// A report that knows its own form on the terminal.
trait Render {
    /// Appends its lines, each with a line break. `wide` names unchanged objects and shortens nothing.
    fn render(&self, wide: bool, text: &mut String);
}

/// The report of a verb as a table; `None` when the verb has none, or the report is not of its type.
pub(super) fn report(verb: &str, report: &Value, wide: bool) -> Option<String> {
    match verb {
        "mesh.install" | "mesh.upgrade" | "mesh.uninstall" => rendered::<MeshReport>(report, wide),
        "mesh.status" => rendered::<StatusReport>(report, wide),
        "mesh.precheck" => rendered::<PrecheckReport>(report, wide),
        "config.analyze" => rendered::<AnalysisReport>(report, wide),
        "scrape.apply" | "scrape.remove" => rendered::<ScrapeReport>(report, wide),
        "traffic.apply" | "traffic.clear" => rendered::<TrafficReport>(report, wide),
        _ => None,
    }
}

fn rendered<T: Render + DeserializeOwned>(report: &Value, wide: bool) -> Option<String> {
    let report: T = serde_json::from_value(report.clone()).ok()?;
    let mut text = String::new();
    report.render(wide, &mut text);
    Some(text)
}

fn yes_or_no(value: bool) -> Cell {
    if value { Cell::styled(GOOD, "yes") } else { Cell::styled(BAD, "no") }
}

fn put<const N: usize>(rows: Table<N>, wide: bool, text: &mut String) {
    let _ = writeln!(text, "{}", rows.text(if wide { Format::Wide } else { Format::Text }));
}

fn findings(findings: &[Finding], text: &mut String) {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in sorted {
        let _ = writeln!(text, "{}", check_line(finding));
    }
}

fn list(title: &str, items: &[String], text: &mut String) {
    if !items.is_empty() {
        let _ = writeln!(text, "{}", styled(QUIET, title));
        for item in items {
            let _ = writeln!(text, "  {item}");
        }
    }
}

impl Render for MeshReport {
    fn render(&self, wide: bool, text: &mut String) {
        let words = if self.dry_run { PLANNED } else { DONE };
        let mut rows = Table::new(&["COMPONENT", "NAME", "VERSION", "READY", "OBJECTS"]);
        for part in &self.parts {
            rows.row([
                Cell::styled(STRONG, part.component.as_str()),
                Cell::plain(&part.name),
                Cell::plain(part.version.as_ref().map(ToString::to_string).unwrap_or_default()),
                // A deleted part, and one that was not waited for, is neither ready nor broken.
                if part.ready { yes_or_no(true) } else { Cell::styled(QUIET, "-") },
                Cell::plain(summary(words, &part.objects)),
            ]);
        }
        if !self.parts.is_empty() {
            put(rows, wide, text);
        }
        for part in &self.parts {
            let is_shown =
                |it: &&ObjectReport| wide || it.action.writes() || it.problem.is_some() || it.reason.is_some();
            let shown: Vec<_> = part.objects.iter().filter(is_shown).cloned().collect();
            table(words, &shown, wide, text);
        }
        list("moved or restarted", &self.moved, text);
        list("left in the cluster", &self.residue, text);
        findings(&self.findings, text);
    }
}

impl Render for StatusReport {
    fn render(&self, wide: bool, text: &mut String) {
        let gateway_api = self.gateway_api.as_deref().map_or("not installed", |version| version);
        let _ = writeln!(text, "Kubernetes {}, Gateway API {gateway_api}, {} proxies", self.kubernetes, self.proxies);
        if !self.control_planes.is_empty() {
            let header = ["REVISION", "VERSION", "NAMESPACE", "READY", "INSTALLED BY", "SUPPORTED", "PROXIES"];
            let mut rows = Table::new(&header);
            for plane in &self.control_planes {
                let proxies = plane.proxies.iter().map(|(version, count)| format!("{count} of {version}"));
                rows.row([
                    Cell::styled(STRONG, &plane.revision),
                    Cell::plain(plane.version.as_deref().unwrap_or("unknown")),
                    Cell::plain(&plane.namespace),
                    yes_or_no(plane.ready),
                    Cell::plain(plane.installed_by.to_string()),
                    if plane.supported { yes_or_no(true) } else { Cell::styled(CHANGED, "end of life") },
                    Cell::plain(proxies.collect::<Vec<_>>().join(", ")),
                ]);
            }
            text.push('\n');
            put(rows, wide, text);
        }
        if !self.parts.is_empty() {
            let mut rows = Table::new(&["COMPONENT", "NAME", "VERSION", "NAMESPACE", "READY", "DRIFT"]);
            for part in &self.parts {
                rows.row([
                    Cell::styled(STRONG, part.component.as_str()),
                    Cell::plain(&part.name),
                    Cell::plain(part.version.to_string()),
                    Cell::plain(&part.namespace),
                    yes_or_no(part.ready),
                    if part.drift.is_empty() {
                        Cell::plain("none")
                    } else {
                        Cell::styled(CHANGED, summary(DRIFT, &part.drift))
                    },
                ]);
            }
            text.push('\n');
            put(rows, wide, text);
        }
        if !self.tags.is_empty() {
            let mut rows = Table::new(&["TAG", "REVISION", "INSTALLED BY"]);
            for tag in &self.tags {
                let owner = tag.installed_by.to_string();
                rows.row([Cell::styled(STRONG, &tag.tag), Cell::plain(&tag.revision), Cell::plain(owner)]);
            }
            text.push('\n');
            put(rows, wide, text);
        }
        if !self.namespaces.is_empty() {
            let mut rows = Table::new(&["NAMESPACE", "MODE", "REVISION OR TAG"]);
            for space in &self.namespaces {
                let mode = if space.ambient { "ambient" } else { "sidecar" };
                let revision = space.revision.as_deref().unwrap_or_default();
                rows.row([Cell::styled(STRONG, &space.namespace), Cell::plain(mode), Cell::plain(revision)]);
            }
            text.push('\n');
            put(rows, wide, text);
        }
        for part in &self.parts {
            list(&format!("{} {} is not ready", part.component.as_str(), part.name), &part.waiting, text);
            table(DRIFT, &part.drift, wide, text);
        }
        findings(&self.findings, text);
    }
}

impl Render for PrecheckReport {
    fn render(&self, _: bool, text: &mut String) {
        let platform = self.platform.as_deref().map(|platform| format!(" on {platform}")).unwrap_or_default();
        let verdict = if self.ready {
            styled(GOOD, "✔ ready: the installation would succeed")
        } else {
            styled(BAD, "✖ not ready: the installation would fail")
        };
        let _ = writeln!(text, "{verdict}\nKubernetes {}{platform}", self.kubernetes);
        findings(&self.findings, text);
    }
}

impl Render for AnalysisReport {
    fn render(&self, _: bool, text: &mut String) {
        let mut codes: Vec<_> = Vec::new();
        for finding in &self.findings {
            if !codes.contains(&&finding.code) {
                codes.push(&finding.code);
            }
        }
        for code in codes {
            let these: Vec<_> = self.findings.iter().filter(|finding| finding.code == *code).collect();
            let level = these.first().map_or("", |finding| finding.severity.as_str());
            let style = match level {
                "error" => BAD,
                "warning" => CHANGED,
                _ => QUIET,
            };
            let known = self.codes.get(code);
            let title = known.map_or("", |known| known.title.as_str());
            let _ = writeln!(text, "{}: {}", styled(style, format_args!("{level}[{code}]")), styled(STRONG, title));
            for finding in these {
                let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
                let _ = writeln!(text, "  {}{field}: {}", finding.resource, finding.message);
            }
            if let Some(known) = known {
                let _ = writeln!(text, "  {} {}\n", styled(GOOD, "help:"), known.remedy);
            }
        }
        if self.omitted > 0 {
            let _ = writeln!(text, "{} more findings: `sailhand get <key> --attachment -`", self.omitted);
        }
        list("not read", &self.unread, text);
        let counts = format!(
            "{} errors, {} warnings, {} infos in {} objects",
            self.errors, self.warnings, self.infos, self.objects
        );
        let _ = writeln!(text, "{}", styled(QUIET, counts));
    }
}

impl Render for TrafficReport {
    fn render(&self, wide: bool, text: &mut String) {
        let mut rows = Table::new(&["SERVICE", "SUBSET", "LABELS", "READY PODS"]);
        let mut some = false;
        for service in &self.services {
            for subset in &service.subsets {
                some = true;
                let labels = serde_json::to_value(&subset.labels).unwrap_or_default();
                let labels = labels.as_object().into_iter().flatten();
                let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
                rows.row([
                    Cell::styled(STRONG, &service.service),
                    Cell::plain(&subset.name),
                    Cell::plain(labels.collect::<Vec<_>>().join(",")),
                    match subset.ready_pods {
                        Some(0) => Cell::styled(BAD, "0"),
                        Some(pods) => Cell::plain(pods.to_string()),
                        None => Cell::styled(QUIET, "unknown"),
                    },
                ]);
            }
        }
        if some {
            put(rows, wide, text);
        }
        for service in &self.services {
            let none = ["no rules".to_owned()];
            let rules = if service.rules.is_empty() { none.as_slice() } else { &service.rules };
            list(&format!("rules of {}", service.service), rules, text);
        }
        if let Some(gate) = &self.gate {
            gate_lines(gate, wide, text);
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "{} {warning}", styled(CHANGED, "warning:"));
        }
        table(DONE, &self.objects, wide, text);
    }
}

fn gate_lines(gate: &GateReport, wide: bool, text: &mut String) {
    let title = format!(
        "{} has {} % of the requests; it had {} %, {} % were asked for",
        gate.canary, gate.weight_percent, gate.baseline_percent, gate.target_percent
    );
    let _ = writeln!(text, "{}", styled(QUIET, title));
    let mut rows = Table::new(&["WEIGHT", "REQUESTS", "FAILED", "P99 MS", "VERDICT"]);
    for one in &gate.observations {
        let verdict = match one.verdict {
            Verdict::Good => Cell::styled(GOOD, "good"),
            Verdict::Bad => Cell::styled(BAD, "bad"),
            Verdict::Unclear => Cell::plain("unclear"),
            Verdict::NoData => Cell::styled(QUIET, "no data"),
        };
        rows.row([
            Cell::plain(format!("{} %", one.weight_percent)),
            Cell::plain(one.requests.to_string()),
            Cell::plain(one.failed.to_string()),
            Cell::plain(one.latency_p99_ms.map(|ms| ms.to_string()).unwrap_or_default()),
            verdict,
        ]);
    }
    if !gate.observations.is_empty() {
        put(rows, wide, text);
    }
}

impl Render for ScrapeReport {
    fn render(&self, wide: bool, text: &mut String) {
        match (&self.prometheus, &self.jobs) {
            (Some(prometheus), _) => {
                let _ = writeln!(text, "{} {prometheus}", styled(QUIET, "monitors for Prometheus"));
            }
            (None, Some(jobs)) => {
                let title = "add to scrape_configs of the store's prometheus.yml:";
                let _ = writeln!(text, "{}\n{jobs}", styled(QUIET, title));
            }
            (None, None) => {}
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "{} {warning}", styled(CHANGED, "warning:"));
        }
        table(DONE, &self.objects, wide, text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(verb: &str, value: &Value) -> String {
        anstream::adapter::strip_str(&report(verb, value, false).unwrap()).to_string()
    }

    fn object(name: &str, action: &str) -> Value {
        json!({"object": {"api_version": "v1", "kind": "Service", "namespace": "a", "name": name}, "action": action})
    }

    #[test]
    fn components_of_a_mesh_are_rows() {
        let report = MeshReport {
            version: None,
            revision: "default".to_owned(),
            parts: Vec::new(),
            moved: vec!["namespace shop".to_owned()],
            residue: Vec::new(),
            findings: Vec::new(),
            dry_run: false,
        };
        let mut value = serde_json::to_value(report).unwrap();
        value["parts"] = json!([
            {"component": "base", "installation": "istio-base", "version": "1.30.3", "ready": true,
             "objects": [object("x", "unchanged"), object("y", "created")]},
            {"component": "gateway", "name": "a-edge", "installation": "g", "objects": [object("z", "deleted")]},
        ]);
        let text = shown("mesh.install", &value);
        assert_eq!(
            text,
            "COMPONENT  NAME    VERSION  READY  OBJECTS\n\
             base               1.30.3   yes    1 unchanged, 1 created\n\
             gateway    a-edge           -      1 deleted\n  \
             created    Service a/y\n  1 created\n  \
             deleted    Service a/z\n  1 deleted\n\
             moved or restarted\n  namespace shop\n"
        );
    }

    #[test]
    fn findings_of_the_analysis_are_grouped_by_code() {
        let finding = |name: &str| json!({"code": "IST0101", "severity": "error", "resource": name, "message": "host a not found", "fingerprint": "f"});
        let report = json!({
            "objects": 2, "errors": 2, "warnings": 0, "infos": 0, "findings": [finding("A b/c"), finding("A b/d")],
            "codes": {"IST0101": {"count": 2, "title": "Referenced resource not found", "remedy": "Create it.", "url": "u"}},
        });
        assert_eq!(
            shown("config.analyze", &report),
            "error[IST0101]: Referenced resource not found\n  A b/c: host a not found\n  A b/d: host a not found\n  \
             help: Create it.\n\n2 errors, 0 warnings, 0 infos in 2 objects\n"
        );
    }

    #[test]
    fn traffic_is_a_table_of_subsets_and_a_list_of_rules() {
        let report = json!({
            "services": [{"service": "reviews", "rules": ["80 % to v1, 20 % to v2"],
                "subsets": [{"name": "v1", "labels": {"version": "v1"}, "ready_pods": 2}]}],
            "warnings": ["no pod has a proxy"], "objects": [],
        });
        assert_eq!(
            shown("traffic.apply", &report),
            "SERVICE  SUBSET  LABELS      READY PODS\nreviews  v1      version=v1  2\n\
             rules of reviews\n  80 % to v1, 20 % to v2\nwarning: no pod has a proxy\n"
        );
    }

    #[test]
    fn a_report_of_a_newer_version_has_no_table() {
        assert_eq!(report("mesh.status", &json!({"something": "new"}), false), None);
        assert_eq!(report("ping", &json!({}), false), None);
    }
}
