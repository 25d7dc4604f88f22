//! The command line and the CloudEvent that do the same as a form.

use serde_json::Value;

use crate::event::Target;

/// A command line for a POSIX shell that sends the command and waits for its result.
pub(super) fn command_line(verb: &str, target: &Target, params: &Value) -> String {
    let start = format!("sailhand submit {verb} --target {target}");
    let fields = params.as_object().into_iter().flatten();
    let options: Option<Vec<String>> = fields
        .map(|(name, value)| Some(format!(" \\\n  -p {}", word(&format!("{name}={}", argument(value)?)))))
        .collect();
    if let Some(options) = options {
        return format!("{start}{} --wait", options.concat());
    }
    let json = serde_json::to_string_pretty(params).unwrap_or_default();
    format!("{start} --file - --wait <<'END'\n{json}\nEND")
}

/// The value of `-p name=`; `None` where the command line would read it as another value: `@` names a file, and a text
/// that is JSON would be JSON.
fn argument(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with('@') || serde_json::from_str::<Value>(text).is_ok() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A word of a shell.
fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    if text.bytes().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(params: &Value) -> String {
        command_line("config.apply", &"dev".parse().unwrap(), params)
    }

    #[test]
    fn values_are_quoted_for_the_shell() {
        let text = line(&json!({ "name": "shop", "manifest": "it's: 1\n$HOME: `id`\n", "rules": [{ "a": 1 }] }));
        assert_eq!(
            text,
            "sailhand submit config.apply --target dev \\\n  -p 'manifest=it'\\''s: 1\n$HOME: `id`\n' \\\n  -p name=shop \\\n  \
             -p 'rules=[{\"a\":1}]' --wait"
        );
    }

    #[test]
    fn texts_that_the_command_line_reads_otherwise_are_a_file() {
        for text in ["@/etc/passwd", "1", "true", "{}"] {
            let text = line(&json!({ "name": text }));
            assert!(text.starts_with("sailhand submit config.apply --target dev --file - --wait <<'END'\n{"), "{text}");
        }
    }
}
