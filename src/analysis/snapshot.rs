//! All objects at one moment, sorted so that each question has one answer whatever order they came in. Rules see it
//! through [`super::View`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use compact_str::CompactString;

use super::index::{self, Indexes, KeyIndex};
use super::mesh::{Mesh, networks_resource};
use super::{Kind, Node, Resource};

/// Everything that can be analysed.
#[derive(Debug)]
pub struct Snapshot {
    kinds: Vec<Arc<Vec<Arc<Resource>>>>,
    mesh: Arc<Mesh>,
    now: i64,
    indexes: Indexes,
}

/// What is known beside the objects.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `MeshConfig`, laid over Istio's defaults.
    pub mesh_config: Option<Node>,
    /// `MeshNetworks`.
    pub mesh_networks: Option<Node>,
    /// Now, seconds since 1970.
    pub now: i64,
}

/// Namespaces of Kubernetes itself; Istio's analysis leaves them out too (`analysis/local/istiod_analyze.go`).
pub const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

impl Snapshot {
    /// From objects in any order. Of two with the same name the one read last stays. Objects of Kubernetes' own
    /// namespaces are left out.
    #[must_use]
    pub fn new(resources: impl IntoIterator<Item = Resource>, settings: Settings) -> Self {
        let mut kinds: Vec<Vec<Arc<Resource>>> = (0..Kind::COUNT).map(|_| Vec::new()).collect();
        for resource in resources {
            if !is_left_out(&resource) {
                kinds[resource.kind.index()].push(Arc::new(resource));
            }
        }
        for of_kind in &mut kinds {
            // The place in the file decides between two of the same name, and not the order of reading.
            of_kind.sort_by(|a, b| key(a).cmp(&key(b)).then(b.origin.cmp(&a.origin)));
            of_kind.dedup_by(|later, first| key(later) == key(first));
        }
        let mesh_config = settings.mesh_config.unwrap_or(Node::Null);
        let mesh = Mesh::new(&mesh_config);
        kinds[Kind::MeshConfig.index()] = vec![Arc::new(mesh.resource())];
        if let Some(networks) = settings.mesh_networks {
            kinds[Kind::MeshNetworks.index()] = vec![Arc::new(networks_resource(networks))];
        }
        Self {
            kinds: kinds.into_iter().map(Arc::new).collect(),
            mesh: Arc::new(mesh),
            now: settings.now,
            indexes: Indexes::default(),
        }
    }

    /// All objects of a kind, by namespace, name and cluster.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &[Arc<Resource>] {
        &self.kinds[kind.index()]
    }

    /// Those of one namespace.
    #[must_use]
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> &[Arc<Resource>] {
        let all = self.of(kind);
        &all[range(all, |resource| resource.namespace.as_str().cmp(namespace))]
    }

    /// Those with one name: one for each cluster.
    #[must_use]
    pub fn named(&self, kind: Kind, namespace: &str, name: &str) -> &[Arc<Resource>] {
        let all = self.of(kind);
        &all[range(all, |resource| (resource.namespace.as_str(), resource.name.as_str()).cmp(&(namespace, name)))]
    }

    /// Namespaces with an object of one of these kinds, sorted.
    #[must_use]
    pub fn namespaces_with(&self, kinds: &[Kind]) -> BTreeSet<CompactString> {
        let mut namespaces = BTreeSet::new();
        for kind in kinds {
            let mut last: Option<&CompactString> = None;
            for resource in self.of(*kind) {
                let namespace = if *kind == Kind::Namespace { &resource.name } else { &resource.namespace };
                if last != Some(namespace) {
                    namespaces.insert(namespace.clone());
                    last = Some(namespace);
                }
            }
        }
        namespaces
    }

    /// Those with a key of an index.
    pub(super) fn keyed(&self, index: &'static KeyIndex, parts: &[&str]) -> &[Arc<Resource>] {
        self.indexes.find(index, index::key(index.name, parts), self)
    }

    /// How many objects there are; the mesh's settings are none.
    #[must_use]
    pub fn len(&self) -> usize {
        let settings = [Kind::MeshConfig, Kind::MeshNetworks].map(|kind| self.of(kind).len());
        self.kinds.iter().map(|of_kind| of_kind.len()).sum::<usize>() - settings.iter().sum::<usize>()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// When it was taken, seconds since 1970.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }
}

fn key(resource: &Resource) -> (&str, &str, &str) {
    (&resource.namespace, &resource.name, &resource.cluster)
}

fn range(all: &[Arc<Resource>], compare: impl Fn(&Resource) -> std::cmp::Ordering) -> Range<usize> {
    let start = all.partition_point(|resource| compare(resource).is_lt());
    let length = all[start..].partition_point(|resource| compare(resource).is_eq());
    start..start + length
}

fn is_left_out(resource: &Resource) -> bool {
    let namespace = if resource.kind == Kind::Namespace { &resource.name } else { &resource.namespace };
    SYSTEM_NAMESPACES.contains(&namespace.as_str())
}
