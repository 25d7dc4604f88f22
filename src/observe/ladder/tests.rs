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
    let target = json!({"labels": {"namespace": "shop", "pod": "web-1"}, "health": "up", "scrapeUrl": "http://10.0.0.2:15020/stats/prometheus", "scrapeInterval": "15s"});
    let answers = Answers {
        newest: Some(answer(&[&[]])),
        now: Some(1000.0),
        builds: Some(answer(&[&[("component", "pilot")], &[("component", "proxy")]])),
        requests: Some(answer(&[&[("reporter", "destination")]])),
        tcp: Some(answer(&[])),
        buckets: Some(answer(&[&[("reporter", "destination")]])),
        twice: Some(answer(&[])),
        targets: Some(vec![target]),
        duplicates: Some(answer(&[])),
        merge_failures: Some(answer(&[])),
        replicas: Some(answer(&[&[]])),
        window_start: Some(answer(&[&[("of", "window-start")]])),
        window_s: 120,
        ..Answers::default()
    };
    let pod = json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}]}});
    let store = json!({"metadata": {"namespace": "monitoring", "name": "p-0", "labels": {"app": "prometheus"}}, "spec": {"containers": [{"name": "prometheus"}]}});
    let mesh = Mesh {
        expected: vec!["shop/web-1".to_owned()],
        pods: vec![pod],
        store_pods: vec![store],
        root_namespaces: vec!["istio-system".to_owned()],
        ..Mesh::default()
    };
    (answers, mesh)
}

fn causes(answers: &Answers, mesh: &Mesh) -> (Rung, Vec<Cause>) {
    let (rung, found) = climb(answers, mesh);
    for one in &found {
        assert!(!one.message.is_empty() && !one.remedy.is_empty());
    }
    (rung, found.into_iter().map(|one| one.cause).collect())
}

#[test]
fn application_without_metrics_is_the_remedy_of_a_target_that_cannot_be_parsed() {
    for (error, part) in [
        (r#"strconv.ParseFloat: parsing "=v1": invalid syntax while parsing: "A=v1""#, "prometheus.io/path"),
        (
            r#"received unsupported Content-Type "text/html" and no fallback_scrape_protocol specified"#,
            "prometheus.io/path",
        ),
        ("connection refused", "does not run"),
    ] {
        let (mut answers, mesh) = healthy();
        answers.targets.as_mut().unwrap().push(down(15020, error));
        let (_, found) = climb(&answers, &mesh);
        assert_eq!((found.len(), found[0].cause), (1, Cause::TargetsDown), "{found:?}");
        assert!(found[0].remedy.contains(part), "{error}: {}", found[0].remedy);
    }
}

#[test]
fn a_healthy_mesh_has_no_finding() {
    let (answers, mesh) = healthy();
    assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
}

fn down(port: u16, error: &str) -> Value {
    json!({"labels": {"namespace": "shop", "pod": "web-1"}, "health": "down", "lastError": error, "scrapeUrl": format!("http://10.0.0.2:{port}/metrics")})
}

fn dropping(action: &str, regex: &str) -> Value {
    let rule = json!({"source_labels": ["__name__"], "action": action, "regex": regex});
    json!({"scrape_configs": [{"job_name": "pods", "metric_relabel_configs": [rule]}]})
}

/// Changes what is known of a healthy mesh.
type Fault = fn(&mut Answers, &mut Mesh);

/// Faults, each with its cause and the rung that is reached.
const FAULTS: &[(Cause, Rung, Fault)] = &[
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
    // The annotated port is one of the application: its target is up, but has no metrics of Istio.
    (Cause::WrongAnnotation, Rung::ScrapesIstio, |answers, mesh| {
        let mut target = answers.targets.as_ref().unwrap()[0].clone();
        target["labels"]["pod"] = json!("web-2");
        target["scrapeUrl"] = json!("http://10.0.0.3:8080/metrics");
        answers.targets.as_mut().unwrap().push(target);
        mesh.expected.push("shop/web-2".to_owned());
        mesh.wrong_annotation.push("shop/web-2".to_owned());
    }),
    (Cause::LimitExceeded, Rung::Fresh, |answers, _| {
        answers.builds = Some(answer(&[&[("component", "pilot")]]));
        answers.requests = Some(answer(&[]));
        answers.targets = Some(vec![down(15020, "sample limit exceeded")]);
    }),
    (Cause::MergingOff, Rung::Fresh, |answers, mesh| {
        answers.builds = Some(answer(&[&[("component", "pilot")]]));
        answers.requests = Some(answer(&[]));
        answers.targets = Some(vec![]);
        mesh.without_annotation.push("shop/web-1".to_owned());
    }),
    (Cause::RelabelingDrops, Rung::Complete, |answers, _| {
        answers.requests = Some(answer(&[]));
        answers.tcp = Some(answer(&[&[("reporter", "destination")]]));
        answers.configuration = Some(dropping("drop", "istio_requests_total"));
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
        answers.builds =
            Some(answer(&[&[("component", "pilot"), ("cluster", "a")], &[("component", "proxy"), ("cluster", "b")]]));
    }),
    (Cause::PartialAnswer, Rung::Complete, |answers, _| {
        answers.builds.as_mut().unwrap().warnings.push("one store is down".to_owned());
    }),
    (Cause::TelemetryRemovesMetrics, Rung::Correct, |_, mesh| {
        mesh.telemetries = vec![
            json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {"metrics": [{"overrides": [{"disabled": true}]}]}}),
        ];
    }),
    (Cause::TelemetryRemovesMetrics, Rung::Complete, |answers, mesh| {
        answers.requests = Some(answer(&[]));
        answers.buckets = Some(answer(&[]));
        mesh.telemetries = vec![
            json!({"metadata": {"namespace": "a", "name": "b"}, "spec": {"metrics": [{"overrides": [{"disabled": true}]}]}}),
        ];
    }),
    (Cause::OtherStore, Rung::Fresh, |answers, mesh| {
        answers.builds = Some(answer(&[]));
        answers.requests = Some(answer(&[]));
        answers.targets = Some(vec![]);
        mesh.other_stores.push("Service monitoring/prometheus:9090".to_owned());
    }),
    (Cause::PodsForbidden, Rung::ScrapesIstio, |_, mesh| {
        mesh.expected.push("bank/web-1".to_owned());
        mesh.forbidden_namespaces.push("bank".to_owned());
    }),
    (Cause::NetworkPolicy, Rung::ScrapesIstio, |answers, mesh| {
        answers.targets.as_mut().unwrap().push(down(15020, "context deadline exceeded"));
        mesh.network_policies = vec![
            json!({"metadata": {"namespace": "shop", "name": "closed"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}}),
        ];
    }),
    (Cause::TargetsDown, Rung::ScrapesIstio, |answers, _| {
        answers.targets.as_mut().unwrap().push(down(15090, "connection refused"));
    }),
    (Cause::StrictMtls, Rung::ScrapesIstio, |answers, mesh| {
        answers.targets.as_mut().unwrap().push(down(8080, "read: connection reset by peer"));
        mesh.peer_authentications = vec![
            json!({"metadata": {"namespace": "istio-system", "name": "default"}, "spec": {"mtls": {"mode": "STRICT"}}}),
        ];
    }),
    (Cause::LimitExceeded, Rung::ScrapesIstio, |answers, _| {
        answers.targets.as_mut().unwrap().push(down(15020, "sample limit exceeded"));
    }),
    (Cause::StoreIntercepted, Rung::Complete, |_, mesh| {
        mesh.store_pods[0]["spec"]["containers"] = json!([{"name": "istio-proxy", "image": "proxyv2"}]);
    }),
    (Cause::NativeSidecarsNotSeen, Rung::ScrapesIstio, |answers, mesh| {
        answers.victoria_metrics = true;
        mesh.expected.push("shop/api-1".to_owned());
        mesh.pods.push(
                json!({"metadata": {"namespace": "shop", "name": "api-1"}, "spec": {"initContainers": [{"name": "istio-proxy"}]}}),
            );
    }),
    (Cause::DuplicateSamples, Rung::Complete, |answers, _| answers.duplicates = Some(answer(&[&[]]))),
    (Cause::ApplicationMetricsFail, Rung::Correct, |answers, _| {
        answers.merge_failures = Some(answer(&[&[("namespace", "shop"), ("pod", "web-1")]]));
    }),
    (Cause::WindowTooShort, Rung::Complete, |answers, _| {
        answers.targets.as_mut().unwrap()[0]["scrapeInterval"] = json!("1m");
    }),
    (Cause::WindowNotFull, Rung::Complete, |answers, _| answers.window_start = Some(answer(&[]))),
    (Cause::SeveralReplicas, Rung::Complete, |answers, _| {
        answers.replicas = Some(answer(&[&[("prometheus_replica", "a")], &[("prometheus_replica", "b")]]));
    }),
    (Cause::RelabelingDrops, Rung::Complete, |answers, _| {
        answers.requests = Some(answer(&[]));
        answers.buckets = Some(answer(&[]));
        answers.configuration = Some(dropping("drop", "istio_.*"));
    }),
    (Cause::RelabelingDrops, Rung::Complete, |answers, _| {
        answers.requests = Some(answer(&[&[]]));
        answers.configuration = Some(dropping("labeldrop", "reporter"));
    }),
    (Cause::AmbientWithoutWaypoint, Rung::Correct, |_, mesh| mesh.ambient_without_waypoint.push("amb".to_owned())),
];

/// Each fault alone gives its cause and no other.
#[test]
fn single_faults_are_named() {
    for (cause, rung, fault) in FAULTS {
        let (mut answers, mut mesh) = healthy();
        fault(&mut answers, &mut mesh);
        assert_eq!(causes(&answers, &mesh), (*rung, vec![*cause]));
    }
}

/// Of two faults in a mesh that is scraped, one may hide the other: without requests no label is missing.
#[test]
fn most_pairs_of_causes_are_both_named() {
    let is_fault = |(cause, rung, _): &&(Cause, Rung, Fault)| *rung >= Rung::ScrapesIstio && *cause != Cause::NoTraffic;
    let faults: Vec<_> = FAULTS.iter().filter(is_fault).collect();
    let (mut both, mut pairs, mut hidden) = (0, 0, Vec::new());
    for (index, (first, _, one)) in faults.iter().enumerate() {
        for (second, _, other) in faults[index + 1..].iter().filter(|(second, ..)| second != first) {
            let (mut answers, mut mesh) = healthy();
            one(&mut answers, &mut mesh);
            other(&mut answers, &mut mesh);
            let (_, named) = causes(&answers, &mesh);
            pairs += 1;
            if named.contains(first) && named.contains(second) {
                both += 1;
            } else {
                hidden.push((*first, *second));
            }
        }
    }
    println!("{both} of {pairs} pairs of faults: both are named; hidden: {hidden:?}");
    assert!(pairs > 200 && both * 10 >= pairs * 9, "{both} of {pairs}: {hidden:?}");
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
        monitors::refusal(&json!({"metadata": {"namespace": "m"}, "spec": spec}), &monitor, spaces).is_some()
    };
    let namespace = [json!({"metadata": {"name": "a", "labels": {"watch": "yes"}}})];
    assert!(refuses(json!({}), &[]), "no selector selects nothing");
    assert!(refuses(json!({"podMonitorSelector": {}}), &[]), "no namespace selector means its own namespace");
    assert!(!refuses(json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}}), &[]));
    let select = |labels: Value| json!({"podMonitorSelector": {"matchLabels": {"release": "k"}}, "podMonitorNamespaceSelector": {"matchLabels": labels}});
    assert!(!refuses(select(json!({"watch": "yes"})), &namespace));
    assert!(refuses(select(json!({"watch": "no"})), &namespace));
}

/// What keeps a store's own sidecar out of its scrapes is no fault.
#[test]
fn a_sidecar_of_the_store_that_leaves_scrapes_alone_is_no_finding() {
    for annotation in [
        json!({"traffic.sidecar.istio.io/includeOutboundIPRanges": ""}),
        json!({"traffic.sidecar.istio.io/excludeOutboundIPRanges": "0.0.0.0/0"}),
        json!({"traffic.sidecar.istio.io/excludeOutboundPorts": "15090,15020"}),
    ] {
        let (answers, mut mesh) = healthy();
        mesh.store_pods[0]["spec"]["containers"] = json!([{"name": "istio-proxy", "image": "proxyv2"}]);
        mesh.store_pods[0]["metadata"]["annotations"] = annotation;
        assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
    }
}

/// `scrape.apply` would not help.
#[test]
fn cluster_without_a_mesh_is_named_as_such() {
    let (mut answers, _) = healthy();
    (answers.builds, answers.requests, answers.targets) = (Some(answer(&[])), Some(answer(&[])), Some(vec![]));
    let (_, found) = climb(&answers, &Mesh::default());
    assert!(found.len() == 1 && found[0].message.contains("neither istiod nor a pod"), "{found:?}");
    assert!(!found[0].remedy.contains("scrape.apply"), "{found:?}");
}

/// A store whose account may list no pods at all: the missing rights are named too.
#[test]
fn missing_rights_are_named_beside_a_store_without_istio() {
    let (mut answers, mut mesh) = healthy();
    (answers.builds, answers.requests, answers.targets) = (Some(answer(&[])), Some(answer(&[])), Some(vec![]));
    mesh.forbidden_namespaces.push("shop".to_owned());
    let wanted = vec![Cause::NothingScrapesIstio, Cause::PodsForbidden];
    assert_eq!(causes(&answers, &mesh), (Rung::Fresh, wanted));
}

/// Faults that leave each other visible are both named.
#[test]
fn selected_pairs_of_causes_are_both_named() {
    let (mut answers, mut mesh) = healthy();
    mesh.expected.extend(["bank/web-1".to_owned(), "shop/web-2".to_owned()]);
    mesh.forbidden_namespaces.push("bank".to_owned());
    mesh.wrong_annotation.push("shop/web-2".to_owned());
    answers.duplicates = Some(answer(&[&[]]));
    answers.targets.as_mut().unwrap().push(down(15090, "body size limit exceeded"));
    let (_, found) = causes(&answers, &mesh);
    let wanted = [Cause::LimitExceeded, Cause::PodsForbidden, Cause::WrongAnnotation, Cause::DuplicateSamples];
    assert_eq!(found, wanted);
}

/// A store of the Operator without any target, beside an idle one that selects everything.
fn operated(spec: &Value) -> (Answers, Mesh) {
    let (mut answers, mut mesh) = healthy();
    answers.newest = Some(answer(&[]));
    (answers.builds, answers.requests) = (Some(answer(&[])), Some(answer(&[])));
    answers.targets = Some(vec![]);
    let labels = json!({"operator.prometheus.io/name": "k8s"});
    mesh.store_pods =
        vec![json!({"metadata": {"namespace": "monitoring", "name": "prometheus-k8s-0", "labels": labels}})];
    let object =
        |name: &str, spec: &Value| json!({"metadata": {"namespace": "monitoring", "name": name}, "spec": spec});
    let everything = json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}});
    mesh.operator_prometheuses = vec![object("k8s", spec), object("other", &everything)];
    (answers, mesh)
}

#[test]
fn store_without_targets_is_explained_by_the_selectors_of_its_own_prometheus_object() {
    let (answers, mut mesh) = operated(&json!({"podMonitorSelector": {"matchLabels": {"release": "kps"}}}));
    assert_eq!(causes(&answers, &mesh), (Rung::Prometheus, vec![Cause::NothingScrapesIstio]));
    let monitor = json!({"kind": "PodMonitor", "metadata": {"namespace": "monitoring", "name": "envoy"},
        "spec": {"podMetricsEndpoints": [{"port": "http-envoy-prom"}]}});
    mesh.monitors = vec![monitor];
    let (_, found) = climb(&answers, &mesh);
    assert_eq!(found[0].cause, Cause::MonitorNotSelected, "the other object selects it: {found:?}");
    assert!(found[0].message.contains("Prometheus monitoring/k8s") && !found[0].message.contains("other"), "{found:?}");
}

/// A monitor for proxies in the namespace `monitoring`.
fn for_proxies(namespace_selector: &Value) -> Value {
    json!({"kind": "PodMonitor", "metadata": {"namespace": "monitoring", "name": "envoy"}, "spec": {
        "namespaceSelector": namespace_selector, "podMetricsEndpoints": [{"port": "http-envoy-prom"}]}})
}

/// Namespaces as `getNamespacesFromNamespaceSelector` of the Operator computes them.
#[test]
fn store_without_targets_is_explained_by_the_namespaces_that_its_monitor_covers() {
    let selecting = json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}});
    let ignoring = json!({"podMonitorSelector": {}, "ignoreNamespaceSelectors": true});
    for (spec, selector, reason) in [
        (&selecting, json!(null), Some("namespaceSelector of PodMonitor monitoring/envoy")),
        (&selecting, json!({"matchNames": ["bank"]}), Some("namespaceSelector of PodMonitor monitoring/envoy")),
        (&selecting, json!({"matchNames": ["bank", "shop"]}), None),
        (&selecting, json!({"any": true}), None),
        (&ignoring, json!({"any": true}), Some("Prometheus monitoring/k8s has `ignoreNamespaceSelectors: true`")),
        (&ignoring, json!({"matchNames": ["shop"]}), Some("`ignoreNamespaceSelectors: true`")),
    ] {
        let (answers, mut mesh) = operated(spec);
        mesh.monitors = vec![for_proxies(&selector)];
        let (rung, found) = climb(&answers, &mesh);
        assert_eq!((rung, found.len()), (Rung::Prometheus, 1), "{found:?}");
        let cause = if reason.is_some() { Cause::NamespaceNotCovered } else { Cause::NothingScrapesIstio };
        assert_eq!(found[0].cause, cause, "{spec} {selector}: {found:?}");
        assert!(found[0].message.contains(reason.unwrap_or_default()), "{found:?}");
    }
    let (answers, mut mesh) = operated(&ignoring);
    mesh.monitors = vec![for_proxies(&json!({"any": true}))];
    mesh.monitors[0]["metadata"]["namespace"] = json!("shop");
    let (_, found) = climb(&answers, &mesh);
    assert_eq!(found[0].cause, Cause::MonitorNotSelected, "it is not in the namespace of the Prometheus object");
}

#[test]
fn pods_outside_of_the_namespaces_of_the_monitors_are_named_with_the_field() {
    let (mut answers, mut mesh) = healthy();
    let spec = json!({"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}, "ignoreNamespaceSelectors": true});
    mesh.operator_prometheuses = vec![json!({"metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec})];
    mesh.monitors = vec![for_proxies(&json!({"any": true}))];
    mesh.monitors[0]["metadata"]["namespace"] = json!("shop");
    mesh.expected.extend(["bank/api-1".to_owned(), "shop/web-2".to_owned()]);
    mesh.without_annotation.push("bank/api-1".to_owned());
    let (rung, found) = climb(&answers, &mesh);
    let named: Vec<_> = found.iter().map(|one| one.cause).collect();
    assert_eq!((rung, named), (Rung::ScrapesIstio, vec![Cause::NamespaceNotCovered, Cause::TargetsMissing]));
    assert!(found[0].message.contains("ignoreNamespaceSelectors") && found[0].message.ends_with(": bank/api-1"));
    mesh.operator_prometheuses[0]["spec"]["ignoreNamespaceSelectors"] = json!(false);
    answers.targets.as_mut().unwrap().clear();
    answers.pods_seen = vec!["shop/web-1".to_owned(), "bank/api-1".to_owned(), "shop/web-2".to_owned()];
    assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
}

/// A store without targets, such as Thanos, shows pods by the labels of their series.
#[test]
fn enforced_namespace_label_is_named_for_pods_that_seem_to_be_missing() {
    let (mut answers, mut mesh) = healthy();
    answers.targets = None;
    answers.pods_seen = vec!["monitoring/web-1".to_owned()];
    let excluded = json!([{"resource": "podmonitors", "namespace": "monitoring", "name": "envoy"}]);
    let spec = json!({"podMonitorSelector": {}, "enforcedNamespaceLabel": "namespace"});
    mesh.operator_prometheuses = vec![json!({"metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec})];
    mesh.monitors = vec![for_proxies(&json!({"any": true}))];
    let (rung, found) = climb(&answers, &mesh);
    assert_eq!((rung, found.len(), found[0].cause), (Rung::ScrapesIstio, 1, Cause::RelabelingDrops), "{found:?}");
    assert!(found[0].message.contains("`enforcedNamespaceLabel: namespace`"), "{found:?}");
    mesh.operator_prometheuses[0]["spec"]["excludedFromEnforcement"] = excluded;
    assert_eq!(causes(&answers, &mesh), (Rung::ScrapesIstio, vec![Cause::TargetsMissing]));
}

#[test]
fn pods_of_one_name_in_several_namespaces_are_not_scraped_twice() {
    let (mut answers, mut mesh) = healthy();
    let spec = json!({"podMonitorSelector": {}, "enforcedNamespaceLabel": "namespace"});
    mesh.operator_prometheuses = vec![json!({"metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec})];
    mesh.monitors = vec![for_proxies(&json!({"any": true}))];
    answers.twice = Some(answer(&[&[("namespace", "monitoring"), ("pod", "web-1")]]));
    let target = |space: &str, pool: &str| {
        let discovered = json!({"__meta_kubernetes_namespace": space, "__meta_kubernetes_pod_name": "web-1"});
        json!({"labels": {"namespace": "monitoring", "pod": "web-1"}, "discoveredLabels": discovered, "health": "up",
            "scrapePool": pool, "scrapeUrl": "http://10.0.0.2:15090/stats/prometheus", "scrapeInterval": "15s"})
    };
    answers.targets = Some(vec![target("shop", "a"), target("bank", "a")]);
    assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
    answers.targets.as_mut().unwrap().push(target("bank", "b"));
    assert_eq!(causes(&answers, &mesh), (Rung::Complete, vec![Cause::ScrapedTwice]));
}

#[test]
fn store_without_targets_of_a_scope_is_stale_and_not_unscraped() {
    let (mut answers, mesh) = operated(&json!({}));
    answers.scoped = true;
    let (rung, found) = climb(&answers, &mesh);
    assert_eq!((rung, found[0].cause), (Rung::Prometheus, Cause::Stale));
    assert!(found[0].message.contains("scope labels"), "{found:?}");
}

#[test]
fn target_stands_for_the_pod_that_was_discovered_and_not_for_a_relabeled_one() {
    let (mut answers, mesh) = healthy();
    let discovered = json!({"__meta_kubernetes_namespace": "shop", "__meta_kubernetes_pod_name": "web-1"});
    answers.targets.as_mut().unwrap()[0]["discoveredLabels"] = discovered;
    answers.targets.as_mut().unwrap()[0]["labels"]["namespace"] = json!("monitoring");
    assert_eq!(causes(&answers, &mesh), (Rung::Correct, vec![]));
}

#[test]
fn server_that_is_not_ready_does_not_answer() {
    let body = "Service Unavailable".to_owned();
    let trouble = super::super::envelope::data(&super::super::envelope::Answer { status: 503, body }).unwrap_err();
    let (rung, finding) = unusable(&trouble);
    assert_eq!((rung, finding.cause), (Rung::Reachable, Cause::NoAnswer), "{finding:?}");
    assert_eq!(finding.message, "the server is not ready (HTTP 503): Service Unavailable");
}
