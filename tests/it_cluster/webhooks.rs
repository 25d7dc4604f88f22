//! Admission webhooks that a real API server calls and whose answers it cannot use.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sailhand::error::{Class, Classify};
use serde_json::{Value, json};

use crate::support::admission::AdmissionWebhook;
use crate::support::cluster_env::{ClusterEnv, failure, options};
use crate::support::eventually::eventually;

/// Each answer of a broken webhook, by the name of the object, with what the message says.
const BROKEN: [(&str, &str); 7] = [
    ("missing-path", "replace operation does not apply"),
    ("missing-parent", "add operation does not apply"),
    ("failed-test", "test failed"),
    ("wrong-type", "cannot unmarshal"),
    ("no-patch", "undecodable patch"),
    ("unknown-type", "\"Merge\""),
    ("another-uid", "expected response.uid"),
];

fn answer(request: &Value) -> Value {
    let patch = |patch: Value| json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string()) });
    match request["name"].as_str().unwrap_or_default() {
        "missing-path" => patch(json!([{ "op": "replace", "path": "/spec/replicas", "value": 1 }])),
        "missing-parent" => patch(json!([{ "op": "add", "path": "/spec/a/b", "value": 1 }])),
        "failed-test" => patch(json!([{ "op": "test", "path": "/data/a", "value": "other" }])),
        "wrong-type" => patch(json!([{ "op": "add", "path": "/data", "value": 5 }])),
        "no-patch" => patch(json!("add")),
        "unknown-type" => {
            let mut answer = patch(json!([{ "op": "add", "path": "/data/b", "value": "2" }]));
            answer["patchType"] = json!("Merge");
            answer
        }
        "another-uid" => json!({ "allowed": true, "uid": "other" }),
        _ => json!({ "allowed": true }),
    }
}

/// Has the API server call the webhook for labeled `ConfigMap`s of the test's namespace.
async fn configure(test_env: &ClusterEnv, server: &AdmissionWebhook) -> Value {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": test_env.namespace}, "webhooks": [{
            "name": "broken.example.com", "clientConfig": server.client_config, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "objectSelector": {"matchLabels": {"webhook": "broken"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": test_env.namespace}},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
            }],
        }],
    });
    test_env.seed("other", &configuration).await;
    configuration
}

fn labeled(test_env: &ClusterEnv, name: &str) -> Value {
    let mut map = test_env.config_map(name, json!({"a": "1"}));
    map["metadata"]["labels"] = json!({ "webhook": "broken" });
    map
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_not_retried() {
    let test_env = ClusterEnv::new("broken").await;
    let server = AdmissionWebhook::start(answer).await;
    let configuration = configure(&test_env, &server).await;
    let dry = options(|options| options.dry_run = true);
    // The API server calls a new webhook some moments after its configuration is written.
    eventually("the webhook is called", Duration::from_secs(30), async || {
        test_env.apply(&[labeled(&test_env, "missing-path")], &dry).await.is_err().then_some(())
    })
    .await;
    for (name, says) in BROKEN {
        let map = labeled(&test_env, name);
        for options in [&dry, &options(|_| {})] {
            let (error, report) = failure(test_env.apply(std::slice::from_ref(&map), options).await);
            let problem = report.objects[0].problem.as_ref().unwrap();
            let found = (problem.code.as_str(), error.class());
            assert_eq!(found, ("SH3025", Class::Terminal), "{name}: {}", problem.message);
            assert!(problem.message.contains(says), "{name}: {}", problem.message);
        }
        assert_eq!(test_env.get(&map).await, None);
    }
    let api = test_env.api(&configuration).await;
    api.delete(&test_env.namespace, &kube::api::DeleteParams::default()).await.unwrap();
}
