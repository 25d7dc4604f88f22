//! Grafana with Prometheus and Loki as its sources, and one dashboard of our own. Anonymous users have the
//! role Viewer and logins are disabled, so it has no password.

use serde_json::{Value, json};

use super::model::{Addon, Choices, Service};

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
    let sources = [
        source("Prometheus", "prometheus", super::prometheus::asked(choices), true),
        source("Loki", "loki", super::loki::LOKI.url(choices.namespace), false),
    ];
    let folder = json!({"path": "/etc/grafana/dashboards"});
    let provider = json!({"name": "istio", "folder": "Istio", "type": "file", "options": folder});
    vec![
        (
            "/etc/grafana/provisioning/datasources/datasources.yaml",
            json!({"apiVersion": 1, "datasources": sources}).to_string(),
        ),
        (
            "/etc/grafana/provisioning/dashboards/providers.yaml",
            json!({"apiVersion": 1, "providers": [provider]}).to_string(),
        ),
        ("/etc/grafana/dashboards/mesh.json", mesh().to_string()),
    ]
}

/// Requests, errors, latency, versions: what one looks at first.
fn mesh() -> Value {
    let by = "by (destination_service)";
    // Proxies at both ends count a request; among these it is once.
    let reporter = r#"reporter=~"source|waypoint""#;
    let rate = |codes: &str| format!("sum(rate(istio_requests_total{{{reporter}{codes}}}[1m])) {by}");
    let all = rate("");
    // A service without errors has no such series, and is to be seen all the same.
    let errors = format!(r"({} or 0 * {all}) / {all}", rate(r#",response_code=~"5..""#));
    let panels = [
        ("Requests a second", "reqps", all),
        ("Share of errors", "percentunit", errors),
        (
            "Latency, 99 of 100 requests",
            "ms",
            format!(
                "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{{{reporter}}}[1m])) by (le, destination_service))"
            ),
        ),
        ("Versions in use", "short", "sum(istio_build) by (component, tag)".to_owned()),
        ("Proxies connected to istiod", "short", "sum(pilot_xds)".to_owned()),
        ("Configuration that proxies refused", "short", "sum(pilot_total_xds_rejects) by (type)".to_owned()),
    ];
    let panels: Vec<_> = (0_u8..)
        .zip(panels)
        .map(|(index, (title, unit, query))| {
            let place = json!({"x": index % 2 * 12, "y": index / 2 * 8, "w": 12, "h": 8});
            json!({
                "id": index + 1, "type": "timeseries", "title": title, "gridPos": place,
                "datasource": {"type": "prometheus", "uid": "prometheus"},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [{"refId": "A", "expr": query}],
            })
        })
        .collect();
    json!({
        "uid": "sailhand-mesh", "title": "Mesh", "schemaVersion": 39, "refresh": "15s",
        "annotations": {"list": []}, "templating": {"list": []}, // Grafana's schema wants them
        "time": {"from": "now-15m", "to": "now"}, "panels": panels,
    })
}
