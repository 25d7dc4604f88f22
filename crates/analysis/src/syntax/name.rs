//! DNS names and labels in Istio's definition: letters of either case, and wildcards as prefixes.
//!
//! Source: `pkg/config/labels/instance.go`, `pkg/config/validation/agent/validation.go`, `pkg/config/host/name.go`.

use std::borrow::Cow;

const LABEL: usize = 63;
const NAME: usize = 255;

/// A DNS label of at most 63 characters.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.len() <= LABEL && is_word(text, |b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether the first and last characters are letters or digits, and all others are allowed.
fn is_word(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(|b| allowed(*b))
        }
        _ => false,
    }
}

/// `*`, a label, or a label after `*` or `*-`.
fn is_wildcard_label(text: &str) -> bool {
    if text.len() > LABEL {
        return false;
    }
    match text.strip_prefix('*') {
        Some("") => true,
        Some(rest) => is_label(rest.strip_prefix('-').unwrap_or(rest)),
        None => is_label(text),
    }
}

fn check_length(name: &str) -> Result<(), Cow<'static, str>> {
    match name.len() {
        0 => Err("a domain name must not be empty".into()),
        1..=NAME => Ok(()),
        length => Err(format!("a domain name must be at most {NAME} characters, but has {length}").into()),
    }
}

fn check_labels(name: &str, labels: &str) -> Result<(), Cow<'static, str>> {
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.strip_prefix(['+', '-']).unwrap_or(last).parse::<u64>().is_ok() {
        return Err(format!("{name:?} is not a domain name: it ends in a number").into());
    }
    let mut parts = labels.split('.').peekable();
    while let Some(label) = parts.next() {
        // A trailing dot marks a fully qualified name.
        if label.is_empty() && parts.peek().is_none() {
            return Ok(());
        }
        if !is_label(label) {
            return Err(format!("{name:?} is not a domain name: {label:?} is not a DNS label").into());
        }
    }
    Ok(())
}

/// A domain name without wildcards; a single label is valid.
pub fn check_fqdn(name: &str) -> Result<(), Cow<'static, str>> {
    check_length(name)?;
    check_labels(name, name)
}

/// A domain name whose first label may be or start with `*`.
pub fn check_wildcard(name: &str) -> Result<(), Cow<'static, str>> {
    check_length(name)?;
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    if !is_wildcard_label(first) {
        return Err(format!("{name:?} is not a domain name: {first:?} is not a DNS label").into());
    }
    rest.map_or(Ok(()), |rest| check_labels(name, rest))
}

/// Whether a `*` is only a part of a label.
#[must_use]
pub fn is_partial_wildcard(name: &str) -> bool {
    name.contains('*') && name.len() != 1 && !name.starts_with("*.")
}

/// Whether the first character is `*`.
#[must_use]
pub fn is_wildcard(name: &str) -> bool {
    name.starts_with('*')
}

/// Whether two hosts overlap.
#[must_use]
pub fn overlap(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(a), None) => b.ends_with(a),
        (None, Some(b)) => a.ends_with(b),
        (None, None) => a == b,
    }
}

/// Whether `whole` matches every name that `part` matches.
#[must_use]
pub fn is_within(part: &str, whole: &str) -> bool {
    match (part.strip_prefix('*'), whole.strip_prefix('*')) {
        (Some(part), Some(whole)) => part.ends_with(whole),
        (Some(_), None) => false,
        (None, Some(whole)) => part.ends_with(whole),
        (None, None) => part == whole,
    }
}

/// Key and value of a label. The value may be empty.
pub fn check_label(key: &str, value: &str) -> Result<(), String> {
    let is_name = |text: &str| is_word(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefixed = prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|label| is_word(label, |b| b.is_ascii_alphanumeric() || b == b'-'))
    });
    if !prefixed || name.len() > LABEL || !is_name(name) {
        return Err(format!("{key:?} is not a valid label key"));
    }
    if !value.is_empty() && !is_name(value) {
        return Err(format!("{value:?} is not a valid label value"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names() {
        for (name, plain, wild) in [
            ("a", true, true),
            ("a.b-c.d.", true, true),
            ("A.b", true, true),
            ("*", false, true),
            ("*.a.b", false, true),
            ("*a.b", false, true),
            ("*-a.b", false, true),
            ("*.", false, true),
            ("a*.b", false, false),
            ("a.*.b", false, false),
            ("a_b.c", false, false),
            ("-a.b", false, false),
            ("a..b", false, false),
            ("", false, false),
            ("1.2.3.4", false, false),
            ("a.12", false, false),
        ] {
            assert_eq!((check_fqdn(name).is_ok(), check_wildcard(name).is_ok()), (plain, wild), "{name}");
        }
        assert!(check_fqdn(&format!("{}.a", "x".repeat(64))).is_err());
    }

    #[test]
    fn overlapping_hosts() {
        for (a, b, expected) in [
            ("a.com", "a.com", true),
            ("*.com", "a.com", true),
            ("*.a.com", "a.com", false),
            ("*", "*.com", true),
            ("*.a.com", "*.com", true),
            ("*.a.com", "*.b.com", false),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a} {b}");
        }
        assert!(is_within("*.a.com", "*.com") && !is_within("*.com", "*.a.com") && !is_within("*.com", "a.com"));
    }

    #[test]
    fn labels() {
        for (key, value, expected) in [
            ("app", "x", true),
            ("a.b/c_d", "", true),
            ("/c", "x", false),
            ("a/b/c", "x", false),
            ("a", "-x", false),
            ("", "x", false),
            ("a b", "x", false),
        ] {
            assert_eq!(check_label(key, value).is_ok(), expected, "{key}={value}");
        }
    }
}
