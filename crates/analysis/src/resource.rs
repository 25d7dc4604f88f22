//! One object to be analysed, and where it was read.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;

use super::source::RepeatedKey;
use super::{Kind, Node};

/// Where `kubectl` puts what states no namespace.
const ASSUMED: &str = "default";

/// One object.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Which kind.
    pub kind: Kind,
    /// Group and version as the object states them.
    pub api_version: CompactString,
    /// Empty for kinds of the whole cluster.
    pub namespace: CompactString,
    /// Whether the object states no namespace, so that it is taken for one of `default`, as `kubectl` would.
    pub is_namespace_assumed: bool,
    /// Its name.
    pub name: CompactString,
    /// Which cluster it belongs to; empty where there is only one, or none.
    pub cluster: Arc<str>,
    /// The whole object.
    pub root: Node,
    /// Where in a file it was read; none for objects of a cluster.
    pub origin: Option<Origin>,
    /// Keys that a mapping of its text has more than once. The later value of each is in `root`.
    pub repeated: Box<[RepeatedKey]>,
    /// Whether no text has the object: a controller makes it from another one that was read. It answers references;
    /// findings about it are dropped.
    pub is_generated: bool,
}

/// A place in one of [`super::source::Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Which file, by its number in [`super::source::Sources`].
    pub file: u32,
    /// First line of the document, from 1.
    pub line: u32,
    /// Bytes of the document within the file.
    pub start: u32,
    /// The end, exclusive.
    pub end: u32,
    /// Which item of the document's `List`, if it is one.
    pub item: Option<u32>,
}

impl Resource {
    /// From what was read. None if it is of no kind that a rule reads, or has no name.
    #[must_use]
    pub fn from_node(root: Node) -> Option<Self> {
        let api_version = root["apiVersion"].as_str()?;
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = Kind::find(group, root["kind"].text())?;
        Some(Self::of_kind(kind, api_version.into(), root))
    }

    /// An object of a kind that its group does not have.
    pub(super) fn of_unknown_kind(root: Node) -> Self {
        let api_version = root["apiVersion"].scalar_text();
        Self::of_kind(Kind::Unknown, api_version, root)
    }

    fn of_kind(kind: Kind, api_version: CompactString, root: Node) -> Self {
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
            is_generated: false,
        }
    }

    /// Puts an object that states no namespace into one, if it is of a kind that lives in namespaces.
    pub fn default_namespace(&mut self, namespace: &str) {
        if self.is_namespace_assumed {
            self.namespace = namespace.into();
            self.is_namespace_assumed = false;
        }
    }

    /// The namespace as people are told it: nothing where the object states none.
    #[must_use]
    pub fn stated_namespace(&self) -> &str {
        if self.is_namespace_assumed { "" } else { &self.namespace }
    }

    /// `spec`.
    #[must_use]
    pub fn spec(&self) -> &Node {
        &self.root["spec"]
    }

    /// `status`.
    #[must_use]
    pub fn status(&self) -> &Node {
        &self.root["status"]
    }

    /// All labels, as a mapping.
    #[must_use]
    pub fn labels(&self) -> &Node {
        &self.root["metadata"]["labels"]
    }

    /// All annotations, as a mapping.
    #[must_use]
    pub fn annotations(&self) -> &Node {
        &self.root["metadata"]["annotations"]
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()[key].as_str()
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()[key].as_str()
    }

    /// What the object's pods are made from: a Pod itself, or the template of what makes pods. Null for others.
    #[must_use]
    pub fn pod_template(&self) -> &Node {
        match self.kind {
            Kind::Pod => &self.root,
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => &self.spec()["template"],
            Kind::CronJob => self.spec().at("jobTemplate.spec.template"),
            _ => &Node::Null,
        }
    }

    /// Labels of the object's pods. Null for what has none.
    #[must_use]
    pub fn pod_labels(&self) -> &Node {
        &self.pod_template()["metadata"]["labels"]
    }

    /// `namespace/name`, or the name alone where there is no namespace.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.stated_namespace() {
            "" => self.name.to_string(),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// `Kind namespace/name`, as `istioctl analyze` writes it.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        f.write_str(&self.full_name())
    }
}
