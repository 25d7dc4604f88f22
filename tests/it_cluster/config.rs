//! `config.apply` and `config.delete` as the engine runs them: parameters and reports in JSON, a real API server.

use crate::cluster_target;

use cluster_target::{context, object, read};
use sailhand::error::{Classify, Code};
use sailhand::task::{Outcome, Registry, TaskContext};
use serde_json::{Value, json};

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting}
data: {text: hello}
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: web}
  spec:
    selector: {matchLabels: {app: web}}
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: 'web:1'}]}
";

async fn run(cx: &TaskContext, verb: &str, params: Value) -> Outcome<Value> {
    let registry = Registry::standard();
    let result = registry.get(verb).unwrap().run(cx, params).await;
    result.unwrap_or_else(|failure| panic!("{verb}: {}", failure.error))
}

/// `kind action`, in the report's order.
fn lines(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let objects = report["objects"].as_array().unwrap();
    objects.iter().map(|line| format!("{} {}", text(&line["object"]["kind"]), text(&line["action"]))).collect()
}

#[tokio::test]
async fn a_manifest_is_applied_once_waited_for_and_deleted_once() {
    let unique = format!("config-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let (cx, steps) = context(&unique, 1);
    let apply = json!({
        "name": unique, "manifest": MANIFEST, "namespace": unique, "create_namespace": true, "wait": "60s",
    });
    let Outcome::Changed(report) = run(&cx, "config.apply", apply.clone()).await else { panic!("nothing was changed") };
    assert_eq!(lines(&report), ["Namespace created", "ConfigMap created", "Deployment created"]);
    let deployment = read(&cx, &object("apps/v1", "Deployment", Some(&unique), "web")).await.unwrap();
    assert_eq!(deployment["status"]["availableReplicas"], 1, "it was waited for");
    assert!(steps.reported().iter().any(|step| step.phase == "apply" && step.done == 2 && step.total == 2));

    let Outcome::Unchanged(report) = run(&cx, "config.apply", apply).await else { panic!("the second run changed") };
    assert_eq!(lines(&report), ["ConfigMap unchanged", "Deployment unchanged"]);

    let delete = json!({"name": unique, "wait": "60s"});
    let Outcome::Changed(report) = run(&cx, "config.delete", delete.clone()).await else { panic!("nothing went") };
    assert_eq!(lines(&report), ["Deployment deleted", "ConfigMap deleted"]);
    assert!(matches!(run(&cx, "config.delete", delete).await, Outcome::Unchanged(_)));
}

#[tokio::test]
async fn a_manifest_without_objects_prunes_nothing() {
    let (cx, _) = context("config-empty", 1);
    let registry = Registry::standard();
    let params = json!({"name": "config-empty", "manifest": "# nothing\n"});
    let failure = registry.get("config.apply").unwrap().run(&cx, params).await.unwrap_err();
    assert_eq!(failure.error.code(), Code::SH1005, "{}", failure.error);
}
