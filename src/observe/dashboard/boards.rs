//! Variables and panels of each dashboard. Metrics: Istio documentation, "Istio Standard Metrics" and "Istiod metrics";
//! ztunnel's `src/metrics`.

use super::queries::{counted, error_share, latency, only, rate, sum, unreached, with_namespace};
use super::{DashboardName, Panel, Variable};

const REQUESTS: &str = "istio_requests_total";
const NAMESPACE: &str = "destination_service_namespace";
const SERVICE: &str = "destination_service_namespace, destination_service_name";
const SERVICE_LEGEND: &str = "{{destination_service_namespace}}/{{destination_service_name}}";
const SENT: &str = "istio_tcp_sent_bytes_total";
const RECEIVED: &str = "istio_tcp_received_bytes_total";

/// Variables and panels; `scope` has the matchers of the connection's scope, each with a leading comma.
pub fn content(name: DashboardName, scope: &str) -> (Vec<Variable>, Vec<Panel>) {
    match name {
        DashboardName::Mesh => (Vec::new(), mesh(scope)),
        DashboardName::Service => (service_variables(scope), service(scope)),
        DashboardName::Workload => (workload_variables(scope), workload(scope)),
        DashboardName::ControlPlane => (Vec::new(), control_plane(scope)),
        DashboardName::Ambient => (Vec::new(), ambient(scope)),
    }
}

/// Selector of HTTP and of TCP metrics: ambient workloads without a waypoint have TCP metrics only.
fn requests_and_connections(scope: &str) -> String {
    format!("{{__name__=~\"istio_requests_total|istio_tcp_connections_opened_total\"{scope}}}")
}

/// A variable of the values of `label` in a query's result.
fn variable(name: &'static str, label: &'static str, query: &str) -> Variable {
    Variable { name, label, query: format!("query_result({query})") }
}

fn service_variables(scope: &str) -> Vec<Variable> {
    let series = with_namespace(&requests_and_connections(scope));
    let services = format!("group by ({SERVICE}) ({series})");
    vec![
        variable("namespace", NAMESPACE, &format!("group by ({NAMESPACE}) ({series})")),
        variable("service", "destination_service_name", &only(&services, NAMESPACE, "namespace")),
    ]
}

/// Workloads that receive or send requests: gateways only send, as they report no inbound requests.
fn workload_variables(scope: &str) -> Vec<Variable> {
    let (namespace, name) = ("destination_workload_namespace", "destination_workload");
    let mut senders = requests_and_connections(&format!(",reporter=\"source\"{scope}"));
    for (label, source) in [(namespace, "source_workload_namespace"), (name, "source_workload")] {
        senders = format!("label_replace({senders}, \"{label}\", \"$1\", \"{source}\", \"(.*)\")");
    }
    let by = format!("group by ({namespace}, {name})");
    let workloads = format!("{by} ({}) or {by} ({senders})", requests_and_connections(scope));
    vec![
        variable("namespace", namespace, &format!("group by ({namespace}) ({workloads})")),
        variable("workload", name, &only(&workloads, namespace, "namespace")),
    ]
}

fn mesh(scope: &str) -> Vec<Panel> {
    vec![
        Panel::new("Requests", "reqps", [(SERVICE_LEGEND, counted(SERVICE, REQUESTS, scope))]),
        Panel::new("Error rate", "percentunit", [(SERVICE_LEGEND, error_share(SERVICE, scope))]),
        Panel::new("Latency, 99th percentile", "ms", [(SERVICE_LEGEND, latency("0.99", SERVICE, scope))]),
        Panel::new("Requests that reached no workload", "reqps", [(SERVICE_LEGEND, unreached(SERVICE, scope))]),
        Panel::new("TCP bytes from servers", "Bps", [(SERVICE_LEGEND, counted(SERVICE, SENT, scope))]),
        Panel::new("TCP bytes to servers", "Bps", [(SERVICE_LEGEND, counted(SERVICE, RECEIVED, scope))]),
        Panel::new(
            "Versions in use",
            "short",
            [("{{component}} {{tag}}", gauge("sum", "component, tag", "istio_build", scope))],
        ),
        Panel::new("Proxies connected to istiod", "short", [("proxies", gauge("sum", "", "pilot_xds", scope))]),
    ]
}

fn service(scope: &str) -> Vec<Panel> {
    let of = format!(",destination_service_name=\"$service\"{scope}");
    let by = |label: &str| format!("{SERVICE}, {label}");
    let mut panels = vec![
        Panel::new(
            "Requests by response code",
            "reqps",
            [("{{response_code}}", counted(&by("response_code"), REQUESTS, &of))],
        ),
        Panel::new("Error rate", "percentunit", [("errors", error_share(SERVICE, &of))]),
        Panel::new("Latency", "ms", quantiles(SERVICE, &of)),
        Panel::new(
            "Requests by client",
            "reqps",
            [(
                "{{source_workload_namespace}}/{{source_workload}}",
                counted(&by("source_workload_namespace, source_workload"), REQUESTS, &of),
            )],
        ),
        Panel::new(
            "Requests by version",
            "reqps",
            [("{{destination_version}}", counted(&by("destination_version"), REQUESTS, &of))],
        ),
        Panel::new(
            "Error rate by version",
            "percentunit",
            [("{{destination_version}}", error_share(&by("destination_version"), &of))],
        ),
        Panel::new(
            "Requests that reached no workload",
            "reqps",
            [("{{response_flags}}", unreached(&by("response_flags"), &of))],
        ),
        Panel::new("TCP bytes", "Bps", tcp(SERVICE, &of)),
    ];
    for (_, query) in panels.iter_mut().flat_map(|panel| &mut panel.lines) {
        *query = only(query, NAMESPACE, "namespace");
    }
    panels
}

fn workload(scope: &str) -> Vec<Panel> {
    let place = "destination_workload_namespace, destination_workload";
    let inbound = format!(",destination_workload_namespace=\"$namespace\",destination_workload=\"$workload\"{scope}");
    let outbound =
        format!(",reporter=\"source\",source_workload_namespace=\"$namespace\",source_workload=\"$workload\"{scope}");
    let by = |label: &str| format!("{place}, {label}");
    let failing = format!("{outbound},response_code=~\"5..|0\"");
    let calls = sum(SERVICE, REQUESTS, &outbound);
    let failed = sum(SERVICE, REQUESTS, &failing);
    vec![
        Panel::new(
            "Inbound requests by response code",
            "reqps",
            [("{{response_code}}", counted(&by("response_code"), REQUESTS, &inbound))],
        ),
        Panel::new("Inbound error rate", "percentunit", [("errors", error_share(place, &inbound))]),
        Panel::new("Inbound latency", "ms", quantiles(place, &inbound)),
        Panel::new("Inbound TCP bytes", "Bps", tcp(place, &inbound)),
        Panel::new("Outbound requests", "reqps", [(SERVICE_LEGEND, calls.clone())]),
        Panel::new(
            "Outbound error rate",
            "percentunit",
            [(SERVICE_LEGEND, format!("({failed} or 0 * {calls}) / {calls}"))],
        ),
    ]
}

fn control_plane(scope: &str) -> Vec<Panel> {
    let convergence = |quantile: &str| {
        let buckets = format!("pilot_proxy_convergence_time_bucket{{{}}}[1h]", scope.trim_start_matches(','));
        format!("histogram_quantile({quantile}, sum by (le) (rate({buckets})))")
    };
    vec![
        Panel::new(
            "Proxies connected to istiod",
            "short",
            [("{{version}}", gauge("sum", "version", "pilot_xds", scope))],
        ),
        Panel::new("Pushes by type", "ops", [("{{type}}", sum("type", "pilot_xds_pushes", scope))]),
        // Pushes are rare, so a short window has no observation.
        Panel::new("Proxy convergence time (1 h)", "s", [("p50", convergence("0.5")), ("p99", convergence("0.99"))]),
        Panel::new("Rejected configuration", "ops", [("{{type}}", sum("type", "pilot_total_xds_rejects", scope))]),
        Panel::new("Push triggers", "ops", [("{{type}}", sum("type", "pilot_push_triggers", scope))]),
        Panel::new(
            "Failed validations and injections",
            "ops",
            [
                ("validation", sum("", "galley_validation_failed", scope)),
                ("injection", sum("", "sidecar_injection_failure_total", scope)),
            ],
        ),
        Panel::new(
            "Root certificate expires in",
            "s",
            [(
                "remaining",
                format!("{} - time()", gauge("min", "", "citadel_server_root_cert_expiry_timestamp", scope)),
            )],
        ),
        Panel::new(
            "Versions in use",
            "short",
            [("{{component}} {{tag}}", gauge("sum", "component, tag", "istio_build", scope))],
        ),
    ]
}

fn ambient(scope: &str) -> Vec<Panel> {
    let waypoint = format!(",reporter=\"waypoint\"{scope}");
    let opened = "istio_tcp_connections_opened_total";
    let closed = "istio_tcp_connections_closed_total";
    let terminations = |name: &str| rate(name, scope);
    vec![
        Panel::new("Requests through waypoints", "reqps", [(SERVICE_LEGEND, sum(SERVICE, REQUESTS, &waypoint))]),
        Panel::new(
            "Latency through waypoints, 99th percentile",
            "ms",
            [(
                SERVICE_LEGEND,
                format!(
                    "histogram_quantile(0.99, {})",
                    sum(&format!("le, {SERVICE}"), "istio_request_duration_milliseconds_bucket", &waypoint)
                ),
            )],
        ),
        Panel::new(
            "TCP connections",
            "cps",
            [
                (
                    "opened {{destination_service_namespace}}/{{destination_service_name}}",
                    counted(SERVICE, opened, scope),
                ),
                (
                    "closed {{destination_service_namespace}}/{{destination_service_name}}",
                    counted(SERVICE, closed, scope),
                ),
            ],
        ),
        Panel::new("TCP bytes", "Bps", tcp(SERVICE, scope)),
        Panel::new(
            "TCP connections by mTLS",
            "cps",
            [(
                "{{connection_security_policy}}",
                sum("connection_security_policy", opened, &format!(",reporter=\"destination\"{scope}")),
            )],
        ),
        Panel::new(
            "Workloads that wait for ztunnel",
            "short",
            [("pending", gauge("sum", "", "workload_manager_pending_proxy_count", scope))],
        ),
        // The older name is ztunnel's before 1.24.
        Panel::new(
            "Connections of ztunnel to istiod that ended",
            "ops",
            [(
                "terminations",
                format!(
                    "sum({} or {})",
                    terminations("istio_xds_connection_terminations_total"),
                    terminations("istio_connection_terminations_total")
                ),
            )],
        ),
        Panel::new("DNS requests of ztunnel", "reqps", [("requests", sum("", "istio_dns_requests_total", scope))]),
    ]
}

fn quantiles(keys: &str, matchers: &str) -> Vec<(&'static str, String)> {
    [("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")]
        .map(|(legend, quantile)| (legend, latency(quantile, keys, matchers)))
        .into()
}

/// `sent` is what servers send; see Istio documentation, "Istio Standard Metrics".
fn tcp(keys: &str, matchers: &str) -> Vec<(&'static str, String)> {
    vec![("from servers", counted(keys, SENT, matchers)), ("to servers", counted(keys, RECEIVED, matchers))]
}

fn gauge(aggregation: &str, keys: &str, metric: &str, scope: &str) -> String {
    let by = if keys.is_empty() { String::new() } else { format!(" by ({keys}) ") };
    format!("{aggregation}{by}({metric}{{{}}})", scope.trim_start_matches(','))
}
