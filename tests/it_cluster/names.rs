//! Whose an installation is: names that other verbs own, inventories of other targets, inventories in manifests.

use std::collections::BTreeMap;

use sailhand::cluster::Action::{Created, Unchanged};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::cluster::{Clusters, Family};
use sailhand::config::Target;
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};

use crate::support::cluster_env::{ClusterEnv, actions, failure, options};
use crate::support::control_plane;

#[tokio::test]
async fn config_verbs_cannot_use_the_names_of_a_mesh() {
    let mut test_env = ClusterEnv::new("reserved").await;
    test_env.installation = "istiod-default".to_owned();
    let (part, other) = (test_env.config_map("part", json!({})), test_env.config_map("other", json!({})));
    let mesh = options(|options| options.family = Family::Mesh);
    test_env.apply(std::slice::from_ref(&part), &mesh).await.unwrap();
    for adopt in [false, true] {
        let options = options(|options| options.adopt = adopt);
        let (error, _) = failure(test_env.apply(std::slice::from_ref(&other), &options).await);
        assert_eq!((error.code(), error.class()), (Code::SH3021, Class::Terminal));
        let (error, _) = failure(test_env.delete(None, &DeleteOptions { adopt, ..DeleteOptions::default() }).await);
        assert_eq!(error.code(), Code::SH3021);
    }
    assert!(test_env.get(&part).await.is_some() && test_env.get(&other).await.is_none());
    test_env.delete(None, &DeleteOptions { family: Family::Mesh, ..DeleteOptions::default() }).await.unwrap();
    let (error, _) = failure(test_env.apply(&[other], &options(|_| {})).await);
    assert_eq!(error.code(), Code::SH3021, "the name is reserved although nothing is installed");
}

#[tokio::test]
async fn an_inventory_without_marks_is_adopted_by_the_verbs_of_its_name() {
    let test_env = ClusterEnv::new("unmarked").await;
    let map = test_env.config_map("a", json!({}));
    test_env.apply(std::slice::from_ref(&map), &options(|_| {})).await.unwrap();
    let mut inventory = test_env.inventory().await.unwrap();
    let annotations = inventory["metadata"]["annotations"].as_object_mut().unwrap();
    assert_eq!(annotations.remove("sailhand.meshery.io/verbs"), Some(json!("config")));
    assert_eq!(annotations.remove("sailhand.meshery.io/target"), Some(json!("test")));
    inventory["metadata"].as_object_mut().unwrap().remove("managedFields");
    let api = test_env.api(&inventory).await;
    api.replace(
        inventory["metadata"]["name"].as_str().unwrap(),
        &kube::api::PostParams::default(),
        &serde_json::from_value(inventory.clone()).unwrap(),
    )
    .await
    .unwrap();
    let again = test_env.apply(std::slice::from_ref(&map), &options(|_| {})).await.unwrap();
    assert_eq!(actions(&again), [("a", Unchanged)]);
    test_env.apply(&[map, test_env.config_map("b", json!({}))], &options(|_| {})).await.unwrap();
    let marked = test_env.inventory().await.unwrap();
    assert_eq!(marked["metadata"]["annotations"]["sailhand.meshery.io/verbs"], "config");
}

#[tokio::test]
async fn two_targets_do_not_share_an_inventory() {
    let test_env = ClusterEnv::new("targets").await;
    let map = test_env.config_map("a", json!({}));
    test_env.apply(std::slice::from_ref(&map), &options(|_| {})).await.unwrap();
    let target = Target {
        kubeconfig: Some(control_plane::kubeconfig().to_owned()),
        inventory_namespace: format!("{}-inventory", test_env.namespace),
        ..Target::default()
    };
    let renamed = Clusters::new(BTreeMap::from([("renamed".to_owned(), target)])).get("renamed").await.unwrap();
    let other = [test_env.config_map("b", json!({}))];
    let (error, _) = failure(test_env.apply_as(&renamed, &other, &options(|_| {}), 2).await);
    assert_eq!((error.code(), error.class()), (Code::SH3022, Class::Terminal));
    assert!(error.to_string().contains("target test"), "{error}");
    let (error, _) = failure(test_env.delete_as(&renamed, None, &DeleteOptions::default()).await);
    assert_eq!(error.code(), Code::SH3022);
    assert!(test_env.get(&map).await.is_some(), "nothing was pruned or deleted");

    let adopt = options(|options| options.adopt = true);
    let report = test_env.apply_as(&renamed, &[map, other[0].clone()], &adopt, 2).await.unwrap();
    assert_eq!(actions(&report), [("a", Unchanged), ("b", Created)]);
}

#[tokio::test]
async fn manifests_cannot_write_or_delete_inventories() {
    let test_env = ClusterEnv::new("inventories").await;
    let map = test_env.config_map("a", json!({}));
    test_env.apply(std::slice::from_ref(&map), &options(|_| {})).await.unwrap();
    let stored = test_env.inventory().await.unwrap();
    let mut forged = stored.clone();
    forged["metadata"] = json!({"name": stored["metadata"]["name"], "namespace": stored["metadata"]["namespace"]});
    forged["data"] = json!({"objects": "[]"});
    let mut elsewhere = test_env.config_map("copy", json!({"objects": "[]"}));
    elsewhere["metadata"]["annotations"] = stored["metadata"]["annotations"].clone();
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{}-inventory", test_env.namespace)},
    });
    let all = options(|options| {
        options.force = true;
        options.adopt = true;
    });
    for object in [&forged, &elsewhere] {
        let (error, report) =
            failure(test_env.apply(&[test_env.config_map("b", json!({})), object.clone()], &all).await);
        assert_eq!((error.code(), error.class()), (Code::SH3023, Class::Terminal), "{error}");
        assert_eq!(report.objects.len(), 1);
    }
    assert_eq!(test_env.get(&test_env.config_map("b", json!({}))).await, None, "nothing is written");
    for object in [&forged, &namespace] {
        let purge = DeleteOptions { adopt: true, purge: true, ..DeleteOptions::default() };
        let (_, report) = failure(test_env.delete(Some(std::slice::from_ref(object)), &purge).await);
        assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH3023");
    }
    assert_eq!(without_fields(test_env.inventory().await.unwrap()), without_fields(stored));
}

fn without_fields(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}
