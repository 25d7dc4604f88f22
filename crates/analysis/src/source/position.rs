//! Finds the line of a field by parsing its document again. Only findings need lines, and there are few.

use saphyr_parser::{Event, Parser, Span, StrInput};

use super::super::SourceSpan;
use super::yaml::{self, Fault};

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, characters.
    pub column: usize,
    /// Length on this line, characters.
    pub length: usize,
}

/// Position of `field` in its document, or of the nearest enclosing field.
pub fn locate(text: &str, origin: SourceSpan, field: &str) -> Position {
    let mut path = segments(field);
    if let Some(item) = origin.item {
        path.splice(0..0, [Segment::Key("items".to_owned()), Segment::Index(usize::try_from(item).unwrap_or(0))]);
    }
    let mut walk = Walk { parser: yaml::parser(text), next: None, best: None, fault: None };
    let mut span = walk.along(&path);
    // A document that was accepted despite its indentation is indented here as well.
    let indented = walk.fault.take().and_then(|fault| yaml::indented(text, &fault));
    if let Some(text) = &indented {
        span = Walk { parser: yaml::parser(text), next: None, best: None, fault: None }.along(&path);
    }
    let text = indented.as_deref().unwrap_or(text);
    let first = usize::try_from(origin.line).unwrap_or(1);
    span.map_or(Position { line: first, column: 1, length: 0 }, |span| {
        let (line, column) = place(text, span.start.index());
        let (last, end) = place(text, span.end.index());
        let length = if last == line { end.saturating_sub(column) } else { 0 };
        Position { line: first + line, column: column + 1, length }
    })
}

/// Line and column of a character, both from 0. The parser counts a lone carriage return as a line break, but editors
/// do not.
fn place(text: &str, index: usize) -> (usize, usize) {
    text.chars()
        .take(index)
        .fold((0, 0), |(line, column), c| if c == '\n' { (line + 1, 0) } else { (line, column + 1) })
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// `a.b[0]["c.d/e"]`
fn segments(field: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]").unwrap_or((quoted, ""));
            segments.push(Segment::Key(key.to_owned()));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']').unwrap_or((index, ""));
            segments.push(index.parse().map_or_else(|_| Segment::Key(index.to_owned()), Segment::Index));
            rest = after;
        } else {
            let rest_of_key = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest_of_key.find(['.', '[']).unwrap_or(rest_of_key.len());
            if end > 0 {
                segments.push(Segment::Key(rest_of_key[..end].to_owned()));
            }
            rest = &rest_of_key[end..];
        }
    }
    segments
}

/// Parses only as far as necessary.
struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The next event; none at the end of the document, or after a syntax error.
    next: Option<(Event<'a>, Span)>,
    best: Option<Span>,
    /// The end of the path was reached before the end of the document.
    fault: Option<Fault>,
}

impl Walk<'_> {
    /// Position of the value at the path, or of the nearest enclosing one.
    fn along(&mut self, path: &[Segment]) -> Option<Span> {
        self.advance();
        let start = self.next.as_ref().map(|(_, span)| *span);
        self.follow(path);
        self.best.or(start)
    }

    fn advance(&mut self) {
        self.next = loop {
            match self.parser.next_event() {
                Some(Ok((Event::StreamStart | Event::DocumentStart(_), _))) => {}
                Some(Err(error)) => {
                    self.fault = Some(Fault::from(&error));
                    break None;
                }
                Some(Ok((Event::DocumentEnd, _))) | None => break None,
                Some(Ok(event)) => break Some(event),
            }
        };
    }

    /// Descends from the next value to the value at the path.
    fn follow(&mut self, path: &[Segment]) {
        for segment in path {
            let found = match (&self.next, segment) {
                (Some((Event::MappingStart(..), _)), Segment::Key(key)) => self.step_to_key(key),
                (Some((Event::SequenceStart(..), _)), Segment::Index(index)) => self.step_to_item(*index),
                _ => false,
            };
            if !found {
                return;
            }
        }
        // Position of a scalar itself instead of its key.
        if let Some((Event::Scalar(text, ..), span)) = &self.next
            && !text.is_empty()
            && !path.is_empty()
        {
            self.best = Some(*span);
        }
    }

    fn step_to_key(&mut self, wanted: &str) -> bool {
        self.advance();
        loop {
            match &self.next {
                None | Some((Event::MappingEnd, _)) => return false,
                Some((Event::Scalar(key, ..), span)) if key == wanted => {
                    self.best = Some(*span);
                    self.advance();
                    return true;
                }
                Some(_) => {
                    self.skip();
                    self.skip();
                }
            }
        }
    }

    fn step_to_item(&mut self, wanted: usize) -> bool {
        self.advance();
        for index in 0.. {
            match &self.next {
                None | Some((Event::SequenceEnd, _)) => return false,
                Some((_, span)) if index == wanted => {
                    self.best = Some(*span);
                    return true;
                }
                Some(_) => self.skip(),
            }
        }
        false
    }

    /// Skips one value.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some((event, _)) = &self.next {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_or_nearest_ancestor_is_located() {
        let text = "\nkind: X\nmetadata:\n  annotations:\n    a.b/c: \"1\"\nspec:\n  http:\n  - match: x\n    route:\n    - {host: one}\n    - host: two\n";
        let at = |field: &str| {
            let place = locate(text, SourceSpan { file: 0, line: 10, start: 0, end: 0, item: None }, field);
            (place.line, place.column)
        };
        assert_eq!(at("spec.http[0].route[1].host"), (20, 13));
        assert_eq!(at("spec.http[0].route[0].host"), (19, 14));
        assert_eq!(at("spec.http[0].route"), (18, 5));
        assert_eq!(at("spec.http[0].missing.more"), (17, 5));
        assert_eq!(at("metadata.annotations[\"a.b/c\"]"), (14, 12));
        assert_eq!(at("spec.http[4]"), (16, 3));
        assert_eq!(at(""), (11, 1));
    }

    #[test]
    fn lone_carriage_return_is_not_a_line_break() {
        let text = "a: {b: 1,\r c: 2}\r\nd: ü\r\ne: 5\r\n";
        let at = |field: &str| {
            let place = locate(text, SourceSpan { file: 0, line: 1, start: 0, end: 0, item: None }, field);
            (place.line, place.column, place.length)
        };
        assert_eq!((at("a.c"), at("d"), at("e")), ((1, 15, 1), (2, 4, 1), (3, 4, 1)));
    }

    #[test]
    fn list_item_is_located() {
        let text = "kind: List\nitems:\n- a: 1\n- a: 2\n";
        let place = locate(text, SourceSpan { file: 0, line: 1, start: 0, end: 0, item: Some(1) }, "a");
        assert_eq!((place.line, place.column), (4, 6));
    }
}
