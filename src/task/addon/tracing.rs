//! Jaeger and Zipkin: traces, stored in memory. Both have the Services `tracing` and `zipkin`, by which proxies and Kiali
//! know either; so a namespace has one of them.

use serde_json::json;

use super::model::{Addon, Choices, Service};

pub const JAEGER: Addon = Addon {
    name: "jaeger",
    version: "2.14.0",
    image: "docker.io/jaegertracing/jaeger:2.14.0",
    user: 10001,
    command: &[],
    args: &["--config", "/etc/jaeger/config.yaml"],
    env: &[],
    files: jaeger,
    scratch: &["/tmp"],
    reads: &[],
    services: &[
        Service { name: "tracing", ports: &[("http-query", 80, 16686), ("grpc-query", 16685, 16685)] },
        Service { name: "zipkin", ports: &[("http-zipkin", 9411, 9411)] },
        Service {
            name: "jaeger-collector",
            ports: &[
                ("http-jaeger", 14268, 14268),
                ("grpc-jaeger", 14250, 14250),
                ("http-zipkin", 9411, 9411),
                ("grpc-otel", 4317, 4317),
                ("http-otel", 4318, 4318),
            ],
        },
    ],
    probe: (13133, "/status"),
    page: "/jaeger",
    health: "/jaeger/",
    metrics: false,
    cpu: 20,
    memory: 256,
};

/// The collector's own configuration language: receivers, one exporter to what the query service reads.
fn jaeger(_: Choices<'_>) -> Vec<(&'static str, String)> {
    let at = |port: u16| json!({"endpoint": format!("0.0.0.0:{port}")});
    let configuration = json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
            "pipelines": {"traces": {
                "receivers": ["otlp", "jaeger", "zipkin"],
                "processors": ["batch"],
                "exporters": ["jaeger_storage_exporter"],
            }},
        },
        "extensions": {
            "healthcheckv2": {"use_v2": true, "http": at(13133)},
            "jaeger_query": {"base_path": "/jaeger", "http": at(16686), "grpc": at(16685), "storage": {"traces": "memory"}},
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 50_000}}}},
        },
        "receivers": {
            "otlp": {"protocols": {"grpc": at(4317), "http": at(4318)}},
            "jaeger": {"protocols": {"grpc": at(14250), "thrift_http": at(14268)}},
            "zipkin": at(9411),
        },
        "processors": {"batch": {}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    });
    vec![("/etc/jaeger/config.yaml", configuration.to_string())]
}

pub const ZIPKIN: Addon = Addon {
    name: "zipkin",
    version: "3.4.0",
    image: "docker.io/openzipkin/zipkin-slim:3.4.0",
    user: 1000,
    command: &[],
    args: &[],
    env: &[("STORAGE_TYPE", "mem")],
    files: |_| Vec::new(),
    scratch: &["/tmp"],
    reads: &[],
    services: &[
        Service { name: "zipkin", ports: &[("http-zipkin", 9411, 9411)] },
        Service { name: "tracing", ports: &[("http-query", 80, 9411)] },
    ],
    probe: (9411, "/health"),
    page: "",
    health: "/health",
    metrics: false,
    cpu: 20,
    memory: 256,
};
