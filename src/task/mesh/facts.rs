//! Reads the observed state of Istio in a cluster. Writes nothing.

use serde_json::Value;

use crate::analysis::istio::component::ISTIOD_SELECTOR;
use crate::analysis::istio::membership::{REVISION, TAG, control_plane_revision};
use crate::cluster::{self, Cluster, ObjectRef};
use crate::mesh::{ControlPlane, Installed, Kubernetes, ObservedMesh, Provenance, Webhook, owner, usage};
use crate::task::Error;

/// Names of the webhooks of an injector.
const INJECTOR: &str = "sidecar-injector.istio.io";

/// Reads it all; each question is one request or few.
pub(super) async fn read(cluster: &Cluster) -> Result<ObservedMesh, Error> {
    let (version, stored, planes, webhooks, gateway_api) = tokio::try_join!(
        cluster.version(),
        cluster::stored(cluster),
        list(cluster, "apps/v1", "Deployment", Some(ISTIOD_SELECTOR)),
        injectors(cluster),
        gateway_api(cluster),
    )?;
    let unreadable = |reason: String| cluster::Error::Request {
        verb: "ask",
        object: "the API server's version".to_owned(),
        fault: cluster::ApiError::Unreadable(reason),
    };
    let kubernetes: Kubernetes = version.parse().map_err(unreadable)?;
    let platform = platform(cluster, &kubernetes).await?;
    Ok(ObservedMesh {
        installed: stored.into_iter().filter_map(installed).collect(),
        control_planes: planes.iter().map(control_plane).collect(),
        webhooks,
        gateway_api,
        platform,
        kubernetes,
    })
}

/// The injectors of the cluster, those of revisions and of tags.
pub(super) async fn injectors(cluster: &Cluster) -> Result<Vec<Webhook>, cluster::Error> {
    let all = list(cluster, "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", None).await?;
    Ok(all.iter().filter_map(webhook).collect())
}

/// All objects of a kind with these labels, in all namespaces; none when the cluster does not know the kind.
pub(super) async fn list(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
    labels: Option<&str>,
) -> Result<Vec<Value>, cluster::Error> {
    let mut found = Vec::new();
    if let Some(kind) = cluster.kind(api_version, kind).await? {
        cluster.list(&kind, None, labels, |one| found.push(one)).await?;
    }
    Ok(found)
}

/// An inventory that says it was made of a chart of Istio.
fn installed(stored: cluster::Stored) -> Option<Installed> {
    let origin: Provenance = serde_json::from_value(stored.origin?).ok()?;
    Some(Installed { installation: stored.installation, origin })
}

fn control_plane(deployment: &Value) -> ControlPlane {
    let metadata = &deployment["metadata"];
    let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let image = containers.and_then(|all| all.first()).and_then(|first| first["image"].as_str());
    let conditions = deployment["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    ControlPlane {
        name: text("name"),
        namespace: text("namespace"),
        revision: revision(metadata),
        version: image.and_then(usage::image_tag),
        owner: owner::of(deployment),
        ready: conditions.iter().any(|it| it["type"] == "Available" && it["status"] == "True"),
    }
}

fn revision(metadata: &Value) -> String {
    control_plane_revision(metadata["labels"][REVISION].as_str()).to_owned()
}

/// An injector, if it is one.
pub(super) fn webhook(configuration: &Value) -> Option<Webhook> {
    let hooks = configuration["webhooks"].as_array()?;
    if !hooks.iter().any(|hook| hook["name"].as_str().is_some_and(|name| name.ends_with(INJECTOR))) {
        return None;
    }
    let metadata = &configuration["metadata"];
    Some(Webhook {
        name: metadata["name"].as_str()?.to_owned(),
        revision: revision(metadata),
        tag: metadata["labels"][TAG].as_str().map(str::to_owned),
        hooks: hooks.clone(),
        owner: owner::of(configuration),
    })
}

async fn gateway_api(cluster: &Cluster) -> Result<Option<String>, cluster::Error> {
    let crd = "gateways.gateway.networking.k8s.io";
    let crd = ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", None, crd);
    let version = |crd: Value| {
        let annotations = &crd["metadata"]["annotations"];
        annotations["gateway.networking.k8s.io/bundle-version"].as_str().unwrap_or("unknown").to_owned()
    };
    Ok(cluster.get(&crd).await?.map(version))
}

/// By what the API server calls itself; `OpenShift` by a kind that only it has.
async fn platform(cluster: &Cluster, kubernetes: &Kubernetes) -> Result<Option<&'static str>, Error> {
    let marks = [("-gke.", "gke"), ("-eks-", "eks"), ("+k3s", "k3s"), ("+rke2", "rke2")];
    if let Some((_, name)) = marks.iter().find(|(mark, _)| kubernetes.text.contains(mark)) {
        return Ok(Some(name));
    }
    let openshift = cluster.kind("config.openshift.io/v1", "ClusterVersion").await?;
    Ok(openshift.map(|_| "openshift"))
}
