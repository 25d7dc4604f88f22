//! Asks a person on the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::{Error, output};

/// Whether a question can be asked: both the question and the answer need a terminal.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Requests confirmation. Any answer other than yes is no.
///
/// # Errors
/// When the answer cannot be read.
pub(super) fn ask(question: &str) -> Result<bool, Error> {
    output::note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|source| Error::local("read the answer", source))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
