//! Selectors of patches and replacements. Source: kustomize `api/types/selector.go`, `api/resmap/reswrangler.go`;
//! label selectors: kubernetes.io, "Labels and Selectors".

use regex::Regex;

use super::super::super::Value;
use super::Inexact;
use super::object::{Id, Object};

/// The objects that the target of a patch selects. Its fields are regular expressions of whole values.
pub fn of_patch(objects: &[Object], target: &Value) -> Result<Vec<usize>, Inexact> {
    let pattern = |key: &str| match target[key].text() {
        "" => Ok(None),
        text => Regex::new(&format!("^(?:{text})$")).map(Some).map_err(|_| Inexact(format!("the pattern {text}"))),
    };
    let (group, version, kind) = (pattern("group")?, pattern("version")?, pattern("kind")?);
    let (name, namespace) = (pattern("name")?, pattern("namespace")?);
    let fits = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
    // What Kustomize takes for the namespace of an object without one.
    let in_namespace = |id: &Id| fits(&namespace, id.namespace.as_deref().unwrap_or("_non_namespaceable_"));
    let mut found = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        let (original, current) = (object.original_id(), object.id());
        let is_selected = (in_namespace(&original) || in_namespace(&current))
            && (fits(&name, &original.name) || fits(&name, &current.name))
            && fits(&group, &current.group)
            && fits(&version, &current.version)
            && fits(&kind, &current.kind);
        if is_selected && matches_selectors(object, target)? {
            found.push(at);
        }
    }
    Ok(found)
}

/// Whether the label and annotation selectors of a target match.
pub fn matches_selectors(object: &Object, target: &Value) -> Result<bool, Inexact> {
    let metadata = &object.root["metadata"];
    Ok(matches(target["labelSelector"].text(), &metadata["labels"])?
        && matches(target["annotationSelector"].text(), &metadata["annotations"])?)
}

/// Whether the selector of a replacement selects an identifier. Empty fields match any.
pub fn selects(selector: &Value, id: &Id) -> bool {
    let text = |key: &str| selector[key].text();
    let namespace = match text("namespace") {
        "" => None,
        other => Some(other),
    };
    (text("name").is_empty() || text("name") == id.name)
        && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace))
        && id.is_selected(text("group"), text("version"), text("kind"))
}

fn matches(selector: &str, labels: &Value) -> Result<bool, Inexact> {
    for requirement in requirements(selector) {
        if !meets(requirement.trim(), labels)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The requirements of a selector: separated by commas, but for those in brackets.
fn requirements(selector: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = selector.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).collect()
}

fn meets(requirement: &str, labels: &Value) -> Result<bool, Inexact> {
    let value = |key: &str| labels[key.trim()].as_str();
    let is_in = |key: &str, values: &str| {
        let values = values.trim().trim_start_matches('(').trim_end_matches(')');
        value(key).is_some_and(|value| values.split(',').any(|one| one.trim() == value))
    };
    if let Some((key, wanted)) = requirement.split_once("!=") {
        return Ok(value(key) != Some(wanted.trim()));
    }
    if let Some((key, wanted)) = requirement.split_once("==").or_else(|| requirement.split_once('=')) {
        return Ok(value(key) == Some(wanted.trim()));
    }
    if let Some((key, values)) = requirement.split_once(" notin ") {
        return Ok(!is_in(key, values));
    }
    if let Some((key, values)) = requirement.split_once(" in ") {
        return Ok(is_in(key, values));
    }
    if let Some(key) = requirement.strip_prefix('!') {
        return Ok(value(key).is_none());
    }
    if requirement.contains(char::is_whitespace) {
        return Err(Inexact(format!("the selector {requirement}")));
    }
    Ok(value(requirement).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_match_as_in_kubernetes() {
        let labels: Value = serde_json::from_str(r#"{"a":"b","c":"d"}"#).unwrap();
        for (selector, wanted) in [
            ("", true),
            ("a=b,c==d", true),
            ("a!=b", false),
            ("x!=b", true),
            ("a in (b, z),c", true),
            ("a notin (b)", false),
            ("!x", true),
            ("x", false),
        ] {
            assert_eq!(matches(selector, &labels).unwrap(), wanted, "{selector}");
        }
        assert!(matches("a b", &labels).is_err());
    }
}
