//! Changes values in place, and finds the fields of Kustomize's field specifications. Pure.

use compact_str::CompactString;

use super::super::super::Value;
use super::super::super::resource::group_and_version;
use super::super::MAX_DEPTH;
use super::Inexact;

impl Value {
    /// The value of a key, for changes.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(entries) => entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets the value of a key. Replaces a value that is not a mapping.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        *self.entry(key) = value;
    }

    /// The value of a key, null if it was missing. Replaces a value that is not a mapping.
    fn entry(&mut self, key: &str) -> &mut Self {
        let mut entries = match std::mem::take(self) {
            Self::Map(entries) => entries.into_vec(),
            _ => Vec::new(),
        };
        let at = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            entries.push((CompactString::new(key), Self::Null));
            entries.len() - 1
        });
        *self = Self::Map(entries.into());
        match self {
            Self::Map(entries) => &mut entries[at].1,
            other => other,
        }
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &str) -> Option<Self> {
        let at = self.entries().iter().position(|(name, _)| name == key)?;
        let Self::Map(entries) = std::mem::take(self) else { return None };
        let mut entries = entries.into_vec();
        let (_, removed) = entries.remove(at);
        *self = Self::Map(entries.into());
        Some(removed)
    }

    /// The mapping at a key, created if it is missing.
    pub(super) fn map_mut(&mut self, key: &str) -> &mut Self {
        let entry = self.entry(key);
        if entry.is_null() {
            *entry = Self::Map(Box::default());
        }
        entry
    }

    /// Items of a sequence, for changes.
    pub(super) fn items_mut(&mut self) -> &mut [Self] {
        match self {
            Self::List(items) => items,
            _ => &mut [],
        }
    }
}

/// Where a transformer changes objects. Empty group, version and kind match any. The path has the keys of mappings;
/// each item of a sequence on the way is changed.
#[derive(Debug, Clone, Default)]
pub struct FieldSpec {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Path, with `/` between keys.
    pub path: String,
    /// Whether a missing path is created.
    pub create: bool,
}

impl FieldSpec {
    /// Parses a line of a table: `PATH`, then `kind=`, `group=`, `version=` and `create` in any order.
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut spec = Self { path: words.next().unwrap_or_default().to_owned(), ..Self::default() };
        for word in words {
            match word.split_once('=') {
                Some(("kind", kind)) => kind.clone_into(&mut spec.kind),
                Some(("group", group)) => group.clone_into(&mut spec.group),
                Some(("version", version)) => version.clone_into(&mut spec.version),
                _ => spec.create = true,
            }
        }
        spec
    }

    /// Of an entry `fields` of a kustomization.
    pub fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].text().to_owned();
        Self {
            group: text("group"),
            version: text("version"),
            kind: text("kind"),
            path: text("path"),
            create: value["create"].is_true(),
        }
    }

    /// Whether it is about this object.
    pub fn selects(&self, object: &Value) -> bool {
        let (group, version) = group_and_version(object["apiVersion"].text());
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&self.kind, object["kind"].text()) && is(&self.group, group) && is(&self.version, version)
    }

    /// Calls a function with each value at the path. A missing value is created as `leaf` if the specification says so.
    pub fn visit(
        &self,
        object: &mut Value,
        leaf: &Value,
        change: &mut dyn FnMut(&mut Value) -> Result<(), Inexact>,
    ) -> Result<(), Inexact> {
        if !self.selects(object) {
            return Ok(());
        }
        let path = split_path(&self.path, '/');
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        refuse_deep(path.len(), leaf)?;
        visit(object, &path, self.create.then_some(leaf), change)
    }
}

/// Refuses a value for a path of this many keys and indexes that would make an object deeper than one that can be read.
pub fn refuse_deep(above: usize, value: &Value) -> Result<(), Inexact> {
    if above > MAX_DEPTH {
        return Err(Inexact(format!("an object of more than {MAX_DEPTH} levels")));
    }
    match value {
        Value::List(items) => items.iter().try_for_each(|item| refuse_deep(above + 1, item)),
        Value::Map(entries) => entries.iter().try_for_each(|(_, value)| refuse_deep(above + 1, value)),
        _ => Ok(()),
    }
}

/// The parts of a path. A backslash before a separator makes it a part of a key.
pub fn split_path(path: &str, separator: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut is_open = false;
    for part in path.trim_start_matches(separator).split(separator) {
        let (text, continues) = part.strip_suffix('\\').map_or((part, false), |text| (text, true));
        match parts.last_mut() {
            Some(last) if is_open => {
                last.push(separator);
                last.push_str(text);
            }
            _ => parts.push(text.to_owned()),
        }
        is_open = continues;
    }
    parts
}

fn visit(
    node: &mut Value,
    path: &[&str],
    leaf: Option<&Value>,
    change: &mut dyn FnMut(&mut Value) -> Result<(), Inexact>,
) -> Result<(), Inexact> {
    let [key, rest @ ..] = path else { return change(node) };
    match node {
        Value::Null => Ok(()),
        Value::List(items) => items.iter_mut().try_for_each(|item| visit(item, path, leaf, change)),
        Value::Map(_) => {
            let (key, is_sequence) = key.strip_suffix("[]").map_or((*key, false), |key| (key, true));
            let leaf = leaf.filter(|_| !is_sequence);
            if node.get(key).is_null()
                && let Some(leaf) = leaf
            {
                node.set(key, if rest.is_empty() { leaf.clone() } else { Value::Map(Box::default()) });
            }
            node.get_mut(key).map_or(Ok(()), |node| visit(node, rest, leaf, change))
        }
        _ => Err(Inexact(format!("the path {} leads through a {}", path.join("/"), node.type_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn field_specification_visits_list_items_and_creates_missing_fields() {
        let mut object = value(r#"{"kind":"Pod","spec":{"containers":[{"image":"a"},{"image":"b"},{}]}}"#);
        let spec = FieldSpec::parse("spec/containers/image kind=Pod");
        let mut count = 0;
        let mut add = |_: &mut Value| {
            count += 1;
            Ok(())
        };
        spec.visit(&mut object, &Value::Null, &mut add).unwrap();
        FieldSpec::parse("spec/containers/image kind=Job").visit(&mut object, &Value::Null, &mut add).unwrap();
        assert_eq!(count, 2);
        let spec = FieldSpec::parse("metadata/labels create");
        let map = Value::Map(Box::default());
        let set = &mut |node: &mut Value| {
            node.set("a", Value::string("b"));
            Ok(())
        };
        spec.visit(&mut object, &map, set).unwrap();
        assert_eq!(object.at("metadata.labels.a").text(), "b");
        assert_eq!(split_path("metadata/annotations/a.b\\/c", '/'), ["metadata", "annotations", "a.b/c"]);
    }
}
