//! Fields that the API server does not let change, for every builtin kind that has some: SH3007, and with `recreate` the
//! object is made anew; never a claim, a CRD or a Namespace. The words of the refusal differ from kind to kind.

use std::time::Duration;

use futures::{StreamExt, stream};
use sailhand::cluster::Action::Recreated;
use sailhand::cluster::delete::DeleteOptions;
use sailhand::error::{Class, Classify};
use serde_json::{Map, Value, json};

use crate::support::cluster_env::{ClusterEnv, failure, options};
use crate::support::eventually::eventually;

/// A kind with an object of it and changes, each to one immutable field.
struct Case {
    kind: &'static str,
    api_version: &'static str,
    namespaced: bool,
    object: Value,
    changes: Vec<Value>,
}

const fn namespaced(kind: &'static str, api_version: &'static str, object: Value, changes: Vec<Value>) -> Case {
    Case { kind, api_version, namespaced: true, object, changes }
}

const fn cluster_scoped(kind: &'static str, api_version: &'static str, object: Value, changes: Vec<Value>) -> Case {
    Case { kind, api_version, namespaced: false, object, changes }
}

#[allow(clippy::needless_pass_by_value, reason = "tests write the labels in place")]
fn template(policy: &str, labels: Value) -> Value {
    json!({"metadata": {"labels": labels},
           "spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "i:1"}]}})
}

fn workloads() -> Vec<Case> {
    let selected = |labels: Value| json!({"selector": {"matchLabels": labels}, "template": template("Always", labels)});
    let spec = |more: Value| {
        let mut spec = selected(json!({"app": "a"}));
        merge(&mut spec, &more);
        json!({ "spec": spec })
    };
    let other = json!({"spec": selected(json!({"app": "a", "b": "c"}))});
    let job = json!({"spec": {"suspend": true, "template": template("Never", json!({"app": "a"}))}});
    vec![
        namespaced("Deployment", "apps/v1", spec(json!({"replicas": 0})), vec![other.clone()]),
        namespaced("ReplicaSet", "apps/v1", spec(json!({"replicas": 0})), vec![other.clone()]),
        namespaced("DaemonSet", "apps/v1", spec(json!({})), vec![other.clone()]),
        namespaced(
            "StatefulSet",
            "apps/v1",
            spec(json!({"replicas": 0, "serviceName": "a"})),
            vec![
                other,
                json!({"spec": {"serviceName": "b"}}),
                json!({"spec": {"podManagementPolicy": "Parallel"}}),
                json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                }}]}}),
            ],
        ),
        namespaced(
            "ControllerRevision",
            "apps/v1",
            json!({"revision": 1, "data": {"a": 1}}),
            vec![json!({"data": {"a": 2}})],
        ),
        namespaced(
            "Job",
            "batch/v1",
            job,
            vec![
                json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "j:1"}]}}}}),
                json!({"spec": {"completions": 3}}),
                json!({"spec": {"completionMode": "Indexed", "completions": 1}}),
                json!({"spec": {"managedBy": "example.com/other"}}),
            ],
        ),
        namespaced(
            "Pod",
            "v1",
            json!({"spec": {"containers": [{"name": "a", "image": "i:1"}], "terminationGracePeriodSeconds": 0}}),
            vec![
                json!({"spec": {"containers": [{"name": "a", "image": "i:1", "command": ["x"]}]}}),
                json!({"spec": {"hostNetwork": true}}),
            ],
        ),
    ]
}

fn configuration() -> Vec<Case> {
    vec![
        namespaced(
            "ConfigMap",
            "v1",
            json!({"immutable": true, "data": {"a": "1"}}),
            vec![json!({"data": {"a": "2"}}), json!({"immutable": false})],
        ),
        namespaced(
            "Secret",
            "v1",
            json!({"immutable": true, "data": {"a": "MQ=="}}),
            vec![json!({"data": {"a": "Mg=="}}), json!({"type": "example.com/other"})],
        ),
        namespaced(
            "Service",
            "v1",
            json!({"spec": {"ports": [{"port": 80}]}}),
            vec![json!({"spec": {"clusterIP": "None"}})],
        ),
        namespaced(
            "Service",
            "v1",
            json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "a.example.com/a", "ports": [{"port": 80}]}}),
            vec![json!({"spec": {"loadBalancerClass": "a.example.com/b"}})],
        ),
        namespaced(
            "ResourceQuota",
            "v1",
            json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}),
            vec![json!({"spec": {"scopes": ["NotBestEffort"]}})],
        ),
        namespaced(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            json!({"addressType": "IPv4", "endpoints": []}),
            vec![json!({"addressType": "FQDN"})],
        ),
        namespaced(
            "RoleBinding",
            "rbac.authorization.k8s.io/v1",
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}}),
            vec![json!({"roleRef": {"name": "b"}})],
        ),
        cluster_scoped(
            "ClusterRoleBinding",
            "rbac.authorization.k8s.io/v1",
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"}}),
            vec![json!({"roleRef": {"name": "b"}})],
        ),
        cluster_scoped(
            "PriorityClass",
            "scheduling.k8s.io/v1",
            json!({"value": 5}),
            vec![json!({"value": 6}), json!({"preemptionPolicy": "Never"})],
        ),
        cluster_scoped("RuntimeClass", "node.k8s.io/v1", json!({"handler": "a"}), vec![json!({"handler": "b"})]),
        cluster_scoped(
            "IngressClass",
            "networking.k8s.io/v1",
            json!({"spec": {"controller": "example.com/a"}}),
            vec![json!({"spec": {"controller": "example.com/b"}})],
        ),
    ]
}

fn storage() -> Vec<Case> {
    let v1 = "storage.k8s.io/v1";
    vec![
        cluster_scoped(
            "StorageClass",
            v1,
            json!({"provisioner": "example.com/a", "parameters": {"a": "1"}}),
            vec![
                json!({"provisioner": "example.com/b"}),
                json!({"parameters": {"a": "2"}}),
                json!({"reclaimPolicy": "Retain"}),
                json!({"volumeBindingMode": "WaitForFirstConsumer"}),
            ],
        ),
        cluster_scoped(
            "CSIDriver",
            v1,
            json!({"spec": {"attachRequired": true}}),
            vec![json!({"spec": {"attachRequired": false}}), json!({"spec": {"volumeLifecycleModes": ["Ephemeral"]}})],
        ),
        namespaced(
            "CSIStorageCapacity",
            v1,
            json!({"storageClassName": "a"}),
            vec![json!({"storageClassName": "b"}), json!({"nodeTopology": {"matchLabels": {"a": "b"}}})],
        ),
        cluster_scoped(
            "PersistentVolume",
            "v1",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}}),
            vec![json!({"spec": {"hostPath": {"path": "/b"}}}), json!({"spec": {"volumeMode": "Block"}})],
        ),
    ]
}

/// Kinds that hold others' data or objects.
fn never_recreated(group: &str) -> Vec<Case> {
    vec![
        namespaced(
            "PersistentVolumeClaim",
            "v1",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
            vec![
                json!({"spec": {"accessModes": ["ReadWriteMany"]}}),
                json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
            ],
        ),
        cluster_scoped(
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            json!({"metadata": {"name": format!("parts.{group}")}, "spec": {
                "group": group, "scope": "Namespaced", "names": {"kind": "Part", "plural": "parts"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                              "schema": {"openAPIV3Schema": {"type": "object"}}}],
            }}),
            vec![json!({"spec": {"scope": "Cluster"}}), json!({"spec": {"names": {"kind": "Piece"}}})],
        ),
    ]
}

/// Puts `change` over `object`; lists are replaced.
fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (key, value) in change {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, change) => *object = change.clone(),
    }
}

/// The case's object with a name of its own.
fn object(test_env: &ClusterEnv, case: &Case, number: usize) -> Value {
    let mut object = json!({
        "apiVersion": case.api_version, "kind": case.kind, "metadata": {"name": format!("{}-{number}", test_env.namespace)},
    });
    if case.namespaced {
        object["metadata"]["namespace"] = json!(test_env.namespace);
    }
    merge(&mut object, &case.object);
    object
}

/// Applies, changes one field, and gives the changed object and what a change without `recreate` is answered.
async fn refused(test_env: &ClusterEnv, case: &Case, number: usize, change: &Value) -> (Value, Map<String, Value>) {
    let keep = options(|options| options.prune = false);
    let before = object(test_env, case, number);
    test_env.apply(std::slice::from_ref(&before), &keep).await.unwrap_or_else(|error| panic!("{before}: {}", error.0));
    let mut after = before;
    merge(&mut after, change);
    let (error, report) = failure(test_env.apply(std::slice::from_ref(&after), &keep).await);
    assert_eq!(error.class(), Class::Terminal, "{} {change}: {error}", case.kind);
    let problem = serde_json::to_value(report.objects[0].problem.as_ref().unwrap()).unwrap();
    (after, problem.as_object().unwrap().clone())
}

#[tokio::test]
async fn an_immutable_field_of_any_kind_has_its_code_and_recreate_replaces_the_object() {
    let test_env = &ClusterEnv::new("immutable").await;
    let cases: Vec<_> = [workloads(), configuration(), storage()].into_iter().flatten().collect();
    let all = cases.iter().flat_map(|case| case.changes.iter().map(move |change| (case, change)));
    let checks = all.enumerate().map(|(number, (case, change))| async move {
        // An installation has one writer at a time.
        let own = ClusterEnv::beside(test_env, number);
        let (after, problem) = refused(&own, case, number, change).await;
        let message = problem["message"].as_str().unwrap();
        assert_eq!(problem["code"], "SH3007", "{} {change}: {message}", case.kind);
        assert!(message.len() < 2500, "{} {change}: {message}", case.kind);
        let uid = own.get(&after).await.unwrap()["metadata"]["uid"].clone();
        let recreate = options(|options| options.recreate = true);
        let report = own.apply(std::slice::from_ref(&after), &recreate).await;
        let report = report.unwrap_or_else(|error| panic!("{} {change}: {}", case.kind, error.0));
        assert_eq!(report.objects[0].action, Recreated, "{} {change}", case.kind);
        assert_ne!(own.get(&after).await.unwrap()["metadata"]["uid"], uid, "{} {change}", case.kind);
        let again = own.apply(std::slice::from_ref(&after), &recreate).await.unwrap();
        assert!(!again.changed(), "{} {change}: {again:?}", case.kind);
        own.delete(None, &DeleteOptions::default()).await.unwrap();
    });
    stream::iter(checks.collect::<Vec<_>>()).buffer_unordered(6).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn claims_and_definitions_are_never_recreated() {
    let test_env = ClusterEnv::new("precious").await;
    for (number, case) in never_recreated(&format!("{}.example.com", test_env.namespace)).iter().enumerate() {
        for change in &case.changes {
            let (after, problem) = refused(&test_env, case, number, change).await;
            assert_eq!(problem["code"], "SH3007", "{} {change}: {}", case.kind, problem["message"]);
            let uid = test_env.get(&after).await.unwrap()["metadata"]["uid"].clone();
            let recreate = options(|options| {
                options.recreate = true;
                options.prune = false;
            });
            let (_, report) = failure(test_env.apply(std::slice::from_ref(&after), &recreate).await);
            let problem = report.objects[0].problem.as_ref().unwrap();
            assert_eq!(problem.code, "SH3007");
            let never = format!("a {} is never recreated", case.kind);
            assert!(problem.message.contains(&never) && !problem.message.contains('\n'), "{}", problem.message);
            assert_eq!(test_env.get(&after).await.unwrap()["metadata"]["uid"], uid);
        }
    }
}

/// A deletion cannot be revoked, and the volume would be terminating until its claim is deleted.
#[tokio::test]
async fn a_volume_that_is_bound_to_a_claim_is_not_recreated() {
    let test_env = ClusterEnv::new("bound").await;
    let spec = |path: &str| {
        json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "bound",
               "hostPath": {"path": path}})
    };
    let name = test_env.namespace.as_str();
    let volume = |path: &str| json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec(path)});
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": name},
        "spec": {"volumeName": name, "storageClassName": "bound", "accessModes": ["ReadWriteOnce"],
                 "resources": {"requests": {"storage": "1Gi"}}},
    });
    test_env.apply(&[volume("/a"), claim.clone()], &options(|_| {})).await.unwrap();
    eventually("the volume is bound", Duration::from_secs(30), async || {
        (test_env.get(&volume("/a")).await.unwrap()["status"]["phase"] == "Bound").then_some(())
    })
    .await;
    for dry_run in [true, false] {
        let recreate = options(|options| {
            options.recreate = true;
            options.dry_run = dry_run;
        });
        let (error, report) = failure(test_env.apply(&[volume("/b"), claim.clone()], &recreate).await);
        let problem = report.objects[0].problem.as_ref().unwrap();
        assert_eq!((problem.code.as_str(), error.class()), ("SH3007", Class::Terminal));
        assert!(problem.message.contains(&format!("bound to claim {name}/data")), "{}", problem.message);
    }
    assert_eq!(test_env.get(&volume("/a")).await.unwrap()["metadata"]["deletionTimestamp"], Value::Null);
    let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
    test_env.delete(None, &purge).await.unwrap();
}

/// What is wrong beside the immutable field would be refused again when the object is created: it is not deleted.
#[tokio::test]
async fn an_object_with_another_mistake_is_not_deleted_for_recreate() {
    let test_env = ClusterEnv::new("mistake").await;
    let job = |more: Value| {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": test_env.namespace},
            "spec": {"suspend": true, "template": template("Never", json!({"app": "a"}))},
        });
        merge(&mut job, &more);
        job
    };
    let recreate = options(|options| options.recreate = true);
    test_env.apply(&[job(json!({}))], &recreate).await.unwrap();
    let uid = test_env.get(&job(json!({}))).await.unwrap()["metadata"]["uid"].clone();
    let wrong = job(json!({"spec": {"completions": 3, "backoffLimit": -1}}));
    let (_, report) = failure(test_env.apply(&[wrong], &recreate).await);
    assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH3005");
    assert_eq!(test_env.get(&job(json!({}))).await.unwrap()["metadata"]["uid"], uid);
}
