//! Builds kustomizations as `kubectl kustomize` does. What cannot be built exactly is refused with the reason; its files
//! are then read as they are. Pure: `files.rs` reads the files.
//!
//! [`Kustomization`] is the parsed file, `build.rs` collects objects and applies the transformers in the order of
//! Kustomize: patches, namespace, names, labels, annotations, replicas, images, replacements; then hashes and references.

mod build;
mod edit;
mod generate;
mod json_patch;
mod merge;
mod object;
mod references;
mod replace;
mod select;
mod transform;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::super::Value;
use super::budget::Budget;
use super::folder::patches;
use super::read_value;

pub use build::{Spent, build};
pub use object::Object;

/// Deepest chain of kustomizations.
const DEEPEST: usize = 32;

/// Why a kustomization cannot be built exactly: the field or the cause, as a noun phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inexact(pub String);

/// Reads files for a build.
pub trait Files {
    /// Number and text of a file below the analyzed folder or below `folder`; none if it cannot be read.
    fn read(&mut self, folder: &Path, path: &Path) -> Option<(u32, Rc<str>)>;

    /// Whether there is a folder at this path.
    fn is_folder(&self, path: &Path) -> bool;

    /// The kustomization of a folder.
    fn kustomization(&mut self, folder: &Path) -> Option<Rc<Kustomization>>;
}

/// The file of a kustomization.
#[derive(Debug, Default)]
pub struct Kustomization {
    /// The folder of the file, normalized.
    pub folder: PathBuf,
    /// Number of the file.
    pub file: u32,
    /// Length of the file, bytes.
    pub length: u32,
    /// Its content; none if it cannot be parsed.
    root: Option<Value>,
    /// Files that it uses as patches and the like, and not as manifests.
    pub patches: Vec<PathBuf>,
}

impl Kustomization {
    /// Parses the file of a kustomization.
    pub fn read(folder: &Path, text: &str, file: u32) -> Self {
        let folder = normalized(folder);
        let root = read_value("kustomization", text).ok();
        Self {
            patches: root.iter().flat_map(|root| patches(&folder, root)).map(|path| normalized(&path)).collect(),
            root,
            folder,
            file,
            length: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }

    fn root(&self) -> &Value {
        static NONE: Value = Value::Null;
        self.root.as_ref().unwrap_or(&NONE)
    }

    fn is_component(&self) -> bool {
        self.root()["kind"].text() == "Component"
    }

    /// Local files and folders that it takes objects from, and its components.
    fn sources(&self) -> impl Iterator<Item = PathBuf> {
        let root = self.root();
        let named = ["resources", "bases", "components"].into_iter().flat_map(|key| root[key].texts());
        named.filter(|name| !is_remote(name)).map(|name| normalized(&self.folder.join(name)))
    }
}

/// Whether a resource is outside of the file system.
fn is_remote(name: &str) -> bool {
    name.contains("://") || name.contains("?ref=") || name.starts_with("github.com/") || name.starts_with("git@")
}

/// The path without `.` and without `..` behind a name. Does not follow symbolic links.
pub fn normalized(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(parts.components().next_back(), Some(Component::Normal(_))) => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

/// The kustomizations that no other one uses. A component alone is not one: it changes the objects of its users.
pub fn roots(all: &[Rc<Kustomization>]) -> Vec<&Rc<Kustomization>> {
    let used: BTreeSet<PathBuf> = all.iter().flat_map(|one| one.sources().filter(|path| *path != one.folder)).collect();
    all.iter().filter(|one| !used.contains(&one.folder) && !one.is_component()).collect()
}

/// What the kustomizations that were not built change in the objects of one file.
#[derive(Debug, Default)]
pub struct Unapplied {
    /// Namespaces that they set. Of a base that several overlays put into different ones, none is right for all.
    pub namespaces: BTreeSet<String>,
    /// One that adds a prefix or a suffix to names.
    pub renamed_by: Option<PathBuf>,
    /// Whether one has patches.
    pub is_patched: bool,
}

/// Maximum number of files that [`unapplied`] visits, each as often as kustomizations use it.
const MOST_VISITS: usize = 100_000;

/// What the kustomizations in the folders `roots` change, for each file that they use.
pub fn unapplied(all: &[Rc<Kustomization>], roots: &[PathBuf]) -> BTreeMap<PathBuf, Unapplied> {
    let by_folder = all.iter().map(|one| (&one.folder, &**one)).collect();
    let mut visit = Visit { by_folder, open: BTreeSet::new(), left: MOST_VISITS, found: BTreeMap::new() };
    for folder in roots {
        visit.open = BTreeSet::from([folder.clone()]);
        if let Some(root) = visit.by_folder.get(folder).copied() {
            visit.kustomization(root, &Changes::default());
        }
    }
    visit.found
}

/// What a kustomization and those that use it change.
#[derive(Default)]
struct Changes<'a> {
    namespace: Option<&'a str>,
    renamed_by: Option<&'a PathBuf>,
    is_patched: bool,
}

/// Fields of a kustomization that change any field of an object.
const PATCHES: [&str; 5] = ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers"];

struct Visit<'a> {
    by_folder: BTreeMap<&'a PathBuf, &'a Kustomization>,
    /// Folders on the way to the current one.
    open: BTreeSet<PathBuf>,
    left: usize,
    found: BTreeMap<PathBuf, Unapplied>,
}

impl<'a> Visit<'a> {
    fn kustomization(&mut self, one: &'a Kustomization, outer: &Changes<'a>) {
        let set = |key: &str| one.root()[key].as_str().filter(|it| !it.is_empty());
        let changes = Changes {
            namespace: outer.namespace.or_else(|| set("namespace")),
            renamed_by: outer.renamed_by.or_else(|| set("namePrefix").or(set("nameSuffix")).map(|_| &one.folder)),
            is_patched: outer.is_patched || PATCHES.iter().any(|key| !one.root()[*key].is_empty()),
        };
        for path in one.sources() {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            match self.by_folder.get(&path).copied() {
                Some(inner) if self.open.len() < DEEPEST && self.open.insert(path.clone()) => {
                    self.kustomization(inner, &changes);
                    self.open.remove(&path);
                }
                Some(_) => {}
                None => {
                    let found = self.found.entry(path).or_default();
                    found.namespaces.extend(changes.namespace.map(str::to_owned));
                    found.renamed_by = found.renamed_by.take().or_else(|| changes.renamed_by.cloned());
                    found.is_patched |= changes.is_patched;
                }
            }
        }
    }
}

/// The text of a file that a kustomization in a folder names.
fn read_inside(folder: &Path, path: &str, files: &mut dyn Files) -> Result<String, Inexact> {
    let (_, text) = files
        .read(folder, &normalized(&folder.join(path)))
        .ok_or_else(|| Inexact(format!("{path}, which cannot be read")))?;
    Ok(text.to_string())
}

/// Charges for a copy of a value that a patch, a label or a replacement makes: each may double an object, and be made for
/// each object.
fn charge(copies: &Budget, value: &Value) -> Result<(), Inexact> {
    if copies.charge(value) {
        Ok(())
    } else {
        Err(Inexact("patches, labels and replacements that copy too much".to_owned()))
    }
}

/// Refuses objects of the same kind, namespace and name; Kustomize does too.
fn refuse_equal_ids(objects: &[Object]) -> Result<(), Inexact> {
    let mut seen = std::collections::HashSet::new();
    for object in objects {
        let id = object.id();
        let key = (id.group, id.version, id.kind, id.namespace, id.name);
        if let Some((.., kind, _, name)) = seen.replace(key) {
            return Err(Inexact(format!("two objects {kind} {name}")));
        }
    }
    Ok(())
}
