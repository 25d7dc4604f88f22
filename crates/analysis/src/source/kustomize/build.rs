//! Collects the objects of a kustomization and transforms them. Source: kustomize `api/internal/target/kusttarget.go`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::super::Value;
use super::super::budget::Budget;
use super::super::read::parse;
use super::super::split::split;
use super::super::{SourceSpan, read_value};
use super::generate::{self, Kind};
use super::object::{Id, Object};
use super::{DEEPEST, Files, Inexact, Kustomization, is_remote, json_patch, merge, normalized, read_inside};
use super::{charge, references, refuse_equal_ids, replace, select, transform};

/// Fields that are built exactly, and fields that change no object.
const FIELDS: [&str; 26] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "components",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "replicas",
    "images",
    "imageTags",
    "replacements",
    "validators",
    "sortOptions",
    "buildMetadata",
    "helmGlobals",
];
/// Maximum number of objects that builds collect, all together, counted at each kustomization on their way.
const MOST_OBJECTS: usize = 200_000;
/// Maximum number of bytes of manifests that builds collect.
const MOST_BYTES: usize = 256 << 20;

/// Objects that builds have collected.
#[derive(Debug)]
pub struct Spent {
    objects: usize,
    bytes: usize,
    /// Bytes that patches, labels, annotations and replacements may copy.
    copies: Budget,
}

impl Default for Spent {
    fn default() -> Self {
        Self { objects: 0, bytes: 0, copies: Budget::new(MOST_BYTES) }
    }
}

/// The objects of a kustomization, in its order.
///
/// # Errors
/// The first reason why it cannot be built exactly.
pub fn build(root: &Kustomization, files: &mut dyn Files, spent: &mut Spent) -> Result<Vec<Object>, Inexact> {
    let mut builder = Builder { files, spent, open: Vec::new() };
    let mut objects = Vec::new();
    builder.accumulate(root, &mut objects)?;
    generate::add_hashes(&mut objects);
    references::update(&mut objects)?;
    let is_local =
        |object: &Object| object.annotation("config.kubernetes.io/local-config").is_some_and(|value| value != "false");
    objects.retain(|object| !is_local(object));
    Ok(objects)
}

struct Builder<'a> {
    files: &'a mut dyn Files,
    spent: &'a mut Spent,
    open: Vec<PathBuf>,
}

impl Builder<'_> {
    /// Adds the objects of a kustomization and transforms all: for a component those of its user too.
    fn accumulate(&mut self, one: &Kustomization, objects: &mut Vec<Object>) -> Result<(), Inexact> {
        if self.open.len() == DEEPEST || self.open.contains(&one.folder) {
            return Err(Inexact(format!("{}, which contains itself", one.folder.display())));
        }
        let root = one.root.as_ref().ok_or_else(|| Inexact("the file, which cannot be parsed".to_owned()))?;
        if let Some((key, _)) = root.entries().iter().find(|(key, value)| !is_supported(key, value)) {
            return Err(Inexact(format!("the field {key}")));
        }
        self.open.push(one.folder.clone());
        for name in root["resources"].texts().chain(root["bases"].texts()) {
            self.resource(&one.folder, name, objects)?;
        }
        refuse_equal_ids(objects)?;
        let origin = SourceSpan { file: one.file, line: 1, start: 0, end: one.length, item: None };
        for (kind, key) in [(Kind::ConfigMap, "configMapGenerator"), (Kind::Secret, "secretGenerator")] {
            for entry in root[key].items() {
                let general = &root["generatorOptions"];
                generate::add(kind, entry, general, &one.folder, self.files, origin, objects)?;
            }
        }
        for name in root["components"].texts() {
            let component = self.kustomization(&one.folder, name)?;
            if !component.is_component() {
                return Err(Inexact(format!("the component {name}, which is of another kind")));
            }
            self.accumulate(&component, objects)?;
        }
        self.transform(&one.folder, root, objects)?;
        self.open.pop();
        self.charge(objects)
    }

    fn charge(&mut self, objects: &[Object]) -> Result<(), Inexact> {
        let bytes = |object: &Object| usize::try_from(object.origin.end - object.origin.start).unwrap_or(usize::MAX);
        self.spent.objects += objects.len();
        self.spent.bytes = objects.iter().fold(self.spent.bytes, |sum, object| sum.saturating_add(bytes(object)));
        if self.spent.objects > MOST_OBJECTS || self.spent.bytes > MOST_BYTES {
            return Err(Inexact(format!("more than {MOST_OBJECTS} objects or {} MiB", MOST_BYTES >> 20)));
        }
        Ok(())
    }

    fn resource(&mut self, folder: &Path, name: &str, objects: &mut Vec<Object>) -> Result<(), Inexact> {
        if is_remote(name) {
            return Err(Inexact("remote resources".to_owned()));
        }
        let path = normalized(&folder.join(name));
        if self.files.is_folder(&path) {
            let inner = self.kustomization(folder, name)?;
            if inner.is_component() {
                return Err(Inexact(format!("the resource {name}, which is a component")));
            }
            let mut own = Vec::new();
            self.accumulate(&inner, &mut own)?;
            objects.append(&mut own);
        } else {
            let (number, text) =
                self.files.read(folder, &path).ok_or_else(|| Inexact(format!("{name}, which cannot be read")))?;
            let mut own = manifests(&text, number).map_err(|why| Inexact(format!("{name}, {why}")))?;
            self.charge(&own)?;
            objects.append(&mut own);
        }
        Ok(())
    }

    fn kustomization(&mut self, folder: &Path, name: &str) -> Result<Rc<Kustomization>, Inexact> {
        if is_remote(name) {
            return Err(Inexact("remote components".to_owned()));
        }
        let path = normalized(&folder.join(name));
        self.files.kustomization(&path).ok_or_else(|| Inexact(format!("{name}, which has no kustomization")))
    }

    fn transform(&mut self, folder: &Path, root: &Value, objects: &mut Vec<Object>) -> Result<(), Inexact> {
        for patch in root["patchesStrategicMerge"].texts() {
            let text = self.patch_text(folder, patch);
            for patch in documents(&text)? {
                patch_by_id(objects, &patch)?;
            }
        }
        for entry in root["patches"].items() {
            self.patch(folder, entry, objects)?;
        }
        if let Some(namespace) = root["namespace"].as_str().filter(|it| !it.is_empty()) {
            transform::namespace(objects, namespace)?;
        }
        transform::prefix(objects, &root["namePrefix"].scalar_text());
        transform::suffix(objects, &root["nameSuffix"].scalar_text());
        let copies = &self.spent.copies;
        root["labels"].items().iter().try_for_each(|entry| transform::labels(objects, entry, copies))?;
        transform::common_labels(objects, &root["commonLabels"], copies)?;
        transform::common_annotations(objects, &root["commonAnnotations"], copies)?;
        for entry in root["patchesJson6902"].items() {
            self.patch(folder, entry, objects)?;
        }
        root["replicas"].items().iter().try_for_each(|entry| transform::replicas(objects, entry))?;
        root["images"].items().iter().for_each(|entry| transform::images(objects, entry));
        root["imageTags"].items().iter().for_each(|entry| transform::images(objects, entry));
        for entry in root["replacements"].items() {
            self.replacement(folder, entry, objects)?;
        }
        refuse_equal_ids(objects)
    }

    /// A path, or the patch itself.
    fn patch_text(&mut self, folder: &Path, patch: &str) -> String {
        let is_inline = patch.contains('\n') || patch.contains(": ");
        let file = if is_inline { None } else { read_inside(folder, patch, self.files).ok() };
        file.unwrap_or_else(|| patch.to_owned())
    }

    fn patch(&mut self, folder: &Path, entry: &Value, objects: &mut Vec<Object>) -> Result<(), Inexact> {
        let text = match entry["path"].as_str().filter(|it| !it.is_empty()) {
            Some(path) => read_inside(folder, path, self.files)?,
            None => entry["patch"].text().to_owned(),
        };
        let options = &entry["options"];
        if options["allowKindChange"].is_true() || options["allowNameChange"].is_true() {
            return Err(Inexact("a patch that may change names or kinds".to_owned()));
        }
        let target = &entry["target"];
        let patches = documents(&text)?;
        if let [operations @ Value::List(_)] = patches.as_slice() {
            if target.is_null() {
                return Err(Inexact("a JSON patch without a target".to_owned()));
            }
            for at in select::of_patch(objects, target)? {
                objects[at].store_id();
                json_patch::apply(&mut objects[at].root, operations, &self.spent.copies)?;
            }
            return Ok(());
        }
        if target.is_null() {
            return patches.iter().try_for_each(|patch| patch_by_id(objects, patch));
        }
        let [patch] = patches.as_slice() else {
            return Err(Inexact("several patches with one target".to_owned()));
        };
        let selected = select::of_patch(objects, target)?;
        selected.iter().try_for_each(|_| charge(&self.spent.copies, patch))?;
        patch_at(objects, &selected, patch)
    }

    fn replacement(&mut self, folder: &Path, entry: &Value, objects: &mut [Object]) -> Result<(), Inexact> {
        let copies = &self.spent.copies;
        let Some(path) = entry["path"].as_str() else { return replace::apply(objects, entry, copies) };
        let text = read_inside(folder, path, self.files)?;
        let read = read_value(path, &text).map_err(|_| Inexact(format!("{path}, which cannot be parsed")))?;
        match &read {
            Value::List(all) => all.iter().try_for_each(|one| replace::apply(objects, one, copies)),
            one => replace::apply(objects, one, copies),
        }
    }
}

fn is_supported(key: &str, value: &Value) -> bool {
    FIELDS.contains(&key) || value.is_empty()
}

/// Documents of a patch.
fn documents(text: &str) -> Result<Vec<Value>, Inexact> {
    // What begins like JSON has to be JSON.
    if text.trim_start().starts_with('[') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return Err(Inexact("a patch that cannot be parsed".to_owned()));
    }
    let read = |text: &str| read_value("patch", text).map_err(|_| Inexact("a patch that cannot be parsed".to_owned()));
    let all: Result<Vec<Value>, Inexact> =
        split(text).iter().map(|document| read(&text[document.start..document.end])).collect();
    let all: Vec<Value> = all?.into_iter().filter(Value::is_set).collect();
    if all.is_empty() { Err(Inexact("an empty patch".to_owned())) } else { Ok(all) }
}

/// Applies a strategic merge patch to the object that it names.
fn patch_by_id(objects: &mut Vec<Object>, patch: &Value) -> Result<(), Inexact> {
    let id = Id::of(patch);
    let same: Vec<usize> = (0..objects.len()).filter(|at| objects[*at].ids().any(|other| other == id)).collect();
    if same.len() != 1 {
        let count = if same.is_empty() { "no" } else { "several" };
        return Err(Inexact(format!("the patch of {} {}, which matches {count} objects", id.kind, id.name)));
    }
    patch_at(objects, &same, patch)
}

/// Name, kind and namespace of an object stay.
fn patch_at(objects: &mut Vec<Object>, places: &[usize], patch: &Value) -> Result<(), Inexact> {
    let mut deleted = BTreeSet::new();
    for at in places {
        let object = &mut objects[*at].root;
        let (kind, name) = (object["kind"].clone(), object["metadata"]["name"].clone());
        let namespace = object["metadata"]["namespace"].clone();
        let version = object["apiVersion"].clone();
        match merge::apply(object, patch)? {
            None => {
                deleted.insert(*at);
            }
            Some(mut patched) => {
                patched.set("kind", kind);
                patched.set("apiVersion", version);
                let metadata = patched.map_mut("metadata");
                metadata.set("name", name);
                if namespace.is_set() {
                    metadata.set("namespace", namespace);
                } else {
                    metadata.remove("namespace");
                }
                *object = patched;
            }
        }
    }
    let mut at = 0..;
    objects.retain(|_| at.next().is_none_or(|at| !deleted.contains(&at)));
    Ok(())
}

/// The objects of a file.
fn manifests(text: &str, number: u32) -> Result<Vec<Object>, &'static str> {
    let mut objects = Vec::new();
    let budget = Budget::new(text.len());
    for document in split(text) {
        let read = parse(&text[document.start..document.end], &budget).map_err(|_| "which cannot be parsed")?;
        let origin = document.span(number);
        let before = objects.len();
        unfold(read.root, origin, &mut objects)?;
        if let [object] = &mut objects[before..]
            && object.origin.item.is_none()
        {
            object.repeated = read.repeated.into();
        }
    }
    Ok(objects)
}

fn unfold(root: Value, origin: SourceSpan, objects: &mut Vec<Object>) -> Result<(), &'static str> {
    if root.is_null() {
        return Ok(());
    }
    if root["kind"].text().ends_with("List") && matches!(root["items"], Value::List(_)) {
        if origin.item.is_some() {
            return Err("which has a list in a list");
        }
        for (item, index) in root["items"].items().iter().zip(0..) {
            unfold(item.clone(), SourceSpan { item: Some(index), ..origin }, objects)?;
        }
        return Ok(());
    }
    let metadata = &root["metadata"];
    let is_object = root["apiVersion"].as_str().is_some()
        && root["kind"].as_str().is_some()
        && !metadata["name"].scalar_text().is_empty();
    if !is_object {
        return Err("which has a document that is not an object");
    }
    if metadata["annotations"].entries().iter().any(|(key, _)| is_of_kustomize(key)) {
        return Err("which has annotations of Kustomize");
    }
    objects.push(Object::new(root, origin));
    Ok(())
}

/// Annotations that change how Kustomize builds an object.
fn is_of_kustomize(key: &str) -> bool {
    key.starts_with("kustomize.config.k8s.io/") || key.starts_with("internal.config.kubernetes.io/")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OneFile<'a>(&'a str);

    impl Files for OneFile<'_> {
        fn read(&mut self, _: &Path, _: &Path) -> Option<(u32, Rc<str>)> {
            Some((0, self.0.into()))
        }

        fn is_folder(&self, _: &Path) -> bool {
            false
        }

        fn kustomization(&mut self, _: &Path) -> Option<Rc<Kustomization>> {
            None
        }
    }

    const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {a: {}}}";

    fn is_built(fields: &str) -> bool {
        let one = Kustomization::read(Path::new("shop"), &format!("resources: [pod.yaml]\n{fields}"), 0);
        build(&one, &mut OneFile(POD), &mut Spent::default()).is_ok()
    }

    fn is_patched(operations: &str) -> bool {
        let lines: Vec<String> = operations.lines().map(|line| format!("    - {line}")).collect();
        is_built(&format!("patches:\n- target: {{kind: Pod}}\n  patch: |\n{}\n", lines.join("\n")))
    }

    #[test]
    fn copies_that_double_an_object_are_refused_before_they_fill_the_memory() {
        let copies = |count: usize| -> String {
            let one = |at| format!("{{op: copy, from: /spec, path: /spec/x{at}}}");
            (0..count).map(one).collect::<Vec<_>>().join("\n")
        };
        assert!(is_patched(&copies(5)));
        assert!(!is_patched(&copies(22)));
        let replacements = |count: usize| {
            let one = |at| {
                format!(
                    "{{source: {{kind: Pod, fieldPath: spec}}, targets: [{{select: {{kind: Pod}}, fieldPaths: [spec.x{at}], options: {{create: true}}}}]}}"
                )
            };
            format!("replacements: [{}]", (0..count).map(one).collect::<Vec<_>>().join(","))
        };
        assert!(is_built(&replacements(5)));
        assert!(!is_built(&replacements(22)));
    }

    #[test]
    fn labels_and_patches_of_many_objects_are_charged_for_each() {
        let pods: Vec<String> = (0..2_000).map(|at| POD.replace("name: a", &format!("name: a{at}"))).collect();
        let pods = pods.join("\n---\n");
        let built = |fields: &str| {
            let one = Kustomization::read(Path::new("shop"), &format!("resources: [pod.yaml]\n{fields}"), 0);
            build(&one, &mut OneFile(&pods), &mut Spent::default()).map(|objects| objects.len()).ok()
        };
        let pairs = |length: usize| format!("{{a: {}}}", "b".repeat(length));
        for fields in [
            "commonLabels: X",
            "commonAnnotations: X",
            "labels: [{pairs: X}]",
            "patches: [{target: {kind: Pod}, patch: '{metadata: {annotations: X}}'}]",
        ] {
            assert_eq!(built(&fields.replace('X', &pairs(100))), Some(2_000), "{fields}");
            assert_eq!(built(&fields.replace('X', &pairs(100_000))), None, "{fields}");
        }
    }

    #[test]
    fn objects_do_not_become_deeper_than_those_that_are_read() {
        let created = |depth: usize| {
            let path = vec!["a"; depth];
            let (dots, slashes) = (path.join("."), path.join("/"));
            let replacement = format!(
                "replacements: [{{sourceValue: b, targets: [{{select: {{kind: Pod}}, fieldPaths: [{dots}], options: {{create: true}}}}]}}]"
            );
            [replacement, format!("labels: [{{pairs: {{b: c}}, fields: [{{path: {slashes}, create: true}}]}}]")]
        };
        let wrap = "{op: add, path: /spec/b, value: {}}\n{op: move, from: /spec/a, path: /spec/b/a}\n\
                    {op: move, from: /spec/b, path: /spec/a}\n";
        for fields in created(50) {
            assert!(is_built(&fields), "{fields}");
        }
        assert!(is_patched(&wrap.repeat(50)));
        for fields in created(150) {
            assert!(!is_built(&fields), "{fields}");
        }
        assert!(!is_patched(&wrap.repeat(150)));
    }
}
