//! Readiness by the kstatus rules (kubernetes-sigs/cli-utils `pkg/kstatus/status`). Pure: judges one object by its
//! own fields; knows neither clients nor time.
//!
//! Where this differs from kstatus: a Job is ready when it is complete (or suspended, as its spec asks), not when it
//! has started; a crash loop and a missing place on a node are reasons to wait, as both may end without a change of the object.

use serde_json::Value;

use crate::prose::{agree, plural};

/// Whether the status of an object has reached its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Reconciled and ready.
    Current,
    /// Not ready; what it waits for.
    InProgress(String),
    /// It does not become ready without a change of the object; the reason.
    Failed(String),
    /// It is being deleted.
    Terminating,
}

use Readiness::{Current, Failed, InProgress, Terminating};

/// Judges one object of any kind by its own fields.
#[must_use]
pub fn readiness(object: &Value) -> Readiness {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return Terminating;
    }
    if let (Some(wanted), Some(seen)) =
        (object["metadata"]["generation"].as_i64(), object["status"]["observedGeneration"].as_i64())
        && wanted != seen
    {
        return InProgress(format!("its controller has seen generation {seen} of {wanted}"));
    }
    if let Some(stalled) = condition(object, "Stalled").filter(|stalled| stalled.is("True")) {
        return Failed(stalled.text());
    }
    if let Some(reconciling) = condition(object, "Reconciling").filter(|reconciling| reconciling.is("True")) {
        return InProgress(reconciling.text());
    }
    let group = object["apiVersion"].as_str().and_then(|text| text.split_once('/')).map_or("", |(group, _)| group);
    match (group, object["kind"].as_str().unwrap_or_default()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("", "Pod") => pod(object),
        ("batch", "Job") => job(object),
        ("", "PersistentVolumeClaim") => phase(object, "Bound"),
        ("", "Namespace") => phase(object, "Active"),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        _ => match condition(object, "Ready") {
            Some(ready) if !ready.is("True") => InProgress(ready.text()),
            _ => Current,
        },
    }
}

/// Whether objects of a kind have a status to wait for. Unknown kinds may have one.
#[must_use]
pub fn has_status(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match group {
        "" => !matches!(kind, "ConfigMap" | "Secret" | "ServiceAccount" | "LimitRange"),
        "rbac.authorization.k8s.io" | "scheduling.k8s.io" => false,
        "admissionregistration.k8s.io" => !kind.ends_with("WebhookConfiguration"),
        "storage.k8s.io" => kind != "StorageClass",
        "networking.k8s.io" => !matches!(kind, "NetworkPolicy" | "IngressClass"),
        _ => true,
    }
}

/// One entry of `status.conditions`.
struct Condition<'a>(&'a Value);

impl Condition<'_> {
    fn is(&self, status: &str) -> bool {
        self.0["status"] == status
    }

    fn reason(&self) -> &str {
        self.0["reason"].as_str().unwrap_or_default()
    }

    /// Reason and message, or the condition itself where its controller gives neither.
    fn text(&self) -> String {
        match (self.reason(), self.0["message"].as_str().unwrap_or_default()) {
            ("", "") => format!(
                "{} is {}",
                self.0["type"].as_str().unwrap_or_default(),
                self.0["status"].as_str().unwrap_or_default()
            ),
            ("", text) | (text, "") => text.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).map(Condition)
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

/// The API server fills the default in; an object that was never read from one has none.
fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// The first of `(have, of, what)` that has too few.
fn short(counts: &[(i64, i64, &str)]) -> Option<Readiness> {
    counts.iter().find(|(have, of, _)| have < of).map(|(have, of, what)| InProgress(format!("{have} of {of} {what}")))
}

fn surplus(object: &Value, wanted: i64) -> Option<Readiness> {
    let surplus = count(object, "replicas") - wanted;
    (surplus > 0)
        .then(|| InProgress(format!("{} {} still there", plural(surplus, "old pod"), agree(surplus, "is", "are"))))
}

fn deployment(object: &Value) -> Readiness {
    let progressing = condition(object, "Progressing");
    if let Some(progressing) = progressing.as_ref().filter(|it| it.reason() == "ProgressDeadlineExceeded") {
        return Failed(progressing.text());
    }
    let wanted = wanted(object);
    let updated = count(object, "updatedReplicas");
    let missing = short(&[(count(object, "replicas"), wanted, "created"), (updated, wanted, "updated")])
        .or_else(|| surplus(object, wanted))
        .or_else(|| {
            short(&[
                (count(object, "availableReplicas"), updated, "available"),
                (count(object, "readyReplicas"), wanted, "ready"),
            ])
        });
    if let Some(missing) = missing {
        // Quota, admission or a missing ServiceAccount: there is no pod with a reason.
        return match (missing, condition(object, "ReplicaFailure").filter(|failure| failure.is("True"))) {
            (InProgress(missing), Some(failure)) => InProgress(format!("{missing}: {}", failure.text())),
            (missing, _) => missing,
        };
    }
    // With this value the controller reports no progress at all.
    let reports_progress = object["spec"]["progressDeadlineSeconds"].as_i64() != Some(i64::from(i32::MAX));
    let rolled_out = progressing.is_some_and(|it| it.is("True") && it.reason() == "NewReplicaSetAvailable");
    if reports_progress && !rolled_out {
        return InProgress("its newest pods are not rolled out".to_owned());
    }
    match condition(object, "Available") {
        Some(available) if available.is("True") => Current,
        Some(available) => InProgress(available.text()),
        None => InProgress("its availability is not known yet".to_owned()),
    }
}

/// Where no node fits, none is desired and the set is ready.
fn daemon_set(object: &Value) -> Readiness {
    let Some(desired) = object["status"]["desiredNumberScheduled"].as_i64() else {
        return InProgress("its controller has not seen it".to_owned());
    };
    if object["status"]["observedGeneration"].is_null() {
        return InProgress("its controller has not seen it".to_owned());
    }
    short(&[
        (count(object, "currentNumberScheduled"), desired, "scheduled"),
        (count(object, "updatedNumberScheduled"), desired, "updated"),
        (count(object, "numberAvailable"), desired, "available"),
        (count(object, "numberReady"), desired, "ready"),
    ])
    .unwrap_or(Current)
}

fn stateful_set(object: &Value) -> Readiness {
    let strategy = &object["spec"]["updateStrategy"];
    if strategy["type"] == "OnDelete" {
        return Current; // OnDelete: its pods are replaced after they are deleted
    }
    let wanted = wanted(object);
    let missing =
        short(&[(count(object, "replicas"), wanted, "created"), (count(object, "readyReplicas"), wanted, "ready")])
            .or_else(|| surplus(object, wanted));
    if let Some(missing) = missing {
        return missing;
    }
    // The API server's default is 0, which holds nothing back.
    if let Some(partition) = strategy["rollingUpdate"]["partition"].as_i64().filter(|partition| *partition > 0) {
        return short(&[(count(object, "updatedReplicas"), wanted - partition, "updated")]).unwrap_or(Current);
    }
    if let Some(missing) = short(&[(count(object, "currentReplicas"), wanted, "current")]) {
        return missing;
    }
    if object["status"]["currentRevision"] != object["status"]["updateRevision"] {
        return InProgress("not all pods have the newest revision".to_owned());
    }
    Current
}

fn replica_set(object: &Value) -> Readiness {
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|failure| failure.is("True")) {
        return InProgress(failure.text());
    }
    let wanted = wanted(object);
    short(&[
        (count(object, "fullyLabeledReplicas"), wanted, "created"),
        (count(object, "availableReplicas"), wanted, "available"),
        (count(object, "readyReplicas"), wanted, "ready"),
    ])
    .or_else(|| surplus(object, wanted))
    .unwrap_or(Current)
}

fn pod(object: &Value) -> Readiness {
    let status = &object["status"];
    match status["phase"].as_str() {
        Some("Succeeded") => Current,
        Some("Failed") => {
            let why = [&status["reason"], &status["message"]].into_iter().filter_map(Value::as_str);
            Failed(std::iter::once("its containers have failed").chain(why).collect::<Vec<_>>().join(": "))
        }
        Some("Running") if condition(object, "Ready").is_some_and(|ready| ready.is("True")) => Current,
        _ => InProgress(pod_reason(object).unwrap_or_else(|| "not running yet".to_owned())),
    }
}

/// Why a pod is not ready: what keeps its first container waiting, how it ended, or why no node takes the pod.
#[must_use]
pub fn pod_reason(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| status[field].as_array())
        .flatten()
        .filter(|container| container["ready"] != true);
    for container in containers {
        for state in ["waiting", "terminated"] {
            let state = &container["state"][state];
            // Init containers end on purpose; `PodInitializing` only says that another one is not done.
            let Some(reason) = state["reason"].as_str().filter(|it| !matches!(*it, "Completed" | "PodInitializing"))
            else {
                continue;
            };
            let detail = state["message"].as_str().map(|text| format!(": {}", text.trim())).unwrap_or_default();
            let name = container["name"].as_str().unwrap_or_default();
            return Some(format!("{reason} (container {name}){detail}"));
        }
    }
    let waits = |name: &str| condition(pod, name).filter(|it| !it.is("True")).map(|it| it.text());
    waits("PodScheduled").or_else(|| waits("Ready"))
}

fn job(object: &Value) -> Readiness {
    for (name, judge) in
        [("Failed", Failed as fn(String) -> Readiness), ("FailureTarget", Failed), ("Complete", |_| Current)]
    {
        if let Some(found) = condition(object, name).filter(|found| found.is("True")) {
            return judge(found.text());
        }
    }
    if object["spec"]["suspend"] == true {
        return Current;
    }
    let wanted = object["spec"]["completions"].as_i64().unwrap_or(1);
    InProgress(format!("{} of {wanted} succeeded", count(object, "succeeded")))
}

fn phase(object: &Value, wanted: &str) -> Readiness {
    match object["status"]["phase"].as_str() {
        Some(phase) if phase == wanted => Current,
        phase => InProgress(format!("its phase is {}, not {wanted}", phase.unwrap_or("not set"))),
    }
}

/// Its external address is not required: without a load balancer in the cluster there is never one.
fn service(object: &Value) -> Readiness {
    let spec = &object["spec"];
    if spec["type"] == "LoadBalancer" && spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        return InProgress("it has no address in the cluster".to_owned());
    }
    Current
}

fn definition(object: &Value) -> Readiness {
    if let Some(names) = condition(object, "NamesAccepted").filter(|names| names.is("False")) {
        return Failed(names.text());
    }
    match condition(object, "Established") {
        Some(established) if established.is("True") => Current,
        Some(established) if established.is("False") && established.reason() != "Installing" => {
            Failed(established.text())
        }
        _ => InProgress("the API server is setting it up".to_owned()),
    }
}

#[cfg(test)]
mod tests;
