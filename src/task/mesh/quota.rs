//! The `ResourceQuota`s of the namespaces that an installation writes to. Reads only.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::list;
use super::rendered_chart::Part;
use crate::cluster::{ApiError, Cluster, Error as ClusterError, ObjectRef};
use crate::mesh::quota::{self, Usage};
use crate::mesh::{Finding, Severity};

/// Findings for each quota that the new objects of the parts exceed. Objects that exist already are counted by the
/// cluster. Namespaces whose quotas may not be listed are left out.
pub(super) async fn check(cluster: &Cluster, parts: &[Part]) -> Result<Vec<Finding>, ClusterError> {
    let mut found = Vec::new();
    let mut quotas: BTreeMap<String, (Vec<Value>, bool)> = BTreeMap::new();
    let mut usage: BTreeMap<String, Usage> = BTreeMap::new();
    for part in parts {
        for object in &part.objects {
            let object = serde_json::to_value(object).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
            let Some(known) = cluster.kind(&api_version, &kind).await?.filter(|kind| kind.namespaced) else { continue };
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&part.step.namespace).to_owned();
            if !quotas.contains_key(&namespace) {
                let read = namespaced(cluster, "ResourceQuota", &namespace).await?;
                let defaults = !read.is_empty() && !namespaced(cluster, "LimitRange", &namespace).await?.is_empty();
                quotas.insert(namespace.clone(), (read, defaults));
            }
            let Some((limits, has_defaults)) = quotas.get(&namespace).filter(|(limits, _)| !limits.is_empty()) else {
                continue;
            };
            let name = text(&object["metadata"]["name"]);
            let reference = ObjectRef { api_version, kind, namespace: Some(namespace.clone()), name };
            if cluster.get(&reference).await?.is_some() {
                continue;
            }
            let sum = usage.entry(namespace.clone()).or_default();
            let group = reference.api_version.rsplit_once('/').map_or("", |(group, _)| group);
            quota::add_object(sum, group, &known.resource.plural, &object);
            if matches!(reference.kind.as_str(), "Deployment" | "DaemonSet") {
                let pods = match reference.kind.as_str() {
                    "Deployment" => replicas(part, &object),
                    _ => i64::try_from(list(cluster, "v1", "Node", None).await?.len()).unwrap_or(i64::MAX >> 32),
                };
                quota::add_pods(sum, &object, pods);
                let unset = quota::unset(limits, &object);
                if !unset.is_empty() && !has_defaults {
                    let message = format!(
                        "{reference}: a ResourceQuota of namespace {namespace} demands {} of every container, which \
                         the chart does not set; set them by values or add a LimitRange with defaults",
                        unset.join(", ")
                    );
                    found.push(Finding::new(Severity::Error, "quota", message));
                }
            }
        }
    }
    for (namespace, sum) in usage {
        let limits = quotas.get(&namespace).map(|(limits, _)| limits.as_slice()).unwrap_or_default();
        let exceeded = quota::exceeded(limits, &sum);
        found.extend(exceeded.into_iter().map(|message| Finding::new(Severity::Error, "quota", message)));
    }
    Ok(found)
}

/// The pods that a Deployment starts with: its replicas, or the minimum of its `HorizontalPodAutoscaler`.
fn replicas(part: &Part, deployment: &Value) -> i64 {
    let own = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let scalers = part.of_kind("HorizontalPodAutoscaler").filter_map(|it| serde_json::to_value(it).ok());
    let scaler = scalers.into_iter().find(|it| it["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]);
    let least = scaler.and_then(|it| it["spec"]["minReplicas"].as_i64()).unwrap_or(1);
    own.max(least)
}

async fn namespaced(cluster: &Cluster, kind: &str, namespace: &str) -> Result<Vec<Value>, ClusterError> {
    let mut found = Vec::new();
    if let Some(known) = cluster.kind("v1", kind).await? {
        match cluster.list(&known, Some(namespace), None, |one| found.push(one)).await {
            Err(ClusterError::Request { fault: ApiError::Forbidden(_) | ApiError::Namespace { .. }, .. }) => {}
            listed => listed?,
        }
    }
    Ok(found)
}
