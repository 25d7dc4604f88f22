//! `POST /v1/hooks/{name}`: commands from the JSON of other tools, by configuration. A repeated payload is the same
//! command, because its id comes from the payload.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::accept::{self, Accepted};
use super::principals::Caller;
use super::refusal::Refusal;
use super::template::Payload;
use super::{Shared, audit, server};
use crate::config::gateway::{Condition, Hook};
use crate::event::{TYPE_PREFIX, json, rfc3339};
use crate::hex::hex;

/// Longest body in bytes. It is read before its signature can be verified.
const MAX_BODY: usize = 256 << 10;
/// Maximum number of commands of one payload.
const MOST: usize = 100;
/// Longest text of an id; a longer one is replaced by its digest.
const MAX_ID: usize = 256;

/// Response to a payload.
#[derive(Debug, Serialize)]
struct Hooked {
    commands: Vec<Accepted>,
    /// Payloads or elements that do not fulfill the conditions.
    ignored: usize,
}

pub(super) async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let hook = shared.settings.hooks.get(&name).ok_or(Refusal::Route)?;
    let peer = server::peer(&request);
    let (parts, body) = request.into_parts();
    let (caller, body) = match identify(&shared, hook, &parts, body).await {
        Ok(identified) => identified,
        Err(refusal) => {
            audit::refused(&shared, None, peer, &refusal);
            return Err(refusal);
        }
    };
    let hooked = accept(&shared, (&name, hook), &caller, peer, &parts.headers, &body).await;
    let hooked = hooked.inspect_err(|refusal| audit::refused(&shared, Some(&caller), peer, refusal))?;
    Ok((StatusCode::ACCEPTED, Json(hooked)).into_response())
}

async fn identify(
    shared: &Shared,
    hook: &Hook,
    request: &Parts,
    body: Body,
) -> Result<(Caller, bytes::Bytes), Refusal> {
    let principal = shared.principals.named(&hook.principal).ok_or(Refusal::Route)?;
    if principal.signs() {
        let body = accept::read_body(shared, body, MAX_BODY).await?;
        return Ok((shared.principals.verify(principal, &request.headers, &body)?, body));
    }
    let caller = shared.principals.authenticate(&request.headers, &server::certificate(request)).await?;
    if caller.principal.name != principal.name {
        let reason = format!("this hook is for the principal {}, not {}", principal.name, caller.principal.name);
        return Err(Refusal::Permission(reason));
    }
    Ok((caller, accept::read_body(shared, body, MAX_BODY).await?))
}

async fn accept(
    shared: &Shared,
    (name, hook): (&str, &Hook),
    caller: &Caller,
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Hooked, Refusal> {
    caller.principal.spend()?;
    let _permit = shared.admit().await?;
    let whole = json::read(body).map_err(|error| Refusal::Invalid(format!("malformed JSON: {error}")))?;
    let elements = elements(hook, &whole)?;
    let mut commands = Vec::new();
    let total = elements.len();
    for element in elements {
        let payload = Payload { element, whole: &whole };
        if hook.when.iter().all(|condition| holds(condition, &payload, headers)) {
            let attributes = event(name, hook, caller, &payload)?;
            commands.push(accept::check(shared, caller, attributes)?);
        }
    }
    let ignored = total - commands.len();
    let commands = accept::send_all(shared, caller, peer, commands).await?;
    Ok(Hooked { commands, ignored })
}

fn elements<'a>(hook: &Hook, whole: &'a Value) -> Result<Vec<&'a Value>, Refusal> {
    let Some(pointer) = &hook.each else { return Ok(vec![whole]) };
    match whole.pointer(pointer) {
        Some(Value::Array(elements)) if elements.len() <= MOST => Ok(elements.iter().collect()),
        Some(Value::Array(elements)) => {
            Err(Refusal::Hook(format!("{pointer} has {} elements; at most {MOST} are accepted", elements.len())))
        }
        _ => Err(Refusal::Hook(format!("the payload has no array at {pointer}"))),
    }
}

fn holds(condition: &Condition, payload: &Payload<'_>, headers: &HeaderMap) -> bool {
    let found = match (&condition.pointer, &condition.header) {
        (Some(pointer), _) => payload.text(pointer),
        (None, Some(name)) => headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned),
        (None, None) => None,
    };
    found.is_some_and(|found| condition.is.contains(&found))
}

/// The command of a payload, as the attributes and `data` of an event.
fn event(name: &str, hook: &Hook, caller: &Caller, payload: &Payload<'_>) -> Result<Map<String, Value>, Refusal> {
    let fail = |reason: String| Refusal::Hook(format!("hook {name}: {reason}"));
    let prefix = caller.principal.source_prefix();
    let separator = if prefix.ends_with(['/', ':', '#']) { "" } else { "/" };
    let target = payload.fill(&Value::String(hook.target.clone())).map_err(fail)?;
    let mut attributes = Map::new();
    for (name, value) in [
        ("specversion", "1.0".to_owned()),
        ("id", id(hook, payload).map_err(fail)?),
        ("source", format!("{prefix}{separator}{name}")),
        ("type", format!("{TYPE_PREFIX}.command.{}.v1", hook.verb)),
    ] {
        attributes.insert(name.to_owned(), Value::String(value));
    }
    attributes.insert("subject".to_owned(), target);
    if let Some(expires) = hook.expires {
        let expiry = rfc3339(OffsetDateTime::now_utc() + expires);
        attributes.insert("expirytime".to_owned(), Value::String(expiry));
    }
    attributes.insert("data".to_owned(), Value::Object(payload.fill_fields(&hook.params).map_err(fail)?));
    Ok(attributes)
}

/// The values of the pointers, or the digest of the payload.
fn id(hook: &Hook, payload: &Payload<'_>) -> Result<String, String> {
    let digest = |text: &str| hex(&Sha256::digest(text));
    if hook.id.is_empty() {
        return Ok(digest(&payload.element.to_string()));
    }
    let part = |pointer: &String| payload.text(pointer).ok_or_else(|| format!("the payload has no text at {pointer}"));
    let parts = hook.id.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let id = parts.join(" ");
    let fits = !id.is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control);
    Ok(if fits { id } else { digest(&id) })
}
