//! Objects that no manifest has because a controller makes them from another object: exactly known ones, such as the
//! Service of a Gateway, and ones that are possibly there, such as whatever a `HelmRelease` installs. Pure.
//!
//! Exactly known objects are resources with [`Resource::is_generated`]. What is possibly there is a resource of
//! [`Kind::Generator`], which the analysis makes for itself; its `makes` lists kind, namespace and name of what it may
//! make, with `*` at the end for any ending and the namespace `.` for its own.

mod gateway;
mod possible;
mod workload;

pub use possible::anything;

use compact_str::CompactString;

use super::index::KeyIndex;
use super::{Kind, Resource, Value, View};

/// Objects that a controller creates from an object of a kind that rules read.
#[must_use]
pub fn of_known(resource: &Resource) -> Vec<Resource> {
    match resource.kind {
        Kind::KubernetesGateway => gateway::objects(resource),
        Kind::Ingress => possible::ingress_secrets(resource).into_iter().collect(),
        Kind::Secret => possible::reflected_secret(resource).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Objects that may exist because of an object of another kind: its pods, and objects of its controller.
#[must_use]
pub fn of_unknown(root: &Value) -> Vec<Resource> {
    let mut made = workload::workloads(root);
    // An object with a pod template makes these pods and no others.
    let has_pods = !made.is_empty();
    made.extend(possible::of(root, has_pods));
    made
}

/// A resource that no text has. It states a namespace where `source` does.
fn generated(kind: Kind, api_version: &str, source: &Source<'_>, name: &str, root: Value) -> Resource {
    Resource {
        kind,
        api_version: api_version.into(),
        namespace: if source.namespace.is_empty() { "default".into() } else { source.namespace.clone() },
        is_namespace_assumed: source.namespace.is_empty(),
        name: name.into(),
        cluster: std::sync::Arc::default(),
        root,
        origin: None,
        repeated: Box::default(),
        build: None,
        is_generated: true,
    }
}

/// The namespace that the maker states; empty if it states none.
struct Source<'a> {
    namespace: CompactString,
    name: &'a str,
}

impl<'a> Source<'a> {
    fn of(root: &'a Value) -> Self {
        let metadata = &root["metadata"];
        Self { namespace: metadata["namespace"].scalar_text(), name: metadata["name"].text() }
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (CompactString::new(key), value)).collect())
}

static GENERATORS: KeyIndex = KeyIndex {
    name: "what controllers may make",
    kinds: &[Kind::Generator],
    keys: |generator, keys| {
        for made in generator.root["makes"].items() {
            let namespace = made["namespace"].text();
            let namespace = if namespace == "." { generator.namespace.as_str() } else { namespace };
            keys.add(&[made["kind"].text(), namespace]);
            if made["kind"].text() == "*" {
                keys.add(&["anything"]);
            }
            keys.add(&["kind", made["kind"].text()]);
        }
    },
};

/// Objects that may exist, for [`View::may_be_made`].
pub const SERVICE: &str = "Service";
/// Pods of any kind of workload.
pub const WORKLOAD: &str = "Workload";
/// A Secret.
pub const SECRET: &str = "Secret";
/// A `ServiceAccount`.
pub const SERVICE_ACCOUNT: &str = "ServiceAccount";

impl View<'_> {
    /// Whether a controller may make an object of this kind and name in a namespace.
    #[must_use]
    pub fn may_be_made(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let places = [[kind, namespace], ["*", namespace], [kind, "*"], ["*", "*"]];
        places.iter().any(|place| {
            self.made(place).iter().any(|generator| {
                let own = generator.namespace.as_str();
                generator.root["makes"].items().iter().any(|made| {
                    let of = made["namespace"].text();
                    let of = if of == "." { own } else { of };
                    made["kind"].text() == place[0] && of == place[1] && fits(made["name"].text(), name)
                })
            })
        })
    }

    /// Whether a controller makes an object of this kind and of exactly this name in some namespace.
    #[must_use]
    pub fn is_made_somewhere(&self, kind: &str, name: &str) -> bool {
        self.made(&["kind", kind]).iter().any(|generator| {
            let made = generator.root["makes"].items();
            made.iter().any(|made| made["kind"].text() == kind && made["name"].text() == name)
        })
    }

    /// Whether a controller may make pods whose labels have one of these values, or may make anything, in a namespace.
    #[must_use]
    pub fn may_make_pods(&self, namespace: &str, values: &[&str]) -> bool {
        self.may_be_made(WORKLOAD, namespace, "")
            || values.iter().any(|value| self.may_be_made(WORKLOAD, namespace, value))
    }

    /// Whether a controller may make pods anywhere.
    #[must_use]
    pub fn may_make_pods_anywhere(&self) -> bool {
        self.may_make_anything() || !self.made(&["kind", WORKLOAD]).is_empty()
    }

    /// Whether a controller may make objects of any kind in some namespace, so that the input is not all there is.
    #[must_use]
    pub fn may_make_anything(&self) -> bool {
        !self.made(&["anything"]).is_empty()
    }

    fn made(&self, key: &[&str]) -> &[std::sync::Arc<Resource>] {
        self.lookup_generated(&GENERATORS, key)
    }
}

/// Whether a name fits a pattern with `*` at its end; the empty name fits `*` only.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(start) => !start.is_empty() && name.starts_with(start),
        None => pattern == name,
    }
}
