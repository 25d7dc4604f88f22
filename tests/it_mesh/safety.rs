//! What the mesh verbs refuse, and what they predict, on a real API server with simulated nodes. Needs Istio's charts (see
//! `support/charts.rs`) and helm.
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use crate::mesh_target::{MeshEnv, changes, minimal, parts};
use crate::support::eventually::eventually;
use crate::support::tools;
use sailhand::error::Classify;
use serde_json::{Value, json};

const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

fn kubectl(mesh: &MeshEnv, args: &[&str]) {
    let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
    let output = command.arg("--kubeconfig").arg(mesh.plane.kubeconfig()).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn refused(mesh: &MeshEnv, verb: &str, params: Value) -> (String, String) {
    let failure = mesh.run(verb, params).await.unwrap_err();
    let report = failure.report.map(|outcome| outcome.into_parts().1).unwrap_or_default();
    (failure.error.code().to_string(), format!("{} {report}", failure.error))
}

/// The Service that a validating webhook calls; `None` when there is no such configuration.
async fn called(mesh: &MeshEnv, name: &str) -> Option<Value> {
    let found = mesh.get(ADMISSION, VALIDATING, None, name).await?;
    Some(found["webhooks"][0]["clientConfig"]["service"]["name"].clone())
}

fn revision(name: &str) -> Value {
    json!({"version": "1.30.3", "profile": "minimal", "revision": name, "wait": "1m"})
}

/// A validating webhook that refuses what it cannot check, and that nothing answers.
fn dead_webhook(name: &str, groups: &Value, resources: &Value) -> Value {
    json!({
        "apiVersion": ADMISSION, "kind": VALIDATING, "metadata": {"name": name, "labels": {"app": "leftover"}},
        "webhooks": [{
            "name": "validation.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"service": {"name": "istiod", "namespace": "old-mesh", "path": "/validate"}},
            "rules": [{"apiGroups": groups, "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources}],
        }],
    })
}

/// The same for the kinds of Istio, with the labels that istioctl sets.
fn dead_validator(name: &str) -> Value {
    let groups = json!(["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"]);
    let mut webhook = dead_webhook(name, &groups, &json!(["*"]));
    webhook["metadata"]["labels"] = json!({
        "app": "istiod", "istio.io/rev": "default", "operator.istio.io/component": "Pilot",
        "install.operator.istio.io/owning-resource": "unknown",
    });
    webhook
}

/// Before: `mesh.uninstall` without parameters removed everything.
#[tokio::test]
async fn uninstall_needs_a_scope() {
    let registry = sailhand::task::Registry::standard();
    let schema = registry.get("mesh.uninstall").unwrap().params_schema();
    let validator = jsonschema::validator_for(schema.as_value()).unwrap();
    for (params, accepted) in [
        (json!({}), false),
        (json!({"wait": "30s", "force": true, "dry_run": true}), false),
        (json!({"tags": []}), false),
        (json!({"all": false}), false),
        (json!({"purge": false, "confirm": "test"}), false),
        (json!({"all": true}), true),
        (json!({"revision": "default"}), true),
        (json!({"tags": ["prod"]}), true),
        (json!({"purge": true, "confirm": "test"}), true),
    ] {
        assert_eq!(validator.is_valid(&params), accepted, "{params}");
    }
}

/// The check does not need a cluster: nothing is read before.
#[tokio::test]
async fn uninstall_without_a_scope_is_rejected_before_anything_is_read() {
    let (cx, _) = crate::cluster_target::context("nowhere", 1);
    let cx = sailhand::task::TaskContext {
        clusters: std::sync::Arc::new(sailhand::cluster::Clusters::new(std::collections::BTreeMap::new())),
        ..cx
    };
    let registry = sailhand::task::Registry::standard();
    for params in [json!({}), json!({"all": true, "revision": "a"}), json!({"purge": true}), json!({"revision": null})]
    {
        let failure = registry.get("mesh.uninstall").unwrap().run(&cx, params.clone()).await.unwrap_err();
        assert_eq!(failure.error.code().as_str(), "SH1005", "{params}: {}", failure.error);
    }
}

/// Public report 29 (istio/istio#35590). Before: the webhook went on calling the removed revision with Fail, so that every
/// Istio object was refused.
#[tokio::test]
async fn default_validator_never_calls_a_removed_revision() {
    if crate::support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.done("mesh.install", revision("one")).await;
    mesh.done("mesh.install", revision("two")).await;
    let raised = async || {
        let all = mesh.list(ADMISSION, VALIDATING).await;
        all.iter().all(|one| one["webhooks"][0]["failurePolicy"] == "Fail").then_some(())
    };
    eventually("every validator says Fail", Duration::from_secs(20), raised).await;
    assert_eq!(called(&mesh, "istiod-default-validator").await, Some(json!("istiod-one")));

    let (_, report) = mesh.done("mesh.uninstall", json!({"revision": "one", "dry_run": true})).await;
    assert!(report["findings"].to_string().contains("calls revision two instead of one"), "{report:#}");
    assert_eq!(called(&mesh, "istiod-default-validator").await, Some(json!("istiod-one")), "a dry run writes nothing");

    let (_, report) = mesh.done("mesh.uninstall", json!({"revision": "one", "wait": "30s"})).await;
    assert_eq!(parts(&report), ["istio-base", "istiod-one"], "{report:#}");
    assert_eq!(called(&mesh, "istiod-default-validator").await, Some(json!("istiod-two")));
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    assert!(status["parts"].as_array().unwrap().iter().all(|part| part["drift"] == json!([])), "{status:#}");
    assert_eq!(status["findings"], Value::Null, "{status:#}");

    let (_, report) = mesh.done("mesh.uninstall", json!({"revision": "two", "wait": "30s"})).await;
    assert_eq!(called(&mesh, "istiod-default-validator").await, None, "{report:#}");
    assert_eq!(mesh.list(ADMISSION, VALIDATING).await.len(), 0);
    let (changed, report) = mesh.done("mesh.uninstall", json!({"revision": "two", "wait": "30s"})).await;
    assert!(!changed, "{:?}", changes(&report));
    mesh.done("mesh.install", revision("three")).await;
    assert_eq!(called(&mesh, "istiod-default-validator").await, Some(json!("istiod-three")));

    // A validator that another tool has installed cannot be moved: the command says so and removes nothing.
    let mut foreign = dead_validator("custom-validator");
    foreign["webhooks"][0]["clientConfig"]["service"] =
        json!({"name": "istiod-three", "namespace": "istio-system", "path": "/validate"});
    mesh.write("istioctl", &foreign).await;
    let (code, text) = refused(&mesh, "mesh.uninstall", json!({"revision": "three", "wait": "30s"})).await;
    assert_eq!((code.as_str(), text.contains("custom-validator")), ("SH3209", true), "{text}");
    assert!(mesh.get("apps/v1", "Deployment", Some("istio-system"), "istiod-three").await.is_some());
    let (_, report) = mesh.done("mesh.uninstall", json!({"revision": "three", "wait": "30s", "force": true})).await;
    assert!(report["leftovers"].to_string().contains("custom-validator"), "{report:#}");
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    let said = status["findings"].to_string();
    assert!(said.contains("custom-validator") && said.contains("istio-system/istiod-three"), "{status:#}");
}

/// Public report 19 (istio/istio#38880). Before: precheck was ready, and install wrote 17 objects before it failed.
#[tokio::test]
async fn leftover_validators_are_named_before_anything_is_written() {
    if crate::support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    mesh.write("istioctl", &dead_validator("istio-validator-old-mesh")).await;
    mesh.write("istioctl", &dead_validator("istiod-default-validator")).await;
    let before = mesh.versions().await;
    let (_, check) = mesh.done("mesh.precheck", json!({"version": "1.30.3", "profile": "minimal"})).await;
    let said = check["findings"].to_string();
    assert_eq!(check["ready"], false, "{check:#}");
    assert!(said.contains("istio-validator-old-mesh") && said.contains("istiod-default-validator"), "{check:#}");
    let (code, text) = refused(&mesh, "mesh.install", minimal("1.30.3")).await;
    assert_eq!(code, "SH3016", "{text}");
    assert!(text.contains("istio-validator-old-mesh") && text.contains("istiod-default-validator"), "{text}");
    assert_eq!(mesh.versions().await, before, "nothing was written");

    let mut adopting = minimal("1.30.3");
    adopting["adopt"] = json!(true);
    let (_, report) = mesh.done("mesh.install", adopting).await;
    let said = report["findings"].to_string();
    assert!(said.contains("istio-validator-old-mesh") && !said.contains("istiod-default-validator"), "{report:#}");
    let (_, status) = mesh.done("mesh.status", json!({})).await;
    let said = status["findings"].to_string();
    assert!(said.contains("istio-validator-old-mesh calls Service old-mesh/istiod, which does not exist"), "{said}");
}

/// Before: the gateway was deleted without a word in the headline.
#[tokio::test]
async fn a_smaller_profile_deletes_components_only_with_consent() {
    if crate::support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let gateways = json!([{"name": "edge", "values": {"service": {"type": "ClusterIP"}}}]);
    mesh.done("mesh.install", json!({"version": "1.30.3", "gateways": gateways, "wait": "0s"})).await;
    let edge = async || mesh.get("apps/v1", "Deployment", Some("istio-system"), "edge").await;
    assert!(edge().await.is_some());
    let before = mesh.versions().await;
    for force in [false, true] {
        let mut smaller = minimal("1.30.3");
        smaller["force"] = json!(force);
        let (code, text) = refused(&mesh, "mesh.install", smaller).await;
        assert_eq!((code.as_str(), text.contains("gateway istio-system-edge")), ("SH3221", true), "{text}");
    }
    assert_eq!(mesh.versions().await, before, "nothing was written");
    let mut smaller = minimal("1.30.3");
    smaller["prune_components"] = json!(true);
    let (_, report) = mesh.done("mesh.install", smaller).await;
    assert!(parts(&report).contains(&"istio-gateway-istio-system-edge".to_owned()), "{report:#}");
    assert!(edge().await.is_none());
}

/// Before: base and half of istiod were written.
#[tokio::test]
async fn values_that_make_invalid_objects_are_refused_before_anything_is_written() {
    if crate::support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let before = mesh.versions().await;
    for values in [
        json!({"pilot": {"resources": {"requests": {"cpu": "much"}}}}),
        json!({"pilot": {"replicaCount": -1, "autoscaleEnabled": false}}),
        json!({"pilot": {"podLabels": {"a b": "c"}}}),
        json!({"pilot": {"nodeSelector": ["not a map"]}}),
    ] {
        let mut params = minimal("1.30.3");
        params["values"] = values.clone();
        let (_, check) =
            mesh.done("mesh.precheck", json!({"version": "1.30.3", "profile": "minimal", "values": values})).await;
        assert_eq!(check["ready"], false, "{values}: {check:#}");
        let (_, text) = refused(&mesh, "mesh.install", params).await;
        assert!(text.contains("istiod"), "{values}: {text}");
        assert_eq!(mesh.versions().await, before, "{values}: nothing was written");
    }
}

/// A CRD of Istio in a Helm release.
fn crd_of_helm() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "virtualservices.networking.istio.io",
            "annotations": {"meta.helm.sh/release-name": "istio-base", "meta.helm.sh/release-namespace": "istio-system"},
        },
        "spec": {
            "group": "networking.istio.io", "scope": "Namespaced",
            "names": {"kind": "VirtualService", "plural": "virtualservices"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// An injector whose control plane is gone, for namespaces with a label.
fn dead_injector(name: &str, label: &str, value: &str) -> Value {
    json!({
        "apiVersion": ADMISSION, "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": {"app": "sidecar-injector", "istio.io/rev": "old"}},
        "webhooks": [{
            "name": "rev.namespace.sidecar-injector.istio.io", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "istiod-old", "namespace": "istio-system", "path": "/inject"}},
            "namespaceSelector": {"matchLabels": {label: value}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    })
}

/// What an earlier installation, another tool or an administrator may have left. Each with how to take it away.
fn leftovers() -> Vec<(&'static str, Vec<Value>)> {
    let space = |labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system", "labels": labels}});
    let quota = |hard: Value| {
        let metadata = json!({"name": "leftover", "namespace": "istio-system"});
        vec![
            space(json!({})),
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}),
        ]
    };
    let role = |metadata: Value| {
        vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        })]
    };
    let named = "istiod-clusterrole-istio-system";
    vec![
        ("a validator of Istio's kinds", vec![dead_validator("leftover-validator")]),
        ("a validator of deployments", vec![dead_webhook("leftover", &json!(["apps"]), &json!(["*"]))]),
        ("a validator of pods", vec![dead_webhook("leftover", &json!([""]), &json!(["pods"]))]),
        ("a validator of jobs", vec![dead_webhook("leftover", &json!(["batch"]), &json!(["*"]))]),
        ("a quota without pods", quota(json!({"pods": "0"}))),
        ("a quota with little memory", quota(json!({"requests.memory": "1Gi"}))),
        ("a quota on limits", quota(json!({"limits.cpu": "64"}))),
        ("a quota without services", quota(json!({"count/services": "0"}))),
        ("a large quota", quota(json!({"pods": "50", "requests.cpu": "64", "services": "20"}))),
        ("a pod security level", vec![space(json!({"pod-security.kubernetes.io/enforce": "restricted"}))]),
        ("a namespace", vec![space(json!({"istio-injection": "disabled"}))]),
        ("a CRD of Helm", vec![crd_of_helm()]),
        // Before: precheck was ready, and the installation was refused because of two injectors of one pod.
        ("a default tag", vec![dead_injector("istio-revision-tag-default", "istio-injection", "enabled")]),
        (
            "two injectors of a dead revision",
            vec![dead_injector("old-a", "istio.io/rev", "old"), dead_injector("old-b", "istio.io/rev", "old")],
        ),
        ("a role of Helm", role(json!({"name": named, "annotations": {"meta.helm.sh/release-name": "istiod"}}))),
        ("a role of an unknown tool", role(json!({"name": named}))),
        ("an unrelated role", role(json!({"name": "leftover"}))),
        (
            "a binding to another role",
            vec![json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": named},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": [],
            })],
        ),
        (
            "a disruption budget",
            vec![
                space(json!({})),
                json!({
                    "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                    "metadata": {"name": "istiod", "namespace": "istio-system"},
                    "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "istiod"}}},
                }),
            ],
        ),
        (
            "a deployment with another selector",
            vec![
                space(json!({})),
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "istiod", "namespace": "istio-system"},
                    "spec": {"replicas": 0, "selector": {"matchLabels": {"old": "istiod"}}, "template": {
                        "metadata": {"labels": {"old": "istiod"}}, "spec": {"containers": [{"name": "discovery", "image": "a"}]},
                    }},
                }),
            ],
        ),
    ]
}

/// The property: when precheck is ready, the installation succeeds. When it is not, nothing is written.
#[tokio::test]
async fn an_installation_succeeds_where_precheck_is_ready() {
    if crate::support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let all = leftovers();
    let mut ready = BTreeSet::new();
    for (title, objects) in &all {
        for object in objects {
            mesh.write("leftover", object).await;
        }
        let quota = objects.iter().any(|object| object["kind"] == "ResourceQuota");
        eventually("the quota is enforced", Duration::from_secs(20), async || {
            let found = mesh.get("v1", "ResourceQuota", Some("istio-system"), "leftover").await;
            (!quota || found.is_some_and(|it| it["status"]["hard"].is_object())).then_some(())
        })
        .await;
        let before = mesh.versions().await;
        let (_, check) = mesh.done("mesh.precheck", json!({"version": "1.30.3", "profile": "minimal"})).await;
        let mut params = minimal("1.30.3");
        params["wait"] = json!("40s");
        let installed = mesh.run("mesh.install", params).await;
        if check["ready"] == true {
            ready.insert(*title);
            assert!(installed.is_ok(), "{title}: {}\n{check:#}", installed.unwrap_err().error);
        } else if let Err(failure) = installed {
            assert_eq!(mesh.versions().await, before, "{title}: {}\n{:#?}", failure.error, failure.report);
        } else {
            panic!("{title}: precheck was not ready, and the installation succeeded\n{check:#}");
        }
        // Leftovers first, as some of them would keep the mesh from going.
        for object in objects.iter().rev() {
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            let name = object["metadata"]["name"].as_str().unwrap();
            if kind != "namespace" {
                kubectl(&mesh, &["delete", &kind, name, "--namespace", "istio-system", "--ignore-not-found"]);
            }
        }
        mesh.done("mesh.uninstall", json!({"purge": true, "confirm": "test", "force": true, "wait": "30s"})).await;
        kubectl(&mesh, &["delete", "namespace", "istio-system", "--ignore-not-found"]);
    }
    let expected = [
        "a disruption budget",
        "a large quota",
        "a namespace",
        "a validator of Istio's kinds",
        "a validator of jobs",
        "an unrelated role",
        "two injectors of a dead revision",
    ];
    assert_eq!(ready, BTreeSet::from(expected));
}
