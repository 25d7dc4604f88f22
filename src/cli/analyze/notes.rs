//! What is said beside the findings, on standard error: what was not read, and what reading it did not tell.

use std::collections::{BTreeMap, BTreeSet};

use super::live::Gaps;
use crate::analysis::source::{Error, Reading, Sources};
use crate::analysis::{Kind, Origin, Snapshot};
use crate::cli::output::{self, BAD, CHANGED, GOOD, QUIET, styled};
use crate::cluster::configuration::Unread;
use crate::error::{Classify, Code};
use crate::suggest;

/// What is named of many.
const SHOWN: usize = 3;
/// Errors that are told of many.
const ERRORS: usize = 10;

/// Tells it.
pub(super) fn tell(reading: &Reading, sources: &Sources, snapshot: &Snapshot, is_live: bool) {
    errors(&reading.errors);
    let passed_over = sources.passed_over();
    for one in passed_over.iter().take(SHOWN) {
        output::note(format_args!("{} {one}", styled(CHANGED, "not read:")));
        output::note(format_args!("  {} analyse what becomes of it: {}", styled(GOOD, "help:"), one.remedy()));
    }
    if passed_over.len() > SHOWN {
        output::note(format_args!("  and of {} more", passed_over.len() - SHOWN));
    }
    repeated(sources, snapshot);
    let name = |file: u32| sources.get(file).map_or("", |source| source.name.as_str());
    if !reading.foreign.is_empty() {
        let count = reading.foreign.values().sum();
        let files = some(reading.foreign.keys().map(|file| name(*file)));
        quietly(format!("{} no Kubernetes object and passed over: {files}", are(count, "document")));
    }
    if !reading.others.is_empty() {
        let count = reading.others.values().sum();
        let kinds = some(reading.others.keys().map(String::as_str));
        quietly(format!("{} of a kind that no rule reads: {kinds}", are(count, "object")));
    }
    if is_live {
        return;
    }
    if snapshot.is_empty() {
        output::note(styled(CHANGED, "Nothing was analysed: there is no object that a rule reads."));
    } else if !is_whole_cluster(snapshot) {
        quietly(
            "Only files were read, so rules that need a whole cluster say nothing; --live reads a cluster too."
                .to_owned(),
        );
    }
}

/// What could not be read of a cluster, and what follows from that. `left_out` rules need it.
pub(super) fn gaps(gaps: &Gaps, left_out: usize, namespaces: &[String]) {
    let (forbidden, others): (Vec<&Unread>, Vec<&Unread>) = gaps.unread.iter().partition(|one| one.is_forbidden());
    let unread = styled(BAD, "not read:");
    if !forbidden.is_empty() {
        let kinds: BTreeSet<&str> = forbidden.iter().map(|one| one.what.as_str()).collect();
        output::note(format_args!("{unread} what these credentials may not list: {}", some(kinds.into_iter())));
    }
    for one in others.iter().take(SHOWN) {
        output::note(format_args!("{unread} {one}"));
    }
    if others.len() > SHOWN {
        output::note(format_args!("  and {} more kinds", others.len() - SHOWN));
    }
    if left_out > 0 {
        output::note(format_args!("{left_out} rules need that and say nothing."));
    }
    if gaps.is_narrow {
        let names = namespaces.join(", ");
        output::note(format_args!("Only what is in {names} could be read; it is judged as a folder of files is."));
    } else if !forbidden.is_empty() && namespaces.is_empty() {
        output::note(format_args!(
            "  {} --only-namespace NAMESPACE reads what may be read there.",
            styled(GOOD, "help:")
        ));
    }
}

/// Suppressions and lines of baselines that no finding matches, so that a slip in them does not go unnoticed.
pub(super) fn unmatched((patterns, lines): &(Vec<&str>, usize), all: usize) {
    let warning = styled(CHANGED, "warning:");
    for pattern in patterns {
        output::note(format_args!("{warning} suppression {pattern} matched no finding"));
    }
    if *lines > 0 {
        output::note(format_args!("{warning} {lines} of {all} baseline entries no longer match a finding"));
    }
}

/// Namespaces that were asked for and have nothing.
pub(super) fn namespaces(asked: &[String], snapshot: &Snapshot) {
    let there = snapshot.namespaces_with(Kind::ALL);
    for name in asked.iter().filter(|name| !there.contains(name.as_str())) {
        let near = suggest::nearest(name, there.iter().map(|kind| kind.as_str()));
        let meant = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        output::note(format_args!("{} there is nothing in namespace {name}{meant}", styled(CHANGED, "note:")));
    }
}

/// One line for each file, and one for all that look like templates.
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

/// Objects that several files have: only one text of each was looked at.
fn repeated(sources: &Sources, snapshot: &Snapshot) {
    let mut objects: BTreeMap<String, BTreeSet<Origin>> = BTreeMap::new();
    for (object, earlier, kept) in snapshot.repeated() {
        objects.entry(object.to_string()).or_default().extend([*earlier, *kept]);
    }
    if objects.is_empty() {
        return;
    }
    let count = objects.len();
    let head = if count == 1 { "1 object is".to_owned() } else { format!("{count} objects are") };
    output::note(format_args!(
        "{} {head} there more than once, and only the last text of each counts, as with `kubectl apply`:",
        styled(CHANGED, "note:")
    ));
    for (object, origins) in objects.iter().take(SHOWN) {
        let place = |origin: &Origin| {
            sources.get(origin.file).map_or_else(String::new, |source| format!("{}:{}", source.name, origin.line))
        };
        let last = origins.last().map(place).unwrap_or_default();
        output::note(format_args!("  {object}: {} texts, the last is {last}", origins.len()));
    }
    if count > SHOWN {
        output::note(format_args!("  and {} more", count - SHOWN));
    }
}

/// Whether the files are what `kubectl get` has written of a cluster: its namespaces and its control plane are there.
fn is_whole_cluster(snapshot: &Snapshot) -> bool {
    let root = snapshot.mesh().root_namespace();
    let mut deployments = snapshot.in_namespace(Kind::Deployment, root).iter();
    !snapshot.named(Kind::Namespace, "", root).is_empty() && deployments.any(|it| it.label("app") == Some("istiod"))
}

fn quietly(text: String) {
    output::note(styled(QUIET, text));
}

/// `1 object is`, `2 objects are`.
fn are(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word} is") } else { format!("{count} {word}s are") }
}

/// The first of some names, and how many more there are.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let shown = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if count > SHOWN { format!("{shown} and {} more", count - SHOWN) } else { shown }
}
