//! Kinds that come, go and move while an installation has objects of them: nothing is forgotten or reported as gone
//! because it could not be looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::api::PostParams;
use kube::core::DynamicObject;
use sailhand::cluster::Action::{Absent, Deleted, Failed, Pruned, Skipped, Unchanged};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};

use crate::support::api_proxy::ApiProxy;
use crate::support::cluster_env::{ClusterEnv, actions, failure, options};
use crate::support::control_plane;

fn group(test_env: &ClusterEnv) -> String {
    format!("{}.example.com", test_env.namespace)
}

fn crd(test_env: &ClusterEnv, scope: &str, versions: &[(&str, bool)]) -> Value {
    let group = group(test_env);
    let storage = versions.iter().rposition(|(_, served)| *served).unwrap_or(0);
    let version = |(number, (name, served)): (usize, &(&str, bool))| {
        json!({"name": name, "served": served, "storage": number == storage, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        }}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("lamps.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": "Lamp", "plural": "lamps"},
                 "versions": versions.iter().enumerate().map(version).collect::<Vec<_>>()},
    })
}

fn lamp(test_env: &ClusterEnv, version: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{}/{version}", group(test_env)), "kind": "Lamp",
           "metadata": {"name": name, "namespace": test_env.namespace}, "spec": {"on": true}})
}

async fn proxied(test_env: &ClusterEnv) -> (ApiProxy, Arc<sailhand::cluster::Cluster>) {
    let proxy = ApiProxy::start("served", control_plane::kubeconfig(), Arc::default()).await;
    let cluster = test_env.through(&proxy).await;
    (proxy, cluster)
}

#[tokio::test]
async fn an_object_of_a_retired_version_is_pruned_in_another_one() {
    let test_env = ClusterEnv::new("retired").await;
    let before = crd(&test_env, "Namespaced", &[("v1beta1", true), ("v1", true)]);
    let objects = [before, lamp(&test_env, "v1beta1", "hall"), lamp(&test_env, "v1beta1", "attic")];
    test_env.apply(&objects, &options(|_| {})).await.unwrap();

    let after = crd(&test_env, "Namespaced", &[("v1beta1", false), ("v1", true)]);
    let report = test_env.apply(&[after, lamp(&test_env, "v1", "hall")], &options(|_| {})).await.unwrap();
    assert_eq!(report.objects.last().map(|line| (line.object.name.as_str(), line.action)), Some(("attic", Pruned)));
    assert_eq!(test_env.get(&lamp(&test_env, "v1", "attic")).await, None, "it is really gone");
    assert!(test_env.get(&lamp(&test_env, "v1", "hall")).await.is_some());

    // A manifest of the old version still names the object.
    let report = test_env.delete(Some(&[lamp(&test_env, "v1beta1", "hall")]), &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
    assert_eq!(test_env.get(&lamp(&test_env, "v1", "hall")).await, None);
}

#[tokio::test]
async fn prune_and_delete_retry_after_stale_discovery() {
    let test_env = ClusterEnv::new("lagging").await;
    let definition = crd(&test_env, "Namespaced", &[("v1", true)]);
    let objects = [definition.clone(), lamp(&test_env, "v1", "hall"), lamp(&test_env, "v1", "attic")];
    test_env.apply(&objects, &options(|_| {})).await.unwrap();

    let (proxy, cluster) = proxied(&test_env).await;
    let (own, refused) = (format!("/apis/{}/v1/namespaces", group(&test_env)), Arc::new(AtomicUsize::new(0)));
    let lags = refused.clone();
    proxy.answer(move |path, _| {
        let early = path.starts_with(&own) && lags.fetch_add(1, Ordering::Relaxed) < 2;
        early.then(|| (404, "404 page not found".to_owned()))
    });
    let report = test_env.apply_as(&cluster, &[definition], &options(|_| {}), 1).await.unwrap();
    let pruned: Vec<_> = report.objects.iter().filter(|line| line.action == Pruned).collect();
    assert_eq!(pruned.len(), 2, "{report:?}");

    test_env.apply(&objects, &options(|_| {})).await.unwrap();
    refused.store(0, Ordering::Relaxed);
    let report =
        test_env.delete_as(&cluster, Some(&[lamp(&test_env, "v1", "hall")]), &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
}

/// istiod raises `failurePolicy` of its webhooks after they were read, so that the plan is of the state before.
#[tokio::test]
async fn webhook_that_istiod_has_changed_since_it_was_read_is_unchanged() {
    let test_env = ClusterEnv::new("contested").await;
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("contested-{}", test_env.namespace)},
        "webhooks": [{
            "name": "contested.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Ignore",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            // The API server adds a scope to each rule: whether these are the same, only it can say.
            "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}],
        }],
    });
    test_env.apply(std::slice::from_ref(&webhook), &options(|_| {})).await.unwrap();
    let read = test_env.get(&webhook).await.unwrap();
    let mut raised: DynamicObject = serde_json::from_value(read.clone()).unwrap();
    raised.data["webhooks"][0]["failurePolicy"] = "Fail".into();
    let istiod = PostParams { field_manager: Some("pilot-discovery".to_owned()), ..PostParams::default() };
    let name = raised.metadata.name.clone().unwrap();
    test_env.api(&webhook).await.replace(&name, &istiod, &raised).await.unwrap();

    for dry_run in [true, false] {
        let (proxy, cluster) = proxied(&test_env).await;
        let stale = Arc::new(AtomicUsize::new(0));
        let (counted, read, name) = (stale.clone(), read.clone(), name.clone());
        proxy.answer(move |path, _| {
            let first = path.ends_with(&format!("/validatingwebhookconfigurations/{name}"))
                && counted.fetch_add(1, Ordering::Relaxed) == 0;
            first.then(|| (200, read.to_string()))
        });
        let options = options(|options| options.dry_run = dry_run);
        let report = test_env.apply_as(&cluster, std::slice::from_ref(&webhook), &options, 1).await.unwrap();
        assert_eq!(report.objects[0].action, Unchanged, "dry run {dry_run}: {report:?}");
        assert!(stale.load(Ordering::Relaxed) > 1, "it was read again");
    }
    let live = test_env.get(&webhook).await.unwrap();
    assert_eq!(live["webhooks"][0]["failurePolicy"], "Fail");
    test_env.delete(None, &DeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn objects_of_a_kind_that_is_not_served_stay_in_the_inventory() {
    let test_env = ClusterEnv::new("unserved").await;
    let definition = crd(&test_env, "Namespaced", &[("v1", true)]);
    test_env.seed("test", &definition).await;
    let kind_is_served = async || test_env.cluster.kind(&format!("{}/v1", group(&test_env)), "Lamp").await.unwrap();
    crate::support::eventually::eventually("the kind is served", std::time::Duration::from_secs(20), kind_is_served)
        .await;
    let map = test_env.config_map("map", json!({}));
    test_env.apply(&[lamp(&test_env, "v1", "hall"), map.clone()], &options(|_| {})).await.unwrap();

    // Discovery of an API server that does not know the group, as in a control plane with servers of two ages.
    let (proxy, cluster) = proxied(&test_env).await;
    let own = group(&test_env);
    proxy.answer(move |path, _| {
        let without = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
            {"metadata": {"name": "apiextensions.k8s.io"}, "versions": [{"version": "v1", "freshness": "Current", "resources": [
                {"resource": "customresourcedefinitions", "scope": "Cluster", "verbs": ["get", "list"],
                 "singularResource": "customresourcedefinition", "responseKind":
                 {"group": "apiextensions.k8s.io", "version": "v1", "kind": "CustomResourceDefinition"}},
            ]}]},
        ]});
        (path == "/apis").then(|| (200, without.to_string()))
            .or_else(|| path.starts_with(&format!("/apis/{own}")).then(|| (404, "404 page not found".to_owned())))
    });
    let report = test_env.apply_as(&cluster, std::slice::from_ref(&map), &options(|_| {}), 1).await.unwrap();
    assert_eq!(actions(&report), [("map", Unchanged), ("hall", Skipped)]);
    assert!(report.objects[1].reason.as_ref().unwrap().contains("not pruned"), "{report:?}");
    assert!(test_env.members().await.contains(&"hall".to_owned()));

    let (error, report) = failure(test_env.delete_as(&cluster, None, &DeleteOptions::default()).await);
    assert_eq!(error.class(), Class::RETRY, "{error}");
    let line = report.objects.iter().find(|line| line.object.name == "hall").unwrap();
    assert_eq!((line.action, line.problem.as_ref().unwrap().code.as_str()), (Failed, "SH3024"));
    assert_eq!(test_env.members().await, ["hall"]);

    let report = test_env.delete(None, &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
    assert_eq!(test_env.inventory().await, None);
}

#[tokio::test]
async fn objects_of_a_removed_kind_count_as_deleted() {
    let test_env = ClusterEnv::new("gone").await;
    let definition = crd(&test_env, "Namespaced", &[("v1", true)]);
    let map = test_env.config_map("map", json!({}));
    test_env.apply(&[definition.clone(), lamp(&test_env, "v1", "hall"), map.clone()], &options(|_| {})).await.unwrap();
    let crds = test_env.api(&definition).await;
    crds.delete(definition["metadata"]["name"].as_str().unwrap(), &kube::api::DeleteParams::default()).await.unwrap();
    crate::support::eventually::eventually("the kind is gone", std::time::Duration::from_secs(30), async || {
        test_env.get(&definition).await.is_none().then_some(())
    })
    .await;
    let report = crate::support::eventually::eventually(
        "discovery has heard of it",
        std::time::Duration::from_secs(30),
        async || test_env.delete(None, &DeleteOptions::default()).await.ok(),
    )
    .await;
    assert!(actions(&report).contains(&("hall", Absent)), "{:?}", actions(&report));
    assert_eq!(test_env.inventory().await, None);
}

/// A proxy in front of the API server that answers 404 for everything.
#[tokio::test]
async fn a_404_without_an_object_is_no_proof_that_it_does_not_exist() {
    let test_env = ClusterEnv::new("bare").await;
    let maps: Vec<_> = (0..5).map(|i| test_env.config_map(&format!("c{i}"), json!({}))).collect();
    test_env.apply(&maps, &options(|_| {})).await.unwrap();
    let before = test_env.inventory().await;
    let (proxy, cluster) = proxied(&test_env).await;
    for path in ["/api/v1/namespaces/", "/"] {
        proxy.answer(move |asked, _| asked.starts_with(path).then(|| (404, "404 page not found".to_owned())));
        let (error, _) = failure(test_env.delete_as(&cluster, None, &DeleteOptions::default()).await);
        assert_eq!((error.code(), error.class()), (Code::SH3004, Class::RETRY), "{error}");
        let (error, _) = failure(test_env.apply_as(&cluster, &maps[..1], &options(|_| {}), 1).await);
        assert_eq!(error.class(), Class::RETRY, "{error}");
    }
    assert_eq!(test_env.inventory().await, before);
    assert!(test_env.get(&maps[4]).await.is_some());
}

/// Event is served in the core group and in events.k8s.io: one object.
#[tokio::test]
async fn one_object_in_two_groups_is_not_pruned() {
    let test_env = ClusterEnv::new("groups").await;
    let core = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": test_env.namespace},
        "involvedObject": {"kind": "Namespace", "name": test_env.namespace, "namespace": test_env.namespace},
        "reason": "Test", "type": "Normal", "reportingComponent": "example.com/test", "reportingInstance": "a",
        "action": "Test", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let other = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": test_env.namespace},
        "regarding": {"kind": "Namespace", "name": test_env.namespace, "namespace": test_env.namespace},
        "reason": "Test", "type": "Normal", "reportingController": "example.com/test", "reportingInstance": "a",
        "action": "Test", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    test_env.apply(std::slice::from_ref(&core), &options(|_| {})).await.unwrap();
    let uid = test_env.get(&core).await.unwrap()["metadata"]["uid"].clone();
    let report = test_env.apply(std::slice::from_ref(&other), &options(|options| options.force = true)).await.unwrap();
    assert!(actions(&report).iter().all(|(_, action)| *action != Pruned), "{:?}", actions(&report));
    assert_eq!(test_env.get(&core).await.unwrap()["metadata"]["uid"], uid);
    assert_eq!(test_env.members().await, ["e"]);
    let (error, _) = failure(test_env.apply(&[core, other], &options(|_| {})).await);
    assert_eq!(error.code(), Code::SH3104, "{error}");
}

/// The scope of a CRD is immutable: the old objects went with the old CRD.
#[tokio::test]
async fn an_object_of_a_kind_with_a_new_scope_is_not_taken_for_the_old_one() {
    let test_env = ClusterEnv::new("scope").await;
    let definition = crd(&test_env, "Namespaced", &[("v1", true)]);
    test_env.apply(&[definition.clone(), lamp(&test_env, "v1", "hall")], &options(|_| {})).await.unwrap();
    let crds = test_env.api(&definition).await;
    crds.delete(definition["metadata"]["name"].as_str().unwrap(), &kube::api::DeleteParams::default()).await.unwrap();
    crate::support::eventually::eventually("the kind is gone", std::time::Duration::from_secs(30), async || {
        test_env.get(&definition).await.is_none().then_some(())
    })
    .await;
    let definition = crd(&test_env, "Cluster", &[("v1", true)]);
    let mut wide = lamp(&test_env, "v1", "hall");
    wide["metadata"].as_object_mut().unwrap().remove("namespace");
    let set = [definition, wide.clone()];
    let report = crate::support::eventually::eventually(
        "discovery has heard of the new scope",
        std::time::Duration::from_secs(30),
        async || test_env.apply(&set, &options(|_| {})).await.ok(),
    )
    .await;
    assert!(actions(&report).iter().all(|(_, action)| *action != Pruned), "{:?}", actions(&report));
    let again = test_env.apply(&set, &options(|_| {})).await.unwrap();
    assert!(!again.changed(), "{:?}", actions(&again));
    assert!(test_env.get(&wide).await.is_some());
}

#[tokio::test]
async fn a_list_whose_token_expires_starts_again() {
    let test_env = ClusterEnv::new("expired").await;
    let maps: Vec<_> = (0..510).map(|i| test_env.config_map(&format!("c{i}"), json!({"k": "v"}))).collect();
    test_env.apply(&maps, &options(|_| {})).await.unwrap();
    let (proxy, cluster) = proxied(&test_env).await;
    let expired = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&expired);
    proxy.answer(move |_, query| {
        (query.contains("continue=") && count.fetch_add(1, Ordering::Relaxed) == 0).then(|| {
            let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
                              "message": "The provided continue parameter is too old"});
            (410, gone.to_string())
        })
    });
    let report = test_env.apply_as(&cluster, &maps, &options(|_| {}), 1).await.unwrap();
    assert!(report.objects.iter().all(|line| line.action == Unchanged));
    assert!(expired.load(Ordering::Relaxed) > 1, "the second page was asked for again");
    let kind = cluster.kind("v1", "ConfigMap").await.unwrap().unwrap();
    let count = Arc::clone(&expired);
    count.store(0, Ordering::Relaxed);
    let mut names = Vec::new();
    let read =
        cluster.list(&kind, Some(&test_env.namespace), None, |one| names.push(one["metadata"]["name"].to_string()));
    read.await.unwrap();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (all, all), "each object once");
    assert!(all >= 510);
    assert!(maps.iter().all(|map| names.contains(&map["metadata"]["name"].to_string())));
}
