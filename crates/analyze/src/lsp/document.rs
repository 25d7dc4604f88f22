//! An open document: its text, its YAML documents with their problems, and the check of those that have changed.

use std::num::NonZero;
use std::sync::Arc;

use sailhand_analysis::source::{self, Error, Sources};
use sailhand_analysis::{Resource, Rule, SourceSpan, editing};

use super::protocol::{Change, CodeDescription, Diagnostic, Encoding, Lines, Position, Range};
use super::run::{Part, Problem, of_text, problem, unreadable};
use super::{Context, Workspace};

/// Number of the file of objects in changed documents, less the number of the document: beyond those of files.
const CHANGED: u32 = u32::MAX;

/// An open document.
pub struct Document {
    pub uri: String,
    pub version: i64,
    text: String,
    lines: Lines,
    /// Whether the last full analysis read it as manifests. Otherwise a kustomization or a chart uses it, and only a full
    /// analysis knows what it means.
    is_manifest: bool,
    parts: Vec<Part>,
}

/// A problem with its place in the document.
pub struct Placed<'a> {
    pub range: Range,
    pub problem: &'a Problem,
    /// The change that resolves it.
    pub edits: Vec<(Range, &'a str)>,
}

impl Document {
    pub fn new(uri: String, version: i64, text: String) -> Self {
        Self { uri, version, lines: Lines::new(&text), text, is_manifest: false, parts: Vec::new() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Applies the changes of a notification, in their order.
    pub fn edit(&mut self, version: i64, changes: &[Change], encoding: Encoding) {
        self.version = version;
        for change in changes {
            match change.range {
                None => {
                    self.text.clone_from(&change.text);
                    self.lines = Lines::new(&self.text);
                }
                Some(range) => {
                    let start = self.lines.offset(&self.text, range.start, encoding);
                    let end = self.lines.offset(&self.text, range.end, encoding).max(start);
                    self.lines.replace(&mut self.text, start..end, &change.text);
                }
            }
        }
    }

    /// Checks all documents of a text that no full analysis has seen, if its file is read as manifests.
    pub fn begin(
        &mut self,
        is_manifest: bool,
        workspace: Option<&mut Workspace>,
        context: &Context,
        rules: &[&'static Rule],
    ) {
        self.is_manifest = is_manifest;
        self.parts.clear();
        self.check(workspace, context, rules);
    }

    /// Parses the documents that have changed and checks their objects against those of the workspace. The others keep
    /// their problems.
    pub fn check(&mut self, workspace: Option<&mut Workspace>, context: &Context, rules: &[&'static Rule]) {
        let mut now = of_text(&self.text, &[], |_| Vec::new());
        let before = std::mem::take(&mut self.parts);
        let same = |(a, b): &(&Part, &Part)| a.text == b.text;
        let first = before.iter().zip(&now).take_while(same).count();
        let most = before.len().min(now.len()) - first;
        let last = before.iter().rev().zip(now.iter().rev()).take(most).take_while(same).count();
        let (old_end, new_end) = (before.len() - last, now.len() - last);
        let mut before = before;
        for (kept, part) in before[..first].iter_mut().zip(&mut now[..first]) {
            std::mem::swap(kept, part);
        }
        for (kept, part) in before[old_end..].iter_mut().zip(&mut now[new_end..]) {
            std::mem::swap(kept, part);
        }
        if let Some(workspace) = workspace.filter(|_| self.is_manifest) {
            let changed = &before[first..old_end];
            check(&mut now[first..new_end], changed, workspace, context, rules);
        }
        self.parts = now;
    }

    /// Takes the result of a full analysis, made of `parts`; what has changed since keeps its own problems.
    pub fn take(&mut self, problems: &[Problem], parts: Option<Vec<Part>>, workspace: &mut Workspace) {
        self.is_manifest = parts.is_some();
        let analyzed = parts.unwrap_or_else(|| of_text(&self.text, problems, |_| Vec::new()));
        let mut now = of_text(&self.text, &[], |_| Vec::new());
        let mut left: std::collections::HashMap<Arc<str>, Vec<Part>> = std::collections::HashMap::new();
        for part in analyzed.into_iter().rev() {
            left.entry(part.text.clone()).or_default().push(part);
        }
        for part in &mut now {
            if let Some(analyzed) = left.get_mut(&part.text).and_then(Vec::pop) {
                *part = analyzed;
            } else if let Some(own) = self.parts.iter().find(|own| own.text == part.text) {
                *part = own.clone();
            }
        }
        // Objects of what has changed since are not those of the snapshot.
        let gone: Vec<_> = left.into_values().flatten().flat_map(|part| part.objects).collect();
        editing::exchange(&mut workspace.snapshot, &gone, &[]);
        self.parts = now;
    }

    /// The problems with their places.
    pub fn placed(&self, encoding: Encoding) -> Vec<Placed<'_>> {
        let mut all = Vec::new();
        for (document, part) in source::split(&self.text).into_iter().zip(&self.parts) {
            for problem in &part.problems {
                let range = range(&self.text, &self.lines, document.line - 1, problem, encoding);
                let place = |offset: usize| self.lines.position(&self.text, document.start + offset, encoding);
                let edits = problem
                    .edits
                    .iter()
                    .map(|(bytes, text)| (Range { start: place(bytes.start), end: place(bytes.end) }, text.as_str()));
                all.push(Placed { range, problem, edits: edits.collect() });
            }
        }
        all
    }

    pub fn diagnostics(&self, encoding: Encoding) -> Vec<Diagnostic> {
        self.placed(encoding).into_iter().map(|placed| diagnostic(placed.problem, placed.range)).collect()
    }
}

/// The diagnostics of a file that is not open.
pub fn diagnostics(text: &str, problems: &[Problem], encoding: Encoding) -> Vec<Diagnostic> {
    let lines = Lines::new(text);
    problems.iter().map(|problem| diagnostic(problem, range(text, &lines, 0, problem, encoding))).collect()
}

pub fn diagnostic(problem: &Problem, range: Range) -> Diagnostic {
    Diagnostic {
        range,
        severity: problem.severity,
        code: problem.code,
        code_description: problem.href.map(|href| CodeDescription { href }),
        source: "sailhand",
        message: problem.message.clone(),
    }
}

fn range(text: &str, lines: &Lines, first: usize, problem: &Problem, encoding: Encoding) -> Range {
    let number = first + problem.line;
    let line = lines.line(text, number);
    let start = problem.column;
    let end = if problem.length > 0 { start + problem.length } else { usize::MAX };
    let at = |character| Position { line: number, character: encoding.unit(line, character) };
    Range { start: at(start), end: at(end) }
}

/// Exchanges the objects of changed documents in the snapshot, and sets the problems of those that are there now.
fn check(now: &mut [Part], before: &[Part], workspace: &mut Workspace, context: &Context, rules: &[&'static Rule]) {
    let gone: Vec<_> = before.iter().flat_map(|part| part.objects.iter().cloned()).collect();
    let mut read: Vec<(Sources, Vec<Error>)> = Vec::new();
    let mut objects: Vec<Arc<Resource>> = Vec::new();
    for (number, part) in (0..).zip(now.iter_mut()) {
        let mut sources = Sources::default();
        sources.add("document", part.text.to_string());
        let reading = source::read(&sources, NonZero::<usize>::MIN);
        for mut resource in reading.resources {
            if let Some(namespace) = &context.namespace {
                resource.default_namespace(namespace);
            }
            if let Some(origin) = &mut resource.origin {
                origin.file = CHANGED - number;
            }
            part.objects.push(editing::key(&resource));
            objects.push(Arc::new(resource));
        }
        read.push((sources, reading.errors));
    }
    editing::exchange(&mut workspace.snapshot, &gone, &objects);
    let known = |about: &Option<(sailhand_analysis::ObjectRef, String)>, code: &str| {
        let before = before.iter().flat_map(|part| &part.problems);
        before.filter(|it| it.code == code).any(|it| it.about_others == *about)
    };
    for finding in editing::run_about(&workspace.snapshot, rules, &objects) {
        let Some(origin) = finding.origin else { continue };
        let number = usize::try_from(CHANGED - origin.file).unwrap_or(usize::MAX);
        let (Some(part), Some((sources, _))) = (now.get_mut(number), read.get(number)) else { continue };
        if !context.filter.allows(&finding) || context.suppressions.covers(&finding) {
            continue;
        }
        let mut finding = finding;
        finding.origin = Some(SourceSpan { file: 0, ..origin });
        // Whether something refers to the name of a port shows a full analysis.
        let is_fixable = finding.fix.is_some() && finding.code.id != "IST0118";
        let Some(problem) = problem(sources, &finding, is_fixable) else { continue };
        let is_sure = workspace.is_of_one_cluster || problem.about_others.is_none();
        if is_sure || known(&problem.about_others, problem.code) {
            part.problems.push(problem);
        }
    }
    for (part, (_, errors)) in now.iter_mut().zip(&read) {
        part.problems.extend(errors.iter().filter_map(unreadable).map(|(_, problem)| problem));
    }
}
