//! Describes in sentences which requests a rule applies to. Pure.

use std::fmt::Write as _;

use humantime::format_duration;

use super::params::{Labels, Match, Rule, Text};
use super::spec::{Spec, catches_all};
use crate::prose::plural;

/// A sentence for each rule, and one for what no rule matches.
pub fn rules(spec: &Spec) -> Vec<String> {
    let mut sentences: Vec<_> = spec.rules.iter().map(|rule| sentence(spec, rule)).collect();
    if !spec.rules.is_empty() && !spec.rules.iter().any(catches_all) {
        sentences.push(format!("other requests: to all of {}", spec.service));
    }
    let breaker = spec.circuit_breaker.as_ref();
    if breaker.is_some() {
        sentences.push(format!("all clients: circuit breaker for {}", spec.service));
    }
    sentences
}

fn sentence(spec: &Spec, rule: &Rule) -> String {
    let mut text = if catches_all(rule) {
        "every request: ".to_owned()
    } else {
        format!("requests {}: ", rule.matches.iter().map(matched).collect::<Vec<_>>().join(", or "))
    };
    if let Some(delay) = rule.fault.as_ref().and_then(|fault| fault.delay.as_ref()) {
        let _ = write!(text, "{} % {} late, ", delay.percent, format_duration(delay.fixed));
    }
    if let Some(abort) = rule.fault.as_ref().and_then(|fault| fault.abort.as_ref()) {
        let _ = write!(text, "{} % answered with {}, ", abort.percent, abort.status);
    }
    let place = |service: Option<&str>, subset: Option<&str>| match (subset, service) {
        (Some(subset), _) => format!("{} {subset}", spec.service),
        (None, Some(service)) => service.to_owned(),
        (None, None) => format!("all of {}", spec.service),
    };
    let destinations = rule.destinations.iter().map(|one| {
        let place = place(one.service.as_deref(), one.subset.as_deref());
        one.weight.map_or_else(|| place.clone(), |weight| format!("{weight} % to {place}"))
    });
    match destinations.collect::<Vec<_>>().as_slice() {
        [] => _ = write!(text, "to all of {}", spec.service),
        [only] if rule.destinations[0].weight.is_none() => _ = write!(text, "to {only}"),
        several => text.push_str(&several.join(", ")),
    }
    if let Some(mirror) = &rule.mirror {
        let place = place(mirror.service.as_deref(), mirror.subset.as_deref());
        let _ = write!(text, ", {} % copied to {place}", mirror.percent);
    }
    if let Some(timeout) = rule.timeout {
        let _ = write!(text, ", at most {}", format_duration(timeout));
    }
    if let Some(retries) = &rule.retries {
        let _ = write!(text, ", repeated at most {}", plural(retries.attempts, "time"));
    }
    text
}

fn matched(one: &Match) -> String {
    let named = |what: &str, name: &str, text: &Text| format!("{what} {name} {}", how(text));
    let mut parts: Vec<_> = one.headers.iter().map(|(name, text)| named("header", name, text)).collect();
    parts.extend(one.path.iter().map(|text| format!("path {}", how(text))));
    parts.extend(one.method.iter().map(|text| format!("method {}", how(text))));
    parts.extend(one.query.iter().map(|(name, text)| named("query", name, text)));
    if let Some(Labels(labels)) = &one.source_labels {
        let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
        parts.push(format!("from pods {}", labels.collect::<Vec<_>>().join(",")));
    }
    parts.extend(one.source_namespace.iter().map(|namespace| format!("from namespace {namespace}")));
    format!("with {}", parts.join(" and "))
}

fn how(text: &Text) -> String {
    match text {
        Text::Exact(text) => format!("= {text}"),
        Text::Prefix(text) => format!("= {text}…"),
        Text::Regex(text) => format!("~ {text}"),
    }
}
