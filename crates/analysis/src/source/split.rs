//! Splits a text into YAML documents without parsing them, so that they can be parsed in parallel. In YAML a document
//! marker at the start of a line ends the document in every context, also inside quotes and block scalars. Pure.

use super::SourceSpan;

/// Position of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset of the end, exclusive.
    pub end: usize,
    /// Line of the first byte, from 1.
    pub line: usize,
}

impl Document {
    /// Where the document is among all texts, given the number of its file.
    #[must_use]
    pub fn span(self, file: u32) -> SourceSpan {
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let (line, start, end) = (number(self.line), number(self.start), number(self.end));
        SourceSpan { file, line, start, end, item: None }
    }
}

/// Documents with content, in order. Comments and directives are not content.
#[must_use]
pub fn split(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let bytes = text.as_bytes();
    let skip = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut open = Open { start: skip, line: 1, content: None };
    let mut start = skip;
    let mut line = 1;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length + 1);
        let this = &bytes[start..end];
        if is_marker(this, b"---") {
            open.close(start, &mut documents);
            // Text after the marker on its line belongs to the document.
            open = Open { start: start + 3, line, content: None };
            open.note(&this[3..], start + 3, line);
        } else if is_marker(this, b"...") {
            open.close(start, &mut documents);
            open = Open { start: end, line: line + 1, content: None };
        } else {
            open.note(this, start, line);
        }
        start = end;
        line += 1;
    }
    open.close(bytes.len(), &mut documents);
    documents
}

/// The document being split off.
struct Open {
    start: usize,
    line: usize,
    /// Offset of its first line with content.
    content: Option<(usize, usize)>,
}

impl Open {
    fn note(&mut self, bytes: &[u8], start: usize, line: usize) {
        if self.content.is_none() {
            let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
            if first.is_some_and(|byte| !matches!(byte, b'#' | b'%')) {
                self.content = Some((start, line));
            }
        }
    }

    fn close(&self, end: usize, documents: &mut Vec<Document>) {
        if self.content.is_some() {
            documents.push(Document { start: self.start, end, line: self.line });
        }
    }
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_split_at_markers_without_empty_ones() {
        let text = "# licence\n---\na: 1\n---\n# nothing\n--- # here\nb: |\n  --- text\n...\nc: 1\n---x: 1\n";
        let cut: Vec<(usize, &str)> =
            split(text).into_iter().map(|document| (document.line, &text[document.start..document.end])).collect();
        assert_eq!(cut, [(2, "\na: 1\n"), (6, " # here\nb: |\n  --- text\n"), (10, "c: 1\n---x: 1\n")]);
        assert!(split("").is_empty() && split("---\n").is_empty());
    }
}
