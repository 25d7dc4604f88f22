//! Proxies without a target, and targets that fail, each with what the cluster's objects explain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Answers, Cause, Diagnosis, Mesh, NAMES, Severity, coverage, mutual_tls, names, network_policy, warning};
use crate::analysis::istio::pod::{is_proxy_container, proxy_containers};
use crate::analysis::istio::port::{CONTROL_PLANE_METRICS, ENVOY_METRICS, MERGED_METRICS, is_metrics};
use crate::observe::envelope::cut;
use crate::observe::scrape::{PORT_ANNOTATION, port_of};
use crate::prose::{agree, plural};

/// A target that fails.
struct Down {
    /// `namespace/name`.
    pod: String,
    port: u16,
    error: String,
}

/// Proxies that are not scraped: targets that fail, and pods without a target.
pub(super) fn incomplete(answers: &Answers, mesh: &Mesh) -> (Vec<Diagnosis>, Vec<Diagnosis>) {
    let (down, missing) = unseen(answers, mesh);
    (failing(&down, mesh), unscraped(&missing, answers, mesh))
}

/// Failing targets, and pods that no target covers.
fn unseen<'a>(answers: &Answers, mesh: &'a Mesh) -> (Vec<Down>, Vec<&'a String>) {
    let (up, down) = seen(answers, mesh);
    let known: BTreeSet<&str> = up.iter().map(String::as_str).chain(down.iter().map(|one| &*one.pod)).collect();
    let missing = mesh.expected.iter().filter(|pod| !known.contains(pod.as_str())).collect();
    (down, missing)
}

/// Namespaces of pods without a target: those whose rights are worth asking for.
#[must_use]
pub fn namespaces_without_targets(answers: &Answers, mesh: &Mesh) -> Vec<String> {
    let (_, missing) = unseen(answers, mesh);
    let spaces: BTreeSet<&str> = missing.into_iter().filter_map(|pod| Some(pod.split_once('/')?.0)).collect();
    spaces.into_iter().map(str::to_owned).collect()
}

/// Longest scrape interval of Istio's targets, seconds.
pub(super) fn scrape_interval_s(answers: &Answers) -> Option<u64> {
    let of_istio = |target: &&Value| port(target).is_some_and(is_metrics);
    let intervals = answers.targets.as_ref()?.iter().filter(of_istio).filter_map(|target| {
        humantime::parse_duration(target["scrapeInterval"].as_str()?).ok().map(|interval| interval.as_secs())
    });
    intervals.max()
}

fn port(target: &Value) -> Option<u16> {
    port_of(target["scrapeUrl"].as_str()?)
}

/// Whether two jobs scrape one pod with this name, by the labels that the store has discovered.
pub(super) fn has_two_jobs(name: &str, answers: &Answers) -> bool {
    let mut jobs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for target in answers.targets.iter().flatten().filter(|target| target["health"] == "up") {
        let discovered = &target["discoveredLabels"];
        if discovered["__meta_kubernetes_pod_name"] == name {
            let space = discovered["__meta_kubernetes_namespace"].as_str().unwrap_or_default();
            jobs.entry(space).or_default().insert(target["scrapePool"].as_str().unwrap_or_default());
        }
    }
    jobs.values().any(|jobs| jobs.len() > 1)
}

/// Pods with a target that is up, and failing targets of Istio or of the mesh's pods that are explained here.
fn seen(answers: &Answers, mesh: &Mesh) -> (Vec<String>, Vec<Down>) {
    let Some(targets) = &answers.targets else { return (answers.pods_seen.clone(), Vec::new()) };
    let mut up = answers.pods_seen.clone();
    let mut down = Vec::new();
    for target in targets {
        let labels = &target["labels"];
        let discovered = &target["discoveredLabels"];
        // Labels of the target may be relabeled: enforcedNamespaceLabel of the Operator sets the monitor's namespace.
        let pod = discovered["__meta_kubernetes_pod_name"].as_str().or_else(|| labels["pod"].as_str());
        let space = discovered["__meta_kubernetes_namespace"].as_str().or_else(|| labels["namespace"].as_str());
        let (Some(pod), Some(space), Some(port)) = (pod, space, port(target)) else { continue };
        let pod = format!("{space}/{pod}");
        if target["health"] == "up" {
            if is_of_proxy(port, &pod, mesh) {
                up.push(pod);
            }
        } else if target["health"] == "down" {
            let error = cut(target["lastError"].as_str().unwrap_or_default(), 200);
            let one = Down { pod, port, error };
            if is_metrics(port) || is_over_limit(&one) || refuses_plaintext(&one, mesh) {
                down.push(one);
            }
        }
    }
    (up, down)
}

/// Whether the proxy serves its metrics at this port: the application's port shows nothing of Istio, although its target is
/// up.
fn is_of_proxy(port: u16, pod: &str, mesh: &Mesh) -> bool {
    let declares = |pod: &Value| {
        let ports = proxy_containers(pod).flat_map(|one| one["ports"].as_array().into_iter().flatten());
        ports.into_iter().any(|one| one["containerPort"] == port)
    };
    is_metrics(port) || pod_named(pod, mesh).is_some_and(declares)
}

fn is_over_limit(one: &Down) -> bool {
    one.error.contains("limit exceeded") || one.error.contains("limit_exceeded")
}

/// Whether the port answers with something else than metrics. Source: prometheus/prometheus `model/textparse` and
/// `scrape/scrape.go`.
fn has_no_metrics(one: &Down) -> bool {
    ["while parsing", "is not a valid start token", "Content-Type"].iter().any(|text| one.error.contains(text))
}

/// An application's port for which STRICT mTLS applies, with an error as a sidecar gives it to plaintext.
fn refuses_plaintext(one: &Down, mesh: &Mesh) -> bool {
    let errors = ["EOF", "connection reset", "HTTP response to HTTPS client", "malformed HTTP response"];
    !is_metrics(one.port)
        && errors.iter().any(|text| one.error.contains(text))
        && pod_of(one, mesh).is_some_and(|pod| mutual_tls::is_strict(pod, one.port, mesh))
}

fn pod_of<'a>(one: &Down, mesh: &'a Mesh) -> Option<&'a Value> {
    pod_named(&one.pod, mesh)
}

fn pod_named<'a>(place: &str, mesh: &'a Mesh) -> Option<&'a Value> {
    let (space, name) = place.split_once('/')?;
    mesh.pods.iter().find(|pod| pod["metadata"]["namespace"] == space && pod["metadata"]["name"] == name)
}

/// The policy that keeps the store from the target, if the error is one of the network.
fn blocking_policy(one: &Down, mesh: &Mesh) -> Option<String> {
    let errors = ["deadline exceeded", "timeout", "timed out", "connection refused", "no route to host"];
    if !errors.iter().any(|text| one.error.contains(text)) {
        return None;
    }
    network_policy::blocking(pod_of(one, mesh)?, one.port, mesh)
}

fn failing(down: &[Down], mesh: &Mesh) -> Vec<Diagnosis> {
    let mut limits = Vec::new();
    let mut strict = Vec::new();
    let mut blocked = Vec::new();
    let mut policies = Vec::new();
    let mut others = Vec::new();
    let mut remedy = "Read the target's error: a timeout points at a firewall or an overloaded pod, a refused connection at a proxy that does not run.";
    for one in down {
        let line = format!("{}:{}: {}", one.pod, one.port, one.error);
        if is_over_limit(one) {
            limits.push(line);
        } else if refuses_plaintext(one, mesh) {
            strict.push(line);
        } else if let Some(policy) = blocking_policy(one, mesh) {
            blocked.push(line);
            policies.push(policy);
        } else {
            if has_no_metrics(one) {
                remedy = "The proxy adds the metrics of the application to its own, and the application answers with something else. Correct prometheus.io/port and prometheus.io/path of the pod template, or remove prometheus.io/scrape from it.";
            }
            others.push(line);
        }
    }
    policies.sort();
    policies.dedup();
    let about = |cause: Cause, all: Vec<String>, what: (&str, &str), remedy: &str| {
        (!all.is_empty()).then(|| Diagnosis {
            cause,
            severity: Severity::Warning,
            message: format!("{} {}: {}", plural(all.len(), "target"), agree(all.len(), what.0, what.1), names(&all)),
            evidence: all.into_iter().take(NAMES).collect(),
            remedy: remedy.to_owned(),
        })
    };
    let by_policy = format!("unreachable, because no ingress rule of {} admits the store", names(&policies));
    let by_policy = [format!("is {by_policy}"), format!("are {by_policy}")];
    [
        about(Cause::LimitExceeded, limits, ("exceeds a limit of its scrape job, so none of its samples is stored", "exceed a limit of their scrape job, so none of their samples is stored"), "Raise the limit in the scrape job, the monitor or the Prometheus object's enforced limits; or reduce series with a Telemetry override or sidecar.istio.io/statsEvictionInterval."),
        about(Cause::StrictMtls, strict, ("is a port of an application for which STRICT mTLS applies", "are ports of applications for which STRICT mTLS applies"), &format!("Scrape port {MERGED_METRICS} with metrics merging, or set PERMISSIVE for this port (portLevelMtls), or give the store a certificate of the mesh (OUTPUT_CERTS).")),
        about(Cause::NetworkPolicy, blocked, (&by_policy[0], &by_policy[1]), &format!("Add an ingress rule that admits the store's namespace to ports {MERGED_METRICS}, {ENVOY_METRICS} and {CONTROL_PLANE_METRICS}.")),
        about(Cause::TargetsDown, others, ("of Istio fails", "of Istio fail"), remedy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Pods that no target covers, by cause; a pod has the first cause that explains it.
fn unscraped(missing: &[&String], answers: &Answers, mesh: &Mesh) -> Vec<Diagnosis> {
    let total = mesh.expected.len();
    let mut rest: Vec<String> = missing.iter().map(|pod| (*pod).clone()).collect();
    let mut take = |explains: &dyn Fn(&String) -> bool| -> Vec<String> {
        let (taken, left) = std::mem::take(&mut rest).into_iter().partition(|pod| explains(pod));
        rest = left;
        taken
    };
    let forbidden = take(&|pod| {
        pod.split_once('/').is_some_and(|(space, _)| mesh.forbidden_namespaces.iter().any(|one| one == space))
    });
    let native = take(&|pod| answers.victoria_metrics && is_native(pod, mesh));
    let uncovered = coverage::uncovered(missing.iter().copied(), mesh);
    let uncovered = take(&|pod| uncovered.contains(pod));
    let replacing = if answers.targets.is_none() { coverage::replacing_namespaces(mesh) } else { Vec::new() };
    let replaced = take(&|pod| {
        let name = pod.split_once('/').map_or("", |(_, name)| name);
        replacing.iter().any(|space| answers.pods_seen.contains(&format!("{space}/{name}")))
    });
    let wrong = take(&|pod| mesh.wrong_annotation.contains(pod));
    let without = take(&|pod| mesh.without_annotation.contains(pod));
    let about = |cause: Cause, pods: Vec<String>, message: &dyn Fn(&str, usize) -> String, remedy: &str| {
        (!pods.is_empty()).then(|| {
            let message = message(&plural(pods.len(), "pod"), pods.len());
            let found = warning(cause, format!("{message}: {}", names(&pods)), remedy);
            Diagnosis { evidence: pods.iter().take(NAMES).map(|pod| format!("Pod {pod}")).collect(), ..found }
        })
    };
    [
        about(Cause::PodsForbidden, forbidden, &|pods, _| format!("the store's service account may not list pods in the namespaces of {pods} without a target"), "Give it a Role with get, list and watch on pods there, and a RoleBinding; kube-prometheus has one for each namespace."),
        about(Cause::NativeSidecarsNotSeen, native, &|pods, count| format!("{pods} {} the proxy as a native sidecar, whose ports this VictoriaMetrics does not discover", agree(count, "has", "have")), "Update vmagent or VictoriaMetrics to a version that discovers ports of init containers (VictoriaMetrics#7287)."),
        coverage::not_covered(&uncovered, Severity::Warning, mesh),
        coverage::replaced(&replaced, mesh),
        about(Cause::WrongAnnotation, wrong, &|pods, count| format!("{pods} with a proxy {} a {PORT_ANNOTATION} that is not {MERGED_METRICS}", agree(count, "carries", "carry")), "Restart the workloads, so that the injector writes the annotation, or remove it from the pod template."),
        about(Cause::MergingOff, without, &|pods, count| format!("{pods} with a proxy {} no prometheus.io annotations, because metrics merging is off", agree(count, "has", "have")), "Set meshConfig.enablePrometheusMerge to true and restart the workloads, or send `scrape.apply`, which needs no annotation."),
        about(Cause::TargetsMissing, rest, &|pods, count| format!("{pods} of {total} with a proxy {} not scraped", agree(count, "is", "are")), "Check that the scrape job or the monitor covers their namespaces."),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_native(place: &str, mesh: &Mesh) -> bool {
    pod_named(place, mesh)
        .is_some_and(|pod| pod["spec"]["initContainers"].as_array().into_iter().flatten().any(is_proxy_container))
}
