//! `POST /v1/events`: commands as CloudEvents in structured, binary and batched mode (http-protocol-binding.md). Credentials
//! and the rate limit are checked before the body is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::{Map, Value};

use super::principals::Caller;
use super::refusal::Refusal;
use super::{Shared, audit, server};
use crate::client::Submitted;
use crate::event::{self, Command, CommandDraft, Target, binding, json, verb_and_version};

/// Longest body in bytes: of one event a little more than an event may have, so that its own check names the limit.
const MAX_EVENT: usize = binding::MAX_BYTES + 1024;
const MAX_BATCH: usize = 1 << 20;
/// Maximum number of events of a batch.
pub(super) const BATCH: usize = 500;
/// Events of one batch that are published at once.
const AT_ONCE: usize = 32;
/// Longest time for the bus to confirm one event.
const CONFIRM: Duration = Duration::from_secs(10);

/// One accepted event in a response.
#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    key: String,
    target: String,
    verb: String,
    id: String,
    source: String,
    /// The queue had the same command already.
    duplicate: bool,
    /// Path of its state and result.
    pub(super) location: String,
}

#[derive(Debug, Serialize)]
struct AcceptedBatch {
    commands: Vec<Accepted>,
}

pub(super) async fn events(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let peer = server::peer(&request);
    let (parts, body) = request.into_parts();
    let caller = match shared.principals.authenticate(&parts.headers, &server::certificate(&parts)).await {
        Ok(caller) => caller,
        Err(refusal) => {
            audit::refused(&shared, None, peer, &refusal);
            return refusal.into_response();
        }
    };
    let accepted = accept(&shared, &caller, peer, &parts.headers, body).await;
    accepted.unwrap_or_else(|refusal| {
        audit::refused(&shared, Some(&caller), peer, &refusal);
        refusal.into_response()
    })
}

async fn accept(
    shared: &Shared,
    caller: &Caller,
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let is_batch = mode(headers)? == Mode::Batch;
    caller.principal.spend()?;
    let limit = if is_batch { MAX_BATCH } else { MAX_EVENT };
    let body = read_body(shared, body, limit).await?;
    let _permit = shared.admit().await?;
    let mut events = read_events(headers, &body)?;
    drop(body);
    if is_batch {
        let check = |(index, event)| {
            check(shared, caller, event).map_err(|reason| Refusal::Batch { index, reason: Box::new(reason) })
        };
        // Nothing is sent unless all are valid.
        let commands = events.into_iter().enumerate().map(check).collect::<Result<Vec<_>, _>>()?;
        let commands = send_all(shared, caller, peer, commands).await?;
        return Ok((StatusCode::ACCEPTED, Json(AcceptedBatch { commands })).into_response());
    }
    let mut attributes = events.pop().unwrap_or_default();
    add_trace(&mut attributes, headers);
    let accepted = send(shared, caller, peer, check(shared, caller, attributes)?).await?;
    let location = HeaderValue::try_from(&accepted.location).map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)).into_response())
}

/// The events of a body in each mode, as attributes and `data`. Exactly one unless the body is a batch.
pub(super) fn read_events(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Map<String, Value>>, Refusal> {
    if mode(headers)? == Mode::One {
        return Ok(vec![binding::read(&pairs(headers)?.iter().copied(), body)?]);
    }
    let value = json::read(body).map_err(|error| Refusal::Invalid(format!("malformed JSON: {error}")))?;
    let Value::Array(events) = value else {
        return Err(Refusal::Invalid("a batch is a JSON array of events".to_owned()));
    };
    if events.len() > BATCH {
        return Err(Refusal::Invalid(format!("the batch has {} events; at most {BATCH} are accepted", events.len())));
    }
    let object = |(index, event)| {
        if let Value::Object(attributes) = event {
            return Ok(attributes);
        }
        let reason = Box::new(Refusal::Invalid("is not a JSON object".to_owned()));
        Err(Refusal::Batch { index, reason })
    };
    events.into_iter().enumerate().map(object).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// Structured or binary.
    One,
    Batch,
}

/// The mode by `Content-Type` and `ce-` headers.
fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let text = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?")).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.ends_with("+json");
    match kind.as_str() {
        "application/cloudevents-batch+json" => Ok(Mode::Batch),
        // A body without attributes in headers is read as structured mode, which many senders label as plain JSON.
        _ if is_json && !kind.starts_with("application/cloudevents-batch") => Ok(Mode::One),
        "" if headers.contains_key("ce-specversion") => Ok(Mode::One),
        _ => Err(Refusal::MediaType(format!(
            "the content type {text:?} is not supported: send application/cloudevents+json, \
             application/cloudevents-batch+json, or application/json with ce- headers"
        ))),
    }
}

/// Attributes of binary mode and the content type. Other headers are not part of an event.
fn pairs(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, Refusal> {
    let part = |name: &str| name.starts_with("ce-") || name == "content-type";
    let pairs = headers.iter().filter(|(name, _)| part(name.as_str())).map(|(name, value)| {
        // The binding requires percent-encoding; the SDK for Go, and Knative with it, sends UTF-8.
        let text = std::str::from_utf8(value.as_bytes());
        text.map(|text| (name.as_str(), text)).map_err(|_| Refusal::Invalid(format!("the header {name} is not UTF-8")))
    });
    pairs.collect()
}

/// The trace context of the request, if the event has none of its own (W3C Trace Context; a longer or empty one is ignored).
fn add_trace(attributes: &mut Map<String, Value>, headers: &HeaderMap) {
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok()).filter(|text| text.len() == 55);
    if let Some(parent) = parent {
        attributes.entry("traceparent").or_insert_with(|| Value::String(parent.to_owned()));
    }
}

/// Reads a body within the limits of size and time.
pub(super) async fn read_body(shared: &Shared, body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let time = shared.settings.body_timeout;
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Refusal::Slow(time)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge(limit)),
        Ok(Err(error)) => Err(Refusal::Body(error.to_string())),
    }
}

/// Decodes an event and checks permission and parameters.
pub(super) fn check(shared: &Shared, caller: &Caller, attributes: Map<String, Value>) -> Result<Command, Refusal> {
    let command = decode(attributes)?;
    let (target, verb) = (&command.origin.target, &command.origin.verb);
    let validator = shared.catalogue.validator(verb)?;
    caller.principal.may_send(target, verb, &command.origin.source)?;
    // With `dataref` the parameters are in the object store; the worker checks them.
    if command.dataref.is_none() {
        validator.check(&command.params)?;
    }
    Ok(command)
}

/// The command that an event is, by its type and subject.
pub(super) fn decode(attributes: Map<String, Value>) -> Result<Command, Refusal> {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    let attribute =
        |name: &str, reason: &str| event::Error::Attribute { name: name.to_owned(), reason: reason.to_owned() };
    let ty = text("type").ok_or_else(|| attribute("type", "is missing"))?;
    let unknown = || event::Error::UnknownType { found: ty.chars().take(256).collect() };
    let verb = verb_and_version(ty, "command").map(|(verb, _)| verb.to_owned()).ok_or_else(unknown)?;
    let target = text("subject").and_then(|subject| subject.parse::<Target>().ok());
    let target = target.ok_or_else(|| attribute("subject", "must name the target"))?;
    Ok(event::decode_attributes(&target, &verb, attributes).map_err(|rejection| rejection.error)?)
}

/// Publishes the commands of one request. The first one was counted against the rate limit with the request.
pub(super) async fn send_all(
    shared: &Shared,
    caller: &Caller,
    peer: Option<SocketAddr>,
    commands: Vec<Command>,
) -> Result<Vec<Accepted>, Refusal> {
    caller.principal.charge(commands.len().saturating_sub(1));
    let sent = stream::iter(commands.into_iter().enumerate()).map(|(index, command)| async move {
        let sent = send(shared, caller, peer, command).await;
        sent.map_err(|reason| Refusal::Batch { index, reason: Box::new(reason) })
    });
    sent.buffered(AT_ONCE).try_collect().await
}

/// Publishes a command and waits for the ack of the bus.
pub(super) async fn send(
    shared: &Shared,
    caller: &Caller,
    peer: Option<SocketAddr>,
    command: Command,
) -> Result<Accepted, Refusal> {
    let target = command.origin.target.clone();
    let submitted = tokio::time::timeout(CONFIRM, shared.client.submit(&target, draft(&command))).await;
    let submitted = submitted.map_err(|_| Refusal::Unconfirmed(CONFIRM))??;
    audit::accepted(shared, caller, peer, &command, &submitted);
    let Submitted { key, duplicate } = submitted;
    let location = format!("/v1/commands/{target}/{key}");
    let event::Origin { id, source, verb, .. } = command.origin;
    Ok(Accepted { key: key.to_string(), target: target.to_string(), verb, id, source, duplicate, location })
}

fn draft(command: &Command) -> CommandDraft {
    let origin = &command.origin;
    CommandDraft {
        id: origin.id.clone(),
        source: origin.source.clone(),
        verb: origin.verb.clone(),
        params: command.params.clone(),
        expiry: command.expiry,
        generation: command.generation,
        correlation: Some(origin.correlation.clone()).filter(|correlation| *correlation != origin.id),
        dataref: command.dataref.clone(),
        replay_of: None,
        traceparent: origin.traceparent.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn mode_follows_the_content_type() {
        for (kind, wanted) in [
            ("application/cloudevents+json; charset=utf-8", Some(Mode::One)),
            ("Application/JSON", Some(Mode::One)),
            ("application/cloudevents-batch+json", Some(Mode::Batch)),
            ("application/cloudevents+protobuf", None),
            ("application/cloudevents-batch+avro", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(mode(&headers(&[("content-type", kind)])).ok(), wanted, "{kind}");
        }
        assert_eq!(mode(&headers(&[("ce-specversion", "1.0")])).ok(), Some(Mode::One));
    }

    #[test]
    fn only_attributes_and_content_type_are_read_from_headers() {
        let headers = headers(&[("ce-id", "1"), ("nats-msg-id", "x"), ("content-type", "application/json")]);
        let mut names: Vec<&str> = pairs(&headers).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["ce-id", "content-type"]);
    }
}
