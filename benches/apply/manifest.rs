//! A manifest like those of a mid-sized installation, the same for each run but for its namespaces.

use std::fmt::Write as _;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Themselves objects of the manifest.
pub const NAMESPACES: usize = 10;

/// `objects` objects in all, each with the release as a label, so that another release changes all of them. Deployments have
/// no replicas: pods would keep the API server busy during the next run.
pub fn text(prefix: &str, objects: usize, release: u32) -> String {
    let mut random = SmallRng::seed_from_u64(500);
    let mut text = String::new();
    for n in 0..objects {
        let object = if n < NAMESPACES {
            let labels = json!({ "release": release.to_string() });
            let metadata = json!({ "name": format!("{prefix}-{n}"), "labels": labels });
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
        } else {
            let mut object = object(&mut random, &format!("{prefix}-{}", n % NAMESPACES), &format!("part-{n}"));
            object["metadata"]["labels"]["release"] = json!(release.to_string());
            object
        };
        text.push_str("---\n");
        // Flow style below the top: JSON is YAML.
        for (field, value) in object.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{field}: {value}");
        }
    }
    text
}

fn object(random: &mut SmallRng, namespace: &str, name: &str) -> Value {
    let labels = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bench", "tier": "backend" });
    let metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
    match random.random_range(0..100) {
        0..35 => {
            let keys = random.random_range(1..12);
            let data: Value =
                (0..keys).map(|key| (format!("key-{key}"), "value ".repeat(random.random_range(1..20)))).collect();
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
        }
        35..60 => json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app.kubernetes.io/name": name } },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container(random)] } },
            },
        }),
        60..80 => json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {
                "selector": { "app.kubernetes.io/name": name },
                "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }, { "name": "grpc", "port": 9090 }],
            },
        }),
        80..90 => json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
        _ => json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch"] }],
        }),
    }
}

fn container(random: &mut SmallRng) -> Value {
    let memory = random.random_range(1..8) * 64;
    json!({
        "name": "app",
        "image": format!("registry.example/app:{}", random.random_range(1..50)),
        "ports": [{ "name": "http", "containerPort": 8080 }, { "name": "grpc", "containerPort": 9090 }],
        "env": [{ "name": "LEVEL", "value": "info" }, { "name": "SHARD", "value": random.random_range(0..9).to_string() }],
        "resources": {
            "requests": { "cpu": "100m", "memory": format!("{memory}Mi") },
            "limits": { "memory": format!("{}Mi", memory * 2) },
        },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 5 },
    })
}
