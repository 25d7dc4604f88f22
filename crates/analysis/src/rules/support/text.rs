//! Formats lists for messages. Contains no rule.

/// Names that are listed before the rest is counted.
const NAMED: usize = 5;

/// `a, b and c`; for a long list the first names and the number of the others.
pub fn some_of(names: &[impl AsRef<str>]) -> String {
    let join = |names: &[_]| names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        _ if names.len() > NAMED => format!("{} and {} more", join(&names[..NAMED]), names.len() - NAMED),
        [first @ .., last] => format!("{} and {}", join(first), last.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::some_of;

    #[test]
    fn long_lists_are_abbreviated() {
        assert_eq!(some_of(&["a"]), "a");
        assert_eq!(some_of(&["a", "b", "c"]), "a, b and c");
        assert_eq!(some_of(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
