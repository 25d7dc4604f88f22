//! The examples of deploy/examples: what each tool sends, as its documentation describes it, is accepted by the gateway
//! with the example's configuration.

use std::fs;
use std::path::Path;
use std::process::Output;

use ring::hmac;
use sailhand::hex::hex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::{Endpoint, Reply};
use crate::gateway::{Gateway, bearer};
use crate::sinks;
use crate::support::http::{Issuer, Response};
use crate::support::worker::{WorkerEnv, succeeded};

/// A gateway with the example's configuration; its secrets are in a temporary folder.
pub async fn gateway(test_env: &WorkerEnv, github: &Issuer, cluster: &Issuer) -> Gateway {
    gateway_with(test_env, github, cluster, |text| text).await
}

/// The same with changes of the configuration, such as other addresses of sinks.
async fn gateway_with(
    test_env: &WorkerEnv,
    github: &Issuer,
    cluster: &Issuer,
    change: impl FnOnce(String) -> String,
) -> Gateway {
    let folder = TempDir::with_prefix("sailhand-examples-").unwrap();
    let path = folder.path().display().to_string();
    for name in ["github.secret", "flux.secret", "alertmanager.token", "argo.token", "backstage.token"] {
        fs::write(folder.path().join(name), secret(name)).unwrap();
    }
    fs::write(folder.path().join("github-jwks.json"), github.jwks()).unwrap();
    fs::write(folder.path().join("cluster-jwks.json"), cluster.jwks()).unwrap();
    let text = fs::read_to_string(example("gateway.toml")).unwrap();
    let text = text
        .replace("/etc/sailhand", &path)
        .replace("0.0.0.0:8323", "127.0.0.1:0")
        .replace("https://token.actions.githubusercontent.com/.well-known/jwks", &format!("{path}/github-jwks.json"));
    let text = change(text);
    fs::write(folder.path().join("gateway.toml"), format!("[nats]\nurl = \"{}\"\n{text}", test_env.nats.url()))
        .unwrap();
    Gateway::run(folder).await
}

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name)
}

fn secret(name: &str) -> String {
    format!("0123456789abcdef-{name}")
}

fn sign(name: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret(name).as_bytes());
    format!("sha256={}", hex(hmac::sign(&key, body.as_bytes()).as_ref()))
}

async fn post(gateway: &Gateway, hook: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    gateway.request("POST", &format!("/v1/hooks/{hook}"), &headers, &body.to_string()).await
}

/// The parameters of the last command in the queue.
async fn last_data(test_env: &WorkerEnv) -> Value {
    let subjects = test_env.client.bus().subjects();
    let last = test_env.client.bus().last(&subjects.command_stream(), &subjects.commands()).await.unwrap().unwrap();
    serde_json::from_slice::<Value>(&last.payload).unwrap()["data"].clone()
}

#[tokio::test]
async fn flux_event_becomes_one_command() {
    let test_env = WorkerEnv::new().await;
    let gateway = gateway(&test_env, &Issuer::new(), &Issuer::new()).await;
    let event = |reason: &str, revision: &str| {
        json!({
            "involvedObject": {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": "shop",
                "name": "shop", "uid": "f9c4f8ad-58ba-4d4b-8bd5-13c8ba7d83fe", "resourceVersion": "1",
            },
            "severity": "info", "timestamp": "2026-11-28T12:00:00Z", "message": "Reconciliation finished in 1s",
            "reason": reason, "metadata": { "revision": revision },
            "reportingController": "kustomize-controller", "reportingInstance": "kustomize-controller-1",
        })
    };
    let body = event("ReconciliationSucceeded", "main@sha1:1234");
    let signature = sign("flux.secret", &body.to_string());
    let accepted = post(&gateway, "flux", &[("X-Signature", &signature)], &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let command = accepted.json()["commands"][0].clone();
    assert_eq!((&command["verb"], &command["source"]), (&json!("config.analyze"), &json!("/hooks/flux")));
    assert_eq!(last_data(&test_env).await, json!({ "namespaces": ["shop"] }));
    // A replay of the signed request is the same command.
    let again = post(&gateway, "flux", &[("X-Signature", &signature)], &body).await.json();
    assert_eq!((&again["commands"][0]["key"], &again["commands"][0]["duplicate"]), (&command["key"], &json!(true)));
    // Another reason is ignored.
    let other = event("ReconciliationFailed", "main@sha1:1234");
    let ignored = post(&gateway, "flux", &[("X-Signature", &sign("flux.secret", &other.to_string()))], &other).await;
    assert_eq!((ignored.status, ignored.json()), (202, json!({ "commands": [], "ignored": 1 })));
    // Without a revision the command has no id.
    let mut unnamed = body.clone();
    unnamed["metadata"] = json!({});
    let signed = sign("flux.secret", &unnamed.to_string());
    post(&gateway, "flux", &[("X-Signature", &signed)], &unnamed).await.is_problem(422, "SH3813");
    for (what, headers) in [
        ("another body", vec![("X-Signature", sign("flux.secret", "{}"))]),
        ("another secret", vec![("X-Signature", sign("github.secret", &body.to_string()))]),
        ("no prefix", vec![("X-Signature", signature["sha256=".len()..].to_owned())]),
        ("a short signature", vec![("X-Signature", "sha256=00".to_owned())]),
        ("no signature", vec![]),
        ("two signatures", vec![("X-Signature", signature.clone()), ("X-Signature", signature.clone())]),
        ("a token", vec![("Authorization", bearer(&secret("alertmanager.token")))]),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = post(&gateway, "flux", &headers, &body).await;
        assert_eq!(refused.status, 401, "{what}: {refused:?}");
    }
    post(&gateway, "unknown", &[], &body).await.is_problem(404, "SH3812");
}

#[tokio::test]
async fn github_push_to_main_is_analyzed_once() {
    let test_env = WorkerEnv::new().await;
    let gateway = gateway(&test_env, &Issuer::new(), &Issuer::new()).await;
    let push = |branch: &str| {
        json!({
            "ref": format!("refs/heads/{branch}"), "before": "0".repeat(40), "after": "a".repeat(40),
            "repository": { "full_name": "acme/shop" }, "pusher": { "name": "jane" }, "commits": [],
        })
    };
    let send = async |kind: &str, body: &Value| {
        let signature = sign("github.secret", &body.to_string());
        post(&gateway, "github", &[("X-GitHub-Event", kind), ("X-Hub-Signature-256", &signature)], body).await.json()
    };
    let first = send("push", &push("main")).await;
    assert_eq!(first["commands"][0]["id"], "a".repeat(40), "{first}");
    assert_eq!(send("push", &push("main")).await["commands"][0]["duplicate"], true);
    for (kind, branch) in [("push", "feature"), ("ping", "main")] {
        assert_eq!(send(kind, &push(branch)).await["ignored"], 1);
    }
}

#[tokio::test]
async fn each_firing_alert_clears_its_canary() {
    let test_env = WorkerEnv::new().await;
    let gateway = gateway(&test_env, &Issuer::new(), &Issuer::new()).await;
    let alert = |status: &str, name: &str, service: &str| {
        json!({
            "status": status, "labels": { "alertname": name, "namespace": "shop", "service": service }, "annotations": {},
            "startsAt": "2026-11-28T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "fingerprint": format!("f-{service}"),
        })
    };
    let body = json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "sailhand",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": [
            alert("firing", "CanaryErrorRate", "cart"),
            alert("resolved", "CanaryErrorRate", "pay"),
            alert("firing", "Watchdog", "x"),
            alert("firing", "CanaryErrorRate", "web"),
        ],
    });
    let token = bearer(&secret("alertmanager.token"));
    let accepted = post(&gateway, "alertmanager", &[("Authorization", &token)], &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let hooked = accepted.json();
    assert_eq!((hooked["commands"].as_array().unwrap().len(), &hooked["ignored"]), (2, &json!(2)), "{hooked}");
    assert_eq!(hooked["commands"][1]["id"], "f-web 2026-11-28T12:00:00Z");
    let other = bearer(&secret("argo.token"));
    post(&gateway, "alertmanager", &[("Authorization", &other)], &body).await.is_problem(403, "SH3805");
}

/// What an HTTP trigger of Argo Events sends: the values of `payload` at their paths.
fn argo_payload(sensor: &Value, context_id: &str, data: &Value) -> Value {
    let http = &sensor["spec"]["triggers"][0]["template"]["http"];
    let mut body = json!({});
    for part in http["payload"].as_array().unwrap() {
        let source = &part["src"];
        let value = match (&source["value"], source["contextKey"].as_str(), source["dataKey"].as_str()) {
            (Value::String(text), ..) => json!(text),
            (_, Some("id"), _) => json!(context_id),
            (.., Some(path)) => data.pointer(&format!("/{}", path.replace('.', "/"))).unwrap().clone(),
            _ => panic!("{part}"),
        };
        match part["dest"].as_str().unwrap() {
            "data.namespaces.0" => body["data"] = json!({ "namespaces": [value] }),
            name => body[name] = value,
        }
    }
    body
}

#[tokio::test]
async fn argo_sensor_sends_a_command() {
    let test_env = WorkerEnv::new().await;
    let gateway = gateway(&test_env, &Issuer::new(), &Issuer::new()).await;
    let text = fs::read_to_string(example("argo-events/sensor.yaml")).unwrap();
    let sensor: Value = serde_saphyr::from_str(&text).unwrap();
    let body = argo_payload(&sensor, "3338", &json!({ "body": { "namespace": "shop" } }));
    let kind = sensor["spec"]["triggers"][0]["template"]["http"]["headers"]["Content-Type"].as_str().unwrap();
    let token = bearer(&secret("argo.token"));
    let headers = [("Authorization", token.as_str()), ("Content-Type", kind)];
    let accepted = gateway.request("POST", "/v1/events", &headers, &body.to_string()).await;
    assert_eq!((accepted.status, &accepted.json()["id"]), (202, &json!("3338")), "{accepted:?}");
    assert_eq!(last_data(&test_env).await, json!({ "namespaces": ["shop"] }));
}

#[tokio::test]
async fn knative_delivery_is_accepted_with_its_service_account() {
    let test_env = WorkerEnv::new().await;
    let cluster = Issuer::new();
    let gateway = gateway(&test_env, &Issuer::new(), &cluster).await;
    let token = cluster.sign(&json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["sailhand"], "exp": 4_000_000_000_u64,
        "sub": "system:serviceaccount:shop:sailhand-subscription",
    }));
    let token = bearer(&token);
    // As Knative Eventing's dispatcher sends it: binary mode, with attributes and extensions of Knative.
    let headers = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
        ("Prefer", "reply"),
        ("Ce-Specversion", "1.0"),
        ("Ce-Id", "536808d3-88be-4077-9d7a-a3f162705f79"),
        ("Ce-Source", "/knative/shop"),
        ("Ce-Type", "io.meshery.istio.command.ping.v1"),
        ("Ce-Subject", "prod"),
        ("Ce-Time", "2026-11-28T12:00:00.1Z"),
        ("Ce-Knativehistory", "mesh-commands-kn-channel.shop.svc.cluster.local"),
        ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ];
    let accepted = gateway.request("POST", "/v1/events", &headers, "{\"echo\":\"hello\"}").await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
}

/// Runs the GitHub Action's script as a job of `acme/shop` on `main`, with a token that has GitHub's claims.
pub async fn run_action(gateway: &Gateway, issuer: &Issuer, (verb, data): (&str, &str), wait: &str) -> Output {
    let token = issuer.sign(&json!({
        "iss": "https://token.actions.githubusercontent.com", "aud": "sailhand", "exp": 4_000_000_000_u64,
        "sub": "repo:acme/shop:ref:refs/heads/main", "repository": "acme/shop", "ref": "refs/heads/main",
        "repository_owner": "acme", "workflow": "deploy mesh", "run_id": "42", "run_attempt": "1", "actor": "jane",
    }));
    // GitHub's token endpoint, played by a file: curl reads it with the same command line.
    fs::write(gateway.path("token.json&audience=sailhand"), json!({ "value": token }).to_string()).unwrap();
    let mut command = tokio::process::Command::new(example("github-action/run.sh"));
    command
        .env("GATEWAY", format!("http://{}", gateway.address))
        .envs([("TARGET", "prod"), ("VERB", verb), ("DATA", data), ("WAIT", wait), ("AUDIENCE", "sailhand")])
        .envs([("GITHUB_REPOSITORY", "acme/shop"), ("GITHUB_WORKFLOW", "deploy mesh")])
        .envs([("GITHUB_RUN_ID", "42"), ("GITHUB_RUN_ATTEMPT", "1"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x")])
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("file://{}", gateway.path("token.json").display()));
    command.output().await.unwrap()
}

#[tokio::test]
async fn github_action_sends_and_waits() {
    let test_env = WorkerEnv::on(crate::support::nats::NatsServer::start().await, |config| {
        let target = config.targets["dev"].clone();
        config.targets.insert("prod".to_owned(), target);
    })
    .await;
    let _worker = test_env.worker("w").await;
    let issuer = Issuer::new();
    let gateway = gateway(&test_env, &issuer, &Issuer::new()).await;
    let output = run_action(&gateway, &issuer, ("ping", r#"{"echo":"hello"}"#), "60s").await;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("\"succeeded\""), "{text}");
    let refused = run_action(&gateway, &issuer, ("mesh.uninstall", "{}"), "60s").await;
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
}

/// A text of a template of Backstage with the values of its placeholders.
fn fill(template: &Value, values: &[(&str, &str)]) -> Value {
    match template {
        Value::String(text) => {
            let filled = values
                .iter()
                .fold(text.clone(), |text, (name, value)| text.replace(&format!("${{{{ {name} }}}}"), value));
            assert!(!filled.contains("${{"), "{filled}");
            json!(filled)
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), fill(value, values))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn backstage_template_sends_waits_and_gets_its_result() {
    let test_env = WorkerEnv::on(crate::support::nats::NatsServer::start().await, |config| {
        let target = config.targets["dev"].clone();
        config.targets.insert("prod".to_owned(), target);
    })
    .await;
    let _worker = test_env.worker("w").await;
    let topic = Endpoint::start(|_| Reply::status(202)).await;
    let address = "http://backstage.backstage.svc:7007/api/events/http/mesh";
    let gateway =
        gateway_with(&test_env, &Issuer::new(), &Issuer::new(), |text| text.replace(address, &topic.url)).await;
    let template: Value =
        serde_saphyr::from_str(&fs::read_to_string(example("backstage/template.yaml")).unwrap()).unwrap();
    let proxy: Value =
        serde_saphyr::from_str(&fs::read_to_string(example("backstage/app-config.yaml")).unwrap()).unwrap();
    let header = proxy["proxy"]["endpoints"]["/sailhand"]["headers"]["Authorization"].as_str().unwrap();
    let token = header.replace("${SAILHAND_TOKEN}", &secret("backstage.token"));
    let name = crate::support::worker::unique_name("backstage");
    let manifest = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: default }}\n");
    let values = [("context.task.id", "0b1e"), ("parameters.name", &name), ("parameters.manifest", &manifest)];
    let steps = template["spec"]["steps"].as_array().unwrap();
    let send = &steps[0]["input"];
    let headers =
        [("Authorization", token.as_str()), ("Content-Type", send["headers"]["Content-Type"].as_str().unwrap())];
    let path = |step: &Value| step["path"].as_str().unwrap().strip_prefix("/api/proxy/sailhand").unwrap().to_owned();
    let body = fill(&send["body"], &values).to_string();
    let accepted = gateway.request("POST", &path(send), &headers, &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let location = accepted.json()["location"].as_str().unwrap().to_owned();
    let wait = path(&steps[1]["input"]).replace("${{ steps.send.output.body.location }}", &location);
    let ended = gateway.request("GET", &wait, &headers, "").await.json();
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    let posted = topic.wait_for(1).await;
    assert_eq!(posted[0].header("authorization"), Some(bearer(&secret("backstage.token")).as_str()));
    assert_eq!(posted[0].json()["commandid"], "0b1e");
}

/// As Flux's Receiver of type generic-hmac verifies a request (`internal/server/receiver_handlers.go`).
#[tokio::test]
async fn flux_receiver_accepts_the_signature_of_a_result() {
    let test_env = WorkerEnv::new().await;
    let receiver = Endpoint::start(|request| {
        let signed = request.header("x-signature") == Some(sign("flux.secret", &request.body).as_str());
        Reply::status(if signed && request.line.starts_with("POST /hook/") { 200 } else { 400 })
    })
    .await;
    let base = receiver.url.trim_end_matches("/events").to_owned();
    let _gateway = gateway_with(&test_env, &Issuer::new(), &Issuer::new(), |text| {
        text.replace("http://webhook-receiver.flux-system.svc", &base).replace(
            "targets = [\"prod\"]\n\n[gateway.sinks.flux.hmac]",
            "targets = [\"dev\"]\n\n[gateway.sinks.flux.hmac]",
        )
    })
    .await;
    sinks::publish(&test_env, &sinks::origin("1", "/ci/shop"), &succeeded()).await;
    let posted = receiver.wait_for(1).await;
    assert_eq!(posted[0].status, Some(200), "{posted:?}");
}
