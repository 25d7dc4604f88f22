//! Recognizes pods of a controller, whose template is the object to fix. Contains no rule.

use crate::Resource;

/// Whether the owner among the objects has a template to report instead of the pod.
pub fn is_owned(workload: &Resource) -> bool {
    !workload.root.at("metadata.ownerReferences").is_empty()
}

/// Path of the pod metadata and spec in an object.
pub fn template_path(workload: &Resource) -> &'static str {
    use crate::Kind;
    match workload.kind {
        Kind::Pod => "",
        Kind::CronJob => "spec.jobTemplate.spec.template.",
        _ => "spec.template.",
    }
}
