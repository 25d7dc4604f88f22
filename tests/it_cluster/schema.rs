//! Objects that a real API server cannot take, whatever the attempt: terminal, with the field named.

use kube::api::{DeleteParams, Patch, PatchParams};
use sailhand::error::{Class, Classify};
use serde_json::{Value, json};

use crate::support::cluster_env::{ClusterEnv, failure, options};

/// Each with what the message has to name.
fn misfits(namespace: &str) -> Vec<(Value, &'static str)> {
    let object = |kind: &str, api_version: &str, rest: Value| {
        let mut object = json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": "misfit", "namespace": namespace},
        });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let pod = |spec: Value| object("Pod", "v1", json!({ "spec": spec }));
    let container = |more: Value| {
        let mut container = json!({"name": "app", "image": "i:1"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "containers": [container] })
    };
    vec![
        (
            pod(container(json!({"env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]}))),
            ".env: duplicate entries for key [name=\"X\"]",
        ),
        (pod(json!({"foo": 1, "containers": [{"name": "a", "image": "i"}]})), ".spec.foo: field not declared"),
        (pod(json!({"containers": {"name": "a"}})), ".spec.containers: expected list"),
        (pod(json!({"containers": [null]})), ".spec.containers"),
        (pod(container(json!({"resources": {"requests": {"cpu": "1xx"}}}))), "quantities"),
        (pod(container(json!({"stdin": "yes"}))), ".stdin: expected boolean"),
        (object("Service", "v1", json!({"spec": {"ports": [{"port": "80"}]}})), ".port: expected numeric"),
        (
            object("Service", "v1", json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}})),
            ".spec.ports: duplicate entries",
        ),
        (object("Secret", "v1", json!({"data": {"a": "%%"}})), "base64"),
        (object("Secret", "v1", json!({"data": "x"})), ".data: expected map"),
        (object("Secret", "v1", json!({"stringData": {"pin": 4711}})), ".stringData.pin: expected string"),
        (object("Lease", "coordination.k8s.io/v1", json!({"spec": {"renewTime": "noon"}})), "noon"),
        (object("Deployment", "apps/v1", json!({"spec": {"replicas": 1.5}})), "float64"),
        (object("Deployment", "apps/v1", json!({"spec": {"replicas": 1}})), "spec.selector: Required"),
    ]
}

#[tokio::test]
async fn misfits_are_terminal_and_name_the_field() {
    let test_env = ClusterEnv::new("misfit").await;
    for (object, names) in misfits(&test_env.namespace) {
        for dry_run in [false, true] {
            let (error, report) = failure(
                test_env.apply(std::slice::from_ref(&object), &options(|options| options.dry_run = dry_run)).await,
            );
            assert_eq!(error.class(), Class::Terminal, "{error}");
            let problem = report.objects[0].problem.as_ref().unwrap();
            assert_eq!(problem.code, "SH3005", "{}", problem.message);
            assert!(problem.message.contains(names), "{names}: {}", problem.message);
            assert!(!problem.message.contains("4711"), "a Secret's value is quoted: {}", problem.message);
        }
    }
}

/// A CRD whose conversion webhook does not answer: that may pass, so it is tried again.
#[tokio::test]
async fn a_conversion_webhook_that_is_down_is_tried_again() {
    let test_env = ClusterEnv::new("conversion").await;
    let group = format!("{}.example.com", test_env.namespace);
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        }}})
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("lamps.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Lamp", "plural": "lamps"},
            "versions": [version("v1", true), version("v2", false)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"},
            }},
        },
    });
    let lamp = |version: &str| {
        json!({"apiVersion": format!("{group}/{version}"), "kind": "Lamp",
               "metadata": {"name": "a", "namespace": test_env.namespace}, "spec": {"on": true}})
    };
    test_env.apply(&[crd.clone(), lamp("v1")], &options(|_| {})).await.unwrap();
    let (error, report) = failure(test_env.apply(&[crd.clone(), lamp("v2")], &options(|_| {})).await);
    // Kinds that cannot be listed keep namespaces of other tests from going.
    let (crds, name) = (test_env.api(&crd).await, crd["metadata"]["name"].as_str().unwrap());
    let repair = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    crds.patch(name, &PatchParams::default(), &Patch::Merge(&repair)).await.unwrap();
    crds.delete(name, &DeleteParams::default()).await.unwrap();
    assert_eq!(error.class(), Class::RETRY, "{error}");
    let code = report.objects.iter().find_map(|line| line.problem.as_ref()).map(|problem| problem.code.clone());
    assert!(code.is_none_or(|code| code == "SH3011"), "{error}");
}
