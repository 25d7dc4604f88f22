//! The values a chart knows. Helm takes every value and says nothing of one that no template reads, so a misspelt one
//! is as good as not given.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Chart;

/// What a chart of Istio hides its defaults in; users give the fields without it.
const INNER: [&str; 2] = ["_internal_defaults_do_not_set", "defaults"];
/// What templates say before a value.
const READ: [&str; 2] = [".Values.", ".Values)."];

impl Chart {
    /// The names of its values: those with a default, and those that are read by its files. Values of `global` are
    /// there as `global.hub`.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for (path, content) in &self.files {
            let Ok(text) = std::str::from_utf8(content) else { continue };
            let is_yaml = path == "values.yaml" || path.starts_with("files/profile-");
            if let Some(values) = is_yaml.then(|| serde_saphyr::from_str::<Value>(text).ok()).flatten() {
                defaults(&values, &mut keys);
            }
            if path != "README.md" {
                named(text, &mut keys);
            }
        }
        keys
    }
}

fn defaults(values: &Value, keys: &mut BTreeSet<String>) {
    for (key, value) in values.as_object().into_iter().flatten() {
        if INNER.contains(&key.as_str()) {
            defaults(value, keys);
        } else if key == "global" {
            keys.extend(value.as_object().into_iter().flatten().map(|(inner, _)| format!("global.{inner}")));
        }
        keys.insert(key.clone());
    }
}

fn named(text: &str, keys: &mut BTreeSet<String>) {
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect() };
    for after in READ.into_iter().flat_map(|marker| text.split(marker).skip(1)) {
        let key = word(after);
        let rest = after[key.len()..].trim_start_matches(')');
        if key == "global"
            && let Some(inner) = rest.strip_prefix('.')
        {
            keys.insert(format!("global.{}", word(inner)));
        }
        keys.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn chart_value_is_known_from_defaults_profiles_or_templates() {
        let files = [
            ("values.yaml", "_internal_defaults_do_not_set:\n  pilot: {}\n  global: {hub: here}\nrevision: ''\n"),
            ("files/profile-demo.yaml", "meshConfig: {}\n"),
            ("templates/a.yaml", "{{ .Values.env.A }}{{ ($.Values).platform }}{{ (.Values.global).network }}"),
            ("README.md", ".Values.nothing"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let chart = Chart {
            name: "istiod".to_owned(),
            version: "1.30.3".to_owned(),
            digest: String::new(),
            files: BTreeMap::from(files),
        };
        let keys: Vec<_> = chart.keys().into_iter().collect();
        let want = ["_internal_defaults_do_not_set", "env", "global", "global.hub", "global.network", "meshConfig"];
        assert_eq!(keys, [&want[..], &["pilot", "platform", "revision"]].concat());
    }
}
