//! `PromQL` of panels that counts each request once. For every value of the grouping labels the first of the reporters
//! `waypoint`, `destination` and `source` that has series counts; requests that reached no workload, which only `source`
//! reports, are added. The same rule as [`crate::observe::signals`], written as one expression.
//!
//! Two proxies do not know a service's namespace: a waypoint reports its own, and a client `unknown` for a request that
//! reaches no workload. Both report the service's host, so queries by service take the namespace from it. Source:
//! istio/proxy, `istio_stats.cc`, `populatePeerInfo`.

/// Grafana's window for rates: at least four scrape intervals of the data source.
const WINDOW: &str = "$__rate_interval";
/// Responses that count as errors: 5xx, and no response unless the client ended the request (flag `DC`).
const FAILED: &str = r#",response_code=~"5..|0",response_flags!~"(.*,)?DC(,.*)?""#;
/// gRPC errors inside successful HTTP responses.
const GRPC_FAILED: &str = r#",grpc_response_status=~"[1-9]|1[0-6]",response_code!~"0|5..""#;
/// Source reports of requests that reached a workload.
const REACHED: &str = r#",destination_workload!="unknown""#;
/// Source reports of requests that reached none: those that Envoy could not send, and those to services outside the mesh.
const UNREACHED: &str = r#",destination_workload="unknown""#;
/// Envoy's response flags of requests that it could not send: no healthy upstream, connection failure, overflow, no route, no
/// cluster.
const UNSENT: &str = "(.*,)?(UH|UF|UO|NR|NC)(,.*)?";
/// Label with the namespace of a service.
const NAMESPACE: &str = "destination_service_namespace";

/// Reporter and further matchers, in the order in which they count.
const REPORTERS: [(&str, &str); 3] = [("waypoint", ""), ("destination", ""), ("source", REACHED)];

/// `rate` of a counter; `matchers` begins with a comma or is empty.
#[must_use]
pub fn rate(metric: &str, matchers: &str) -> String {
    format!("rate({metric}{{{}}}[{WINDOW}])", matchers.trim_start_matches(','))
}

/// Sum of a counter's rate for each of `keys`, whatever the reporter. For metrics that one component reports.
#[must_use]
pub fn sum(keys: &str, metric: &str, matchers: &str) -> String {
    if keys.is_empty() {
        return format!("sum({})", rate(metric, matchers));
    }
    format!("sum by ({keys}) ({})", rate_by(keys, metric, matchers))
}

/// [`rate`], with the namespace of the service from its host if it is one of the keys.
fn rate_by(keys: &str, metric: &str, matchers: &str) -> String {
    let rate = rate(metric, matchers);
    if keys.split(", ").any(|key| key == NAMESPACE) { with_namespace(&rate) } else { rate }
}

/// Series with the service's namespace from its host, `<name>.<namespace>.svc…`. The namespace of others remains: a service
/// outside the mesh has that of its `ServiceEntry`, and the host is what a client has sent where the name is one of Envoy's
/// clusters, such as `PassthroughCluster`, which no Service can have.
#[must_use]
pub fn with_namespace(series: &str) -> String {
    let joined =
        format!(r#"label_join({series}, "service_and_host", "/", "destination_service_name", "destination_service")"#);
    let host = r"[a-z0-9-]+/[^./]+\\.([^.]+)\\.svc(\\..+)?";
    format!(r#"label_replace({joined}, "{NAMESPACE}", "$1", "service_and_host", "{host}")"#)
}

/// The part of a query's result whose `label` has the value of a variable.
#[must_use]
pub fn only(query: &str, label: &str, variable: &str) -> String {
    format!(r#"({query}) and on ({label}) label_replace(vector(1), "{label}", "${variable}", "", "")"#)
}

/// Rate of a counter for each of `keys`, each request counted once.
#[must_use]
pub fn counted(keys: &str, metric: &str, matchers: &str) -> String {
    let each = |(reporter, more): (&str, &str)| sum(keys, metric, &reported(reporter, more, matchers));
    let mut all: Vec<String> = REPORTERS.map(each).into();
    all.push(sum(&with_workload(keys), metric, &reported("source", UNREACHED, matchers)));
    format!("sum by ({keys}) ({})", all.join(" or "))
}

/// Requests a second that failed, for each of `keys`; 0 where there are requests and none failed.
#[must_use]
pub fn failed(keys: &str, matchers: &str) -> String {
    let metric = "istio_requests_total";
    let of = |keys: &str, matchers: &str| {
        let (http, grpc) = (format!("{matchers}{FAILED}"), format!("{matchers}{GRPC_FAILED}"));
        let bad = format!("sum by ({keys}) ({} or {})", rate_by(keys, metric, &http), rate_by(keys, metric, &grpc));
        format!("({bad} or 0 * {})", sum(keys, metric, matchers))
    };
    let each = |(reporter, more): (&str, &str)| of(keys, &reported(reporter, more, matchers));
    let mut all: Vec<String> = REPORTERS.map(each).into();
    all.push(of(&with_workload(keys), &reported("source", UNREACHED, matchers)));
    format!("sum by ({keys}) ({})", all.join(" or "))
}

/// Share of requests that failed, 0 to 1, for each of `keys`.
#[must_use]
pub fn error_share(keys: &str, matchers: &str) -> String {
    format!("{} / {}", failed(keys, matchers), counted(keys, "istio_requests_total", matchers))
}

/// Quantile of the request duration in milliseconds, for each of `keys`.
#[must_use]
pub fn latency(quantile: &str, keys: &str, matchers: &str) -> String {
    let metric = "istio_request_duration_milliseconds_bucket";
    let by = format!("le, {keys}");
    // One quantile for each reporter: the buckets of several reporters do not add up to one histogram.
    let each = |(reporter, more): (&str, &str)| {
        format!("histogram_quantile({quantile}, {})", sum(&by, metric, &reported(reporter, more, matchers)))
    };
    let mut all: Vec<String> = REPORTERS.map(each).into();
    // Services outside the mesh. Requests that were not sent would show how fast Envoy fails.
    let outside = format!(r#"{UNREACHED},response_flags!~"{UNSENT}""#);
    all.push(each(("source", &outside)));
    all.join(" or ")
}

/// Requests a second that Envoy could not send (no healthy upstream, no route), for each of `keys`.
#[must_use]
pub fn unreached(keys: &str, matchers: &str) -> String {
    let unsent = format!(r#"{UNREACHED},response_flags=~"{UNSENT}""#);
    sum(keys, "istio_requests_total", &reported("source", &unsent, matchers))
}

/// `keys` with the label that keeps unreached requests apart from the others in `or`.
fn with_workload(keys: &str) -> String {
    if keys.split(", ").any(|key| key == "destination_workload") {
        return keys.to_owned();
    }
    format!("{keys}, destination_workload")
}

fn reported(reporter: &str, more: &str, matchers: &str) -> String {
    format!(",reporter=\"{reporter}\"{more}{matchers}")
}
