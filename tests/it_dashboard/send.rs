//! The page Send: forms for all verbs, and what they send.

use std::fmt::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use sailhand::task::Registry;
use serde_json::{Map, Value, json};

use crate::http::{Dashboard, DashboardEnv};
use crate::support::http::Response;
use crate::support::worker::WorkerEnv;

type Pairs = Vec<(String, String)>;

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What a browser sends of a page's form.
fn inputs(page: &str) -> Pairs {
    let form = page.split("<form class=\"command\"").nth(1).expect("a form").split("</form>").next().unwrap();
    let elements =
        Regex::new(r"(?s)<input ([^>]*)>|<textarea ([^>]*)>\n(.*?)</textarea>|<select ([^>]*)>(.*?)</select>").unwrap();
    let attribute = |tag: &str, name: &str| {
        let found =
            Regex::new(&format!(r#"(?:^| ){name}="([^"]*)""#)).unwrap().captures(tag).map(|it| unescaped(&it[1]));
        found.unwrap_or_default()
    };
    let selected = Regex::new(r#"<option value="([^"]*)" selected>"#).unwrap();
    let mut pairs = Pairs::new();
    for element in elements.captures_iter(form) {
        let (name, value) = if let Some(tag) = element.get(1).map(|it| it.as_str()) {
            if tag.contains("type=\"checkbox\"") && !tag.contains(" checked") {
                continue;
            }
            (attribute(tag, "name"), attribute(tag, "value"))
        } else if let Some(tag) = element.get(2) {
            (attribute(tag.as_str(), "name"), unescaped(&element[3]).replace('\n', "\r\n"))
        } else {
            let chosen = selected.captures(&element[5]).map(|it| unescaped(&it[1]));
            (attribute(&element[4], "name"), chosen.unwrap_or_default())
        };
        pairs.push((name, value));
    }
    pairs
}

async fn post(dashboard: &Dashboard, path: &str, pairs: &Pairs, cookie: &str) -> Response {
    let mut body = String::new();
    for (name, value) in pairs {
        let (name, value) = (utf8_percent_encode(name, NON_ALPHANUMERIC), utf8_percent_encode(value, NON_ALPHANUMERIC));
        write!(body, "&{name}={value}").unwrap();
    }
    let origin = format!("http://{}", dashboard.address);
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let headers = [("Origin", origin.as_str()), ("Cookie", cookie), kind];
    dashboard.request("POST", path, &headers, body.trim_start_matches('&')).await
}

/// The form of a verb with target `dev`, and the cookie.
async fn form(dashboard: &Dashboard, verb: &str) -> (Pairs, String) {
    let page = dashboard.get(&format!("/send/{verb}?example=true&target=dev")).await;
    assert_eq!(page.status, 200, "{verb}: {}", page.body);
    (inputs(&page.body), page.form().1)
}

fn with(pairs: &Pairs, changes: &[(&str, &str)]) -> Pairs {
    let rest = pairs.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let changes = changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    rest.cloned().chain(changes).collect()
}

fn event(page: &Response) -> Value {
    let text = page.body.split("<pre id=\"event\"").nth(1).unwrap_or_else(|| panic!("no event: {}", page.body));
    let text = text.split_once('>').unwrap().1.split("</pre>").next().unwrap();
    serde_json::from_str(&unescaped(text)).unwrap()
}

/// Without defaults, which the form leaves out.
fn without_defaults(value: &Value, schema: &Value) -> Value {
    let place = |name: &str| &schema["properties"][name];
    let is_default = |name: &str, value: &Value| {
        place(name).get("default").is_some_and(|default| default == value)
            || (*value == json!(false)
                && place(name)["type"] == "boolean"
                && place(name).get("default") != Some(&json!(true)))
            || *value == json!({})
    };
    let fields = value.as_object().unwrap().iter().filter(|(name, value)| !is_default(name, value));
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

#[tokio::test]
async fn form_of_every_verb_sends_its_example() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let list = dashboard.get("/send").await;
    for task in Registry::standard().iter() {
        let verb = task.verb();
        assert!(list.body.contains(&format!("href=\"/send/{verb}\"")), "{verb}");
        let (pairs, cookie) = form(&dashboard, verb).await;
        let page = post(&dashboard, &format!("/send/{verb}"), &with(&pairs, &[("action", "show")]), &cookie).await;
        assert_eq!(page.status, 200, "{verb}: {}", page.body);
        let schema = task.params_schema();
        let event = event(&page);
        let (sent, example) = (&event["data"], &task.example());
        assert_eq!(without_defaults(sent, schema.as_value()), without_defaults(example, schema.as_value()), "{verb}");
        assert_eq!(event["type"], format!("io.meshery.istio.command.{verb}.v1"));
        assert!(page.body.contains(&format!("sailhand submit {verb} --target dev")), "{verb}");
        assert!(page.body.contains(&format!("istio.cmd.dev.{verb}")), "{verb}");
        let empty = dashboard.get(&format!("/send/{verb}")).await;
        assert_eq!(empty.status, 200, "{verb}");
    }
}

#[tokio::test]
async fn invalid_parameters_are_refused_beside_their_field() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let (pairs, cookie) = form(&dashboard, "connection.apply").await;
    for (changes, message, id) in [
        (("p/service/port", "0"), "is less than the minimum of 1", "p-service-port"),
        (("p/name", "Not A Name"), "does not match the pattern", "p-name"),
        (("p/name", ""), "`name` is missing", ""),
        (("p/scope", "{ a: ["), "is neither JSON nor YAML", "p-scope"),
        (("target", "-"), "must be 1 to 63 of a-z", "target"),
        (("p/name", "<script>alert(1)</script>"), "&lt;script&gt;", "p-name"),
    ] {
        let pairs = with(&pairs, &[changes, ("action", "send")]);
        let page = post(&dashboard, "/send/connection.apply", &pairs, &cookie).await;
        assert_eq!(page.status, 200, "{changes:?}: {}", page.body);
        assert!(page.body.contains(message) && !page.body.contains("<script>alert"), "{changes:?}: {}", page.body);
        if !id.is_empty() {
            let field = Regex::new(&format!("id=\"{id}\"[^>]*aria-invalid=\"true\"")).unwrap();
            assert!(field.is_match(&page.body), "{changes:?}: {}", page.body);
        }
    }
    assert_eq!(dashboard.get("/send/no.such").await.status, 404);
}

#[tokio::test]
async fn command_of_a_form_runs_once() {
    let test_env = WorkerEnv::on(crate::support::nats::NatsServer::start().await, |_| {}).await;
    let _worker = test_env.worker("w1").await;
    let dashboard = Dashboard::start(&["--nats-url", &test_env.nats.url(), "--allow-actions"]).await;
    let (pairs, cookie) = form(&dashboard, "ping").await;
    let pairs = with(&pairs, &[("action", "send"), ("p/echo", "ahoy")]);
    let first = post(&dashboard, "/send/ping", &pairs, &cookie).await;
    assert_eq!(first.status, 303, "{}", first.body);
    let location = first.head.split("location: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    // The page exists before a worker has started the command.
    assert_eq!(dashboard.get(&location).await.status, 200);
    let key = location.trim_start_matches("/runs/").split('?').next().unwrap().parse().unwrap();
    let result = test_env.result(&key).await;
    assert_eq!(result.report.as_ref().unwrap()["echo"], "ahoy");
    let again = post(&dashboard, "/send/ping", &pairs, &cookie).await;
    assert!(again.head.contains(&format!("location: {location}")), "{}", again.head);
    let other = post(&dashboard, "/send/ping", &with(&pairs, &[("p/echo", "other")]), &cookie).await;
    assert!(other.status == 303 && !other.head.contains(&location), "{}", other.head);
}

#[tokio::test]
async fn dry_run_is_sent_and_shown_below_the_form() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let (pairs, cookie) = form(&dashboard, "config.apply").await;
    let page = post(&dashboard, "/send/config.apply", &with(&pairs, &[("action", "dry_run")]), &cookie).await;
    assert!(page.status == 200 && page.body.contains("Dry run sent"), "{}", page.body);
    assert!(page.body.contains("data-live=\"/live?from="), "{}", page.body);
    let command = test_env.take().await;
    assert_eq!(command.params["dry_run"], true);
    assert_eq!(command.origin.source, "urn:sailhand:dashboard");
    // A verb without a dry run is shown, not sent.
    let (pairs, cookie) = form(&dashboard, "ping").await;
    let page = post(&dashboard, "/send/ping", &with(&pairs, &[("action", "dry_run")]), &cookie).await;
    assert!(page.status == 200 && page.body.contains("<pre id=\"event\""), "{}", page.body);
}

#[tokio::test]
async fn command_needs_actions_and_a_form_token() {
    let test_env = DashboardEnv::new().await;
    let dashboard = test_env.dashboard(&[]).await;
    for path in ["/send", "/send/ping"] {
        assert_eq!(dashboard.get(path).await.status, 403, "{path}");
    }
    assert!(!dashboard.get("/runs").await.body.contains("href=\"/send\""));
    let dashboard = test_env.dashboard(&["--allow-actions"]).await;
    let (pairs, cookie) = form(&dashboard, "ping").await;
    let forged = with(&pairs, &[("action", "send"), ("token", "00")]);
    assert_eq!(post(&dashboard, "/send/ping", &forged, &cookie).await.status, 403);
    let foreign = [("Origin", "http://other.example"), ("Cookie", cookie.as_str())];
    assert_eq!(dashboard.request("POST", "/send/ping", &foreign, "").await.status, 403);
}
