//! Builds the desired Istio objects: one `DestinationRule` and one `VirtualService` for each service.
//! Pure. Fields are those of istio/api's networking/v1.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::params::{CircuitBreaker, Destination, Fault, Labels, LoadBalancer, Match, Retries, Rule, Text};
use super::spec::{Spec, catches_all};

/// `spec` of the `DestinationRule`; none when neither subsets nor a policy are wanted.
pub fn destination_rule(spec: &Spec) -> Option<Value> {
    let policy = traffic_policy(spec);
    if spec.subsets.is_empty() && policy.is_none() {
        return None;
    }
    let mut rule = json!({"host": spec.service});
    if let Some(policy) = policy {
        rule["trafficPolicy"] = policy;
    }
    if !spec.subsets.is_empty() {
        rule["subsets"] = spec.subsets.iter().map(|(name, labels)| json!({"name": name, "labels": labels})).collect();
    }
    Some(rule)
}

/// `spec` of the `VirtualService`; none without rules.
pub fn virtual_service(spec: &Spec) -> Option<Value> {
    if spec.rules.is_empty() {
        return None;
    }
    let mut http: Vec<_> = spec.rules.iter().map(|rule| route(spec, rule)).collect();
    if !spec.rules.iter().any(catches_all) {
        // Without it the proxy answers 404 to whatever no rule matches.
        http.push(json!({"route": [{"destination": {"host": spec.service}}]}));
    }
    Some(json!({"hosts": [spec.service], "http": http}))
}

/// A DestinationRule for the live and the desired routes: the desired one, and the subsets that only the live one
/// has. None when there is nothing to keep.
pub fn bridge(live: &Value, wanted: Option<&Value>) -> Option<Value> {
    let subsets = |rule: &Value| rule["subsets"].as_array().cloned().unwrap_or_default();
    let new = wanted.map(subsets).unwrap_or_default();
    let old: Vec<_> =
        subsets(live).into_iter().filter(|one| !new.iter().any(|other| other["name"] == one["name"])).collect();
    if old.is_empty() {
        return None;
    }
    let mut bridge = wanted.cloned().unwrap_or_else(|| json!({"host": live["host"]}));
    bridge["subsets"] = new.into_iter().chain(old).collect();
    Some(bridge)
}

/// Whether `rule` has a subset that is not in the live one.
pub fn adds_subsets(rule: &Value, live: Option<&Value>) -> bool {
    let names = |rule: &Value| -> Vec<Value> {
        let subsets = rule["subsets"].as_array().map_or(&[][..], Vec::as_slice);
        subsets.iter().map(|one| one["name"].clone()).collect()
    };
    let known = live.map(names).unwrap_or_default();
    names(rule).iter().any(|name| !known.contains(name))
}

fn traffic_policy(spec: &Spec) -> Option<Value> {
    let mut policy = Map::new();
    if let Some(breaker) = &spec.circuit_breaker {
        break_circuits(breaker, &mut policy);
    }
    if let Some(load_balancer) = spec.load_balancer {
        let simple = match load_balancer {
            LoadBalancer::RoundRobin => "ROUND_ROBIN",
            LoadBalancer::Random => "RANDOM",
            LoadBalancer::LeastRequest => "LEAST_REQUEST",
        };
        policy.insert("loadBalancer".to_owned(), json!({"simple": simple}));
    }
    if spec.mutual_tls {
        policy.insert("tls".to_owned(), json!({"mode": "ISTIO_MUTUAL"}));
    }
    (!policy.is_empty()).then_some(Value::Object(policy))
}

fn break_circuits(breaker: &CircuitBreaker, policy: &mut Map<String, Value>) {
    let tcp = present([("maxConnections", breaker.max_connections.map(Value::from))]);
    let http = present([
        ("http1MaxPendingRequests", breaker.max_pending_requests.map(Value::from)),
        ("http2MaxRequests", breaker.max_requests.map(Value::from)),
        ("maxRequestsPerConnection", breaker.max_requests_per_connection.map(Value::from)),
    ]);
    let pool = present([("tcp", object(tcp)), ("http", object(http))]);
    let outliers = present([
        ("consecutive5xxErrors", breaker.consecutive_errors.map(Value::from)),
        ("interval", breaker.interval.map(duration)),
        ("baseEjectionTime", breaker.base_ejection_time.map(duration)),
        ("maxEjectionPercent", breaker.max_ejection_percent.map(Value::from)),
    ]);
    policy.extend(present([("connectionPool", object(pool)), ("outlierDetection", object(outliers))]));
}

fn route(spec: &Spec, rule: &Rule) -> Value {
    let mut route = Map::new();
    if !catches_all(rule) {
        route.insert("match".to_owned(), rule.matches.iter().map(matching).collect());
    }
    if let Some(fault) = &rule.fault {
        route.insert("fault".to_owned(), inject(fault));
    }
    let all = [Destination::default()];
    let destinations = if rule.destinations.is_empty() { &all[..] } else { &rule.destinations };
    let destinations = destinations.iter().map(|one| {
        let mut to = json!({"destination": place(spec, one.service.as_deref(), one.subset.as_deref(), one.port)});
        if let Some(weight) = one.weight {
            to["weight"] = weight.into();
        }
        to
    });
    route.insert("route".to_owned(), destinations.collect());
    if let Some(mirror) = &rule.mirror {
        let place = place(spec, mirror.service.as_deref(), mirror.subset.as_deref(), None);
        route.insert("mirror".to_owned(), place);
        route.insert("mirrorPercentage".to_owned(), percentage(mirror.percent));
    }
    if let Some(timeout) = rule.timeout {
        route.insert("timeout".to_owned(), duration(timeout));
    }
    if let Some(retries) = &rule.retries {
        route.insert("retries".to_owned(), repeat(retries));
    }
    Value::Object(route)
}

fn place(spec: &Spec, service: Option<&str>, subset: Option<&str>, port: Option<u16>) -> Value {
    let mut place = json!({"host": service.unwrap_or(&spec.service)});
    if let Some(subset) = subset {
        place["subset"] = subset.into();
    }
    if let Some(port) = port {
        place["port"] = json!({"number": port});
    }
    place
}

fn matching(one: &Match) -> Value {
    let texts = |texts: &BTreeMap<String, Text>| {
        (!texts.is_empty())
            .then(|| Value::Object(texts.iter().map(|(name, text)| (name.clone(), json!(text))).collect()))
    };
    Value::Object(present([
        ("headers", texts(&one.headers)),
        ("uri", one.path.as_ref().map(|text| json!(text))),
        ("method", one.method.as_ref().map(|text| json!(text))),
        ("queryParams", texts(&one.query)),
        ("sourceLabels", one.source_labels.as_ref().map(|Labels(labels)| json!(labels))),
        ("sourceNamespace", one.source_namespace.as_ref().map(|namespace| json!(namespace))),
    ]))
}

fn inject(fault: &Fault) -> Value {
    let delay = fault
        .delay
        .as_ref()
        .map(|delay| json!({"fixedDelay": duration(delay.fixed), "percentage": percentage(delay.percent)}));
    let abort =
        fault.abort.as_ref().map(|abort| json!({"httpStatus": abort.status, "percentage": percentage(abort.percent)}));
    Value::Object(present([("delay", delay), ("abort", abort)]))
}

fn repeat(retries: &Retries) -> Value {
    let mut repeat = json!({"attempts": retries.attempts});
    if let Some(each) = retries.per_try_timeout {
        repeat["perTryTimeout"] = duration(each);
    }
    if !retries.on.is_empty() {
        repeat["retryOn"] = retries.on.join(",").into();
    }
    repeat
}

/// As the API server gives it back: a whole number without a fraction, so that comparing is exact.
fn percentage(percent: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema says 0 to 100")]
    let whole = percent as u64;
    let fraction = percent.fract() != 0.0;
    json!({"value": if fraction { json!(percent) } else { json!(whole) }})
}

/// In seconds, with milliseconds where there are some: protobuf's form.
fn duration(duration: Duration) -> Value {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()).into(),
        millis => format!("{}.{millis:03}s", duration.as_secs()).into(),
    }
}

fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn object(fields: Map<String, Value>) -> Option<Value> {
    (!fields.is_empty()).then_some(Value::Object(fields))
}
