//! An object while it is built: its value, the identifiers that it had, and where it was read. Source: kustomize
//! `api/resource/resource.go`, `kyaml/resid`.

use super::super::super::Value;
use super::super::super::resource::group_and_version;
use super::super::{RepeatedKey, SourceSpan};

/// Kinds of Kubernetes without a namespace. Kustomize takes every kind that it does not know for a namespaced one.
const CLUSTER_SCOPED: [&str; 24] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ComponentStatus",
    "CustomResourceDefinition",
    "FlowSchema",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PodSecurityPolicy",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "SelfSubjectAccessReview",
    "StorageClass",
    "SubjectAccessReview",
    "TokenReview",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
];

/// Groups of Kubernetes itself.
const BUILT_IN: [&str; 18] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
];

/// Whether a group is one of Kubernetes itself, whose types Kustomize knows.
pub fn is_built_in(group: &str) -> bool {
    BUILT_IN.contains(&group) || matches!(group, "events.k8s.io" | "scheduling.k8s.io")
}

/// Identifies an object at one point of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace, `default` if none is stated; none for kinds without one.
    pub namespace: Option<String>,
}

impl Id {
    /// Of an object as it is now.
    pub fn of(object: &Value) -> Self {
        let (group, version) = group_and_version(object["apiVersion"].text());
        let kind = object["kind"].text();
        let metadata = &object["metadata"];
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            name: metadata["name"].scalar_text().to_string(),
            namespace: effective_namespace(group, kind, metadata["namespace"].text()),
        }
    }

    /// Whether it has this group, version and kind; an empty one matches any.
    pub fn is_selected(&self, group: &str, version: &str, kind: &str) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(group, &self.group) && is(version, &self.version) && is(kind, &self.kind)
    }
}

/// Whether objects of a kind have no namespace, as far as Kustomize knows.
pub fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    is_built_in(group) && CLUSTER_SCOPED.contains(&kind)
}

fn effective_namespace(group: &str, kind: &str, stated: &str) -> Option<String> {
    let stated = if stated.is_empty() { "default" } else { stated };
    (!is_cluster_scoped(group, kind)).then(|| stated.to_owned())
}

/// An object while it is built.
#[derive(Debug, Clone)]
pub struct Object {
    /// The object as it is now.
    pub root: Value,
    /// Where it was read.
    pub origin: SourceSpan,
    /// Keys that its text has more than once.
    pub repeated: Box<[RepeatedKey]>,
    /// Identifiers that it had, the oldest first.
    pub previous: Vec<Id>,
    /// Prefixes of its name, the innermost first.
    pub prefixes: Vec<String>,
    /// Suffixes of its name, the innermost first.
    pub suffixes: Vec<String>,
    /// Whether a hash of its content is added to its name.
    pub needs_hash: bool,
}

impl Object {
    /// As it was read.
    pub fn new(root: Value, origin: SourceSpan) -> Self {
        Self {
            root,
            origin,
            repeated: Box::default(),
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            needs_hash: false,
        }
    }

    /// Its identifier now.
    pub fn id(&self) -> Id {
        Id::of(&self.root)
    }

    /// Its first identifier.
    pub fn original_id(&self) -> Id {
        self.previous.first().cloned().unwrap_or_else(|| self.id())
    }

    /// Identifiers that it had and has.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.previous.iter().cloned().chain([self.id()])
    }

    /// Remembers the identifier before a change of it.
    pub fn store_id(&mut self) {
        self.previous.push(self.id());
    }

    /// Its name now.
    pub fn name(&self) -> &str {
        self.root["metadata"]["name"].text()
    }

    /// Changes its name.
    pub fn set_name(&mut self, name: &str) {
        self.root.map_mut("metadata").set("name", Value::string(name));
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.root["metadata"]["annotations"][key].as_str()
    }
}
