//! Turns mechanical remedies into edits of texts. An edit changes only the characters of a key, a value or an entry, so
//! comments and layout stay. Where the text is not what the finding is about, there is no edit. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, ScalarStyle, Span};

use super::position::{Segment, path};
use super::{MAX_DEPTH, SourceSpan, Sources, document, yaml};
use crate::{Finding, Fix};

/// A change of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// Number of the file in [`Sources`].
    pub file: u32,
    /// Bytes that are replaced.
    pub range: (usize, usize),
    /// The replacement.
    pub text: String,
}

/// The edits for the findings that have a mechanical remedy, sorted, without those that overlap with earlier ones.
#[must_use]
pub fn edits<'a>(sources: &Sources, findings: impl IntoIterator<Item = &'a Finding>) -> Vec<Edit> {
    // Each document is parsed once, however many of its fields are edited.
    let mut documents: BTreeMap<(u32, u32), Vec<&Finding>> = BTreeMap::new();
    for finding in findings.into_iter().filter(|finding| finding.fix.is_some()) {
        if let Some(origin) = finding.origin {
            documents.entry((origin.file, origin.start)).or_default().push(finding);
        }
    }
    let mut edits: Vec<Edit> = documents.values().flat_map(|findings| of_document(sources, findings)).collect();
    edits.sort();
    edits.dedup();
    let mut kept: Vec<Edit> = Vec::new();
    for edit in edits {
        if kept.last().is_none_or(|last| last.file != edit.file || last.range.1 <= edit.range.0) {
            kept.push(edit);
        }
    }
    kept
}

/// The text with the edits of one file, which are sorted and do not overlap.
#[must_use]
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        changed.push_str(&text[at..edit.range.0]);
        changed.push_str(&edit.text);
        at = edit.range.1;
    }
    changed + &text[at..]
}

fn of_document(sources: &Sources, findings: &[&Finding]) -> Vec<Edit> {
    let read = |origin: SourceSpan| {
        let text = document(sources.get(origin.file)?, origin)?;
        Some((Tree::read(text)?, usize::try_from(origin.start).ok()?))
    };
    let Some((tree, start)) = findings.first().and_then(|first| read(first.origin?)) else { return Vec::new() };
    let edit = |finding: &&Finding| {
        let origin = finding.origin?;
        let (range, text) = tree.edit(&path(origin.item, &finding.field), finding.fix.as_deref()?)?;
        Some(Edit { file: origin.file, range: (start + range.start, start + range.end), text })
    };
    findings.iter().filter_map(edit).collect()
}

/// A document with the places of its parts, bytes.
struct Tree<'a> {
    text: &'a str,
    root: Node,
}

enum Node {
    Scalar {
        text: String,
        style: ScalarStyle,
        range: Range<usize>,
    },
    Map {
        entries: Vec<Entry>,
        range: Range<usize>,
        is_flow: bool,
    },
    List {
        items: Vec<Node>,
        range: Range<usize>,
        is_flow: bool,
    },
    /// An alias, or a key that is not a scalar.
    Other {
        range: Range<usize>,
    },
}

struct Entry {
    key: String,
    range: Range<usize>,
    value: Node,
}

impl Node {
    /// Where the value ends: for a block, its last scalar.
    fn end(&self) -> usize {
        match self {
            Self::Scalar { range, .. }
            | Self::Other { range }
            | Self::Map { range, is_flow: true, .. }
            | Self::List { range, is_flow: true, .. } => range.end,
            Self::Map { entries, range, .. } => entries.last().map_or(range.end, |entry| entry.value.end()),
            Self::List { items, range, .. } => items.last().map_or(range.end, Self::end),
        }
    }

    /// Whether it has a scalar of several lines, or an alias.
    fn is_involved(&self) -> bool {
        match self {
            Self::Scalar { style, .. } => matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
            Self::Other { .. } => true,
            Self::Map { entries, .. } => entries.iter().any(|entry| entry.value.is_involved()),
            Self::List { items, .. } => items.iter().any(Self::is_involved),
        }
    }
}

impl<'a> Tree<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader { parser: yaml::parser(text), offsets: offsets(text), text };
        loop {
            let (event, span) = reader.next()?;
            if !matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
                let root = reader.node(&event, span, 0)?;
                return Some(Self { text, root });
            }
        }
    }

    /// The characters that a fix of the field at a path replaces, and what replaces them.
    fn edit(&self, path: &[Segment], fix: &Fix) -> Option<(Range<usize>, String)> {
        match fix {
            Fix::RenameKey(to) => self.rename_key(path, to),
            Fix::Replace { from, to } => self.replace(path, from, to),
            Fix::RemoveKey => Some((self.last_of_key(path)?, String::new())),
            Fix::RemoveItem => Some((self.item(path)?, String::new())),
        }
    }

    /// The value that a path leads to.
    fn find(&self, path: &[Segment]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| match (node, step) {
            (Node::Map { entries, .. }, Segment::Key(key)) => {
                entries.iter().rev().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Node::List { items, .. }, Segment::Index(at)) => items.get(*at),
            _ => None,
        })
    }

    fn rename_key(&self, path: &[Segment], to: &str) -> Option<(Range<usize>, String)> {
        let (Segment::Key(key), above) = path.split_last()? else { return None };
        let Node::Map { entries, .. } = self.find(above)? else { return None };
        if entries.iter().any(|entry| entry.key == to) {
            return None;
        }
        let entry = entries.iter().rev().find(|entry| entry.key == *key)?;
        Some((self.inner(&entry.range, key)?, to.to_owned()))
    }

    fn replace(&self, path: &[Segment], from: &str, to: &str) -> Option<(Range<usize>, String)> {
        match self.find(path)? {
            Node::Scalar { text, range, .. } if text == from => Some((self.inner(range, from)?, to.to_owned())),
            _ => None,
        }
    }

    /// The characters of a scalar without its quotes, if they are exactly this text.
    fn inner(&self, range: &Range<usize>, text: &str) -> Option<Range<usize>> {
        let written = self.text.get(range.clone())?;
        let trimmed = written.trim_end();
        let quotes = usize::from(trimmed.starts_with(['"', '\'']));
        let inner = range.start + quotes..range.start + trimmed.len() - quotes;
        (self.text.get(inner.clone())? == text).then_some(inner)
    }

    /// The last entry of a key that a mapping has more than once.
    fn last_of_key(&self, path: &[Segment]) -> Option<Range<usize>> {
        let (Segment::Key(key), above) = path.split_last()? else { return None };
        let Node::Map { entries, is_flow, .. } = self.find(above)? else { return None };
        let places: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].key == *key).collect();
        let [_, .., last] = places.as_slice() else { return None };
        let entry = &entries[*last];
        if *is_flow {
            return Some(entries[last - 1].value.end()..entry.value.end());
        }
        if entry.value.is_involved() {
            return None;
        }
        self.lines(entry.range.start, entry.value.end(), "")
    }

    /// An item of a list that is not its first.
    fn item(&self, path: &[Segment]) -> Option<Range<usize>> {
        let (Segment::Index(at), above) = path.split_last()? else { return None };
        let Node::List { items, is_flow, .. } = self.find(above)? else { return None };
        let before = items.get(at.checked_sub(1)?)?;
        let item = items.get(*at)?;
        let Node::Scalar { range, .. } = item else { return None };
        if *is_flow {
            return Some(before.end()..item.end());
        }
        self.lines(range.start, range.end, "-")
    }

    /// The whole lines of a part. None if they have something else or a comment.
    fn lines(&self, start: usize, end: usize, lead: &str) -> Option<Range<usize>> {
        let first = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let last = self.text[end..].find('\n').map_or(self.text.len(), |at| end + at + 1);
        let is_alone = self.text[first..start].trim() == lead && self.text[end..last].trim().is_empty();
        let has_comment = self.text[first..last].contains('#');
        (is_alone && !has_comment).then_some(first..last)
    }
}

/// The offset of each character, bytes; none if they are equal.
fn offsets(text: &str) -> Option<Vec<usize>> {
    (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
}

struct Reader<'a> {
    parser: saphyr_parser::Parser<'a, saphyr_parser::StrInput<'a>>,
    offsets: Option<Vec<usize>>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        self.parser.next_event()?.ok()
    }

    fn range(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| match &self.offsets {
            None => index.min(self.text.len()),
            Some(offsets) => offsets.get(index).copied().unwrap_or(self.text.len()),
        };
        byte(span.start.index())..byte(span.end.index())
    }

    fn node(&mut self, event: &Event<'a>, span: Span, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        let range = self.range(span);
        match event {
            Event::Scalar(text, style, ..) => Some(Node::Scalar { text: text.to_string(), style: *style, range }),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            let is_flow = self.text[range.start..].starts_with('[');
                            let range = range.start..self.range(end).end;
                            return Some(Node::List { items, range, is_flow });
                        }
                        (event, span) => items.push(self.node(&event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.mapping(range.start, depth),
            Event::Alias(_) => Some(Node::Other { range }),
            _ => None,
        }
    }

    fn mapping(&mut self, start: usize, depth: usize) -> Option<Node> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                let range = start..self.range(span).end;
                let is_flow = self.text[start..].starts_with('{');
                return Some(Node::Map { entries, range, is_flow });
            }
            let Node::Scalar { text: key, range, .. } = self.node(&event, span, depth + 1)? else { return None };
            let (event, span) = self.next()?;
            let value = self.node(&event, span, depth + 1)?;
            entries.push(Entry { key, range, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, field: &str, fix: &Fix) -> Option<String> {
        let tree = Tree::read(text)?;
        let (range, with) = tree.edit(&path(None, field), fix)?;
        Some(apply(text, &[Edit { file: 0, range: (range.start, range.end), text: with }]))
    }

    #[test]
    fn keys_are_renamed_in_place() {
        let to = Fix::RenameKey("http".to_owned());
        for (text, wanted) in [
            ("spec: # c\n  htp:   # d\n  - a\n", Some("spec: # c\n  http:   # d\n  - a\n")),
            ("{\"spec\": {\"htp\": []}}", Some("{\"spec\": {\"http\": []}}")),
            ("ü: ö\r\nspec:\r\n  'htp': []\r\n", Some("ü: ö\r\nspec:\r\n  'http': []\r\n")),
            ("spec: {htp: 1, http: 2}\n", None),
            ("spec: &a {htp: 1}\n", Some("spec: &a {http: 1}\n")),
            ("a: &a {htp: 1}\nspec: *a\n", None),
        ] {
            assert_eq!(edited(text, "spec.htp", &to).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn values_keep_their_quotes_and_comments() {
        let fix = Fix::Replace { from: "a/v1alpha3".to_owned(), to: "a/v1".to_owned() };
        for (text, wanted) in [
            ("apiVersion: a/v1alpha3 # old\n", Some("apiVersion: a/v1 # old\n")),
            ("apiVersion: \"a/v1alpha3\"\n", Some("apiVersion: \"a/v1\"\n")),
            ("apiVersion: a/v1\n", None),
        ] {
            assert_eq!(edited(text, "apiVersion", &fix).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn repeated_entries_are_removed_with_their_lines() {
        for (text, wanted) in [
            ("a:\n  b: 1\n  # c\n  d: 2\n  b: 1\n", Some("a:\n  b: 1\n  # c\n  d: 2\n")),
            ("a:\n  b: {x: 1}\n  b: {x: 1}\n  d: 2\n", Some("a:\n  b: {x: 1}\n  d: 2\n")),
            ("a:\n  b:\n    x: 1\n  b:\n    x: 1\n  d: 2\n", Some("a:\n  b:\n    x: 1\n  d: 2\n")),
            ("a: {b: 1, d: 2, b: 1}\n", Some("a: {b: 1, d: 2}\n")),
            ("a:\n  b: 1\n  b: 1 # important\n", None),
            ("a:\n  b: 1\n", None),
        ] {
            assert_eq!(edited(text, "a.b", &Fix::RemoveKey).as_deref(), wanted, "{text}");
        }
        for (text, wanted) in
            [("a: ['.', x, '.']\n", Some("a: ['.', x]\n")), ("a:\n- '.'\n- x\n- '.'\n", Some("a:\n- '.'\n- x\n"))]
        {
            assert_eq!(edited(text, "a[2]", &Fix::RemoveItem).as_deref(), wanted, "{text}");
        }
    }
}
