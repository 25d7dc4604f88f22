//! Waiting for readiness on a real API server with real controllers; only the nodes are simulated.

use crate::cluster_target;

use std::time::Duration;

use cluster_target::{context, guard, object, unique, write};
use sailhand::cluster::wait::until_ready;
use sailhand::cluster::{Error, ObjectRef};
use sailhand::error::{Class, Classify, Code};
use sailhand::guard::Stop;
use sailhand::task::TaskContext;
use serde_json::{Value, json};

const LONG: Duration = Duration::from_mins(1);

async fn namespace(cx: &TaskContext, name: &str) {
    write(cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
}

async fn deployment(cx: &TaskContext, namespace: &str, name: &str, template: Value) -> ObjectRef {
    let labels = json!({"app": name});
    let mut template = template;
    template["metadata"]["labels"] = labels.clone();
    template["spec"]["containers"] = json!([{"name": "app", "image": "registry.example/app:1"}]);
    let spec = json!({"replicas": 1, "progressDeadlineSeconds": 600, "selector": {"matchLabels": labels}, "template": template});
    let metadata = json!({"name": name, "namespace": namespace});
    write(cx, json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})).await;
    object("apps/v1", "Deployment", Some(namespace), name)
}

#[tokio::test]
async fn all_kinds_become_ready() {
    let space = &unique("wait-ready");
    let (cx, steps) = context(space, 1);
    namespace(&cx, space).await;
    let one = deployment(&cx, space, "one", json!({})).await;
    let two = deployment(&cx, space, "two", json!({})).await;
    let objects =
        [one, two, object("v1", "Namespace", None, space), object("v1", "ConfigMap", Some(space), "no-status")];
    until_ready(&cx.cluster().await.unwrap(), &objects, LONG, &cx.guard, &*cx.progress).await.unwrap();
    let told = steps.reported();
    let last = told.last().unwrap();
    assert_eq!((last.phase.as_str(), last.done, last.total), ("wait", 4, 4), "{last:?}");
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "a step was told twice: {told:?}");
}

#[tokio::test]
async fn reason_of_a_waiting_container_is_reported_until_the_timeout() {
    let space = &unique("wait-image");
    let (cx, steps) = context(space, 1);
    namespace(&cx, space).await;
    let broken = json!({"metadata": {"annotations": {"kwok.test/waiting": "ImagePullBackOff"}}});
    let broken = deployment(&cx, space, "broken", broken).await;
    let nowhere = deployment(&cx, space, "nowhere", json!({"spec": {"nodeSelector": {"no": "node"}}})).await;
    let gone = object("apps/v1", "StatefulSet", Some(space), "gone");
    let cluster = cx.cluster().await.unwrap();
    let error = until_ready(&cluster, &[broken, nowhere, gone], Duration::from_secs(6), &cx.guard, &*cx.progress)
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3009, Class::Terminal));
    let text = error.to_string();
    for part in [
        &format!("Deployment {space}/broken: 0 of 1 available: pod broken-"),
        "ImagePullBackOff (container app): simulated: ImagePullBackOff",
        &format!("Deployment {space}/nowhere: 0 of 1 available: pod nowhere-"),
        "Unschedulable: 0/",
        &format!("StatefulSet {space}/gone: it does not exist"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(steps.contain("wait", "ImagePullBackOff"), "{:?}", steps.reported());
}

#[tokio::test]
async fn permanent_failure_ends_the_wait_at_once() {
    let space = &unique("wait-failed");
    let (cx, _) = context(space, 1);
    namespace(&cx, space).await;
    let nowhere = json!({"nodeSelector": {"no": "node"}, "restartPolicy": "Never", "containers": [{"name": "app", "image": "registry.example/app:1"}]});
    let spec = json!({"activeDeadlineSeconds": 1, "template": {"spec": nowhere}});
    let metadata = json!({"name": "late", "namespace": space});
    write(&cx, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})).await;
    let job = object("batch/v1", "Job", Some(space), "late");
    let cluster = cx.cluster().await.unwrap();
    let error = until_ready(&cluster, &[job], LONG, &cx.guard, &*cx.progress).await.unwrap_err();
    assert_eq!((error.code(), error.class()), (Code::SH3017, Class::Terminal));
    assert!(error.to_string().starts_with(&format!("Job {space}/late has failed: DeadlineExceeded")), "{error}");
}

#[tokio::test]
async fn a_cancelled_command_stops_waiting() {
    let space = &unique("wait-cancel");
    let (cx, _) = context(space, 1);
    let cluster = cx.cluster().await.unwrap();
    let guard = guard(1);
    let never = [object("apps/v1", "Deployment", Some(space), "never")];
    let cancel = async {
        tokio::task::yield_now().await;
        guard.cancel();
    };
    let (ended, ()) = tokio::join!(until_ready(&cluster, &never, LONG, &guard, &()), cancel);
    assert!(matches!(ended, Err(Error::Stopped(Stop::Cancelled))), "{ended:?}");
}
