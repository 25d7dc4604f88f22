//! Values that another tool replaces before the object is applied: `${HOST}` of envsubst and Flux, `{{ .Host }}` of Helm
//! and Argo CD, `<your-host>` and `YOUR_HOST` of documentation. Findings about such values are dropped. Pure.

use super::{Finding, Resource, Snapshot, Value};

/// Fields whose values people write as words in capital letters. Enumerations of Istio are such words in other fields.
const NAMES: [&str; 14] = [
    "host",
    "hosts",
    "hostname",
    "hostnames",
    "name",
    "namespace",
    "credentialName",
    "secretName",
    "gateways",
    "addresses",
    "address",
    "issuer",
    "jwksUri",
    "principals",
];

/// Drops findings about values that are placeholders, and about objects whose name or namespace is one.
pub fn drop_findings(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    findings.retain(|finding| finding.origin.is_none() || !is_about_placeholder(snapshot, finding));
}

fn is_about_placeholder(snapshot: &Snapshot, finding: &Finding) -> bool {
    let object = &finding.object;
    if is_placeholder(&object.name, "name") || is_placeholder(&object.namespace, "namespace") {
        return true;
    }
    let namespace =
        if object.kind.is_namespaced() && object.namespace.is_empty() { "default" } else { &object.namespace };
    let found = snapshot.named(object.kind, namespace, &object.name);
    found.iter().any(|resource| resource.origin == finding.origin && has_placeholder(resource, &finding.field))
        || finding.arguments.iter().any(|argument| is_templated(argument))
}

fn has_placeholder(resource: &Resource, field: &str) -> bool {
    let mut node = &resource.root;
    let mut key = "";
    for step in field.split(['.', '[']) {
        let step = step.trim_end_matches(']').trim_matches('"');
        match step.parse::<usize>() {
            Ok(index) if !node.items().is_empty() => node = &node[index],
            _ => {
                node = &node[step];
                key = step;
            }
        }
    }
    match node {
        Value::Str(text) => is_placeholder(text, key),
        Value::List(items) => items.iter().any(|item| is_placeholder(item.text(), key)),
        // A selector.
        Value::Map(entries) => entries.iter().any(|(_, value)| is_templated(value.text())),
        _ => false,
    }
}

/// Whether the value of a field is one.
fn is_placeholder(text: &str, key: &str) -> bool {
    is_templated(text) || NAMES.contains(&key) && is_capital_word(text)
}

/// Whether a text has a part that a tool replaces.
fn is_templated(text: &str) -> bool {
    text.contains("${")
        || text.contains("{{")
        || text.contains("$(")
        || text.starts_with('$') && text.len() > 1
        || text.split(['.', '/']).any(|part| part.len() > 2 && part.starts_with('<') && part.ends_with('>'))
}

/// `YOUR_HOST`, `REPLACE-ME`, `CHANGEME`, also as a part of a host: `web.YOUR_DOMAIN`.
fn is_capital_word(text: &str) -> bool {
    text.split(['.', '/']).any(|part| {
        part.len() > 2
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_tools_and_documentation_are_recognized() {
        for (text, key, wanted) in [
            ("${HOST}", "host", true),
            ("web.${DOMAIN}", "host", true),
            ("$HOST", "host", true),
            ("{{ .Values.host }}", "host", true),
            ("<your-host>", "host", true),
            ("<app>.<namespace>.svc.cluster.local", "host", true),
            ("shop & <co>", "namespace", false),
            ("YOUR_HOST", "host", true),
            ("web.YOUR-DOMAIN.com", "hosts", true),
            ("STRICT", "mode", false),
            ("ISTIO_MUTUAL", "mode", false),
            ("${MODE}", "mode", true),
            ("reviews", "host", false),
            ("*", "hosts", false),
            ("", "host", false),
        ] {
            assert_eq!(is_placeholder(text, key), wanted, "{text}");
        }
    }
}
