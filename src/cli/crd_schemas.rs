//! `sailhand crd-schemas`: the schemas of custom resources, from their definitions, as the analysis carries them.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::output;
use super::{Error, Exit};
use crate::analysis::Condenser;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Files with `CustomResourceDefinition`s in YAML; later ones replace earlier ones
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where they come from: module and version
    #[arg(long, value_name = "TEXT")]
    source: Vec<String>,
    /// Where the schemas go
    #[arg(long, value_name = "FILE", default_value = "crates/analysis/src/crd/schemas.json")]
    out: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let mut condenser = Condenser::default();
    let mut count = 0;
    for path in &options.files {
        let fail = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::local(format!("read {}", path.display()), std::io::Error::other(source))
        };
        let text = fs::read_to_string(path).map_err(|error| fail(error.into()))?;
        let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(&text).map_err(|error| fail(error.into()))?;
        for document in documents.into_iter().flatten() {
            if document.get("kind").and_then(Value::as_str) != Some("CustomResourceDefinition") {
                continue;
            }
            condenser.add(&document).map_err(|error| fail(error.into()))?;
            count += 1;
        }
    }
    let text = condenser.finish(&options.source);
    fs::write(&options.out, &text)
        .map_err(|source| Error::local(format!("write {}", options.out.display()), source))?;
    output::note(format_args!("{count} definitions, {} bytes in {}", text.len(), options.out.display()));
    Ok(Exit::Success)
}
