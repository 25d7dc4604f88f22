//! Reads the objects of the cluster that explain missing targets and wrong numbers: pods with a proxy, monitors, policies,
//! and the rights of the store's service account.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;

use super::listing;
use super::store::Store;
use crate::analysis::istio::component::is_istiod;
use crate::analysis::istio::membership::NamespaceMode;
use crate::analysis::istio::pod::has_sidecar;
use crate::analysis::istio::port::MERGED_METRICS;
use crate::analysis::istio::waypoint::{Choice, is_waypoint};
use crate::cluster::{self, Cluster};
use crate::observe::ladder::{Answers, Mesh, namespaces_without_targets};
use crate::observe::scrape::PORT_ANNOTATION;
use crate::task::Error;

/// Namespaces whose permissions are checked.
const MOST_REVIEWS: usize = 5;

const KINDS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("v1", "Namespace"),
    ("monitoring.coreos.com/v1", "Prometheus"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
];

/// Reads the parts of the mesh that a store should scrape, and objects that explain missing targets. Lists that are
/// forbidden are named.
pub(super) async fn read(cluster: &Cluster) -> Result<(Mesh, Vec<String>), Error> {
    let mut mesh = Mesh::default();
    let mut unread = Vec::new();
    let mut gateways = Vec::new();
    for (api_version, kind) in KINDS {
        let take = |object| match *kind {
            "Pod" => sort(object, &mut mesh),
            "Namespace" => mesh.namespaces.push(object),
            "Prometheus" => mesh.operator_prometheuses.push(object),
            "Telemetry" => mesh.telemetries.push(object),
            "PeerAuthentication" => mesh.peer_authentications.push(object),
            "NetworkPolicy" => mesh.network_policies.push(object),
            "Gateway" => gateways.push(object),
            _ => mesh.monitors.push(object),
        };
        listing::list(cluster, api_version, kind, None, &mut unread, take).await?;
    }
    mesh.ambient_without_waypoint = ambient_without_waypoint(&mesh.namespaces, &gateways);
    Ok((mesh, unread.iter().map(ToString::to_string).collect()))
}

/// The pods behind the store; without the right to read them none.
pub(super) async fn store_pods(store: &Store, unread: &mut Vec<String>) -> Result<Vec<Value>, Error> {
    match store.pods().await {
        Ok(pods) => Ok(pods),
        Err(Error::Cluster(error @ cluster::Error::Request { .. })) => {
            unread.push(format!("the store's pods: {error}"));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Asks the API server whether the store's service account may list pods where pods have no target.
pub(super) async fn add_forbidden_namespaces(
    cluster: &Cluster,
    answers: &Answers,
    mesh: &mut Mesh,
    unread: &mut Vec<String>,
) -> Result<(), Error> {
    let Some(store) = mesh.store_pods.first() else { return Ok(()) };
    let space = store["metadata"]["namespace"].as_str().unwrap_or_default();
    let account = store["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let user = format!("system:serviceaccount:{space}:{account}");
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{space}"),
        "system:authenticated".to_owned(),
    ];
    for namespace in namespaces_without_targets(answers, mesh).into_iter().take(MOST_REVIEWS) {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.clone()),
                groups: Some(groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some("list".to_owned()),
                    resource: Some("pods".to_owned()),
                    namespace: Some(namespace.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let asked = cluster.call("review access of", &user, |client| {
            let review = &review;
            async move { Api::all(client).create(&PostParams::default(), review).await }
        });
        match asked.await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| !status.allowed) => {
                mesh.forbidden_namespaces.push(namespace);
            }
            Ok(_) => {}
            Err(error @ cluster::Error::Request { .. }) => {
                unread.push(format!("rights of the store's service account: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether a store should scrape the pod, and by which annotation; the namespace of istiod.
fn sort(mut pod: Value, mesh: &mut Mesh) {
    let running = pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
    if !running {
        return;
    }
    let metadata = &pod["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    if is_istiod(&metadata["labels"]) && !mesh.root_namespaces.iter().any(|one| one == text("namespace")) {
        mesh.root_namespaces.push(text("namespace").to_owned());
    }
    if !has_sidecar(&pod) {
        return;
    }
    let place = format!("{}/{}", text("namespace"), text("name"));
    match metadata["annotations"][PORT_ANNOTATION].as_str() {
        Some(port) if port.parse() == Ok(MERGED_METRICS) => {}
        Some(_) => mesh.wrong_annotation.push(place.clone()),
        None => mesh.without_annotation.push(place.clone()),
    }
    mesh.expected.push(place);
    slim(&mut pod);
    mesh.pods.push(pod);
}

/// Keeps labels and the names and ports of containers, so that 500 pods stay small.
fn slim(pod: &mut Value) {
    if let Some(map) = pod.as_object_mut() {
        map.retain(|key, _| matches!(key.as_str(), "metadata" | "spec"));
    }
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels"));
    }
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.retain(|key, _| matches!(key.as_str(), "containers" | "initContainers"));
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.retain(|key, _| matches!(key.as_str(), "name" | "ports"));
            }
        }
    }
}

fn ambient_without_waypoint<'a>(namespaces: &'a [Value], gateways: &'a [Value]) -> Vec<String> {
    let text = |object: &'a Value, field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let waypoints = gateways.iter().filter(|gateway| is_waypoint(&gateway["spec"]));
    let waypoints: Vec<_> = waypoints.map(|gateway| (text(gateway, "namespace"), text(gateway, "name"))).collect();
    let has_waypoint = |space: &'a Value| {
        let name = text(space, "name");
        let chosen = Choice::of_labels(&space["metadata"]["labels"], name).named();
        waypoints.iter().any(|waypoint| waypoint.0 == name || Some(*waypoint) == chosen)
    };
    namespaces
        .iter()
        .filter(|space| NamespaceMode::of_labels(&space["metadata"]["labels"]).is_ambient() && !has_waypoint(space))
        .filter_map(|space| space["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn namespace_with_sidecar_injection_needs_no_waypoint() {
        let namespace = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        let namespaces = [
            namespace("ambient", json!({"istio.io/dataplane-mode": "ambient"})),
            namespace("injected", json!({"istio.io/dataplane-mode": "ambient", "istio-injection": "enabled"})),
        ];
        assert_eq!(ambient_without_waypoint(&namespaces, &[]), ["ambient"]);
    }

    #[test]
    fn namespace_may_use_the_waypoint_of_another_namespace() {
        let labels = json!({
            "istio.io/dataplane-mode": "ambient", "istio.io/use-waypoint": "shared",
            "istio.io/use-waypoint-namespace": "infra",
        });
        let namespaces = [json!({"metadata": {"name": "shop", "labels": labels}})];
        let gateway = |class: &str, protocol: &str| {
            let listeners = json!([{"protocol": protocol}]);
            json!({
                "metadata": {"name": "shared", "namespace": "infra"},
                "spec": {"gatewayClassName": class, "listeners": listeners},
            })
        };
        let none: [String; 0] = [];
        assert_eq!(ambient_without_waypoint(&namespaces, &[gateway("istio-waypoint", "HBONE")]), none);
        assert_eq!(ambient_without_waypoint(&namespaces, &[gateway("own", "HBONE")]), none);
        assert_eq!(ambient_without_waypoint(&namespaces, &[gateway("istio", "HTTP")]), ["shop"]);
    }
}
