//! Causes of wrong numbers although all targets are scraped.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Answers, Cause, Diagnosis, Mesh, QueryAnswer, coverage, info, is_empty, names, relabeling, targets, text, warning,
};
use crate::analysis::istio::pod::has_sidecar;
use crate::analysis::istio::port::PROXY_METRICS;
use crate::observe::envelope::Series;
use crate::prose::{agree, plural};

const REQUESTS: &str = "istio_requests_total";
const BUCKETS: &str = "istio_request_duration_milliseconds_bucket";

/// All of them; empty where numbers can be relied on.
pub(super) fn false_numbers(answers: &Answers, mesh: &Mesh) -> Vec<Diagnosis> {
    let all = [
        missing_series(answers, mesh),
        missing_buckets(answers),
        missing_labels(answers, mesh),
        scraped_twice(answers, mesh),
        duplicates(answers),
        several_clusters(answers),
        several_replicas(answers),
        intercepted(mesh),
        short_window(answers),
        partial_window(answers),
        failing_applications(answers),
        ambient_without_waypoint(mesh),
        partial_answer(answers),
    ];
    all.into_iter().flatten().collect()
}

/// No request was counted: a rule drops the series, a Telemetry object disables them, or there was no traffic.
fn missing_series(answers: &Answers, mesh: &Mesh) -> Option<Diagnosis> {
    if !is_empty(answers.requests.as_ref()) {
        return None;
    }
    let dropping = answers.configuration.as_ref().map(|all| relabeling::dropping_jobs(all, REQUESTS));
    if let Some(jobs) = dropping.filter(|jobs| !jobs.is_empty()) {
        return Some(relabeled(&jobs, REQUESTS));
    }
    if let Some(place) = telemetry(mesh, "\"disabled\":true") {
        let message = format!("{place} disables metrics, and no request is counted");
        let remedy =
            "Remove the override with `disabled: true`, or restrict it to the metrics and workloads that it is for.";
        return Some(Diagnosis { evidence: vec![place], ..warning(Cause::TelemetryRemovesMetrics, message, remedy) });
    }
    if !is_empty(answers.tcp.as_ref()) {
        return None; // A mesh with TCP connections only.
    }
    let message = "proxies are scraped and have counted no request and no connection yet".to_owned();
    Some(info(Cause::NoTraffic, message, "None needed: send a request through the mesh to see metrics."))
}

fn missing_buckets(answers: &Answers) -> Option<Diagnosis> {
    if is_empty(answers.requests.as_ref()) || !is_empty(answers.buckets.as_ref()) {
        return None;
    }
    let jobs = answers.configuration.as_ref().map(|all| relabeling::dropping_jobs(all, BUCKETS)).unwrap_or_default();
    let by = if jobs.is_empty() { String::new() } else { format!(": dropped by {}", jobs.join(", ")) };
    let found = warning(
        Cause::BucketsDropped,
        format!("{REQUESTS} is there and {BUCKETS} is not{by}"),
        "Remove the metric_relabel_configs rule that drops _bucket series; until then only average latency can be shown.",
    );
    Some(Diagnosis { evidence: jobs, ..found })
}

/// Telemetry objects that remove labels or disable some metrics, and series without the label `reporter`.
fn missing_labels(answers: &Answers, mesh: &Mesh) -> Option<Diagnosis> {
    let requests = answers.requests.as_ref()?;
    let unlabeled = requests.series.iter().any(|series| series.label("reporter").is_empty());
    let removing = telemetry(mesh, "\"REMOVE\"");
    if unlabeled && removing.is_none() {
        let jobs = answers.configuration.as_ref().map(relabeling::label_dropping_jobs).unwrap_or_default();
        let message = format!("series of {REQUESTS} have no label `reporter`, so requests cannot be counted once");
        let remedy = "Remove the labeldrop rule of the scrape job, or the tagOverrides that remove the label.";
        return Some(Diagnosis { evidence: jobs, ..warning(Cause::RelabelingDrops, message, remedy) });
    }
    if requests.series.is_empty() {
        return None; // `missing_series` has named what disables them.
    }
    let place = removing.or_else(|| telemetry(mesh, "\"disabled\":true"))?;
    let message = format!("{place} disables metrics or removes labels");
    let remedy = "Check that tagOverrides of Telemetry objects do not remove the labels that the signals need: reporter, destination_service_name, response_code.";
    let of = if unlabeled { warning } else { info };
    Some(Diagnosis { evidence: vec![place], ..of(Cause::TelemetryRemovesMetrics, message, remedy) })
}

/// The first Telemetry object whose metrics have this text.
fn telemetry(mesh: &Mesh, part: &str) -> Option<String> {
    let found = mesh.telemetries.iter().find(|one| one["spec"]["metrics"].to_string().contains(part))?;
    Some(format!("Telemetry {}/{}", text(found, "namespace"), text(found, "name")))
}

fn relabeled(jobs: &[String], metric: &str) -> Diagnosis {
    let found = warning(
        Cause::RelabelingDrops,
        format!("{} drops {metric}", jobs.join(", ")),
        "Remove the rule from metric_relabel_configs of the job, or from metricRelabelings of the monitor.",
    );
    Diagnosis { evidence: jobs.to_vec(), ..found }
}

fn some(answer: Option<&QueryAnswer>) -> Option<&QueryAnswer> {
    answer.filter(|answer| !answer.series.is_empty())
}

fn pod(series: &Series) -> String {
    format!("{}/{}", series.label("namespace"), series.label("pod"))
}

fn pods(answer: &QueryAnswer) -> Vec<String> {
    answer.series.iter().map(pod).collect()
}

fn scraped_twice(answers: &Answers, mesh: &Mesh) -> Option<Diagnosis> {
    let mut pods = pods(some(answers.twice.as_ref())?);
    let replacing = coverage::replacing_namespaces(mesh);
    pods.retain(|pod| {
        let is_replaced = |(space, name): (&str, &str)| {
            // Pods of one name in several namespaces look like one pod here.
            replacing.iter().any(|one| one == space) && !targets::has_two_jobs(name, answers)
        };
        !pod.split_once('/').is_some_and(is_replaced)
    });
    if pods.is_empty() {
        return None;
    }
    Some(warning(
        Cause::ScrapedTwice,
        format!(
            "{} {} scraped by more than one job, so rates are doubled: {}",
            plural(pods.len(), "pod"),
            agree(pods.len(), "is", "are"),
            names(&pods)
        ),
        "Remove one of the scrape jobs, or restrict the connection's scope to one job.",
    ))
}

fn duplicates(answers: &Answers) -> Option<Diagnosis> {
    let total: f64 = some(answers.duplicates.as_ref())?.series.iter().filter_map(Series::last).sum();
    (total > 0.0).then(|| {
        warning(
            Cause::DuplicateSamples,
            format!(
                "the store has rejected {total:.0} duplicate samples in ten minutes: some targets send a series twice"
            ),
            "Update the proxies; later patch releases of Istio fix duplicate series (istio#52221, istio#54986).",
        )
    })
}

fn several_clusters(answers: &Answers) -> Option<Diagnosis> {
    let builds = some(answers.builds.as_ref()).filter(|_| !answers.scoped)?;
    let all: BTreeSet<String> = builds.series.iter().map(|series| series.label("cluster").to_owned()).collect();
    let all: Vec<String> = all.into_iter().collect();
    (all.len() > 1).then(|| {
        warning(
            Cause::SeveralClusters,
            format!("the store holds metrics of {} clusters: {}", all.len(), names(&all)),
            "Give the connection a scope, such as {\"cluster\": \"<name>\"}.",
        )
    })
}

fn several_replicas(answers: &Answers) -> Option<Diagnosis> {
    let replicas = some(answers.replicas.as_ref()).filter(|answer| answer.series.len() > 1)?;
    let all: Vec<String> = replicas.series.iter().map(|series| series.label("prometheus_replica").to_owned()).collect();
    Some(warning(
        Cause::SeveralReplicas,
        format!("{} replicas write the same series, so rates are multiplied: {}", all.len(), names(&all)),
        "Deduplicate by the label prometheus_replica in the store, or give the connection a scope with one replica.",
    ))
}

/// A sidecar in a pod of the store that intercepts its scrapes. With an empty value of the annotation
/// `includeOutboundIPRanges` it does not. Source: istio.io, "Prometheus", TLS settings.
fn intercepted(mesh: &Mesh) -> Option<Diagnosis> {
    let intercepts = |pod: &&Value| {
        let annotations = &pod["metadata"]["annotations"];
        let of = |name: &str| annotations[format!("traffic.sidecar.istio.io/{name}")].as_str();
        let is_excluded = of("includeOutboundIPRanges") == Some("")
            || of("excludeOutboundIPRanges").is_some_and(|ranges| ranges.contains("0.0.0.0/0"))
            || of("excludeOutboundPorts").is_some_and(excludes_metrics);
        has_sidecar(*pod) && !is_excluded
    };
    let found = mesh.store_pods.iter().find(intercepts)?;
    let place = format!("Pod {}/{}", text(found, "namespace"), text(found, "name"));
    let message = format!(
        "{place} of the store has a sidecar that intercepts its scrapes, so they are counted as requests of the mesh"
    );
    let remedy = "Annotate the store's pods with traffic.sidecar.istio.io/includeOutboundIPRanges: \"\", or run them without a sidecar.";
    Some(Diagnosis { evidence: vec![place], ..warning(Cause::StoreIntercepted, message, remedy) })
}

/// Whether a list of ports, such as `15020,15090`, has one of a proxy's metrics.
fn excludes_metrics(ports: &str) -> bool {
    ports.split(',').any(|port| port.trim().parse().is_ok_and(|port| PROXY_METRICS.contains(&port)))
}

/// Rates need four scrapes in their window to survive one that fails.
fn short_window(answers: &Answers) -> Option<Diagnosis> {
    let interval = targets::scrape_interval_s(answers)?;
    let needed = interval * 4;
    (answers.window_s > 0 && answers.window_s < needed).then(|| {
        let message = format!(
            "Istio is scraped each {interval} s, so a window of {} s holds fewer than four scrapes and rates are inexact",
            answers.window_s
        );
        warning(Cause::WindowTooShort, message, &format!("Use a window of {needed} s or more, or scrape more often."))
    })
}

/// `rate` of Prometheus divides by the whole window, and extrapolates samples that begin within it by half a scrape interval
/// only. `VictoriaMetrics` divides by the time between the samples.
fn partial_window(answers: &Answers) -> Option<Diagnosis> {
    let begins_within = answers.window_start.as_ref().is_some_and(|answer| answer.series.is_empty());
    if !begins_within || is_empty(answers.builds.as_ref()) || answers.victoria_metrics {
        return None;
    }
    let message = format!(
        "the store has metrics of Istio for less than the window of {} s, so rates are too low",
        answers.window_s
    );
    Some(warning(
        Cause::WindowNotFull,
        message,
        "Wait until the store has samples of a whole window, or use a shorter one.",
    ))
}

fn failing_applications(answers: &Answers) -> Option<Diagnosis> {
    let pods = pods(some(answers.merge_failures.as_ref())?);
    Some(info(
        Cause::ApplicationMetricsFail,
        format!(
            "metrics merging cannot read the application's metrics of {}: {}",
            plural(pods.len(), "pod"),
            names(&pods)
        ),
        "Correct prometheus.io/port and prometheus.io/path of the pod template; metrics of the proxy are not affected.",
    ))
}

fn ambient_without_waypoint(mesh: &Mesh) -> Option<Diagnosis> {
    let spaces = &mesh.ambient_without_waypoint;
    (!spaces.is_empty()).then(|| {
        let message = format!("ambient namespaces without a waypoint have TCP metrics only: {}", names(spaces));
        info(Cause::AmbientWithoutWaypoint, message, "Deploy a waypoint to get HTTP metrics.")
    })
}

fn partial_answer(answers: &Answers) -> Option<Diagnosis> {
    let first = [&answers.builds, &answers.requests, &answers.tcp]
        .into_iter()
        .flatten()
        .find_map(|answer| answer.warnings.first())?;
    Some(warning(
        Cause::PartialAnswer,
        format!("the store answers with a warning: {first}"),
        "Check the store's components: some of them did not answer.",
    ))
}
