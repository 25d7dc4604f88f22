//! Loki as one process with its data on the pod's own disk.

use serde_json::json;

use super::model::{Addon, Choices, Service};

pub const LOKI: Addon = Addon {
    name: "loki",
    version: "3.6.5",
    image: "docker.io/grafana/loki:3.6.5",
    user: 10001,
    command: &[],
    args: &["-config.file=/etc/loki/config.yaml", "-target=all"],
    env: &[],
    files,
    scratch: &["/loki", "/tmp"],
    reads: &[],
    services: &[Service { name: "loki", ports: &[("http", 3100, 3100), ("grpc", 9095, 9095)] }],
    probe: (3100, "/ready"),
    page: "",
    health: "/ready",
    metrics: true,
    cpu: 50,
    memory: 256,
};

fn files(_: Choices<'_>) -> Vec<(&'static str, String)> {
    let configuration = json!({
        "auth_enabled": false,
        "analytics": {"reporting_enabled": false},
        "server": {"http_listen_port": 3100, "grpc_listen_port": 9095},
        "common": {
            "path_prefix": "/loki",
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}},
            "storage": {"filesystem": {"chunks_directory": "/loki/chunks", "rules_directory": "/loki/rules"}},
        },
        "schema_config": {"configs": [{
            "from": "2024-04-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
            "index": {"prefix": "index_", "period": "24h"},
        }]},
    });
    vec![("/etc/loki/config.yaml", configuration.to_string())]
}
