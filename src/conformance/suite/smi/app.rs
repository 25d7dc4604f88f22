//! Workloads of the SMI suite: the echo server of Istio as app-a to app-d, each under a service account of its own.

use serde_json::{Value, json};

use super::super::{Group, NAMESPACE, SECOND, THIRD};
use super::{PORT, SECOND_PORT};

/// Placeholder of the image; a run replaces it.
pub(in crate::conformance::suite) const IMAGE: &str = "$image";

/// Groups run at the same time; the cases of one run one after the other.
pub(super) fn groups() -> Vec<Group> {
    let callers = |namespace| workload(namespace, "app-a", "service-a", &[("app", "app-a")], &[PORT]);
    let access = || {
        [
            callers(NAMESPACE),
            workload(NAMESPACE, "app-b", "service-b", &[("app", "app-b")], &[PORT, SECOND_PORT]),
            service(NAMESPACE, "app-b", &[("app", "app-b")], &[PORT, SECOND_PORT]),
            workload(NAMESPACE, "app-c", "service-c", &[("app", "app-c")], &[PORT]),
            workload(NAMESPACE, "app-d", "service-d", &[("app", "app-d")], &[PORT]),
        ]
        .concat()
    };
    let sources = [
        workload(NAMESPACE, "app-b", "service-b", &[("app", "app-b")], &[PORT]),
        service(NAMESPACE, "app-b", &[("app", "app-b")], &[PORT]),
        callers(SECOND),
        callers(THIRD),
    ];
    let routes = [
        callers(NAMESPACE),
        workload(NAMESPACE, "app-b", "service-b", &[("app", "app-b")], &[PORT]),
        service(NAMESPACE, "app-b", &[("app", "app-b")], &[PORT]),
    ];
    vec![
        group("access", false, 1, access()),
        group("sources", false, 3, sources.concat()),
        group("routes", true, 1, routes.concat()),
        group("split", true, 1, split()),
    ]
}

/// Its cases configure one Service, one after the other.
const fn group(name: &'static str, is_http: bool, namespaces: usize, app: Vec<Value>) -> Group {
    Group { name, is_independent: false, is_http, namespaces, app }
}

/// The root Service app-svc selects app-b, app-c and app-d. app-e serves another port only.
fn split() -> Vec<Value> {
    let backend = |name: &'static str, port| {
        let labels = [("app", "app"), ("version", &name[4..])];
        [workload(NAMESPACE, name, "default", &labels, &[port]), service(NAMESPACE, name, &labels, &[port])].concat()
    };
    [
        workload(NAMESPACE, "app-a", "default", &[("app", "app-a")], &[PORT]),
        backend("app-b", PORT),
        backend("app-c", PORT),
        [
            workload(NAMESPACE, "app-e", "default", &[("app", "app-e")], &[SECOND_PORT]),
            service(NAMESPACE, "app-e", &[("app", "app-e")], &[SECOND_PORT]),
            service(NAMESPACE, "app-svc", &[("app", "app")], &[PORT]),
        ]
        .concat(),
    ]
    .concat()
}

/// A Deployment with one replica, and its service account unless that is `default`.
fn workload(namespace: &str, name: &str, account: &str, labels: &[(&str, &str)], ports: &[u16]) -> Vec<Value> {
    let args: Vec<_> = ports.iter().map(|port| format!("--port={port}")).collect();
    let container_ports: Vec<_> = ports.iter().map(|port| json!({"containerPort": port})).collect();
    let mut objects = Vec::new();
    if account != "default" {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace},
        }));
    }
    objects.push(deployment(namespace, name, account, labels, &json!(args), &json!(container_ports)));
    objects
}

/// The echo server with these arguments. Up to sixteen clients run in its container at once, and need most of the memory.
pub(in crate::conformance::suite) fn deployment(
    namespace: &str,
    name: &str,
    account: &str,
    labels: &[(&str, &str)],
    args: &Value,
    ports: &Value,
) -> Value {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": account,
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "echo", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": args, "ports": ports,
                    "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "512Mi"}},
                }],
            },
        }},
    })
}

/// A Service with HTTP ports.
fn service(namespace: &str, name: &str, labels: &[(&str, &str)], ports: &[u16]) -> Vec<Value> {
    let labels: serde_json::Map<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let ports: Vec<_> =
        ports.iter().map(|port| json!({"name": format!("http-{port}"), "port": port, "targetPort": port})).collect();
    vec![json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": labels, "ports": ports},
    })]
}
