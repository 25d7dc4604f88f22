//! The allow-list of a target for kinds and namespaces, on a real API server.

use crate::support;

use std::sync::Arc;

use sailhand::cluster::Action::{Created, Deleted};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::cluster::{Cluster, Error};
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};
use support::cluster_env::{ClusterEnv, actions, connect_with, failure, options};
use support::control_plane;

async fn restricted(test_env: &ClusterEnv, kinds: Option<&[&str]>, namespaces: &[&str]) -> Arc<Cluster> {
    let list = |entries: &[&str]| Some(entries.iter().map(|&entry| entry.to_owned()).collect());
    connect_with(control_plane::kubeconfig(), &test_env.namespace, |target| {
        target.kinds = kinds.and_then(list);
        target.namespaces = list(namespaces);
    })
    .await
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn assert_not_allowed(error: &Error, list: &str) {
    assert_eq!((error.code(), error.class()), (Code::SH1021, Class::Rejected), "{error}");
    assert!(error.to_string().contains(&format!("not in {list} of target test")), "{error}");
}

#[tokio::test]
async fn set_with_an_object_outside_the_namespaces_writes_nothing() {
    let test_env = ClusterEnv::new("allow-namespace").await;
    let cluster = restricted(&test_env, None, &[&test_env.namespace]).await;
    let set = [test_env.config_map("a", json!({})), in_namespace(test_env.config_map("b", json!({})), "kube-system")];
    for dry_run in [true, false] {
        let options = options(|options| options.dry_run = dry_run);
        let (error, report) = failure(test_env.apply_as(&cluster, &set, &options, 1).await);
        assert_not_allowed(&error, "namespaces");
        assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH1021");
    }
    assert_eq!((test_env.get(&set[0]).await, test_env.inventory().await), (None, None));

    let report = test_env.apply_as(&cluster, &set[..1], &options(|_| {}), 1).await.unwrap();
    assert_eq!(actions(&report), [("a", Created)], "the worker's own inventory is not restricted");
    let report = test_env.delete_as(&cluster, None, &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("a", Deleted)]);
}

#[tokio::test]
async fn kinds_outside_the_list_are_neither_written_nor_read() {
    let test_env = ClusterEnv::new("allow-kind").await;
    let cluster = restricted(&test_env, Some(&["ConfigMap"]), &["*"]).await;
    let mut secret = test_env.config_map("a", json!({}));
    secret["kind"] = json!("Secret");
    test_env.seed("test", &secret).await;
    let (error, _) = failure(test_env.apply_as(&cluster, std::slice::from_ref(&secret), &options(|_| {}), 1).await);
    assert_not_allowed(&error, "kinds");
    let adopt = DeleteOptions { adopt: true, ..DeleteOptions::default() };
    let (error, _) = failure(test_env.delete_as(&cluster, Some(std::slice::from_ref(&secret)), &adopt).await);
    assert_not_allowed(&error, "kinds");
    assert!(test_env.get(&secret).await.is_some());
}

#[tokio::test]
async fn cluster_scoped_objects_need_an_entry_of_their_kind_beside_namespaces() {
    let test_env = ClusterEnv::new("allow-cluster").await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": format!("{}-role", test_env.namespace)}, "rules": [],
    });
    let cluster = restricted(&test_env, None, &[&test_env.namespace]).await;
    let (error, _) = failure(test_env.apply_as(&cluster, std::slice::from_ref(&role), &options(|_| {}), 1).await);
    assert_not_allowed(&error, "kinds");
    let cluster = restricted(&test_env, Some(&["ClusterRole.rbac.authorization.k8s.io"]), &[&test_env.namespace]).await;
    test_env.apply_as(&cluster, &[role], &options(|_| {}), 1).await.unwrap();
    test_env.delete_as(&cluster, None, &DeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn list_that_became_shorter_protects_objects_of_the_inventory() {
    let test_env = ClusterEnv::new("allow-prune").await;
    let set = [test_env.config_map("a", json!({})), test_env.config_map("b", json!({}))];
    test_env.apply(&set, &options(|_| {})).await.unwrap();
    let cluster = restricted(&test_env, None, &["elsewhere"]).await;
    let (error, _) = failure(test_env.delete_as(&cluster, None, &DeleteOptions::default()).await);
    assert_not_allowed(&error, "namespaces");
    let (error, _) = failure(test_env.apply_as(&cluster, &[], &options(|_| {}), 1).await);
    assert_not_allowed(&error, "namespaces");
    assert!(test_env.get(&set[0]).await.is_some() && test_env.get(&set[1]).await.is_some());
    assert_eq!(test_env.members().await, ["a", "b"]);
}
