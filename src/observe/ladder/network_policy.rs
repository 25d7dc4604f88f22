//! Whether `NetworkPolicy` objects admit a store to a port of a pod. Source: Kubernetes, `networking.k8s.io/v1`, `NetworkPolicySpec`.

use serde_json::Value;

use super::{Mesh, text};
use crate::analysis::istio::Json as _;
use crate::analysis::istio::selector::selects;
use crate::observe::scrape::selects_namespace_in;

/// The policies that select the pod for ingress, none of which admits the store. None where the pod is not isolated, a
/// policy admits the store, or the store's pods are not known. An `ipBlock` is taken to admit it.
pub(super) fn blocking(pod: &Value, port: u16, mesh: &Mesh) -> Option<String> {
    if mesh.store_pods.is_empty() {
        return None;
    }
    let isolates = |policy: &&Value| {
        let types = policy["spec"]["policyTypes"].as_array();
        policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
            && types.is_none_or(|types| types.iter().any(|one| one == "Ingress"))
            && selects(&policy["spec"]["podSelector"], &pod["metadata"]["labels"])
    };
    let policies: Vec<&Value> = mesh.network_policies.iter().filter(isolates).collect();
    if policies.is_empty() || policies.iter().any(|policy| admits(policy, pod, port, mesh)) {
        return None;
    }
    let places = policies.iter().map(|one| format!("NetworkPolicy {}/{}", text(one, "namespace"), text(one, "name")));
    Some(places.collect::<Vec<_>>().join(", "))
}

fn admits(policy: &Value, pod: &Value, port: u16, mesh: &Mesh) -> bool {
    policy["spec"]["ingress"].array().iter().any(|rule| {
        let (ports, from) = (rule["ports"].array(), rule["from"].array());
        (ports.is_empty() || ports.iter().any(|one| is_port(one, pod, port)))
            && (from.is_empty() || from.iter().any(|peer| is_store(peer, policy, mesh)))
    })
}

fn is_port(rule: &Value, pod: &Value, port: u16) -> bool {
    if rule["protocol"].as_str().is_some_and(|protocol| protocol != "TCP") {
        return false;
    }
    let port = u64::from(port);
    match (&rule["port"], rule["endPort"].as_u64()) {
        (Value::Null, _) => true,
        (Value::String(name), _) => ["containers", "initContainers"].iter().any(|list| {
            let ports = pod["spec"][list].array().iter().flat_map(|container| container["ports"].array());
            ports.into_iter().any(|one| one["name"] == name.as_str() && one["containerPort"] == port)
        }),
        (first, Some(last)) => first.as_u64().is_some_and(|first| (first..=last).contains(&port)),
        (only, None) => only.as_u64() == Some(port),
    }
}

fn is_store(peer: &Value, policy: &Value, mesh: &Mesh) -> bool {
    if !peer["ipBlock"].is_null() {
        return true;
    }
    mesh.store_pods.iter().any(|store| {
        let space = text(store, "namespace");
        let in_namespace = if peer["namespaceSelector"].is_null() {
            space == text(policy, "namespace")
        } else {
            selects_namespace_in(&mesh.namespaces, &peer["namespaceSelector"], space)
        };
        let pods = &peer["podSelector"];
        in_namespace && (pods.is_null() || selects(pods, &store["metadata"]["labels"]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn network_policies_match_kubernetes() {
        let pod = json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}},
            "spec": {"containers": [{"ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}]}});
        let store = json!({"metadata": {"namespace": "monitoring", "name": "p-0", "labels": {"app": "prometheus"}}});
        let space = json!({"metadata": {"name": "monitoring", "labels": {"team": "ops"}}});
        let blocked = |spec: Value| {
            let policy = json!({"metadata": {"namespace": "shop", "name": "default"}, "spec": spec});
            let mesh = Mesh {
                store_pods: vec![store.clone()],
                namespaces: vec![space.clone()],
                network_policies: vec![policy],
                ..Mesh::default()
            };
            blocking(&pod, 15090, &mesh).is_some()
        };
        let from = |peer: Value| json!({"podSelector": {}, "ingress": [{"from": [peer]}]});
        let ports = |port: Value| json!({"podSelector": {}, "ingress": [{"ports": [port]}]});
        for (spec, wanted) in [
            (json!({"podSelector": {}}), true),
            (json!({"podSelector": {}, "ingress": [{}]}), false),
            (json!({"podSelector": {}, "policyTypes": ["Egress"]}), false),
            (json!({"podSelector": {"matchLabels": {"app": "db"}}}), false),
            (from(json!({"podSelector": {}})), true),
            (from(json!({"namespaceSelector": {"matchLabels": {"team": "ops"}}})), false),
            (from(json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}})), false),
            (from(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "grafana"}}})), true),
            (from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}})), false),
            (ports(json!({"port": 15090})), false),
            (ports(json!({"port": 15000, "endPort": 15100})), false),
            (ports(json!({"port": "http-envoy-prom"})), false),
            (ports(json!({"port": 8080})), true),
            (ports(json!({"port": 15090, "protocol": "UDP"})), true),
        ] {
            assert_eq!(blocked(spec.clone()), wanted, "{spec}");
        }
    }
}
