//! The cases below `validation/`.

use std::fs;
use std::num::NonZero;
use std::path::Path;

use sailhand::analysis::source::read_value;
use sailhand::analysis::{Resource, Settings, Snapshot, Value as AnalysisValue, rules, run};
use serde_json::{Value, json};

/// One object.
#[derive(Debug)]
#[allow(dead_code, reason = "of the two tests that have this module one reads each field")]
pub struct Case {
    pub file: String,
    pub name: String,
    pub good: bool,
    /// `CODE field`.
    pub finds: Vec<String>,
    pub object: Value,
}

/// All of them, in the order of the files.
pub fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analysis/validation");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let set = read_value(&file, &fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        for good in [true, false] {
            for case in set[if good { "good" } else { "bad" }].items() {
                let name = case["name"].text().to_owned();
                let object = json!({
                    "apiVersion": set["apiVersion"].text(),
                    "kind": set["kind"].text(),
                    "metadata": { "name": name, "namespace": "test" },
                    "spec": serde_json::to_value(&case["spec"]).unwrap(),
                });
                let finds = case["finds"].texts().map(str::to_owned).collect();
                cases.push(Case { file: file.clone(), name, good, finds, object });
            }
        }
    }
    cases
}

impl Case {
    pub fn id(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }

    /// What the schema rules find, as `CODE field`, and the messages.
    pub fn found(&self) -> Vec<(String, String)> {
        let node: AnalysisValue = serde_json::from_value(self.object.clone()).unwrap();
        let resource = Resource::from_value(node).unwrap();
        let rules: Vec<_> = rules::ALL.iter().copied().filter(|rule| rule.name.starts_with("schema.")).collect();
        run(&Snapshot::new([resource], Settings::default()), &rules, NonZero::<usize>::MIN)
            .iter()
            .map(|finding| (format!("{} {}", finding.code.id, finding.field), finding.message.clone()))
            .collect()
    }

    /// Whether a field, or the one above it, is in the object.
    #[allow(dead_code, reason = "one of the two tests that have this module asks")]
    pub fn has_or_could_have(&self, field: &str) -> bool {
        let mut at = Some(&self.object);
        let mut above = at;
        for step in steps(field) {
            above = at;
            at = at.and_then(|value| match step.parse::<usize>() {
                Ok(index) if value.is_array() => value.get(index),
                _ => value.get(&step),
            });
        }
        at.is_some() || above.is_some()
    }
}

/// `a.b[0]["c.d"]` in its parts.
fn steps(field: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix("[\"") {
            let (step, after) = inside.split_once("\"]").unwrap();
            steps.push(step.to_owned());
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']').unwrap();
            steps.push(step.to_owned());
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    steps
}
