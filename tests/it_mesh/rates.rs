//! Golden signals against a known truth: scripted proxies of each data plane, scraped by a real Prometheus. Queries as
//! Flagger, Argo Rollouts, Istio's mesh dashboard and dashboards that sum all reporters send them run beside. The panels and
//! variables of our dashboards are compared with the same truth.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sailhand::observe::dashboard::{DashboardName, Settings, dashboard, queries_of};
use sailhand::task::metrics::{Query, QueryReport};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster_target::unique;
use crate::connections::{one, run, scraping, with_connections};
use crate::support::eventually::eventually;
use crate::support::prometheus::{Prometheus, serve};

/// Requests a second of each service, and those of them that fail.
const RATE: f64 = 50.0;
const FAILED: f64 = 5.0;
/// Host and name of a service outside the mesh; its ServiceEntry is in the namespace of the others.
const OUTSIDE: &str = "api.example.com";
/// Bytes a second of the TCP service.
const BYTES: f64 = 2000.0;

/// Durations of requests: of each 100, 50 take 4 ms, 40 take 8 ms, 8 take 80 ms and 2 take 400 ms. Upper bounds of Istio's
/// buckets, and the shares below them.
const BUCKETS: [(&str, f64); 10] = [
    ("1", 0.0),
    ("5", 0.5),
    ("10", 0.9),
    ("25", 0.9),
    ("50", 0.9),
    ("100", 0.98),
    ("250", 0.98),
    ("500", 1.0),
    ("1000", 1.0),
    ("+Inf", 1.0),
];
/// Each quantile, and the bounds of the bucket with its true duration.
const QUANTILES: [(&str, f64, f64); 3] =
    [("latency-p50", 1.0, 5.0), ("latency-p95", 50.0, 100.0), ("latency-p99", 250.0, 500.0)];

/// What the proxies of one data plane report: reporter, share of the requests, whether they reach a workload.
struct Plane {
    service: &'static str,
    /// Namespace that the waypoint reports: its own.
    waypoint: &'static str,
    reports: &'static [(&'static str, f64, bool)],
}

const PLANES: [Plane; 8] = [
    Plane { service: "sidecars", waypoint: "truth", reports: &[("source", 1.0, true), ("destination", 1.0, true)] },
    Plane { service: "sidecar-of-the-server", waypoint: "truth", reports: &[("destination", 1.0, true)] },
    Plane {
        service: "gateway-and-sidecar",
        waypoint: "truth",
        reports: &[("source", 1.0, true), ("destination", 1.0, true)],
    },
    Plane { service: "waypoint", waypoint: "truth", reports: &[("waypoint", 1.0, true)] },
    Plane {
        service: "gateway-and-waypoint",
        waypoint: "truth",
        reports: &[("source", 1.0, true), ("waypoint", 1.0, true)],
    },
    Plane { service: "waypoint-of-another-namespace", waypoint: "waypoints", reports: &[("waypoint", 1.0, true)] },
    Plane {
        service: "gateway-and-that-waypoint",
        waypoint: "waypoints",
        reports: &[("source", 1.0, true), ("waypoint", 1.0, true)],
    },
    // One request in ten finds no healthy upstream: only the client's sidecar counts it.
    Plane {
        service: "without-upstream",
        waypoint: "truth",
        reports: &[("source", 0.9, true), ("destination", 0.9, true), ("source", 0.1, false)],
    },
];

/// Counters of all planes after this time. They grow with the time, so rates are exact.
fn proxies(start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    let mut text = String::new();
    for plane in &PLANES {
        for (reporter, share, reached) in plane.reports {
            let (workload, flags) = if *reached { (plane.service, "-") } else { ("unknown", "UH") };
            // Istio's proxies do not know the namespace of a request without an upstream.
            let space = match (*reached, *reporter) {
                (false, _) => "unknown",
                (true, "waypoint") => plane.waypoint,
                (true, _) => "truth",
            };
            let labels = format!(
                "reporter=\"{reporter}\",destination_service_namespace=\"{space}\",destination_service_name=\"{service}\",\
                 destination_service=\"{service}.truth.svc.cluster.local\",\
                 source_workload=\"ingress\",source_workload_namespace=\"gateways\",\
                 destination_workload=\"{workload}\",destination_workload_namespace=\"truth\",response_flags=\"{flags}\"",
                service = plane.service
            );
            // Requests without an upstream are the failed ones, where there are any.
            let lost = plane.reports.iter().any(|(.., reached)| !reached);
            let failed = if *reached && lost {
                0.0
            } else if *reached {
                FAILED * share
            } else {
                RATE * share
            };
            let ok = RATE * share - failed;
            writeln!(text, "istio_requests_total{{{labels},response_code=\"200\"}} {}", ok * seconds).unwrap();
            writeln!(text, "istio_requests_total{{{labels},response_code=\"503\"}} {}", failed * seconds).unwrap();
            for (bound, below) in BUCKETS.into_iter().filter(|_| *reached) {
                let count = RATE * share * below * seconds;
                writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{bound}\"}} {count}")
                    .unwrap();
            }
        }
    }
    // A service outside the mesh: no proxy but the client's reports it, and its workload is not known.
    let outside = format!(
        "reporter=\"source\",destination_service_namespace=\"truth\",destination_service_name=\"{OUTSIDE}\",\
         destination_service=\"{OUTSIDE}\",source_workload=\"ingress\",source_workload_namespace=\"gateways\",\
         destination_workload=\"unknown\",destination_workload_namespace=\"unknown\",response_flags=\"-\""
    );
    for (code, rate) in [("200", RATE - FAILED), ("503", FAILED)] {
        writeln!(text, "istio_requests_total{{{outside},response_code=\"{code}\"}} {}", rate * seconds).unwrap();
    }
    for (bound, below) in BUCKETS {
        let count = RATE * below * seconds;
        writeln!(text, "istio_request_duration_milliseconds_bucket{{{outside},le=\"{bound}\"}} {count}").unwrap();
    }
    for reporter in ["source", "destination"] {
        let labels = format!(
            "reporter=\"{reporter}\",destination_service_namespace=\"truth\",destination_service_name=\"ztunnel\""
        );
        writeln!(text, "istio_tcp_sent_bytes_total{{{labels}}} {}", BYTES * seconds).unwrap();
    }
    text
}

fn number(prometheus: &Prometheus, query: &str) -> f64 {
    let query =
        query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22").replace('[', "%5B").replace(']', "%5D");
    let query = query.replace('|', "%7C").replace('~', "%7E").replace('=', "%3D").replace(',', "%2C");
    let data = prometheus.ask(&format!("query?query={}", query.replace(' ', "%20"))).unwrap();
    data["result"][0]["value"][1].as_str().map_or(0.0, |text| text.parse().unwrap())
}

/// Labels and value of each series of a query.
fn series(prometheus: &Prometheus, query: &str) -> Vec<(Value, f64)> {
    let query = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
    let data = prometheus.ask(&format!("query?query={query}")).unwrap_or_else(|| panic!("refused: {query}"));
    let result = data["result"].as_array().unwrap().iter();
    result.map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().parse().unwrap())).collect()
}

/// A dashboard's queries by panel, and by variable, as Grafana fills them for a service or a workload of that name.
fn filled(name: DashboardName, of: &str) -> (Vec<(String, String)>, Vec<String>) {
    let board = dashboard(name, Settings { uid: "u", data_source: None, scope: &BTreeMap::new() });
    let fill = |query: &str| {
        let query = query.replace("$__rate_interval", "15s").replace("$namespace", "truth");
        query.replace("$service", of).replace("$workload", of)
    };
    let panels = queries_of(&board).into_iter().map(|(title, query)| (title, fill(&query))).collect();
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    let variables = variables.filter_map(|variable| variable["definition"].as_str());
    let inner = |query: &str| query.strip_prefix("query_result(").unwrap().strip_suffix(')').unwrap().to_owned();
    (panels, variables.map(|query| inner(&fill(query))).collect())
}

fn values(prometheus: &Prometheus, query: &str, label: &str) -> Vec<String> {
    let all = series(prometheus, query);
    let mut values: Vec<String> =
        all.iter().filter_map(|(labels, _)| labels[label].as_str().map(str::to_owned)).collect();
    values.sort();
    values
}

/// Each service is in each panel once, with the true numbers, under its own namespace. The answer is a table of them.
fn panels_match_the_truth(prometheus: &Prometheus) -> String {
    let mut table = String::new();
    let mut services: Vec<&str> = PLANES.iter().map(|plane| plane.service).chain([OUTSIDE]).collect();
    services.sort_unstable();
    let (_, variables) = filled(DashboardName::Service, "");
    assert_eq!(values(prometheus, &variables[0], "destination_service_namespace"), ["truth"]);
    assert_eq!(values(prometheus, &variables[1], "destination_service_name"), services);
    let (mesh, _) = filled(DashboardName::Mesh, "");
    let of_mesh = |title: &str, service: &str| -> Vec<f64> {
        let (_, query) = mesh.iter().find(|(panel, _)| panel == title).unwrap();
        let all = series(prometheus, query).into_iter();
        let found = all.filter(|(labels, _)| labels["destination_service_name"] == service);
        found
            .map(|(labels, value)| {
                assert_eq!(labels["destination_service_namespace"], "truth", "{title}: {labels}");
                value
            })
            .collect()
    };
    for service in services {
        let (panels, _) = filled(DashboardName::Service, service);
        let lines = |title: &str| -> Vec<f64> {
            let queries = panels.iter().filter(|(panel, _)| panel == title);
            queries.flat_map(|(_, query)| series(prometheus, query)).map(|(_, value)| value).collect()
        };
        let rates: [f64; 3] = [
            lines("Requests by response code").iter().sum(),
            lines("Requests by client").iter().sum(),
            of_mesh("Requests", service)[0],
        ];
        let errors = [lines("Error rate"), of_mesh("Error rate", service)].concat();
        let latency = [lines("Latency")[2], of_mesh("Latency, 99th percentile", service)[0]];
        let unsent: f64 = lines("Requests that reached no workload").iter().sum();
        writeln!(table, "{service:<28} panels {rates:.2?} errors {errors:.3?} p99 {latency:.0?} unsent {unsent:.2}")
            .unwrap();
        assert_eq!((of_mesh("Requests", service).len(), errors.len()), (1, 2), "{service}");
        assert!(rates.iter().all(|rate| (rate / RATE - 1.0).abs() <= 0.02), "{service}: {rates:?}");
        assert!(errors.iter().all(|share| (share - FAILED / RATE).abs() <= 0.002), "{service}: {errors:?}");
        assert!(latency.iter().all(|p99| 250.0 < *p99 && *p99 <= 500.5), "{service}: {latency:?}");
        let lost = if service == "without-upstream" { FAILED } else { 0.0 };
        assert!((unsent - lost).abs() <= 0.1, "{service}: {unsent}");
    }
    // A gateway reports what it sends only.
    let (_, variables) = filled(DashboardName::Workload, "ingress");
    assert!(values(prometheus, &variables[0], "destination_workload_namespace").contains(&"gateways".to_owned()));
    let gateways = variables[1].replace("\"truth\"", "\"gateways\"");
    assert_eq!(values(prometheus, &gateways, "destination_workload"), ["ingress"]);
    let (panels, _) = filled(DashboardName::Workload, "ingress");
    let (_, outbound) = panels.iter().find(|(title, _)| title == "Outbound requests").unwrap();
    let sent = series(prometheus, &outbound.replace("\"truth\"", "\"gateways\""));
    assert!(
        sent.iter()
            .any(|(labels, rate)| labels["destination_service_name"] == OUTSIDE && (rate / RATE - 1.0).abs() <= 0.02)
    );
    table
}

#[tokio::test]
async fn rates_and_quantiles_match_the_truth_in_each_data_plane() {
    let start = Instant::now();
    let address = serve(move |request| request.starts_with("/metrics").then(|| (200, proxies(start))));
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping(&address, folder.path());
    let cx = with_connections(&unique("rates"), one("mesh", &prometheus.1));
    eventually("the window is full", Duration::from_mins(1), async || {
        prometheus.series("count_over_time(istio_requests_total%5B20s%5D)%3E18")
    })
    .await;
    let ask = async |service: &str| -> QueryReport {
        let of = json!({"service": {"namespace": "truth", "name": service}});
        run(Query, &cx, json!({"connection": "mesh", "of": of, "window_s": 15})).await.unwrap().1
    };
    let value = |report: &QueryReport, name: &str| -> f64 {
        let signal = report.signals.iter().find(|signal| signal.name == name).unwrap();
        let values: Vec<Value> = signal.values.iter().map(|one| serde_json::to_value(one).unwrap()).collect();
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0]["value"].as_f64().unwrap()
    };
    println!(
        "{:<28} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>24}",
        "data plane", "truth", "ours", "errors", "Flagger", "Argo", "Istio", "all", "p99 ours, Flagger, Istio"
    );
    for plane in &PLANES {
        let report = ask(plane.service).await;
        let (rate, errors) = (value(&report, "rate"), value(&report, "errors"));
        let service = plane.service;
        let flagger = number(
            &prometheus,
            &format!(
                "sum(rate(istio_requests_total{{reporter=\"destination\",destination_workload_namespace=\"truth\",destination_workload=\"{service}\"}}[15s]))"
            ),
        );
        let all = number(
            &prometheus,
            &format!(
                "sum(rate(istio_requests_total{{destination_service_namespace=\"truth\",destination_service_name=\"{service}\"}}[15s]))"
            ),
        );
        // Its documentation's example for Istio.
        let by_argo = format!("reporter=\"source\",destination_service=~\"{service}.truth.svc.cluster.local\"");
        let argo = number(&prometheus, &format!("sum(irate(istio_requests_total{{{by_argo}}}[5m]))"));
        let by_istio = format!("reporter=~\"source|waypoint\",destination_service_name=\"{service}\"");
        let istio = number(&prometheus, &format!("sum(rate(istio_requests_total{{{by_istio}}}[15s]))"));
        let p99 = |selector: &str| {
            let buckets = format!("istio_request_duration_milliseconds_bucket{{{selector}}}[15s]");
            number(&prometheus, &format!("histogram_quantile(0.99, sum by (le) (rate({buckets})))"))
        };
        let by_flagger = format!("reporter=\"destination\",destination_workload=\"{service}\"");
        let ours = value(&report, "latency-p99");
        let latency = format!("{ours:.0}, {:.0}, {:.0}", p99(&by_flagger), p99(&by_istio));
        println!(
            "{service:<28} {RATE:>6.1} {rate:>9.2} {errors:>9.3} {flagger:>9.2} {argo:>9.2} {istio:>9.2} {all:>9.2} {latency:>24}"
        );
        for (name, above, most) in QUANTILES {
            let quantile = value(&report, name);
            assert!(above < quantile && quantile <= most * 1.001, "{service} {name}: {quantile}");
        }
        assert!((rate / RATE - 1.0).abs() <= 0.02, "{service}: {rate}");
        assert!((errors - FAILED / RATE).abs() <= 0.002, "{service}: {errors}");
    }
    print!("{}", panels_match_the_truth(&prometheus));
    let bytes = value(&ask("ztunnel").await, "tcp-sent");
    println!("{:<28} {BYTES:>6.1} {bytes:>9.2}", "ztunnel, bytes");
    assert!((bytes / BYTES - 1.0).abs() <= 0.02, "{bytes}");
}
