//! Transformers of a kustomization: namespace, names, labels, annotations, replicas, images. Source: kustomize
//! `api/internal/builtins`, `api/filters`, field specifications: `api/internal/konfig/builtinpluginconsts`.

use std::sync::LazyLock;

use super::super::super::Value;
use super::super::budget::Budget;
use super::edit::FieldSpec;
use super::object::{Object, is_cluster_scoped};
use super::{Inexact, charge};

const METADATA_LABELS: &str = "\
metadata/labels create
spec/template/metadata/labels create version=v1 kind=ReplicationController
spec/template/metadata/labels create kind=Deployment
spec/template/metadata/labels create kind=ReplicaSet
spec/template/metadata/labels create kind=DaemonSet
spec/template/metadata/labels create group=apps kind=StatefulSet
spec/volumeClaimTemplates[]/metadata/labels create group=apps kind=StatefulSet
spec/template/metadata/labels create group=batch kind=Job
spec/jobTemplate/metadata/labels create group=batch kind=CronJob
spec/jobTemplate/spec/template/metadata/labels create group=batch kind=CronJob";

const SELECTORS: &str = "\
spec/selector create version=v1 kind=Service
spec/selector create version=v1 kind=ReplicationController
spec/selector/matchLabels create kind=Deployment
spec/selector/matchLabels create kind=ReplicaSet
spec/selector/matchLabels create kind=DaemonSet
spec/selector/matchLabels create group=apps kind=StatefulSet
spec/selector/matchLabels group=batch kind=Job
spec/jobTemplate/spec/selector/matchLabels group=batch kind=CronJob
spec/selector/matchLabels group=policy kind=PodDisruptionBudget
spec/podSelector/matchLabels group=networking.k8s.io kind=NetworkPolicy
spec/ingress/from/podSelector/matchLabels group=networking.k8s.io kind=NetworkPolicy
spec/egress/to/podSelector/matchLabels group=networking.k8s.io kind=NetworkPolicy";

/// Below `spec/template/spec` of Deployments and `StatefulSets`.
const POD_SELECTORS: [&str; 5] = [
    "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "topologySpreadConstraints/labelSelector/matchLabels",
];

const ANNOTATIONS: &str = "\
metadata/annotations create
spec/template/metadata/annotations create version=v1 kind=ReplicationController
spec/template/metadata/annotations create kind=Deployment
spec/template/metadata/annotations create kind=ReplicaSet
spec/template/metadata/annotations create kind=DaemonSet
spec/template/metadata/annotations create kind=StatefulSet
spec/template/metadata/annotations create group=batch kind=Job
spec/jobTemplate/metadata/annotations create group=batch kind=CronJob
spec/jobTemplate/spec/template/metadata/annotations create group=batch kind=CronJob";

const NAMESPACES: &str = "\
spec/service/namespace create group=apiregistration.k8s.io kind=APIService
spec/conversion/webhook/clientConfig/service/namespace group=apiextensions.k8s.io kind=CustomResourceDefinition";

const REPLICAS: &str = "\
spec/replicas create kind=Deployment
spec/replicas create kind=ReplicationController
spec/replicas create kind=ReplicaSet
spec/replicas create kind=StatefulSet";

fn table(text: &str) -> Vec<FieldSpec> {
    text.lines().map(FieldSpec::parse).collect()
}

static TEMPLATE_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| table(METADATA_LABELS));
static SELECTOR_LABELS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| {
    let of_kinds = |path: &&str| {
        ["Deployment", "StatefulSet"]
            .map(|kind| FieldSpec::parse(&format!("spec/template/spec/{path} group=apps kind={kind}")))
    };
    let mut all = table(SELECTORS);
    all.extend(POD_SELECTORS.iter().flat_map(of_kinds));
    all.extend(table(METADATA_LABELS));
    all
});
static ANNOTATION_FIELDS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| table(ANNOTATIONS));
static NAMESPACE_FIELDS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| table(NAMESPACES));
static REPLICA_FIELDS: LazyLock<Vec<FieldSpec>> = LazyLock::new(|| table(REPLICAS));

/// Puts all objects into a namespace.
pub fn namespace(objects: &mut [Object], namespace: &str) -> Result<(), Inexact> {
    for object in objects.iter_mut() {
        object.store_id();
        let id = object.id();
        if !is_cluster_scoped(&id.group, &id.kind) {
            object.root.map_mut("metadata").set("namespace", Value::string(namespace));
        }
        if (id.group.as_str(), id.version.as_str(), id.kind.as_str()) == ("", "v1", "Namespace") {
            object.set_name(namespace);
        }
        if matches!(id.kind.as_str(), "RoleBinding" | "ClusterRoleBinding")
            && let Some(subjects) = object.root.get_mut("subjects")
        {
            for subject in subjects.items_mut().iter_mut().filter(|it| it["name"].text() == "default") {
                subject.set("namespace", Value::string(namespace));
            }
        }
        for spec in NAMESPACE_FIELDS.iter() {
            let leaf = Value::string("");
            spec.visit(&mut object.root, &leaf, &mut |node| {
                *node = Value::string(namespace);
                Ok(())
            })?;
        }
    }
    super::refuse_equal_ids(objects)
}

/// Kinds whose names stay.
fn keeps_name(object: &Object) -> bool {
    let id = object.original_id();
    matches!(id.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || id.group == "apiregistration.k8s.io" && id.kind == "APIService"
}

/// Adds a prefix to names.
pub fn prefix(objects: &mut [Object], prefix: &str) {
    for object in objects.iter_mut().filter(|it| !prefix.is_empty() && !keeps_name(it)) {
        object.prefixes.push(prefix.to_owned());
        object.store_id();
        let name = format!("{prefix}{}", object.name());
        object.set_name(&name);
    }
}

/// Adds a suffix to names.
pub fn suffix(objects: &mut [Object], suffix: &str) {
    for object in objects.iter_mut().filter(|it| !suffix.is_empty() && !keeps_name(it)) {
        object.suffixes.push(suffix.to_owned());
        object.store_id();
        let name = format!("{}{suffix}", object.name());
        object.set_name(&name);
    }
}

/// One entry of `labels`.
pub fn labels(objects: &mut [Object], entry: &Value, copies: &Budget) -> Result<(), Inexact> {
    let mut fields: Vec<FieldSpec> = entry["fields"].items().iter().map(FieldSpec::of).collect();
    if entry["includeSelectors"].is_true() {
        fields.extend(SELECTOR_LABELS.iter().cloned());
    } else if entry["includeTemplates"].is_true() {
        fields.extend(TEMPLATE_LABELS.iter().cloned());
    } else {
        fields.push(FieldSpec::parse("metadata/labels create"));
    }
    set_pairs(objects, &entry["pairs"], &fields, copies)
}

/// `commonLabels`.
pub fn common_labels(objects: &mut [Object], pairs: &Value, copies: &Budget) -> Result<(), Inexact> {
    set_pairs(objects, pairs, &SELECTOR_LABELS, copies)
}

/// `commonAnnotations`.
pub fn common_annotations(objects: &mut [Object], pairs: &Value, copies: &Budget) -> Result<(), Inexact> {
    set_pairs(objects, pairs, &ANNOTATION_FIELDS, copies)
}

fn set_pairs(objects: &mut [Object], pairs: &Value, fields: &[FieldSpec], copies: &Budget) -> Result<(), Inexact> {
    let empty = Value::Map(Box::default());
    for object in objects.iter_mut().filter(|_| !pairs.is_empty()) {
        for field in fields {
            field.visit(&mut object.root, &empty, &mut |node| {
                charge(copies, pairs)?;
                for (key, value) in pairs.entries() {
                    node.set(key, Value::Str(value.scalar_text()));
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// One entry of `replicas`.
pub fn replicas(objects: &mut [Object], entry: &Value) -> Result<(), Inexact> {
    let name = entry["name"].text();
    let mut is_found = false;
    for object in objects.iter_mut() {
        for field in REPLICA_FIELDS.iter() {
            let selects =
                |id: super::object::Id| id.name == name && id.is_selected(&field.group, &field.version, &field.kind);
            if object.ids().any(selects) {
                is_found = true;
                field.visit(&mut object.root, &Value::Int(0), &mut |node| {
                    *node = entry["count"].clone();
                    Ok(())
                })?;
            }
        }
    }
    if is_found { Ok(()) } else { Err(Inexact(format!("replicas of {name}, which is missing"))) }
}

/// One entry of `images`.
pub fn images(objects: &mut [Object], entry: &Value) {
    for object in objects.iter_mut().filter(|it| it.root["kind"].text() != "CustomResourceDefinition") {
        images_below(&mut object.root, entry);
    }
}

fn images_below(node: &mut Value, entry: &Value) {
    match node {
        Value::Map(entries) => {
            for (key, value) in entries.iter_mut() {
                let field = match key.as_str() {
                    "containers" | "initContainers" => "image",
                    "volumes" => "image.reference",
                    _ => {
                        images_below(value, entry);
                        continue;
                    }
                };
                for item in value.items_mut() {
                    let image = field.split('.').try_fold(item, |node, key| node.get_mut(key));
                    if let Some(Value::Str(image)) = image
                        && let Some(new) = renamed(image, entry)
                    {
                        *image = new.into();
                    }
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| images_below(item, entry)),
        _ => {}
    }
}

/// The image with the name, tag and digest of an entry; none if the entry is about another image.
fn renamed(image: &str, entry: &Value) -> Option<String> {
    let start = image.find('/').unwrap_or(0);
    let (path, digest) = image.split_once('@').map_or((image, ""), |(path, digest)| (path, digest));
    let (name, tag) = match path[start.min(path.len())..].find(':') {
        Some(at) => (&path[..start + at], &path[start + at + 1..]),
        None => (path, ""),
    };
    if name != entry["name"].text() {
        return None;
    }
    let of = |key: &str| entry[key].scalar_text();
    let (new_name, new_tag, new_digest, tag_suffix) = (of("newName"), of("newTag"), of("digest"), of("tagSuffix"));
    let name = if new_name.is_empty() { name } else { &new_name };
    let (tag, digest) = match (new_tag.is_empty(), new_digest.is_empty()) {
        (false, _) => (new_tag.to_string(), new_digest.as_str()),
        (true, false) => (String::new(), new_digest.as_str()),
        (true, true) if !tag_suffix.is_empty() => (format!("{tag}{tag_suffix}"), ""),
        (true, true) => (tag.to_owned(), digest),
    };
    let part = |sign: char, text: &str| if text.is_empty() { String::new() } else { format!("{sign}{text}") };
    Some(format!("{name}{}{}", part(':', &tag), part('@', digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_gets_the_name_tag_and_digest_of_its_entry() {
        let entry = |text: &str| super::super::super::read_value("test", text).unwrap();
        for (image, with, wanted) in [
            ("a", "{name: a, newTag: '2'}", Some("a:2")),
            ("a:1", "{name: a, newName: b}", Some("b:1")),
            (
                "r.example:5000/x/a:1@sha256:0",
                "{name: 'r.example:5000/x/a', newTag: v2}",
                Some("r.example:5000/x/a:v2"),
            ),
            ("a:1", "{name: a, digest: 'sha256:1'}", Some("a@sha256:1")),
            ("b:1", "{name: a, newTag: '2'}", None),
        ] {
            assert_eq!(renamed(image, &entry(with)).as_deref(), wanted, "{image}");
        }
    }
}
