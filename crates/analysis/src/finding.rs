//! What a rule has found, and the sink that rules put it into. Order, duplicates and suppression are `run.rs`.

use std::sync::Arc;

use compact_str::CompactString;

use super::snapshot::is_out_of_scope;
use super::{Code, Kind, Level, Origin, Resource, suppress};

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub code: &'static Code,
    /// How bad it is here.
    pub level: Level,
    /// The object it is about.
    pub object: ObjectRef,
    /// The field, such as `spec.http[0].route[1].destination.host`; empty for the whole object. Keys with dots or
    /// slashes are quoted: `metadata.annotations["a.b/c"]`.
    pub field: String,
    /// One sentence for a person.
    pub message: String,
    /// What the message was made from, in the order of Istio's message templates.
    pub arguments: Vec<String>,
    /// Other objects that have to do with it.
    pub related: Vec<ObjectRef>,
    /// The document the object was read from.
    pub origin: Option<Origin>,
    /// Whether an annotation of the object says that the code does not matter there.
    pub suppressed: bool,
    /// The same for the same finding in another run, whatever else has changed around it; set by [`super::run()`].
    pub fingerprint: String,
}

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Which cluster; empty where there is only one, or none.
    pub cluster: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty where there is none, or none is stated.
    pub namespace: CompactString,
    /// Its name.
    pub name: CompactString,
}

impl From<&Resource> for ObjectRef {
    fn from(resource: &Resource) -> Self {
        Self {
            cluster: resource.cluster.clone(),
            kind: resource.kind,
            namespace: resource.stated_namespace().into(),
            name: resource.name.clone(),
        }
    }
}

/// `Kind namespace/name`.
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl Finding {
    /// Names the field. Its line is looked up when the finding is shown.
    pub fn field(&mut self, path: impl Into<String>) -> &mut Self {
        self.field = path.into();
        self
    }

    /// What the message was made from.
    pub fn arguments<A: Into<String>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Another object that has to do with it.
    pub fn related(&mut self, resource: &Resource) -> &mut Self {
        self.related.push(resource.into());
        self
    }

    /// Another level than the code's own, where less is known.
    pub fn level(&mut self, level: Level) -> &mut Self {
        self.level = level;
        self
    }

    /// The order in which findings are told: cluster, worst first, code, object, field, text.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (
            &*self.object.cluster,
            std::cmp::Reverse(self.level),
            self.code.id,
            (self.object.kind.name(), self.object.kind.group()),
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

/// Where rules put what they find.
#[derive(Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
    /// About objects that are only there to be referred to.
    dropped: Vec<Finding>,
}

impl Findings {
    /// Adds a finding about `resource`. More is said by the methods of what this returns:
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
            origin: resource.origin,
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
