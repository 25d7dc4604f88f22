//! Folders of one tree that are not applied together: chapters of a tutorial, samples, stages. Where files below a
//! folder define one object differently, the folder is not a single cluster. The largest folders below it that do not are
//! its units. A finding that depends on other objects has to hold with the files of its unit alone: two Gateways of two
//! samples do not conflict, and objects without a namespace are missing only if their unit shows it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::alternatives::{depends_on_others, with_codes};
use super::{Finding, Kind, ObjectRef, Resource, Rule, Snapshot, run};

/// Maximum number of units that are analyzed by themselves. Findings in further ones that depend on other objects are dropped.
const MOST_UNITS: usize = 200;
/// Maximum number of definitions of one object that are compared with each other.
const MOST_DEFINITIONS: usize = 32;

/// Where the texts of objects lie, by [`super::SourceSpan::file`]. Empty for objects that files do not have.
#[derive(Debug, Clone, Default)]
pub struct Layout(Vec<Location>);

/// Where one text lies.
#[derive(Debug, Clone, Default)]
pub(super) struct Location {
    /// Folder of the file; none for standard input, which belongs to all units.
    pub folder: Option<PathBuf>,
    /// Folder of the kustomization that renames the objects of the file and was not built.
    pub renamed_by: Option<PathBuf>,
    /// Whether a kustomization that was not built patches the objects of the file: their content is not known.
    pub is_patched: bool,
}

impl Layout {
    pub(super) const fn new(files: Vec<Location>) -> Self {
        Self(files)
    }

    fn get(&self, file: u32) -> Option<&Location> {
        self.0.get(usize::try_from(file).ok()?)
    }
}

/// Files that are applied together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    /// All files below a folder.
    Folder(PathBuf),
    /// The files directly in a folder that is not a single cluster, without the alternatives.
    Plain(PathBuf),
    /// A file that defines an object differently than another file of its folder.
    Alternative(PathBuf, u32),
    /// The files of a kustomization that renames their objects and was not built.
    Renamed(PathBuf),
}

impl Unit {
    /// Whether the files of the other unit are applied together with those of this one. Files above a folder belong to
    /// it: each chapter uses them.
    fn includes(&self, other: &Self) -> bool {
        let is_below = |above: &Path| self.folder().is_some_and(|folder| folder.starts_with(above));
        self == other || matches!(other, Self::Plain(above) if is_below(above))
    }

    /// The same for a kustomization.
    fn includes_build(&self, build: &str) -> bool {
        self.folder().is_some_and(|folder| Path::new(build).starts_with(folder))
    }

    /// None for a unit that belongs to no folder.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) | Self::Plain(folder) | Self::Alternative(folder, _) => Some(folder),
            Self::Renamed(_) => None,
        }
    }
}

/// The units of a tree.
struct Units<'a> {
    layout: &'a Layout,
    /// Folders with files that define one object differently, at any depth.
    divided: HashSet<PathBuf>,
    /// Files that another file of the same folder contradicts.
    alternatives: HashSet<u32>,
}

/// Keeps those findings that hold with the files of their unit alone, if the tree has several units.
pub(super) fn retain_applied_together(
    snapshot: &Snapshot,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    findings: &mut Vec<Finding>,
) {
    if snapshot.is_stated_whole() {
        return;
    }
    let is_patched = |file: u32| snapshot.layout().get(file).is_some_and(|it| it.is_patched);
    findings.retain(|it| {
        it.build.is_some() || !it.origin.is_some_and(|at| is_patched(at.file)) || !depends_on_others(it.code)
    });
    let Some(units) = Units::of(snapshot) else { return };
    let asked = |it: &Finding| -> Option<(Unit, bool)> {
        let origin = it.origin.filter(|_| it.build.is_none() && depends_on_others(it.code))?;
        // Files of a namespace elsewhere in the tree are evidence for an object that states it, and for no other.
        Some((units.of_file(origin.file)?, !it.object.kind.is_namespaced() || !it.object.namespace.is_empty()))
    };
    let mut codes: BTreeMap<(Unit, bool), BTreeSet<&'static str>> = BTreeMap::new();
    for finding in findings.iter() {
        if let Some(unit) = asked(finding) {
            codes.entry(unit).or_default().insert(finding.code.id);
        }
    }
    let mut holds: HashMap<(&'static str, ObjectRef, String), Finding> = HashMap::new();
    for ((unit, whole), codes) in codes.into_iter().take(MOST_UNITS) {
        let alone = snapshot.with_some(|it| units.has(&unit, it), whole);
        let found = run(&alone, &with_codes(&codes, rules), threads).into_iter();
        let own = found.filter(|it| asked(it).is_some_and(|(of, is_stated)| of == unit && is_stated == whole));
        holds.extend(own.map(|it| ((it.code.id, it.object.clone(), it.field.clone()), it)));
    }
    findings.retain_mut(|it| {
        if asked(it).is_none() {
            return true;
        }
        let Some(alone) = holds.remove(&(it.code.id, it.object.clone(), it.field.clone())) else { return false };
        if alone.arguments != it.arguments {
            // Its message lists other objects; it must not list those of other units.
            *it = Finding { level: it.level.min(alone.level), ..alone };
        }
        true
    });
}

impl<'a> Units<'a> {
    /// None if all files are applied together.
    fn of(snapshot: &'a Snapshot) -> Option<Self> {
        let layout = snapshot.layout();
        let is_renamed = layout.0.iter().any(|it| it.renamed_by.is_some());
        let is_repeated = snapshot.alternatives().any(|it| is_evidence(it));
        if !is_renamed && !is_repeated {
            return None;
        }
        let mut units = Self { layout, divided: HashSet::new(), alternatives: HashSet::new() };
        if is_repeated {
            units.compare(snapshot);
        }
        (is_renamed || !units.divided.is_empty()).then_some(units)
    }

    fn compare(&mut self, snapshot: &Snapshot) {
        let repeated: HashSet<ObjectRef> =
            snapshot.alternatives().filter(|it| is_evidence(it)).map(|it| ObjectRef::from(&**it)).collect();
        let mut definitions: HashMap<ObjectRef, Vec<(u32, &Arc<Resource>)>> = HashMap::new();
        for resource in snapshot.all_with_replaced().filter(|it| is_evidence(it)) {
            let object = ObjectRef::from(&**resource);
            if let Some(origin) = resource.origin.filter(|_| repeated.contains(&object)) {
                definitions.entry(object).or_default().push((origin.file, resource));
            }
        }
        for definitions in definitions.values() {
            let definitions = &definitions[..definitions.len().min(MOST_DEFINITIONS)];
            for (at, (file, one)) in definitions.iter().enumerate() {
                for (other, another) in &definitions[at + 1..] {
                    if file != other && one.root != another.root {
                        self.divide(*file, *other);
                    }
                }
            }
        }
    }

    /// Two files that contradict each other.
    fn divide(&mut self, one: u32, other: u32) {
        let folder = |file| self.layout.get(file).and_then(|it| it.folder.as_deref());
        let (Some(a), Some(b)) = (folder(one), folder(other)) else { return };
        if a == b {
            self.alternatives.extend([one, other]);
        }
        let common: Vec<PathBuf> = a.ancestors().filter(|above| b.starts_with(above)).map(Path::to_path_buf).collect();
        self.divided.extend(common);
    }

    /// None for a text without a place, which belongs to all units.
    fn of_file(&self, file: u32) -> Option<Unit> {
        let location = self.layout.get(file)?;
        if let Some(kustomization) = &location.renamed_by {
            return Some(Unit::Renamed(kustomization.clone()));
        }
        let folder = location.folder.as_deref()?;
        let whole = folder.ancestors().take_while(|it| !self.divided.contains(*it)).last();
        Some(match whole {
            Some(whole) => Unit::Folder(whole.to_path_buf()),
            None if self.alternatives.contains(&file) => Unit::Alternative(folder.to_path_buf(), file),
            None => Unit::Plain(folder.to_path_buf()),
        })
    }

    fn has(&self, unit: &Unit, resource: &Resource) -> bool {
        if let Some(build) = &resource.build {
            return unit.includes_build(build);
        }
        // What a controller makes, and the settings of the mesh, belong to all units.
        let of = resource.origin.and_then(|origin| self.of_file(origin.file));
        of.is_none_or(|of| unit.includes(&of))
    }
}

/// Whether different definitions of an object show that two files are not applied together. Many files of one cluster
/// bring the Namespace that they need.
fn is_evidence(resource: &Resource) -> bool {
    resource.build.is_none() && !resource.is_generated && resource.kind != Kind::Namespace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Sources};
    use crate::{Level, Settings, rules, run_alternatives};

    fn reported(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources = Sources::default();
        for (name, text) in files {
            sources.add(*name, (*text).to_owned());
        }
        let one = NonZero::<usize>::MIN;
        let reading = source::read(&sources, one);
        let settings = Settings { layout: sources.layout(), ..Settings::default() };
        let found = run_alternatives(&Snapshot::new(reading.resources, settings), rules::ALL, one);
        let found = found.into_iter().filter(|it| it.level != Level::Info);
        found.map(|it| format!("{} {}: {}", it.code.id, it.object, it.message)).collect()
    }

    fn gateway(name: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
             selector: {{istio: ingressgateway}}\n  \
             servers: [{{port: {{name: http, number: 80, protocol: HTTP}}, hosts: [a.example.com]}}]\n"
        )
    }

    fn service(port: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: m, namespace: shop}}\nspec: {{ports: [{{name: http, port: {port}}}]}}\n"
        )
    }

    #[test]
    fn objects_of_two_samples_do_not_conflict() {
        let (one, two) = (gateway("one"), gateway("two"));
        let together = [("t/a/g.yaml", &*one), ("t/b/g.yaml", &*two)];
        assert_eq!(reported(&together).len(), 2, "nothing shows that the folders are not applied together");
        let (a, b) = (one + &service("80"), two + &service("81"));
        assert_eq!(reported(&[("t/a/g.yaml", &a), ("t/b/g.yaml", &b)]), [""; 0]);
    }

    #[test]
    fn conflict_within_one_sample_is_reported() {
        let (one, two, three) = (gateway("one"), gateway("two") + &service("80"), gateway("three") + &service("81"));
        let found = reported(&[("t/a/x/g.yaml", &one), ("t/a/y/g.yaml", &two), ("t/b/g.yaml", &three)]);
        assert_eq!(
            found,
            [
                "IST0145 Gateway shop/one: port 80 with hosts a.example.com conflicts with shop/two",
                "IST0145 Gateway shop/two: port 80 with hosts a.example.com conflicts with shop/one"
            ],
            "the other sample is not listed"
        );
        // The files above the samples belong to each, and the alternatives within one folder are not applied together.
        let flat = reported(&[("t/g.yaml", &one), ("t/a.yaml", &two), ("t/b.yaml", &three)]);
        assert_eq!(flat.len(), 2, "each of the alternatives conflicts with the Gateway above them: {flat:?}");
    }

    #[test]
    fn absence_in_a_stated_namespace_is_judged_by_the_whole_tree() {
        let route = |host: &str| {
            format!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: shop}}\n\
                 spec: {{hosts: [m], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
            )
        };
        let (right, wrong) = (route("m"), route("mm"));
        let tree = |route: &str| {
            reported(&[("t/mesh/v.yaml", route), ("t/dev/s.yaml", &service("80")), ("t/prod/s.yaml", &service("81"))])
        };
        assert_eq!(tree(&right), [""; 0]);
        assert_eq!(
            tree(&wrong),
            [
                "IST0101 VirtualService shop/v: host mm.shop.svc.cluster.local matches no service visible to this namespace; did you mean m?"
            ]
        );
        let unstated = wrong.replace(", namespace: shop", "");
        assert_eq!(tree(&unstated), [""; 0]);
    }
}
