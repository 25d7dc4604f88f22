//! Finds the line of a field by parsing its document again. Only findings need lines, and there are few.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::budget::Budget;
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

/// A field to find in a document: of the item of a `List`, or of the document's own object.
pub type Wanted<'a> = (Option<u32>, &'a str);

/// The places of fields in their document, or of the nearest fields around them that are there; `first` is the
/// document's first line. One pass over the text, however many fields there are.
///
/// Of a key that a mapping has more than once the last is found, whose value is effective; of a field that comes by a
/// merge key, the merge key.
pub fn locate(text: &str, first: u32, wanted: &[Wanted<'_>]) -> Vec<Position> {
    let mut tree = Tree::default();
    let ends: Vec<usize> = wanted.iter().map(|(item, field)| tree.add(&path(*item, field))).collect();
    let mut walk = Walk { parser: yaml::parser(text), next: None, fault: None, tree: &mut tree };
    walk.whole();
    // A document that was read despite an error is visited too.
    let indented = walk.fault.take().and_then(|fault| yaml::indented(text, &fault, &Budget::new(text.len())));
    if let Some(text) = &indented {
        tree.forget(ROOT);
        Walk { parser: yaml::parser(text), next: None, fault: None, tree: &mut tree }.whole();
    }
    let lines = Lines::new(indented.as_deref().unwrap_or(text));
    let first = usize::try_from(first).unwrap_or(1);
    let position = |end: usize| {
        tree.span(end).map_or(Position { line: first, column: 1, length: 0 }, |span| {
            let (line, column) = lines.place(span.start.index());
            let (last, end) = lines.place(span.end.index());
            let length = if last == line { end.saturating_sub(column) } else { 0 };
            Position { line: first + line, column: column + 1, length }
        })
    };
    ends.into_iter().map(position).collect()
}

pub(super) fn path(item: Option<u32>, field: &str) -> Vec<Segment> {
    let mut path = segments(field);
    if let Some(item) = item {
        path.splice(0..0, [Segment::Key("items".to_owned()), Segment::Index(usize::try_from(item).unwrap_or(0))]);
    }
    path
}

/// Offsets of the line starts of a text, in characters. The parser counts a lone carriage return as a line break, but
/// editors do not.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.chars().enumerate().filter(|(_, c)| *c == '\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// Line and column, both from 0, of a character.
    fn place(&self, index: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= index).saturating_sub(1);
        (line, index - self.0.get(line).copied().unwrap_or(0).min(index))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
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

const ROOT: usize = 0;

/// The requested paths, with common prefixes stored once.
#[derive(Default)]
struct Tree {
    nodes: Vec<Branch>,
    children: HashMap<(usize, Segment), usize>,
}

#[derive(Default)]
struct Branch {
    above: usize,
    below: Vec<usize>,
    /// Where it was found last.
    span: Option<Span>,
}

impl Tree {
    /// Adds a path; gives the number of its end.
    fn add(&mut self, path: &[Segment]) -> usize {
        if self.nodes.is_empty() {
            self.nodes.push(Branch::default());
        }
        let mut at = ROOT;
        for segment in path {
            let next = self.nodes.len();
            let child = *self.children.entry((at, segment.clone())).or_insert(next);
            if child == next {
                self.nodes.push(Branch { above: at, ..Branch::default() });
                self.nodes[at].below.push(child);
            }
            at = child;
        }
        at
    }

    fn has_below(&self, at: usize) -> bool {
        !self.nodes[at].below.is_empty()
    }

    fn child(&self, at: usize, segment: Segment) -> Option<usize> {
        self.children.get(&(at, segment)).copied()
    }

    fn find(&mut self, at: usize, span: Span) {
        self.nodes[at].span = Some(span);
    }

    /// Forgets what was found of a branch and below it: another value of the same key comes.
    fn forget(&mut self, at: usize) {
        let mut left = vec![at];
        while let Some(at) = left.pop() {
            self.nodes[at].span = None;
            left.extend_from_slice(&self.nodes[at].below);
        }
    }

    /// The children of a branch that were not found are found at a merge key.
    fn find_missing(&mut self, at: usize, span: Span) {
        for child in self.nodes[at].below.clone() {
            if self.nodes[child].span.is_none() {
                self.find(child, span);
            }
        }
    }

    /// Where a branch was found, or the nearest above it.
    fn span(&self, mut at: usize) -> Option<Span> {
        loop {
            let branch = self.nodes.get(at)?;
            if branch.span.is_some() || at == ROOT {
                return branch.span;
            }
            at = branch.above;
        }
    }
}

/// One pass over a document.
struct Walk<'a, 't> {
    parser: Parser<'a, StrInput<'a>>,
    /// The next event; none at the end of the document, or after a syntax error.
    next: Option<(Event<'a>, Span)>,
    /// Why the walk stopped before the end of the document.
    fault: Option<Fault>,
    tree: &'t mut Tree,
}

impl Walk<'_, '_> {
    fn whole(&mut self) {
        self.advance();
        if let Some((_, span)) = &self.next {
            let span = *span;
            self.tree.find(ROOT, span);
            self.value(ROOT);
        }
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

    /// Goes through the value that comes next, which a branch of the tree is about. As deep as the tree.
    fn value(&mut self, at: usize) {
        match &self.next {
            Some((Event::MappingStart(..), _)) if self.tree.has_below(at) => self.mapping(at),
            Some((Event::SequenceStart(..), _)) if self.tree.has_below(at) => self.sequence(at),
            // A scalar itself rather than its key.
            Some((Event::Scalar(text, ..), span)) => {
                if !text.is_empty() && at != ROOT {
                    let span = *span;
                    self.tree.find(at, span);
                }
                self.advance();
            }
            _ => self.skip(),
        }
    }

    fn mapping(&mut self, at: usize) {
        self.advance();
        let mut merge = None;
        loop {
            match &self.next {
                None => return,
                Some((Event::MappingEnd, _)) => break,
                Some((Event::Scalar(key, style, ..), span)) => {
                    let span = *span;
                    if key == "<<" && *style == ScalarStyle::Plain {
                        merge = Some(span);
                    }
                    let child = self.tree.child(at, Segment::Key(key.to_string()));
                    self.advance();
                    if let Some(child) = child {
                        self.tree.forget(child);
                        self.tree.find(child, span);
                        self.value(child);
                    } else {
                        self.skip();
                    }
                }
                Some(_) => {
                    self.skip();
                    self.skip();
                }
            }
        }
        if let Some(span) = merge {
            self.tree.find_missing(at, span);
        }
        self.advance();
    }

    fn sequence(&mut self, at: usize) {
        self.advance();
        for index in 0.. {
            match &self.next {
                None => return,
                Some((Event::SequenceEnd, _)) => break,
                Some((_, span)) => {
                    let span = *span;
                    if let Some(child) = self.tree.child(at, Segment::Index(index)) {
                        self.tree.find(child, span);
                        self.value(child);
                    } else {
                        self.skip();
                    }
                }
            }
        }
        self.advance();
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
            let place = locate(text, 10, &[(None, field)])[0];
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
            let place = locate(text, 1, &[(None, field)])[0];
            (place.line, place.column, place.length)
        };
        assert_eq!((at("a.c"), at("d"), at("e")), ((1, 15, 1), (2, 4, 1), (3, 4, 1)));
    }

    #[test]
    fn list_item_is_located() {
        let text = "kind: List\nitems:\n- a: 1\n- a: 2\n";
        let place = locate(text, 1, &[(Some(1), "a")])[0];
        assert_eq!((place.line, place.column), (4, 6));
    }

    #[test]
    fn effective_value_of_a_repeated_or_merged_key_is_found() {
        let text = "a: &a {x: 1}\nb:\n  c: 1\nb:\n  <<: *a\n  d: 2\n";
        let lines: Vec<usize> = locate(text, 1, &[(None, "b.d"), (None, "b.c"), (None, "b.x"), (None, "a.x")])
            .iter()
            .map(|at| at.line)
            .collect();
        assert_eq!(lines, [6, 5, 5, 1]);
    }

    #[test]
    #[allow(clippy::disallowed_types, reason = "what is tested is the time that reading takes")]
    fn many_fields_of_one_document_take_one_pass() {
        let text: String = "items:\n".to_owned() + &"- {kind: Service, spec: {a: 1}}\n".repeat(50_000);
        let wanted: Vec<Wanted<'_>> = (0..50_000).map(|item| (Some(item), "spec.a")).collect();
        let started = std::time::Instant::now();
        let found = locate(&text, 1, &wanted);
        assert_eq!((found[0].line, found[49_999].line), (2, 50_001));
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
