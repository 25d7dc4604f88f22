//! "Did you mean": finds the known word that is most similar to an unknown one.

/// The most similar word of `known`, if it is similar enough: equal except for case and separators, or at most one edit
/// in three characters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let limit = folded.len().div_ceil(3).min(4);
    known
        .into_iter()
        .map(|candidate| {
            let other = fold(candidate);
            // A truncated word or a plural counts as similar, whatever its edit distance.
            let part = folded.len() > 3 && (other.starts_with(&folded) || folded.starts_with(&other));
            let distance = distance(&folded, &other);
            (if part { distance.min(limit) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(64).collect()
}

/// Edit distance: insertions, deletions, substitutions and transpositions.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j - 1] + differs).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

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
    }
}
