//! `namespace.label` on a real API server.

use crate::cluster_target;

use cluster_target::{context, object, read, unique, write};
use sailhand::error::{Class, Classify, Code};
use sailhand::task::namespace::{Label, LabelParams, LabelReport, Mode};
use sailhand::task::{Outcome, Task, TaskContext};
use serde_json::{Value, json};

const RESTARTED: &str = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
const DUE: &str = "sailhand.meshery.io/restart-due";

fn params(namespace: &str, mode: Mode) -> LabelParams {
    LabelParams::of(serde_json::from_value(namespace.into()).unwrap(), mode)
}

async fn live(cx: &TaskContext, namespace: &str) -> Value {
    read(cx, &object("v1", "Namespace", None, namespace)).await.unwrap()
}

async fn namespace(cx: &TaskContext, name: &str, labels: Value) {
    let metadata = json!({"name": name, "labels": labels});
    write(cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).await;
}

async fn deployment(cx: &TaskContext, namespace: &str, name: &str, paused: bool) {
    let labels = json!({"app": name});
    let pod = json!({"containers": [{"name": "app", "image": "registry.example/app:1"}]});
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let spec = json!({"replicas": 1, "paused": paused, "selector": {"matchLabels": labels}, "template": template});
    let metadata = json!({"name": name, "namespace": namespace});
    write(cx, json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})).await;
}

async fn restarted_at(cx: &TaskContext, namespace: &str, name: &str) -> Option<String> {
    let deployment = read(cx, &object("apps/v1", "Deployment", Some(namespace), name)).await.unwrap();
    deployment.pointer(RESTARTED).and_then(Value::as_str).map(str::to_owned)
}

async fn changed(cx: &TaskContext, params: LabelParams) -> LabelReport {
    match Label.run(cx, params).await.unwrap() {
        Outcome::Changed(report) => report,
        Outcome::Unchanged(report) => panic!("unchanged: {report:?}"),
    }
}

async fn unchanged(cx: &TaskContext, params: LabelParams) -> LabelReport {
    match Label.run(cx, params).await.unwrap() {
        Outcome::Unchanged(report) => report,
        Outcome::Changed(report) => panic!("changed: {report:?}"),
    }
}

#[tokio::test]
async fn modes_exclude_each_other_and_a_second_run_writes_nothing() {
    let space = &unique("label-modes");
    let (cx, _) = context(space, 3);
    namespace(&cx, space, json!({"team": "shop"})).await;
    for (mode, revision, label) in [
        (Mode::Enabled, None, Some(("istio-injection", "enabled"))),
        (Mode::Revision, Some("prod"), Some(("istio.io/rev", "prod"))),
        (Mode::Ambient, None, Some(("istio.io/dataplane-mode", "ambient"))),
        (Mode::Disabled, None, Some(("istio-injection", "disabled"))),
        (Mode::None, None, None),
    ] {
        let mut params = params(space, mode);
        params.revision = revision.map(str::to_owned);
        let report = changed(&cx, params.clone()).await;
        let after = live(&cx, space).await;
        let mesh: Vec<_> = after["metadata"]["labels"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.starts_with("istio"))
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
            .collect();
        assert_eq!(mesh, label.into_iter().collect::<Vec<_>>());
        assert_eq!(report.after.len(), mesh.len());
        assert_eq!(after["metadata"]["labels"]["team"], "shop");
        assert_eq!(after["metadata"]["annotations"]["sailhand.meshery.io/fence"], "3");

        unchanged(&cx, params).await;
        assert_eq!(live(&cx, space).await["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    }
}

#[tokio::test]
async fn a_missing_namespace_is_created_only_on_request() {
    let space = &unique("label-create");
    let (cx, _) = context(space, 1);
    let mut params = params(space, Mode::Enabled);
    let failure = Label.run(&cx, params.clone()).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.error.class()), (Code::SH3013, Class::Terminal));
    assert!(failure.report.is_none());

    (params.create, params.dry_run) = (true, true);
    assert!(unchanged(&cx, params.clone()).await.created);
    assert_eq!(read(&cx, &object("v1", "Namespace", None, space)).await, None);

    params.dry_run = false;
    assert!(changed(&cx, params.clone()).await.created);
    assert_eq!(live(&cx, space).await["metadata"]["labels"]["istio-injection"], "enabled");
    assert!(!unchanged(&cx, params).await.created);
}

#[tokio::test]
async fn labels_of_another_manager_are_changed_only_by_force() {
    let space = &unique("label-conflict");
    let (cx, _) = context(space, 1);
    namespace(&cx, space, json!({"istio-injection": "enabled"})).await;
    unchanged(&cx, params(space, Mode::Enabled)).await;
    let mut params = params(space, Mode::Ambient);
    let failure = Label.run(&cx, params.clone()).await.unwrap_err();
    assert_eq!(failure.error.code(), Code::SH3006);
    assert!(failure.error.to_string().contains(".metadata.labels.istio-injection is owned by somebody"));

    params.force = true;
    let report = changed(&cx, params).await;
    assert_eq!(report.before["istio-injection"], "enabled");
    let labels = &live(&cx, space).await["metadata"]["labels"];
    assert!(labels.get("istio-injection").is_none());
    assert_eq!(labels["istio.io/dataplane-mode"], "ambient");
}

#[tokio::test]
async fn workloads_are_restarted_once_and_only_after_a_change() {
    let space = &unique("label-restart");
    let (cx, steps) = context(space, 1);
    namespace(&cx, space, json!({})).await;
    deployment(&cx, space, "web", false).await;
    deployment(&cx, space, "held", true).await;
    let mut params = params(space, Mode::Enabled);
    (params.restart, params.dry_run) = (true, true);
    assert_eq!(unchanged(&cx, params.clone()).await.restarted.len(), 2);
    assert_eq!(restarted_at(&cx, space, "web").await, None);

    params.dry_run = false;
    let report = changed(&cx, params.clone()).await;
    let skipped: Vec<_> =
        report.restarted.iter().map(|one| (one.object.name.as_str(), one.skipped.is_some())).collect();
    assert_eq!(skipped, [("held", true), ("web", false)]);
    assert!(steps.contain("apply", &format!("restarted Deployment {space}/web")));
    let first = restarted_at(&cx, space, "web").await;
    assert!(first.is_some());
    assert_eq!(restarted_at(&cx, space, "held").await, None);
    assert!(live(&cx, space).await["metadata"]["annotations"].get(DUE).is_none());

    assert_eq!(unchanged(&cx, params).await.restarted, []);
    assert_eq!(restarted_at(&cx, space, "web").await, first);
}

#[tokio::test]
async fn a_restart_that_a_crash_cut_short_is_finished() {
    let space = &unique("label-crash");
    let (cx, _) = context(space, 1);
    namespace(&cx, space, json!({})).await;
    deployment(&cx, space, "one", false).await;
    deployment(&cx, space, "two", false).await;
    let mut params = params(space, Mode::Enabled);
    params.restart = true;
    changed(&cx, params.clone()).await;
    let done = restarted_at(&cx, space, "one").await.unwrap();

    // As a process leaves it that dies after the first of the two: labels right, note there, `two` without the token.
    let note = json!({"name": space, "annotations": {DUE: done}});
    write(&cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": note})).await;
    let template = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "before"}, "labels": {"app": "two"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "two"}}, "template": template});
    let metadata = json!({"name": "two", "namespace": space});
    write(&cx, json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})).await;

    let report = changed(&cx, params.clone()).await;
    let names: Vec<_> = report.restarted.iter().map(|one| one.object.name.as_str()).collect();
    assert_eq!(names, ["two"]);
    assert_eq!(restarted_at(&cx, space, "two").await.as_ref(), Some(&done));
    assert!(live(&cx, space).await["metadata"]["annotations"].get(DUE).is_none());
    unchanged(&cx, params).await;
}

#[tokio::test]
async fn an_older_lease_or_generation_writes_nothing() {
    let space = &unique("label-fence");
    let (mut newer, _) = context(space, 9);
    newer.generation = Some(4);
    namespace(&newer, space, json!({})).await;
    changed(&newer, params(space, Mode::Enabled)).await;

    let (older, _) = context(space, 8);
    let failure = Label.run(&older, params(space, Mode::Ambient)).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.error.class()), (Code::SH3015, Class::LostLease));

    let (mut late, _) = context(space, 10);
    late.generation = Some(3);
    let failure = Label.run(&late, params(space, Mode::Ambient)).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.error.class()), (Code::SH1011, Class::Superseded));
    assert_eq!(live(&newer, space).await["metadata"]["labels"]["istio-injection"], "enabled");
}

#[tokio::test]
async fn a_cancelled_command_writes_nothing() {
    let space = &unique("label-cancel");
    let (cx, _) = context(space, 1);
    namespace(&cx, space, json!({})).await;
    cx.guard.cancel();
    let failure = Label.run(&cx, params(space, Mode::Enabled)).await.unwrap_err();
    assert_eq!(failure.error.class(), Class::Cancelled);
    assert!(live(&cx, space).await["metadata"]["labels"].get("istio-injection").is_none());
}

#[tokio::test]
async fn a_revision_belongs_to_its_mode() {
    let space = &unique("label-revision");
    let (cx, _) = context(space, 1);
    let mut one = params(space, Mode::Enabled);
    one.revision = Some("prod".to_owned());
    for params in [one, params(space, Mode::Revision)] {
        let failure = Label.run(&cx, params).await.unwrap_err();
        assert_eq!(failure.error.code(), Code::SH1005);
    }
}
