//! A full analysis of the workspace, as `sailhand analyze` does it: reads its folders with the texts of open documents.
//! Runs beside the server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sailhand_analysis::source::{self, Bounds, Error, Limits, Reading, Sources, files, split};
use sailhand_analysis::{Finding, Kind, Level, ObjectRef, Rule, Settings, Snapshot, editing, mesh, run_alternatives};
use sailhand_base::error::Classify;

use super::Context;
use crate::fix;

/// Limits of the workspace.
const BOUNDS: Bounds = Bounds { entries: 50_000, bytes: 64 << 20 };

/// What is analyzed.
pub struct Job {
    /// Folders of the workspace, and open files outside of them.
    pub paths: Vec<PathBuf>,
    /// Texts of open documents, by path.
    pub texts: Vec<(PathBuf, String)>,
    /// Unix seconds.
    pub now: i64,
}

/// A finding, or an error of a text, within a document or a file.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Line, from 0.
    pub line: usize,
    /// First character of the line, from 0.
    pub column: usize,
    /// Characters on the line; 0 for the whole line.
    pub length: usize,
    /// 1 error, 2 warning, 3 information.
    pub severity: u8,
    pub code: &'static str,
    pub href: Option<&'static str>,
    pub message: String,
    /// The change that resolves it: bytes, and what replaces them.
    pub edits: Vec<(std::ops::Range<usize>, String)>,
    /// Code, object and field of a finding that may be about other objects.
    pub about_others: Option<(ObjectRef, String)>,
}

/// One YAML document of an open file.
#[derive(Debug, Clone, Default)]
pub struct Part {
    pub text: Arc<str>,
    /// Places are within the document.
    pub problems: Vec<Problem>,
    /// Objects that it defines.
    pub objects: Vec<ObjectRef>,
}

/// Result of a job.
pub struct Outcome {
    /// Problems of each file that has some. Places are within the file.
    pub problems: BTreeMap<PathBuf, (String, Vec<Problem>)>,
    /// Documents of the open files that are read as manifests.
    pub parts: BTreeMap<PathBuf, Vec<Part>>,
    /// Files whose unsaved texts were analyzed.
    pub analyzed: BTreeSet<PathBuf>,
    /// Files that are read as manifests.
    pub manifests: BTreeSet<PathBuf>,
    pub snapshot: Snapshot,
    /// Whether each finding after a keystroke is one of a full analysis too.
    pub is_of_one_cluster: bool,
    /// What the user has to know: a limit that the workspace exceeds.
    pub warning: Option<String>,
}

/// Analyzes the workspace.
pub fn run(job: &Job, context: &Context, rules: &[&'static Rule]) -> Outcome {
    let one = NonZero::<usize>::MIN;
    let mut sources = Sources::with_texts(job.texts.iter().cloned()).within(BOUNDS);
    let mut errors = Vec::new();
    for path in &job.paths {
        files::read(path, &mut sources, &mut errors);
    }
    // A file is read before its length counts.
    let limits = Limits { text_bytes: Some(BOUNDS.bytes), ..Limits::default() };
    let mut reading = source::read_within(&sources, one, limits);
    if let Some(namespace) = &context.namespace {
        reading.resources.iter_mut().for_each(|resource| resource.default_namespace(namespace));
    }
    let found = mesh::settings_in(&reading.resources, job.now);
    let settings = Settings {
        whole_cluster: context.whole_cluster,
        cluster_domain: context.cluster_domain.clone().or(found.cluster_domain),
        layout: sources.layout(),
        ..found
    };
    let snapshot = Snapshot::new(std::mem::take(&mut reading.resources), settings);
    let is_of_one_cluster = editing::is_of_one_cluster(&snapshot) && sources.passed_over().is_empty();
    let mut findings = run_alternatives(&snapshot, rules, one);
    findings.retain(|finding| context.filter.allows(finding) && !context.suppressions.covers(finding));
    let warning = errors.iter().chain(&reading.errors).find_map(|error| match error {
        Error::Limit { .. } => Some(error.to_string()),
        _ => None,
    });
    let problems = problems(&sources, &findings, &reading);
    let parts = parts(job, &sources, &snapshot, &problems);
    let analyzed = job.texts.iter().map(|(path, _)| path.clone()).collect();
    let numbered = (0..).map_while(|file| sources.get(file).map(|source| (file, source)));
    let manifests =
        numbered.filter(|(file, _)| sources.is_read_as_is(*file)).map(|(_, source)| source.name.clone().into());
    let manifests = manifests.collect();
    Outcome { problems, parts, analyzed, manifests, snapshot, is_of_one_cluster, warning }
}

fn problems(sources: &Sources, findings: &[Finding], reading: &Reading) -> BTreeMap<PathBuf, (String, Vec<Problem>)> {
    sources.index_positions(findings);
    let fixable: BTreeSet<usize> = fix::fixable(sources, findings);
    let mut all: BTreeMap<PathBuf, (String, Vec<Problem>)> = BTreeMap::new();
    let mut add = |name: &str, text: &str, problem: Problem| {
        let entry = all.entry(PathBuf::from(name)).or_insert_with(|| (text.to_owned(), Vec::new()));
        entry.1.push(problem);
    };
    for (number, finding) in findings.iter().enumerate() {
        let Some((source, _)) = sources.position(finding) else { continue };
        let problem = problem(sources, finding, fixable.contains(&number));
        if let Some(problem) = problem {
            add(&source.name, &source.text, problem);
        }
    }
    for error in &reading.errors {
        let Some((file, problem)) = unreadable(error) else { continue };
        let text = (0..).map_while(|number| sources.get(number)).find(|source| source.name == file);
        add(file, text.map_or("", |source| &source.text), problem);
    }
    all
}

/// File and problem of a text that cannot be parsed. None for other errors, and for what looks like a template.
pub fn unreadable(error: &Error) -> Option<(&str, Problem)> {
    let Error::Unreadable { place, reason, template: false } = error else { return None };
    let problem = Problem {
        line: place.line.saturating_sub(1),
        column: 0,
        length: 0,
        severity: 1,
        code: error.code().as_str(),
        href: None,
        // The editor shows the place.
        message: reason.clone(),
        edits: Vec::new(),
        about_others: None,
    };
    Some((&place.file, problem))
}

/// The problem of a finding that has a place. Its edits are left out unless they are requested.
pub fn problem(sources: &Sources, finding: &Finding, is_fixable: bool) -> Option<Problem> {
    let (_, position) = sources.position(finding)?;
    let edits = if is_fixable { source::fix::edits(sources, [finding]) } else { Vec::new() };
    let severity = match finding.level {
        Level::Error => 1,
        Level::Warning => 2,
        Level::Info => 3,
    };
    Some(Problem {
        line: position.line.saturating_sub(1),
        column: position.column.saturating_sub(1),
        length: position.length,
        severity,
        code: finding.code.id,
        href: Some(finding.code.source),
        message: finding.message.clone(),
        edits: edits.into_iter().map(|edit| (edit.range.0..edit.range.1, edit.text)).collect(),
        about_others: editing::is_about_others(finding).then(|| (finding.object.clone(), finding.field.clone())),
    })
}

/// The documents of the open files.
fn parts(
    job: &Job,
    sources: &Sources,
    snapshot: &Snapshot,
    problems: &BTreeMap<PathBuf, (String, Vec<Problem>)>,
) -> BTreeMap<PathBuf, Vec<Part>> {
    let open: BTreeSet<&Path> = job.texts.iter().map(|(path, _)| path.as_path()).collect();
    let mut parts = BTreeMap::new();
    for (number, source) in (0..).map_while(|file| sources.get(file).map(|source| (file, source))) {
        let path = Path::new(&source.name);
        if !sources.is_read_as_is(number) || !open.contains(path) {
            continue;
        }
        let none = Vec::new();
        let of_file = problems.get(path).map_or(&none, |(_, problems)| problems);
        let objects = objects(snapshot, number);
        let of_document = |start: usize| objects.get(&start).cloned().unwrap_or_default();
        parts.insert(path.to_path_buf(), of_text(&source.text, of_file, of_document));
    }
    parts
}

/// The documents of a text with its problems.
pub fn of_text(text: &str, problems: &[Problem], objects: impl Fn(usize) -> Vec<ObjectRef>) -> Vec<Part> {
    let documents = split(text);
    let line_after = |at: usize| documents.get(at + 1).map_or(usize::MAX, |next| next.line - 1);
    let part = |(at, document): (usize, &source::Document)| {
        let first = document.line - 1;
        let own = |problem: &&Problem| (first..line_after(at)).contains(&problem.line);
        let moved = |problem: &Problem| {
            let mut problem = problem.clone();
            problem.line -= first;
            for (range, _) in &mut problem.edits {
                *range = range.start.saturating_sub(document.start)..range.end.saturating_sub(document.start);
            }
            problem
        };
        Part {
            text: text[document.start..document.end].into(),
            problems: problems.iter().filter(own).map(moved).collect(),
            objects: objects(document.start),
        }
    };
    documents.iter().enumerate().map(part).collect()
}

/// The objects of a file, by the start of their document.
fn objects(snapshot: &Snapshot, file: u32) -> HashMap<usize, Vec<ObjectRef>> {
    let mut objects: HashMap<usize, Vec<ObjectRef>> = HashMap::new();
    for object in Kind::ALL.iter().flat_map(|kind| snapshot.of(*kind)) {
        if let Some(origin) = object.origin.filter(|origin| origin.file == file) {
            let start = usize::try_from(origin.start).unwrap_or(usize::MAX);
            objects.entry(start).or_default().push(editing::key(object));
        }
    }
    objects
}
