//! Output to the terminal: colors only on a terminal, and no panic for a closed pipe.

use std::fmt::Display;
use std::io::Write as _;

use anstyle::AnsiColor;
pub use anstyle::Style;
use sailhand_base::error::{Classify, Problem};
use sailhand_base::prose;

use crate::Error;

/// Style of success and of help.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of changes and warnings.
pub const CHANGED: Style = AnsiColor::Yellow.on_default();
/// Style of errors.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of details.
pub const QUIET: Style = Style::new().dimmed();
/// Style of names.
pub const STRONG: Style = Style::new().bold();

/// Width for wrapped text, columns; none if neither standard output nor standard error is a terminal.
#[must_use]
pub fn width() -> Option<usize> {
    /// Longer lines are hard to read.
    const LONGEST: usize = 120;
    let size = terminal_size::terminal_size_of(std::io::stdout());
    let (width, _) = size.or_else(|| terminal_size::terminal_size_of(std::io::stderr()))?;
    Some(usize::from(width.0).clamp(20, LONGEST))
}

/// Text wrapped at the width of the terminal.
#[must_use]
pub fn broken(text: &str) -> String {
    prose::fold(text, 0, 0, width())
}

/// Text in a style.
#[must_use]
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Escapes control characters in untrusted text, so that it cannot control the terminal. Color sequences are not
/// escaped.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.strip_prefix("\x1b[").and_then(|style| {
            let end = style.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            style[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
        });
        let (part, after) = rest.split_at(end.unwrap_or(rest.chars().next().map_or(0, char::len_utf8)));
        shown.push_str(if end.is_some() { part } else { "\u{fffd}" });
        rest = after;
    }
    shown + rest
}

/// A line of output with escaped control characters.
///
/// # Errors
/// [`Error::Local`] if standard output cannot be written.
pub fn line(text: impl Display) -> Result<(), Error> {
    whole(shown(&text.to_string()))
}

/// A line for programs, without escaping.
///
/// # Errors
/// [`Error::Local`] if standard output cannot be written.
pub fn whole(text: impl Display) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|source| Error::local("write to standard output", source))
}

/// A note on standard error, wrapped at the width of the terminal. Write errors are ignored.
pub fn note(text: impl Display) {
    let text = shown(&text.to_string());
    let wrapped: Vec<String> = text.lines().map(|line| wrapped(line, width())).collect();
    let _ = writeln!(anstream::stderr().lock(), "{}", wrapped.join("\n"));
}

/// One line, wrapped; the other lines are indented further than the first.
fn wrapped(line: &str, width: Option<usize>) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    prose::fold(line, 0, indent + 2, width)
}

/// A value as one line of JSON.
///
/// # Errors
/// [`Error::Local`] if standard output cannot be written.
pub fn json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|source| Error::local("write JSON", source.into()))?;
    whole(text)
}

/// Prints an error on standard error.
pub fn problem(error: &dyn Classify) {
    note(render(&Problem::new(error)));
}

/// Code and message, causes, remedy; wrapped at the width of the terminal.
#[must_use]
pub fn render(problem: &Problem) -> String {
    let fold = |head: String, text: &str| {
        let used = prose::columns(&head) + 1;
        format!("{head} {}", prose::fold(text, used, 4, width()))
    };
    let head = format!("{}:", styled(BAD, format_args!("error[{}]", problem.code)));
    let mut text = fold(head, &problem.message);
    for cause in &problem.causes {
        text.push('\n');
        text.push_str(&fold(format!("  {}", styled(QUIET, "because:")), cause));
    }
    text.push('\n');
    text.push_str(&fold(format!("  {}", styled(GOOD, "help:")), &problem.remedy));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_untrusted_text_are_escaped() {
        let red = styled(BAD, "x\ty\nz");
        assert_eq!(shown(&red), red);
        for (text, expected) in [
            ("plain ü🎉", "plain ü🎉"),
            ("\x1b[2Jgone", "\u{fffd}[2Jgone"),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("a\rb\u{9b}31mc\x7f", "a\u{fffd}b\u{fffd}31mc\u{fffd}"),
            ("\x1b[", "\u{fffd}["),
            ("\x1b[31", "\u{fffd}[31"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
