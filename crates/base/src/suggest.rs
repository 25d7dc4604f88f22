//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest of `known`, if it is near enough to be meant: equal but for case and separators, or at most one slip in
/// each three characters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let length = folded.chars().count();
    let limit = length.div_ceil(3).min(4);
    known
        .into_iter()
        .map(|candidate| {
            let other = fold(candidate);
            // A word that was cut off or got an `s` is nearer than its length tells.
            let part = length > 3 && (other.starts_with(&*folded) || folded.starts_with(&*other));
            let distance = strsim::osa_distance(&folded, &other);
            (if part { distance.min(limit) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The word in lower case without separators, at most 64 characters of it: the distance takes quadratic time.
fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_seen_and_strangers_are_not() {
        let known = ["hosts", "http", "gateways", "exportTo", "tls", "tcp", "retries"];
        for (word, expected) in [
            ("host", Some("hosts")),
            ("hots", Some("hosts")),
            ("gateway", Some("gateways")),
            ("exportto", Some("exportTo")),
            ("export_to", Some("exportTo")),
            ("retrys", Some("retries")),
            ("htpp", Some("http")),
            ("replicas", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
