//! Leftovers of Istio in a cluster, and the users of a revision. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::active_pods::retain_active;
use super::facts::list;
use crate::analysis::istio::component::is_ztunnel;
use crate::analysis::istio::managed;
use crate::analysis::istio::membership::{LABELS, REVISION};
use crate::analysis::istio::pod::is_injected_gateway;
use crate::analysis::mesh::ISTIO_NAMESPACE;
use crate::cluster::{ApiError, Cluster, Error as ClusterError, ObjectRef};
use crate::mesh::{Component, ObservedMesh, usage};
use crate::prose::plural;
use crate::task::Error;

/// Objects of one kind that are named.
const NAMED: usize = 5;
/// The group of Istio's kinds ends so.
const GROUP: &str = ".istio.io";
/// Objects that istiod writes at run time, outside of its chart.
const RUNTIME_MAPS: [&str; 8] = [
    "istio-ca-root-cert",
    "istio-ca-crl",
    "istio-leader",
    "istio-gateway-deployment-leader",
    "istio-gateway-status-leader",
    "istio-namespace-controller-election",
    "istio-validation-leader",
    "istio-ip-autoallocate",
];
/// Those of them that it puts into every namespace.
const EVERYWHERE: [&str; 2] = ["istio-ca-root-cert", "istio-ca-crl"];
/// The Secret of istiod's own certificate authority. One that is called `cacerts` is the user's.
const CA_SECRET: &str = "istio-ca-secret";

/// Lists name no kind in their items.
fn named(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object
}

async fn all(cluster: &Cluster, api_version: &str, kind: &str) -> Result<Vec<Value>, ClusterError> {
    let found = list(cluster, api_version, kind, None).await?;
    Ok(found.into_iter().map(|object| named(object, api_version, kind)).collect())
}

/// Istio's CRDs.
pub(super) async fn crds(cluster: &Cluster) -> Result<Vec<Value>, ClusterError> {
    let mut found = all(cluster, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await?;
    found.retain(|crd| crd["spec"]["group"].as_str().is_some_and(|group| group.ends_with(GROUP)));
    Ok(found)
}

/// Objects of Istio's kinds, by kind: how many, with some of their names. Kinds that may not be read are left out:
/// a purge does not need to.
pub(super) async fn instances(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    let mut found = Vec::new();
    for crd in crds(cluster).await? {
        let spec = &crd["spec"];
        let version = spec["versions"].as_array().and_then(|all| all.iter().find(|it| it["storage"] == true));
        let (Some(group), Some(kind), Some(version)) =
            (spec["group"].as_str(), spec["names"]["kind"].as_str(), version.and_then(|it| it["name"].as_str()))
        else {
            continue;
        };
        let objects = match list(cluster, &format!("{group}/{version}"), kind, None).await {
            Err(ClusterError::Request { fault: ApiError::Forbidden(_), .. }) => continue,
            objects => objects?,
        };
        let name = |object: &Value| {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("namespace"), text("name"))
        };
        let mut names: Vec<_> = objects.iter().take(NAMED).map(name).collect();
        if objects.len() > NAMED {
            names.push("…".to_owned());
        }
        if !names.is_empty() {
            found.push(format!("{} of {kind} ({})", objects.len(), names.join(", ")));
        }
    }
    Ok(found)
}

/// Objects that istiod creates at run time. The Secret is read by name in namespaces with a leader election of istiod, so
/// that the permission to read other Secrets is not required.
pub(super) async fn runtime_objects(cluster: &Cluster) -> Result<Vec<Value>, ClusterError> {
    let mut found = all(cluster, "v1", "ConfigMap").await?;
    found.retain(|map| map["metadata"]["name"].as_str().is_some_and(|name| RUNTIME_MAPS.contains(&name)));
    // It may have a control plane without other objects.
    let mut homes = BTreeSet::from([ISTIO_NAMESPACE.to_owned()]);
    let elected = found.iter().filter(|map| !EVERYWHERE.iter().any(|name| map["metadata"]["name"] == *name));
    homes.extend(elected.filter_map(|map| map["metadata"]["namespace"].as_str()).map(str::to_owned));
    for home in homes {
        let secret = ObjectRef::new("v1", "Secret", Some(&home), CA_SECRET);
        found.extend(cluster.get(&secret).await?);
    }
    Ok(found)
}

/// Namespaces with a label of the mesh, without the worker's own, which is created with `istio-injection=disabled`.
pub(super) async fn with_mesh_labels(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    let marked = |namespace: &Value| {
        let labels = usage::labels(namespace);
        LABELS.iter().any(|key| labels.contains_key(*key))
    };
    let found = list(cluster, "v1", "Namespace", None).await?;
    let names = found.iter().filter(|it| marked(it)).filter_map(|it| it["metadata"]["name"].as_str());
    let names = names.filter(|name| *name != cluster.inventory_namespace());
    Ok(names.map(str::to_owned).collect())
}

/// Kinds of which a control plane that was not uninstalled completely leaves objects.
const ORPHANS: [(&str, &str); 10] = [
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "ResourceQuota"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
];
/// Values of the label `app` on what the charts of the control plane and its nodes' parts have.
const APPS: [&str; 7] =
    ["istiod", "istio-reader", "sidecar-injector", "istio-cni", "istio-cni-node", "ztunnel", "pilot"];

/// Objects of control planes that are not installed any more: those with Istio's labels that are in no inventory of
/// this worker and whose revision has no control plane. An object without a revision counts when there is no control plane at
/// all. One line for each kind.
pub(super) async fn orphans(cluster: &Cluster, facts: &ObservedMesh) -> Result<Vec<String>, ClusterError> {
    let owned: BTreeSet<_> = crate::cluster::stored(cluster).await?.into_iter().flat_map(|it| it.objects).collect();
    let living: BTreeSet<&str> = facts.control_planes.iter().map(|plane| plane.revision.as_str()).collect();
    let mut found = Vec::new();
    for (api_version, kind) in ORPHANS {
        let objects = match all(cluster, api_version, kind).await {
            Err(ClusterError::Request { fault: ApiError::Forbidden(_), .. }) => continue,
            objects => objects?,
        };
        let names: Vec<_> = objects
            .iter()
            .filter(|object| is_istios(object) && is_orphan(object, &living))
            .map(|object| reference(object, api_version, kind))
            .filter(|object| !owned.iter().any(|it| it.is_same(object)))
            .map(|object| match &object.namespace {
                Some(namespace) => format!("{namespace}/{}", object.name),
                None => object.name,
            })
            .collect();
        if !names.is_empty() {
            found.push(format!("{kind}: {}", names.join(", ")));
        }
    }
    Ok(found)
}

fn is_istios(object: &Value) -> bool {
    let labels = usage::labels(object);
    labels.get("app").is_some_and(|app| APPS.contains(&app.as_str()))
        || labels.contains_key("operator.istio.io/component")
        // Gateways of any tool have this label too, and all of them are in namespaces.
        || object["metadata"]["namespace"].is_null()
            && labels.get("app.kubernetes.io/part-of").is_some_and(|it| it == "istio")
}

fn is_orphan(object: &Value, living: &BTreeSet<&str>) -> bool {
    let labels = usage::labels(object);
    let revision = labels.get(REVISION).filter(|it| !it.is_empty());
    revision.map_or(living.is_empty(), |revision| !living.contains(revision.as_str()))
}

fn reference(object: &Value, api_version: &str, kind: &str) -> ObjectRef {
    let text = |key: &str| object["metadata"][key].as_str().map(str::to_owned);
    ObjectRef {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: text("namespace"),
        name: text("name").unwrap_or_default(),
    }
}

/// All leftovers, one line for each kind.
pub(super) async fn find(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    let mut left = Vec::new();
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for crd in crds(cluster).await? {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        kinds.entry("CustomResourceDefinition".to_owned()).or_default().push(name.to_owned());
    }
    for object in runtime_objects(cluster).await? {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        kinds.entry(format!("{kind} {}", text("name"))).or_default().push(text("namespace"));
    }
    for (kind, names) in kinds {
        left.push(format!("{kind}: {}", names.join(", ")));
    }
    let with_mesh_labels = with_mesh_labels(cluster).await?;
    if !with_mesh_labels.is_empty() {
        left.push(format!("mesh labels on namespaces: {}", with_mesh_labels.join(", ")));
    }
    let made = list(cluster, "apps/v1", "Deployment", Some(managed::GATEWAY)).await?;
    let text = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    for one in &made {
        left.push(format!("Deployment {}/{}, made for a Gateway", text(one, "namespace"), text(one, "name")));
    }
    let proxies: Vec<_> = meshed(cluster).await?.iter().filter_map(usage::proxy).collect();
    if let Some(first) = proxies.first() {
        left.push(format!(
            "{} with a proxy, such as {}/{}: restart them",
            plural(proxies.len(), "pod"),
            first.namespace,
            first.name
        ));
    }
    Ok(left)
}

/// Pods with a proxy that stay.
async fn meshed(cluster: &Cluster) -> Result<Vec<Value>, ClusterError> {
    let mut pods = list(cluster, "v1", "Pod", None).await?;
    pods.retain(|pod| usage::proxy(pod).is_some());
    retain_active(cluster, pods).await
}

/// Who needs these revisions and tags (`going`) or has a proxy of these `revisions`.
pub(super) async fn users(
    cluster: &Cluster,
    going: &BTreeSet<&str>,
    revisions: &BTreeSet<&str>,
    facts: &ObservedMesh,
) -> Result<Vec<String>, Error> {
    let mut users = Vec::new();
    if going.is_empty() {
        return Ok(users);
    }
    let spaces = list(cluster, "v1", "Namespace", None).await?;
    for space in &spaces {
        let labels = usage::labels(space);
        if usage::namespace_revision(&labels).is_some_and(|revision| going.contains(revision)) {
            users.push(format!("namespace {}", space["metadata"]["name"].as_str().unwrap_or_default()));
        }
    }
    let tags = facts.webhooks.iter().filter(|it| revisions.contains(it.revision.as_str()));
    for tag in tags.filter_map(|it| it.tag.as_deref()).filter(|tag| !going.contains(tag)) {
        users.push(format!("tag {tag}"));
    }
    let pods = meshed(cluster).await?;
    // A gateway goes with its revision, ztunnel with the last one.
    let last = facts.installed(Component::Istiod).all(|istiod| revisions.contains(istiod.name.as_str()));
    let proxies: Vec<_> = pods
        .iter()
        .filter(|pod| !(is_injected_gateway(*pod) || last && is_ztunnel(&pod["metadata"]["labels"])))
        .filter_map(usage::proxy)
        .filter(|proxy| revisions.contains(proxy.revision.as_str()))
        .collect();
    if let Some(first) = proxies.first() {
        users.push(format!("{} such as {}/{}", plural(proxies.len(), "proxy"), first.namespace, first.name));
    }
    Ok(users)
}
