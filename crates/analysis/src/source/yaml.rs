//! Builds a [`Value`] from the events of a YAML parser, within limits on depth and size. Pure.

use std::collections::HashMap;
use std::fmt::Write;

use compact_str::CompactString;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::super::Value;
use super::budget::Budget;
use super::keys::Keys;
use super::scalar::resolve;
use super::{MAX_DEPTH, MAX_VALUES};

/// One document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// Its value; null if there is nothing in it.
    pub root: Value,
    /// Keys that a mapping has more than once: the first of each mapping.
    pub repeated: Vec<RepeatedKey>,
}

/// A key that a mapping has more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedKey {
    /// The path of the key, such as `spec.hosts` or `items[2].metadata.name`.
    pub field: String,
    /// The line of its second occurrence, from 1 in the document.
    pub line: usize,
    /// Whether the value before it ends in `---`: a separator that lost its line.
    pub is_glued: bool,
    /// Whether a later value of the mapping replaces one that differs from it.
    pub differs: bool,
}

/// Maximum number of repeated keys of one document that are reported.
const MAX_REPEATED: usize = 100;

/// Why parsing stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The text is not valid YAML.
    Syntax {
        /// Line in the document, from 1.
        line: usize,
        /// Error of the parser.
        reason: String,
    },
    /// The document exceeds a limit.
    Limit {
        /// Line in the document, from 1.
        line: usize,
        /// The limit that was exceeded.
        what: String,
    },
}

impl From<&ScanError> for Fault {
    fn from(error: &ScanError) -> Self {
        Self::Syntax { line: error.marker().line(), reason: error.info().to_owned() }
    }
}

/// Reads one document. Copies that its anchors and aliases make are charged to the budget.
pub fn read(text: &str, budget: &Budget) -> Result<Document, Fault> {
    read_strictly(text, budget)
        .or_else(|fault| indented(text, &fault, budget).map_or(Err(fault), |text| read_strictly(&text, budget)))
}

/// Maximum number of lines of a document whose indentation is corrected.
const MAX_INDENTED: usize = 64;
/// Maximum number of bytes that are read again for it.
const MAX_READ_AGAIN: usize = 16 << 20;

/// The text with corrected indentation, if the only error is a flow collection at the column of its key:
///
/// ```yaml
/// args: [
///   --all
/// ]
/// ```
///
/// YAML requires more indentation; `kubectl` does not, and many files rely on that.
pub(super) fn indented(text: &str, fault: &Fault, budget: &Budget) -> Option<String> {
    let attempts = MAX_INDENTED.min(MAX_READ_AGAIN / text.len().max(1));
    let mut text = text.to_owned();
    let mut fault = fault.clone();
    for _ in 0..attempts {
        let Fault::Syntax { line, reason } = &fault else { return None };
        let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        // Only reported inside brackets: elsewhere less indentation ends a block.
        if !matches!(reason.as_str(), "invalid indentation" | "invalid indentation in flow construct") {
            return None;
        }
        text.insert(start, ' ');
        match read_strictly(&text, budget) {
            Ok(_) => return Some(text),
            Err(next) => fault = next,
        }
    }
    None
}

fn read_strictly(text: &str, budget: &Budget) -> Result<Document, Fault> {
    let mut builder = Builder::new(budget);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Fault::from(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.line = span.start.line();
        builder.take(event).map_err(|refused| match refused {
            Refused::Syntax(reason) => Fault::Syntax { line: span.start.line(), reason },
            Refused::Limit(what) => Fault::Limit { line: span.start.line(), what },
        })?;
    }
    Ok(Document { root: builder.root.unwrap_or_default(), repeated: builder.repeated })
}

enum Refused {
    Syntax(String),
    Limit(String),
}

struct Builder<'a> {
    budget: &'a Budget,
    open: Vec<Open>,
    root: Option<Value>,
    /// Anchors by the parser's numbers; those that are still open have no value yet.
    anchors: HashMap<usize, Value>,
    values: usize,
    /// Of the current event, from 1.
    line: usize,
    repeated: Vec<RepeatedKey>,
    /// Whether the scalar read last ends in `---`.
    is_glued: bool,
}

enum Open {
    List { items: Vec<Value>, anchor: usize },
    Map(Box<Mapping>),
}

/// A mapping that is being read.
#[derive(Default)]
struct Mapping {
    entries: Vec<(CompactString, Value)>,
    keys: Keys,
    key: Option<CompactString>,
    key_line: usize,
    /// Whether the value before the key ends in `---`.
    is_after_glue: bool,
    merges: Vec<Value>,
    merge: bool,
    anchor: usize,
    /// Its place in [`Builder::repeated`] once it has a key twice.
    repeated: Option<usize>,
}

impl<'a> Builder<'a> {
    fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            values: 0,
            line: 1,
            repeated: Vec::new(),
            is_glued: false,
        }
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Refused> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::Plain && self.opens_merge(&text) {
                    return Ok(());
                }
                if self.expects_key() {
                    let (line, is_glued) = (self.line, self.is_glued);
                    if let Some(Open::Map(map)) = self.open.last_mut() {
                        map.key = Some(CompactString::from(text));
                        map.key_line = line;
                        map.is_after_glue = is_glued;
                    }
                    return Ok(());
                }
                self.is_glued = style == ScalarStyle::Plain && text.len() > 3 && text.ends_with("---");
                let node = match tag {
                    Some(tag) => tagged(&text, style, &tag),
                    None if style == ScalarStyle::Plain => resolve(&text),
                    None => Value::Str(CompactString::from(text)),
                };
                self.put(node, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(Open::List { items: Vec::new(), anchor }),
            Event::MappingStart(anchor, _) => self.open(Open::Map(Box::new(Mapping { anchor, ..Mapping::default() }))),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { items, anchor }) => self.put(Value::List(items.into()), anchor),
                Some(Open::Map(map)) => {
                    let anchor = map.anchor;
                    self.put(Value::Map(merged(*map).into()), anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor);
                let node = node.ok_or_else(|| Refused::Syntax("alias inside its own anchor".to_owned()))?;
                if !self.budget.charge(node) {
                    return Err(Refused::Limit(TOO_MANY_COPIES.to_owned()));
                }
                let node = node.clone();
                self.put(node, 0)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn charge(&mut self, values: usize) -> Result<(), Refused> {
        self.values += values;
        if self.values > MAX_VALUES {
            return Err(Refused::Limit(format!("the document exceeds the limit of {MAX_VALUES} values")));
        }
        Ok(())
    }

    /// Whether the next scalar is a key.
    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map(map)) if !map.merge && map.key.is_none())
    }

    /// A merge key (`<<`): its value is merged instead of stored.
    fn opens_merge(&mut self, text: &str) -> bool {
        match self.open.last_mut() {
            Some(Open::Map(map)) if text == "<<" && map.key.is_none() && !map.merge => {
                map.merge = true;
                true
            }
            _ => false,
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Refused> {
        if self.expects_key() {
            return Err(Refused::Syntax("mapping key is not a scalar".to_owned()));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Refused::Limit(format!("the document exceeds the limit of {MAX_DEPTH} nested levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, node: Value, anchor: usize) -> Result<(), Refused> {
        self.charge(1)?;
        if anchor > 0 {
            if !self.budget.charge(&node) {
                return Err(Refused::Limit(TOO_MANY_COPIES.to_owned()));
            }
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map(map)) if map.merge => {
                map.merge = false;
                match node {
                    Value::List(list) => map.merges.extend(list),
                    other => map.merges.push(other),
                }
            }
            Some(Open::Map(map)) => match map.key.take() {
                Some(key) => self.put_entry(key, node),
                None => return Err(Refused::Syntax("mapping key is not a scalar".to_owned())),
            },
        }
        Ok(())
    }

    /// The later value of a key is effective, as with `kubectl`; that there are two is reported.
    fn put_entry(&mut self, key: CompactString, node: Value) {
        let Some(Open::Map(map)) = self.open.last_mut() else { return };
        let Some(at) = map.keys.find(&map.entries, 0, &key) else {
            map.keys.push(&mut map.entries, key, node);
            return;
        };
        let differs = map.entries[at].1 != node;
        map.entries[at].1 = node;
        if let Some(known) = map.repeated.and_then(|known| self.repeated.get_mut(known)) {
            known.differs |= differs;
        } else if self.repeated.len() < MAX_REPEATED {
            map.repeated = Some(self.repeated.len());
            let (line, is_glued) = (map.key_line, map.is_after_glue);
            let field = self.path(&key);
            self.repeated.push(RepeatedKey { field, line, is_glued, differs });
        }
    }

    /// The path of a key of the innermost open mapping.
    fn path(&self, last: &str) -> String {
        let mut path = String::new();
        for (index, open) in self.open.iter().enumerate() {
            let is_innermost = index + 1 == self.open.len();
            match open {
                Open::List { items, .. } => _ = write!(path, "[{}]", items.len()),
                Open::Map(_) if is_innermost => push_key(&mut path, last),
                Open::Map(map) => push_key(&mut path, map.key.as_deref().unwrap_or("<<")),
            }
        }
        path
    }
}

/// The message when copies exceed the budget.
const TOO_MANY_COPIES: &str = "anchors and aliases copy more than 16 times the length of the input";

fn push_key(path: &mut String, key: &str) {
    if key.contains(['.', '/', '[', ']', '"']) {
        _ = write!(path, "[\"{key}\"]");
    } else {
        path.push_str(if path.is_empty() { "" } else { "." });
        path.push_str(key);
    }
}

/// Keys of the mapping itself take precedence, then those of earlier merges (YAML merge type).
fn merged(map: Mapping) -> Vec<(CompactString, Value)> {
    let Mapping { mut entries, mut keys, merges, .. } = map;
    for merge in merges {
        let Value::Map(merge) = merge else { continue };
        for (key, value) in merge {
            keys.put_new(&mut entries, key, value);
        }
    }
    entries
}

fn tagged(text: &str, style: ScalarStyle, tag: &Tag) -> Value {
    let is_string = tag.suffix == "str" || style != ScalarStyle::Plain || tag.suffix == "binary";
    if is_string { Value::string(text) } else { resolve(text) }
}

/// A parser of a text, with positions.
pub(super) fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    Parser::new_from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, Fault> {
        super::read(text, &Budget::new(text.len())).map(|document| document.root)
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn blocks_flows_and_quotes_parse() {
        let text = "a: 1\nb: [x, 'on', \"2\", {c: ~}]\nd: |\n  x\n  y\ne:\n- f: on\n  g: !!str 1\n1: k\n";
        let wanted = r#"{"a":1,"b":["x","on","2",{"c":null}],"d":"x\ny\n","e":[{"f":true,"g":"1"}],"1":"k"}"#;
        assert_eq!(read(text), Ok(json(wanted)));
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        let text = "a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, l: 3}\nd: {<<: [{l: 4}, *x]}\n";
        let wanted = r#"{"a":{"k":1,"l":2},"b":{"k":1,"l":2},"c":{"l":3,"k":1},"d":{"l":4,"k":1}}"#;
        assert_eq!(read(text), Ok(json(wanted)));
    }

    #[test]
    fn alias_bombs_are_rejected() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            bomb = format!("{bomb}a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        assert!(matches!(read(&bomb), Err(Fault::Limit { .. })));
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(matches!(read(&deep), Err(Fault::Limit { .. } | Fault::Syntax { .. })));
        assert!(matches!(read("a: &x [*x]"), Err(Fault::Syntax { .. })));
    }

    #[test]
    fn closing_bracket_at_key_column_parses() {
        let text = "a:\n  - b: [\n      \"x\",\n    ]\n    c: [{\n      d: 1\n    }]\n  - e: [\n    1\n    ]\n";
        assert_eq!(read(text), Ok(json(r#"{"a":[{"b":["x"],"c":[{"d":1}]},{"e":[1]}]}"#)));
        assert!(matches!(read("a: [1\nb: 2\n"), Err(Fault::Syntax { .. })));
    }

    #[test]
    fn syntax_error_has_line() {
        assert!(matches!(read("a: 1\nb: [1\nc: }"), Err(Fault::Syntax { line: 2.., .. })));
    }

    #[test]
    fn later_value_of_a_repeated_key_is_effective_and_reported() {
        assert_eq!(read("a: 1\na: 2\n"), Ok(json(r#"{"a":2}"#)));
        let repeated = |text: &str| {
            let document = super::read(text, &Budget::new(text.len())).unwrap();
            let all = document.repeated.into_iter();
            all.map(|one| (one.field, one.line, one.is_glued, one.differs)).collect::<Vec<_>>()
        };
        let text = "a:\n- b: 1\n  x.y/z:\n    c: 1\n    c: 1\n- d: 50---\na: 2\nb: {e: 1, e: 2, e: 1}\n";
        assert_eq!(
            repeated(text),
            [
                ("a[0][\"x.y/z\"].c".to_owned(), 5, false, false),
                ("a".to_owned(), 7, true, true),
                ("b.e".to_owned(), 8, false, true)
            ]
        );
        assert_eq!(repeated("{\"a\": 1,\n\"a\": 1}"), [("a".to_owned(), 2, false, false)]);
        assert!(repeated("a: &a {x: 1}\nb: {<<: *a, x: 2}\n").is_empty());
    }

    /// The texts of an audit: each took seconds or gigabytes before there was one budget.
    #[test]
    #[allow(clippy::disallowed_types, reason = "what is tested is the time that reading takes")]
    fn cost_of_a_document_is_bounded_by_its_length() {
        let is_limited = |text: &str| matches!(read(text), Err(Fault::Limit { .. }));
        let long = "x".repeat(100_000);
        let aliases = "*a,".repeat(20_000);
        assert!(is_limited(&format!("x: &a \"{long}\"\ny: [{aliases}]\n")), "aliases of a long string");
        let nested = format!("{}{}{}", "&a [".repeat(90), "1,".repeat(100_000), "]".repeat(90));
        assert!(is_limited(&format!("x: {nested}\n")), "anchors around many values");
        let started = std::time::Instant::now();
        let many = (0..140_000).fold(String::new(), |text, number| text + "k" + &i32::to_string(&number) + ": 1\n");
        assert_eq!(read(&many).unwrap().entries().len(), 140_000);
        let flow = many.replace('\n', ", ");
        assert_eq!(read(&format!("{{{flow}}}")).unwrap().entries().len(), 140_000);
        assert!(started.elapsed().as_secs() < 20, "many keys took {:?}", started.elapsed());
    }
}
