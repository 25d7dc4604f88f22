//! Evaluates Kubernetes label selectors with expressions. Source: Kubernetes `LabelSelector`. Contains no rule.

use crate::Value;

/// Whether a selector matches labels. A missing selector matches everything, an invalid one nothing.
pub fn matches<'a>(selector: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let pairs = selector["matchLabels"].entries();
    pairs.iter().all(|(key, value)| label(key) == Some(value.text()))
        && selector["matchExpressions"].items().iter().all(|expression| {
            let value = label(expression["key"].text());
            let is_listed = || value.is_some_and(|value| expression["values"].texts().any(|listed| listed == value));
            match expression["operator"].text() {
                "In" => is_listed(),
                "NotIn" => !is_listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_and_expressions_must_match() {
        let holds = |selector: &str, labels: &[(&'static str, &'static str)]| {
            let selector: Value = serde_json::from_str(selector).unwrap();
            matches(&selector, |key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
        };
        assert!(holds("{}", &[]) && holds("null", &[]));
        assert!(holds(r#"{"matchLabels":{"a":"1"}}"#, &[("a", "1"), ("b", "2")]));
        assert!(!holds(r#"{"matchLabels":{"a":"1"}}"#, &[("a", "2")]));
        let not_in = r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["1"]}]}"#;
        assert!(holds(not_in, &[]) && holds(not_in, &[("a", "2")]) && !holds(not_in, &[("a", "1")]));
        let exists = r#"{"matchExpressions":[{"key":"a","operator":"Exists"}]}"#;
        assert!(holds(exists, &[("a", "")]) && !holds(exists, &[]));
        assert!(!holds(r#"{"matchExpressions":[{"key":"a","operator":"Like"}]}"#, &[]));
    }
}
