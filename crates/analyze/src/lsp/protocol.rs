//! The parts of the Language Server Protocol 3.17 that the server uses: messages, positions and URIs of files. Source:
//! <https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/>.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A place in a text: both numbers are from 0, the character in units of the negotiated encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub line: usize,
    pub character: usize,
}

/// A part of a text; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub start: Position,
    pub end: Position,
}

impl Range {
    /// Whether two ranges have a place in common, also at their ends.
    pub fn touches(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A finding, as the editor shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    pub range: Range,
    /// 1 error, 2 warning, 3 information.
    pub severity: u8,
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_description: Option<CodeDescription>,
    pub source: &'static str,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeDescription {
    pub href: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TextEdit {
    pub range: Range,
    pub new_text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Initialize {
    pub root_uri: Option<String>,
    pub workspace_folders: Option<Vec<Folder>>,
    pub capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub general: General,
    pub workspace: WorkspaceCapabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct General {
    pub position_encodings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceCapabilities {
    pub did_change_watched_files: Dynamic,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dynamic {
    pub dynamic_registration: bool,
}

#[derive(Debug, Deserialize)]
pub struct Folder {
    pub uri: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidOpen {
    pub text_document: OpenDocument,
}

#[derive(Debug, Deserialize)]
pub struct OpenDocument {
    pub uri: String,
    pub version: i64,
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DidChange {
    pub text_document: VersionedDocument,
    pub content_changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
pub struct VersionedDocument {
    pub uri: String,
    pub version: i64,
}

/// Replaces a range, or the whole text.
#[derive(Debug, Deserialize)]
pub struct Change {
    pub range: Option<Range>,
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfDocument {
    pub text_document: Document,
}

#[derive(Debug, Deserialize)]
pub struct Document {
    pub uri: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hover {
    pub text_document: Document,
    pub position: Position,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeAction {
    pub text_document: Document,
    pub range: Range,
    #[serde(default)]
    pub context: ActionContext,
}

#[derive(Debug, Default, Deserialize)]
pub struct ActionContext {
    #[serde(default)]
    pub only: Option<Vec<String>>,
}

/// What a character of a position counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Utf16,
}

impl Encoding {
    /// UTF-8 if the client can, otherwise UTF-16, which each client can.
    pub fn of(offered: &[String]) -> Self {
        if offered.iter().any(|it| it == "utf-8") { Self::Utf8 } else { Self::Utf16 }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
        }
    }

    fn width(self, c: char) -> usize {
        match self {
            Self::Utf8 => c.len_utf8(),
            Self::Utf16 => c.len_utf16(),
        }
    }

    /// The unit of a character of a line, both from 0; the end of the line for one behind it.
    pub fn unit(self, line: &str, character: usize) -> usize {
        // JSON may be one line of megabytes with hundreds of findings.
        if line.is_ascii() {
            return character.min(line.len());
        }
        line.chars().take(character).map(|c| self.width(c)).sum()
    }

    /// The byte of a unit of a line; the end of the line for one behind it, the start of a character for one within it.
    fn byte(self, line: &str, unit: usize) -> usize {
        let mut at = 0;
        for (byte, c) in line.char_indices() {
            if at + self.width(c) > unit {
                return byte;
            }
            at += self.width(c);
        }
        line.len()
    }
}

/// Offsets of the lines of a text, bytes. Lines end with `\n`, `\r\n` or `\r`.
#[derive(Debug, Clone, Default)]
pub struct Lines(Vec<usize>);

impl Lines {
    pub fn new(text: &str) -> Self {
        let mut lines = Self(vec![0]);
        lines.0.extend(starts(text, 1..=text.len()));
        lines
    }

    /// Replaces a range of a text, bytes, and updates its lines without a scan of the whole text: "replace all" in an editor
    /// sends one change for each place.
    pub fn replace(&mut self, text: &mut String, range: std::ops::Range<usize>, by: &str) {
        text.replace_range(range.clone(), by);
        let end = range.start + by.len();
        // A start depends on the bytes beside it.
        let first = self.0.partition_point(|start| *start < range.start.max(1));
        let last = self.0.partition_point(|start| *start <= range.end).max(first);
        for start in &mut self.0[last..] {
            *start = *start - range.end + end;
        }
        self.0.splice(first..last, starts(text, range.start.max(1)..=end));
    }

    /// A line without its end; empty behind the last one.
    pub fn line<'a>(&self, text: &'a str, line: usize) -> &'a str {
        let Some(start) = self.0.get(line) else { return "" };
        let end = self.0.get(line + 1).copied().unwrap_or(text.len());
        text.get(*start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// The offset of a position, bytes; the end of the text for one behind it.
    pub fn offset(&self, text: &str, position: Position, encoding: Encoding) -> usize {
        match self.0.get(position.line) {
            Some(start) => start + encoding.byte(self.line(text, position.line), position.character),
            None => text.len(),
        }
    }

    /// The position of an offset.
    pub fn position(&self, text: &str, offset: usize, encoding: Encoding) -> Position {
        let line = self.0.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.0.get(line).copied().unwrap_or(0);
        let before = text.get(start..offset.min(text.len())).unwrap_or_default();
        Position { line, character: encoding.unit(before, usize::MAX) }
    }
}

/// Offsets within a range at which a line starts. The range does not contain offset 0.
fn starts(text: &str, range: RangeInclusive<usize>) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    range.filter(|at| match bytes.get(at - 1) {
        Some(b'\n') => true,
        Some(b'\r') => bytes.get(*at) != Some(&b'\n'),
        _ => false,
    })
}

/// The path of a `file:` URI; none for another scheme, or for a path that is not UTF-8.
pub fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.bytes();
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(left.next())? * 16 + digit(left.next())?;
        bytes.push(u8::try_from(value).ok()?);
    }
    let path = String::from_utf8(bytes).ok()?;
    // `/c:/work` is `c:/work` on Windows.
    let is_drive = path.as_bytes().get(2) == Some(&b':');
    Some(PathBuf::from(if is_drive { path.trim_start_matches('/') } else { &path }))
}

/// The `file:` URI of a path.
pub fn uri_of(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "/");
    let mut uri = String::from(if text.starts_with('/') { "file://" } else { "file:///" });
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            uri.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_and_paths_correspond() {
        for (path, uri) in [
            ("/work/a b.yaml", "file:///work/a%20b.yaml"),
            ("/work/ü#?.yaml", "file:///work/%C3%BC%23%3F.yaml"),
            ("/work/{{x}}/%.yaml", "file:///work/%7B%7Bx%7D%7D/%25.yaml"),
        ] {
            assert_eq!(uri_of(Path::new(path)), uri);
            assert_eq!(path_of(uri).unwrap(), Path::new(path));
        }
        assert_eq!(path_of("file:///c%3A/work/a.yaml").unwrap(), Path::new("c:/work/a.yaml"));
        for none in ["untitled:Untitled-1", "file:///%", "file:///%zz", "file:///%FF"] {
            assert_eq!(path_of(none), None, "{none}");
        }
    }

    #[test]
    fn positions_count_units_of_the_encoding() {
        let text = "a: 1\r\nü: 😀x\n";
        let lines = Lines::new(text);
        let at = |character| Position { line: 1, character };
        for (encoding, character) in [(Encoding::Utf16, 5), (Encoding::Utf8, 8)] {
            let offset = lines.offset(text, at(character), encoding);
            assert_eq!(&text[offset..], "x\n", "{encoding:?}");
            assert_eq!(lines.position(text, offset, encoding), at(character));
        }
        assert_eq!(lines.offset(text, at(4), Encoding::Utf16), text.find('😀').unwrap(), "within a pair");
        assert_eq!(lines.offset(text, at(99), Encoding::Utf16), text.len() - 1);
        assert_eq!(lines.offset(text, Position { line: 9, character: 0 }, Encoding::Utf16), text.len());
        assert_eq!(lines.line(text, 0), "a: 1");
    }

    #[test]
    fn lines_of_a_changed_text_are_those_of_the_whole() {
        let pieces = ["", "x", "\n", "\r", "\r\n", "a\nb", "\n\r", "\r\r\n"];
        for original in ["", "\n", "\r\n", "a\r\nb\rc\n\nd", "\r\n\r\n", "a\n\rb"] {
            for (start, end) in (0..=original.len()).flat_map(|end| (0..=end).map(move |start| (start, end))) {
                for piece in pieces {
                    let (mut text, mut lines) = (original.to_owned(), Lines::new(original));
                    lines.replace(&mut text, start..end, piece);
                    assert_eq!(lines.0, Lines::new(&text).0, "{original:?}: {start}..{end} becomes {piece:?}");
                }
            }
        }
    }
}
