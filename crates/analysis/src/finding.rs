//! Findings, and the collector that rules add them to. `run.rs` sorts, deduplicates and suppresses them.

use std::sync::Arc;

use compact_str::CompactString;

use super::snapshot::is_out_of_scope;
use super::{Code, Kind, Level, Resource, SourceSpan, suppress};

/// A finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its code.
    pub code: &'static Code,
    /// Its severity.
    pub level: Level,
    /// The object that it reports.
    pub object: ObjectRef,
    /// Path of the field, such as `spec.http[0].route[1].destination.host`; empty for the whole object. Keys with dots
    /// or slashes are quoted: `metadata.annotations["a.b/c"]`.
    pub field: String,
    /// One sentence: what is wrong, with the values.
    pub message: String,
    /// Arguments of the message, in the order of Istio's message template; may be empty for `SH7…` codes.
    pub arguments: Vec<String>,
    /// Other objects involved.
    pub related: Vec<ObjectRef>,
    /// The change that resolves the finding, if it is mechanical.
    pub fix: Option<Box<Fix>>,
    /// The document from which the object was read; none for objects of a cluster.
    pub origin: Option<SourceSpan>,
    /// The kustomization that the object was built by: its folder as given by the user.
    pub build: Option<Arc<str>>,
    /// Whether an annotation of the object suppresses the code.
    pub suppressed: bool,
    /// Identifies the finding across runs, even if other objects or line numbers change. [`super::run()`] sets it.
    pub fingerprint: String,
}

/// A change of a manifest that follows from the finding alone and keeps what the manifest means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fix {
    /// The key of the field gets another name.
    RenameKey(String),
    /// The scalar in the field gets another value.
    Replace {
        /// Value that the text has.
        from: String,
        /// Value that it gets.
        to: String,
    },
    /// The mapping has the key of the field more than once with one value: the last entry is removed.
    RemoveKey,
    /// The item repeats an earlier one of its list and is removed.
    RemoveItem,
}

/// Reference to an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Cluster; empty if there is only one, or none.
    pub cluster: Arc<str>,
    /// Kind.
    pub kind: Kind,
    /// Group and kind as the object states them, for an object of [`Kind::Unknown`].
    pub stated_kind: Option<Box<(CompactString, CompactString)>>,
    /// Namespace; empty for cluster-scoped objects, and for objects in files without one.
    pub namespace: CompactString,
    /// Name.
    pub name: CompactString,
}

impl From<&Resource> for ObjectRef {
    fn from(resource: &Resource) -> Self {
        Self {
            cluster: resource.cluster.clone(),
            kind: resource.kind,
            stated_kind: (resource.kind == Kind::Unknown)
                .then(|| Box::new((resource.group().into(), resource.kind_name().into()))),
            namespace: resource.stated_namespace().into(),
            name: resource.name.clone(),
        }
    }
}

impl ObjectRef {
    /// API group of the object; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.stated_kind.as_ref().map_or_else(|| self.kind.group(), |stated| &stated.0)
    }

    /// Kind of the object, as in its manifest.
    #[must_use]
    pub fn kind_name(&self) -> &str {
        self.stated_kind.as_ref().map_or_else(|| self.kind.name(), |stated| &stated.1)
    }
}

/// `Kind namespace/name`.
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind_name())?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Finding {
    /// Sets the path of the field. Its line is determined when the finding is printed.
    pub fn field(&mut self, path: impl Into<String>) -> &mut Self {
        self.field = path.into();
        self
    }

    /// Sets the arguments of the message.
    pub fn arguments<A: Into<String>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Adds another object involved.
    pub fn related(&mut self, resource: &Resource) -> &mut Self {
        self.related.push(resource.into());
        self
    }

    /// Sets the change that resolves the finding.
    pub fn fix(&mut self, fix: Option<Fix>) -> &mut Self {
        self.fix = fix.map(Box::new);
        self
    }

    /// Overrides the code's severity, for example if the rule lacks information.
    pub fn level(&mut self, level: Level) -> &mut Self {
        self.level = level;
        self
    }

    /// Sort key: cluster, severity (errors first), code, object, field, message.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (
            &*self.object.cluster,
            std::cmp::Reverse(self.level),
            self.code.id,
            (self.object.kind_name(), self.object.group()),
            &self.object.namespace,
            &self.object.name,
            &self.field,
            &self.message,
            self.origin,
            &self.arguments,
            &self.related,
        )
    }
}

/// Collects the findings of rules.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    /// About objects that are only there to be referred to.
    dropped: Vec<Finding>,
}

impl Findings {
    /// Adds a finding about `resource`. The methods of the returned finding set the rest:
    ///
    /// ```text
    /// findings.add(&IST0128, rule, format!("…")).field("spec.trafficPolicy.tls").arguments([name, host]);
    /// ```
    pub fn add(&mut self, code: &'static Code, resource: &Resource, message: impl Into<String>) -> &mut Finding {
        let finding = Finding {
            code,
            level: code.level,
            object: resource.into(),
            field: String::new(),
            message: message.into(),
            arguments: Vec::new(),
            related: Vec::new(),
            fix: None,
            origin: resource.origin,
            build: resource.build.clone(),
            suppressed: suppress::is_suppressed_by(resource, code.id),
            fingerprint: String::new(),
        };
        let found = if is_out_of_scope(resource) { &mut self.dropped } else { &mut self.found };
        found.push(finding);
        let last = found.len() - 1;
        &mut found[last]
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}
