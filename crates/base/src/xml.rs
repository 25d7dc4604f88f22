//! Text in XML and HTML documents.

use std::borrow::Cow;

/// Escapes text for the content and the attributes of XML 1.0 and HTML: the five characters of markup become character
/// references.
///
/// Characters that neither format allows become U+FFFD: control characters other than tab and line feed, U+FFFE and
/// U+FFFF. A carriage return is among them, because a parser would read it as a line feed. XML 1.0 has no reference for
/// these characters either (section 2.2, "Characters"). A text without any of these is borrowed.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| replacement(c).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match replacement(c) {
            Some(replacement) => out.push_str(replacement),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn replacement(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        // `&apos;` is not a reference of HTML 4.
        '\'' => Some("&#39;"),
        '\n' | '\t' => None,
        '\u{fffe}' | '\u{ffff}' => Some("\u{fffd}"),
        c if c.is_control() => Some("\u{fffd}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::escaped;

    #[test]
    fn markup_is_escaped_and_forbidden_characters_are_replaced() {
        for (text, expected) in [
            ("", ""),
            ("reviews v2: 90 %", "reviews v2: 90 %"),
            ("größer → 世界 🚢", "größer → 世界 🚢"),
            ("<a href=\"x\">'&'</a>", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;"),
            ("&lt;", "&amp;lt;"),
            ("]]>", "]]&gt;"),
            ("one\n\ttwo", "one\n\ttwo"),
            ("a\rb", "a\u{fffd}b"),
            ("\u{0}\u{1}\u{8}\u{b}\u{c}\u{1f}", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("\u{1b}[31mred", "\u{fffd}[31mred"),
            ("\u{7f}\u{80}\u{9f}\u{a0}", "\u{fffd}\u{fffd}\u{fffd}\u{a0}"),
            ("\u{fffd}\u{fffe}\u{ffff}\u{10000}", "\u{fffd}\u{fffd}\u{fffd}\u{10000}"),
        ] {
            assert_eq!(escaped(text), expected, "{text:?}");
            assert_eq!(matches!(escaped(text), Cow::Borrowed(_)), text == expected, "{text:?}");
        }
    }

    /// The rule of XML 1.0, section 2.2: `Char`.
    #[test]
    fn every_character_becomes_characters_that_xml_allows() {
        let is_allowed =
            |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        for c in '\0'..=char::MAX {
            let text = escaped(c.encode_utf8(&mut [0; 4])).into_owned();
            assert!(text.chars().all(is_allowed) && !text.contains(['<', '"', '\'']), "U+{:04X}: {text:?}", c as u32);
        }
    }
}
