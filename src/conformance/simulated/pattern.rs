//! Regular expressions as the suites use them: literals, `.`, classes such as `[0-9]`, `*` and `+`. Anchored at the start.

/// Whether `text` starts with a match; with `whole`, whether all of it is one.
pub(super) fn matches(pattern: &str, text: &str, whole: bool) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    go(&pattern, &text, whole)
}

/// Whether the pattern is more than a literal or `.*`.
pub(super) fn is_regex(pattern: &str) -> bool {
    pattern != ".*" && pattern.contains(['.', '[', '*', '+', '(', '\\'])
}

fn go(pattern: &[char], text: &[char], whole: bool) -> bool {
    let Some(length) = atom(pattern) else { return !whole || text.is_empty() };
    let (one, rest) = pattern.split_at(length);
    match rest.first() {
        Some('*') => repeated(one, &rest[1..], text, whole),
        Some('+') => text.first().is_some_and(|c| fits(one, *c)) && repeated(one, &rest[1..], &text[1..], whole),
        _ => text.first().is_some_and(|c| fits(one, *c)) && go(rest, &text[1..], whole),
    }
}

fn repeated(one: &[char], rest: &[char], text: &[char], whole: bool) -> bool {
    let most = text.iter().take_while(|c| fits(one, **c)).count();
    (0..=most).rev().any(|taken| go(rest, &text[taken..], whole))
}

/// Length of the first atom; none at the end.
fn atom(pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '[' => Some(pattern.iter().position(|c| *c == ']').map_or(1, |end| end + 1)),
        _ => Some(1),
    }
}

fn fits(atom: &[char], c: char) -> bool {
    match atom {
        ['.'] => true,
        ['[', class @ .., ']'] => match class {
            [low, '-', high] => (*low..=*high).contains(&c),
            _ => class.contains(&c),
        },
        [one] => *one == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_suites_match_as_regular_expressions() {
        for (pattern, text, whole, matched) in [
            ("/metrics", "/metrics/x", false, true),
            ("/metrics", "/x/metrics", false, false),
            ("/metrics", "/metrics/x", true, false),
            (".*", "", true, true),
            ("/api/[0-9]+", "/api/42", true, true),
            ("/api/[0-9]+", "/api/x", false, false),
            ("v[0-9]+", "v12", true, true),
            ("v[0-9]+", "v", true, false),
        ] {
            assert_eq!(matches(pattern, text, whole), matched, "{pattern} {text}");
        }
        assert!(is_regex("/api/[0-9]+") && !is_regex("/metrics") && !is_regex(".*"));
    }
}
