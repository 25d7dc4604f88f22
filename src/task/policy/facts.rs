//! Reads the objects of the cluster that a policy affects or depends on.

use serde_json::Value;

use super::desired::Policy;
use super::params::Of;
use crate::analysis::istio::pod::{has_ended, is_gateway, is_redirected, is_waypoint};
use crate::cluster::{self, Cluster};
use crate::task::istio_api::{NETWORKING, SECURITY, newest};
use crate::task::pods;

/// Objects in reach of a policy.
#[derive(Debug, Default)]
pub struct Facts {
    pub pods: Vec<Pod>,
    /// `PeerAuthentication`s that are not the policy itself.
    pub mtls: Vec<Value>,
    /// `AuthorizationPolicy`s that are not the policy itself.
    pub access: Vec<Value>,
    /// `DestinationRule`s of all namespaces.
    pub rules: Vec<Value>,
    pub services: Vec<Value>,
}

/// The part of a pod that policies depend on.
#[derive(Debug)]
pub struct Pod {
    pub name: String,
    pub namespace: String,
    pub labels: Value,
    pub proxy: bool,
    /// It has no proxy of its own: ztunnel stands before it.
    pub ambient: bool,
    /// It is a gateway, which clients from outside come to.
    pub gateway: bool,
    /// The kubelet's HTTP probes go past the proxy, as they do unless an annotation says otherwise.
    pub probes_pass: bool,
}

impl Pod {
    fn of(pod: &Value) -> Option<Self> {
        if has_ended(pod) {
            return None;
        }
        let metadata = &pod["metadata"];
        let probe = "sidecar.istio.io/rewriteAppHTTPProbers";
        Some(Self {
            name: metadata["name"].as_str()?.to_owned(),
            namespace: metadata["namespace"].as_str()?.to_owned(),
            labels: metadata["labels"].clone(),
            proxy: pods::has_proxy(pod),
            ambient: is_redirected(pod),
            gateway: is_gateway(pod) && !is_waypoint(pod),
            probes_pass: metadata["annotations"][probe] != "false",
        })
    }
}

/// Reads what is in reach of the policy: its namespace, or for the mesh all of them.
///
/// # Errors
/// When the cluster does not answer.
pub async fn read(cluster: &Cluster, policy: &Policy) -> Result<Facts, cluster::Error> {
    let place = (policy.scope.of != Of::Mesh).then(|| policy.namespace.as_str());
    let mut facts = Facts::default();
    if let Some(kind) = cluster.kind("v1", "Pod").await? {
        cluster.list(&kind, place, None, |pod| facts.pods.extend(Pod::of(&pod))).await?;
    }
    if let Some(kind) = cluster.kind("v1", "Service").await? {
        cluster.list(&kind, place, None, |service| facts.services.push(service)).await?;
    }
    let itself = |live: &Value, kind| {
        policy.kind == kind
            && live["metadata"]["name"] == policy.name.as_str()
            && live["metadata"]["namespace"] == policy.namespace.as_str()
    };
    for (versions, name, own, into) in [
        (&SECURITY[..], "PeerAuthentication", Some(super::params::Kind::Mtls), &mut facts.mtls),
        (&SECURITY[..], "AuthorizationPolicy", Some(super::params::Kind::Access), &mut facts.access),
        (&NETWORKING[..], "DestinationRule", None, &mut facts.rules),
    ] {
        let Some(version) = newest(cluster, versions, &[name]).await? else { continue };
        let Some(kind) = cluster.kind(version, name).await? else { continue };
        let place = place.filter(|_| own.is_some());
        cluster
            .list(&kind, place, None, |live| {
                if own.is_none_or(|own| !itself(&live, own)) {
                    into.push(live);
                }
            })
            .await?;
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Before: only pods with the injection template, or of istiod's gateway controller, were gateways.
    #[test]
    fn gateways_get_requests_from_outside_and_waypoints_do_not() {
        let gateway = |labels: Value| {
            let pod = json!({"metadata": {"name": "edge", "namespace": "shop", "labels": labels}});
            Pod::of(&pod).unwrap().gateway
        };
        assert!(gateway(json!({"istio": "ingressgateway"})));
        assert!(gateway(json!({"gateway.networking.k8s.io/gateway-name": "edge"})));
        let of = |controller| json!({"gateway.networking.k8s.io/gateway-name": "edge", "gateway.istio.io/managed": controller});
        assert!(gateway(of("istio.io-gateway-controller")));
        assert!(!gateway(of("istio.io-mesh-controller")), "a waypoint");
        assert!(!gateway(json!({"app": "edge"})));
    }
}
