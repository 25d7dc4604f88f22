//! The sample applications on a real API server with real controllers; only the nodes are simulated.

use crate::cluster_target;
use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_target::{context, object, read, unique, write, write_served};
use sailhand::cluster::{Action, ObjectReport};
use sailhand::error::Classify;
use sailhand::task::sample::{Choice, Deploy, DeployParams, Name, Remove, RemoveParams};
use sailhand::task::{Outcome, Task, TaskContext};
use serde_json::{Value, json};

fn deploy_in(namespace: &str, application: Name) -> DeployParams {
    let mut params = DeployParams::of(application);
    params.namespace = Some(serde_json::from_value(namespace.into()).unwrap());
    params.wait = Duration::from_secs(90);
    params.entry = Choice::None; // the definitions come and go with another test
    params
}

fn remove_from(namespace: &str, application: Name) -> RemoveParams {
    let mut params = RemoveParams::of(application);
    params.namespace = Some(serde_json::from_value(namespace.into()).unwrap());
    params
}

fn actions(objects: &[ObjectReport]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in objects {
        *counts.entry(format!("{:?} {}", one.action, one.object.kind)).or_insert(0) += 1;
    }
    counts
}

async fn versions(cx: &TaskContext, objects: &[ObjectReport]) -> BTreeMap<String, Value> {
    let mut versions = BTreeMap::new();
    for one in objects {
        // A Deployment's status moves by itself; its generation does not.
        let value = read(cx, &one.object).await.unwrap_or_default();
        let version = match one.object.kind.as_str() {
            "Deployment" => &value["metadata"]["generation"],
            _ => &value["metadata"]["resourceVersion"],
        };
        versions.insert(one.object.to_string(), version.clone());
    }
    versions
}

async fn deployed_twice_and_removed(application: Name, tag: &str, expected: &[(&str, usize)]) {
    let namespace = &unique(tag);
    let (cx, steps) = context(namespace, 1);
    let params = deploy_in(namespace, application);
    let Outcome::Changed(first) = Deploy.run(&cx, params.clone()).await.unwrap() else {
        panic!("the first run changed nothing");
    };
    assert!(first.ready);
    let created = actions(&first.objects);
    for (what, count) in expected {
        assert_eq!(created.get(*what), Some(count), "{created:?}");
    }
    assert!(steps.contain("wait", "are ready"), "{:?}", steps.reported());

    let before = versions(&cx, &first.objects).await;
    let Outcome::Unchanged(second) = Deploy.run(&cx, params).await.unwrap() else {
        panic!("the second run changed something");
    };
    assert!(second.ready);
    assert!(second.objects.iter().all(|one| one.action == Action::Unchanged), "{:?}", actions(&second.objects));
    assert_eq!(versions(&cx, &first.objects).await, before);

    let Outcome::Changed(removed) = Remove.run(&cx, remove_from(namespace, application)).await.unwrap() else {
        panic!("nothing was removed");
    };
    assert!(removed.objects.iter().all(|one| one.action == Action::Deleted), "{:?}", actions(&removed.objects));
    for one in &removed.objects {
        assert_eq!(read(&cx, &one.object).await, None, "{}", one.object);
    }
    let again = Remove.run(&cx, remove_from(namespace, application)).await.unwrap();
    assert!(matches!(again, Outcome::Unchanged(_)), "{again:?}");
}

#[tokio::test]
async fn bookinfo() {
    let expected = [("Created Deployment", 6), ("Created Service", 4), ("Created ServiceAccount", 4)];
    deployed_twice_and_removed(Name::Bookinfo, "sample-bookinfo", &expected).await;
}

#[tokio::test]
async fn httpbin() {
    let expected = [("Created Deployment", 1), ("Created Service", 1), ("Created ServiceAccount", 1)];
    deployed_twice_and_removed(Name::Httpbin, "sample-httpbin", &expected).await;
}

#[tokio::test]
async fn online_boutique() {
    let expected = [("Created Deployment", 12), ("Created Service", 12), ("Created ServiceAccount", 11)];
    deployed_twice_and_removed(Name::OnlineBoutique, "sample-boutique", &expected).await;
}

#[tokio::test]
async fn two_applications_share_a_namespace_and_leave_it_alone() {
    let space = &unique("sample-shared");
    let (cx, _) = context(space, 1);
    let own = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": space}});
    Deploy.run(&cx, deploy_in(space, Name::Bookinfo)).await.unwrap();
    Deploy.run(&cx, deploy_in(space, Name::Httpbin)).await.unwrap();
    write(&cx, own).await;
    Remove.run(&cx, remove_from(space, Name::Bookinfo)).await.unwrap();
    let there = async |kind: &str, api_version: &str, name: &str| {
        read(&cx, &object(api_version, kind, Some(space), name)).await.is_some()
    };
    assert!(!there("Deployment", "apps/v1", "productpage-v1").await);
    assert!(there("Deployment", "apps/v1", "httpbin-v1").await);
    assert!(there("ConfigMap", "v1", "mine").await);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let space = &unique("sample-dry");
    let (cx, _) = context(space, 1);
    let mut params = deploy_in(space, Name::Httpbin);
    params.dry_run = true;
    let Outcome::Unchanged(report) = Deploy.run(&cx, params).await.unwrap() else { panic!("it says it wrote") };
    assert!(report.dry_run && !report.ready);
    assert_eq!(actions(&report.objects).get("Created Deployment"), Some(&1));
    assert_eq!(read(&cx, &object("v1", "Namespace", None, space)).await, None);
}

#[tokio::test]
async fn without_the_namespace_and_leave_to_create_it_nothing_is_deployed() {
    let space = &unique("sample-nowhere");
    let (cx, _) = context(space, 1);
    let mut params = deploy_in(space, Name::Httpbin);
    params.create_namespace = false;
    let failure = Deploy.run(&cx, params).await.unwrap_err();
    assert!(["SH3013", "SH3016"].contains(&failure.error.code().as_str()), "{}", failure.error);
}

fn definition(group: &str, kind: &str, plural: &str, version: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
        },
    })
}

#[tokio::test]
async fn the_entry_follows_the_choice_and_the_definitions() {
    let space = &unique("sample-entry");
    let (cx, _) = context(space, 1);
    let mut params = deploy_in(space, Name::Httpbin);
    params.entry = Choice::None;
    let (_, report) = Deploy.run(&cx, params.clone()).await.unwrap().into_parts();
    assert_eq!(report.entry.skipped.as_deref(), Some("no entry was requested"));

    support::istio_crds::install();
    for (kind, plural) in [("Gateway", "gateways"), ("HTTPRoute", "httproutes")] {
        write_served(&cx, definition("gateway.networking.k8s.io", kind, plural, "v1")).await;
    }

    params.entry = Choice::Auto;
    let (changed, report) = Deploy.run(&cx, params.clone()).await.unwrap().into_parts();
    assert!(changed);
    assert_eq!(report.entry.api_version.as_deref(), Some("networking.istio.io/v1"));
    assert_eq!((report.entry.port, report.entry.path.as_deref()), (Some(80), Some("/status/200")));

    params.entry = Choice::GatewayApi;
    let (_, report) = Deploy.run(&cx, params.clone()).await.unwrap().into_parts();
    let actions = actions(&report.objects);
    assert_eq!(actions.get("Created HTTPRoute"), Some(&1), "{actions:?}");
    assert_eq!(actions.get("Pruned VirtualService"), Some(&1), "{actions:?}");
    let (changed, _) = Deploy.run(&cx, params).await.unwrap().into_parts();
    assert!(!changed);
}
