//! `sailhand explain`: what a code means and what to do. Error codes have their page in the program; codes of the
//! analysis have their rule.

use clap::Args;

use super::output::{self, QUIET, STRONG, styled};
use super::{Error, Exit, analyze, completions};
use crate::error::Code;
use crate::prose;
use crate::suggest;

/// Code and text of each page of `docs/errors`; `build.rs` lists them.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

const EXAMPLES: &str = "\
Examples:
  sailhand explain SH3006
  sailhand explain IST0101
  sailhand explain KIA0401";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// A code, such as SH3006 or IST0101
    #[arg(add = completions::codes())]
    code: String,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let asked = options.code.trim();
    if let Some(code) = Code::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(asked)) {
        return page(*code);
    }
    let rules = analyze::codes();
    if rules.iter().any(|known| known.eq_ignore_ascii_case(asked)) {
        return analyze::explain(asked);
    }
    let known = Code::ALL.iter().map(|code| code.as_str()).chain(rules.iter().copied());
    let near = suggest::nearest(asked, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(Error::argument(
        asked,
        format!("unknown code{near}; `sailhand analyze --list-rules` lists the rules, docs/errors has all errors"),
    ))
}

/// The page of a code for a terminal: its headings are bold, its paragraphs are wrapped.
fn page(code: Code) -> Result<Exit, Error> {
    let page = PAGES.iter().find(|(name, _)| *name == code.as_str()).map(|(_, text)| *text);
    let fallback = format!("# {code}: {}\n\n{}", code.title(), code.remedy());
    output::line(formatted(page.unwrap_or(&fallback), output::width()))?;
    Ok(Exit::Success)
}

/// Markdown as the pages use it: headings, lists, fenced examples, links.
fn formatted(page: &str, width: Option<usize>) -> String {
    let mut text = String::new();
    let mut is_example = false;
    let mut paragraph = String::new();
    let flush = |paragraph: &mut String, text: &mut String| {
        if !paragraph.is_empty() {
            let indent = if paragraph.starts_with("- ") { 2 } else { 0 };
            text.push_str(&prose::fold(&plain(paragraph), 0, indent, width));
            text.push('\n');
            paragraph.clear();
        }
    };
    for line in page.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if is_example || is_fence || line.is_empty() || line.starts_with('#') || line.starts_with("- ") {
            flush(&mut paragraph, &mut text);
        }
        match line {
            _ if is_fence => is_example = !is_example,
            _ if is_example => text.extend(["    ", &styled(QUIET, line), "\n"]),
            "" => text.push('\n'),
            heading if heading.starts_with('#') => {
                text.extend([styled(STRONG, heading.trim_start_matches('#').trim_start()).as_str(), "\n"]);
            }
            line => {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line.trim());
            }
        }
    }
    flush(&mut paragraph, &mut text);
    text.trim_end().to_owned()
}

/// Text without the marks of links and emphasis: `[SH2001](SH2001.md)` becomes `SH2001`.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(name, after)| Some((name, after.split_once(')')?.1)));
        plain.push_str(before);
        if let Some((name, after)) = link {
            plain.push_str(name);
            rest = after;
        } else {
            plain.push('[');
            rest = after;
        }
    }
    (plain + rest).replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page_in_the_program() {
        for code in Code::ALL {
            assert!(PAGES.iter().any(|(name, _)| *name == code.as_str()), "{code}");
        }
    }

    #[test]
    fn error_page_is_printed_as_plain_text() {
        let page = "# SH1: a\n\n- **Class:** `retry`.\n- see\n  [it](b.md)\n\n```\nraw [x](y)\n```\n";
        let text = anstream::adapter::strip_str(&formatted(page, Some(20))).to_string();
        assert_eq!(text, "SH1: a\n\n- Class: `retry`.\n- see it\n\n    raw [x](y)");
    }
}
