//! `--fix` and `--diff`: applies the mechanical remedies of findings to files, again and again until none is left, and
//! writes the files or prints what would change.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use sailhand_analysis::source::Sources;
use sailhand_analysis::source::fix::{self, Edit};
use sailhand_analysis::{Finding, Fix, Rule};
use sailhand_base::prose::plural;
use similar::TextDiff;

use super::{Analysis, Error, Exit, Input};
use crate::output::{self, GOOD, styled};

/// Maximum number of passes. A corrected kind or field may have findings of its own.
const PASSES: usize = 8;
/// Lines around a change in a diff.
const CONTEXT: usize = 3;
/// Kinds that refer to the ports of Services by name.
const PORT_USERS: [&str; 5] =
    ["kind: Ingress", "kind: ServiceMonitor", "kind: PodMonitor", "kind: Route", "kind: Probe"];

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
        let (_, mut findings) = analysis.find(rules, input.now)?;
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
    analysis.read_again([])?;
    let (changes, files) = (plural(count, "change"), plural(texts.len(), "file"));
    output::note(format_args!("{} {changes} in {files}", styled(GOOD, "fixed:")));
    Ok(None)
}

/// The edits of files that can be written.
fn edits(sources: &Sources, findings: &[Finding]) -> Vec<Edit> {
    let words = LazyCell::new(|| words_of_port_users(sources));
    // Ports of Services are renamed only if nothing refers to the name, so that no change leaves a reference behind.
    let may_fix = |finding: &&Finding| match finding.fix.as_deref() {
        Some(Fix::Replace { from, .. }) if finding.code.id == "IST0118" => !words.contains(from.as_str()),
        fix => fix.is_some(),
    };
    let mut edits = fix::edits(sources, findings.iter().filter(may_fix));
    edits.retain(|edit| sources.get(edit.file).is_some_and(|source| Path::new(&source.name).is_file()));
    edits
}

/// The words of the files that have objects which refer to ports by name.
fn words_of_port_users(sources: &Sources) -> HashSet<&str> {
    let texts = (0..).map_while(|file| sources.get(file)).map(|source| source.text.as_str());
    let users = texts.filter(|text| PORT_USERS.iter().any(|kind| text.contains(kind)));
    users.flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')).collect()
}

/// A unified diff, which `patch -p1` and `git apply` accept.
fn diff(name: &str, original: &str, text: &str) -> String {
    let path = name.trim_start_matches("./").trim_start_matches('/');
    let diff = TextDiff::from_lines(original, text);
    diff.unified_diff().context_radius(CONTEXT).header(&format!("a/{path}"), &format!("b/{path}")).to_string()
}
