//! The same metrics in a real Prometheus and in a real `VictoriaMetrics`: signals now and over time, the check, and errors.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sailhand::error::{Classify as _, Code};
use sailhand::observe::ladder::Rung;
use sailhand::task::TaskContext;
use sailhand::task::connection::{Check, CheckReport};
use sailhand::task::metrics::{Promql, Query, QueryReport};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster_target::unique;
use crate::connections::{one, run, scraping, with_connections};
use crate::support::eventually::eventually;
use crate::support::prometheus::{get, serve};
use crate::support::tools;

const WITHIN: Duration = Duration::from_mins(1);
/// Requests a second, and pushes a second.
const RATE: f64 = 20.0;
const PUSHES: f64 = 4.0;

/// A sidecar, and istiod with three proxies. Counters grow with the time, so that rates are exact.
fn metrics(start: Instant) -> String {
    let seconds = start.elapsed().as_secs_f64();
    let labels = "reporter=\"destination\",destination_service=\"reviews.shop.svc.cluster.local\",\
         destination_service_namespace=\"shop\",destination_service_name=\"reviews\",destination_workload=\"reviews-v1\",\
         destination_version=\"v1\",response_flags=\"-\"";
    let mut text =
        String::from("istio_build{component=\"pilot\"} 1\nistio_build{component=\"proxy\"} 1\npilot_xds 3\n");
    writeln!(text, "istio_requests_total{{{labels},response_code=\"200\"}} {}", RATE * 0.75 * seconds).unwrap();
    writeln!(text, "istio_requests_total{{{labels},response_code=\"503\"}} {}", RATE * 0.25 * seconds).unwrap();
    for (le, share) in [("10", 0.9), ("100", 1.0), ("+Inf", 1.0)] {
        let count = RATE * share * seconds;
        writeln!(text, "istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}} {count}").unwrap();
    }
    writeln!(text, "pilot_xds_pushes{{type=\"cds\"}} {}", PUSHES * seconds).unwrap();
    text
}

/// A real `VictoriaMetrics` that scrapes this address. It ends with the test.
struct VictoriaMetrics(Child, String);

impl VictoriaMetrics {
    fn scraping(address: &str, folder: &Path) -> Self {
        let configuration = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "proxies", "static_configs": [
                {"targets": [address], "labels": {"namespace": "shop", "pod": "reviews-1"}}]}],
        });
        let file = folder.join("scrape.yml");
        std::fs::write(&file, configuration.to_string()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(tools::program("victoria-metrics", "VICTORIA_METRICS_BIN"))
            .arg(format!("-httpListenAddr={free}"))
            .arg(format!("-storageDataPath={}", folder.join("victoria").display()))
            .arg(format!("-promscrape.config={}", file.display()))
            // Its defaults hide samples of the last 30 s, and wait before the first scrape.
            .args(["-search.latencyOffset=0s", "-retentionPeriod=2d", "-memory.allowedBytes=64MB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child, free.to_string())
    }
}

impl Drop for VictoriaMetrics {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The only value of a signal, and its points.
fn value(report: &QueryReport, name: &str) -> (f64, Vec<Option<f64>>) {
    let signal = report.signals.iter().find(|signal| signal.name == name).unwrap();
    assert_eq!(signal.values.len(), 1, "{name}: {signal:?}");
    assert!(signal.svg.as_ref().unwrap().contains("<polyline"), "{name}: {signal:?}");
    (signal.values[0].value, signal.values[0].points.clone())
}

#[allow(clippy::print_stdout, reason = "the figures of a test")]
async fn judge(cx: &TaskContext, what: &str) {
    let params = json!({"connection": "mesh", "window_s": 15, "history_s": 60});
    let report: QueryReport = eventually("the window is full", WITHIN, async || {
        let (_, report) = run(Query, cx, params.clone()).await.ok()?;
        let rate = report.signals.iter().find(|signal| signal.name == "rate")?.values.first()?.value;
        ((rate / RATE - 1.0).abs() < 0.02).then_some(report)
    })
    .await;
    let points = value(&report, "rate").1;
    let errors = value(&report, "errors").0;
    let p99 = value(&report, "latency-p99").0;
    let pushes = value(&report, "control-plane-pushes").0;
    assert_eq!((points.len(), report.history.as_ref().map(|one| one.step_s)), (61, Some(1.0)), "{what}");
    let newest: Vec<f64> = points.iter().rev().take(3).flatten().copied().collect();
    assert!(newest.iter().any(|one| (one / RATE - 1.0).abs() < 0.05), "{what}: {points:?}");
    assert!((errors - 0.25).abs() < 0.005 && (10.0..=100.0).contains(&p99), "{what}: {report:?}");
    assert!((pushes / PUSHES - 1.0).abs() < 0.05, "{what}: {pushes}");
    assert!((value(&report, "control-plane-proxies").0 - 3.0).abs() < f64::EPSILON, "{what}");
    let rejects = report.signals.iter().find(|signal| signal.name == "control-plane-rejects").unwrap();
    assert_eq!(serde_json::to_value(rejects.values[0].presence).unwrap(), "zero", "{what}: {rejects:?}");
    let expiry = report.signals.iter().find(|signal| signal.name == "control-plane-root-certificate").unwrap();
    assert!(expiry.values.is_empty(), "{what}: no series is none: {expiry:?}");

    let service =
        json!({"connection": "mesh", "of": {"service": {"namespace": "shop", "name": "reviews"}}, "window_s": 15});
    let (_, report) = run(Query, cx, service).await.unwrap();
    assert!(report.signals.iter().all(|signal| !signal.name.starts_with("control-plane") && signal.svg.is_none()));
    let check: CheckReport = run(Check, cx, json!({"connection": "mesh", "window_s": 15})).await.unwrap().1;
    assert!(check.rung >= Rung::ScrapesIstio, "{what}: {check:?}");
    let error = run(Promql, cx, json!({"connection": "mesh", "query": "sum("})).await.unwrap_err();
    assert_eq!(error.code(), Code::SH3506, "{what}: {error}");
}

#[tokio::test]
async fn prometheus_and_victoria_metrics_have_the_same_signals() {
    let start = Instant::now();
    let address = serve(move |request| request.starts_with("/metrics").then(|| (200, metrics(start))));
    let folder = tempfile::tempdir().unwrap();
    let prometheus = scraping(&address, folder.path());
    let victoria = VictoriaMetrics::scraping(&address, folder.path());
    let cx = with_connections(&unique("flavors"), one("mesh", &prometheus.1));
    let other = with_connections(&unique("flavors"), one("mesh", &victoria.1));
    judge(&cx, "Prometheus").await;
    judge(&other, "VictoriaMetrics").await;
    // What tells them apart: VictoriaMetrics has no goVersion and no revision.
    let build = get(&victoria.1, "/api/v1/status/buildinfo").unwrap().1;
    let build: Value = serde_json::from_str(&build).unwrap();
    assert_eq!(build, json!({"status": "success", "data": {"version": build["data"]["version"]}}), "{build}");
}

/// Answers that are no answers: each has its code, and nothing is written.
#[tokio::test]
async fn hostile_answers_and_label_values_are_refused_or_harmless() {
    let big = serve(|_| {
        // 100 MiB that compress to nothing are still read at most to the limit.
        let body = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[\"{}\"]}}}}",
            "a".repeat(100 << 20)
        );
        Some((200, body))
    });
    let hostile = serve(|_| {
        let name = "</title><script>alert(1)</script>\u{1b}[31m\" or vector(1)";
        let metric =
            json!({"reporter": "destination", "destination_service_namespace": name, "destination_service_name": name});
        let result = json!([{"metric": metric, "value": [1000.0, "7"]}, {"metric": metric, "value": [1000.0, "what"]},
            {"metric": 7, "value": "x"}, {"value": [null, "NaN"]}, null]);
        let text = json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string();
        Some((200, text))
    });
    let mut connections = one("big", &big);
    connections.extend(one("hostile", &hostile));
    let cx = with_connections(&unique("hostile"), connections);
    for verb in ["promql", "query"] {
        let begun = Instant::now();
        let error = match verb {
            "promql" => run(Promql, &cx, json!({"connection": "big", "query": "up"})).await.err(),
            _ => run(Query, &cx, json!({"connection": "big"})).await.err(),
        };
        assert_eq!(error.map(|error| error.code()), Some(Code::SH3507), "{verb}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{verb}: {:?}", begun.elapsed());
    }
    let (changed, report) = run(Query, &cx, json!({"connection": "hostile", "history_s": 60})).await.unwrap();
    let shown = sailhand::report::blocks("metrics.query", &serde_json::to_value(&report).unwrap(), true).unwrap();
    let svg: String = report.signals.iter().filter_map(|signal| signal.svg.clone()).collect();
    assert!(!changed && !shown.is_empty() && !svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
    let name = "shop\"} or vector(1) #";
    let (_, report) =
        run(Query, &cx, json!({"connection": "hostile", "of": {"namespace": {"name": name}}})).await.unwrap();
    assert!(report.signals[0].query.contains(r#"namespace="shop\"} or vector(1) #""#), "{:?}", report.signals[0].query);
}
