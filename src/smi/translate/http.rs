//! Matches of an `HTTPRouteGroup` as operations and conditions of an AuthorizationPolicy.

use super::super::http_route_group::{HttpMatch, Method};
use super::pattern::{Anchor, patterns};

/// A match that an AuthorizationPolicy can express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpRule {
    /// Empty for every method.
    pub methods: Vec<&'static str>,
    /// Never empty: `*` for every path. A rule without HTTP attributes would admit connections that are not HTTP.
    pub paths: Vec<String>,
    /// Names of headers and the patterns of their values.
    pub headers: Vec<(String, Vec<String>)>,
}

impl HttpRule {
    /// # Errors
    /// What an AuthorizationPolicy cannot express.
    pub fn of(route: &HttpMatch) -> Result<Self, String> {
        let paths = patterns(route.path_regex.as_deref().unwrap_or_default(), Anchor::Start);
        let paths = paths.map_err(|reason| format!("pathRegex: {reason}"))?;
        let mut headers = Vec::new();
        for (name, expression) in &route.headers {
            if !is_token(name) {
                return Err(format!("headers: {name:?} is not a valid header name"));
            }
            let values = patterns(expression, Anchor::Both).map_err(|reason| format!("headers: {name}: {reason}"))?;
            headers.push((name.to_ascii_lowercase(), values.iter().map(ToString::to_string).collect()));
        }
        Ok(Self { methods: methods(&route.methods), paths: paths.iter().map(ToString::to_string).collect(), headers })
    }
}

/// Sorted; empty when every method matches.
pub(super) fn methods(methods: &[Method]) -> Vec<&'static str> {
    if methods.contains(&Method::Any) {
        return Vec::new();
    }
    let mut found: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The name of a header by RFC 9110; excludes pseudo-headers such as `:authority`.
pub(super) fn is_token(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.len() <= 256 && name.chars().all(is_part)
}
