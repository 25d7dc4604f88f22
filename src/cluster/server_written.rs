//! Removes from a manifest what the API server and its controllers write, so that a dump of a live object
//! (`kubectl get -o yaml`) can be applied: these fields would be owned by two managers, which write them in turns. Pure.
//!
//! Sources: the annotations and finalizers that kube-apiserver, kube-controller-manager, kubelet and kubectl write
//! (kubernetes.io/docs/reference/labels-annotations-taints, and the constants in kubernetes/kubernetes).

use serde_json::{Map, Value};

/// Fields of `metadata` that only the API server writes.
const METADATA: [&str; 8] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

/// Annotations that a controller or kubectl writes. A name that ends in `/` covers the whole prefix.
const ANNOTATIONS: [&str; 16] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "control-plane.alpha.kubernetes.io/leader",
    "endpoints.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-resizer",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volumes.kubernetes.io/controller-managed-attach-detach",
    "autoscaling.alpha.kubernetes.io/conditions",
    "autoscaling.alpha.kubernetes.io/current-metrics",
    "batch.kubernetes.io/job-tracking",
    "kubernetes.io/service-account.uid",
    "node.alpha.kubernetes.io/ttl",
];

/// Finalizers that a controller or the API server adds.
const FINALIZERS: [&str; 6] = [
    "foregroundDeletion",
    "orphan",
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "service.kubernetes.io/load-balancer-cleanup",
    "batch.kubernetes.io/job-tracking",
];

/// The places of further `metadata` in objects that make others.
const TEMPLATES: [&str; 3] =
    ["/spec/template/metadata", "/spec/jobTemplate/metadata", "/spec/jobTemplate/spec/template/metadata"];

/// Whether only a controller or kubectl writes the annotation.
fn is_server_written(annotation: &str) -> bool {
    ANNOTATIONS.iter().any(|one| if one.ends_with('/') { annotation.starts_with(one) } else { annotation == *one })
}

/// Removes server-written fields, annotations and finalizers from the object, and empty maps and timestamps from the
/// metadata of its templates.
pub(super) fn strip(body: &mut Value) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !METADATA.contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !is_server_written(name));
        }
        if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            let count = finalizers.len();
            finalizers.retain(|name| name.as_str().is_none_or(|name| !FINALIZERS.contains(&name)));
            if count > 0 && finalizers.is_empty() {
                metadata.remove("finalizers");
            }
        }
        drop_empty(metadata);
    }
    if body["kind"] == "Job" {
        strip_generated_selector(body);
    }
    for place in TEMPLATES {
        body.pointer_mut(place).into_iter().for_each(strip_template);
    }
    // The claim templates of a StatefulSet stay as they are: the list is atomic, and another one would conflict with the
    // manager of the live one.
}

/// Labels that the API server gives the pods of a Job, and selects them by.
const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// The API server generates the selector of a Job from its UID and refuses that of another Job, such as a deleted one.
fn strip_generated_selector(job: &mut Value) {
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let generated = |labels: &Map<String, Value>| {
        labels.keys().any(|label| label.ends_with("controller-uid"))
            && labels.keys().all(|label| JOB_LABELS.contains(&label.as_str()))
    };
    let is_generated = spec.get("manualSelector").is_none_or(|manual| manual != true)
        && spec.get("selector").and_then(|it| it["matchLabels"].as_object()).is_some_and(generated);
    if !is_generated {
        return;
    }
    spec.remove("selector");
    let labels = spec.get_mut("template").and_then(|template| template.pointer_mut("/metadata/labels"));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.retain(|label, _| !JOB_LABELS.contains(&label.as_str()));
    }
}

/// A dump has `creationTimestamp: null` in the metadata of templates.
fn strip_template(metadata: &mut Value) {
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("creationTimestamp");
        drop_empty(metadata);
    }
}

/// Removes empty maps. An empty map of annotations adds nothing to a new object, and on an existing one it claims
/// ownership of the whole map: the same set would be written a second time.
fn drop_empty(metadata: &mut Map<String, Value>) {
    for map in ["annotations", "labels"] {
        let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if metadata.get(map).is_some_and(is_empty) {
            metadata.remove(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn server_written_annotations_of_a_dump_are_dropped() {
        let mut dump = json!({
            "kind": "Deployment",
            "metadata": {
                "name": "web", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
                "annotations": {
                    "deployment.kubernetes.io/revision": "4",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "team": "shop",
                },
                "finalizers": ["kubernetes.io/pvc-protection", "example.com/own"],
            },
            "spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"app": "web"}, "annotations": {}}}},
        });
        strip(&mut dump);
        assert_eq!(
            dump,
            json!({
                "kind": "Deployment",
                "metadata": {"name": "web", "annotations": {"team": "shop"}, "finalizers": ["example.com/own"]},
                "spec": {"template": {"metadata": {"labels": {"app": "web"}}}},
            })
        );
    }

    #[test]
    fn maps_that_become_empty_are_dropped() {
        let mut claim = json!({"metadata": {
            "name": "data", "labels": null,
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"}, "finalizers": ["kubernetes.io/pvc-protection"],
        }});
        strip(&mut claim);
        assert_eq!(claim, json!({"metadata": {"name": "data"}}));
    }

    #[test]
    fn the_generated_selector_of_a_job_is_dropped() {
        let job = |labels: Value| {
            json!({"kind": "Job", "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": {"app": "a", "controller-uid": "u", "job-name": "j"}}},
            }})
        };
        let mut generated = job(json!({"batch.kubernetes.io/controller-uid": "u"}));
        strip(&mut generated);
        assert_eq!(generated["spec"], json!({"template": {"metadata": {"labels": {"app": "a"}}}}));
        let own = job(json!({"app": "a"}));
        let mut stripped = own.clone();
        strip(&mut stripped);
        assert_eq!(stripped, own);
    }

    #[test]
    fn null_timestamps_of_nested_templates_are_dropped() {
        let mut job = json!({"spec": {
            "jobTemplate": {"metadata": {"creationTimestamp": null}, "spec": {"template": {"metadata": {"labels": {}}}}},
        }});
        strip(&mut job);
        assert_eq!(
            job,
            json!({"spec": {
                "jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}}}},
            }})
        );
    }
}
