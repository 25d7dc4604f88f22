//! Structural schemas of custom resources in the format that `condense` writes. Independent of validation.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use regex::Regex;
use serde::Deserialize;

use super::cel;
use crate::Value;

/// Schemas of many kinds; equal parts are stored once and referenced by number.
#[derive(Debug, Default, Deserialize)]
pub struct Schemas {
    kinds: BTreeMap<String, usize>,
    patterns: Vec<Pattern>,
    rules: Vec<Rule>,
    nodes: Vec<Schema>,
    /// For each node: whether it or a descendant has a validation rule.
    #[serde(skip)]
    ruled: OnceLock<Vec<bool>>,
}

/// Type of a value.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Schema {
    #[serde(rename = "type")]
    pub kind: Type,
    pub int_or_string: bool,
    pub nullable: bool,
    pub preserve_unknown: bool,
    pub properties: BTreeMap<Box<str>, usize>,
    pub additional_properties: Option<usize>,
    pub items: Option<usize>,
    pub required: Vec<Box<str>>,
    #[serde(rename = "enum")]
    pub values: Vec<Value>,
    pub pattern: Option<usize>,
    pub format: Option<Box<str>>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub min_items: Option<usize>,
    pub max_items: Option<usize>,
    pub min_properties: Option<usize>,
    pub max_properties: Option<usize>,
    pub default: Option<Value>,
    pub list_type: Option<Box<str>>,
    pub list_keys: Vec<Box<str>>,
    pub all_of: Vec<usize>,
    pub any_of: Vec<usize>,
    pub one_of: Vec<usize>,
    pub not: Option<usize>,
    pub rules: Vec<usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// No type: an int-or-string, or part of an alternative.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// A regular expression, compiled on first use.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub struct Pattern {
    pub text: String,
    regex: OnceLock<Option<Regex>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text, regex: OnceLock::new() }
    }
}

impl Pattern {
    /// Whether it matches. A pattern that Rust's engine does not support matches everything; a test checks that there
    /// is none.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex().is_none_or(|regex| regex.is_match(text))
    }

    /// None if Rust's engine does not support it.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

/// A CEL rule, parsed on first use.
#[derive(Debug, Deserialize)]
pub struct Rule {
    #[serde(rename = "rule")]
    text: Box<str>,
    message: Option<Box<str>>,
    #[serde(skip)]
    expr: OnceLock<Result<cel::Expr, cel::ParseError>>,
}

impl Rule {
    /// Message for a violation.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(&self.text)
    }

    /// Error of a rule that is not supported here.
    pub fn expr(&self) -> Result<&cel::Expr, &cel::ParseError> {
        self.expr.get_or_init(|| cel::parse(&self.text)).as_ref()
    }
}

/// CRDs of Istio and of the Gateway API, compiled into this program (`just crd-schemas`).
static BUILT_IN: LazyLock<Schemas> =
    LazyLock::new(|| serde_json::from_str(include_str!("schemas.json")).unwrap_or_default());

impl Schemas {
    /// The compiled-in schemas.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Schema of a kind in a version.
    #[must_use]
    pub fn find(&self, api_version: &str, kind: &str) -> Option<&Schema> {
        self.kinds.get(&format!("{api_version}/{kind}")).map(|node| self.node(*node))
    }

    /// Versions in which a kind is defined.
    pub fn versions(&self, group: &str, kind: &str) -> impl Iterator<Item = &str> {
        self.kinds
            .keys()
            .filter_map(move |name| name.strip_prefix(group)?.strip_prefix('/')?.strip_suffix(kind)?.strip_suffix('/'))
    }

    /// A part by its number.
    #[must_use]
    pub fn node(&self, node: usize) -> &Schema {
        static NOTHING: Schema = Schema::NOTHING;
        self.nodes.get(node).unwrap_or(&NOTHING)
    }

    #[must_use]
    pub fn pattern(&self, pattern: usize) -> Option<&Pattern> {
        self.patterns.get(pattern)
    }

    #[must_use]
    pub fn rule(&self, rule: usize) -> Option<&Rule> {
        self.rules.get(rule)
    }

    /// Whether a part or its descendants have a validation rule.
    #[must_use]
    pub fn has_rules(&self, node: usize) -> bool {
        let ruled = self.ruled.get_or_init(|| {
            // Parts precede the parts that contain them.
            let mut ruled: Vec<bool> = Vec::with_capacity(self.nodes.len());
            for schema in &self.nodes {
                let below = schema.properties.values().copied().chain(schema.items).chain(schema.additional_properties);
                let any = below.into_iter().any(|part| ruled.get(part).copied().unwrap_or(true));
                ruled.push(any || !schema.rules.is_empty());
            }
            ruled
        });
        ruled.get(node).copied().unwrap_or(false)
    }
}

impl Schema {
    const NOTHING: Self = Self {
        kind: Type::Any,
        int_or_string: false,
        nullable: true,
        preserve_unknown: true,
        properties: BTreeMap::new(),
        additional_properties: None,
        items: None,
        required: Vec::new(),
        values: Vec::new(),
        pattern: None,
        format: None,
        min_length: None,
        max_length: None,
        minimum: None,
        maximum: None,
        min_items: None,
        max_items: None,
        min_properties: None,
        max_properties: None,
        default: None,
        list_type: None,
        list_keys: Vec::new(),
        all_of: Vec::new(),
        any_of: Vec::new(),
        one_of: Vec::new(),
        not: None,
        rules: Vec::new(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules of the definitions that are not evaluated here. docs/analysis-schemas.md names them.
    const NOT_EVALUATED: &[&str] = &["size(self) == 0 || format.dns1123Label().validate(self) == null"];

    #[test]
    fn all_cel_rules_parse_except_listed() {
        let schemas = Schemas::built_in();
        assert!(schemas.rules.len() > 100, "{}", schemas.rules.len());
        let not: Vec<&str> = schemas.rules.iter().filter(|rule| rule.expr().is_err()).map(|rule| &*rule.text).collect();
        assert_eq!(not, NOT_EVALUATED);
    }

    #[test]
    fn all_patterns_compile() {
        for pattern in &Schemas::built_in().patterns {
            assert!(pattern.regex().is_some(), "{}", pattern.text);
        }
    }

    #[test]
    fn parts_precede_their_parents() {
        let schemas = Schemas::built_in();
        for (at, schema) in schemas.nodes.iter().enumerate() {
            let below = schema.properties.values().copied().chain(schema.items).chain(schema.additional_properties);
            assert!(below.into_iter().all(|part| part < at), "{at}");
        }
        assert!(schemas.kinds.values().all(|node| *node < schemas.nodes.len()));
    }
}
