//! A Kubernetes object under analysis, and where it was read.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;

use super::source::RepeatedKey;
use super::{Kind, Value};

/// Namespace that `kubectl` uses for an object without one.
const ASSUMED: &str = "default";

/// One object.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Kind.
    pub kind: Kind,
    /// `apiVersion` of the object.
    pub api_version: CompactString,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: CompactString,
    /// Whether the object states no namespace and belongs to `default`, as with `kubectl`.
    pub is_namespace_assumed: bool,
    /// Name.
    pub name: CompactString,
    /// Cluster; empty if there is only one, or none.
    pub cluster: Arc<str>,
    /// The whole object.
    pub root: Value,
    /// Position in a file; none for objects of a cluster.
    pub origin: Option<SourceSpan>,
    /// Keys that a mapping of its text has more than once. The later value of each is in `root`.
    pub repeated: Box<[RepeatedKey]>,
    /// The kustomization that the object was built by: its folder as given by the user.
    pub build: Option<Arc<str>>,
    /// Whether no text has the object: a controller makes it from another one that was read. It answers references;
    /// findings about it are dropped.
    pub is_generated: bool,
}

/// A document in one of [`super::source::Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSpan {
    /// Index of the file in [`super::source::Sources`].
    pub file: u32,
    /// First line of the document, from 1.
    pub line: u32,
    /// Offset of the document in the file, bytes.
    pub start: u32,
    /// End of the document, exclusive, bytes.
    pub end: u32,
    /// Index in the document's `List`, if it is one.
    pub item: Option<u32>,
}

/// Group and version of an `apiVersion`; the core group is empty.
pub(crate) fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl Resource {
    /// Wraps a value. None if no rule uses its kind, or if it has no name.
    #[must_use]
    pub fn from_value(root: Value) -> Option<Self> {
        let api_version = root["apiVersion"].as_str()?;
        let (group, _) = group_and_version(api_version);
        let kind = Kind::find(group, root["kind"].text())?;
        Some(Self::of_kind(kind, api_version.into(), root))
    }

    /// An object of a kind that its group does not have.
    pub(super) fn of_unknown_kind(root: Value) -> Self {
        let api_version = root["apiVersion"].scalar_text();
        Self::of_kind(Kind::Unknown, api_version, root)
    }

    fn of_kind(kind: Kind, api_version: CompactString, root: Value) -> Self {
        let metadata = &root["metadata"];
        let namespace =
            if kind.is_namespaced() { metadata["namespace"].scalar_text() } else { CompactString::default() };
        let is_namespace_assumed = kind.is_namespaced() && namespace.is_empty();
        Self {
            kind,
            api_version,
            namespace: if is_namespace_assumed { ASSUMED.into() } else { namespace },
            is_namespace_assumed,
            name: metadata["name"].scalar_text(),
            cluster: Arc::default(),
            root,
            origin: None,
            repeated: Box::default(),
            build: None,
            is_generated: false,
        }
    }

    /// Sets the namespace of a namespaced object that states none.
    pub fn default_namespace(&mut self, namespace: &str) {
        if self.is_namespace_assumed {
            self.namespace = namespace.into();
            self.is_namespace_assumed = false;
        }
    }

    /// Namespace for messages: empty if the object states none.
    #[must_use]
    pub fn stated_namespace(&self) -> &str {
        if self.is_namespace_assumed { "" } else { &self.namespace }
    }

    /// API group as stated; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        if self.kind == Kind::Unknown { group_and_version(&self.api_version).0 } else { self.kind.group() }
    }

    /// Kind as stated.
    #[must_use]
    pub fn kind_name(&self) -> &str {
        if self.kind == Kind::Unknown { self.root["kind"].text() } else { self.kind.name() }
    }

    /// `spec`.
    #[must_use]
    pub fn spec(&self) -> &Value {
        &self.root["spec"]
    }

    /// `status`.
    #[must_use]
    pub fn status(&self) -> &Value {
        &self.root["status"]
    }

    /// Labels, as a mapping.
    #[must_use]
    pub fn labels(&self) -> &Value {
        &self.root["metadata"]["labels"]
    }

    /// Annotations, as a mapping.
    #[must_use]
    pub fn annotations(&self) -> &Value {
        &self.root["metadata"]["annotations"]
    }

    /// Value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()[key].as_str()
    }

    /// Value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()[key].as_str()
    }

    /// Pod specification: the Pod itself, or the pod template of a workload. Null for other kinds.
    #[must_use]
    pub fn pod_template(&self) -> &Value {
        match self.kind {
            Kind::Pod => &self.root,
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => &self.spec()["template"],
            Kind::CronJob => self.spec().at("jobTemplate.spec.template"),
            _ => &Value::Null,
        }
    }

    /// Labels of the object's pods. Null for kinds without pods.
    #[must_use]
    pub fn pod_labels(&self) -> &Value {
        &self.pod_template()["metadata"]["labels"]
    }

    /// `namespace/name`, or `name` without a namespace.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.stated_namespace() {
            "" => self.name.to_string(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// `Kind namespace/name`, as in the output of `istioctl analyze`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind_name())?;
        f.write_str(&self.full_name())
    }
}
