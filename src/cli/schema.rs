//! `sailhand schema`: the contract as files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output;
use super::{Error, Exit};
use crate::event::schema::{self, Verb};
use crate::gateway;
use crate::prose::plural;
use crate::task::Registry;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the files are
    #[arg(long, value_name = "DIR", default_value = "schemas")]
    out: PathBuf,
    /// Write nothing; fail when a file is not as it would be written
    #[arg(long)]
    check: bool,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let files = files();
    if options.check {
        let mut drifted = drifted(&options.out, &files)?;
        drifted.sort();
        return if drifted.is_empty() { Ok(Exit::Success) } else { Err(Error::SchemaDrift { files: drifted }) };
    }
    for (name, text) in &files {
        let path = options.out.join(name);
        let fail = |source| Error::local(format!("write {}", path.display()), source);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(fail)?;
        }
        fs::write(&path, text).map_err(fail)?;
    }
    output::note(format_args!("{} in {}", plural(files.len(), "file"), options.out.display()));
    Ok(Exit::Success)
}

/// All verbs with their schemas.
pub(super) fn verbs() -> Vec<Verb> {
    Registry::standard()
        .iter()
        .map(|task| Verb {
            name: task.verb(),
            summary: task.summary(),
            params: task.params_schema(),
            report: task.report_schema(),
            example: task.example(),
        })
        .collect()
}

/// Every file's text by its path below the folder.
fn files() -> BTreeMap<String, String> {
    let verbs = verbs();
    let mut files = schema::files(&verbs);
    files.insert("openapi.json".to_owned(), gateway::openapi(&verbs));
    files.into_iter().map(|(name, value)| (name, format!("{value:#}\n"))).collect()
}

/// Files that differ or are missing, and those below the folder that no type makes any more.
fn drifted(dir: &Path, files: &BTreeMap<String, String>) -> Result<Vec<String>, Error> {
    let mut drifted: Vec<String> = files
        .iter()
        .filter(|(name, text)| fs::read_to_string(dir.join(name)).ok().as_ref() != Some(*text))
        .map(|(name, _)| name.clone())
        .collect();
    for part in ["commands", "results", "events", "examples"] {
        let path = dir.join(part);
        let Ok(entries) = fs::read_dir(&path) else { continue };
        for entry in entries {
            let entry = entry.map_err(|source| Error::local(format!("read {}", path.display()), source))?;
            let name = format!("{part}/{}", entry.file_name().to_string_lossy());
            if !files.contains_key(&name) {
                drifted.push(name);
            }
        }
    }
    Ok(drifted)
}
