//! Parses text to JSON values with positions: splits it at document markers of YAML and parses each part as JSON or YAML.

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_saphyr::{Error as YamlError, MessageFormatter, Options, UserMessageFormatter};

use super::value::{Budget, Seed};
use super::{Error, Limit, MAX_DEPTH, MAX_OBJECTS, MAX_VALUES, Place};

/// One part of a manifest between document markers; has content.
#[derive(Debug)]
pub struct Part<'a> {
    /// With its marker, so that what follows `---` on the same line is read by YAML's rules.
    text: &'a str,
    place: Place,
}

/// A value and where it starts.
#[derive(Debug)]
pub struct Located {
    /// Not null.
    pub value: Value,
    /// The line may be that of the document where several JSON values share one.
    pub place: Place,
}

/// What some editors on Windows write at the start of a file; YAML allows it at the start of each document.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Splits at `---` and `...`. A marker at the start of a line ends a document in every context of YAML, also within
/// quotes and block scalars, so lines are enough.
pub fn split(text: &str) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line, "---") {
            close(&mut parts, &text[start..offset], start_line)?;
            (start, start_line) = (offset, index + 1);
        } else if is_marker(line, "...") {
            close(&mut parts, &text[start..offset], start_line)?;
            (start, start_line) = (offset + line.len(), index + 2);
        } else if line.starts_with(BYTE_ORDER_MARK) && !has_content(&text[start..offset]) {
            (start, start_line) = (offset + BYTE_ORDER_MARK.len_utf8(), index + 1);
        }
        offset += line.len();
    }
    close(&mut parts, &text[start..], start_line)?;
    Ok(parts)
}

fn close<'a>(parts: &mut Vec<Part<'a>>, text: &'a str, line: usize) -> Result<(), Error> {
    if has_content(text) {
        if parts.len() == MAX_OBJECTS {
            return Err(Error::TooLarge { limit: Limit::Documents, most: MAX_OBJECTS });
        }
        parts.push(Part { text, place: Place { document: parts.len() + 1, line } });
    }
    Ok(())
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Comments and directives are not content.
fn has_content(text: &str) -> bool {
    without_marker(text).lines().map(str::trim_start).any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
}

fn without_marker(text: &str) -> &str {
    if is_marker(text, "---") { &text[3..] } else { text }
}

/// Reads one part: one YAML document, or JSON values behind each other.
pub fn parse(part: &Part<'_>, budget: &Budget) -> Result<Vec<Located>, Error> {
    let read = if without_marker(part.text).trim_start().starts_with('{') {
        // A flow mapping of YAML looks like JSON; where neither reads it, JSON is what was meant.
        json(part, budget)
            .or_else(|error| if budget.breach().is_none() { yaml(part, budget).map_err(|_| error) } else { Err(error) })
    } else {
        yaml(part, budget)
    };
    let values = read.map_err(|error| match budget.breach() {
        Some((limit, most)) => Error::TooLarge { limit, most },
        None => error,
    })?;
    if budget.take_large_float() && has_long_integer(part.text) {
        return Err(Error::Unreadable {
            place: part.place,
            reason: "an integer has more than 64 bits and would be rounded; write it as a string".to_owned(),
        });
    }
    Ok(values)
}

fn json(part: &Part<'_>, budget: &Budget) -> Result<Vec<Located>, Error> {
    let text = without_marker(part.text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    loop {
        // `end` is the only sign of the end of a stream of values read with a seed.
        if !values.is_empty() && reader.end().is_ok() {
            return Ok(values);
        }
        let value = Seed::root(budget).deserialize(&mut reader).map_err(|error| {
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            unreadable(part, error.line(), reason)
        })?;
        values.push(Located { value, place: part.place });
        if values.len() > MAX_OBJECTS {
            return Err(Error::TooLarge { limit: Limit::Documents, most: MAX_OBJECTS });
        }
    }
}

fn yaml(part: &Part<'_>, budget: &Budget) -> Result<Vec<Located>, Error> {
    let read = serde_saphyr::with_deserializer_from_str_with_options(part.text, options(), |deserializer| {
        Seed::root(budget).deserialize(deserializer)
    });
    match read {
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(value) => Ok(vec![Located { value, place: part.place }]),
        Err(error) => Err(refused(part, &error)),
    }
}

/// YAML 1.1 where kubectl has it; see the tests for each trap.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_VALUES,
            max_events: 2 * MAX_VALUES,
            // The scanner looks 1,024 characters ahead; above that, `max_depth` is what refuses, and says so.
            flow_nesting_limit: 4_096,
        },
        legacy_octal_numbers: true,
        with_snippet: false, // may show a Secret's data
    }
}

fn refused(part: &Part<'_>, error: &YamlError) -> Error {
    if let YamlError::AliasError { error, .. } = error {
        return refused(part, error);
    }
    match error {
        YamlError::Budget { breach: serde_saphyr::budget::BudgetBreach::Depth { .. }, .. } => {
            Error::TooLarge { limit: Limit::Depth, most: MAX_DEPTH }
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => Error::TooLarge { limit: Limit::Values, most: MAX_VALUES },
        other => {
            let line = other.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
            unreadable(part, line, &UserMessageFormatter.format_message(other))
        }
    }
}

fn unreadable(part: &Part<'_>, line: usize, reason: &str) -> Error {
    let place = Place { line: part.place.line + line.max(1) - 1, ..part.place };
    Error::Unreadable { place, reason: reason.to_owned() }
}

/// Whether a run of digits is too long for 64 bits. Asked only where a float beyond 2^53 was read: such a float is
/// exact when it was written as one (`1.7e308`), and rounded when it was an integer.
fn has_long_integer(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit() && c != '_').any(|run| run.len() >= 19)
}
