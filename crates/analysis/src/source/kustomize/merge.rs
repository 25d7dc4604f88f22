//! Strategic merge patches, as Kustomize applies them. Source: kustomize `kyaml/yaml/merge2`, `kyaml/yaml/walk`; merge
//! keys: the field tags `patchMergeKey` and `+listMapKey` in k8s.io/api. Lists of custom resources are replaced.

use compact_str::CompactString;

use super::super::super::Value;
use super::super::super::resource::group_and_version;
use super::Inexact;
use super::object::is_built_in;

/// The key that directs how a mapping or list is patched.
const DIRECTIVE: &str = "$patch";

/// Types of Kubernetes that have lists with merge keys, and types that lead to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Unknown,
    Object(Kind),
    Metadata,
    WorkloadSpec,
    CronJobSpec,
    Template,
    JobTemplate,
    PodSpec,
    Container,
    ServiceSpec,
}

/// Kinds whose fields have merge keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pod,
    PodTemplate,
    Workload,
    CronJob,
    Service,
    ServiceAccount,
    Webhooks,
    Other,
}

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Replaced,
    /// Items with equal values of these keys are merged.
    Keyed(&'static [&'static str]),
    /// Scalars are added.
    Set,
}

impl Type {
    fn of(object: &Value) -> Self {
        let (group, _) = group_and_version(object["apiVersion"].text());
        if !is_built_in(group) {
            return Self::Unknown;
        }
        Self::Object(match (group, object["kind"].text()) {
            ("", "Pod") => Kind::Pod,
            ("", "PodTemplate") => Kind::PodTemplate,
            ("", "ReplicationController")
            | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | ("batch", "Job") => Kind::Workload,
            ("batch", "CronJob") => Kind::CronJob,
            ("", "Service") => Kind::Service,
            ("", "ServiceAccount") => Kind::ServiceAccount,
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
                Kind::Webhooks
            }
            _ => Kind::Other,
        })
    }

    /// The type of a field, or of the items of a list in it.
    fn field(self, key: &str) -> Self {
        match (self, key) {
            (Self::Object(_) | Self::Template | Self::JobTemplate, "metadata") => Self::Metadata,
            (Self::Object(Kind::Pod) | Self::Template, "spec") => Self::PodSpec,
            (Self::Object(Kind::Workload) | Self::JobTemplate, "spec") => Self::WorkloadSpec,
            (Self::Object(Kind::CronJob), "spec") => Self::CronJobSpec,
            (Self::Object(Kind::Service), "spec") => Self::ServiceSpec,
            (Self::Object(Kind::PodTemplate) | Self::WorkloadSpec, "template") => Self::Template,
            (Self::CronJobSpec, "jobTemplate") => Self::JobTemplate,
            (Self::PodSpec, "containers" | "initContainers" | "ephemeralContainers") => Self::Container,
            _ => Self::Unknown,
        }
    }

    fn list(self, key: &str) -> List {
        match (self, key) {
            (Self::Metadata, "finalizers") => List::Set,
            (Self::Metadata, "ownerReferences") => List::Keyed(&["uid"]),
            (
                Self::PodSpec,
                "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "imagePullSecrets",
            )
            | (Self::Container, "env")
            | (Self::Object(Kind::ServiceAccount), "secrets")
            | (Self::Object(Kind::Webhooks), "webhooks") => List::Keyed(&["name"]),
            (Self::PodSpec, "hostAliases") => List::Keyed(&["ip"]),
            (Self::PodSpec, "topologySpreadConstraints") => List::Keyed(&["topologyKey", "whenUnsatisfiable"]),
            (Self::Container, "ports") => List::Keyed(&["containerPort", "protocol"]),
            (Self::Container, "volumeMounts") => List::Keyed(&["mountPath"]),
            (Self::Container, "volumeDevices") => List::Keyed(&["devicePath"]),
            (Self::ServiceSpec, "ports") => List::Keyed(&["port", "protocol"]),
            _ => List::Replaced,
        }
    }
}

/// Applies a patch to an object. None if the patch deletes the object.
pub fn apply(object: &Value, patch: &Value) -> Result<Option<Value>, Inexact> {
    mapping(Type::of(object), object, patch)
}

enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Value) -> Result<Directive, Inexact> {
    match &patch[DIRECTIVE] {
        Value::Null => Ok(Directive::Merge),
        Value::Str(text) if text == "merge" => Ok(Directive::Merge),
        Value::Str(text) if text == "replace" => Ok(Directive::Replace),
        Value::Str(text) if text == "delete" => Ok(Directive::Delete),
        other => Err(Inexact(format!("the directive $patch: {} of a patch", other.scalar_text()))),
    }
}

fn mapping(of: Type, object: &Value, patch: &Value) -> Result<Option<Value>, Inexact> {
    match directive(patch)? {
        Directive::Delete => return Ok(None),
        Directive::Replace => return Ok(Some(added(patch)?)),
        Directive::Merge => {}
    }
    let mut entries: Vec<(CompactString, Value)> = Vec::new();
    for (key, value) in object.entries() {
        let merged = match patch.entries().iter().find(|(name, _)| name == key) {
            Some((_, new)) => field(of, key, value, new)?,
            None => Some(value.clone()),
        };
        entries.extend(merged.map(|value| (key.clone(), value)));
    }
    for (key, new) in patch.entries() {
        if key.starts_with('$') && key != DIRECTIVE {
            return Err(Inexact(format!("the directive {key} of a patch")));
        }
        if key != DIRECTIVE && !object.entries().iter().any(|(name, _)| name == key) {
            entries.extend(field(of, key, &Value::Null, new)?.map(|value| (key.clone(), value)));
        }
    }
    Ok(Some(Value::Map(entries.into())))
}

/// The patched value of a field; none if the patch removes it.
fn field(of: Type, key: &str, old: &Value, new: &Value) -> Result<Option<Value>, Inexact> {
    match (old, new) {
        (_, Value::Null) => Ok(None),
        (Value::Null, Value::Map(_)) => match directive(new)? {
            Directive::Delete => Ok(None),
            Directive::Merge | Directive::Replace => Ok(Some(added(new)?)),
        },
        (Value::Map(_), Value::Map(_)) => mapping(of.field(key), old, new),
        (Value::Null | Value::List(_), Value::List(_)) => list(of.field(key), of.list(key), old, new),
        (Value::Null, _) => Ok(Some(new.clone())),
        (Value::Map(_) | Value::List(_), _) | (_, Value::Map(_) | Value::List(_)) => {
            Err(Inexact(format!("a patch that makes the {} {key} a {}", old.type_name(), new.type_name())))
        }
        _ => Ok(Some(new.clone())),
    }
}

/// The additions of a patch: without directives and without values that it removes.
fn added(patch: &Value) -> Result<Value, Inexact> {
    let mut entries = Vec::new();
    for (key, value) in patch.entries() {
        if key == DIRECTIVE || value.is_null() {
            continue;
        }
        let value = match value {
            Value::Map(_) if matches!(directive(value)?, Directive::Delete) => continue,
            Value::Map(_) => added(value)?,
            Value::List(items) if items.iter().any(|item| item[DIRECTIVE].is_set()) => {
                list(Type::Unknown, List::Replaced, &Value::Null, value)?.unwrap_or_default()
            }
            other => other.clone(),
        };
        entries.push((key.clone(), value));
    }
    Ok(Value::Map(entries.into()))
}

fn list(of: Type, how: List, old: &Value, new: &Value) -> Result<Option<Value>, Inexact> {
    let is_directive = |item: &Value| item[DIRECTIVE].is_set() && item.entries().len() == 1;
    if how == List::Replaced {
        if new.items().iter().any(|item| item[DIRECTIVE].is_set()) {
            return Err(Inexact("the directive $patch in a list without a merge key".to_owned()));
        }
        return Ok(Some(new.clone()));
    }
    let whole = new.items().iter().find(|item| is_directive(item)).map_or(Ok(Directive::Merge), directive)?;
    let own: Vec<&Value> = new.items().iter().filter(|item| !is_directive(item)).collect();
    match (whole, how) {
        (Directive::Delete, _) => Ok(None),
        (Directive::Replace, _) => Ok(Some(Value::List(own.into_iter().cloned().collect()))),
        (Directive::Merge, List::Keyed(keys)) => keyed(of, keys, old, &own).map(Some),
        (Directive::Merge, _) => {
            let more = old.items().iter().filter(|item| !own.contains(item));
            Ok(Some(Value::List(own.iter().copied().chain(more).cloned().collect())))
        }
    }
}

/// Merges items with equal keys. Items of the patch come first.
fn keyed(of: Type, keys: &[&str], old: &Value, own: &[&Value]) -> Result<Value, Inexact> {
    let keys = effective_keys(keys, &old.items().iter().chain(own.iter().copied()).collect::<Vec<_>>())?;
    let is_same = |a: &Value, b: &Value| keys.iter().all(|key| a[*key].scalar_text() == b[*key].scalar_text());
    let mut items = Vec::new();
    for (at, new) in own.iter().enumerate() {
        if keys.iter().any(|key| new[*key].is_null()) {
            return Err(Inexact(format!("a patch with an item without {}", keys.join(" and "))));
        }
        if own[..at].iter().any(|earlier| is_same(earlier, new)) {
            return Err(Inexact(format!("a patch with two items of the same {}", keys.join(" and "))));
        }
        let merged = match old.items().iter().find(|item| is_same(item, new)) {
            Some(item) => mapping(of, item, new)?,
            None if matches!(directive(new)?, Directive::Delete) => None,
            None => Some(added(new)?),
        };
        items.extend(merged);
    }
    let rest = old.items().iter().filter(|item| !own.iter().any(|new| is_same(item, new)));
    items.extend(rest.cloned());
    if keys.len() > 1 {
        // Kustomize moves what the list had behind what is new, in its own order.
        let is_old = |item: &Value| old.items().iter().position(|old| is_same(old, item));
        items.sort_by_key(|item| is_old(item).map_or(0, |at| at + 1));
    }
    Ok(Value::List(items.into()))
}

/// The first key, and the others if all items have them.
fn effective_keys<'k>(keys: &'k [&'k str], items: &[&Value]) -> Result<Vec<&'k str>, Inexact> {
    let mut effective = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let with = items.iter().filter(|item| item[*key].is_set()).count();
        if with == items.len() {
            effective.push(*key);
        } else if at > 0 && with > 0 {
            return Err(Inexact(format!("a patch of a list in which only some items have {key}")));
        } else if at == 0 {
            return Err(Inexact(format!("a patch of a list with an item without {key}")));
        }
    }
    Ok(effective)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(object: &str, patch: &str) -> Option<Value> {
        apply(&value(object), &value(patch)).unwrap()
    }

    fn value(text: &str) -> Value {
        super::super::super::read_value("test", text).unwrap()
    }

    const DEPLOYMENT: &str = "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: \
                              [{name: a, image: a, args: [x]}, {name: b, image: b}]}}}}";

    #[test]
    fn containers_are_merged_by_name_and_other_lists_are_replaced() {
        let patch = "{spec: {template: {spec: {containers: [{name: b, image: c}, {name: a, args: [y]}]}}}}";
        let wanted = "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: \
                      [{name: b, image: c}, {name: a, image: a, args: [y]}]}}}}";
        assert_eq!(patched(DEPLOYMENT, patch), Some(value(wanted)));
        let custom =
            "{apiVersion: networking.istio.io/v1, kind: VirtualService, spec: {hosts: [a], http: [{name: a}]}}";
        let wanted = custom.replace("{name: a}", "{name: b}");
        assert_eq!(patched(custom, "{spec: {http: [{name: b}]}}"), Some(value(&wanted)));
    }

    #[test]
    fn null_removes_a_field_and_directives_delete_and_replace() {
        let patch = "{spec: {template: {spec: {containers: [{name: a, $patch: delete}]}, metadata: null}}}";
        let wanted = "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: \
                      [{name: b, image: b}]}}}}";
        assert_eq!(patched(DEPLOYMENT, patch), Some(value(wanted)));
        assert_eq!(patched(DEPLOYMENT, "{$patch: delete}"), None);
        let patch = "{spec: {template: {$patch: replace, metadata: {labels: {a: b}}}}}";
        let wanted = "{apiVersion: apps/v1, kind: Deployment, spec: {template: {metadata: {labels: {a: b}}}}}";
        assert_eq!(patched(DEPLOYMENT, patch), Some(value(wanted)));
    }

    #[test]
    fn patch_that_cannot_be_applied_exactly_is_refused() {
        for patch in [
            "{spec: {$retainKeys: [a]}}",
            "{spec: {template: [a]}}",
            "{spec: {template: {spec: {containers: [{image: a}]}}}}",
        ] {
            assert!(apply(&value(DEPLOYMENT), &value(patch)).is_err(), "{patch}");
        }
    }
}
