//! `dashboard.*` against a double of Grafana's HTTP API (`support/grafana.rs`) and a real API server, which has the record
//! of what was written, and the objects for sidecars.

use std::collections::BTreeMap;

use sailhand::config::Connection;
use sailhand::error::{Class, Classify as _, Code};
use sailhand::http::Credentials;
use sailhand::observe::instance::InstanceKind;
use sailhand::task::TaskContext;
use sailhand::task::connection;
use sailhand::task::dashboard::{Apply, By, DashboardReport, Remove};
use serde_json::{Value, json};

use crate::cluster_target::{object, read, unique, write};
use crate::connections::{run, with_connections};
use crate::support::grafana::Grafana;

fn configured(kind: InstanceKind, url: &str, credentials: Credentials) -> Connection {
    Connection { kind, url: url.to_owned(), service: None, scope: BTreeMap::new(), credentials }
}

/// A target with the double as `central` and a store, which is never asked, as `mesh`.
fn target(test: &str, grafana: &Grafana, credentials: Credentials) -> TaskContext {
    let url = format!("http://{}", grafana.address);
    let store = "http://prometheus.example:9090/prom";
    let connections = BTreeMap::from([
        ("central".to_owned(), configured(InstanceKind::Grafana, &url, credentials)),
        ("mesh".to_owned(), configured(InstanceKind::Prometheus, store, Credentials::default())),
    ]);
    with_connections(&unique(test), connections)
}

async fn start_grafana(test: &str) -> (Grafana, TaskContext) {
    let grafana = Grafana::start().await;
    let cx = target(test, &grafana, Credentials::default());
    (grafana, cx)
}

fn params(more: &Value) -> Value {
    let mut all = json!({"grafana": "central", "prometheus": "mesh", "scrape_interval_s": 30});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

async fn apply(cx: &TaskContext, more: Value) -> Result<(bool, DashboardReport), sailhand::task::Error> {
    run(Apply, cx, params(&more)).await
}

async fn code(cx: &TaskContext, more: Value) -> Code {
    apply(cx, more).await.unwrap_err().code()
}

fn uids(grafana: &Grafana) -> Vec<String> {
    grafana.state.lock().unwrap().dashboards.keys().cloned().collect()
}

#[tokio::test]
async fn second_run_writes_nothing_and_removal_deletes_exactly_the_created_objects() {
    let (grafana, cx) = start_grafana("boards").await;
    let (changed, dry) = apply(&cx, json!({"dry_run": true})).await.unwrap();
    assert!(!changed && dry.items.len() == 7 && grafana.writes().is_empty(), "{dry:?}");

    let (changed, first) = apply(&cx, json!({})).await.unwrap();
    assert!(changed && first.by == Some(By::Api) && first.data_source.as_ref().unwrap().healthy, "{first:?}");
    assert_eq!(grafana.writes().len(), 7, "folder, data source and five dashboards");
    {
        let state = grafana.state.lock().unwrap();
        let source = state.sources.values().next().unwrap();
        assert_eq!(source["url"], "http://prometheus.example:9090/prom", "the path stays");
        assert_eq!((&source["jsonData"]["timeInterval"], &source["isDefault"]), (&json!("30s"), &Value::Null));
        let board = state.dashboards.values().next().unwrap();
        assert_eq!(board["meta"]["folderUid"], state.folders.values().next().unwrap()["uid"]);
    }
    let (changed, second) = apply(&cx, json!({})).await.unwrap();
    let requests = grafana.requests();
    assert!(!changed, "{second:?}");
    assert!(requests.iter().all(|one| one.starts_with("GET")) && requests.len() <= 10, "{requests:?}");

    // Fewer dashboards in another folder: they move, the others and the empty folder go.
    let fewer = json!({"dashboards": ["mesh", "service"], "folder": "Mesh"});
    assert!(apply(&cx, fewer.clone()).await.unwrap().0);
    assert_eq!(grafana.state.lock().unwrap().dashboards.len(), 2);
    assert_eq!(grafana.state.lock().unwrap().folders.len(), 1);
    assert!(!apply(&cx, fewer).await.unwrap().0);

    // What others have stays: a dashboard in our folder, one with our data source.
    {
        let mut state = grafana.state.lock().unwrap();
        let folder = state.folders.keys().next().unwrap().clone();
        let source = state.sources.keys().next().unwrap().clone();
        let theirs = json!({"dashboard": {"title": "theirs", "panels": [{"datasource": {"uid": source}}]}, "meta": {"version": 1, "folderUid": folder}});
        state.dashboards.insert("theirs".to_owned(), theirs);
    }
    let (changed, removed) = run(Remove, &cx, json!({"grafana": "central"})).await.unwrap();
    let skipped: Vec<_> = removed.items.iter().filter(|item| item.reason.is_some()).collect();
    assert!(changed && skipped.len() == 2, "data source and folder are in use: {removed:?}");
    assert_eq!(uids(&grafana), ["theirs"]);
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0, "a second run deletes nothing");
    grafana.state.lock().unwrap().dashboards.clear();
    assert!(run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    {
        let state = grafana.state.lock().unwrap();
        assert!(state.folders.is_empty() && state.sources.is_empty());
    }
    grafana.requests();
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    assert!(grafana.requests().is_empty(), "there is no record");
}

#[tokio::test]
async fn edited_foreign_and_provisioned_dashboards_are_not_overwritten() {
    let (grafana, cx) = start_grafana("owners").await;
    apply(&cx, json!({})).await.unwrap();
    let uid = uids(&grafana).into_iter().find(|uid| uid.contains("mesh")).unwrap();
    grafana.edit(&uid);
    grafana.requests();
    let error = apply(&cx, json!({})).await.unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3510, Class::Terminal));
    assert!(error.to_string().contains("by ann at 2026"), "{error}");
    assert!(grafana.writes().is_empty(), "nothing is written when one item is refused");
    // A removal leaves it, and says so.
    let (_, removed) = run(Remove, &cx, json!({"grafana": "central", "dry_run": true})).await.unwrap();
    assert!(removed.items.iter().any(|item| item.uid == uid && item.reason.as_ref().unwrap().contains("ann")));
    apply(&cx, json!({"force": true})).await.unwrap();
    assert_eq!(grafana.writes().len(), 1);
    assert!(!apply(&cx, json!({})).await.unwrap().0);

    // Edited between our read and our write.
    grafana.state.lock().unwrap().edits_between = 1;
    assert_eq!(
        code(&cx, json!({"prometheus": "mesh", "scrape_interval_s": 15, "folder": "Other"})).await,
        Code::SH3510
    );

    // Another target has no record of the items that have its uids.
    let other = start_grafana("other").await;
    *other.0.state.lock().unwrap() = std::mem::take(&mut *grafana.state.lock().unwrap());
    assert_eq!(code(&other.1, json!({})).await, Code::SH3509);
    for one in other.0.state.lock().unwrap().dashboards.values_mut() {
        one["meta"]["provisioned"] = true.into();
    }
    assert_eq!(code(&other.1, json!({"adopt": true})).await, Code::SH3511);
    for one in other.0.state.lock().unwrap().dashboards.values_mut() {
        one["meta"]["provisioned"] = false.into();
    }
    assert!(apply(&other.1, json!({"adopt": true})).await.unwrap().0);
}

#[tokio::test]
async fn next_run_repairs_lost_responses_and_lost_storage() {
    let (grafana, cx) = start_grafana("faults").await;
    let mut runs = 0;
    grafana.state.lock().unwrap().lose_answers = 3;
    while let Err(error) = apply(&cx, json!({})).await {
        assert_eq!((error.code(), error.class()), (Code::SH3502, Class::RETRY), "{error}");
        runs += 1;
        assert!(runs < 5);
    }
    assert_eq!((runs, uids(&grafana).len()), (3, 5));
    for one in grafana.state.lock().unwrap().dashboards.values() {
        assert_eq!(one["meta"]["version"], 1, "a write that arrived is not repeated");
    }
    assert!(!apply(&cx, json!({})).await.unwrap().0);
    // The pod of the Grafana was replaced and its storage is empty.
    {
        let mut state = grafana.state.lock().unwrap();
        state.dashboards.clear();
        state.folders.clear();
        state.sources.clear();
    }
    assert!(apply(&cx, json!({})).await.unwrap().0);
    assert_eq!(uids(&grafana).len(), 5);
}

#[tokio::test]
async fn missing_permissions_and_other_programs_are_named() {
    let (grafana, cx) = start_grafana("rights").await;
    grafana.state.lock().unwrap().read_only = true;
    let error = apply(&cx, json!({})).await.unwrap_err();
    assert_eq!(error.code(), Code::SH3503);
    assert!(error.to_string().contains("dashboards:create"), "{error}");
    grafana.state.lock().unwrap().token = Some("secret-token".to_owned());
    assert_eq!(code(&cx, json!({})).await, Code::SH3503, "no credential");
    assert_eq!(code(&cx, json!({"by": "sidecar"})).await, Code::SH3513);
    assert_eq!(code(&cx, json!({"by": "operator"})).await, Code::SH3513);
    assert_eq!(code(&cx, json!({"prometheus": "central"})).await, Code::SH3501, "a Grafana is no store");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret-token\n").unwrap();
    let with_token = target("token", &grafana, Credentials { bearer_token_file: Some(file), ..Credentials::default() });
    grafana.state.lock().unwrap().read_only = false;
    let (_, report) = apply(&with_token, json!({})).await.unwrap();
    assert!(grafana.state.lock().unwrap().authorizations.contains(&"Bearer secret-token".to_owned()));
    assert!(!serde_json::to_string(&report).unwrap().contains("secret-token"));

    let html = crate::support::prometheus::serve(|_| Some((200, "<!doctype html>".to_owned())));
    let double = Grafana { address: html, state: grafana.state.clone() };
    assert_eq!(code(&target("html", &double, Credentials::default()), json!({})).await, Code::SH3504);
}

/// Two workers can run at the same time when one has lost its lease and does not know yet.
#[tokio::test]
async fn concurrent_runs_make_each_dashboard_once() {
    let (grafana, cx) = start_grafana("crowd").await;
    let runs = (0..20).map(|_| apply(&cx, json!({"dashboards": ["mesh"]})));
    let done = futures::future::join_all(runs).await;
    assert!(done.iter().any(Result::is_ok), "{done:?}");
    apply(&cx, json!({"dashboards": ["mesh"], "force": true, "adopt": true})).await.unwrap();
    let state = grafana.state.lock().unwrap();
    assert_eq!((state.dashboards.len(), state.folders.len(), state.sources.len()), (1, 1, 1));
}

#[tokio::test]
async fn a_sidecar_gets_config_maps_with_its_label() {
    let space = unique("sidecar");
    let store = configured(InstanceKind::Prometheus, "http://prometheus.example", Credentials::default());
    let cx = with_connections(&space, BTreeMap::from([("mesh".to_owned(), store)]));
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})).await;
    write(
        &cx,
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "grafana", "namespace": space},
        "spec": {"selector": {"app": "grafana"}, "ports": [{"name": "http", "port": 80}]}}),
    )
    .await;
    let env = |all: &[(&str, &str)]| -> Value {
        all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    write(&cx, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "grafana-0", "namespace": space, "labels": {"app": "grafana"}},
        "spec": {"schedulerName": "none", "containers": [
            {"name": "grafana", "image": "grafana/grafana:12.0.1"},
            {"name": "dashboards", "image": "quay.io/kiwigrid/k8s-sidecar:1.30.0",
             "env": env(&[("LABEL", "grafana_dashboard"), ("LABEL_VALUE", "1"), ("FOLDER", "/tmp/dashboards"), ("FOLDER_ANNOTATION", "grafana_folder")])},
            {"name": "sources", "image": "quay.io/kiwigrid/k8s-sidecar:1.30.0",
             "env": env(&[("LABEL", "grafana_datasource"), ("FOLDER", "/etc/grafana/provisioning/datasources")])},
        ]}})).await;
    let service = json!({"namespace": space, "name": "grafana", "port": 80});
    run(connection::Apply, &cx, json!({"name": "central", "kind": "grafana", "service": service, "check": false}))
        .await
        .unwrap();
    let (changed, report) = apply(&cx, json!({"dashboards": ["mesh"]})).await.unwrap();
    assert!(changed && report.by == Some(By::Sidecar) && report.objects.len() == 2, "{report:?}");
    let map = |report: &DashboardReport, index: usize| {
        object("v1", "ConfigMap", Some(&space), &report.objects[index].object.name)
    };
    for index in 0..2 {
        let live = read(&cx, &map(&report, index)).await.unwrap();
        let labels = &live["metadata"]["labels"];
        let text = live["data"].as_object().unwrap().values().next().unwrap().as_str().unwrap();
        let file: Value = serde_json::from_str(text).unwrap();
        if file["datasources"].is_array() {
            assert_eq!(labels["grafana_datasource"], "1");
            assert_eq!(file["datasources"][0]["url"], "http://prometheus.example");
        } else {
            assert_eq!(
                (&labels["grafana_dashboard"], &live["metadata"]["annotations"]["grafana_folder"]),
                (&json!("1"), &json!("Istio"))
            );
            assert_eq!(file["title"], "Istio / Mesh");
        }
    }
    assert!(!apply(&cx, json!({"dashboards": ["mesh"]})).await.unwrap().0);
    let (changed, _) = run(Remove, &cx, json!({"grafana": "central"})).await.unwrap();
    assert!(changed && read(&cx, &map(&report, 0)).await.is_none() && read(&cx, &map(&report, 1)).await.is_none());
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
}

/// The Grafana of `addon.apply` has the dashboards already, and no credential may write to it.
#[tokio::test]
async fn our_addon_has_the_dashboards_already() {
    let space = unique("own-addon");
    let store = configured(InstanceKind::Prometheus, "http://prometheus.example", Credentials::default());
    let cx = with_connections(&space, BTreeMap::from([("mesh".to_owned(), store)]));
    let addon = json!({"addon": "grafana", "namespace": space, "create_namespace": true, "wait": "0s"});
    run(sailhand::task::addon::Apply, &cx, addon).await.unwrap();
    let service = json!({"namespace": space, "name": "grafana", "port": 3000});
    run(connection::Apply, &cx, json!({"name": "central", "kind": "grafana", "service": service, "check": false}))
        .await
        .unwrap();
    let (changed, report) = apply(&cx, json!({})).await.unwrap();
    assert!(!changed && report.by == Some(By::Addon), "{report:?}");
}
