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
use crate::support::control_plane;
use crate::support::site::{Site, actions, failure, options};

fn group(site: &Site) -> String {
    format!("{}.example.com", site.namespace)
}

fn crd(site: &Site, scope: &str, versions: &[(&str, bool)]) -> Value {
    let group = group(site);
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

fn lamp(site: &Site, version: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{}/{version}", group(site)), "kind": "Lamp",
           "metadata": {"name": name, "namespace": site.namespace}, "spec": {"on": true}})
}

async fn proxied(site: &Site) -> (ApiProxy, Arc<sailhand::cluster::Cluster>) {
    let proxy = ApiProxy::start("served", control_plane::kubeconfig(), Arc::default()).await;
    let cluster = site.through(&proxy).await;
    (proxy, cluster)
}

#[tokio::test]
async fn an_object_of_a_retired_version_is_pruned_in_another_one() {
    let site = Site::new("retired").await;
    let before = crd(&site, "Namespaced", &[("v1beta1", true), ("v1", true)]);
    let objects = [before, lamp(&site, "v1beta1", "hall"), lamp(&site, "v1beta1", "attic")];
    site.apply(&objects, &options(|_| {})).await.unwrap();

    let after = crd(&site, "Namespaced", &[("v1beta1", false), ("v1", true)]);
    let report = site.apply(&[after, lamp(&site, "v1", "hall")], &options(|_| {})).await.unwrap();
    assert_eq!(report.objects.last().map(|line| (line.object.name.as_str(), line.action)), Some(("attic", Pruned)));
    assert_eq!(site.get(&lamp(&site, "v1", "attic")).await, None, "it is really gone");
    assert!(site.get(&lamp(&site, "v1", "hall")).await.is_some());

    // A manifest of the old version still names the object.
    let report = site.delete(Some(&[lamp(&site, "v1beta1", "hall")]), &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
    assert_eq!(site.get(&lamp(&site, "v1", "hall")).await, None);
}

#[tokio::test]
async fn prune_and_delete_repeat_what_contradicts_the_discovery() {
    let site = Site::new("lagging").await;
    let definition = crd(&site, "Namespaced", &[("v1", true)]);
    let objects = [definition.clone(), lamp(&site, "v1", "hall"), lamp(&site, "v1", "attic")];
    site.apply(&objects, &options(|_| {})).await.unwrap();

    let (proxy, cluster) = proxied(&site).await;
    let (own, refused) = (format!("/apis/{}/v1/namespaces", group(&site)), Arc::new(AtomicUsize::new(0)));
    let lags = refused.clone();
    proxy.answer(move |path, _| {
        let early = path.starts_with(&own) && lags.fetch_add(1, Ordering::Relaxed) < 2;
        early.then(|| (404, "404 page not found".to_owned()))
    });
    let report = site.apply_as(&cluster, &[definition], &options(|_| {}), 1).await.unwrap();
    let pruned: Vec<_> = report.objects.iter().filter(|line| line.action == Pruned).collect();
    assert_eq!(pruned.len(), 2, "{report:?}");

    site.apply(&objects, &options(|_| {})).await.unwrap();
    refused.store(0, Ordering::Relaxed);
    let report = site.delete_as(&cluster, Some(&[lamp(&site, "v1", "hall")]), &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
}

/// istiod raises `failurePolicy` of its webhooks after they were read, so that the plan is of the state before.
#[tokio::test]
async fn webhook_that_istiod_has_changed_since_it_was_read_is_unchanged() {
    let site = Site::new("contested").await;
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("contested-{}", site.namespace)},
        "webhooks": [{
            "name": "contested.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Ignore",
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            // The API server adds a scope to each rule: whether these are the same, only it can say.
            "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}],
        }],
    });
    site.apply(std::slice::from_ref(&webhook), &options(|_| {})).await.unwrap();
    let read = site.get(&webhook).await.unwrap();
    let mut raised: DynamicObject = serde_json::from_value(read.clone()).unwrap();
    raised.data["webhooks"][0]["failurePolicy"] = "Fail".into();
    let istiod = PostParams { field_manager: Some("pilot-discovery".to_owned()), ..PostParams::default() };
    let name = raised.metadata.name.clone().unwrap();
    site.api(&webhook).await.replace(&name, &istiod, &raised).await.unwrap();

    let (proxy, cluster) = proxied(&site).await;
    let stale = Arc::new(AtomicUsize::new(0));
    let counted = stale.clone();
    proxy.answer(move |path, _| {
        let first = path.ends_with(&format!("/validatingwebhookconfigurations/{name}"))
            && counted.fetch_add(1, Ordering::Relaxed) == 0;
        first.then(|| (200, read.to_string()))
    });
    let report = site.apply_as(&cluster, std::slice::from_ref(&webhook), &options(|_| {}), 1).await.unwrap();
    assert_eq!(report.objects[0].action, Unchanged, "{report:?}");
    assert!(stale.load(Ordering::Relaxed) > 1, "it was read again");
    let live = site.get(&webhook).await.unwrap();
    assert_eq!(live["webhooks"][0]["failurePolicy"], "Fail");
    site.delete(None, &DeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn objects_of_a_kind_that_is_not_served_stay_in_the_inventory() {
    let site = Site::new("unserved").await;
    let definition = crd(&site, "Namespaced", &[("v1", true)]);
    site.seed("test", &definition).await;
    let kind_is_served = async || site.cluster.kind(&format!("{}/v1", group(&site)), "Lamp").await.unwrap();
    crate::support::eventually::eventually("the kind is served", std::time::Duration::from_secs(20), kind_is_served)
        .await;
    let map = site.config_map("map", json!({}));
    site.apply(&[lamp(&site, "v1", "hall"), map.clone()], &options(|_| {})).await.unwrap();

    // Discovery of an API server that does not know the group, as in a control plane with servers of two ages.
    let (proxy, cluster) = proxied(&site).await;
    let own = group(&site);
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
    let report = site.apply_as(&cluster, std::slice::from_ref(&map), &options(|_| {}), 1).await.unwrap();
    assert_eq!(actions(&report), [("map", Unchanged), ("hall", Skipped)]);
    assert!(report.objects[1].reason.as_ref().unwrap().contains("not pruned"), "{report:?}");
    assert!(site.members().await.contains(&"hall".to_owned()));

    let (error, report) = failure(site.delete_as(&cluster, None, &DeleteOptions::default()).await);
    assert_eq!(error.class(), Class::RETRY, "{error}");
    let line = report.objects.iter().find(|line| line.object.name == "hall").unwrap();
    assert_eq!((line.action, line.problem.as_ref().unwrap().code.as_str()), (Failed, "SH3024"));
    assert_eq!(site.members().await, ["hall"]);

    let report = site.delete(None, &DeleteOptions::default()).await.unwrap();
    assert_eq!(actions(&report), [("hall", Deleted)]);
    assert_eq!(site.inventory().await, None);
}

#[tokio::test]
async fn a_kind_that_is_gone_takes_its_objects_with_it() {
    let site = Site::new("gone").await;
    let definition = crd(&site, "Namespaced", &[("v1", true)]);
    let map = site.config_map("map", json!({}));
    site.apply(&[definition.clone(), lamp(&site, "v1", "hall"), map.clone()], &options(|_| {})).await.unwrap();
    let crds = site.api(&definition).await;
    crds.delete(definition["metadata"]["name"].as_str().unwrap(), &kube::api::DeleteParams::default()).await.unwrap();
    crate::support::eventually::eventually("the kind is gone", std::time::Duration::from_secs(30), async || {
        site.get(&definition).await.is_none().then_some(())
    })
    .await;
    let report = crate::support::eventually::eventually(
        "discovery has heard of it",
        std::time::Duration::from_secs(30),
        async || site.delete(None, &DeleteOptions::default()).await.ok(),
    )
    .await;
    assert!(actions(&report).contains(&("hall", Absent)), "{:?}", actions(&report));
    assert_eq!(site.inventory().await, None);
}

/// A proxy in front of the API server that answers 404 for everything.
#[tokio::test]
async fn a_404_without_an_object_is_no_proof_that_it_does_not_exist() {
    let site = Site::new("bare").await;
    let maps: Vec<_> = (0..5).map(|i| site.config_map(&format!("c{i}"), json!({}))).collect();
    site.apply(&maps, &options(|_| {})).await.unwrap();
    let before = site.inventory().await;
    let (proxy, cluster) = proxied(&site).await;
    for path in ["/api/v1/namespaces/", "/"] {
        proxy.answer(move |asked, _| asked.starts_with(path).then(|| (404, "404 page not found".to_owned())));
        let (error, _) = failure(site.delete_as(&cluster, None, &DeleteOptions::default()).await);
        assert_eq!((error.code(), error.class()), (Code::SH3004, Class::RETRY), "{error}");
        let (error, _) = failure(site.apply_as(&cluster, &maps[..1], &options(|_| {}), 1).await);
        assert_eq!(error.class(), Class::RETRY, "{error}");
    }
    assert_eq!(site.inventory().await, before);
    assert!(site.get(&maps[4]).await.is_some());
}

/// Event is served in the core group and in events.k8s.io: one object.
#[tokio::test]
async fn one_object_in_two_groups_is_not_pruned() {
    let site = Site::new("groups").await;
    let core = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": site.namespace},
        "involvedObject": {"kind": "Namespace", "name": site.namespace, "namespace": site.namespace},
        "reason": "Test", "type": "Normal", "reportingComponent": "example.com/test", "reportingInstance": "a",
        "action": "Test", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let other = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": site.namespace},
        "regarding": {"kind": "Namespace", "name": site.namespace, "namespace": site.namespace},
        "reason": "Test", "type": "Normal", "reportingController": "example.com/test", "reportingInstance": "a",
        "action": "Test", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    site.apply(std::slice::from_ref(&core), &options(|_| {})).await.unwrap();
    let uid = site.get(&core).await.unwrap()["metadata"]["uid"].clone();
    let report = site.apply(std::slice::from_ref(&other), &options(|options| options.force = true)).await.unwrap();
    assert!(actions(&report).iter().all(|(_, action)| *action != Pruned), "{:?}", actions(&report));
    assert_eq!(site.get(&core).await.unwrap()["metadata"]["uid"], uid);
    assert_eq!(site.members().await, ["e"]);
    let (error, _) = failure(site.apply(&[core, other], &options(|_| {})).await);
    assert_eq!(error.code(), Code::SH3104, "{error}");
}

/// The scope of a CRD is immutable: the old objects went with the old CRD.
#[tokio::test]
async fn an_object_of_a_kind_with_a_new_scope_is_not_taken_for_the_old_one() {
    let site = Site::new("scope").await;
    let definition = crd(&site, "Namespaced", &[("v1", true)]);
    site.apply(&[definition.clone(), lamp(&site, "v1", "hall")], &options(|_| {})).await.unwrap();
    let crds = site.api(&definition).await;
    crds.delete(definition["metadata"]["name"].as_str().unwrap(), &kube::api::DeleteParams::default()).await.unwrap();
    crate::support::eventually::eventually("the kind is gone", std::time::Duration::from_secs(30), async || {
        site.get(&definition).await.is_none().then_some(())
    })
    .await;
    let definition = crd(&site, "Cluster", &[("v1", true)]);
    let mut wide = lamp(&site, "v1", "hall");
    wide["metadata"].as_object_mut().unwrap().remove("namespace");
    let set = [definition, wide.clone()];
    let report = crate::support::eventually::eventually(
        "discovery has heard of the new scope",
        std::time::Duration::from_secs(30),
        async || site.apply(&set, &options(|_| {})).await.ok(),
    )
    .await;
    assert!(actions(&report).iter().all(|(_, action)| *action != Pruned), "{:?}", actions(&report));
    let again = site.apply(&set, &options(|_| {})).await.unwrap();
    assert!(!again.changed(), "{:?}", actions(&again));
    assert!(site.get(&wide).await.is_some());
}

#[tokio::test]
async fn a_list_whose_token_expires_starts_again() {
    let site = Site::new("expired").await;
    let maps: Vec<_> = (0..510).map(|i| site.config_map(&format!("c{i}"), json!({"k": "v"}))).collect();
    site.apply(&maps, &options(|_| {})).await.unwrap();
    let (proxy, cluster) = proxied(&site).await;
    let expired = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&expired);
    proxy.answer(move |_, query| {
        (query.contains("continue=") && count.fetch_add(1, Ordering::Relaxed) == 0).then(|| {
            let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
                              "message": "The provided continue parameter is too old"});
            (410, gone.to_string())
        })
    });
    let report = site.apply_as(&cluster, &maps, &options(|_| {}), 1).await.unwrap();
    assert!(report.objects.iter().all(|line| line.action == Unchanged));
    assert!(expired.load(Ordering::Relaxed) > 1, "the second page was asked for again");
    let kind = cluster.kind("v1", "ConfigMap").await.unwrap().unwrap();
    let count = Arc::clone(&expired);
    count.store(0, Ordering::Relaxed);
    let mut names = Vec::new();
    let read = cluster.list(&kind, Some(&site.namespace), None, |one| names.push(one["metadata"]["name"].to_string()));
    read.await.unwrap();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), all), (all, all), "each object once");
    assert!(all >= 510);
    assert!(maps.iter().all(|map| names.contains(&map["metadata"]["name"].to_string())));
}
