//! All objects at one point in time, sorted, so that results do not depend on the order of input. Rules access it
//! through [`super::View`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use compact_str::CompactString;

use super::index::{self, Indexes, KeyIndex};
use super::mesh::{Mesh, networks_resource};
use super::query::Query;
use super::units::Layout;
use super::{Kind, ObjectRef, Resource, SourceSpan, Value};

/// All objects under analysis.
#[derive(Debug)]
pub struct Snapshot {
    kinds: Vec<Vec<Arc<Resource>>>,
    mesh: Mesh,
    now: i64,
    indexes: Indexes,
    repeated: Vec<(ObjectRef, SourceSpan, SourceSpan)>,
    is_stated_whole: bool,
    layout: Arc<Layout>,
    /// Objects of which another file has another text, which stays.
    alternatives: Vec<Arc<Resource>>,
    /// All objects that another one of the same name replaces.
    replaced: Vec<Arc<Resource>>,
}

/// Objects without those that others replace.
#[derive(Default)]
struct Assembled {
    kinds: Vec<Vec<Arc<Resource>>>,
    repeated: Vec<(ObjectRef, SourceSpan, SourceSpan)>,
    alternatives: Vec<Arc<Resource>>,
    replaced: Vec<Arc<Resource>>,
}

/// Settings beside the objects.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `MeshConfig`, merged with Istio's defaults.
    pub mesh_config: Option<Value>,
    /// `MeshNetworks`.
    pub mesh_networks: Option<Value>,
    /// Current time, Unix seconds.
    pub now: i64,
    /// Whether the objects are all that the cluster has: what is not among them does not exist. Otherwise rules about
    /// absence decide by evidence; see `rules/scope.rs`.
    pub whole_cluster: bool,
    /// The cluster's DNS domain; `cluster.local`, or what the arguments of istiod say, when none is given.
    pub cluster_domain: Option<String>,
    /// Where the files of the objects lie. Without it, all files count as applied together.
    pub layout: Layout,
}

/// How an object has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Unchanged.
    Nothing,
    /// Added.
    Added,
    /// Modified.
    Changed,
    /// Deleted.
    Removed,
}

/// Namespaces of Kubernetes itself. Istio's analyzers ignore their objects (`analysis/local/istiod_analyze.go`). Here
/// other objects can reference them, and rules check those of Istio and the Gateway API, because istiod reads them too.
pub const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

impl Snapshot {
    /// Builds a snapshot from objects in any order. The last of several with the same name wins; an object
    /// from a text takes precedence over one that a controller creates.
    #[must_use]
    pub fn new(resources: impl IntoIterator<Item = Resource>, settings: Settings) -> Self {
        let Assembled { mut kinds, repeated, alternatives, replaced } = assemble(resources.into_iter().map(Arc::new));
        let mesh_config = settings.mesh_config.unwrap_or(Value::Null);
        let mesh = Mesh::new(&mesh_config).with_domain(settings.cluster_domain);
        kinds[Kind::MeshConfig.index()] = vec![Arc::new(mesh.resource())];
        if let Some(networks) = settings.mesh_networks {
            kinds[Kind::MeshNetworks.index()] = vec![Arc::new(networks_resource(networks))];
        }
        Self {
            kinds,
            mesh,
            now: settings.now,
            indexes: Indexes::default(),
            repeated,
            is_stated_whole: settings.whole_cluster,
            layout: Arc::new(settings.layout),
            alternatives,
            replaced,
        }
    }

    /// All objects, also those that another one of the same name replaces.
    pub(super) fn all_with_replaced(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.iter().flatten().chain(&self.replaced)
    }

    /// The same with the objects of some kustomizations only, and with all that none has built.
    pub(super) fn with_builds(&self, has: impl Fn(&str) -> bool) -> Self {
        self.with_some(|it| it.build.as_deref().is_none_or(&has), self.is_stated_whole)
    }

    /// The same with some of the objects, as all that the cluster has if `whole` is set.
    pub(super) fn with_some(&self, has: impl Fn(&Resource) -> bool, whole: bool) -> Self {
        self.assembled(self.all_with_replaced().filter(|it| has(it)).cloned(), whole)
    }

    /// The same with the objects that state no namespace in this one, as all that the cluster has. Objects of the same
    /// name that state the namespace stay.
    pub(super) fn with_unstated_in(&self, namespace: &str) -> Self {
        let placed = self.all_with_replaced().filter(|it| it.kind != Kind::Generator).map(|it| {
            if !it.is_namespace_assumed || !self.named(it.kind, namespace, &it.name).is_empty() {
                return it.clone();
            }
            Arc::new(Resource { namespace: namespace.into(), ..(**it).clone() })
        });
        self.assembled(placed, true)
    }

    fn assembled(&self, resources: impl Iterator<Item = Arc<Resource>>, is_stated_whole: bool) -> Self {
        let Assembled { kinds, repeated, alternatives, replaced } = assemble(resources);
        Self {
            kinds,
            mesh: self.mesh.clone(),
            now: self.now,
            indexes: Indexes::default(),
            repeated,
            is_stated_whole,
            layout: self.layout.clone(),
            alternatives,
            replaced,
        }
    }

    /// Where the files of the objects lie.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Objects that files define more than once: position of the overridden definition and of the one that is used.
    #[must_use]
    pub fn repeated(&self) -> &[(ObjectRef, SourceSpan, SourceSpan)] {
        &self.repeated
    }

    /// Objects of which another file has another text that is used instead.
    pub(super) fn alternatives(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.alternatives.iter()
    }

    /// The same with an alternative of each object that has some, but for one object.
    pub(super) fn with_alternatives(&self, round: usize, but: Option<&ObjectRef>) -> Self {
        let mut of_object: BTreeMap<ObjectRef, Vec<&Arc<Resource>>> = BTreeMap::new();
        for alternative in &self.alternatives {
            of_object.entry(ObjectRef::from(&**alternative)).or_default().push(alternative);
        }
        let mut kinds = self.kinds.clone();
        for (_, of_object) in of_object.iter().filter(|(object, _)| Some(*object) != but) {
            let one = of_object[round % of_object.len()];
            let of_kind = &mut kinds[one.kind.index()];
            if let Ok(at) = of_kind.binary_search_by(|it| key(it).cmp(&key(one))) {
                of_kind[at] = one.clone();
            }
        }
        Self {
            kinds,
            mesh: self.mesh.clone(),
            now: self.now,
            indexes: Indexes::default(),
            repeated: Vec::new(),
            is_stated_whole: self.is_stated_whole,
            layout: self.layout.clone(),
            alternatives: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// One alternative of each object that has so many, and nothing else.
    pub(super) fn alternatives_alone(&self, round: usize) -> Self {
        let mut counts: BTreeMap<ObjectRef, usize> = BTreeMap::new();
        let mut is_of_round = |it: &&Arc<Resource>| {
            let count = counts.entry(ObjectRef::from(&***it)).or_default();
            *count += 1;
            *count == round + 1
        };
        let mesh = self.of(Kind::MeshConfig).iter();
        let one: Vec<Arc<Resource>> = self.alternatives.iter().filter(&mut is_of_round).chain(mesh).cloned().collect();
        self.assembled(one.into_iter(), self.is_stated_whole)
    }

    /// All objects of a kind, sorted by namespace, name and cluster.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &[Arc<Resource>] {
        &self.kinds[kind.index()]
    }

    /// Objects of a kind in one namespace.
    #[must_use]
    pub fn in_namespace(&self, kind: Kind, namespace: &str) -> &[Arc<Resource>] {
        let all = self.of(kind);
        &all[range(all, |resource| resource.namespace.as_str().cmp(namespace))]
    }

    /// Objects with this name: one for each cluster.
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

    /// Objects with a key of an index.
    pub(super) fn keyed(&self, index: &'static KeyIndex, parts: &[&str]) -> &[Arc<Resource>] {
        self.indexes.find(index, index::key(index.name, parts), self)
    }

    /// Adds, replaces or removes an object. Reports the queries whose result has changed.
    pub(super) fn upsert(
        &mut self,
        object: &ObjectRef,
        new: Option<&Arc<Resource>>,
        invalidated: &mut dyn FnMut(Query<'_>),
    ) -> Exchange {
        let (kind, namespace, name) = (object.kind, object.namespace.as_str(), object.name.as_str());
        let has = |this: &Self| {
            [
                !this.of(kind).is_empty(),
                !this.in_namespace(kind, namespace).is_empty(),
                !this.named(kind, namespace, name).is_empty(),
            ]
        };
        let had = has(self);
        let place = self.kinds[kind.index()].binary_search_by(|it| key(it).cmp(&(namespace, name, &object.cluster)));
        let of_kind = &mut self.kinds[kind.index()];
        let old = match (place, new) {
            (Ok(at), Some(new)) if is_alike(&of_kind[at], new) => return Exchange::Nothing,
            (Ok(at), Some(new)) => Some(std::mem::replace(&mut of_kind[at], new.clone())),
            (Ok(at), None) => Some(of_kind.remove(at)),
            (Err(at), Some(new)) => {
                of_kind.insert(at, new.clone());
                None
            }
            (Err(_), None) => return Exchange::Nothing,
        };
        self.indexes.upsert(old.as_ref(), new, invalidated);
        invalidated(Query::All(kind));
        invalidated(Query::In(kind, namespace));
        invalidated(Query::Named(kind, namespace, name));
        let presence = [Query::Has(kind), Query::HasIn(kind, namespace), Query::HasNamed(kind, namespace, name)];
        for ((query, had), has) in presence.into_iter().zip(had).zip(has(self)) {
            if had != has {
                invalidated(query);
            }
        }
        match (old, new) {
            (None, _) => Exchange::Added,
            (Some(_), None) => Exchange::Removed,
            (Some(_), Some(_)) => Exchange::Changed,
        }
    }

    /// Merges other settings into the defaults; returns the object that represents them.
    pub(super) fn set_mesh(&mut self, config: &Value, invalidated: &mut dyn FnMut(Query<'_>)) -> Arc<Resource> {
        let mesh = Mesh::new(config).with_domain(Some(self.mesh.cluster_domain().to_owned()));
        if mesh.config() != self.mesh.config() {
            invalidated(Query::Mesh);
        }
        if mesh.root_namespace() != self.mesh.root_namespace() {
            invalidated(Query::RootNamespace);
        }
        self.mesh = mesh;
        Arc::new(self.mesh.resource())
    }

    /// Sets the time.
    pub(super) fn set_now(&mut self, now: i64, invalidated: &mut dyn FnMut(Query<'_>)) {
        if now != self.now {
            invalidated(Query::Now);
        }
        self.now = now;
    }

    /// Whether the objects are all that the cluster has; [`Settings::whole_cluster`].
    #[must_use]
    pub const fn is_stated_whole(&self) -> bool {
        self.is_stated_whole
    }

    /// How many objects there are; the mesh's settings and what controllers make are none.
    #[must_use]
    pub fn len(&self) -> usize {
        let is_read = |kind: &&Kind| !matches!(kind, Kind::MeshConfig | Kind::MeshNetworks);
        let of_kind = |kind: &Kind| self.of(*kind).iter().filter(|it| !it.is_generated).count();
        Kind::ALL.iter().filter(is_read).map(of_kind).sum()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Settings of the mesh.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Time of the snapshot, Unix seconds.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.now
    }
}

fn assemble(resources: impl Iterator<Item = Arc<Resource>>) -> Assembled {
    let mut all = Assembled { kinds: (0..Kind::COUNT).map(|_| Vec::new()).collect(), ..Assembled::default() };
    for resource in resources {
        all.kinds[resource.kind.index()].push(resource);
    }
    let Assembled { kinds, repeated, alternatives, replaced } = &mut all;
    for of_kind in kinds {
        // The position in the files decides between equal names, not the order in which threads read them.
        let order = |it: &Resource| (it.is_generated, std::cmp::Reverse(it.origin));
        of_kind.sort_by(|a, b| key(a).cmp(&key(b)).then(order(a).cmp(&order(b))));
        of_kind.dedup_by(|earlier, kept| {
            let is_same = key(earlier) == key(kept);
            if is_same && let (Some(from), Some(by)) = (earlier.origin, kept.origin) {
                if earlier.build == kept.build {
                    repeated.push((ObjectRef::from(&**kept), from, by));
                }
                if (from.file != by.file || earlier.build != kept.build) && earlier.root != kept.root {
                    alternatives.push(earlier.clone());
                }
            }
            if is_same {
                replaced.push(earlier.clone());
            }
            is_same
        });
    }
    all
}

fn key(resource: &Resource) -> (&str, &str, &str) {
    (&resource.namespace, &resource.name, &resource.cluster)
}

fn range(all: &[Arc<Resource>], compare: impl Fn(&Resource) -> std::cmp::Ordering) -> Range<usize> {
    let start = all.partition_point(|resource| compare(resource).is_lt());
    let length = all[start..].partition_point(|resource| compare(resource).is_eq());
    start..start + length
}

/// Whether no rule can distinguish the two values.
fn is_alike(a: &Resource, b: &Resource) -> bool {
    a.root == b.root && a.api_version == b.api_version && a.origin == b.origin
}

/// Whether findings about an object are dropped: no text has it, or it is one of Kubernetes' own, which only the
/// distribution changes.
pub(super) fn is_out_of_scope(resource: &Resource) -> bool {
    let namespace = if resource.kind == Kind::Namespace { &resource.name } else { &resource.namespace };
    let group = resource.kind.group();
    resource.is_generated
        || !group.ends_with("istio.io")
            && group != "gateway.networking.k8s.io"
            && SYSTEM_NAMESPACES.contains(&namespace.as_str())
}
