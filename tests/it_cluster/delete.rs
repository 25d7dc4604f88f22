//! Deleting from a real API server: order, what is absent, what does not go.

use crate::support;

use std::time::Duration;

use sailhand::cluster::Action::{Absent, Deleted, Failed, Skipped};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::cluster::{Error, ObjectsReport};
use sailhand::error::Classify;
use serde_json::{Value, json};
use support::site::{Site, actions, failure, options, problem};

fn waiting(seconds: u64) -> DeleteOptions {
    DeleteOptions { wait: Some(Duration::from_secs(seconds)), ..DeleteOptions::default() }
}

#[tokio::test]
async fn everything_goes_in_reverse_order_and_the_inventory_last() {
    let site = Site::new("delete").await;
    let n = &site.namespace;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": n}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": n}, "spec": {"ports": [{"port": 80}]},
    });
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": n},
    });
    let set = [hook, account, site.config_map("map", json!({})), service];
    site.apply(&set, &options(|_| {})).await.unwrap();

    let dry = site.delete(None, &DeleteOptions { dry_run: true, ..DeleteOptions::default() }).await.unwrap();
    assert!(dry.dry_run && dry.objects.len() == 4);
    assert!(site.get(&set[2]).await.is_some());

    let report = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [(n.as_str(), Deleted), ("svc", Deleted), ("map", Deleted), ("sa", Deleted)]);
    assert_eq!(site.inventory().await, None);
    let again = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(again, ObjectsReport::default(), "what does not exist is deleted already");
}

#[tokio::test]
async fn only_the_named_objects_go_and_absent_ones_are_fine() {
    let site = Site::new("some").await;
    let maps: Vec<Value> = ["a", "b"].iter().map(|name| site.config_map(name, json!({}))).collect();
    site.apply(&maps, &options(|_| {})).await.unwrap();
    let unknown = json!({
        "apiVersion": "nobody.example.com/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": site.namespace},
    });
    let named = [maps[0].clone(), site.config_map("never", json!({})), unknown];
    let report = site.delete(Some(&named), &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("never", Absent), ("g", Absent), ("a", Deleted)]);
    assert_eq!(site.members().await, ["b"]);
    let again = site.delete(Some(&named), &waiting(30)).await.unwrap();
    assert!(!again.changed());
}

#[tokio::test]
async fn others_objects_stay() {
    let site = Site::new("foreign").await;
    let mut theirs = site.config_map("theirs", json!({}));
    theirs["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    site.seed("argo", &theirs).await;
    let (code, message) = problem(site.delete(Some(std::slice::from_ref(&theirs)), &waiting(30)).await);
    assert_eq!(code, "SH3008");
    assert!(message.contains("Argo CD application shop"), "{message}");
    let adopt = DeleteOptions { adopt: true, ..waiting(30) };
    site.delete(Some(std::slice::from_ref(&theirs)), &adopt).await.unwrap();
    assert_eq!(site.get(&theirs).await, None);

    let ours = site.config_map("ours", json!({}));
    site.apply(std::slice::from_ref(&ours), &options(|_| {})).await.unwrap();
    let mut given_away = ours.clone();
    given_away["metadata"]["labels"] = json!({"applyset.kubernetes.io/part-of": "applyset-other-v1"});
    site.seed("other", &given_away).await;
    let report = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("ours", Skipped)], "it belongs to the other set now");
    assert!(site.get(&ours).await.is_some());
    assert_eq!(site.inventory().await, None);
}

#[tokio::test]
async fn what_a_finalizer_holds_is_named_and_stays_in_the_inventory() {
    let site = Site::new("held").await;
    let mut held = site.config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let free = site.config_map("free", json!({}));
    site.apply(&[held.clone(), free.clone()], &options(|_| {})).await.unwrap();
    let (error, report) = failure(site.delete(None, &waiting(1)).await);
    assert!(matches!(error, Error::SomeFailed { failed: 1, .. }), "{error}");
    assert!(error.class().as_str() == "retry");
    let line = report.objects.iter().find(|line| line.action == Failed).unwrap();
    let problem = line.problem.as_ref().unwrap();
    assert_eq!((line.object.name.as_str(), problem.code.as_str()), ("held", "SH3019"));
    assert!(problem.message.contains("example.com/hold"), "{}", problem.message);
    assert_eq!(site.members().await, ["held"]);

    held["metadata"]["finalizers"] = json!([]);
    site.seed("sailhand", &held).await;
    site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!((site.get(&held).await, site.inventory().await), (None, None));
}

#[tokio::test]
async fn after_a_deletion_with_a_generation_an_older_command_brings_nothing_back() {
    let site = Site::new("delete-generation").await;
    let set = [site.config_map("map", json!({}))];
    let generation = |number| options(|options| options.generation = Some(number));
    let deletion = |number| DeleteOptions { generation: Some(number), ..waiting(30) };
    // Also when the deletion comes first of all.
    for (delete, older) in [(2, 1), (5, 4)] {
        site.delete(None, &deletion(delete)).await.unwrap();
        assert_eq!(site.get(&set[0]).await, None);
        let (error, _) = failure(site.apply(&set, &generation(older)).await);
        assert_eq!(error.code().as_str(), "SH1011", "{error}");
        site.apply(&set, &generation(delete + 1)).await.unwrap();
    }
    site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(site.inventory().await, None, "without a generation nothing stays");
}
