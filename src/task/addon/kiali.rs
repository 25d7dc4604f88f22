//! Kiali, for looking only: it may read, and writes nothing.

use serde_json::json;

use super::model::{Addon, Choices, Service};

pub const KIALI: Addon = Addon {
    name: "kiali",
    version: "v2.26",
    image: "quay.io/kiali/kiali:v2.26",
    user: 1000,
    command: &["/opt/kiali/kiali"],
    args: &["-config", "/kiali-configuration/config.yaml"],
    env: &[],
    files,
    scratch: &["/tmp"],
    reads: &[
        (&[""], &["configmaps", "endpoints", "namespaces", "pods", "pods/log", "replicationcontrollers", "services"]),
        (&["apps"], &["daemonsets", "deployments", "replicasets", "statefulsets"]),
        (&["batch"], &["cronjobs", "jobs"]),
        (
            &[
                "networking.istio.io",
                "security.istio.io",
                "extensions.istio.io",
                "telemetry.istio.io",
                "gateway.networking.k8s.io",
                "inference.networking.k8s.io",
            ],
            &["*"],
        ),
        (&["admissionregistration.k8s.io"], &["mutatingwebhookconfigurations"]),
    ],
    services: &[Service { name: "kiali", ports: &[("http", 20001, 20001), ("http-metrics", 9090, 9090)] }],
    probe: (20001, "/kiali/healthz"),
    page: "/kiali",
    health: "/kiali/healthz",
    metrics: false,
    cpu: 10,
    memory: 256,
};

fn files(choices: Choices<'_>) -> Vec<(&'static str, String)> {
    let namespace = choices.namespace;
    let configuration = json!({
        "auth": {"strategy": "anonymous"},
        "deployment": {"cluster_wide_access": true, "namespace": namespace, "view_only_mode": true},
        "external_services": {
            // Asking istiod takes the right to reach into every pod. So no proxy's state, and no validations.
            "istio": {"istio_api_enabled": false},
            "prometheus": {"url": super::prometheus::asked(choices)},
            "grafana": {"enabled": true, "internal_url": super::grafana::GRAFANA.url(namespace)},
            "tracing": {"enabled": true, "internal_url": super::tracing::JAEGER.url(namespace), "use_grpc": false},
        },
        "server": {"port": 20001, "web_root": "/kiali"},
    });
    vec![("/kiali-configuration/config.yaml", configuration.to_string())]
}
