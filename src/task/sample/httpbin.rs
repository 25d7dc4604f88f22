//! httpbin: one service that answers what it is asked. Facts from the Istio project's samples/httpbin.

use super::model::{Application, Component, Entry, PLAIN, Path, Port, Probe};

/// The application.
pub const HTTPBIN: Application = Application {
    name: "httpbin",
    version: "2.15.0",
    components: &[Component {
        name: "httpbin",
        versions: &["v1"],
        account: Some("httpbin"),
        port: Some(Port { name: "http", number: 8000, target: 8080 }),
        image: "docker.io/mccutchen/go-httpbin:v2.15.0",
        container: "httpbin",
        probe: Some(Probe::Http("/status/200")),
        cpu: 20,
        memory: 32,
        user: Some(1000),
        read_only: true,
        ..PLAIN
    }],
    entry: Entry {
        gateway: "httpbin-gateway",
        route: "httpbin",
        service: "httpbin",
        paths: &[Path::Prefix("/")],
        start: "/status/200",
    },
};
