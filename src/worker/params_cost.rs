//! What parameters cost beyond their size. A manifest is a string in them; an object read from it takes up to 40 times the
//! space of its text, if the text has many short values or repeats a value by aliases.

use serde_json::Value;

/// Bytes of parameters that cost as much as one value of a manifest.
const VALUE: usize = 20;
/// The same for all that aliases of one manifest may repeat (`cluster/manifest/value.rs`).
const ALIASES: usize = 8 << 20;
/// Most values of a manifest; a reader refuses one with more.
const MAX_VALUES: usize = 1_000_000;

/// Bytes to count for the manifests in `params`, beside the size of the parameters.
pub(super) fn of_manifests(params: &Value) -> usize {
    match params {
        Value::String(text) => of_text(text.as_bytes()),
        Value::Array(items) => items.iter().map(of_manifests).sum(),
        Value::Object(fields) => fields.values().map(of_manifests).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn of_text(text: &[u8]) -> usize {
    let separators = text.iter().filter(|byte| matches!(byte, b',' | b'\n' | b'[' | b'{' | b':')).count();
    let aliases = if has_anchor(text) { ALIASES } else { 0 };
    VALUE * separators.min(MAX_VALUES) + aliases
}

/// Whether the text may have an anchor of YAML, such as `a: &b`.
fn has_anchor(text: &[u8]) -> bool {
    text.windows(3).any(|window| {
        let begins = matches!(window[0], b' ' | b'\t' | b'\n' | b'[' | b'{' | b',' | b':');
        begins && window[1] == b'&' && (window[2].is_ascii_alphanumeric() || window[2] == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_and_aliases_cost_more_than_their_text() {
        assert_eq!(of_manifests(&json!({"name": "a", "replicas": 3})), 0);
        let list = format!("[{}0]", "0,".repeat(999));
        assert_eq!(of_manifests(&json!({"manifest": list})), 20_000);
        assert_eq!(of_manifests(&json!({"manifest": "0,".repeat(2_000_000)})), 20_000_000);
        assert_eq!(of_manifests(&json!(["x".repeat(1000), {"a": ["x"]}])), 0);
        assert_eq!(of_manifests(&json!("a: &b c")), 20 + ALIASES);
        for text in ["host: \"*\"", "run: a && b", "url: x?a=1&b=2", "run: a &"] {
            assert!(of_manifests(&json!(text)) < 100, "{text}");
        }
    }
}
