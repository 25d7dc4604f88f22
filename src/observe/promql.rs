//! `PromQL` of the golden signals. Rules for reporters and labels: Istio documentation, "Istio Standard Metrics".

use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scope of the signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// The whole mesh.
    Mesh {},
    /// Inbound traffic of all services of a namespace.
    Namespace {
        /// The namespace.
        #[schemars(length(min = 1, max = 63))]
        name: String,
    },
    /// Inbound traffic of a service.
    Service {
        /// Namespace of the service.
        #[schemars(length(min = 1, max = 63))]
        namespace: String,
        /// Name of the Service.
        #[schemars(length(min = 1, max = 63))]
        name: String,
    },
    /// Inbound traffic of a workload, such as a Deployment.
    Workload {
        /// Namespace of the workload.
        #[schemars(length(min = 1, max = 63))]
        namespace: String,
        /// Name of the workload.
        #[schemars(length(min = 1, max = 253))]
        name: String,
    },
}

impl Subject {
    /// Whether a service belongs to it. The mesh and a workload have services of any name.
    #[must_use]
    pub fn covers(&self, namespace: &str, service: &str) -> bool {
        match self {
            Self::Mesh {} | Self::Workload { .. } => true,
            Self::Namespace { name } => name == namespace,
            Self::Service { namespace: of, name } => of == namespace && name == service,
        }
    }
}

/// Selectors of all series about a subject's inbound traffic.
///
/// Services have two. Two proxies do not know a service's namespace: a waypoint reports its own namespace as that of the
/// service, and a client's proxy reports `unknown` for a request that reaches no workload. Both report the service's host.
/// Source: istio/proxy, `istio_stats.cc`, `populatePeerInfo`.
#[derive(Debug, Clone)]
pub struct Selection(Vec<Matchers>);

impl Selection {
    /// With the labels of a connection's scope.
    #[must_use]
    pub fn of<'a>(subject: &Subject, scope: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let scope: Vec<_> = scope.into_iter().collect();
        let mut all = vec![Matchers::of(subject, scope.iter().copied())];
        let by_host = match subject {
            Subject::Namespace { name } => Some((name, "[^.]+".to_owned())),
            Subject::Service { namespace, name } => Some((namespace, literal(name))),
            Subject::Mesh {} | Subject::Workload { .. } => None,
        };
        if let Some((namespace, service)) = by_host {
            let mut matchers = Matchers::of(&Subject::Mesh {}, scope);
            matchers.push(SERVICE.0, "!=", namespace);
            matchers.push(HOST, "=~", &format!("{service}\\.{}\\.svc(\\..+)?", literal(namespace)));
            all.push(matchers);
        }
        Self(all)
    }

    /// Number of series of a metric at the start of a window.
    fn count_before(&self, metric: &str, window_s: u64) -> String {
        let before = self.0.iter().map(|matchers| format!("{metric}{} offset {window_s}s", matchers.text()));
        format!("count({})", before.collect::<Vec<_>>().join(" or "))
    }

    /// Rates of a counter over a window, summed by these labels. The selectors exclude each other.
    fn sum_of_rates(&self, labels: &str, metric: &str, window_s: u64) -> String {
        let rates = self.0.iter().map(|matchers| format!("rate({metric}{}[{window_s}s])", matchers.text()));
        format!("sum by ({labels}) ({})", rates.collect::<Vec<_>>().join(" or "))
    }
}

/// Label matchers of a selector; names are ours, values are escaped.
#[derive(Debug, Clone, Default)]
struct Matchers(Vec<(String, &'static str, String)>);

impl Matchers {
    /// Of a subject's inbound traffic, with the labels of a connection's scope.
    fn of<'a>(subject: &Subject, scope: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let mut matchers = Self::default();
        for (name, value) in scope {
            matchers.push(name, "=", value);
        }
        match subject {
            Subject::Mesh {} => {}
            Subject::Namespace { name } => matchers.push("destination_service_namespace", "=", name),
            Subject::Service { namespace, name } => {
                matchers.push("destination_service_namespace", "=", namespace);
                matchers.push("destination_service_name", "=", name);
            }
            Subject::Workload { namespace, name } => {
                matchers.push("destination_workload_namespace", "=", namespace);
                matchers.push("destination_workload", "=", name);
            }
        }
        matchers
    }

    /// Of requests to any of these pairs of namespace and name, by the labels of both. It selects other pairs as well: of
    /// each namespace with each name.
    fn of_pairs<'a>(
        (namespace, name): (&str, &str),
        pairs: &[(String, String)],
        scope: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let mut matchers = Self::of(&Subject::Mesh {}, scope);
        matchers.push(namespace, "=~", &any_of(pairs.iter().map(|(namespace, _)| namespace)));
        matchers.push(name, "=~", &any_of(pairs.iter().map(|(_, name)| name)));
        matchers
    }

    fn push(&mut self, name: &str, operator: &'static str, value: &str) {
        self.0.push((name.to_owned(), operator, value.to_owned()));
    }

    /// As `{a="b",c="d"}`.
    fn text(&self) -> String {
        let mut text = String::from("{");
        for (index, (name, operator, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing into a String does not fail.
            let _ = write!(text, "{comma}{name}{operator}\"{}\"", escaped(value));
        }
        text.push('}');
        text
    }
}

/// A label value for use between double quotes in `PromQL`.
#[must_use]
pub fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

/// A regular expression that matches these names of Kubernetes objects.
fn any_of<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: std::collections::BTreeSet<&String> = names.collect();
    names.into_iter().map(|name| literal(name)).collect::<Vec<_>>().join("|")
}

/// A regular expression that matches this text only.
fn literal(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '-' && c != '_' {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

/// Whether a label name is valid in a selector.
#[must_use]
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.len() <= 128
}

/// Label names of a workload's namespace and name.
const WORKLOAD: (&str, &str) = ("destination_workload_namespace", "destination_workload");
/// Label names of a service's namespace and name.
const SERVICE: (&str, &str) = ("destination_service_namespace", "destination_service_name");
/// Label name of a service's host.
const HOST: &str = "destination_service";
/// Counter of HTTP and gRPC requests.
const REQUESTS: &str = "istio_requests_total";
/// Buckets of the duration of requests.
const DURATION_BUCKETS: &str = "istio_request_duration_milliseconds_bucket";
/// Labels that distinguish reporters, outcomes and versions.
const OUTCOME: &str = "reporter, destination_service, destination_service_namespace, destination_service_name, destination_workload, \
     destination_version, request_protocol, response_code, grpc_response_status, response_flags";

/// Requests a second by reporter and outcome: rate and errors of all subjects come from this one query.
#[must_use]
pub fn requests(selection: &Selection, window_s: u64) -> String {
    selection.sum_of_rates(OUTCOME, REQUESTS, window_s)
}

/// Number of series of requests and of TCP connections at the start of the window, which the label `of` distinguishes. Where a
/// number is missing, the samples begin within the window. `rate` divides by the whole window nevertheless, so it is too low.
/// Source: Prometheus documentation, `rate`, and `extrapolatedRate` in prometheus/prometheus `promql/functions.go`.
#[must_use]
pub fn window_start(selection: &Selection, window_s: u64) -> String {
    let of = |metric: &str, name: &str| named(&selection.count_before(metric, window_s), "of", name);
    format!("{} or {}", of(REQUESTS, START_OF_REQUESTS), of(TcpMetric::Sent.name(), START_OF_TCP))
}

/// Value of the label `of` in the answer to [`window_start`].
pub const START_OF_REQUESTS: &str = "requests";
/// Value of the label `of` in the answer to [`window_start`].
pub const START_OF_TCP: &str = "tcp";

/// Duplicate samples and failures of metrics merging in the last ten minutes, and the number of proxies and istiods at the
/// start of a window, in one query; the label `of` distinguishes them. `scope` is a selector or empty.
#[must_use]
pub fn faults(scope: &str, window_s: u64) -> String {
    let duplicates = "sum(increase(prometheus_target_scrapes_sample_duplicate_timestamp_total[10m])) > 0";
    let failures =
        "sum by (namespace, pod) (increase(istio_agent_scrape_failures_total{type=\"application\"}[10m])) > 0";
    let all = [
        named(duplicates, "of", DUPLICATES),
        named(failures, "of", MERGE_FAILURES),
        named(&format!("count(istio_build{scope} offset {window_s}s)"), "of", WINDOW_START),
    ];
    all.join(" or ")
}

/// Value of the label `of` in the answer to [`faults`].
pub const DUPLICATES: &str = "duplicates";
/// Value of the label `of` in the answer to [`faults`].
pub const MERGE_FAILURES: &str = "merge-failures";
/// Value of the label `of` in the answer to [`faults`].
pub const WINDOW_START: &str = "window-start";

/// An expression with one more label.
fn named(expression: &str, label: &str, value: &str) -> String {
    format!("label_replace({expression}, \"{label}\", \"{value}\", \"\", \"\")")
}

/// Latency buckets by reporter, for all quantiles at once.
#[must_use]
pub fn latency_buckets(selection: &Selection, by_version: bool, window_s: u64) -> String {
    let version = if by_version { ", destination_version" } else { "" };
    let labels = format!("le, reporter, {HOST}, {}, {}{version}", SERVICE.0, SERVICE.1);
    selection.sum_of_rates(&labels, DURATION_BUCKETS, window_s)
}

/// Requests a second to workloads (namespace and name), by reporter and outcome.
#[must_use]
pub fn requests_to_workloads<'a>(
    workloads: &[(String, String)],
    scope: impl IntoIterator<Item = (&'a String, &'a String)>,
    window_s: u64,
) -> String {
    let labels =
        format!("reporter, {}, {}, response_code, grpc_response_status, response_flags", WORKLOAD.0, WORKLOAD.1);
    Selection(vec![Matchers::of_pairs(WORKLOAD, workloads, scope)]).sum_of_rates(&labels, REQUESTS, window_s)
}

/// Requests a second to services (namespace and name) that reached no workload: no healthy endpoint, no route.
#[must_use]
pub fn unreached_requests<'a>(
    services: &[(String, String)],
    scope: impl IntoIterator<Item = (&'a String, &'a String)>,
    window_s: u64,
) -> String {
    // Istio reports their namespace as `unknown`.
    let mut by_host = Matchers::of(&Subject::Mesh {}, scope);
    let namespaces = any_of(services.iter().map(|(namespace, _)| namespace));
    let names = any_of(services.iter().map(|(_, name)| name));
    by_host.push(HOST, "=~", &format!("({names})\\.({namespaces})\\.svc(\\..+)?"));
    by_host.push("reporter", "=", "source");
    by_host.push(WORKLOAD.1, "=", "unknown");
    let labels = format!("{HOST}, {}, {}, response_code, response_flags", SERVICE.0, SERVICE.1);
    Selection(vec![by_host]).sum_of_rates(&labels, REQUESTS, window_s)
}

/// Latency buckets of workloads (namespace and name), by reporter.
#[must_use]
pub fn latency_buckets_of_workloads<'a>(
    workloads: &[(String, String)],
    scope: impl IntoIterator<Item = (&'a String, &'a String)>,
    window_s: u64,
) -> String {
    let labels = format!("le, reporter, {}, {}", WORKLOAD.0, WORKLOAD.1);
    Selection(vec![Matchers::of_pairs(WORKLOAD, workloads, scope)]).sum_of_rates(&labels, DURATION_BUCKETS, window_s)
}

/// TCP bytes a second by reporter; `sent` is what the server's side sends.
#[must_use]
pub fn tcp_bytes(metric: TcpMetric, selection: &Selection, window_s: u64) -> String {
    let labels = format!("reporter, {HOST}, {}, {}, destination_version", SERVICE.0, SERVICE.1);
    selection.sum_of_rates(&labels, metric.name(), window_s)
}

/// Numbers of istiod that [`control_plane`] requests, with their units.
pub const CONTROL_PLANE: [(&str, &str); 5] = [
    ("proxies", "count"),
    ("pushes", "pushes-per-second"),
    ("rejects", "rejects-per-second"),
    ("convergence-p99", "seconds"),
    ("root-certificate", "seconds"),
];
/// Shortest window for the convergence time, seconds: it is observed only when the configuration changes.
const CONVERGENCE_WINDOW_S: u64 = 600;

/// The numbers of the control plane in one query; the label `signal` distinguishes them. Proxies that are connected, pushes
/// and rejected pushes a second, the 99th percentile of the time until a change has reached all proxies, and the time until
/// the root certificate expires. Metrics: Istio's `pilot/pkg/xds/monitoring.go` and `security/pkg/server/ca/monitoring.go`.
#[must_use]
pub fn control_plane<'a>(scope: impl IntoIterator<Item = (&'a String, &'a String)>, window_s: u64) -> String {
    let all = Matchers::of(&Subject::Mesh {}, scope).text();
    let long = window_s.max(CONVERGENCE_WINDOW_S);
    let expressions = [
        format!("sum(pilot_xds{all})"),
        format!("sum(rate(pilot_xds_pushes{all}[{window_s}s]))"),
        // The counter appears with the first rejection.
        format!("sum(rate(pilot_total_xds_rejects{all}[{window_s}s])) or 0 * sum(pilot_xds{all})"),
        format!("histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket{all}[{long}s])))"),
        format!("min(citadel_server_root_cert_expiry_timestamp{all}) - time()"),
    ];
    let all = CONTROL_PLANE.iter().zip(expressions).map(|((name, _), expression)| named(&expression, "signal", name));
    all.collect::<Vec<_>>().join(" or ")
}

/// One of Istio's TCP counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpMetric {
    /// Response bytes.
    Sent,
    /// Request bytes.
    Received,
}

impl TcpMetric {
    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "istio_tcp_sent_bytes_total",
            Self::Received => "istio_tcp_received_bytes_total",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_leave_their_quotes() {
        let hostile = "a\"} or vector(1) #\\\n\u{0}";
        let subject = Subject::Namespace { name: hostile.to_owned() };
        let text = Matchers::of(&subject, []).text();
        assert_eq!(text, r#"{destination_service_namespace="a\"} or vector(1) #\\\n"}"#);
        let query = requests(&Selection::of(&subject, []), 60);
        // Outside of quotes there is nothing of the value.
        let outside: String = query.replace("\\\\", "").replace("\\\"", "").split('"').step_by(2).collect();
        assert!(!outside.contains("vector") && outside.matches(" or ").count() == 1, "{query}");
    }

    #[test]
    fn workloads_are_selected_by_their_whole_names() {
        let pairs = [("shop".to_owned(), "web.v1".to_owned()), ("shop".to_owned(), "api".to_owned())];
        let query = requests_to_workloads(&pairs, [], 60);
        let selector = r#"{destination_workload_namespace=~"shop",destination_workload=~"api|web\\.v1"}"#;
        assert!(query.contains(selector), "{query}");
    }

    #[test]
    fn services_are_selected_by_their_host_where_the_proxy_does_not_know_their_namespace() {
        let subject = Subject::Service { namespace: "shop".to_owned(), name: "reviews".to_owned() };
        let query = requests(&Selection::of(&subject, []), 60);
        let by_host = r#"{destination_service_namespace!="shop",destination_service=~"reviews\\.shop\\.svc(\\..+)?"}"#;
        assert!(query.contains(by_host), "{query}");
        assert!(subject.covers("shop", "reviews") && !subject.covers("bank", "reviews"));
        assert!(!requests(&Selection::of(&Subject::Mesh {}, []), 60).contains(" or "));
    }

    #[test]
    fn start_of_a_window_is_asked_for_with_the_labels_of_the_subject() {
        let subject = Subject::Workload { namespace: "shop".to_owned(), name: "web".to_owned() };
        let selector = r#"{destination_workload_namespace="shop",destination_workload="web"}"#;
        assert_eq!(
            window_start(&Selection::of(&subject, []), 120),
            format!(
                "label_replace(count(istio_requests_total{selector} offset 120s), \"of\", \"requests\", \"\", \"\") or \
                 label_replace(count(istio_tcp_sent_bytes_total{selector} offset 120s), \"of\", \"tcp\", \"\", \"\")"
            )
        );
    }

    #[test]
    fn label_names_are_those_of_prometheus() {
        assert!(is_label_name("cluster") && is_label_name("_a1"));
        for name in ["", "1a", "a-b", "a b", "ä", "a{"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
