//! The OpenAPI 3.1 document of the gateway, made from the schemas of the verbs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::Shared;
use crate::event::TYPE_PREFIX;
use crate::event::schema::Verb;

/// `GET /v1/openapi.json`, without credentials: the document is part of the source code.
pub(super) async fn serve(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], shared.openapi.clone())
}

/// The document.
#[must_use]
pub fn document(verbs: &[Verb]) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sailhand gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Commands for Istio on Kubernetes clusters as CloudEvents 1.0 over HTTP, their state, events and results.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8323" }],
        "security": [{ "bearer": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer",
                "description": "The token of a principal, or an OIDC token whose claims match one.",
            } },
            "responses": { "problem": {
                "description": "The request was refused (RFC 9457). `code` names a page in docs/errors.",
                "headers": { "Retry-After": { "schema": { "type": "integer" }, "description": "Seconds, with 429 and 503." } },
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/problem" } } },
            } },
            "schemas": schemas(verbs),
        },
    })
}

fn paths() -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let content = |kind: &str, name: &str| json!({ kind: { "schema": reference(name) } });
    let command = json!([
        { "name": "target", "in": "path", "required": true, "schema": { "type": "string" }, "description": "Id of the cluster." },
        { "name": "key", "in": "path", "required": true, "schema": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
          "description": "First 32 hex digits of SHA-256(source, newline, id)." },
    ]);
    let with_parameter = |parameter: Value| {
        let mut parameters = command.as_array().cloned().unwrap_or_default();
        parameters.push(parameter);
        Value::Array(parameters)
    };
    let problem = json!({ "$ref": "#/components/responses/problem" });
    json!({
        "/v1/events": {
            "post": {
                "operationId": "sendEvents",
                "summary": "Sends one command or a batch; responds when NATS has stored it.",
                "requestBody": { "required": true, "content": {
                    "application/cloudevents+json": { "schema": reference("command") },
                    "application/cloudevents-batch+json": {
                        "schema": { "type": "array", "items": reference("command"), "maxItems": super::accept::BATCH },
                    },
                    "application/json": { "schema": {
                        "description": "Binary mode: `data` of the command, with the attributes in `ce-` headers.",
                    } },
                } },
                "responses": {
                    "202": {
                        "description": "Accepted. The same source and id again are the same command.",
                        "headers": { "Location": { "schema": { "type": "string" }, "description": "State of the command; not for batches." } },
                        "content": { "application/json": { "schema": { "oneOf": [reference("accepted"), reference("accepted_batch")] } } },
                    },
                    "default": problem,
                },
            },
            "options": {
                "operationId": "allowWebhook",
                "summary": "The webhook handshake of CloudEvents.",
                "security": [],
                "responses": { "200": { "description": "The origin may deliver events." }, "default": problem },
            },
        },
        "/v1/hooks/{name}": {
            "post": {
                "operationId": "receiveHook",
                "summary": "Makes commands from the JSON of another tool, as gateway.hooks configures it.",
                "parameters": [{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }],
                "requestBody": { "required": true, "content": { "application/json": { "schema": {} } } },
                "responses": {
                    "202": { "description": "Accepted, or ignored by a condition.", "content": content("application/json", "hooked") },
                    "default": problem,
                },
            },
        },
        "/v1/commands/{target}/{key}": {
            "get": {
                "operationId": "getCommand",
                "summary": "State and result of a command.",
                "parameters": with_parameter(json!({
                    "name": "wait", "in": "query", "schema": { "type": "string", "examples": ["60s"] },
                    "description": "Waits for the end of the command, at most gateway.max_wait.",
                })),
                "responses": {
                    "200": { "description": "The state.", "content": content("application/json", "state") },
                    "default": problem,
                },
            },
        },
        "/v1/commands/{target}/{key}/events": {
            "get": {
                "operationId": "streamEvents",
                "summary": "Events and result of a command as server-sent events.",
                "parameters": with_parameter(json!({
                    "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
                    "description": "Continues after this event.",
                })),
                "responses": {
                    "200": { "description": "The stream; its last event has the id `end`.", "content": { "text/event-stream": {} } },
                    "204": { "description": "Nothing follows the last event." },
                    "default": problem,
                },
            },
        },
    })
}

#[allow(clippy::too_many_lines, reason = "one list of schemas")]
fn schemas(verbs: &[Verb]) -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let mut schemas = Map::new();
    let mut kinds = Vec::new();
    for verb in verbs {
        let name = format!("{}_data", verb.name.replace('.', "_"));
        let mut data = verb.params.clone().to_value();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("$schema");
        }
        rebase(&mut data, &format!("#/components/schemas/{name}/$defs/"));
        kinds.push(json!({
            "title": verb.name,
            "description": verb.summary,
            "properties": {
                "type": { "const": format!("{TYPE_PREFIX}.command.{}.v1", verb.name) },
                "data": { "$ref": format!("#/components/schemas/{name}") },
            },
        }));
        schemas.insert(name, data);
    }
    for (name, schema) in [
        (
            "command",
            json!({
                "type": "object",
                "description": "A command as a CloudEvent in structured mode.",
                "required": ["specversion", "id", "source", "type", "subject"],
                "properties": {
                    "specversion": { "const": "1.0" },
                    "id": { "type": "string", "minLength": 1, "maxLength": 1024 },
                    "source": { "type": "string", "minLength": 1, "maxLength": 1024, "format": "uri-reference" },
                    "type": text,
                    "subject": { "type": "string", "description": "The target." },
                    "time": { "type": "string", "format": "date-time" },
                    "expirytime": { "type": "string", "format": "date-time", "description": "The command is not started after this." },
                    "correlationid": text,
                    "datacontenttype": { "const": "application/json" },
                },
                "oneOf": kinds,
            }),
        ),
        (
            "accepted",
            json!({
                "type": "object",
                "required": ["key", "target", "verb", "id", "source", "duplicate", "location"],
                "properties": {
                    "key": text, "target": text, "verb": text, "id": text, "source": text,
                    "duplicate": { "type": "boolean", "description": "The queue had the same command already." },
                    "location": { "type": "string", "description": "Path of its state and result." },
                },
            }),
        ),
        (
            "accepted_batch",
            json!({
                "type": "object",
                "required": ["commands"],
                "properties": { "commands": { "type": "array", "items": { "$ref": "#/components/schemas/accepted" } } },
            }),
        ),
        (
            "hooked",
            json!({
                "type": "object",
                "required": ["commands", "ignored"],
                "properties": {
                    "commands": { "type": "array", "items": { "$ref": "#/components/schemas/accepted" } },
                    "ignored": { "type": "integer", "description": "Payloads or elements that do not fulfill the conditions." },
                },
            }),
        ),
        (
            "state",
            json!({
                "type": "object",
                "required": ["key", "target", "state"],
                "properties": {
                    "key": text, "target": text,
                    "state": { "enum": ["pending", "running", "ended"] },
                    "id": text, "source": text, "verb": text,
                    "outcome": { "enum": ["succeeded", "failed", "rejected", "cancelled", "expired", "superseded"] },
                    "result": { "type": "object", "description": "`data` of the result: schemas/results." },
                    "last_event": { "type": "object", "description": "The newest event of a running command: schemas/events." },
                },
            }),
        ),
        (
            "problem",
            json!({
                "type": "object",
                "required": ["type", "title", "status", "detail", "code", "remedy"],
                "properties": {
                    "type": text, "title": text, "status": { "type": "integer" }, "detail": text,
                    "code": { "type": "string", "pattern": "^SH[0-9]{4}$" }, "remedy": text,
                },
            }),
        ),
    ] {
        schemas.insert(name.to_owned(), schema);
    }
    schemas
}

/// Makes references within a schema relative to the document.
fn rebase(value: &mut Value, to: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let (true, Value::String(text)) = (name == "$ref", &mut *value)
                    && let Some(rest) = text.strip_prefix("#/$defs/")
                {
                    *text = format!("{to}{rest}");
                } else {
                    rebase(value, to);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rebase(value, to)),
        _ => {}
    }
}
