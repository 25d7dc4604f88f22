//! `--fix` and `--diff`: applies the mechanical remedies of findings to files, again and again until none is left, and
//! writes the files or prints what would change.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use sailhand_analysis::source::fix::{self, Edit};
use sailhand_analysis::source::{self, Sources};
use sailhand_analysis::{Finding, Fix, Rule, Value};
use sailhand_base::prose::plural;
use similar::TextDiff;

use super::{Analysis, Error, Exit, Input};
use crate::output::{self, GOOD, styled};

/// Maximum number of passes. A corrected kind or field may have findings of its own.
const PASSES: usize = 8;
/// Lines around a change in a diff.
const CONTEXT: usize = 3;
/// Kinds that refer to the ports of Services by name.
const PORT_USERS: [&str; 5] = ["Ingress", "ServiceMonitor", "PodMonitor", "Route", "Probe"];

/// Corrects the files of an analysis. Gives the exit code of `--diff`, or none if the findings have to be reported.
pub(crate) fn run(analysis: &mut Analysis<'_>, rules: &[&'static Rule], input: Input) -> Result<Option<Exit>, Error> {
    let options = analysis.options;
    let option = if options.diff { "--diff" } else { "--fix" };
    if input.is_live {
        return Err(Error::argument(option, "a cluster cannot be corrected; use files without --live"));
    }
    if options.paths.iter().any(|path| path == Path::new("-")) {
        return Err(Error::argument(option, "standard input cannot be corrected; name files or folders"));
    }
    let mut originals: BTreeMap<String, String> = BTreeMap::new();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for _ in 0..PASSES {
        let (_, mut findings) = analysis.find(rules, input)?;
        analysis.keep(&mut findings);
        let edits = edits(&analysis.sources, &findings);
        if edits.is_empty() {
            break;
        }
        count += edits.len();
        for of_file in edits.chunk_by(|a, b| a.file == b.file) {
            let Some(source) = of_file.first().and_then(|edit| analysis.sources.get(edit.file)) else { continue };
            originals.entry(source.name.clone()).or_insert_with(|| source.text.clone());
            texts.insert(source.name.clone(), fix::apply(&source.text, of_file));
        }
        analysis.read_again(texts.iter().map(|(name, text)| (PathBuf::from(name), text.clone())))?;
    }
    if options.diff {
        for (name, text) in &texts {
            let original = originals.get(name).map_or("", String::as_str);
            output::whole(diff(name, original, text).trim_end())?;
        }
        return Ok(Some(if texts.is_empty() { Exit::Success } else { Exit::Failed }));
    }
    for (name, text) in &texts {
        std::fs::write(name, text).map_err(|source| Error::local(format!("write {name}"), source))?;
    }
    // A chart may use a file that was written. Those that cannot be rendered are not reported again.
    analysis.charts.retain(|_, text| text.is_none());
    analysis.read_again([])?;
    let (changes, files) = (plural(count, "change"), plural(texts.len(), "file"));
    output::note(format_args!("{} {changes} in {files}", styled(GOOD, "fixed:")));
    Ok(None)
}

/// The edits of files that can be written.
fn edits(sources: &Sources, findings: &[Finding]) -> Vec<Edit> {
    let fixable = fixable(sources, findings);
    let fixed = findings.iter().enumerate().filter(|(number, _)| fixable.contains(number)).map(|(_, finding)| finding);
    let mut edits = fix::edits(sources, fixed);
    edits.retain(|edit| sources.get(edit.file).is_some_and(|source| Path::new(&source.name).is_file()));
    edits
}

/// Numbers of the findings with a mechanical remedy. Ports of Services are renamed only if nothing refers to the name, so
/// that no change leaves a reference behind.
pub(crate) fn fixable(sources: &Sources, findings: &[Finding]) -> BTreeSet<usize> {
    let names = LazyCell::new(|| names_of_ports(sources));
    let may_fix = |finding: &Finding| match finding.fix.as_deref() {
        Some(Fix::Replace { from, .. }) if finding.code.id == "IST0118" => !names.contains(from.as_str()),
        fix => fix.is_some(),
    };
    findings.iter().enumerate().filter(|(_, finding)| may_fix(finding)).map(|(number, _)| number).collect()
}

/// The texts in objects that refer to ports by name. Of a document that cannot be parsed, all words.
fn names_of_ports(sources: &Sources) -> HashSet<String> {
    let mut names = HashSet::new();
    let texts = (0..).map_while(|file| sources.get(file)).map(|source| source.text.as_str());
    for text in texts.filter(|text| PORT_USERS.iter().any(|kind| text.contains(kind))) {
        for document in source::split(text).iter().map(|document| &text[document.start..document.end]) {
            if let Ok(root) = source::read_value("a document", document) {
                add_names(&root, false, &mut names);
            } else {
                let words = document.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                names.extend(words.map(str::to_owned));
            }
        }
    }
    names
}

/// Adds the texts of an object, or of the items of a list, that refers to ports by name.
fn add_names(value: &Value, is_user: bool, names: &mut HashSet<String>) {
    let is_user = is_user || PORT_USERS.contains(&value["kind"].text());
    value.entries().iter().for_each(|(_, inner)| add_names(inner, is_user, names));
    value.items().iter().for_each(|inner| add_names(inner, is_user, names));
    if is_user && let Some(text) = value.as_str() {
        names.insert(text.to_owned());
    }
}

/// A unified diff, which `patch -p1` and `git apply` accept.
fn diff(name: &str, original: &str, text: &str) -> String {
    let path = name.trim_start_matches("./").trim_start_matches('/');
    let diff = TextDiff::from_lines(original, text);
    diff.unified_diff().context_radius(CONTEXT).header(&format!("a/{path}"), &format!("b/{path}")).to_string()
}
