//! Grafana with Prometheus and Loki as its data sources, and the dashboards of [`crate::observe::dashboard`]. Everyone
//! may view and no one can log in, so there is no password.

use std::collections::BTreeMap;

use serde_json::json;

use super::model::{Addon, Choices, Service};
use crate::observe::dashboard::{DashboardName, Settings, dashboard};

/// Uid of the Prometheus data source.
const SOURCE: &str = "prometheus";

pub const GRAFANA: Addon = Addon {
    name: "grafana",
    version: "12.0.1",
    image: "docker.io/grafana/grafana:12.0.1",
    user: 472,
    command: &[],
    args: &[],
    env: &[
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        ("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", "/etc/grafana/dashboards/mesh.json"),
    ],
    files,
    scratch: &["/var/lib/grafana", "/tmp"],
    reads: &[],
    services: &[Service { name: "grafana", ports: &[("http", 3000, 3000)] }],
    probe: (3000, "/api/health"),
    page: "",
    health: "/api/health",
    metrics: false,
    cpu: 50,
    memory: 128,
};

fn files(choices: Choices<'_>) -> Vec<(&'static str, String)> {
    let source = |name: &str, kind: &str, url: String, default: bool| json!({"name": name, "uid": kind, "type": kind, "access": "proxy", "url": url, "isDefault": default});
    let mut prometheus = source("Prometheus", SOURCE, super::prometheus::asked(choices), true);
    if choices.prometheus.is_none() {
        // `$__rate_interval` is four of these; the interval of another Prometheus is not known.
        prometheus["jsonData"] = json!({"timeInterval": super::prometheus::SCRAPE_INTERVAL});
    }
    let sources = [prometheus, source("Loki", "loki", super::loki::LOKI.url(choices.namespace), false)];
    let folder = json!({"path": "/etc/grafana/dashboards"});
    let provider = json!({"name": "istio", "folder": "Istio", "type": "file", "options": folder});
    let mut files = vec![
        (
            "/etc/grafana/provisioning/datasources/datasources.yaml",
            json!({"apiVersion": 1, "datasources": sources}).to_string(),
        ),
        (
            "/etc/grafana/provisioning/dashboards/providers.yaml",
            json!({"apiVersion": 1, "providers": [provider]}).to_string(),
        ),
    ];
    files.extend(DashboardName::ALL.map(|name| {
        let uid = format!("sailhand-{}", name.as_str());
        let settings = Settings { uid: &uid, data_source: Some(SOURCE), scope: &BTreeMap::new() };
        (path(name), dashboard(name, settings).to_string())
    }));
    files
}

const fn path(name: DashboardName) -> &'static str {
    match name {
        DashboardName::Mesh => "/etc/grafana/dashboards/mesh.json",
        DashboardName::Service => "/etc/grafana/dashboards/service.json",
        DashboardName::Workload => "/etc/grafana/dashboards/workload.json",
        DashboardName::ControlPlane => "/etc/grafana/dashboards/control-plane.json",
        DashboardName::Ambient => "/etc/grafana/dashboards/ambient.json",
    }
}
