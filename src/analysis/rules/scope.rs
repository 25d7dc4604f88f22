//! How much of a cluster is known: rules about what is absent are silent for a folder of files. Knows no rule.

use crate::analysis::{Kind, View};

/// Whether all namespaces are among the objects: whoever lists them lists the root namespace too.
pub fn knows_namespaces(view: &View<'_>) -> bool {
    view.get(Kind::Namespace, "", view.mesh().root_namespace()).is_some()
}

/// Whether the objects are a cluster and not some files: its namespaces and the control plane itself are among them.
pub fn is_whole_cluster(view: &View<'_>) -> bool {
    let root = view.mesh().root_namespace();
    let is_istiod = |app: Option<&str>| app == Some("istiod");
    knows_namespaces(view)
        && view.in_namespace(Kind::Deployment, root).iter().any(|deployment| is_istiod(deployment.label("app")))
}
