//! Targets that work, that do not, and that stop to; against a real API server and against none.

use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use sailhand::cluster::Action::Created;
use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};
use support::cluster_env::{ClusterEnv, actions, connect, failure, options};

/// What a target with this change to the administrator's kubeconfig fails with.
async fn failing(change: impl FnOnce(&mut Value), context: Option<&str>) -> (Code, Class) {
    let admin = std::fs::read_to_string(support::control_plane::kubeconfig()).unwrap();
    let admin = kube::config::Kubeconfig::from_yaml(&admin).unwrap();
    let mut config = serde_json::to_value(admin).unwrap();
    change(&mut config["clusters"][0]["cluster"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    let target = Target {
        kubeconfig: Some(file.path().to_owned()),
        context: context.map(str::to_owned),
        request_timeout: Duration::from_secs(2),
        ..Target::default()
    };
    let clusters = Clusters::new(BTreeMap::from([("test".to_owned(), target)]));
    let error = match clusters.get("test").await {
        Ok(cluster) => cluster.kind("v1", "ConfigMap").await.unwrap_err(),
        Err(error) => error,
    };
    (error.code(), error.class())
}

#[tokio::test]
async fn unusable_target_shows_its_error() {
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", listener.local_addr().unwrap());

    assert_eq!(failing(|_| (), Some("no-such-context")).await, (Code::SH3014, Class::Terminal));
    let closed = |cluster: &mut Value| cluster["server"] = json!("https://127.0.0.1:1");
    assert_eq!(failing(closed, None).await, (Code::SH3001, Class::RETRY));
    let other_authority = |cluster: &mut Value| {
        use base64::Engine;
        let coded = base64::engine::general_purpose::STANDARD.encode(stranger);
        cluster["certificate-authority-data"] = json!(coded);
    };
    assert_eq!(failing(other_authority, None).await, (Code::SH3018, Class::Terminal));
    let no_answer = |cluster: &mut Value| cluster["server"] = json!(silent);
    assert_eq!(failing(no_answer, None).await, (Code::SH3001, Class::RETRY));
}

#[tokio::test]
async fn targets_are_those_of_the_configuration() {
    let clusters = Clusters::new(BTreeMap::from([(
        "gone".to_owned(),
        Target { kubeconfig: Some("/nonexistent/kubeconfig".into()), ..Target::default() },
    )]));
    assert!(clusters.knows("gone") && !clusters.knows("other"));
    let code = |result: Result<_, sailhand::cluster::Error>| result.map(|_| ()).unwrap_err().code();
    assert_eq!(code(clusters.get("gone").await), Code::SH3014);
    assert_eq!(code(clusters.get("other").await), Code::SH1008);
}

#[tokio::test]
async fn client_without_a_user_is_dropped_and_made_again() {
    let target = Target { kubeconfig: Some(support::control_plane::kubeconfig().to_owned()), ..Target::default() };
    let clusters = Clusters::new(BTreeMap::from([("test".to_owned(), target)]));
    let first = clusters.get("test").await.unwrap();
    assert!(first.kind("v1", "ConfigMap").await.unwrap().is_some());
    clusters.release_unused(Duration::ZERO);
    let weak = {
        let second = clusters.get("test").await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &second), "a command uses it");
        std::sync::Arc::downgrade(&second)
    };
    drop(first);
    clusters.release_unused(Duration::from_mins(10));
    assert!(weak.upgrade().is_some(), "it was used within the last ten minutes");
    clusters.release_unused(Duration::ZERO);
    assert!(weak.upgrade().is_none());
    let again = clusters.get("test").await.unwrap();
    assert!(again.kind("v1", "ConfigMap").await.unwrap().is_some());
}

#[tokio::test]
async fn a_forbidden_request_names_verb_and_resource() {
    let test_env = ClusterEnv::new("forbidden").await;
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["get", "list", "create", "patch", "update"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]},
    ]);
    let limited = test_env.limited(rules).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": test_env.namespace},
        "spec": {"ports": [{"port": 80}]},
    });
    let result =
        test_env.apply_as(&limited, &[test_env.config_map("a", json!({})), service], &options(|_| {}), 1).await;
    let (error, report) = failure(result);
    assert_eq!(error.class(), Class::Terminal);
    assert_eq!(actions(&report)[0], ("a", Created));
    let problem = report.objects[1].problem.as_ref().unwrap();
    assert_eq!(problem.code, "SH3003");
    assert!(problem.message.contains("cannot patch resource \"services\""), "{}", problem.message);
}

#[tokio::test]
async fn refused_credentials_are_read_again() {
    let test_env = ClusterEnv::new("rotated").await;
    test_env.limited(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])).await;
    let set = [test_env.config_map("a", json!({}))];
    let stale = connect(&test_env.kubeconfig("not-a-token"), &test_env.namespace).await;
    let (error, _) = failure(test_env.apply_as(&stale, &set, &options(|_| {}), 1).await);
    assert_eq!((error.code(), error.class()), (Code::SH3002, Class::Terminal));
    test_env.kubeconfig(&test_env.token().await);
    let report = test_env.apply_as(&stale, &set, &options(|_| {}), 1).await.unwrap();
    assert_eq!(actions(&report), [("a", Created)]);
}
