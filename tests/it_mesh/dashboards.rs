//! `dashboard.*` against a double of Grafana's HTTP APIs (`support/grafana.rs`) and a real API server, which has the record
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

fn start_grafana(test: &str, apis: Apis) -> (Grafana, TaskContext) {
    let grafana = Grafana::start(apis);
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

fn first(map: &Value) -> (&String, &Value) {
    map.as_object().unwrap().iter().next().unwrap()
}

/// Versions that the Grafana offers below `/apis`.
type Apis = &'static [&'static str];

/// Runs each test against a Grafana below 12, and against one with each version of the newer API.
macro_rules! each_api {
    ($($name:ident),+ $(,)?) => {
        mod legacy {
            $(#[tokio::test] async fn $name() { super::$name(&[]).await; })+
        }
        mod v1beta1 {
            $(#[tokio::test] async fn $name() { super::$name(&["v0alpha1", "v1beta1"]).await; })+
        }
        mod v1 {
            $(#[tokio::test] async fn $name() { super::$name(&["v2beta1", "v1beta1", "v1"]).await; })+
        }
    };
}

each_api!(
    second_run_writes_nothing_and_removal_deletes_exactly_the_created_objects,
    edited_foreign_and_provisioned_dashboards_are_not_overwritten,
    next_run_repairs_lost_responses_and_lost_storage,
    missing_permissions_and_other_programs_are_named,
    concurrent_runs_make_each_dashboard_once,
);

async fn second_run_writes_nothing_and_removal_deletes_exactly_the_created_objects(apis: Apis) {
    let (grafana, cx) = start_grafana("boards", apis);
    let (changed, dry) = apply(&cx, json!({"dry_run": true})).await.unwrap();
    assert!(!changed && dry.items.len() == 7 && grafana.writes().is_empty(), "{dry:?}");

    let (changed, report) = apply(&cx, json!({})).await.unwrap();
    assert!(changed && report.by == Some(By::Api) && report.data_source.as_ref().unwrap().healthy, "{report:?}");
    let writes = grafana.writes();
    assert_eq!(writes.len(), 7, "folder, data source and five dashboards: {writes:?}");
    let version = apis.last().copied().unwrap_or_default();
    for (path, count) in [("/apis/folder.grafana.app/", 1), ("/apis/dashboard.grafana.app/", 5)] {
        let head = format!("POST {path}{version}/namespaces/default/");
        let count = if apis.is_empty() { 0 } else { count };
        assert_eq!(writes.iter().filter(|one| one.starts_with(&head)).count(), count, "{writes:?}");
    }
    let state = grafana.state();
    let (_, source) = first(&state["sources"]);
    assert_eq!(source["url"], "http://prometheus.example:9090/prom", "the path stays");
    assert_eq!((&source["jsonData"]["timeInterval"], &source["isDefault"]), (&json!("30s"), &Value::Null));
    let (folder, content) = first(&state["folders"]);
    assert_eq!((&content["title"], &content["shared"]), (&json!("Istio"), &json!(true)), "not for administrators only");
    assert_eq!(first(&state["dashboards"]).1["folder"], folder.as_str());
    let (changed, second) = apply(&cx, json!({})).await.unwrap();
    let requests = grafana.requests();
    assert!(!changed, "{second:?}");
    assert!(requests.iter().all(|one| one.starts_with("GET")) && requests.len() <= 10, "{requests:?}");

    // Fewer dashboards in another folder: they move, the others and the empty folder go.
    let fewer = json!({"dashboards": ["mesh", "service"], "folder": "Mesh"});
    assert!(apply(&cx, fewer.clone()).await.unwrap().0);
    assert_eq!((grafana.uids("dashboards").len(), grafana.uids("folders").len()), (2, 1));
    assert!(!apply(&cx, fewer).await.unwrap().0);

    // What others have stays: a dashboard in our folder, one with our data source; also on a later page of a list.
    let (folder, source) = (grafana.uids("folders").remove(0), grafana.uids("sources").remove(0));
    for number in 0..20 {
        grafana.put_dashboard(&format!("a-{number}"), "", &json!({"title": "another"}));
    }
    let spec = json!({"title": "theirs", "panels": [{"datasource": {"uid": source}}]});
    grafana.put_dashboard("theirs", &folder, &spec);
    let (changed, removed) = run(Remove, &cx, json!({"grafana": "central"})).await.unwrap();
    let reasons: Vec<_> = removed.items.iter().filter_map(|item| item.reason.clone()).collect();
    assert!(
        changed && reasons.len() == 2 && reasons[0].contains("theirs"),
        "data source and folder are in use: {removed:?}"
    );
    assert_eq!(grafana.uids("dashboards").len(), 21);
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0, "a second run deletes nothing");
    grafana.put_dashboard("theirs", "", &json!({"title": "theirs"}));
    assert!(run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    assert!(grafana.uids("folders").is_empty() && grafana.uids("sources").is_empty());
    grafana.requests();
    assert!(!run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    assert!(grafana.requests().is_empty(), "there is no record");
}

async fn edited_foreign_and_provisioned_dashboards_are_not_overwritten(apis: Apis) {
    let (grafana, cx) = start_grafana("owners", apis);
    apply(&cx, json!({})).await.unwrap();
    let uid = grafana.uids("dashboards").into_iter().find(|uid| uid.contains("mesh")).unwrap();
    grafana.edit(&uid);
    grafana.requests();
    let error = apply(&cx, json!({})).await.unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3510, Class::Terminal));
    assert!(error.to_string().contains("ann at 2026"), "{error}");
    assert!(grafana.writes().is_empty(), "nothing is written when one item is refused");
    // A removal leaves it, and says so.
    let (_, removed) = run(Remove, &cx, json!({"grafana": "central", "dry_run": true})).await.unwrap();
    assert!(removed.items.iter().any(|item| item.uid == uid && item.reason.as_ref().unwrap().contains("ann")));
    apply(&cx, json!({"force": true})).await.unwrap();
    assert_eq!(grafana.writes().len(), 1);
    assert!(!apply(&cx, json!({})).await.unwrap().0);

    // Edited between our read and our write.
    grafana.set(&json!({"edits_between": 1}));
    let moved = json!({"prometheus": "mesh", "scrape_interval_s": 15, "folder": "Other"});
    assert_eq!(code(&cx, moved).await, Code::SH3510);

    // Another target of the same name has no record of the items that have its uids.
    let other = target("other", &grafana, Credentials::default());
    assert_eq!(code(&other, json!({})).await, Code::SH3509);
    grafana.provision(true);
    assert_eq!(code(&other, json!({"adopt": true})).await, Code::SH3511, "the data source");
    let boards = json!({"adopt": true, "data_source_uid": "theirs"});
    assert_eq!(code(&other, boards).await, Code::SH3511, "the dashboards");
    grafana.provision(false);
    assert!(apply(&other, json!({"adopt": true})).await.unwrap().0);
}

async fn next_run_repairs_lost_responses_and_lost_storage(apis: Apis) {
    let (grafana, cx) = start_grafana("faults", apis);
    let mut runs = 0;
    grafana.set(&json!({"lose_answers": 3}));
    while let Err(error) = apply(&cx, json!({})).await {
        assert_eq!((error.code(), error.class()), (Code::SH3502, Class::RETRY), "{error}");
        runs += 1;
        assert!(runs < 5);
    }
    assert_eq!((runs, grafana.uids("dashboards").len()), (3, 5));
    for one in grafana.state()["dashboards"].as_object().unwrap().values() {
        assert_eq!(one["version"], 1, "a write that arrived is not repeated");
    }
    assert!(!apply(&cx, json!({})).await.unwrap().0);
    // Errors of the server are retried and change nothing.
    grafana.set(&json!({"fail": 1, "fail_status": 502}));
    let error = apply(&cx, json!({})).await.unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3512, Class::RETRY), "{error}");
    assert!(!apply(&cx, json!({})).await.unwrap().0);
    // The pod of the Grafana was replaced and its storage is empty.
    grafana.clear();
    assert!(apply(&cx, json!({})).await.unwrap().0);
    assert_eq!(grafana.uids("dashboards").len(), 5);
}

async fn missing_permissions_and_other_programs_are_named(apis: Apis) {
    let (grafana, cx) = start_grafana("rights", apis);
    grafana.set(&json!({"anonymous": "Viewer"}));
    let error = apply(&cx, json!({})).await.unwrap_err();
    assert_eq!(error.code(), Code::SH3503);
    assert!(error.to_string().contains("datasources:read"), "{error}");
    let error = apply(&cx, json!({"data_source_uid": "theirs"})).await.unwrap_err();
    assert_eq!(error.code(), Code::SH3503);
    assert!(error.to_string().contains("/folders") && error.to_string().contains("create"), "{error}");
    grafana.set(&json!({"anonymous": "None"}));
    assert_eq!(code(&cx, json!({})).await, Code::SH3503, "no credential");
    assert_eq!(code(&cx, json!({"by": "sidecar"})).await, Code::SH3513);
    assert_eq!(code(&cx, json!({"by": "operator"})).await, Code::SH3513);
    assert_eq!(code(&cx, json!({"prometheus": "central"})).await, Code::SH3501, "a Grafana is no store");

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    grafana.set(&json!({"accounts": [{"token": "secret-token", "role": "Admin"}, {"user": "ed", "password": "secret-word", "role": "Editor"}]}));
    let bearer = Credentials { bearer_token_file: Some(file("token", "secret-token\n")), ..Credentials::default() };
    let (_, report) = apply(&target("token", &grafana, bearer), json!({})).await.unwrap();
    assert!(grafana.authorizations().contains(&"Bearer secret-token".to_owned()));
    assert!(!serde_json::to_string(&report).unwrap().contains("secret-token"));
    // An editor may write dashboards for a data source that is there.
    let basic = Credentials {
        user: Some("ed".to_owned()),
        password_file: Some(file("word", "secret-word\n")),
        ..Credentials::default()
    };
    grafana.clear();
    let cx = target("editor", &grafana, basic);
    assert_eq!(code(&cx, json!({})).await, Code::SH3503, "an editor may not write data sources");
    assert!(apply(&cx, json!({"data_source_uid": "theirs"})).await.unwrap().0);
    let wrong = Credentials { bearer_token_file: Some(file("wrong", "wrong\n")), ..Credentials::default() };
    assert_eq!(code(&target("wrong", &grafana, wrong), json!({})).await, Code::SH3503);

    grafana.set(&json!({"html": true}));
    assert_eq!(code(&cx, json!({})).await, Code::SH3504);
}

/// Two workers can run at the same time when one has lost its lease and does not know yet.
async fn concurrent_runs_make_each_dashboard_once(apis: Apis) {
    let (grafana, cx) = start_grafana("crowd", apis);
    grafana.set(&json!({"slow_ms": 5})); // so that the runs overlap
    let runs = (0..20).map(|_| apply(&cx, json!({"dashboards": ["mesh"]})));
    let done = futures::future::join_all(runs).await;
    assert!(done.iter().any(Result::is_ok), "{done:?}");
    apply(&cx, json!({"dashboards": ["mesh"], "force": true, "adopt": true})).await.unwrap();
    let count = |kind| grafana.uids(kind).len();
    assert_eq!((count("dashboards"), count("folders"), count("sources")), (1, 1, 1));
}

/// A Grafana that is upgraded from 11 to 12 shows the same dashboards by both APIs.
#[tokio::test]
async fn records_of_one_api_are_valid_for_the_other() {
    let (grafana, cx) = start_grafana("upgrade", &[]);
    apply(&cx, json!({"folder": "Old"})).await.unwrap();
    assert!(apply(&cx, json!({})).await.unwrap().0, "the dashboards have version 2 now");
    grafana.set(&json!({"apis": ["v1beta1"]}));
    assert!(!apply(&cx, json!({})).await.unwrap().0);
    assert!(apply(&cx, json!({"folder": "New"})).await.unwrap().0);
    assert!(grafana.requests().iter().any(|one| one.starts_with("PUT /apis/dashboard.grafana.app/v1beta1/")));
    grafana.set(&json!({"apis": []}));
    assert!(!apply(&cx, json!({"folder": "New"})).await.unwrap().0);
    assert!(run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
    assert!(grafana.uids("dashboards").is_empty() && grafana.uids("folders").is_empty());
}

#[tokio::test]
async fn the_namespace_is_that_of_the_organization() {
    let (grafana, cx) = start_grafana("organization", &["v1"]);
    for (namespace, org) in [("org-2", 2), ("stacks-123", 1)] {
        grafana.set(&json!({"namespace": namespace, "org_id": org}));
        apply(&cx, json!({})).await.unwrap();
        let path = format!("/namespaces/{namespace}/dashboards");
        assert!(grafana.writes().iter().any(|one| one.contains(&path)));
        grafana.clear();
    }
    // Without the settings of the web pages, the organization's number tells.
    grafana.set(&json!({"namespace": "org-2", "org_id": 2, "hide_settings": true}));
    apply(&cx, json!({})).await.unwrap();
    assert!(grafana.writes().iter().any(|one| one.contains("/namespaces/org-2/dashboards")));
}

/// Each page of the list has a token for another one. The search for users of the data source ends, and keeps it.
#[tokio::test]
async fn an_endless_list_of_dashboards_is_read_in_part() {
    for endless in ["empty", "again"] {
        let (grafana, cx) = start_grafana(&format!("endless-{endless}"), &["v1"]);
        apply(&cx, json!({})).await.unwrap();
        grafana.set(&json!({"endless": endless}));
        grafana.requests();
        let (_, removed) = run(Remove, &cx, json!({"grafana": "central"})).await.unwrap();
        let requests = grafana.requests();
        let list = "GET /apis/dashboard.grafana.app/v1/namespaces/default/dashboards";
        let pages = requests.iter().filter(|one| *one == list).count();
        assert!((1..=20).contains(&pages), "{endless}: {pages} pages: {requests:?}");
        let kept: Vec<_> = removed.items.iter().filter_map(|item| item.reason.as_deref()).collect();
        assert!(kept[0].contains("the list of dashboards has more than"), "{endless}: {kept:?}");
        assert_eq!(grafana.uids("sources").len(), 1, "{endless}: the data source may be in use");
        // It is deleted where the user says so.
        grafana.set(&json!({"endless": ""}));
        assert!(run(Remove, &cx, json!({"grafana": "central"})).await.unwrap().0);
        assert!(grafana.uids("sources").is_empty(), "{endless}");
    }
}

/// A reverse proxy may have a page for each unknown path.
#[tokio::test]
async fn a_page_for_apis_is_not_taken_for_the_newer_api() {
    let (grafana, cx) = start_grafana("page", &[]);
    grafana.set(&json!({"html_for_unknown": true}));
    assert!(apply(&cx, json!({})).await.unwrap().0);
    assert_eq!(grafana.writes().iter().filter(|one| one.as_str() == "POST /api/dashboards/db").count(), 5);
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
