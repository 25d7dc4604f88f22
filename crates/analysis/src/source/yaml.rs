//! Builds a [`Value`] from the events of a YAML parser, within limits on depth and size. Pure.

use compact_str::CompactString;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::super::Value;
use super::scalar::resolve;
use super::{MAX_DEPTH, MAX_VALUES};

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

/// Parses one document; null if it is empty.
pub fn read(text: &str) -> Result<Value, Fault> {
    read_strictly(text).or_else(|fault| indented(text, &fault).map_or(Err(fault), |text| read_strictly(&text)))
}

/// Most lines of a document whose indentation is corrected.
const MAX_INDENTED: usize = 64;

/// The text with corrected indentation, if the only error is a flow collection at the column of its key:
///
/// ```yaml
/// args: [
///   --all
/// ]
/// ```
///
/// YAML requires more indentation; `kubectl` does not, and many files rely on that.
pub(super) fn indented(text: &str, fault: &Fault) -> Option<String> {
    let mut text = text.to_owned();
    let mut fault = fault.clone();
    for _ in 0..MAX_INDENTED {
        let Fault::Syntax { line, reason } = &fault else { return None };
        let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        // Only reported inside brackets: elsewhere less indentation ends a block.
        if !matches!(reason.as_str(), "invalid indentation" | "invalid indentation in flow construct") {
            return None;
        }
        text.insert(start, ' ');
        match read_strictly(&text) {
            Ok(_) => return Some(text),
            Err(next) => fault = next,
        }
    }
    None
}

fn read_strictly(text: &str) -> Result<Value, Fault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Fault::from(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event).map_err(|refused| match refused {
            Refused::Syntax(reason) => Fault::Syntax { line: span.start.line(), reason },
            Refused::Limit(what) => Fault::Limit { line: span.start.line(), what },
        })?;
    }
    Ok(builder.root.unwrap_or_default())
}

enum Refused {
    Syntax(String),
    Limit(String),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Value>,
    /// Anchors by the parser's numbers; those that are still open have no value yet.
    anchors: Vec<(usize, Value)>,
    values: usize,
}

enum Open {
    List {
        items: Vec<Value>,
        anchor: usize,
    },
    Map {
        entries: Vec<(CompactString, Value)>,
        key: Option<CompactString>,
        merges: Vec<Value>,
        merge: bool,
        anchor: usize,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), Refused> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::Plain && self.opens_merge(&text) {
                    return Ok(());
                }
                if let Some(key) = self.key_slot() {
                    *key = Some(CompactString::from(text));
                    return Ok(());
                }
                let node = match tag {
                    Some(tag) => tagged(&text, style, &tag),
                    None if style == ScalarStyle::Plain => resolve(&text),
                    None => Value::Str(CompactString::from(text)),
                };
                self.put(node, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(Open::List { items: Vec::new(), anchor }),
            Event::MappingStart(anchor, _) => {
                self.open(Open::Map { entries: Vec::new(), key: None, merges: Vec::new(), merge: false, anchor })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { items, anchor }) => self.put(Value::List(items.into()), anchor),
                Some(Open::Map { entries, merges, anchor, .. }) => {
                    self.put(Value::Map(merged(entries, merges).into()), anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(number, _)| *number == anchor);
                let node = found.map(|(_, node)| node.clone());
                let node = node.ok_or_else(|| Refused::Syntax("alias inside its own anchor".to_owned()))?;
                self.charge(size(&node))?;
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

    /// Slot for a key, if the next event is a key.
    fn key_slot(&mut self) -> Option<&mut Option<CompactString>> {
        match self.open.last_mut() {
            Some(Open::Map { key, merge: false, .. }) if key.is_none() => Some(key),
            _ => None,
        }
    }

    /// A merge key (`<<`): its value is merged instead of stored.
    fn opens_merge(&mut self, text: &str) -> bool {
        match self.open.last_mut() {
            Some(Open::Map { key: None, merge, .. }) if !*merge && text == "<<" => {
                *merge = true;
                true
            }
            _ => false,
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Refused> {
        if self.key_slot().is_some() {
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
            self.anchors.push((anchor, node.clone()));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { merges, merge, .. }) if *merge => {
                *merge = false;
                match node {
                    Value::List(list) => merges.extend(list),
                    other => merges.push(other),
                }
            }
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => put_entry(entries, key, node),
                None => return Err(Refused::Syntax("mapping key is not a scalar".to_owned())),
            },
        }
        Ok(())
    }
}

/// The last of equal keys wins, as in `kubectl`.
fn put_entry(entries: &mut Vec<(CompactString, Value)>, key: CompactString, node: Value) {
    match entries.iter_mut().find(|(name, _)| *name == key) {
        Some((_, value)) => *value = node,
        None => entries.push((key, node)),
    }
}

/// Keys of the mapping itself take precedence, then those of earlier merges (YAML merge type).
fn merged(mut entries: Vec<(CompactString, Value)>, merges: Vec<Value>) -> Vec<(CompactString, Value)> {
    for merge in merges {
        for (key, value) in merge.entries() {
            if !entries.iter().any(|(name, _)| name == key) {
                entries.push((key.clone(), value.clone()));
            }
        }
    }
    entries
}

fn tagged(text: &str, style: ScalarStyle, tag: &Tag) -> Value {
    let is_string = tag.suffix == "str" || style != ScalarStyle::Plain || tag.suffix == "binary";
    if is_string { Value::string(text) } else { resolve(text) }
}

fn size(node: &Value) -> usize {
    match node {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// A parser of a text, with positions.
pub(super) fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    Parser::new_from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn last_duplicate_key_wins() {
        assert_eq!(read("a: 1\na: 2\n"), Ok(json(r#"{"a":2}"#)));
    }
}
