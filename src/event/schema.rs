//! Generates the files of the contract from the types: JSON Schemas of commands, events and results, examples, and an
//! `AsyncAPI` 3 document. `sailhand schema` writes them; a test checks that `schemas/` is up to date.

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

use super::TYPE_PREFIX;
use super::emit::{DeadLettered, EventKind, ResultData, Retrying, Started};
use crate::conformance::model::{CaseEvent, SpecEvent, SummaryEvent};
use crate::progress::Step;
use crate::task_event::{Changed, Discovered, Found, Lost, Resolved};

/// The parts of a verb that the contract describes.
pub struct Verb {
    /// Such as `config.apply`.
    pub name: &'static str,
    /// Summary, one sentence.
    pub summary: &'static str,
    /// Schema of `data` of the command.
    pub params: Schema,
    /// Schema of `report` of the result.
    pub report: Schema,
    /// Valid parameters.
    pub example: Value,
}

/// All files below `schemas/`, by relative path.
#[must_use]
pub fn files(verbs: &[Verb]) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    for verb in verbs {
        files.insert(
            format!("commands/{}.v1.json", verb.name),
            titled(&verb.params, &format!("data of command {} v1", verb.name)),
        );
        files.insert(
            format!("results/{}.v1.json", verb.name),
            titled(&result_schema(&verb.report), &format!("data of result {} v1", verb.name)),
        );
        files.insert(format!("examples/{}.v1.json", verb.name), example(verb));
    }
    for (name, schema) in event_schemas() {
        files.insert(format!("events/{name}.v1.json"), titled(&schema, &format!("data of event {name} v1")));
    }
    files.insert("asyncapi.json".to_owned(), asyncapi(verbs));
    files
}

fn event_schemas() -> [(&'static str, Schema); 12] {
    let [started, progress, retrying, dead, found, resolved, case, spec, summary, discovered, changed, lost] =
        EventKind::NAMES;
    [
        (started, schema_for!(Started)),
        (progress, schema_for!(Step)),
        (retrying, schema_for!(Retrying)),
        (dead, schema_for!(DeadLettered)),
        (found, schema_for!(Found)),
        (resolved, schema_for!(Resolved)),
        (case, schema_for!(CaseEvent)),
        (spec, schema_for!(SpecEvent)),
        (summary, schema_for!(SummaryEvent)),
        (discovered, schema_for!(Discovered)),
        (changed, schema_for!(Changed)),
        (lost, schema_for!(Lost)),
    ]
}

/// Schema of a result with the report of the verb.
fn result_schema(report: &Schema) -> Schema {
    let mut schema = schema_for!(ResultData).to_value();
    let mut report = report.clone().to_value();
    let definitions = report.as_object_mut().and_then(|report| report.remove("$defs"));
    if let Some(report) = report.as_object_mut() {
        report.remove("$schema");
    }
    if let (Some(all), Some(Value::Object(more))) = (schema["$defs"].as_object_mut(), definitions) {
        all.extend(more);
    }
    schema["properties"]["report"] = report;
    Schema::try_from(schema).unwrap_or_default()
}

fn titled(schema: &Schema, title: &str) -> Value {
    let mut value = schema.clone().to_value();
    value["title"] = Value::String(title.to_owned());
    value
}

fn example(verb: &Verb) -> Value {
    json!({
        "specversion": "1.0",
        "id": "7d4d3c39-0a5e-4f0e-9b8b-3f4f0e7f6f10",
        "source": "/pipelines/example",
        "type": format!("{TYPE_PREFIX}.command.{}.v1", verb.name),
        "subject": "dev",
        "time": "2026-01-31T12:00:00Z",
        "datacontenttype": "application/json",
        "data": verb.example,
    })
}

fn asyncapi(verbs: &[Verb]) -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    let target = json!({ "target": { "description": "Id of a cluster that the workers know." } });
    let answer = json!({
        "target": { "description": "Id of the cluster." },
        "key": { "description": "First 32 hex digits of SHA-256(source, newline, id) of the command." },
    });
    for verb in verbs {
        let id = verb.name.replace('.', "_");
        for (kind, schema, summary) in [
            ("command", format!("./commands/{}.v1.json", verb.name), verb.summary.to_owned()),
            ("result", format!("./results/{}.v1.json", verb.name), format!("How {} ended.", verb.name)),
        ] {
            let ty = format!("{TYPE_PREFIX}.{kind}.{}.v1", verb.name);
            messages.insert(format!("{kind}_{id}"), message(&ty, &summary, &schema));
        }
        let channel = format!("command_{id}");
        channels.insert(
            channel.clone(),
            json!({
                "address": format!("istio.cmd.{{target}}.{}", verb.name),
                "parameters": target,
                "messages": { "command": { "$ref": format!("#/components/messages/{channel}") } },
            }),
        );
        operations.insert(
            format!("do_{id}"),
            json!({ "action": "receive", "summary": verb.summary, "channel": { "$ref": format!("#/channels/{channel}") } }),
        );
    }
    let results: Map<String, Value> = verbs
        .iter()
        .map(|verb| format!("result_{}", verb.name.replace('.', "_")))
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    channels.insert(
        "results".to_owned(),
        json!({ "address": "istio.res.{target}.{key}", "parameters": answer, "messages": results }),
    );
    operations.insert("end".to_owned(), json!({ "action": "send", "summary": "Says how a command ended, exactly once.", "channel": { "$ref": "#/channels/results" } }));
    for name in EventKind::NAMES {
        let ty = format!("{TYPE_PREFIX}.event.{name}.v1");
        messages.insert(
            format!("event_{name}"),
            message(&ty, &format!("A command's {name} event."), &format!("./events/{name}.v1.json")),
        );
        let channel = format!("event_{name}");
        channels.insert(
            channel.clone(),
            json!({
                "address": format!("istio.evt.{{target}}.{{key}}.{name}"),
                "parameters": answer,
                "messages": { "event": { "$ref": format!("#/components/messages/{channel}") } },
            }),
        );
        operations.insert(
            format!("publish_{name}"),
            json!({ "action": "send", "channel": { "$ref": format!("#/channels/{channel}") } }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "sailhand",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Commands for Istio on Kubernetes clusters, their progress and their results, as CloudEvents 1.0 on NATS JetStream.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

/// Schema of a structured CloudEvent of one type. Its `data` has its own schema file.
fn message(ty: &str, summary: &str, data: &str) -> Value {
    json!({
        "name": ty,
        "summary": summary,
        "contentType": "application/cloudevents+json",
        "payload": {
            "type": "object",
            "required": ["specversion", "id", "source", "type", "subject"],
            "properties": {
                "specversion": { "const": "1.0" },
                "id": { "type": "string", "minLength": 1 },
                "source": { "type": "string", "minLength": 1, "format": "uri-reference" },
                "type": { "const": ty },
                "subject": { "type": "string", "description": "The target." },
                "time": { "type": "string", "format": "date-time" },
                "datacontenttype": { "const": "application/json" },
                "data": { "$ref": data },
            },
        },
    })
}
