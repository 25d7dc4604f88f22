//! `sailhand man`: the manual pages of the commands, for the archives of a release.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::{Cli, Error, Exit};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder for the pages; created if it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let folder = &options.folder;
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|source| Error::local(format!("write manual pages to {}", folder.display()), source))?;
    Ok(Exit::Success)
}
