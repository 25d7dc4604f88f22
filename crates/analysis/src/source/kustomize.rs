//! What a `kustomization.yaml` does to the files that it names. Its `namespace` is applied as `kubectl kustomize` applies
//! it; what else changes objects is named, so that nothing is concluded from what is absent. Pure but for the paths that
//! it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::Value;
use super::folder::patches;
use super::read_value;

/// Deepest chain of kustomizations.
const DEEPEST: usize = 32;
/// Fields that change no object which a rule looks at, or that are applied here.
const HARMLESS: [&str; 14] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "namespace",
    "images",
    "replicas",
    "commonAnnotations",
    "configMapGenerator",
    "generatorOptions",
    "openapi",
    "sortOptions",
    "buildMetadata",
];

/// One kustomization.
#[derive(Debug, Default)]
pub struct Kustomization {
    /// The folder of its file.
    pub folder: PathBuf,
    /// Files that it names as patches, transformers and the like.
    pub patches: Vec<PathBuf>,
    /// Files and folders that it takes objects from.
    resources: Vec<PathBuf>,
    namespace: Option<String>,
    /// Fields that change or add objects and are not applied, with remote resources as `resources`.
    pub not_applied: Vec<String>,
}

impl Kustomization {
    /// Reads the file of a kustomization; one that cannot be read names nothing.
    pub fn read(folder: &Path, text: &str) -> Self {
        let Ok(root) = read_value("kustomization", text) else {
            return Self { folder: folder.to_path_buf(), not_applied: vec!["the file".to_owned()], ..Self::default() };
        };
        let named: Vec<&str> = root["resources"].texts().chain(root["bases"].texts()).collect();
        let is_remote = |name: &&str| name.contains("://") || name.contains("?ref=") || name.starts_with("github.com/");
        let changes = |key: &str| !HARMLESS.contains(&key) && !is_labels_only(key, &root[key]) && !root[key].is_empty();
        let mut not_applied: Vec<String> =
            root.entries().iter().map(|(key, _)| key.to_string()).filter(|key| changes(key)).collect();
        if named.iter().any(is_remote) {
            not_applied.push("remote resources".to_owned());
        }
        Self {
            folder: folder.to_path_buf(),
            patches: patches(folder, text),
            resources: named.into_iter().filter(|name| !is_remote(name)).map(|name| folder.join(name)).collect(),
            namespace: root["namespace"].as_str().filter(|it| !it.is_empty()).map(str::to_owned),
            not_applied,
        }
    }
}

/// Labels that go into the metadata of objects and not into selectors and templates.
fn is_labels_only(key: &str, value: &Value) -> bool {
    key == "labels"
        && value.items().iter().all(|item| !item["includeSelectors"].is_true() && !item["includeTemplates"].is_true())
}

/// The namespaces that kustomizations give to files, by the files' canonical paths. A file that several of them use with
/// different namespaces has all of these.
pub fn namespaces(all: &[Kustomization]) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let by_folder: BTreeMap<PathBuf, &Kustomization> =
        all.iter().filter_map(|one| Some((one.folder.canonicalize().ok()?, one))).collect();
    let used: BTreeSet<PathBuf> =
        all.iter().flat_map(|one| &one.resources).filter_map(|path| path.canonicalize().ok()).collect();
    let mut found = BTreeMap::new();
    for (folder, root) in by_folder.iter().filter(|(folder, _)| !used.contains(*folder)) {
        let mut seen = BTreeSet::from([folder.clone()]);
        visit(root, None, &by_folder, &mut seen, &mut found);
    }
    found
}

fn visit(
    one: &Kustomization,
    outer: Option<&str>,
    by_folder: &BTreeMap<PathBuf, &Kustomization>,
    open: &mut BTreeSet<PathBuf>,
    found: &mut BTreeMap<PathBuf, BTreeSet<String>>,
) {
    let namespace = outer.or(one.namespace.as_deref());
    for path in one.resources.iter().filter_map(|path| path.canonicalize().ok()) {
        match by_folder.get(&path) {
            Some(inner) if open.len() < DEEPEST && open.insert(path.clone()) => {
                visit(inner, namespace, by_folder, open, found);
                open.remove(&path);
            }
            Some(_) => {}
            None => {
                if let Some(namespace) = namespace {
                    found.entry(path).or_default().insert(namespace.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_applied_is_named() {
        let of = |text: &str| Kustomization::read(Path::new("x"), text).not_applied;
        assert_eq!(of("resources: [a.yaml]\nnamespace: shop\nimages: [{name: a, newTag: b}]\n"), [""; 0]);
        assert_eq!(of("resources: [a.yaml]\nnamePrefix: x-\npatches: [{path: p.yaml}]\n"), ["namePrefix", "patches"]);
        assert_eq!(of("resources: ['https://example.com/a?ref=b']\n"), ["remote resources"]);
        assert_eq!(of("labels: [{pairs: {a: b}}]\n"), [""; 0]);
        assert_eq!(of("labels: [{pairs: {a: b}, includeSelectors: true}]\ncommonLabels: {}\n"), ["labels"]);
    }
}
