//! Golden signals from the answers to the queries of [`super::promql`].
//!
//! One request is counted by the proxies on both sides. For each service the first of these reporters that has data
//! counts: `waypoint`, `destination`, `source`. What `source` reports without a destination workload (no healthy
//! upstream, no route) is added, because no other proxy saw it. Source: Istio documentation, "Istio Standard Metrics",
//! and Kiali's `graph/telemetry/istio`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::envelope::{QueryAnswer, Series};

/// Which proxy's view was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reporter {
    /// An ambient waypoint.
    Waypoint,
    /// The server's sidecar, or ztunnel on the server's node.
    Destination,
    /// The client's sidecar, a gateway, or ztunnel on the client's node.
    Source,
}

impl Reporter {
    fn of(series: &Series) -> Option<Self> {
        match series.label("reporter") {
            "waypoint" => Some(Self::Waypoint),
            "destination" => Some(Self::Destination),
            "source" => Some(Self::Source),
            _ => None,
        }
    }
}

/// Which responses count as errors. gRPC statuses other than 0 always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorClass {
    /// 5xx and requests without a response (code 0), except those that the client ended (flag `DC`).
    #[default]
    Server,
    /// 4xx as well.
    All,
}

/// Whether there is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// A number above zero.
    Value,
    /// There is traffic, and the number is zero.
    Zero,
    /// There are no series: no traffic, or nothing is scraped.
    None,
}

/// One value of a signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalValue {
    /// Namespace of the service; empty for the whole mesh.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the service; empty for the whole mesh.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Version of the workload, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whose view was used; none where there are no series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporter: Option<Reporter>,
    /// Whether the value is a number, zero, or missing.
    pub presence: Presence,
    /// The number; 0 unless `presence` is `value`.
    pub value: f64,
    /// The quantile lies in the last bucket: the number is a lower bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saturated: bool,
    /// The number at the times of the report's `history`, oldest first; null where there were no series. The 20 largest
    /// values of a signal have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Option<f64>>,
}

impl SignalValue {
    /// Service and version, for people; empty for a number of the control plane.
    #[must_use]
    pub fn name(&self) -> String {
        let service = match (self.namespace.is_empty(), self.service.is_empty()) {
            (true, _) => self.service.clone(),
            (false, true) => self.namespace.clone(),
            (false, false) => format!("{}/{}", self.namespace, self.service),
        };
        match self.version.as_deref() {
            Some(version) => format!("{service} {version}").trim().to_owned(),
            None => service,
        }
    }
}

/// Rate and share of errors of one service.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Traffic {
    /// Requests a second.
    pub rate: f64,
    /// Requests a second that failed.
    pub failed: f64,
    /// Requests a second that the client ended before a response came.
    pub client_ended: f64,
}

impl Traffic {
    /// Adds the rate of a series.
    fn add(&mut self, series: &Series, rate: f64, errors: ErrorClass) {
        self.rate += rate;
        match outcome(series, errors) {
            Result::Ok => {}
            Result::Failed => self.failed += rate,
            Result::ClientEnded => self.client_ended += rate,
        }
    }
}

/// A service, and its version where answers are split by version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Service.
    pub service: String,
    /// Version; none when not split.
    pub version: Option<String>,
}

impl Key {
    fn of(series: &Series, by_version: bool) -> Self {
        let (namespace, service) = service_of(series);
        Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            version: by_version.then(|| series.label("destination_version").to_owned()),
        }
    }
}

/// Namespace and name of the service that a series is about. The host has the namespace where the proxy does not know it: a
/// waypoint reports its own one, and a client `unknown` for requests that reach no workload. A host that is not the
/// service's, as of requests to `PassthroughCluster`, is what a client has sent. Source: istio/proxy, `istio_stats.cc`.
fn service_of(series: &Series) -> (&str, &str) {
    let (namespace, name) = (series.label("destination_service_namespace"), series.label("destination_service_name"));
    let mut host = series.label("destination_service").split('.');
    match (host.next(), host.next(), host.next()) {
        (Some(service), Some(namespace), Some("svc")) if service == name => (namespace, name),
        _ => (namespace, name),
    }
}

/// HTTP and gRPC traffic of each service, by one reporter each.
#[must_use]
pub fn traffic(answer: &QueryAnswer, by_version: bool, errors: ErrorClass) -> BTreeMap<Key, (Reporter, Traffic)> {
    let mut all: BTreeMap<Key, BTreeMap<Reporter, Traffic>> = BTreeMap::new();
    let mut unreached: BTreeMap<Key, Traffic> = BTreeMap::new();
    for series in &answer.series {
        let (Some(reporter), Some(rate)) = (Reporter::of(series), rate(series)) else { continue };
        let key = Key::of(series, by_version);
        let lost = reporter == Reporter::Source && series.label("destination_workload") == "unknown";
        let traffic = if lost {
            unreached.entry(key).or_default()
        } else {
            all.entry(key).or_default().entry(reporter).or_default()
        };
        traffic.add(series, rate, errors);
    }
    let mut services: BTreeMap<Key, (Reporter, Traffic)> = all
        .into_iter()
        .filter_map(|(key, by_reporter)| by_reporter.into_iter().next().map(|first| (key, first)))
        .collect();
    for (key, lost) in unreached {
        let (_, traffic) = services.entry(key).or_insert((Reporter::Source, Traffic::default()));
        traffic.rate += lost.rate;
        traffic.failed += lost.failed;
        traffic.client_ended += lost.client_ended;
    }
    services
}

/// HTTP and gRPC traffic of each workload (namespace and name). Takes the largest number of all reporters, because a
/// request that fails before it reaches the server's proxy is reported by the client's proxy only.
#[must_use]
pub fn workload_traffic(answer: &QueryAnswer) -> BTreeMap<(String, String), Traffic> {
    let mut all: BTreeMap<(String, String), BTreeMap<Reporter, Traffic>> = BTreeMap::new();
    for series in &answer.series {
        let (Some(reporter), Some(rate)) = (Reporter::of(series), rate(series)) else { continue };
        let traffic = all.entry(workload_of(series)).or_default().entry(reporter).or_default();
        traffic.add(series, rate, ErrorClass::Server);
    }
    let largest = |by_reporter: BTreeMap<Reporter, Traffic>| {
        by_reporter.into_values().fold(Traffic::default(), |sum, one| Traffic {
            rate: sum.rate.max(one.rate),
            failed: sum.failed.max(one.failed),
            client_ended: sum.client_ended.max(one.client_ended),
        })
    };
    all.into_iter().map(|(workload, by_reporter)| (workload, largest(by_reporter))).collect()
}

/// Requests of each service (namespace and name) that reached no workload.
#[must_use]
pub fn unreached_traffic(answer: &QueryAnswer) -> BTreeMap<(String, String), Traffic> {
    let mut all: BTreeMap<(String, String), Traffic> = BTreeMap::new();
    for series in &answer.series {
        let Some(rate) = rate(series) else { continue };
        let key = Key::of(series, false);
        all.entry((key.namespace, key.service)).or_default().add(series, rate, ErrorClass::Server);
    }
    all
}

/// Namespace and name of the workload that a series is about.
#[must_use]
pub fn workload_of(series: &Series) -> (String, String) {
    (series.label("destination_workload_namespace").to_owned(), series.label("destination_workload").to_owned())
}

/// The newest value of a series; none for `NaN` and infinity.
fn rate(series: &Series) -> Option<f64> {
    series.last().filter(|rate| rate.is_finite())
}

enum Result {
    Ok,
    Failed,
    ClientEnded,
}

fn outcome(series: &Series, errors: ErrorClass) -> Result {
    let code = series.label("response_code");
    let flags = series.label("response_flags");
    if code == "0" || code.is_empty() {
        return if flags.split(',').any(|flag| flag == "DC") { Result::ClientEnded } else { Result::Failed };
    }
    let grpc = series.label("grpc_response_status");
    let grpc_failed = grpc.parse::<u8>().is_ok_and(|status| status != 0);
    let http_failed = code.starts_with('5') || (errors == ErrorClass::All && code.starts_with('4'));
    if http_failed || grpc_failed { Result::Failed } else { Result::Ok }
}

/// Latency of each service: quantiles of the histogram of one reporter each, in milliseconds, with whether the quantile
/// lies in the last finite bucket.
#[must_use]
pub fn latency(answer: &QueryAnswer, by_version: bool, quantile: f64) -> BTreeMap<Key, (Reporter, f64, bool)> {
    latency_by(answer, quantile, |series| Key::of(series, by_version))
}

/// The same by any key: the buckets of series with the same key are added.
#[must_use]
pub fn latency_by<K: Ord + Clone>(
    answer: &QueryAnswer,
    quantile: f64,
    key: impl Fn(&Series) -> K,
) -> BTreeMap<K, (Reporter, f64, bool)> {
    let mut all: BTreeMap<K, BTreeMap<Reporter, BTreeMap<Bound, f64>>> = BTreeMap::new();
    for series in &answer.series {
        let bound = match series.label("le") {
            "+Inf" => f64::INFINITY,
            text => match text.parse() {
                Ok(bound) => bound,
                Err(_) => continue,
            },
        };
        let (Some(reporter), Some(rate)) = (Reporter::of(series), rate(series)) else { continue };
        *all.entry(key(series)).or_default().entry(reporter).or_default().entry(Bound(bound)).or_default() += rate;
    }
    let of = |(key, by_reporter): (K, BTreeMap<Reporter, BTreeMap<Bound, f64>>)| {
        by_reporter.into_iter().find_map(|(reporter, buckets)| {
            let buckets = buckets.into_iter().map(|(bound, count)| (bound.0, count)).collect();
            histogram_quantile(quantile, buckets).map(|(value, saturated)| (key.clone(), (reporter, value, saturated)))
        })
    };
    all.into_iter().filter_map(of).collect()
}

/// Upper bound of a bucket, in order.
#[derive(PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// As `histogram_quantile` of Prometheus: linear within a bucket, the lowest bucket begins at 0; a quantile in the `+Inf`
/// bucket is the highest finite bound, and saturated. None without observations.
#[must_use]
pub fn histogram_quantile(quantile: f64, mut buckets: Vec<(f64, f64)>) -> Option<(f64, bool)> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = buckets.last().filter(|(bound, _)| bound.is_infinite())?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = quantile * total;
    let index = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (bound, count) = buckets[index];
    if bound.is_infinite() {
        let highest = index.checked_sub(1).map(|below| buckets[below].0)?;
        return Some((highest, true));
    }
    let (start, below) = index.checked_sub(1).map_or((0.0, 0.0), |below| buckets[below]);
    let inside = count - below;
    let value = if inside > 0.0 { start + (bound - start) * ((rank - below) / inside) } else { bound };
    Some((value, false))
}

/// Bytes a second of each service, by one reporter each.
#[must_use]
pub fn bytes(answer: &QueryAnswer, by_version: bool) -> BTreeMap<Key, (Reporter, f64)> {
    let mut all: BTreeMap<Key, BTreeMap<Reporter, f64>> = BTreeMap::new();
    for series in &answer.series {
        if let (Some(reporter), Some(rate)) = (Reporter::of(series), rate(series)) {
            *all.entry(Key::of(series, by_version)).or_default().entry(reporter).or_default() += rate;
        }
    }
    all.into_iter().filter_map(|(key, mut by)| by.pop_first().map(|first| (key, first))).collect()
}

/// A number as a signal's value.
#[must_use]
pub fn value(key: &Key, reporter: Reporter, number: f64, saturated: bool) -> SignalValue {
    SignalValue {
        namespace: key.namespace.clone(),
        service: key.service.clone(),
        version: key.version.clone(),
        reporter: Some(reporter),
        presence: if number > 0.0 { Presence::Value } else { Presence::Zero },
        value: number,
        saturated,
        points: Vec::new(),
    }
}

/// Whether the answer to [`super::promql::window_start`] has series of this name at the start of the window.
#[must_use]
pub fn has_start(answer: &QueryAnswer, of: &str) -> bool {
    answer.series.iter().any(|series| series.label("of") == of && series.last().is_some_and(|count| count > 0.0))
}

/// Number of the control plane from the answer to [`super::promql::control_plane`]; none without series of istiod.
#[must_use]
pub fn control_plane(answer: &QueryAnswer, signal: &str) -> Option<SignalValue> {
    let number = answer.series.iter().filter(|series| series.label("signal") == signal).find_map(rate)?;
    let key = Key { namespace: String::new(), service: String::new(), version: None };
    Some(SignalValue { reporter: None, ..value(&key, Reporter::Source, number, false) })
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], value: f64) -> Series {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Series { labels, samples: vec![(0.0, value)] }
    }

    fn answer(series: Vec<Series>) -> QueryAnswer {
        QueryAnswer { series, warnings: Vec::new() }
    }

    fn request(reporter: &str, code: &str, workload: &str, flags: &str, rate: f64) -> Series {
        let labels = [
            ("reporter", reporter),
            ("destination_service_namespace", "shop"),
            ("destination_service_name", "reviews"),
            ("destination_workload", workload),
            ("response_code", code),
            ("response_flags", flags),
        ];
        series(&labels, rate)
    }

    fn only(answer: &QueryAnswer, errors: ErrorClass) -> (Reporter, Traffic) {
        traffic(answer, false, errors).into_values().next().unwrap()
    }

    #[test]
    fn a_request_that_both_sidecars_report_counts_once() {
        let all =
            answer(vec![request("source", "200", "v1", "-", 10.0), request("destination", "200", "v1", "-", 10.0)]);
        let (reporter, traffic) = only(&all, ErrorClass::Server);
        assert_eq!((reporter, traffic.rate), (Reporter::Destination, 10.0));
    }

    #[test]
    fn the_waypoint_counts_before_the_sidecars() {
        let all = answer(vec![request("source", "200", "v1", "-", 9.0), request("waypoint", "503", "v1", "-", 10.0)]);
        let (reporter, traffic) = only(&all, ErrorClass::Server);
        assert_eq!((reporter, traffic.rate, traffic.failed), (Reporter::Waypoint, 10.0, 10.0));
    }

    #[test]
    fn requests_that_reach_no_workload_are_added() {
        let all = answer(vec![
            request("destination", "200", "v1", "-", 8.0),
            request("source", "200", "v1", "-", 8.0),
            request("source", "503", "unknown", "UH", 2.0),
        ]);
        let (_, traffic) = only(&all, ErrorClass::Server);
        assert_eq!((traffic.rate, traffic.failed), (10.0, 2.0));
    }

    #[test]
    fn service_of_a_shared_waypoint_is_that_of_the_host() {
        let of = |namespace: &str, name: &str, host: &str| {
            let labels = [
                ("reporter", "waypoint"),
                ("destination_service_namespace", namespace),
                ("destination_service_name", name),
                ("destination_service", host),
            ];
            let key = Key::of(&series(&labels, 1.0), false);
            format!("{}/{}", key.namespace, key.service)
        };
        assert_eq!(of("waypoints", "reviews", "reviews.shop.svc.cluster.local"), "shop/reviews");
        assert_eq!(of("unknown", "reviews", "reviews.shop.svc"), "shop/reviews");
        assert_eq!(of("shop", "reviews", "unknown"), "shop/reviews");
        assert_eq!(of("shop", "api.example.com", "api.example.com"), "shop/api.example.com");
        assert_eq!(of("unknown", "PassthroughCluster", "reviews.shop.svc.cluster.local"), "unknown/PassthroughCluster");
    }

    #[test]
    fn errors_are_counted_by_class() {
        let all = answer(vec![
            request("destination", "404", "v1", "-", 1.0),
            request("destination", "0", "v1", "DC", 2.0),
            request("destination", "0", "v1", "UC", 4.0),
        ]);
        let (_, server) = only(&all, ErrorClass::Server);
        assert_eq!((server.failed, server.client_ended), (4.0, 2.0));
        assert_eq!(only(&all, ErrorClass::All).1.failed, 5.0);
    }

    #[test]
    fn a_grpc_status_is_an_error_inside_http_200() {
        let mut one = request("destination", "200", "v1", "-", 1.0);
        one.labels.push(("grpc_response_status".to_owned(), "14".to_owned()));
        assert_eq!(only(&answer(vec![one]), ErrorClass::Server).1.failed, 1.0);
    }

    #[test]
    fn failures_that_only_one_side_reports_count_for_the_workload() {
        let all = answer(vec![
            request("destination", "200", "v1", "-", 8.0),
            request("source", "200", "v1", "-", 8.0),
            request("source", "503", "v1", "UF", 2.0),
        ]);
        let traffic = workload_traffic(&all).into_values().next().unwrap();
        assert_eq!((traffic.rate, traffic.failed), (10.0, 2.0));
        let lost = answer(vec![request("source", "503", "unknown", "UH", 3.0)]);
        let traffic = unreached_traffic(&lost)[&("shop".to_owned(), "reviews".to_owned())];
        assert_eq!((traffic.rate, traffic.failed), (3.0, 3.0));
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let buckets = vec![(10.0, 5.0), (100.0, 9.0), (f64::INFINITY, 10.0)];
        assert_eq!(histogram_quantile(0.5, buckets.clone()), Some((10.0, false)));
        assert_eq!(histogram_quantile(0.7, buckets.clone()), Some((55.0, false)));
        assert_eq!(histogram_quantile(0.99, buckets), Some((100.0, true)));
        assert_eq!(histogram_quantile(0.5, vec![(10.0, 0.0), (f64::INFINITY, 0.0)]), None);
        assert_eq!(histogram_quantile(0.5, vec![(10.0, 1.0)]), None, "no +Inf bucket");
    }
}
