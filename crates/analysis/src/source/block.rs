//! Fast parser for a common subset of YAML: block mappings and sequences whose keys and values are on one line each. It
//! is several times as fast as a full YAML parser, which handles everything else: anchors, tags, flow collections,
//! multi-line scalars, escapes, tabs, and invalid input. Pure.

use compact_str::CompactString;

use super::super::Value;
use super::MAX_VALUES;
use super::keys::Keys;
use super::scalar::resolve;

/// Deepest nesting; the full parser, which has its own limits, handles deeper documents.
const DEEPEST: usize = 48;
/// Longest key, characters; YAML limits implicit keys.
const LONGEST_KEY: usize = 256;

/// Value of a document; none if it uses other syntax or is empty.
pub fn read(text: &str) -> Option<Value> {
    // Each value takes at least one byte.
    let is_plain = text.len() < MAX_VALUES && text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~'));
    if !is_plain {
        return None;
    }
    let mut reader = Reader { rest: text, line: None, entries: Vec::new(), items: Vec::new() };
    reader.advance();
    let root = match reader.line {
        Some(Line { indent: 0, .. }) => reader.node(0, 0)?,
        _ => return None,
    };
    reader.line.is_none().then_some(root)
}

/// A line with content, or the content after a dash on its line.
#[derive(Clone, Copy)]
struct Line<'a> {
    indent: usize,
    text: &'a str,
}

struct Reader<'a> {
    /// Offset after the current line.
    rest: &'a str,
    line: Option<Line<'a>>,
    /// Entries of all open mappings; each takes its own from the end.
    entries: Vec<(CompactString, Value)>,
    items: Vec<Value>,
}

impl Reader<'_> {
    /// Advances to the next line that is not empty or a comment.
    fn advance(&mut self) {
        self.line = None;
        while !self.rest.is_empty() {
            let end = memchr::memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let text = line.trim_start_matches(' ');
            if !text.is_empty() && !text.starts_with('#') {
                self.line = Some(Line { indent: line.len() - text.len(), text: text.trim_end_matches(' ') });
                return;
            }
        }
    }

    /// Parses the collection that starts on the current line.
    fn node(&mut self, indent: usize, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        if is_item(self.line?.text) { self.sequence(indent, depth) } else { self.mapping(indent, depth) }
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let first = self.entries.len();
        let mut keys = Keys::default();
        while let Some(line) = self.line.filter(|line| line.indent >= indent) {
            if line.indent > indent {
                return None;
            }
            let (key, value) = key(line.text)?;
            self.advance();
            let value = match value {
                "" => self.below(indent, true, depth)?,
                value => scalar(value)?,
            };
            // The other reader reports a repeated key with its line.
            if keys.put(&mut self.entries, first, CompactString::new(key), value) {
                return None;
            }
        }
        Some(Value::Map(self.entries.drain(first..).collect()))
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let first = self.items.len();
        while let Some(line) = self.line.filter(|line| line.indent >= indent) {
            if line.indent > indent {
                return None;
            }
            if !is_item(line.text) {
                break;
            }
            let text = line.text[1..].trim_start_matches(' ');
            let item = if text.is_empty() || text.starts_with('#') {
                self.advance();
                self.below(indent, false, depth)?
            } else if is_item(text) || key(text).is_some() {
                let indent = indent + line.text.len() - text.len();
                self.line = Some(Line { indent, text });
                self.node(indent, depth + 1)?
            } else {
                self.advance();
                scalar(text)?
            };
            self.items.push(item);
        }
        Some(Value::List(self.items.drain(first..).collect()))
    }

    /// Parses the value below a key or dash without content on its line.
    fn below(&mut self, indent: usize, is_key: bool, depth: usize) -> Option<Value> {
        match self.line {
            Some(line) if line.indent > indent => self.node(line.indent, depth + 1),
            // Items of a sequence may have the indentation of its key.
            Some(line) if is_key && line.indent == indent && is_item(line.text) => self.sequence(indent, depth + 1),
            _ => Some(Value::Null),
        }
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// A key and the text after its colon; the text is empty if there is only a comment.
fn key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = match text.as_bytes().first()? {
        quote @ (b'"' | b'\'') => quoted(text, char::from(*quote))?,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
            text.split_at(text.bytes().position(|byte| !is_part(&byte))?)
        }
        _ => return None,
    };
    let rest = rest.strip_prefix(':')?;
    if key.len() > LONGEST_KEY || !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let value = rest.trim_start_matches(' ');
    Some((key, if value.starts_with('#') { "" } else { value }))
}

/// Quoted text, and the text after it.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let (inside, after) = text.strip_prefix(quote)?.split_once(quote)?;
    let is_literal = if quote == '"' { !inside.contains('\\') } else { !after.starts_with('\'') };
    is_literal.then_some((inside, after))
}

/// A value on one line.
fn scalar(text: &str) -> Option<Value> {
    match text.as_bytes().first()? {
        quote @ (b'"' | b'\'') => {
            let (inside, after) = quoted(text, char::from(*quote))?;
            is_comment(after).then(|| Value::string(inside))
        }
        b'{' => text.strip_prefix("{}").filter(|after| is_comment(after)).map(|_| Value::Map(Box::default())),
        b'[' => text.strip_prefix("[]").filter(|after| is_comment(after)).map(|_| Value::List(Box::default())),
        b'-' if is_item(text) || text.starts_with("---") => None,
        b'a'..=b'z'
        | b'A'..=b'Z'
        | b'0'..=b'9'
        | b'/'
        | b'.'
        | b'_'
        | b'+'
        | b'-'
        | b'('
        | b'<'
        | b'$'
        | b'^'
        | b'~' => {
            let text = text.split_once(" #").map_or(text, |(text, _)| text.trim_end_matches(' '));
            // A colon would make it a key, which is not allowed here.
            let is_key = text.ends_with(':') || text.contains(": ");
            (!is_key).then(|| resolve(text))
        }
        _ => None,
    }
}

/// Empty text, or a comment.
fn is_comment(text: &str) -> bool {
    let rest = text.trim_start_matches(' ');
    rest.is_empty() || rest.len() < text.len() && rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::super::yaml;
    use super::*;

    /// What is read here is what the reader of all of YAML reads.
    fn is_as_ever(text: &str) -> bool {
        let Some(node) = read(text) else { return false };
        assert_eq!(yaml::read(text, &Budget::new(text.len())).map(|document| document.root), Ok(node), "{text:?}");
        true
    }

    #[test]
    fn block_parser_agrees_with_yaml() {
        let text = "# first\napiVersion: v1 # yes\n\nkind: \"A b\"\nmetadata:\n  name: 'x: y' # c\n  labels: {}\n  \
                    annotations:\n    a.b/c: \"1\"\n    \"d e\": 1\n    f: https://a.b:80/c?d#e\nspec:\n- a\n-\n  b: 1\n  \
                    c:\n  - 1\n  -   - 2\n      - x: -3\n        y: ~\n- - z\n-\nnone:\nempty: []\nlast: 0x1F\n";
        assert!(is_as_ever(text));
        for text in
            ["a:\n  b:\n  c: on\n", "- a: 1\n  b: 2\n- c\n", "a: b#c\n", "a:   \n  - 1\nb: +1.5\n", "a: -x\n", "1: 2"]
        {
            assert!(is_as_ever(text), "{text:?}");
        }
    }

    #[test]
    fn unsupported_syntax_falls_back() {
        let others = [
            "",
            "# x\n",
            "a",
            "a: b: c\n",
            "a: &x 1\nb: *x\n",
            "a: !!str 1\n",
            "a: |\n  x\n",
            "a: [1]\n",
            "a: {b: 1}\n",
            "a: x\n  y\n",
            "a: \"x\\n\"\n",
            "a: 'it''s'\n",
            "a:\t1\n",
            "a: ä\n",
            "? a\n: b\n",
            "<<: 1\n",
            "a: 1\n b: 2\n",
            " a: 1\nb: 2\n",
            "a: 1\n- b\n",
            "a:\n    b: 1\n  c: 2\n",
            "a: %x\n",
            "a: @x\n",
            "a: `x`\n",
            "a: \"x\" y\n",
            "a: \"x\"#y\n",
            "- a\nb: 1\n",
            "a: - b\n",
            "a: {}#\n",
            "a: \"x\n  y\"\n",
            "a:\n- b\n  c\n",
            "a b: c\n",
            "{a: b}\n",
            "a: x:\n",
            "--- a: b\n",
            "a: 1\na: 2\n",
        ];
        for text in others {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_lines_parse_equally_or_fall_back(lines in proptest::collection::vec("(  ){0,3}(- ){0,2}(a|b|\"c\"|'d')?(:)?( )?(1|x|'y'|\"z\"|true|\\{\\}|\\[\\]|#| #w|-|: |~|x y|x: y|0x1)?", 0..8)) {
            is_as_ever(&format!("{}\n", lines.join("\n")));
        }
    }
}
