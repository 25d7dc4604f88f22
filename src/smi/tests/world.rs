//! Builds snapshots from JSON objects as a cluster would hold them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{
    Existing, IstioKind, IstioObject, Namespace, Object, Reason, Service, Settings, Snapshot, Translation, Workload,
    translate,
};

/// Sorts objects by their kinds. Unknown kinds are a mistake of the test.
pub fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let mut world = Snapshot::default();
    for object in objects {
        match object["kind"].as_str().unwrap() {
            "TrafficTarget" => world.traffic_targets.push(Arc::new(Object::read(&object))),
            "HTTPRouteGroup" => world.http_route_groups.push(Arc::new(Object::read(&object))),
            "TCPRoute" => world.tcp_routes.push(Arc::new(Object::read(&object))),
            "UDPRoute" => world.udp_routes.push(Arc::new(Object::read(&object))),
            "TrafficSplit" => world.traffic_splits.push(Arc::new(Object::read(&object))),
            "Namespace" => world.namespaces.extend(Namespace::read(&object).map(Arc::new)),
            "Pod" => world.workloads.extend(Workload::of_pod(&object).map(Arc::new)),
            "Deployment" => world.workloads.extend(Workload::of_template("Deployment", &object).map(Arc::new)),
            "Service" => world.services.extend(Service::read(&object).map(Arc::new)),
            kind => {
                let kind = IstioKind::ALL.into_iter().find(|one| one.name() == kind).expect(kind);
                world.existing.extend(Existing::read(kind, &object).map(Arc::new));
            }
        }
    }
    world
}

pub fn translated(objects: impl IntoIterator<Item = Value>) -> Translation {
    translate(&snapshot(objects), &Settings::default())
}

/// `<source> <reason>: <message>` of each report.
pub fn reports(translation: &Translation) -> Vec<String> {
    let line = |one: &super::super::Report| format!("{} {}: {}", one.source, one.reason.as_str(), one.message);
    translation.reports.iter().map(line).collect()
}

pub fn refused(translation: &Translation) -> usize {
    translation.reports.iter().filter(|one| one.reason == Reason::Refused).count()
}

pub fn specs(translation: &Translation) -> Vec<Value> {
    translation.objects.iter().map(|object: &IstioObject| object.spec.clone()).collect()
}

pub fn namespace(name: &str, labels: Value) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

pub fn pod(namespace: &str, name: &str, account: &str, labels: Value) -> Value {
    json!({
        "kind": "Pod", "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"serviceAccountName": account},
    })
}

pub fn service(namespace: &str, name: &str, ports: Value) -> Value {
    json!({
        "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    })
}

pub fn group(namespace: &str, name: &str, matches: Value) -> Value {
    json!({"kind": "HTTPRouteGroup", "metadata": {"namespace": namespace, "name": name}, "spec": {"matches": matches}})
}

pub fn tcp(namespace: &str, name: &str, ports: Value) -> Value {
    json!({"kind": "TCPRoute", "metadata": {"namespace": namespace, "name": name}, "spec": {"matches": {"ports": ports}}})
}

/// Destination and source are `ServiceAccount`s of the same namespace.
pub fn target(namespace: &str, name: &str, from: &str, to: &str, rules: Value) -> Value {
    json!({
        "kind": "TrafficTarget", "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}")},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": to},
            "sources": [{"kind": "ServiceAccount", "name": from}],
            "rules": rules,
        },
    })
}

pub fn split(namespace: &str, name: &str, root: &str, backends: &[(&str, u32)]) -> Value {
    let backends: Vec<_> = backends.iter().map(|(name, weight)| json!({"service": name, "weight": weight})).collect();
    json!({
        "kind": "TrafficSplit", "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}")},
        "spec": {"service": root, "backends": backends},
    })
}
