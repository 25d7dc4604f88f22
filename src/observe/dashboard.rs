//! Grafana dashboards of a mesh, as JSON of Grafana's classic dashboard model. Pure: names and labels in, JSON out.
//!
//! Panels select the data source by the variable `datasource`, take rates over `$__rate_interval`, and count a request
//! once, whichever proxies report it; see [`queries`]. They therefore work with sidecars, gateways, waypoints (also of another
//! namespace), ztunnel, and services outside the mesh.

mod boards;
pub mod queries;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::promql::escaped;

/// Tag of each dashboard.
pub const TAG: &str = "sailhand";

/// One of the dashboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DashboardName {
    /// Requests, errors, latency and TCP of all services, and the versions in use.
    Mesh,
    /// One service: who calls it, its versions, response codes, latency.
    Service,
    /// One workload: inbound and outbound traffic.
    Workload,
    /// istiod: pushes, convergence, rejects, certificates.
    ControlPlane,
    /// ztunnel and waypoints.
    Ambient,
}

impl DashboardName {
    /// All dashboards.
    pub const ALL: [Self; 5] = [Self::Mesh, Self::Service, Self::Workload, Self::ControlPlane, Self::Ambient];

    /// Lowercase, as in commands, file names and uids.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Service => "service",
            Self::Workload => "workload",
            Self::ControlPlane => "control-plane",
            Self::Ambient => "ambient",
        }
    }

    /// Title in Grafana.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mesh => "Istio / Mesh",
            Self::Service => "Istio / Service",
            Self::Workload => "Istio / Workload",
            Self::ControlPlane => "Istio / Control plane",
            Self::Ambient => "Istio / Ambient",
        }
    }
}

/// Uid, data source and scope of one dashboard.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The dashboard's uid, at most 40 characters.
    pub uid: &'a str,
    /// Uid of the data source that is selected first; Grafana's default Prometheus data source when absent.
    pub data_source: Option<&'a str>,
    /// Labels that every selector gets, such as `{"cluster": "prod-1"}`.
    pub scope: &'a BTreeMap<String, String>,
}

/// One panel: a time series.
struct Panel {
    title: &'static str,
    /// Grafana's name of the unit.
    unit: &'static str,
    /// Legend and query of each line.
    lines: Vec<(&'static str, String)>,
}

impl Panel {
    fn new(title: &'static str, unit: &'static str, lines: impl Into<Vec<(&'static str, String)>>) -> Self {
        Self { title, unit, lines: lines.into() }
    }
}

/// A variable whose values are those of a label.
struct Variable {
    name: &'static str,
    label: &'static str,
    /// `query_result(…)`: Grafana takes the values from the text of the result.
    query: String,
}

/// A dashboard.
#[must_use]
pub fn dashboard(name: DashboardName, settings: Settings<'_>) -> Value {
    let scope = scope_matchers(settings.scope);
    let (variables, panels) = boards::content(name, &scope);
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let mut list = vec![source_variable(settings.data_source)];
    list.extend(variables.into_iter().map(|variable| {
        json!({
            "name": variable.name, "label": variable.name, "type": "query", "datasource": source, "hide": 0,
            "query": {"query": variable.query, "refId": variable.name}, "definition": variable.query,
            "refresh": 2, "sort": 1, "regex": format!("/{}=\"([^\"]+)\"/", variable.label), "multi": false, "includeAll": false, "options": [],
        })
    }));
    let panels: Vec<Value> = (0_u32..).zip(panels).map(|(index, panel)| panel_json(index, &panel, &source)).collect();
    json!({
        "uid": settings.uid, "title": name.title(), "tags": ["istio", TAG], "schemaVersion": 39, "refresh": "30s",
        "editable": true, "timezone": "browser", "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []}, "templating": {"list": list}, "panels": panels,
    })
}

fn source_variable(uid: Option<&str>) -> Value {
    let mut variable = json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
        "refresh": 1, "regex": "", "multi": false, "includeAll": false, "options": [],
    });
    if let Some(uid) = uid {
        variable["current"] = json!({"selected": true, "text": uid, "value": uid});
    }
    variable
}

fn panel_json(index: u32, panel: &Panel, source: &Value) -> Value {
    let targets = panel.lines.iter().zip('A'..='Z').map(|((legend, query), reference)| {
        json!({"refId": reference, "expr": query, "legendFormat": legend, "range": true, "datasource": source})
    });
    json!({
        "id": index + 1, "type": "timeseries", "title": panel.title, "datasource": source,
        "gridPos": {"x": index % 2 * 12, "y": index / 2 * 8, "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": targets.collect::<Vec<_>>(),
    })
}

/// `,cluster="prod-1"` for each label of the scope, to follow other matchers.
fn scope_matchers(scope: &BTreeMap<String, String>) -> String {
    let matchers: Vec<String> = scope.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value))).collect();
    matchers.concat()
}

/// The queries of a dashboard, for comparing and for tests: title of the panel and query.
#[must_use]
pub fn queries_of(dashboard: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    panels
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            targets.map(|target| (text(&panel["title"]), text(&target["expr"])))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: DashboardName, scope: &BTreeMap<String, String>) -> Value {
        dashboard(name, Settings { uid: "u", data_source: Some("source"), scope })
    }

    #[test]
    fn panels_use_the_rate_interval_and_the_chosen_data_source() {
        for name in DashboardName::ALL {
            let board = made(name, &BTreeMap::new());
            assert_eq!(board["templating"]["list"][0]["current"]["value"], "source");
            let queries = queries_of(&board);
            assert!(queries.len() >= 6, "{name:?}");
            for (title, query) in queries {
                // `[1h]` is for pushes, which are rare.
                let mut windows = query.split(&['}', ')']).filter_map(|part| part.strip_prefix('['));
                assert!(windows.all(|part| part == "$__rate_interval]" || part == "1h]"), "{name:?} {title}: {query}");
            }
            for panel in board["panels"].as_array().unwrap() {
                assert_eq!(panel["datasource"]["uid"], "${datasource}");
            }
        }
    }

    #[test]
    fn the_scope_is_in_every_selector() {
        let scope = BTreeMap::from([("cluster".to_owned(), "a\"b".to_owned())]);
        for name in DashboardName::ALL {
            let board = made(name, &scope);
            for (title, query) in queries_of(&board) {
                assert_eq!(query.matches('{').count(), query.matches(r#"cluster="a\"b""#).count(), "{title}: {query}");
            }
            for variable in board["templating"]["list"].as_array().unwrap().iter().skip(1) {
                assert!(variable["definition"].as_str().unwrap().contains(r#"cluster="a\"b""#), "{variable}");
            }
        }
    }
}
