//! The documentation of the rules, made from the rules: a page for each code, and a table that says which of other
//! tools' checks are there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::{Code, Kind, Rule, rules};

/// What istioctl 1.30 can report and what it only lists (`pkg/config/analysis/msg/messages.yaml`), with the reason where
/// `istioctl analyze` does not report it.
const ISTIOCTL: &[(&str, &str, &str)] = include!("pages/istioctl.in");
/// Kiali's codes (`models/istio_validation.go`), what they are about, and why there is nothing like one here.
const KIALI: &[(&str, &str, &str)] = include!("pages/kiali.in");
/// The same of istio-vet's notes.
const ISTIO_VET: &[(&str, &str, &str)] = include!("pages/istio_vet.in");

/// Pages by their file names.
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
    let mut kinds: Vec<Kind> = rules.iter().flat_map(|rule| rule.reads).copied().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let list = |items: Vec<String>| items.join(", ");
    let mut text = format!("# {}: {}\n\n", code.id, code.name);
    let mut part = |heading: &str, body: &str| {
        let _ = write!(text, "{heading}{body}\n\n");
    };
    part("", &format!("**{}**, {}.", code.level, lower_first(code.title)));
    part("## Why it matters\n\n", code.why);
    part("## What to do\n\n", code.remedy);
    part("## Before\n\n", &format!("```yaml\n{}```", code.example.before));
    part("## After\n\n", &format!("```yaml\n{}```", code.example.after));
    let mut facts = vec![
        format!("- Source: <{}>", code.source),
        format!("- Found by: {}", list(rules.iter().map(|rule| format!("`{}`", rule.name)).collect())),
        format!("- Reads: {}", list(kinds.iter().map(ToString::to_string).collect())),
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
        "# Rules\n\nMade from the rules by `sailhand analyze --write-docs docs/rules`; a test checks that it is as made. `IST…` codes have the\n\
         number and meaning of `istioctl analyze`; `SH7…` codes are ours.\n\n| code | level | says | also reported by |\n|---|---|---|---|\n",
    );
    for code in codes {
        let mut also: Vec<&str> = if code.id.starts_with("IST") { vec!["istioctl"] } else { Vec::new() };
        also.extend(code.also);
        let _ = writeln!(text, "| {} | {} | {} | {} |", link(code), code.level, code.title, also.join(", "));
    }
    let missing = |reason: &str| if reason.is_empty() { "no".to_owned() } else { format!("no: {reason}") };
    text += "\n## What istioctl reports\n\n| code | name | here |\n|---|---|---|\n";
    for (id, name, reason) in ISTIOCTL {
        let here = codes.iter().find(|code| code.id == *id).map_or_else(|| missing(reason), |code| link(code));
        let _ = writeln!(text, "| {id} | {name} | {here} |");
    }
    for (tool, checks) in [("Kiali", KIALI), ("istio-vet", ISTIO_VET)] {
        let _ = write!(text, "\n## What {tool} reports\n\n| check | about | here |\n|---|---|---|\n");
        for (id, about, reason) in checks {
            let here: Vec<String> = codes.iter().filter(|code| code.also.contains(id)).map(|code| link(code)).collect();
            let here = if here.is_empty() { missing(reason) } else { here.join(", ") };
            let _ = writeln!(text, "| {id} | {about} | {here} |");
        }
    }
    text
}

fn lower_first(text: &str) -> String {
    // Names such as `DestinationRule` keep their capital.
    let is_article = ["A ", "An ", "The ", "Several "].iter().any(|article| text.starts_with(article));
    let mut chars = text.chars();
    match chars.next().filter(|_| is_article) {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text.to_owned(),
    }
}
