//! A command: an event with checked attributes whose type names a verb.
//!
//! The SDK lets empty ids, upper-case extension names and non-URI sources pass, so the attributes are checked here
//! (CloudEvents 1.0.2 §3) before it sees them.

use cloudevents::Event;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fingerprint::{Fingerprint, params_digest};
use super::{CommandId, CommandKey, Error, Target, binding, verb_and_version};

/// Identity of a command and of its sender: sufficient to publish events and a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// See [`CommandKey`].
    pub key: CommandKey,
    /// The event's `id`.
    pub id: String,
    /// The event's `source`.
    pub source: String,
    /// The target of the NATS subject.
    pub target: Target,
    /// The verb of the NATS subject.
    pub verb: String,
    /// `correlationid`; the `id` of an event without it.
    pub correlation: String,
    /// W3C trace context of the start of the transmission.
    pub traceparent: Option<String>,
    /// See `traceparent`.
    pub tracestate: Option<String>,
    /// Digest of the parameters: 64 hex digits. `None` for a message that is not a valid command.
    pub digest: Option<String>,
}

impl Origin {
    /// Id of the command on the bus.
    #[must_use]
    pub fn command(&self) -> CommandId {
        CommandId::new(&self.target, &self.key)
    }

    /// Verb and parameters of the command. `None` for a message that is not a valid command.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.digest.clone().map(|digest| Fingerprint { verb: self.verb.clone(), digest })
    }
}

/// A valid command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Identity of the command and of its sender.
    pub origin: Origin,
    /// `data`; `{}` in an event without it.
    pub params: Value,
    /// `expirytime`: the command does not start or continue after this time.
    pub expiry: Option<OffsetDateTime>,
    /// `generation`: a command with a lower generation does not undo one with a higher generation.
    pub generation: Option<u64>,
    /// `dataref`: reference to the parameters, instead of `data`.
    pub dataref: Option<String>,
}

/// Why a message is not a command.
#[derive(Debug)]
pub struct Rejection {
    /// The error.
    pub error: Error,
    /// The sender, if the message names it.
    pub origin: Option<Box<Origin>>,
}

const MAX_ATTRIBUTE: usize = 1024;

/// Decodes a message of the command stream. `target` and `verb` are those of the NATS subject. Permissions are granted by
/// subject, so the event must name the same.
///
/// # Errors
/// With the origin if id and source can be read, so that the sender gets a result.
pub fn decode<'a>(
    target: &Target,
    verb: &str,
    headers: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    payload: &[u8],
) -> Result<Command, Rejection> {
    let attributes = binding::read(headers, payload).map_err(|error| Rejection { error, origin: None })?;
    decode_attributes(target, verb, attributes)
}

/// Decodes the attributes and `data` of an event that [`binding::read`] has read.
///
/// # Errors
/// As [`decode`].
pub fn decode_attributes(
    target: &Target,
    verb: &str,
    mut attributes: Map<String, Value>,
) -> Result<Command, Rejection> {
    let data = attributes.remove("data");
    let has_base64 = attributes.remove("data_base64").is_some();
    let origin = origin(target, verb, &attributes);
    let command = |mut origin: Origin| -> Result<Command, Error> {
        check_attributes(&attributes)?;
        check_type(target, verb, &attributes)?;
        if has_base64 {
            return Err(attribute("data_base64", "parameters are JSON: use data"));
        }
        // The SDK checks the envelope too.
        Event::deserialize(&attributes).map_err(|error| Error::NotAnEvent { reason: error.to_string() })?;
        let dataref = text(&attributes, "dataref").map(str::to_owned);
        if dataref.is_some() && data.is_some() {
            return Err(attribute("dataref", "excludes data"));
        }
        let params = data.unwrap_or_else(|| Value::Object(Map::new()));
        origin.digest = Some(params_digest(&params, dataref.as_deref()));
        Ok(Command {
            origin,
            params,
            expiry: time_attribute(&attributes, "expirytime")?,
            generation: generation(&attributes)?,
            dataref,
        })
    };
    match origin {
        Some(origin) => command(origin.clone()).map_err(|error| Rejection { error, origin: Some(Box::new(origin)) }),
        None => Err(Rejection { error: missing_identity(&attributes), origin: None }),
    }
}

/// The sender of a message, if its headers name it, as in binary mode. The payload is not read.
#[must_use]
pub fn sender<'a>(
    target: &Target,
    verb: &str,
    headers: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
) -> Option<Origin> {
    origin(target, verb, &binding::read(headers, &[]).ok()?)
}

fn origin(target: &Target, verb: &str, attributes: &Map<String, Value>) -> Option<Origin> {
    let id = text(attributes, "id").filter(|id| !id.is_empty() && id.len() <= MAX_ATTRIBUTE)?;
    let source = text(attributes, "source").filter(|source| !source.is_empty() && source.len() <= MAX_ATTRIBUTE)?;
    Some(Origin {
        key: CommandKey::new(source, id),
        id: id.to_owned(),
        source: source.to_owned(),
        target: target.clone(),
        verb: verb.to_owned(),
        correlation: answerable(attributes, "correlationid").unwrap_or(id).to_owned(),
        traceparent: answerable(attributes, "traceparent").map(str::to_owned),
        tracestate: answerable(attributes, "tracestate").filter(|state| !state.is_empty()).map(str::to_owned),
        digest: None,
    })
}

/// Results repeat attributes of the command, also the result that rejects an attribute, so their length is limited.
fn answerable<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    text(attributes, name).filter(|text| text.len() <= MAX_ATTRIBUTE)
}

fn missing_identity(attributes: &Map<String, Value>) -> Error {
    let name = if text(attributes, "id").is_some_and(|id| !id.is_empty() && id.len() <= MAX_ATTRIBUTE) {
        "source"
    } else {
        "id"
    };
    attribute(name, &format!("must be a string of 1 to {MAX_ATTRIBUTE} characters"))
}

fn check_attributes(attributes: &Map<String, Value>) -> Result<(), Error> {
    if text(attributes, "specversion") != Some("1.0") {
        return Err(attribute("specversion", "must be \"1.0\""));
    }
    for (name, value) in attributes {
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(attribute(name, "names are lower-case letters and digits"));
        }
        let fits = match value {
            Value::String(text) => text.len() <= MAX_ATTRIBUTE && !text.chars().any(char::is_control),
            Value::Bool(_) | Value::Null => true,
            Value::Number(number) => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Value::Array(_) | Value::Object(_) => false,
        };
        if !fits {
            return Err(attribute(
                name,
                "must be a boolean, a 32-bit integer, or a string of at most 1024 characters without control characters",
            ));
        }
    }
    if text(attributes, "source").is_some_and(|source| source.contains(char::is_whitespace)) {
        return Err(attribute("source", "must be a URI reference"));
    }
    time_attribute(attributes, "time")?;
    if let Some(content_type) = text(attributes, "datacontenttype")
        && !binding::content_type_is_json(content_type)
    {
        return Err(attribute("datacontenttype", "must be application/json"));
    }
    Ok(())
}

fn check_type(target: &Target, verb: &str, attributes: &Map<String, Value>) -> Result<(), Error> {
    let found = text(attributes, "type").ok_or_else(|| attribute("type", "is missing"))?;
    let unknown = || Error::UnknownType { found: found.to_owned() };
    let Some((event_verb, version)) = verb_and_version(found, "command") else { return Err(unknown()) };
    let is_version = version.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if !is_version {
        return Err(unknown());
    }
    let event_target = text(attributes, "subject").ok_or_else(|| attribute("subject", "must name the target"))?;
    if event_verb != verb || event_target != target.as_str() {
        return Err(Error::SubjectMismatch {
            subject: format!("{verb} on {target}"),
            event: format!("{event_verb} on {event_target}"),
        });
    }
    if version == "v1" {
        Ok(())
    } else {
        Err(Error::UnknownVersion { verb: verb.to_owned(), found: version.to_owned() })
    }
}

fn time_attribute(attributes: &Map<String, Value>, name: &str) -> Result<Option<OffsetDateTime>, Error> {
    match attributes.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => OffsetDateTime::parse(text, &Rfc3339)
            .map(Some)
            .map_err(|_| attribute(name, "must be a time such as 2026-01-31T12:00:00Z (RFC 3339)")),
        Some(_) => Err(attribute(name, "must be a string")),
    }
}

/// An integer, or its digits: binary mode has only strings, and CloudEvents integers end at 2³¹ − 1.
fn generation(attributes: &Map<String, Value>) -> Result<Option<u64>, Error> {
    let number = match attributes.get("generation") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(_) => None,
    };
    number.map(Some).ok_or_else(|| attribute("generation", "must be a non-negative integer"))
}

fn text<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

fn attribute(name: &str, reason: &str) -> Error {
    let name = name.chars().take(64).collect();
    Error::Attribute { name, reason: reason.to_owned() }
}
