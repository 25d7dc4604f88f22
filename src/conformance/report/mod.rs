//! Renders the report of a run: JSON, JUnit, a `ConformanceReport` of Gateway API, one HTML page; compares two reports.

pub mod conformance_report;
pub mod diff;
pub mod html;
pub mod junit;

/// Text for XML: markup and control characters escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
