//! The rules kind by kind, each as a table of an object and what it is waited for.

use serde_json::{Value, json};

use super::*;

#[allow(clippy::needless_pass_by_value, reason = "tests write the data in place")]
fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 2}, "spec": spec, "status": status})
}

#[track_caller]
fn expect(object: &Value, expected: &Readiness) {
    assert_eq!(readiness(object), *expected, "{object:#}");
}

fn progress(text: &str) -> Readiness {
    InProgress(text.to_owned())
}

fn with(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, change) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[field] = change.clone();
    }
    value
}

fn ready_deployment() -> Value {
    object(
        "apps/v1",
        "Deployment",
        json!({"replicas": 2}),
        json!({
            "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
            "conditions": [
                {"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        }),
    )
}

#[test]
fn deployments() {
    let ready = ready_deployment();
    for (changes, expected) in [
        (vec![], Current),
        (vec![("/status/observedGeneration", json!(1))], progress("its controller has seen generation 1 of 2")),
        (vec![("/status/replicas", json!(1))], progress("1 of 2 created")),
        (vec![("/status/updatedReplicas", json!(1))], progress("1 of 2 updated")),
        (vec![("/status/replicas", json!(3))], progress("1 old pod is still there")),
        (vec![("/status/availableReplicas", json!(0))], progress("0 of 2 available")),
        (vec![("/status/readyReplicas", json!(1))], progress("1 of 2 ready")),
        (
            vec![
                ("/status/replicas", json!(0)),
                (
                    "/status/conditions",
                    json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]),
                ),
            ],
            progress("0 of 2 created: FailedCreate: quota"),
        ),
        (vec![("/status/conditions", json!([]))], progress("its newest pods are not rolled out")),
        (
            vec![("/status/conditions", json!([])), ("/spec/progressDeadlineSeconds", json!(i32::MAX))],
            progress("its availability is not known yet"),
        ),
        (
            vec![(
                "/status/conditions/0",
                json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}),
            )],
            progress("MinimumReplicasUnavailable"),
        ),
        (
            vec![(
                "/status/conditions/1",
                json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}),
            )],
            Failed("ProgressDeadlineExceeded: timed out".to_owned()),
        ),
        (vec![("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))], Terminating),
        (vec![("/status", json!({}))], progress("0 of 2 created")),
        (vec![("/status", json!({})), ("/spec", json!({}))], progress("0 of 1 created")),
        // A Deployment of another API group is not a Deployment.
        (vec![("/status", json!({})), ("/apiVersion", json!("example.org/v1"))], Current),
    ] {
        expect(&with_array(&ready, &changes), &expected);
    }
}

/// As [`with`], for pointers into arrays too.
fn with_array(value: &Value, changes: &[(&str, Value)]) -> Value {
    let mut value = value.clone();
    for (pointer, change) in changes {
        match value.pointer_mut(pointer) {
            Some(place) => *place = change.clone(),
            None => value = with(value, &[(pointer, change.clone())]),
        }
    }
    value
}

#[test]
fn daemon_sets() {
    let ready = object(
        "apps/v1",
        "DaemonSet",
        json!({}),
        json!({
            "observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 3, "numberReady": 3,
        }),
    );
    for (changes, expected) in [
        (vec![], Current),
        (vec![("/status/currentNumberScheduled", json!(1))], progress("1 of 3 scheduled")),
        (vec![("/status/updatedNumberScheduled", json!(1))], progress("1 of 3 updated")),
        (vec![("/status/numberAvailable", json!(1))], progress("1 of 3 available")),
        (vec![("/status/numberReady", json!(1))], progress("1 of 3 ready")),
        (vec![("/status", json!({"observedGeneration": 2, "desiredNumberScheduled": 0}))], Current),
        (vec![("/status", json!({"desiredNumberScheduled": 0}))], progress("its controller has not seen it")),
        (vec![("/status", json!({}))], progress("its controller has not seen it")),
    ] {
        expect(&with_array(&ready, &changes), &expected);
    }
}

#[test]
fn stateful_sets() {
    let ready = object(
        "apps/v1",
        "StatefulSet",
        json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}),
        json!({
            "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3,
            "currentRevision": "a", "updateRevision": "a",
        }),
    );
    let partition = ("/spec/updateStrategy/rollingUpdate/partition", json!(2));
    for (changes, expected) in [
        (vec![], Current),
        (vec![("/status/replicas", json!(1))], progress("1 of 3 created")),
        (vec![("/status/readyReplicas", json!(1))], progress("1 of 3 ready")),
        (vec![("/status/replicas", json!(4))], progress("1 old pod is still there")),
        (vec![("/status/currentReplicas", json!(2))], progress("2 of 3 current")),
        (vec![("/status/updateRevision", json!("b"))], progress("not all pods have the newest revision")),
        (
            vec![partition.clone(), ("/status/updatedReplicas", json!(1)), ("/status/updateRevision", json!("b"))],
            Current,
        ),
        (vec![partition, ("/status/updatedReplicas", json!(0))], progress("0 of 1 updated")),
        (vec![("/spec/updateStrategy/type", json!("OnDelete")), ("/status/readyReplicas", json!(0))], Current),
    ] {
        expect(&with_array(&ready, &changes), &expected);
    }
}

#[test]
fn replica_sets() {
    let ready = object(
        "apps/v1",
        "ReplicaSet",
        json!({"replicas": 1}),
        json!({"observedGeneration": 2, "replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}),
    );
    for (changes, expected) in [
        (vec![], Current),
        (vec![("/status/fullyLabeledReplicas", json!(0))], progress("0 of 1 created")),
        (vec![("/status/availableReplicas", json!(0))], progress("0 of 1 available")),
        (vec![("/status/readyReplicas", json!(0))], progress("0 of 1 ready")),
        (vec![("/status/replicas", json!(2))], progress("1 old pod is still there")),
        (
            vec![(
                "/status/conditions",
                json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]),
            )],
            progress("FailedCreate: quota"),
        ),
    ] {
        expect(&with_array(&ready, &changes), &expected);
    }
}

#[test]
fn pods() {
    let waiting = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "app", "ready": false, "state": {"waiting": {"reason": reason, "message": message}}},
        ]})
    };
    for (status, expected) in [
        (json!({"phase": "Succeeded"}), Current),
        (json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), Current),
        (json!({}), progress("not running yet")),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            Failed("its containers have failed: Evicted: low on memory".to_owned()),
        ),
        (waiting("ImagePullBackOff", "no such image"), progress("ImagePullBackOff (container app): no such image")),
        (waiting("CrashLoopBackOff", "back-off"), progress("CrashLoopBackOff (container app): back-off")),
        (
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"},
            ]}),
            progress("Unschedulable: 0/3 nodes"),
        ),
        (
            json!({"phase": "Running", "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready: [app]"},
            ], "containerStatuses": [{"name": "app", "ready": false, "state": {"running": {}}}]}),
            progress("ContainersNotReady: unready: [app]"),
        ),
        // The container behind a failing init container only waits for it.
        (
            json!({"phase": "Pending",
                "initContainerStatuses": [
                    {"name": "done", "ready": false, "state": {"terminated": {"reason": "Completed"}}},
                    {"name": "init", "ready": false, "state": {"terminated": {"reason": "Error"}}},
                ],
                "containerStatuses": [{"name": "app", "ready": false, "state": {"waiting": {"reason": "PodInitializing"}}}],
            }),
            progress("Error (container init)"),
        ),
    ] {
        expect(&object("v1", "Pod", json!({}), status), &expected);
    }
}

#[test]
fn jobs() {
    let condition =
        |name: &str| json!({"conditions": [{"type": name, "status": "True", "reason": "R", "message": "m"}]});
    for (spec, status, expected) in [
        (json!({"completions": 2}), json!({"succeeded": 1}), progress("1 of 2 succeeded")),
        (json!({}), json!({}), progress("0 of 1 succeeded")),
        (json!({}), condition("Complete"), Current),
        (json!({}), condition("Failed"), Failed("R: m".to_owned())),
        (json!({}), condition("FailureTarget"), Failed("R: m".to_owned())),
        (json!({"suspend": true}), condition("Suspended"), Current),
    ] {
        expect(&object("batch/v1", "Job", spec, status), &expected);
    }
}

#[test]
fn claims_namespaces_and_services_become_ready() {
    let v1 = |kind: &str, spec: Value, status: Value| object("v1", kind, spec, status);
    for (object, expected) in [
        (v1("PersistentVolumeClaim", json!({}), json!({"phase": "Bound"})), Current),
        (
            v1("PersistentVolumeClaim", json!({}), json!({"phase": "Pending"})),
            progress("its phase is Pending, not Bound"),
        ),
        (v1("Namespace", json!({}), json!({"phase": "Active"})), Current),
        (v1("Namespace", json!({}), json!({})), progress("its phase is not set, not Active")),
        (v1("Service", json!({"type": "ClusterIP"}), json!({})), Current),
        (v1("Service", json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), json!({"loadBalancer": {}})), Current),
        (v1("Service", json!({"type": "LoadBalancer"}), json!({})), progress("it has no address in the cluster")),
    ] {
        expect(&object, &expected);
    }
}

#[test]
fn definitions() {
    let definition = |conditions: Value| {
        object("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), json!({"conditions": conditions}))
    };
    let installing = progress("the API server is setting it up");
    for (conditions, expected) in [
        (Value::Null, installing.clone()),
        (json!([{"type": "Established", "status": "False", "reason": "Installing"}]), installing),
        (json!([{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]), Current),
        (
            json!([{"type": "NamesAccepted", "status": "False", "reason": "Conflict", "message": "taken"}]),
            Failed("Conflict: taken".to_owned()),
        ),
        (
            json!([{"type": "Established", "status": "False", "reason": "NotAccepted"}]),
            Failed("NotAccepted".to_owned()),
        ),
    ] {
        expect(&definition(conditions), &expected);
    }
}

#[test]
fn other_kinds_are_ready_by_their_conditions() {
    let other = |status: Value| object("example.org/v1", "Widget", json!({}), status);
    let condition = |name: &str, status: &str| json!({"conditions": [{"type": name, "status": status}]});
    for (object, expected) in [
        (other(Value::Null), Current),
        (other(condition("Ready", "True")), Current),
        (other(condition("Ready", "False")), progress("Ready is False")),
        (other(condition("Ready", "Unknown")), progress("Ready is Unknown")),
        (other(condition("Reconciling", "True")), progress("Reconciling is True")),
        (other(condition("Stalled", "True")), Failed("Stalled is True".to_owned())),
        (other(condition("Stalled", "False")), Current),
        (other(json!({"observedGeneration": 1})), progress("its controller has seen generation 1 of 2")),
        (object("policy/v1", "PodDisruptionBudget", json!({}), json!({"observedGeneration": 2})), Current),
        (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}), Current),
        (
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {}}),
            Current,
        ),
        (Value::Null, Current),
    ] {
        expect(&object, &expected);
    }
}
