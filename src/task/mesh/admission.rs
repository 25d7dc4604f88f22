//! Admission webhooks of a cluster whose Service leads to no server, so that requests which call them are refused
//! (failurePolicy Fail) or go unchecked. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::facts::list;
use super::rendered_chart::Part;
use crate::analysis::istio::component::ISTIOD_SELECTOR;
use crate::cluster::{ApiError, Cluster, Error as ClusterError, ObjectRef};
use crate::mesh::admission::{AdmissionWebhook, Creation};
use crate::mesh::usage::{self, Labels};
use crate::mesh::{Finding, Severity};
use crate::prose::plural;

const GROUP: &str = "admissionregistration.k8s.io/v1";
const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
/// Objects that a message names.
const NAMED: usize = 3;

/// A webhook that cannot be called.
pub(super) struct Dead {
    pub webhook: AdmissionWebhook,
    /// Why, such as `calls Service old/istiod, which does not exist`.
    pub reason: String,
}

/// All admission webhooks of the cluster.
pub(super) async fn read(cluster: &Cluster) -> Result<Vec<AdmissionWebhook>, ClusterError> {
    let mut found = Vec::new();
    for kind in KINDS {
        let configurations = list(cluster, GROUP, kind, None).await?;
        found.extend(configurations.iter().flat_map(|it| AdmissionWebhook::of(kind, it)));
    }
    Ok(found)
}

/// The webhooks whose Service does not exist or, for those of Istio, selects no control plane.
pub(super) async fn dead(cluster: &Cluster) -> Result<Vec<Dead>, ClusterError> {
    let webhooks = read(cluster).await?;
    let planes = list(cluster, "apps/v1", "Deployment", Some(ISTIOD_SELECTOR)).await?;
    let mut services: BTreeMap<(String, String), Option<Value>> = BTreeMap::new();
    let mut found = Vec::new();
    for webhook in webhooks {
        let Some(called) = webhook.service.clone() else { continue };
        if !services.contains_key(&called) {
            match service(cluster, &called).await {
                // What may not be read counts as alive.
                Err(ClusterError::Request { fault: ApiError::Forbidden(_), .. }) => continue,
                service => drop(services.insert(called.clone(), service?)),
            }
        }
        let (namespace, name) = &called;
        let reason = match services.get(&called).and_then(Option::as_ref) {
            None => format!("calls Service {namespace}/{name}, which does not exist"),
            Some(service) if is_istios(&webhook) && !leads_to_one(service, namespace, &planes) => {
                format!("calls Service {namespace}/{name}, which selects no control plane")
            }
            Some(_) => continue,
        };
        found.push(Dead { webhook, reason });
    }
    Ok(found)
}

fn is_istios(webhook: &AdmissionWebhook) -> bool {
    webhook.is_injector() || webhook.is_for_istio()
}

async fn service(cluster: &Cluster, (namespace, name): &(String, String)) -> Result<Option<Value>, ClusterError> {
    cluster.get(&ObjectRef::new("v1", "Service", Some(namespace), name)).await
}

/// Whether a Service selects the pods of a control plane. One without a selector leads outside of the cluster.
fn leads_to_one(service: &Value, namespace: &str, planes: &[Value]) -> bool {
    let Some(selector) = service["spec"]["selector"].as_object().filter(|it| !it.is_empty()) else { return true };
    let here = planes.iter().filter(|plane| plane["metadata"]["namespace"] == namespace);
    here.map(|plane| &plane["spec"]["template"]["metadata"]["labels"])
        .any(|labels| selector.iter().all(|(key, value)| labels[key] == *value))
}

/// Findings about webhooks of Istio without a control plane.
pub(super) fn findings(dead: &[Dead], severity: Severity) -> Vec<Finding> {
    let of_istio = dead.iter().filter(|it| is_istios(&it.webhook) && !it.webhook.is_disabled());
    let mut seen = BTreeSet::new();
    of_istio
        .filter_map(|Dead { webhook, reason }| {
            let effect = match (webhook.is_injector(), webhook.fails_closed) {
                (true, true) => "new pods that it selects are refused",
                (true, false) => "new pods that it selects get no proxy",
                (false, true) => "objects of Istio's kinds that it selects are refused",
                (false, false) => "objects of Istio's kinds that it selects are not validated",
            };
            let message =
                format!("{} {reason}: {effect}; delete it or restore its control plane", webhook.configuration);
            // A configuration has several webhooks, all with the same Service.
            seen.insert(message.clone()).then(|| Finding::new(severity, "webhooks", message))
        })
        .collect()
}

/// Dead webhooks that refuse what an installation is about to create. Those that the installation itself replaces, or
/// whose Service it brings, are left out.
pub(super) async fn blocking(cluster: &Cluster, dead: &[Dead], parts: &[Part]) -> Result<Vec<Finding>, ClusterError> {
    let names = |kind: &str| -> BTreeSet<String> {
        let these = parts.iter().flat_map(|part| part.of_kind(kind));
        these.filter_map(|object| object.metadata.name.clone()).collect()
    };
    let replaced: BTreeSet<String> = KINDS.into_iter().flat_map(names).collect();
    let services: BTreeSet<(String, String)> = parts
        .iter()
        .flat_map(|part| part.of_kind("Service").map(|object| (&part.step.namespace, &object.metadata)))
        .map(|(own, it)| (it.namespace.as_ref().unwrap_or(own).clone(), it.name.clone().unwrap_or_default()))
        .collect();
    let staying = dead.iter().filter(|it| {
        let brought = it.webhook.service.as_ref().is_some_and(|service| services.contains(service));
        it.webhook.fails_closed && !brought && !replaced.contains(&it.webhook.name)
    });
    let staying: Vec<_> = staying.collect();
    if staying.is_empty() {
        return Ok(Vec::new());
    }
    let creations = creations(cluster, parts).await?;
    let judge = |it: &&Dead| {
        let hit: Vec<_> = creations.iter().filter(|one| it.webhook.is_called_for(one)).collect();
        let first = hit.iter().take(NAMED).map(|one| one.title.as_str()).collect::<Vec<_>>().join(", ");
        (!hit.is_empty()).then(|| {
            let message = format!(
                "{} {}: the API server refuses {} of this installation, such as {first}; delete it first",
                it.webhook.configuration,
                it.reason,
                plural(hit.len(), "object"),
            );
            Finding::new(Severity::Error, "webhooks", message)
        })
    };
    Ok(staying.iter().filter_map(judge).collect())
}

/// Objects that the components create, with the pods of their workloads.
async fn creations(cluster: &Cluster, parts: &[Part]) -> Result<Vec<Creation>, ClusterError> {
    let mut namespaces: BTreeMap<String, Labels> = BTreeMap::new();
    let mut found = Vec::new();
    for part in parts {
        for object in &part.objects {
            let object = serde_json::to_value(object).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
            // A kind that comes with this installation has no webhooks yet but those of Istio.
            let Some(known) = cluster.kind(&api_version, &kind).await? else { continue };
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&part.step.namespace).to_owned();
            if known.namespaced && !namespaces.contains_key(&namespace) {
                namespaces.insert(namespace.clone(), namespace_labels(cluster, &namespace).await?);
            }
            let created = Creation {
                group: api_version.rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default(),
                resource: known.resource.plural.clone(),
                labels: usage::labels(&object),
                namespace: namespaces.get(&namespace).filter(|_| known.namespaced).cloned(),
                title: format!("{kind} {}", text(&object["metadata"]["name"])),
            };
            if matches!(kind.as_str(), "Deployment" | "DaemonSet") {
                let template = &object["spec"]["template"];
                found.push(Creation {
                    group: String::new(),
                    resource: "pods".to_owned(),
                    labels: usage::labels(template),
                    namespace: created.namespace.clone(),
                    title: format!("the pods of {}", created.title),
                });
            }
            found.push(created);
        }
    }
    Ok(found)
}

async fn namespace_labels(cluster: &Cluster, name: &str) -> Result<Labels, ClusterError> {
    let object = ObjectRef::new("v1", "Namespace", None, name);
    let mut labels = usage::labels(&cluster.get(&object).await?.unwrap_or_default());
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    Ok(labels)
}
