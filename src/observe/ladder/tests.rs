use serde_json::{Value, json};

use super::super::envelope::{QueryAnswer, Series};
use super::*;

fn answer(series: &[&[(&str, &str)]]) -> QueryAnswer {
    let series = series.iter().map(|labels| Series {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        samples: vec![(1000.0, 990.0)],
    });
    QueryAnswer { series: series.collect(), warnings: Vec::new() }
}

/// A store that scrapes all of a healthy sidecar mesh.
fn healthy() -> (Answers, Mesh) {
    let target = json!({"labels": {"namespace": "shop", "pod": "web-1"}, "health": "up", "scrapeUrl": "http://10.0.0.2:15020/stats/prometheus"});
    let answers = Answers {
        newest: Some(answer(&[&[]])),
        now: Some(1000.0),
        builds: Some(answer(&[&[("component", "pilot")], &[("component", "proxy")]])),
        requests: Some(answer(&[&[("reporter", "destination")]])),
        tcp: Some(answer(&[])),
        buckets: Some(answer(&[&[("reporter", "destination")]])),
        twice: Some(answer(&[])),
        clusters: Some(answer(&[&[]])),
        targets: Some(vec![target]),
        pods_seen: Vec::new(),
        scoped: false,
    };
    (answers, Mesh { expected: vec!["shop/web-1".to_owned()], ..Mesh::default() })
}

fn causes(answers: &Answers, mesh: &Mesh) -> (Rung, Vec<Cause>) {
    let (rung, found) = climb(answers, mesh);
    for one in &found {
        assert!(!one.message.is_empty() && !one.remedy.is_empty());
    }
    (rung, found.into_iter().map(|one| one.cause).collect())
}

#[test]
fn a_healthy_mesh_has_no_finding() {
    let (answers, mesh) = healthy();
    assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
}

/// Each fault alone gives its cause and no other.
#[test]
fn single_faults_are_named() {
    type Fault = fn(&mut Answers, &mut Mesh);
    let faults: &[(Cause, Rung, Fault)] = &[
        (Cause::Stale, Rung::Prometheus, |answers, _| answers.now = Some(99_999.0)),
        (Cause::Stale, Rung::Prometheus, |answers, _| answers.newest = Some(answer(&[]))),
        (Cause::NothingScrapesIstio, Rung::Fresh, |answers, _| {
            answers.builds = Some(answer(&[]));
            answers.requests = Some(answer(&[]));
            answers.targets = Some(vec![]);
        }),
        (Cause::ProxiesNotScraped, Rung::Fresh, |answers, _| {
            answers.builds = Some(answer(&[&[("component", "pilot")]]));
            answers.requests = Some(answer(&[]));
            answers.targets = Some(vec![]);
        }),
        (Cause::MonitorNotSelected, Rung::Fresh, |answers, mesh| {
            answers.builds = Some(answer(&[]));
            answers.requests = Some(answer(&[]));
            answers.targets = Some(vec![]);
            mesh.monitors = vec![
                json!({"kind": "PodMonitor", "metadata": {"namespace": "istio-system", "name": "envoy-stats-monitor", "labels": {}}, "spec": {"podMetricsEndpoints": [{"path": "/stats/prometheus", "targetPort": 15020}]}}),
            ];
            mesh.operator_prometheuses = vec![
                json!({"metadata": {"namespace": "m", "name": "k"}, "spec": {"podMonitorSelector": {"matchLabels": {"release": "k"}}, "podMonitorNamespaceSelector": {}}}),
            ];
        }),
        (Cause::TargetsMissing, Rung::ScrapesIstio, |_, mesh| mesh.expected.push("shop/web-2".to_owned())),
        (Cause::WrongAnnotation, Rung::ScrapesIstio, |_, mesh| {
            mesh.expected.push("shop/web-2".to_owned());
            mesh.wrong_annotation.push("shop/web-2".to_owned());
        }),
        (Cause::MergingOff, Rung::ScrapesIstio, |_, mesh| {
            mesh.expected.push("shop/web-2".to_owned());
            mesh.without_annotation.push("shop/web-2".to_owned());
        }),
        (Cause::NoTraffic, Rung::Correct, |answers, _| {
            answers.requests = Some(answer(&[]));
            answers.buckets = Some(answer(&[]));
        }),
        (Cause::BucketsDropped, Rung::Complete, |answers, _| answers.buckets = Some(answer(&[]))),
        (Cause::ScrapedTwice, Rung::Complete, |answers, _| {
            answers.twice = Some(answer(&[&[("namespace", "shop"), ("pod", "web-1")]]));
        }),
        (Cause::SeveralClusters, Rung::Complete, |answers, _| {
            answers.clusters = Some(answer(&[&[("cluster", "a")], &[("cluster", "b")]]));
        }),
        (Cause::PartialAnswer, Rung::Complete, |answers, _| {
            answers.builds.as_mut().unwrap().warnings.push("one store is down".to_owned());
        }),
        (Cause::TelemetryRemovesMetrics, Rung::Correct, |_, mesh| {
            mesh.telemetries = vec![
                json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {"metrics": [{"overrides": [{"disabled": true}]}]}}),
            ];
        }),
        (Cause::AmbientWithoutWaypoint, Rung::Correct, |_, mesh| mesh.ambient_without_waypoint.push("amb".to_owned())),
    ];
    for (cause, rung, fault) in faults {
        let (mut answers, mut mesh) = healthy();
        fault(&mut answers, &mut mesh);
        assert_eq!(causes(&answers, &mesh), (*rung, vec![*cause]));
    }
}

#[test]
fn a_failing_target_is_named_with_its_error() {
    let (mut answers, mesh) = healthy();
    let down = json!({"labels": {"namespace": "shop", "pod": "web-1"}, "health": "down", "lastError": "context deadline exceeded", "scrapeUrl": "http://10.0.0.2:15020/stats/prometheus"});
    answers.targets = Some(vec![down]);
    let (_, found) = climb(&answers, &mesh);
    assert!(
        found.iter().any(|one| one.cause == Cause::TargetsDown && one.message.contains("deadline exceeded")),
        "{found:?}"
    );
}

#[test]
fn selectors_are_those_of_the_operator() {
    let monitor = json!({"metadata": {"namespace": "a", "labels": {"release": "k"}}});
    let refuses = |spec: Value, spaces: &[Value]| {
        refusal(&json!({"metadata": {"namespace": "m"}, "spec": spec}), &monitor, "podMonitor", spaces).is_some()
    };
    let namespace = [json!({"metadata": {"name": "a", "labels": {"watch": "yes"}}})];
    assert!(refuses(json!({}), &[]), "no selector selects nothing");
    assert!(refuses(json!({"podMonitorSelector": {}}), &[]), "no namespace selector means its own namespace");
    assert!(!refuses(json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}}), &[]));
    let select = |labels: Value| json!({"podMonitorSelector": {"matchLabels": {"release": "k"}}, "podMonitorNamespaceSelector": {"matchLabels": labels}});
    assert!(!refuses(select(json!({"watch": "yes"})), &namespace));
    assert!(refuses(select(json!({"watch": "no"})), &namespace));
}
