//! "Did you mean": finds the known word that is most similar to an unknown one.

/// The most similar word of `known`, if it is similar enough: equal except for case and separators, or at most one edit in
/// three characters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let length = folded.chars().count();
    let limit = length.div_ceil(3).min(4);
    known
        .into_iter()
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| {
            let other = fold(candidate);
            // A truncated word or a plural counts as similar, whatever its edit distance.
            let part = length > 3 && other.len() > 3 && (other.starts_with(&*folded) || folded.starts_with(&*other));
            let distance = strsim::osa_distance(&folded, &other);
            (if part { distance.min(limit) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The word of `known` that an unknown one certainly means: equal except for case and separators, or in words of three
/// characters and more one edit away, in words of eight and more two, with no other word as near.
pub fn certain<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let limit = match folded.chars().count() {
        0..3 => 0,
        3..8 => 1,
        _ => 2,
    };
    let distance = |candidate: &str| strsim::osa_distance(&folded, &fold(candidate));
    let mut near: Vec<(usize, &str)> =
        known.into_iter().map(|candidate| (distance(candidate), candidate)).filter(|(at, _)| *at <= limit).collect();
    near.sort_unstable();
    match near.as_slice() {
        [(_, one)] => Some(one),
        [(nearest, one), (next, _), ..] if nearest < next => Some(one),
        _ => None,
    }
}

/// The word in lower case without separators, at most 64 characters of it: the distance takes quadratic time.
fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::{certain, nearest};

    #[test]
    fn certain_word_is_near_and_the_only_one() {
        let known = ["hosts", "http", "gateways", "exportTo", "tls", "tcp", "retries", "http2"];
        for (word, expected) in [
            ("host", Some("hosts")),
            ("htp", Some("http")),
            ("export_to", Some("exportTo")),
            ("gatewyas", Some("gateways")),
            ("htt", Some("http")),
            ("retrys", None),
            ("tlp", None),
            ("x", None),
        ] {
            assert_eq!(certain(word, known), expected, "{word}");
        }
    }

    #[test]
    fn nearest_accepts_typos_and_rejects_unrelated_words() {
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
        assert_eq!(nearest("details", ["", "d"]), None, "an empty word or a letter is no suggestion");
    }
}
