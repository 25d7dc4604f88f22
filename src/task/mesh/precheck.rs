//! Checks a cluster before an installation: permissions, the Gateway API, gateway namespaces. Writes nothing.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use serde_json::Value;

use crate::analysis::istio::membership;
use crate::cluster::{Cluster, ObjectRef};
use crate::mesh::{Finding, ObservedMesh, Request, Severity, support, usage};
use crate::task::Error;

/// Kinds that an installation writes: group and resource.
const WRITTEN: [(&str, &str); 16] = [
    ("", "namespaces"),
    ("", "configmaps"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("networking.k8s.io", "networkpolicies"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
];

/// Questions at once.
const PARALLEL: usize = 16;

/// Checks before the first write. The plan checks versions and other installations.
pub(super) async fn before(cluster: &Cluster, request: &Request, facts: &ObservedMesh) -> Result<Vec<Finding>, Error> {
    let mut found = permissions(cluster).await?;
    found.extend(gateway_api(request, facts));
    found.extend(gateway_namespaces(cluster, request).await?);
    Ok(found)
}

/// One finding for all that is not allowed.
pub(super) async fn permissions(cluster: &Cluster) -> Result<Vec<Finding>, Error> {
    let mut questions = Vec::new();
    for (group, resource) in WRITTEN {
        for verb in ["create", "patch"] {
            questions.push(missing(cluster, verb, group, resource));
        }
    }
    let answers: Vec<_> = stream::iter(questions).buffered(PARALLEL).try_collect().await?;
    let missing: Vec<_> = answers.into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let message = format!("the worker is not allowed to {}", missing.join(", "));
    Ok(vec![Finding::new(Severity::Error, "permissions", message)])
}

/// The permission, if it is not granted.
async fn missing(
    cluster: &Cluster,
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
) -> Result<Option<String>, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = cluster
        .call("review access to", &resource, |client| {
            let review = &review;
            async move { Api::all(client).create(&PostParams::default(), review).await }
        })
        .await?;
    let name = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    Ok((!answer.status.is_some_and(|status| status.allowed)).then(|| format!("{verb} {name}")))
}

/// The CRDs of the Gateway API: optional, except for waypoints.
fn gateway_api(request: &Request, facts: &ObservedMesh) -> Option<Finding> {
    let wanted = support::release(&request.version).and_then(|release| release.gateway_api);
    let made_for =
        wanted.map(|version| format!("; Istio {} was built for {version}", request.version)).unwrap_or_default();
    match (&facts.gateway_api, &request.gateway_api) {
        (None, None) => {
            let message = format!(
                "the CRDs of the Gateway API are not installed: its Gateways and waypoints are not available{made_for}"
            );
            Some(Finding::new(Severity::Info, "gateway-api", message))
        }
        (Some(there), None) if wanted.is_some_and(|wanted| wanted != there) => {
            let message = format!("the CRDs of the Gateway API are of version {there}{made_for}");
            Some(Finding::new(Severity::Info, "gateway-api", message))
        }
        _ => None,
    }
}

/// Gateways are injected, so their namespaces must not refuse that.
async fn gateway_namespaces(cluster: &Cluster, request: &Request) -> Result<Vec<Finding>, Error> {
    let own = std::iter::once(request.namespace.as_str());
    let named = request.gateways.iter().flatten().filter_map(|gateway| gateway.namespace.as_deref());
    let by_profile = request.profile.in_mode(request.mode).is_some_and(|profile| {
        let components = profile.components();
        components.ingress || components.egress
    });
    let has_gateways = request.gateways.as_ref().map_or(by_profile, |gateways| !gateways.is_empty());
    let mut found = Vec::new();
    for name in own.chain(named).filter(|_| has_gateways).collect::<std::collections::BTreeSet<_>>() {
        let object = ObjectRef::new("v1", "Namespace", None, name);
        let labels = usage::labels(&cluster.get(&object).await?.unwrap_or(Value::Null));
        if labels.get(membership::INJECTION).is_some_and(|value| value == "disabled") {
            let message = format!("namespace {name} has istio-injection=disabled, so a gateway in it gets no proxy");
            found.push(Finding::new(Severity::Error, "gateway-namespace", message));
        }
    }
    Ok(found)
}
