//! Input made to break something: each piece ends with its documented code, no worker dies of it, and the queue goes
//! on. `e2e_failures.rs` has the input that is only wrong.

use crate::support;

use std::fmt::Write as _;
use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use futures::StreamExt;
use sailhand::bus::{Bus, Queue, RecordKey, Settlement};
use sailhand::client::Filter;
use sailhand::event::{CommandDraft, CommandId, CommandKey, EventKind, Outcome, dataref};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::worker::{WorkerEnv, draft};
use tokio::time::Instant;

const WITHIN: Duration = Duration::from_mins(1);

/// Bytes for the queue and the code they end with.
struct Poison {
    what: &'static str,
    verb: &'static str,
    headers: HeaderMap,
    payload: Vec<u8>,
    code: &'static str,
    /// The `id` that the sender is answered under, if it can be.
    id: Option<String>,
    /// Of `config.apply`, in the place of the payload.
    manifest: Option<String>,
}

impl Poison {
    /// A message whose sender cannot be read.
    fn unreadable(what: &'static str, code: &'static str, payload: impl Into<Vec<u8>>) -> Self {
        Self { what, verb: "ping", headers: HeaderMap::new(), payload: payload.into(), code, id: None, manifest: None }
    }

    /// A command with one thing wrong. The text is put together by hand: `serde_json` would not write some of it.
    fn attribute(what: &'static str, code: &'static str, attributes: &str) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let payload = event("ping", &id, attributes);
        Self { id: Some(id), ..Self::unreadable(what, code, payload) }
    }

    fn manifest(what: &'static str, code: &'static str, manifest: &str) -> Self {
        let id = Some(uuid::Uuid::new_v4().to_string());
        Self { id, manifest: Some(manifest.to_owned()), ..Self::unreadable(what, code, "") }
    }

    async fn send(self, test_env: &WorkerEnv) {
        let Self { what, verb, headers, payload, id, manifest, .. } = self;
        if let (Some(id), Some(manifest)) = (id, manifest) {
            // Large ones go by way of the object store.
            let params = json!({"name": "poison", "manifest": manifest});
            let draft = CommandDraft { id, source: "/poison".to_owned(), ..draft("config.apply", params) };
            test_env.client.submit(&"dev".parse().unwrap(), draft).await.unwrap();
        } else {
            let context = test_env.client.bus().context();
            let sent = context.publish_with_headers(format!("istio.cmd.dev.{verb}"), headers, payload.into()).await;
            sent.unwrap().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

fn event(verb: &str, id: &str, attributes: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/poison","subject":"dev",
            "type":"io.meshery.istio.command.{verb}.v1",{attributes}}}"#
    )
}

fn envelopes() -> Vec<Poison> {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let controls = r"\u0001".repeat(60_000);
    let mut twice = HeaderMap::new();
    for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "1"), ("CE-ID", "2"), ("ce-source", "/poison")] {
        twice.insert(name, value);
    }
    let mut names = String::from(r#""data":{"#);
    for number in 0..20_000 {
        write!(names, r#""n{number}":{number},"#).unwrap();
    }
    names.push_str(r#""last":0}"#);
    let unread = |what, attributes: &str| Poison::unreadable(what, "SH1001", event("ping", "1", attributes));
    vec![
        Poison::unreadable("nothing", "SH1001", ""),
        Poison::unreadable("invalid UTF-8", "SH1001", b"{\"specversion\":\"1.0\",\"id\":\"\xff\xfe\"}".as_slice()),
        Poison::unreadable("half a surrogate", "SH1001", r#"{"specversion":"1.0","id":"\ud800"}"#),
        Poison::unreadable("zeros", "SH1001", vec![0; 100_000]),
        Poison::unreadable("100,000 levels", "SH1001", deep.clone()),
        Poison::unreadable("more than a command may have", "SH1006", vec![b' '; 513 * 1024]),
        Poison { headers: twice, ..Poison::unreadable("an attribute twice in headers", "SH1002", "{}") },
        unread("100,000 levels of data", &format!(r#""data":{{"echo":{deep}}}"#)),
        unread("an attribute twice", r#""id":"other""#),
        unread("a name twice in the data", r#""data":{"echo":"a","echo":"b"}"#),
        unread("a number beyond all doubles", r#""data":{"echo":1e999999}"#),
        unread("a number of 400 digits", &format!(r#""generation":{}"#, "9".repeat(400))),
        Poison::attribute("a generation beyond 64 bits", "SH1002", r#""generation":18446744073709551616"#),
        Poison::attribute("a correlation that fits no answer", "SH1002", &format!(r#""correlationid":"{controls}""#)),
        Poison::attribute("a trace that fits no answer", "SH1002", &format!(r#""traceparent":"{controls}""#)),
        Poison::attribute("an attribute with an endless name", "SH1002", &format!(r#""{controls}":1"#)),
        Poison::attribute("data of 20,000 unknown names", "SH1005", &names),
        Poison::attribute("data with an endless name", "SH1005", &format!(r#""data":{{"{controls}":1}}"#)),
        Poison::attribute(
            "data under 100 levels",
            "SH1005",
            &format!(r#""data":{{"echo":{}{}}}"#, "[".repeat(100), "]".repeat(100)),
        ),
    ]
}

fn manifests() -> Vec<Poison> {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let laughs = (1..=9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let below = vec![format!("*a{}", n - 1); 9].join(", ");
        format!("{text}a{n}: &a{n} [{below}]\n")
    });
    let merges = (1..=30).fold("m0: &m0 {k0: v}\n".to_owned(), |text, n| {
        format!("{text}m{n}: &m{n} {{k{n}: v, a: *m{p}, b: *m{p}}}\n", p = n - 1)
    });
    vec![
        Poison::manifest("aliases of aliases", "SH3102", &laughs),
        Poison::manifest("aliases that double thirty times", "SH3102", &merges),
        Poison::manifest("an alias of itself", "SH3101", &format!("{object}data: &a {{a: *a}}\n")),
        Poison::manifest("a merge of no mapping", "SH3101", &format!("{object}data: {{<<: 1}}\n")),
        Poison::manifest("100,000 documents", "SH3102", &"---\na\n".repeat(100_000)),
        Poison::manifest(
            "20,000 objects in a list",
            "SH3102",
            &format!(
                r#"{{"apiVersion":"v1","kind":"List","items":[{}{{}}]}}"#,
                (0..20_000).fold(String::new(), |items, n| {
                    items + &format!(r#"{{"apiVersion":"v1","kind":"A","metadata":{{"name":"a{n}"}}}},"#)
                })
            ),
        ),
        Poison::manifest("deep sequences", "SH3102", &"[".repeat(100_000)),
        Poison::manifest("deep mappings of JSON", "SH3102", &r#"{"a":"#.repeat(50_000)),
        Poison::manifest("deep blocks", "SH3102", &"- ".repeat(2_000)),
        Poison::manifest("tabs for spaces", "SH3101", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: a\n"),
        Poison::manifest("a key twice", "SH3101", &format!("{object}kind: Secret\n")),
        Poison::manifest("an object twice", "SH3104", &format!("{object}---\n{object}")),
        Poison::manifest("a number of 400 digits", "SH3101", &format!("{object}data: {{a: {}}}\n", "9".repeat(400))),
        Poison::manifest("a number beyond all doubles", "SH3101", &format!("{object}data: {{a: 1e999999}}\n")),
        Poison::manifest("a control character", "SH3101", &format!("{object}data: {{a: \"\u{1}\"}}\n")),
        Poison::manifest("a quote that never ends", "SH3101", &format!("{object}data: \"{}", "x".repeat(300_000))),
        Poison::manifest("a key that is a mapping", "SH3101", &format!("{object}data: {{? {{a: b}} : c}}\n")),
        Poison::manifest("markers only", "SH1005", &"---\n".repeat(100_000)),
        Poison::manifest("a name that is a path", "SH3103", &object.replace("name: a", "name: ../../../etc")),
    ]
}

#[tokio::test]
async fn broken_envelopes_end_with_their_codes_and_others_continue() {
    end_with_their_codes(envelopes()).await;
}

#[tokio::test]
async fn broken_manifests_end_with_their_codes_and_others_continue() {
    end_with_their_codes(manifests()).await;
}

async fn end_with_their_codes(all: Vec<Poison>) {
    let test_env = WorkerEnv::new().await;
    let worker = test_env.worker("w1").await;
    let filter = Filter { limit: 1000, ..Filter::default() };
    for (before, poison) in all.into_iter().enumerate() {
        let (what, code, id) = (poison.what, poison.code, poison.id.clone());
        poison.send(&test_env).await;
        let letter = eventually(what, WITHIN, async || {
            test_env.client.dead_letters(&filter).await.unwrap().into_iter().nth(before)
        })
        .await;
        assert_eq!((letter.code.as_str(), letter.reason.as_str()), (code, "rejected"), "{what}: {}", letter.message);
        assert_eq!(letter.deliveries, 1, "{what}");
        if let Some(id) = id {
            let result = test_env.result(&CommandKey::new("/poison", &id)).await;
            assert_eq!(result.outcome, Outcome::Rejected, "{what}");
            assert_eq!(result.error.expect(what).code, code, "{what}");
        }
        assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded, "after {what}");
    }
    let metrics = worker.http("/metrics").await.1;
    assert!(!metrics.contains("sailhand_bus_errors_total{"), "nothing was tried in vain: {metrics}");
}

#[tokio::test]
async fn oversized_command_is_refused_to_its_sender() {
    let test_env = WorkerEnv::new().await;
    let context = test_env.client.bus().context();
    for (size, refusal) in [(600 * 1024, "message size exceeds maximum allowed"), (1 << 20 | 1, "max payload")] {
        let sent = match context.publish("istio.cmd.dev.ping", vec![b' '; size].into()).await {
            Ok(acknowledged) => acknowledged.await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = sent.expect_err("it is too large").to_string();
        assert!(error.to_lowercase().contains(refusal), "{size}: {error}");
    }
    let info = context.get_stream("ISTIO_CMD").await.unwrap().get_info().await.unwrap();
    assert_eq!(info.state.messages, 0);
}

#[tokio::test]
async fn manifest_at_the_size_limit_delays_no_other_command() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    // Read whole, 900,000 values in one object, and then refused for what comes last.
    let long = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\nlist: [{}0]\n---\nkind: {{}}\n",
        "0,".repeat(900_000)
    );
    let key = test_env.send("dev", "config.apply", json!({"name": "long", "manifest": long})).await;
    test_env.event(&key, |_| true).await;
    for _ in 0..5 {
        assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);
    }
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts), (Outcome::Rejected, 1));
    assert_eq!(result.error.unwrap().code, "SH3103");
}

#[tokio::test]
async fn dataref_to_invalid_json_ends_with_its_code() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let context = test_env.client.bus().context();
    let many = format!("[{}0]", "0,".repeat(2_000_000));
    for (what, content) in [
        ("deep", "[".repeat(1 << 20).into_bytes()),
        ("too many values", many.into_bytes()),
        ("a name twice", br#"{"echo":"a","echo":"b"}"#.to_vec()),
        ("invalid UTF-8", b"{\"echo\":\"\xff\"}".to_vec()),
    ] {
        let named = dataref::of("istio_blob", &content);
        test_env.client.bus().upload("istio_blob".to_owned(), &named.digest, &content).await.unwrap();
        let id = uuid::Uuid::new_v4().to_string();
        let payload = event("ping", &id, &format!(r#""dataref":"{}""#, named.reference));
        context.publish("istio.cmd.dev.ping", payload.into()).await.unwrap().await.unwrap();
        let result = test_env.result(&CommandKey::new("/poison", &id)).await;
        assert_eq!(result.outcome, Outcome::Rejected, "{what}");
        assert_eq!(result.error.unwrap().code, "SH1007", "{what}");
    }
    let _: Value = test_env.run("dev", "ping", json!({"echo": "on"})).await.report.unwrap();
}

/// Metadata that no client of the store writes, and that the reader of the client library follows for ever or waits for.
fn hostile_metadata(name: &str, n: usize) -> Value {
    let object = json!({"name": name, "bucket": "istio_blob", "nuid": format!("none{n}"), "size": 10, "chunks": 1});
    let change = match n {
        0 => json!({"options": {"link": {"bucket": "istio_blob", "name": name}}, "chunks": 0, "size": 0}),
        1 => json!({}), // there are no chunks
        2 => json!({"chunks": 0}),
        3 => json!({"nuid": "*"}),
        4 => json!({"deleted": true}),
        5 => json!({"bucket": "istio_attachment"}),
        _ => json!({"size": 1_u64 << 40, "chunks": 1_u64 << 30}),
    };
    let mut object = object.as_object().unwrap().clone();
    object.extend(change.as_object().unwrap().clone());
    Value::Object(object)
}

/// Sends a ping whose parameters are an object with this metadata.
async fn send_hostile(test_env: &WorkerEnv, n: usize) -> CommandKey {
    let context = test_env.client.bus().context();
    let name = dataref::of("istio_blob", format!("hostile {n}").as_bytes());
    let subject = format!("$O.istio_blob.M.{}", URL_SAFE.encode(&name.digest));
    let metadata = hostile_metadata(&name.digest, n).to_string();
    context.publish(subject, metadata.into()).await.unwrap().await.unwrap();
    let id = uuid::Uuid::new_v4().to_string();
    let payload = event("ping", &id, &format!(r#""dataref":"{}""#, name.reference));
    context.publish("istio.cmd.dev.ping", payload.into()).await.unwrap().await.unwrap();
    CommandKey::new("/poison", &id)
}

#[tokio::test]
async fn hostile_object_metadata_ends_with_its_code_and_delays_no_command() {
    let test_env = WorkerEnv::new().await;
    let worker = test_env.worker("w1").await;
    for n in 0..7 {
        let hostile = send_hostile(&test_env, n).await;
        let begun = Instant::now();
        assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded, "behind {n}");
        let result = test_env.result(&hostile).await;
        assert_eq!(result.outcome, Outcome::Rejected, "{n}");
        assert_eq!(result.error.unwrap().code, "SH1007", "{n}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{n}: {:?}", begun.elapsed());
    }
    assert!(!worker.log().contains("overflow"), "{}", worker.log());
}

/// From its second delivery on, a reading is recorded and has the worker to itself.
#[tokio::test]
async fn hostile_object_metadata_delays_no_other_redelivery() {
    let test_env = WorkerEnv::new().await;
    let dev = "dev".parse().unwrap();
    let hostile = [send_hostile(&test_env, 0).await, send_hostile(&test_env, 1).await];
    let waiting = test_env.send("dev", "ping", json!({})).await;
    // Each is delivered once to somebody who does not settle it.
    let batch: Vec<_> = test_env.client.bus().pull(Queue::Commands, 3, WITHIN).collect().await;
    for delivery in batch {
        delivery.unwrap().acker.settle(Settlement::Nak(Duration::ZERO)).await.unwrap();
    }
    test_env.client.pause(&dev, "test", None).await.unwrap();
    let _worker = test_env.worker("w1").await;
    eventually("the ping waits", WITHIN, async || {
        let record = RecordKey::command(&CommandId::new(&dev, &waiting));
        test_env.client.bus().attempts(&record).await.unwrap().0.fingerprint
    })
    .await;
    test_env.client.resume(&dev).await.unwrap();
    let begun = Instant::now();
    assert_eq!(test_env.result(&waiting).await.outcome, Outcome::Succeeded);
    for key in hostile {
        assert_eq!(test_env.result(&key).await.error.unwrap().code, "SH1007");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn command_that_crashes_workers_is_quarantined_and_others_continue() {
    let test_env = WorkerEnv::new().await;
    let name = format!("crash-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    // No node has the label, so it runs until its worker is killed.
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", "namespace": name},
        "spec": {"nodeSelector": {"no": "node"}, "containers": [{"name": "a", "image": "example.com/a:1"}]},
    });
    let params = json!({"name": name, "manifest": manifest.to_string(), "create_namespace": true, "wait": "5m"});
    let key = test_env.send("dev", "config.apply", params).await;
    for worker in ["first", "second", "third"] {
        let mut process = test_env.worker(worker).await;
        test_env.event(&key, |kind| matches!(kind, EventKind::Started(started) if started.worker == worker)).await;
        process.kill();
    }
    let worker = test_env.worker("fourth").await;
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.attempts, result.worker.as_str()), (Outcome::Failed, 3, "fourth"));
    assert_eq!(result.error.unwrap().code, "SH1013");
    let letters = test_env.client.dead_letters(&Filter { limit: 10, ..Filter::default() }).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "quarantined"));
    assert_eq!(test_env.run("dev", "ping", json!({})).await.outcome, Outcome::Succeeded);
    let metrics = worker.http("/metrics").await.1;
    assert!(metrics.contains(r#"sailhand_dead_letters_total{reason="quarantined"} 1"#), "{metrics}");
}
