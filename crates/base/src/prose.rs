//! Wraps text at a width, counts nouns and writes durations. Independent of the terminal.

use std::fmt::Display;

/// Wraps the text at `width` columns. The first line already has `used` columns, and the others are indented.
#[must_use]
pub fn fold(text: &str, used: usize, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut folded = String::with_capacity(text.len());
    let mut column = used;
    for (index, word) in text.split(' ').enumerate() {
        let length = columns(word);
        if index > 0 && column + 1 + length > width {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += length;
    }
    folded
}

/// A number with its noun: `1 error`, `2 errors`, `3 proxies`. Only for nouns with a regular plural.
#[must_use]
pub fn plural<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

/// The form of a verb that agrees with a number: `is` or `are`.
#[must_use]
pub fn agree<'a, N: Copy + PartialEq + From<u8>>(count: N, one: &'a str, several: &'a str) -> &'a str {
    if count == N::from(1) { one } else { several }
}

/// Milliseconds as they are below a second, else as seconds, minutes or hours: `90 ms`, `1.5 s`, `12 s`, `10 min`.
#[must_use]
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..10 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        10..600 => format!("{seconds} s"),
        600..36_000 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Columns of a text on a terminal; color sequences take none.
#[must_use]
pub fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        count += before.chars().count();
        rest = sequence.split_once('m').map_or("", |(_, after)| after);
    }
    count + rest.chars().count()
}

#[cfg(test)]
mod tests {
    use super::{columns, duration, fold, plural};

    #[test]
    fn color_sequences_take_no_columns() {
        assert_eq!(columns("\x1b[1m\x1b[31mred\x1b[0m text"), 8);
        assert_eq!(fold("\x1b[31mone\x1b[0m two", 0, 0, Some(7)), "\x1b[31mone\x1b[0m two");
    }

    #[test]
    fn a_noun_after_one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| plural(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }

    #[test]
    fn durations_have_at_least_two_digits_in_larger_units() {
        let shown = [90, 1_560, 9_960, 10_000, 599_999, 600_000, 36_000_000].map(duration);
        assert_eq!(shown, ["90 ms", "1.5 s", "9.9 s", "10 s", "599 s", "10 min", "10 h"]);
    }

    #[test]
    fn fold_wraps_words_at_width() {
        assert_eq!(fold("one two three", 2, 4, Some(9)), "one two\n    three");
        assert_eq!(fold("unbreakable as it is", 0, 0, Some(4)), "unbreakable\nas\nit\nis");
        assert_eq!(fold("one two three", 2, 4, None), "one two three");
    }
}
