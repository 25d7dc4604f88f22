//! Kubernetes objects that carry dashboards: `ConfigMaps` for a sidecar, custom resources for the Grafana Operator. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde_json::{Value, json};

use super::plan::{Item, Set};
use super::way::{OPERATOR, Operator, Reader, Sidecar};
use super::{ApplyParams, ItemKind};
use crate::analysis::istio::managed;

/// One `ConfigMap` for the data source, and one for each dashboard.
pub fn config_maps(set: &Set, params: &ApplyParams, sidecar: &Sidecar) -> Vec<DynamicObject> {
    let namespace = params.namespace.as_ref().map_or(sidecar.namespace.as_str(), |one| one.as_str());
    let source = set.data_source.as_ref().zip(sidecar.data_sources.as_ref()).map(|(item, reader)| {
        let mut source = item.body.clone();
        source["editable"] = false.into();
        // `prune` lets Grafana delete the data source when this file is gone.
        let file = json!({"apiVersion": 1, "prune": true, "datasources": [source]}).to_string();
        config_map(item, namespace, reader, &format!("{}.yaml", item.uid), &file)
    });
    let boards = set.dashboards.iter().map(|(_, item)| {
        let mut object =
            config_map(item, namespace, &sidecar.dashboards, &format!("{}.json", item.uid), &item.body.to_string());
        if let Some(annotation) = &sidecar.dashboards.folder_annotation {
            object.metadata.annotations = Some([(annotation.clone(), params.folder.clone())].into());
        }
        object
    });
    source.into_iter().chain(boards).collect()
}

fn config_map(item: &Item, namespace: &str, reader: &Reader, file: &str, text: &str) -> DynamicObject {
    let mut object = object("v1", "ConfigMap", namespace, item, json!({"data": {file: text}}));
    object.metadata.labels.get_or_insert_default().insert(reader.label.clone(), reader.value.clone());
    object
}

/// `GrafanaFolder`, `GrafanaDatasource` and `GrafanaDashboard`. Fields: Grafana Operator, `api/v1beta1`.
pub fn custom_resources(set: &Set, params: &ApplyParams, operator: &Operator) -> Vec<DynamicObject> {
    let namespace = params.namespace.as_ref().map_or(operator.namespace.as_str(), |one| one.as_str());
    let selector = json!({"matchLabels": operator.labels});
    let resource = |item: &Item| {
        let (kind, more) = match item.kind {
            ItemKind::Folder => ("GrafanaFolder", json!({"uid": item.uid, "title": item.title})),
            ItemKind::DataSource => {
                let mut source = item.body.clone();
                if let Some(source) = source.as_object_mut() {
                    source.remove("uid");
                }
                ("GrafanaDatasource", json!({"uid": item.uid, "datasource": source}))
            }
            ItemKind::Dashboard => (
                "GrafanaDashboard",
                json!({"uid": item.uid, "json": item.body.to_string(), "folderRef": set.folder.uid}),
            ),
        };
        let mut spec = json!({"instanceSelector": selector});
        merge(&mut spec, more);
        if namespace != operator.namespace {
            spec["allowCrossNamespaceImport"] = true.into();
        }
        object(OPERATOR, kind, namespace, item, json!({"spec": spec}))
    };
    set.items().map(resource).collect()
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

fn object(api_version: &str, kind: &str, namespace: &str, item: &Item, data: Value) -> DynamicObject {
    let labels = [(managed::BY, managed::SAILHAND), ("app.kubernetes.io/part-of", "istio-dashboards")];
    DynamicObject {
        types: Some(TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
        metadata: ObjectMeta {
            name: Some(item.uid.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data,
    }
}
