//! Pods of kinds that no rule inputs: whatever has a pod template counts with its labels. Examples: Argo Rollouts,
//! `OpenKruise` `CloneSets`, Knative Services, Kubeflow Notebooks.

use compact_str::CompactString;

use super::{Source, generated, map};
use crate::resource::group_and_version;
use crate::{Kind, Resource, Value};

/// Depth below `spec` to which templates are searched.
const DEEPEST: usize = 4;
/// Maximum number of templates of one object.
const MOST: usize = 32;

/// A workload for each pod template of an object.
pub fn workloads(root: &Value) -> Vec<Resource> {
    let mut templates = Vec::new();
    find(&root["spec"], 0, &mut templates);
    let source = Source::of(root);
    let kind = root["kind"].text();
    let extra = extra_labels(root, source.name);
    let workload = |(index, template): (usize, &Value)| {
        let template = with_labels(template, &extra);
        let spec = map([("template", template)]);
        let metadata = map([("name", Value::string(source.name)), ("labels", root["metadata"]["labels"].clone())]);
        let root = map([("metadata", metadata), ("spec", spec)]);
        generated(Kind::Deployment, "apps/v1", &source, &format!("{kind}/{}/{index}", source.name), root)
    };
    templates.into_iter().enumerate().map(workload).collect()
}

/// Labels that the controller adds to the pods.
fn extra_labels(root: &Value, name: &str) -> Vec<(CompactString, String)> {
    let (group, _) = group_and_version(root["apiVersion"].text());
    match (group, root["kind"].text()) {
        ("serving.knative.dev", _) => vec![("serving.knative.dev/service".into(), name.to_owned())],
        // Source: kubeflow notebook-controller, `generateStatefulSet`; labels of the Notebook are copied too.
        ("kubeflow.org", "Notebook") => {
            let own = root["metadata"]["labels"].entries().iter();
            let own = own.map(|(key, value)| (key.clone(), value.text().to_owned()));
            let added = ["notebook-name", "statefulset"].map(|key| (key.into(), name.to_owned()));
            added.into_iter().chain(own).collect()
        }
        _ => Vec::new(),
    }
}

fn with_labels(template: &Value, extra: &[(CompactString, String)]) -> Value {
    let labels = extra.iter().map(|(key, value)| (key.clone(), Value::string(value))).collect();
    template.overlaid(&map([("metadata", map([("labels", Value::Map(labels))]))]))
}

fn find<'a>(node: &'a Value, depth: usize, templates: &mut Vec<&'a Value>) {
    if depth > DEEPEST || templates.len() == MOST {
        return;
    }
    for (key, value) in node.entries() {
        let is_template =
            key.to_ascii_lowercase().ends_with("template") && !value["spec"]["containers"].items().is_empty();
        if is_template {
            templates.push(value);
        } else if matches!(value, Value::Map(_)) {
            find(value, depth + 1, templates);
        }
    }
}
