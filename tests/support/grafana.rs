//! A double of Grafana's HTTP API in memory: Grafana itself is under a license that the tests avoid. It refuses unknown
//! fields, fills and migrates dashboards as Grafana does, and has the faults that a test sets. Source of paths, fields and
//! status codes: the models of grafana-openapi-client-go and Grafana documentation, "HTTP API". What it cannot show is
//! how a real Grafana draws a dashboard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it has, and how it behaves.
#[derive(Default)]
pub struct Grafanas {
    pub folders: BTreeMap<String, Value>,
    pub sources: BTreeMap<String, Value>,
    /// `{dashboard, meta}` by uid.
    pub dashboards: BTreeMap<String, Value>,
    /// Method and path of each request but health calls.
    pub requests: Vec<String>,
    /// Headers `Authorization` that came.
    pub authorizations: Vec<String>,
    /// `Bearer` token of an editor; none lets everyone write.
    pub token: Option<String>,
    /// Whether everyone may only read.
    pub read_only: bool,
    /// Number of further writes that are executed and whose answer is lost.
    pub lose_answers: usize,
    /// Another user edits a dashboard just before so many writes.
    pub edits_between: usize,
}

/// A running double.
#[derive(Clone)]
pub struct Grafana {
    pub address: String,
    pub state: Arc<Mutex<Grafanas>>,
}

impl Grafana {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(Grafanas::default()));
        let app = Router::new().fallback(answer).with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, state }
    }

    /// Requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Those of them that write.
    pub fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|one| !one.starts_with("GET")).collect()
    }

    /// A user saves a dashboard again.
    pub fn edit(&self, uid: &str) {
        edit(&mut self.state.lock().unwrap(), uid);
    }
}

fn edit(state: &mut Grafanas, uid: &str) {
    let one = state.dashboards.get_mut(uid).unwrap();
    let version = one["meta"]["version"].as_i64().unwrap() + 1;
    one["meta"]["version"] = version.into();
    one["dashboard"]["version"] = version.into();
    one["meta"]["updatedBy"] = "ann".into();
    one["dashboard"]["panels"][0]["title"] = "ann's".into();
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "fields that the API knows")]
struct SaveDashboard {
    dashboard: Value,
    folder_uid: Option<String>,
    message: Option<String>,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "fields that the API knows")]
struct SaveSource {
    uid: Option<String>,
    name: String,
    r#type: String,
    access: String,
    url: Option<String>,
    basic_auth: Option<bool>,
    basic_auth_user: Option<String>,
    is_default: Option<bool>,
    json_data: Option<Value>,
    secure_json_data: Option<Value>,
    with_credentials: Option<bool>,
    version: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "fields that the API knows")]
struct SaveFolder {
    uid: Option<String>,
    title: String,
    parent_uid: Option<String>,
    description: Option<String>,
}

type Answer = (u16, Value);

fn message(status: u16, text: &str) -> Answer {
    (status, json!({"message": text}))
}

async fn answer(State(state): State<Arc<Mutex<Grafanas>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await.unwrap();
    let path = head.uri.path().to_owned();
    let authorization = head.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let mut state = state.lock().unwrap();
    let writes = head.method != Method::GET;
    let (status, value) = if path == "/api/health" {
        (200, json!({"database": "ok", "version": "12.0.1", "commit": "0"}))
    } else {
        state.requests.push(format!("{} {path}", head.method));
        state.authorizations.extend(authorization.clone());
        let allowed = state.token.as_ref().is_none_or(|token| authorization == Some(format!("Bearer {token}")));
        if !allowed {
            message(401, "Unauthorized")
        } else if writes && state.read_only {
            message(
                403,
                "You'll need additional permissions to perform this action. Permissions needed: dashboards:create",
            )
        } else {
            serve(&mut state, &head.method, &path, &body)
        }
    };
    let text = value.to_string();
    if writes && status == 200 && state.lose_answers > 0 {
        state.lose_answers -= 1;
        let broken = futures::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("connection lost"))]);
        return Response::new(Body::from_stream(broken));
    }
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(text))
        .unwrap()
}

fn serve(state: &mut Grafanas, method: &Method, path: &str, body: &[u8]) -> Answer {
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["search"]) => {
            (200, state.dashboards.keys().map(|uid| json!({"uid": uid, "type": "dash-db"})).collect())
        }
        ("GET", ["folders", uid]) => found(state.folders.get(*uid), "folder not found"),
        ("GET", ["folders", uid, "counts"]) => {
            let inside = state.dashboards.values().filter(|one| one["meta"]["folderUid"] == *uid).count();
            (200, json!({"dashboard": inside, "alertrule": 0, "librarypanel": 0, "folder": 0}))
        }
        ("POST", ["folders"]) => parsed::<SaveFolder>(body, |folder| {
            let uid = folder.uid.unwrap();
            if state.folders.contains_key(&uid) {
                return message(409, "a folder with the same name or uid already exists");
            }
            let value = json!({"uid": uid, "title": folder.title, "version": 1});
            state.folders.insert(uid, value.clone());
            (200, value)
        }),
        ("DELETE", ["folders", uid]) => {
            state.dashboards.retain(|_, one| one["meta"]["folderUid"] != **uid);
            removed(state.folders.remove(*uid), "folder not found")
        }
        ("GET", ["datasources", "uid", uid]) => found(state.sources.get(*uid), "Data source not found"),
        ("GET", ["datasources", "uid", _, "health"]) => {
            (200, json!({"status": "OK", "message": "Successfully queried the Prometheus API."}))
        }
        ("POST", ["datasources"]) => parsed::<SaveSource>(body, |source| {
            if state.sources.values().any(|one| one["name"] == source.name.as_str()) {
                return message(409, "data source with the same name already exists");
            }
            save_source(state, source, 1, body)
        }),
        ("PUT", ["datasources", "uid", uid]) => parsed::<SaveSource>(body, |source| {
            let Some(live) = state.sources.get(*uid) else { return message(404, "Data source not found") };
            if live["readOnly"] == true {
                return message(403, "Cannot update read-only data source");
            }
            let version = live["version"].as_i64().unwrap();
            if source.version != Some(version) {
                return message(
                    409,
                    "Datasource has already been updated by someone else. Please reload and try again",
                );
            }
            save_source(state, source, version + 1, body)
        }),
        ("DELETE", ["datasources", "uid", uid]) => removed(state.sources.remove(*uid), "Data source not found"),
        ("GET", ["dashboards", "uid", uid]) => found(state.dashboards.get(*uid), "Dashboard not found"),
        ("POST", ["dashboards", "db"]) => parsed::<SaveDashboard>(body, |command| save_dashboard(state, command)),
        ("DELETE", ["dashboards", "uid", uid]) => {
            if state.dashboards.get(*uid).is_some_and(|one| one["meta"]["provisioned"] == true) {
                return message(400, "provisioned dashboard cannot be deleted");
            }
            removed(state.dashboards.remove(*uid), "Dashboard not found")
        }
        _ => message(404, "Not found"),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8], then: impl FnOnce(T) -> Answer) -> Answer {
    match serde_json::from_slice(body) {
        Ok(command) => then(command),
        Err(error) => message(400, &format!("bad request data: {error}")),
    }
}

fn found(value: Option<&Value>, missing: &str) -> Answer {
    value.map_or_else(|| message(404, missing), |value| (200, value.clone()))
}

fn removed(value: Option<Value>, missing: &str) -> Answer {
    value.map_or_else(|| message(404, missing), |_| message(200, "deleted"))
}

fn save_source(state: &mut Grafanas, source: SaveSource, version: i64, body: &[u8]) -> Answer {
    let mut value: Value = serde_json::from_slice(body).unwrap();
    value["version"] = version.into();
    value["readOnly"] = false.into();
    value["secureJsonFields"] = json!({});
    state.sources.insert(source.uid.unwrap(), value.clone());
    (200, json!({"datasource": value, "message": "Datasource saved", "name": source.name, "id": 1}))
}

fn save_dashboard(state: &mut Grafanas, command: SaveDashboard) -> Answer {
    let mut dashboard = command.dashboard;
    let uid = dashboard["uid"].as_str().unwrap_or_default().to_owned();
    if uid.is_empty() || uid.len() > 40 || command.message.is_some_and(|text| text.len() > 500) {
        return message(400, "uid or message too long");
    }
    let folder = command.folder_uid.unwrap_or_default();
    if !folder.is_empty() && !state.folders.contains_key(&folder) {
        return message(400, "folder not found");
    }
    if state.edits_between > 0 && state.dashboards.contains_key(&uid) {
        state.edits_between -= 1;
        edit(state, &uid);
    }
    let mut version = 1;
    if let Some(live) = state.dashboards.get(&uid) {
        if live["meta"]["provisioned"] == true {
            return message(400, "Cannot save provisioned dashboard");
        }
        let live = live["meta"]["version"].as_i64().unwrap();
        if dashboard["version"] != live && !command.overwrite {
            let text = "The dashboard has been changed by someone else";
            return (412, json!({"status": "version-mismatch", "message": text}));
        }
        version = live + 1;
    }
    // As Grafana: it fills what is missing and migrates the schema.
    dashboard["id"] = 7.into();
    dashboard["version"] = version.into();
    dashboard["schemaVersion"] = 41.into();
    dashboard["graphTooltip"] = 0.into();
    for panel in dashboard["panels"].as_array_mut().into_iter().flatten() {
        panel["pluginVersion"] = "12.0.1".into();
    }
    let meta = json!({"version": version, "folderUid": folder, "provisioned": false, "updatedBy": "sailhand", "updated": "2026-11-28T16:00:00Z"});
    state.dashboards.insert(uid.clone(), json!({"dashboard": dashboard, "meta": meta}));
    (
        200,
        json!({"uid": uid, "id": 7, "url": format!("/d/{uid}"), "status": "success", "version": version, "slug": "x"}),
    )
}
