//! Parses durations in Go syntax: `1h30m`, `1.5s`, `-2ms`.

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Nanoseconds; none if the text is not a duration or overflows 64 bits. Source: `time.ParseDuration` of Go.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = digits(rest);
        let mut after = &rest[whole.len()..];
        let mut fraction = "";
        if let Some(behind) = after.strip_prefix('.') {
            fraction = digits(behind);
            after = &behind[fraction.len()..];
        }
        if whole.is_empty() && fraction.is_empty() || whole.len() > 19 {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &after[..end])?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(*unit)?)?;
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
            total += fraction.parse::<i128>().ok()? * unit / scale;
        }
        rest = &after[end..];
    }
    i64::try_from(total * sign).ok()
}

fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn go_durations_parse() {
        for (text, expected) in [
            ("1s", Some(1_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5ms", Some(500_000)),
            ("-2us", Some(-2_000)),
            ("0", Some(0)),
            ("1µs", Some(1_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1d", None),
            ("1s ", None),
            ("9999999h", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
