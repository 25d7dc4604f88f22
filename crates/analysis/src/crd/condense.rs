//! Converts `CustomResourceDefinition`s into a compact file: equal parts of their schemas are stored once, without
//! descriptions and status. Independent of validation.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

/// Schema keywords that are copied. The others are either parts (below) or dropped.
const KEPT: &[(&str, &str)] = &[
    ("type", "type"),
    ("required", "required"),
    ("enum", "enum"),
    ("format", "format"),
    ("minLength", "minLength"),
    ("maxLength", "maxLength"),
    ("minimum", "minimum"),
    ("maximum", "maximum"),
    ("minItems", "minItems"),
    ("maxItems", "maxItems"),
    ("minProperties", "minProperties"),
    ("maxProperties", "maxProperties"),
    ("nullable", "nullable"),
    ("default", "default"),
    ("x-kubernetes-preserve-unknown-fields", "preserveUnknown"),
    ("x-kubernetes-int-or-string", "intOrString"),
    ("x-kubernetes-list-type", "listType"),
    ("x-kubernetes-list-map-keys", "listKeys"),
];

/// Keywords that would affect validation. A CRD with one of them is refused until it is supported.
const UNKNOWN: &[&str] = &[
    "$ref",
    "definitions",
    "dependencies",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "multipleOf",
    "patternProperties",
    "uniqueItems",
    "x-kubernetes-embedded-resource",
];

/// A CRD that cannot be converted, and the reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the CRD has no {0}")]
    Missing(&'static str),
    #[error("{path}: `{keyword}` is not supported")]
    Unsupported { path: String, keyword: String },
}

/// Collects CRDs. Later ones replace earlier ones of the same kind and version.
#[derive(Debug, Default)]
pub struct Condenser {
    nodes: Table,
    rules: Table,
    patterns: Table,
    kinds: BTreeMap<String, Value>,
}

/// Distinct values by their text, in order of insertion.
#[derive(Debug, Default)]
struct Table {
    texts: Vec<String>,
    index: HashMap<String, usize>,
}

impl Table {
    fn add(&mut self, value: &Value) -> usize {
        let text = value.to_string();
        if let Some(at) = self.index.get(&text) {
            return *at;
        }
        self.texts.push(text.clone());
        self.index.insert(text, self.texts.len() - 1);
        self.texts.len() - 1
    }

    fn lines(&self) -> String {
        self.texts.join(",\n")
    }
}

impl Condenser {
    /// Adds every served version of a `CustomResourceDefinition`.
    pub fn add(&mut self, definition: &Value) -> Result<(), Error> {
        let spec = definition.get("spec").ok_or(Error::Missing("spec"))?;
        let group = spec.get("group").and_then(Value::as_str).ok_or(Error::Missing("spec.group"))?;
        let kind = spec.pointer("/names/kind").and_then(Value::as_str).ok_or(Error::Missing("spec.names.kind"))?;
        let versions = spec.get("versions").and_then(Value::as_array).ok_or(Error::Missing("spec.versions"))?;
        for version in versions.iter().filter(|version| version.get("served") == Some(&Value::Bool(true))) {
            let name = version.get("name").and_then(Value::as_str).ok_or(Error::Missing("version name"))?;
            let schema = version.pointer("/schema/openAPIV3Schema").ok_or(Error::Missing("version schema"))?;
            let mut schema = schema.clone();
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                // The API server manages the status; users do not write it.
                properties.remove("status");
                properties.insert("metadata".to_owned(), metadata());
            }
            let node = self.node(&format!("{kind}/{name}"), &schema)?;
            self.kinds.insert(format!("{group}/{name}/{kind}"), json!(node));
        }
        Ok(())
    }

    /// The file: one node, rule or pattern on each line, so that a new CRD version produces a readable diff.
    #[must_use]
    pub fn finish(&self, sources: &[String]) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|(name, node)| format!("{}:{node}", json!(name))).collect();
        format!(
            "{{\"sources\":{},\n\"kinds\":{{\n{}\n}},\n\"patterns\":[\n{}\n],\n\"rules\":[\n{}\n],\n\"nodes\":[\n{}\n]}}\n",
            json!(sources),
            kinds.join(",\n"),
            self.patterns.lines(),
            self.rules.lines(),
            self.nodes.lines(),
        )
    }

    fn node(&mut self, path: &str, schema: &Value) -> Result<usize, Error> {
        let empty = Map::new();
        let schema = schema.as_object().unwrap_or(&empty);
        if let Some(keyword) = schema.keys().find(|key| UNKNOWN.contains(&key.as_str())) {
            return Err(Error::Unsupported { path: path.to_owned(), keyword: keyword.clone() });
        }
        let mut node = BTreeMap::new();
        for (keyword, name) in KEPT {
            match schema.get(*keyword) {
                None | Some(Value::Bool(false)) => {}
                // Defaults of list and map types.
                Some(Value::String(word)) if *keyword == "x-kubernetes-list-type" && word == "atomic" => {}
                Some(value) => {
                    node.insert(*name, value.clone());
                }
            }
        }
        let int_or_string = node.contains_key("intOrString");
        if let Some(pattern) = schema.get("pattern") {
            node.insert("pattern", json!(self.patterns.add(pattern)));
        }
        let rules = self.rules(schema);
        if !rules.is_empty() {
            node.insert("rules", json!(rules));
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let mut parts = BTreeMap::new();
            for (name, part) in properties {
                parts.insert(name.as_str(), self.node(&format!("{path}.{name}"), part)?);
            }
            node.insert("properties", json!(parts));
        }
        if let Some(items) = schema.get("items") {
            node.insert("items", json!(self.node(&format!("{path}[]"), items)?));
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => {
                node.insert("preserveUnknown", json!(true));
            }
            Some(part @ Value::Object(_)) => {
                node.insert("additionalProperties", json!(self.node(&format!("{path}.*"), part)?));
            }
            _ => {}
        }
        if let Some(part) = schema.get("not") {
            node.insert("not", json!(self.node(path, part)?));
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            // `anyOf: [integer, string]` declares an int-or-string.
            let Some(parts) = schema.get(keyword).and_then(Value::as_array).filter(|_| !int_or_string) else {
                continue;
            };
            let parts: Vec<usize> = parts.iter().map(|part| self.node(path, part)).collect::<Result<_, _>>()?;
            node.insert(keyword, json!(parts));
        }
        Ok(self.nodes.add(&json!(node)))
    }

    /// Validation rules on one state. Transition rules (`oldSelf`) cannot be evaluated on a single object.
    fn rules(&mut self, schema: &Map<String, Value>) -> Vec<usize> {
        let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) else { return Vec::new() };
        rules
            .iter()
            .filter(|rule| !rule.get("rule").and_then(Value::as_str).unwrap_or_default().contains("oldSelf"))
            .map(|rule| self.rules.add(&json!({ "rule": rule.get("rule"), "message": rule.get("message") })))
            .collect()
    }
}

/// `ObjectMeta` of k8s.io/apimachinery: CRDs declare metadata only as "object".
fn metadata() -> Value {
    let text = json!({ "type": "string" });
    let labels = json!({ "type": "object", "additionalProperties": text });
    let anything =
        json!({ "type": "array", "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    json!({ "type": "object", "properties": {
        "name": text, "generateName": text, "namespace": text, "labels": labels, "annotations": labels,
        "uid": text, "resourceVersion": text, "selfLink": text,
        "creationTimestamp": { "type": "string", "nullable": true },
        "deletionTimestamp": { "type": "string", "nullable": true },
        "deletionGracePeriodSeconds": { "type": "integer" }, "generation": { "type": "integer" },
        "finalizers": { "type": "array", "items": text }, "ownerReferences": anything, "managedFields": anything,
    } })
}
