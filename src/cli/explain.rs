//! `sailhand explain`: what a code means and what to do. Error codes have their page in the program; codes of the
//! analysis have their rule.

use clap::Args;

use super::output::{self, STRONG, styled};
use super::{Error, Exit, analyze};
use crate::error::Code;
use crate::suggest;

const EXAMPLES: &str = "\
Examples:
  sailhand explain SH3006
  sailhand explain IST0101
  sailhand explain KIA0401";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// A code, such as SH3006 or IST0101
    code: String,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let asked = options.code.trim();
    if let Some(code) = Code::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(asked)) {
        let heading = styled(STRONG, output::broken(&format!("{code}: {}", code.title())));
        output::line(format_args!("{heading}\n\n{}\n\n{}", output::broken(code.remedy()), page(*code)))?;
        return Ok(Exit::Success);
    }
    let rules = analyze::codes();
    if rules.iter().any(|known| known.eq_ignore_ascii_case(asked)) {
        return analyze::explain(asked);
    }
    let known = Code::ALL.iter().map(|code| code.as_str()).chain(rules.iter().copied());
    let near = suggest::nearest(asked, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(Error::argument(asked, format!("is not a code{near}")))
}

/// Where the page of a code is.
fn page(code: Code) -> String {
    format!("Page: docs/errors/{code}.md")
}
