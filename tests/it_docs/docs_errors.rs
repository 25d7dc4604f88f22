//! The documentation says what the code says: a page for each error code, a row for each key and metric, and links
//! that lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sailhand::config::{Config, Target};
use sailhand::error::{Class, Code};
use sailhand::telemetry::metrics::{ErrorCode, Metrics, Reason, Verb, Word};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn page(code: Code) -> String {
    read(&root().join(format!("docs/errors/{code}.md")))
}

#[test]
fn each_code_has_its_page_and_each_page_its_code() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    let pages: BTreeSet<String> = fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(codes, pages);
    for code in Code::ALL {
        assert_eq!(page(*code).lines().next(), Some(format!("# {code}: {}", code.title()).as_str()));
    }
}

#[test]
fn each_page_has_class_cause_and_remedy() {
    let classes = [
        Class::RETRY,
        Class::Terminal,
        Class::Rejected,
        Class::Busy,
        Class::Superseded,
        Class::Cancelled,
        Class::Expired,
        Class::LostLease,
        Class::Shutdown,
    ];
    for code in Code::ALL {
        let page = page(*code);
        let class = page.lines().find_map(|line| line.strip_prefix("- **Class:** ")).unwrap_or_default();
        let known = classes.iter().any(|known| class.starts_with(&format!("`{}`", known.as_str())));
        assert!(known || class.starts_with("none"), "{code}: class {class:?}");
        let parts =
            ["- **Class:** ", "- **What you see:** ", "\n## When\n", "\n```\n", "\n## What to do\n", "\n## Related\n"];
        let places: Vec<Option<usize>> = parts.iter().map(|part| page.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{code}: {parts:?} at {places:?}");
    }
}

#[test]
fn the_index_lists_each_code_with_its_title() {
    let index = read(&root().join("docs/errors/README.md"));
    let listed: Vec<&str> = index.lines().filter(|line| line.starts_with("| [SH")).collect();
    let wanted: Vec<String> =
        Code::ALL.iter().map(|code| format!("| [{code}]({code}.md) | {} |", code.title())).collect();
    assert_eq!(listed, wanted);
}

#[test]
fn each_key_of_the_configuration_has_its_row() {
    let mut config = Config::default();
    config.targets.insert("<id>".to_owned(), Target::default());
    config.bridge.targets.insert("<id>".to_owned(), sailhand::config::BridgeTarget::default());
    config.charts.digests.insert("<chart>".to_owned(), String::new());
    let name = "<name>".to_owned();
    let client =
        sailhand::config::BridgeClient { certificate: String::new(), operations: Vec::new(), targets: Vec::new() };
    config.bridge.clients.insert(name.clone(), client);
    config.gateway.principals.insert(name.clone(), sailhand::config::gateway::Principal::default());
    config.gateway.sinks.insert(name.clone(), sailhand::config::gateway::Sink::default());
    config.gateway.hooks.insert(name, sailhand::config::gateway::Hook::default());
    let mut keys = BTreeSet::new();
    // Tables without fields in their defaults.
    keys.extend(
        ["gateway.oidc.<name>", "gateway.principals.<name>.claims", "gateway.hooks.<name>.params"].map(str::to_owned),
    );
    flatten("", &serde_json::to_value(config).unwrap(), &mut keys);
    let operations = read(&root().join("docs/operations.md"));
    let rows: BTreeSet<String> = operations
        .split("## Configuration\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(rows, keys);
}

fn flatten(path: &str, value: &Value, keys: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else {
        keys.insert(path.to_owned());
        return;
    };
    for (name, value) in fields {
        flatten(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, keys);
    }
}

#[test]
fn each_metric_has_its_row() {
    let metrics = Metrics::default();
    // Families without a member are not written.
    metrics.ended("ping", "succeeded", Duration::ZERO);
    let _ = metrics.retries.get_or_create(&Verb { verb: Word("ping") });
    let _ = metrics.dead_letters.get_or_create(&Reason { reason: Word("rejected") });
    let _ = metrics.task_errors.get_or_create(&ErrorCode { code: Word("SH3001") });
    let _ = metrics.bus_errors.get_or_create(&ErrorCode { code: Word("SH2001") });
    let text = metrics.render();
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    assert!(told.len() > 10, "{text}");
    let rows: BTreeSet<String> = read(&root().join("docs/operations.md"))
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `sailhand_")?.split_once('`')?.0))
        .map(|name| format!("sailhand_{name}"))
        .collect();
    assert_eq!(rows, told);
}

#[test]
fn links_resolve() {
    let mut files = Vec::new();
    for folder in ["docs", "deploy"] {
        markdown(&root().join(folder), &mut files);
    }
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md"] {
        files.extend(Some(root().join(name)).filter(|file| file.is_file()));
    }
    let mut broken = Vec::new();
    for file in &files {
        for link in links(&read(file)) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let found = if anchor.is_empty() { target.exists() } else { anchors(&read(&target)).contains(anchor) };
            if !found {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(files.len() > Code::ALL.len());
    assert!(broken.is_empty(), "{broken:#?}");
}

fn markdown(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
}

/// Targets of `[text](target)` that are no addresses, outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// The anchors that a page's headings make.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>()
        })
        .map(|words| words.replace(' ', "-"))
        .collect()
}
