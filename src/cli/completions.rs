//! `sailhand completions`: scripts that complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Error, Exit};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sailhand completions bash > ~/.local/share/bash-completion/completions/sailhand")]
pub(super) struct Options {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "sailhand", &mut script);
    super::output::whole(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
