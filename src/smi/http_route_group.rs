//! `HTTPRouteGroup` (specs.smi-spec.io/v1alpha4): named matches of HTTP requests.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// `spec` of an `HTTPRouteGroup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpRouteGroupSpec {
    /// The matches. A request matches the group when it matches at least one of them.
    pub matches: Vec<HttpMatch>,
}

/// A match of HTTP requests. All of its fields have to match; an omitted field matches every request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// Name of the match, by which a `TrafficTarget` refers to it.
    pub name: String,
    /// Regular expression for the path, anchored at the start of the path and not at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub path_regex: Option<String>,
    /// HTTP methods; `*` stands for every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// Regular expressions for values of headers, by the header's name: a map, or a list of maps. All of them have to
    /// match the whole value.
    // The specification's text has a map, the CRD of smi-sdk-go a list of maps.
    #[serde(default, deserialize_with = "headers", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "any_headers")]
    pub headers: BTreeMap<String, String>,
}

/// An HTTP method, or every method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are the methods of HTTP")]
pub enum Method {
    // Every method.
    #[serde(rename = "*")]
    Any,
    Get,
    Head,
    Put,
    Post,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    /// As in a request line; `*` for every method.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "*",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    Map(BTreeMap<String, String>),
    List(Vec<BTreeMap<String, String>>),
}

/// Both forms. A header that a list names twice is an error: one map cannot hold both expressions.
fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let maps = match Option::<Headers>::deserialize(deserializer)? {
        None => return Ok(BTreeMap::new()),
        Some(Headers::Map(map)) => vec![map],
        Some(Headers::List(maps)) => maps,
    };
    let mut all = BTreeMap::new();
    for (name, value) in maps.into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        if all.insert(name.clone(), value).is_some() {
            return Err(serde::de::Error::custom(format!("headers: {name} occurs twice")));
        }
    }
    Ok(all)
}

/// A structural schema has no union of a map and a list, so the API server checks nothing below `headers`.
fn any_headers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
