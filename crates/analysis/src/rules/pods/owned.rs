//! Pods that something else makes: what is to be mended is the template. Knows no rule.

use crate::Resource;

/// Whether an owner's template is the place to look at.
pub fn is_owned(workload: &Resource) -> bool {
    !workload.root.at("metadata.ownerReferences").is_empty()
}

/// Where the pod's part of an object stands.
pub fn template_path(workload: &Resource) -> &'static str {
    use crate::Kind;
    match workload.kind {
        Kind::Pod => "",
        Kind::CronJob => "spec.jobTemplate.spec.template.",
        _ => "spec.template.",
    }
}
