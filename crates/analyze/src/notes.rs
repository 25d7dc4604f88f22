//! Notes on standard error beside the findings: files, documents and kinds that were not analyzed.

use std::collections::{BTreeMap, BTreeSet};

use sailhand_analysis::istio::component::is_istiod;
use sailhand_analysis::source::{Error, Reading, Sources};
use sailhand_analysis::{Kind, Snapshot, SourceSpan};
use sailhand_base::error::{Classify, Code};
use sailhand_base::prose::plural;
use sailhand_base::suggest;

use crate::output::{self, BAD, CHANGED, GOOD, QUIET, styled};

/// Names of a longer list that are printed.
pub const SHOWN: usize = 3;
/// Errors that are printed.
const ERRORS: usize = 10;

/// Prints the notes.
pub(crate) fn tell(reading: &Reading, sources: &Sources, snapshot: &Snapshot, is_live: bool) {
    errors(&reading.errors);
    let passed_over = sources.passed_over();
    for one in passed_over.iter().take(SHOWN) {
        output::note(format_args!("{} {one}", styled(CHANGED, format_args!("{}:", one.state()))));
        output::note(format_args!("  {} analyze the rendered output: {}", styled(GOOD, "help:"), one.remedy()));
    }
    if passed_over.len() > SHOWN {
        output::note(format_args!("  and {} more", passed_over.len() - SHOWN));
    }
    repeated(sources, snapshot);
    let name = |file: u32| sources.get(file).map_or("", |source| source.name.as_str());
    if let Some(foreign) = foreign(reading) {
        let files = some(reading.foreign.keys().map(|file| name(*file)));
        quietly(format!("{foreign}: {files}"));
    }
    if let Some(others) = others(reading) {
        quietly(others);
    }
    if is_live {
        return;
    }
    if snapshot.is_empty() {
        output::note(styled(
            CHANGED,
            "Nothing was analyzed: no Istio, Gateway API or Kubernetes objects that a rule uses. With --allow-empty this \
             is no error.",
        ));
    } else if !is_whole_cluster(snapshot) {
        quietly(
            "Only files were analyzed, so rules that need a whole cluster were skipped; `sailhand analyze --live` \
             also reads a cluster."
                .to_owned(),
        );
    }
}

/// The notes in one sentence each, for a report.
pub(crate) fn summary(reading: &Reading, sources: &Sources, snapshot: &Snapshot, suppressed: usize) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(reading.errors.iter().take(ERRORS).map(ToString::to_string));
    if reading.errors.len() > ERRORS {
        notes.push(format!("{} more errors", reading.errors.len() - ERRORS));
    }
    notes.extend(sources.passed_over().iter().take(ERRORS).map(|one| format!("{}: {one}", one.state())));
    let repeated: BTreeSet<String> = snapshot.repeated().iter().map(|(object, ..)| object.to_string()).collect();
    if !repeated.is_empty() {
        let names = some(repeated.iter().map(String::as_str));
        notes.push(format!("defined more than once, the last definition wins: {names}"));
    }
    notes.extend(foreign(reading));
    notes.extend(others(reading));
    if suppressed > 0 {
        notes.push(format!("{} suppressed", are(suppressed, "finding")));
    }
    notes
}

/// Documents that are not Kubernetes objects.
fn foreign(reading: &Reading) -> Option<String> {
    let count: usize = reading.foreign.values().sum();
    (count > 0).then(|| format!("{} skipped (not a Kubernetes object)", are(count, "document")))
}

/// Objects of kinds that no rule uses.
fn others(reading: &Reading) -> Option<String> {
    let count: usize = reading.others.values().sum();
    let kinds = some(reading.others.keys().map(String::as_str));
    (count > 0).then(|| format!("{} of a kind that no rule uses: {kinds}", are(count, "object")))
}

/// Suppressions and baseline lines that match no finding, so that a mistake in them is noticed.
pub(crate) fn unmatched((patterns, lines): &(Vec<&str>, usize), all: usize) {
    let warning = styled(CHANGED, "warning:");
    for pattern in patterns {
        output::note(format_args!("{warning} suppression {pattern} matches no finding"));
    }
    if *lines > 0 {
        output::note(format_args!("{warning} {lines} of {all} baseline entries no longer match a finding"));
    }
}

/// Requested namespaces without objects.
pub(crate) fn namespaces(asked: &[String], snapshot: &Snapshot) {
    let there = snapshot.namespaces_with(Kind::ALL);
    for name in asked.iter().filter(|name| !there.contains(name.as_str())) {
        let near = suggest::nearest(name, there.iter().map(std::ops::Deref::deref));
        let meant = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        output::note(format_args!("{} no objects in namespace {name}{meant}", styled(CHANGED, "note:")));
    }
}

/// One line for each file, and one for all files that look like templates.
fn errors(errors: &[Error]) {
    let (templates, others): (Vec<_>, Vec<_>) =
        errors.iter().partition(|error| matches!(error, Error::Unreadable { template: true, .. }));
    let mut files = BTreeSet::new();
    let first_of_file = |error: &&&Error| match error {
        Error::Unreadable { place, .. } | Error::Limit { place, .. } => files.insert(place.file.clone()),
        Error::File { .. } => true,
    };
    let shown: Vec<_> = others.iter().filter(first_of_file).collect();
    for error in shown.iter().take(ERRORS) {
        output::problem(**error);
    }
    if shown.len() > ERRORS {
        output::note(format_args!("  and {} more files", shown.len() - ERRORS));
    }
    if let Some(first) = templates.first() {
        let files: BTreeMap<&str, String> = templates
            .iter()
            .rev()
            .filter_map(|error| match error {
                Error::Unreadable { place, .. } => Some((place.file.as_str(), place.to_string())),
                _ => None,
            })
            .collect();
        let count = are(files.len(), "file").replace(" is", " looks").replace(" are", " look");
        let names = some(files.values().map(String::as_str));
        output::note(format_args!(
            "{}: {count} like Helm templates and were not read: {names}",
            styled(BAD, format_args!("error[{}]", Code::SH6001)),
        ));
        output::note(format_args!("  {} {}", styled(GOOD, "help:"), first.remedy()));
    }
}

/// Objects that are defined more than once; only the last definition counts.
fn repeated(sources: &Sources, snapshot: &Snapshot) {
    let mut objects: BTreeMap<String, BTreeSet<SourceSpan>> = BTreeMap::new();
    for (object, earlier, kept) in snapshot.repeated() {
        objects.entry(object.to_string()).or_default().extend([*earlier, *kept]);
    }
    if objects.is_empty() {
        return;
    }
    output::note(format_args!(
        "{} {} defined more than once; the last definition wins, as with `kubectl apply`:",
        styled(CHANGED, "note:"),
        are(objects.len(), "object")
    ));
    for (object, origins) in objects.iter().take(SHOWN) {
        let place = |origin: &SourceSpan| {
            sources.get(origin.file).map_or_else(String::new, |source| format!("{}:{}", source.name, origin.line))
        };
        let last = origins.last().map(place).unwrap_or_default();
        output::note(format_args!("  {object}: {} definitions, the last is {last}", origins.len()));
    }
    if objects.len() > SHOWN {
        output::note(format_args!("  and {} more", objects.len() - SHOWN));
    }
}

/// Whether the files are the output of `kubectl get` for a whole cluster: they contain its namespaces and control
/// plane.
fn is_whole_cluster(snapshot: &Snapshot) -> bool {
    let root = snapshot.mesh().root_namespace();
    let mut deployments = snapshot.in_namespace(Kind::Deployment, root).iter();
    !snapshot.named(Kind::Namespace, "", root).is_empty() && deployments.any(|it| is_istiod(it.labels()))
}

fn quietly(text: String) {
    output::note(styled(QUIET, text));
}

/// `1 object is`, `2 objects are`.
fn are(count: usize, word: &str) -> String {
    format!("{} {}", plural(count, word), if count == 1 { "is" } else { "are" })
}

/// The first [`SHOWN`] names, and the number of the others.
pub fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN { format!("{shown} and {} more", count - SHOWN) } else { shown }
}
