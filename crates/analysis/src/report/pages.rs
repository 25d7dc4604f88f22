//! Generates the documentation of the rules: a page for each code, and tables that map the checks of other tools to
//! codes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::{Code, Kind, Rule, rules};

/// Codes of istioctl 1.30 (`pkg/config/analysis/msg/messages.yaml`): code, name, and why `istioctl analyze` does not report
/// it; empty if it does.
const ISTIOCTL: &[(&str, &str, &str)] = include!("pages/istioctl.in");
/// Kiali's codes (`models/istio_validation.go`): code, subject, and why sailhand has no such check; empty if it has.
const KIALI: &[(&str, &str, &str)] = include!("pages/kiali.in");
/// Notes of istio-vet, in the same form.
const ISTIO_VET: &[(&str, &str, &str)] = include!("pages/istio_vet.in");

/// Pages by file name.
#[must_use]
pub fn pages() -> BTreeMap<String, String> {
    let codes = rules::codes();
    let mut pages: BTreeMap<String, String> =
        codes.iter().map(|code| (format!("{}.md", code.id), page(code))).collect();
    pages.insert("README.md".to_owned(), index(&codes));
    pages
}

fn page(code: &Code) -> String {
    let by = |rule: &&&Rule| rule.codes.contains(&code);
    let rules: Vec<&&Rule> = rules::ALL.iter().filter(by).collect();
    let mut kinds: Vec<Kind> = rules.iter().flat_map(|rule| rule.inputs).copied().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let list = |items: Vec<String>| items.join(", ");
    let mut text = format!("# {}: {}\n\n", code.id, code.name);
    let mut part = |heading: &str, body: &str| {
        let _ = write!(text, "{heading}{body}\n\n");
    };
    part("", &format!("**{}**: {}.", code.level, code.title));
    part("## Why it matters\n\n", code.why);
    part("## What to do\n\n", code.remedy);
    part("## Example\n\n", &format!("```yaml\n{}```", code.example.before));
    part("## Fixed\n\n", &format!("```yaml\n{}```", code.example.after));
    let mut facts = vec![
        format!("- Source: <{}>", code.source),
        format!("- Rule: {}", list(rules.iter().map(|rule| format!("`{}`", rule.name)).collect())),
        format!("- Inputs: {}", list(kinds.iter().map(ToString::to_string).collect())),
    ];
    if !code.also.is_empty() {
        facts.push(format!("- Also reported by: {}", code.also.join(", ")));
    }
    part("", &facts.join("\n"));
    text.trim_end().to_owned() + "\n"
}

fn index(codes: &[&Code]) -> String {
    let link = |code: &Code| format!("[{0}]({0}.md)", code.id);
    let mut text = String::from(
        "# Rules\n\nGenerated from the rules by `sailhand analyze --write-docs docs/rules`; a test checks that it is up to date. `IST…` codes\n\
         have the number and meaning of `istioctl analyze`; `SH7…` codes are sailhand's own.\n\n| code | level | title | also reported by |\n|---|---|---|---|\n",
    );
    for code in codes {
        let mut also: Vec<&str> = if code.id.starts_with("IST") { vec!["istioctl"] } else { Vec::new() };
        also.extend(code.also);
        let _ = writeln!(text, "| {} | {} | {} | {} |", link(code), code.level, code.title, also.join(", "));
    }
    let missing = |reason: &str| if reason.is_empty() { "no".to_owned() } else { format!("no: {reason}") };
    text += "\n## Codes of istioctl\n\n| code | name | sailhand |\n|---|---|---|\n";
    for (id, name, reason) in ISTIOCTL {
        let here = codes.iter().find(|code| code.id == *id).map_or_else(|| missing(reason), |code| link(code));
        let _ = writeln!(text, "| {id} | {name} | {here} |");
    }
    for (tool, checks) in [("Kiali", KIALI), ("istio-vet", ISTIO_VET)] {
        let _ = write!(text, "\n## Checks of {tool}\n\n| check | reports | sailhand |\n|---|---|---|\n");
        for (id, about, reason) in checks {
            let here: Vec<String> = codes.iter().filter(|code| code.also.contains(id)).map(|code| link(code)).collect();
            let here = if here.is_empty() { missing(reason) } else { here.join(", ") };
            let _ = writeln!(text, "| {id} | {about} | {here} |");
        }
    }
    text
}
