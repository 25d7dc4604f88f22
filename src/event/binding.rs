//! CloudEvents over NATS (cloudevents/spec `bindings/nats-protocol-binding.md`): reads structured mode, binary mode
//! and structured mode without a content type, as the Go SDK writes it; writes structured mode.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{Error, json};

/// Largest payload of a command, bytes. The command stream has the same limit.
pub const MAX_BYTES: usize = 512 * 1024;

/// The attributes and `data` of an event in any mode.
///
/// # Errors
/// [`Error::TooLarge`], or [`Error::NotAnEvent`] with the content that was found.
pub fn read<'a>(
    headers: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    payload: &[u8],
) -> Result<Map<String, Value>, Error> {
    if payload.len() > MAX_BYTES {
        return Err(Error::TooLarge { size: payload.len(), limit: MAX_BYTES });
    }
    let header = |name: &str| headers.clone().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    if header("ce-specversion").is_some() {
        return binary(headers.clone(), header("content-type"), payload);
    }
    let content_type = header("content-type").unwrap_or("");
    if starts_with_ignore_case(content_type, "application/cloudevents-batch") {
        return Err(not_an_event("batch mode is not part of the NATS binding"));
    }
    if starts_with_ignore_case(content_type, "application/cloudevents") && !content_type_is_json(content_type) {
        return Err(not_an_event(&format!("only the JSON format is read, not {content_type:?}")));
    }
    let value: Value = json::read(payload).map_err(|error| not_an_event(&format!("malformed JSON: {error}")))?;
    match value {
        Value::Object(attributes) if attributes.contains_key("specversion") => Ok(attributes),
        Value::Object(_) => Err(not_an_event("a JSON object without specversion")),
        _ => Err(not_an_event("JSON, but not an object")),
    }
}

fn binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<Map<String, Value>, Error> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.get(3..).filter(|_| starts_with_ignore_case(name, "ce-")) else { continue };
        let value = percent_decode_str(value).decode_utf8().map_err(|_| Error::Attribute {
            name: attribute.to_owned(),
            reason: "is not UTF-8 after percent-decoding".to_owned(),
        })?;
        let name = attribute.to_ascii_lowercase();
        if attributes.insert(name.clone(), Value::String(value.into_owned())).is_some() {
            return Err(Error::Attribute { name, reason: "is there twice".to_owned() });
        }
    }
    let content_type = content_type.unwrap_or("application/json");
    attributes.insert("datacontenttype".to_owned(), Value::String(content_type.to_owned()));
    if !payload.is_empty() {
        if !content_type_is_json(content_type) {
            return Err(Error::Attribute {
                name: "datacontenttype".to_owned(),
                reason: format!("must be application/json, not {content_type:?}"),
            });
        }
        let data = json::read(payload).map_err(|error| not_an_event(&format!("malformed JSON data: {error}")))?;
        attributes.insert("data".to_owned(), data);
    }
    Ok(attributes)
}

/// `application/json` and `…+json`, with any parameters (RFC 2045, RFC 6839).
pub(super) fn content_type_is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/cloudevents" || essence.ends_with("/json") || essence.ends_with("+json")
}

fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn not_an_event(reason: &str) -> Error {
    Error::NotAnEvent { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRUCTURED: &str = r#"{"specversion":"1.0","id":"1","source":"/t","type":"x","data":{"a":1}}"#;

    fn read_with(headers: &[(&str, &str)], payload: &str) -> Result<Map<String, Value>, Error> {
        read(&headers.iter().copied(), payload.as_bytes())
    }

    #[test]
    fn structured_is_read_with_and_without_content_type() {
        let typed = read_with(&[("Content-Type", "Application/CloudEvents+JSON; charset=utf-8")], STRUCTURED);
        assert_eq!(typed, read_with(&[], STRUCTURED));
        assert_eq!(typed.unwrap()["data"]["a"], 1);
    }

    #[test]
    fn binary_headers_are_percent_decoded_in_any_case() {
        let headers =
            [("CE-SpecVersion", "1.0"), ("ce-id", "a%20b"), ("ce-Source", "/t"), ("content-type", "application/json")];
        let event = read_with(&headers, r#"{"a":1}"#).unwrap();
        assert_eq!(event["id"], "a b");
        assert_eq!(event["source"], "/t");
        assert_eq!(event["data"]["a"], 1);
    }

    #[test]
    fn binary_without_payload_has_no_data() {
        assert!(!read_with(&[("ce-specversion", "1.0")], "").unwrap().contains_key("data"));
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for (headers, payload, reason) in [
            (&[][..], "nonsense", "malformed JSON"),
            (&[], "[]", "not an object"),
            (&[], r#"{"a":1}"#, "without specversion"),
            (&[("content-type", "application/cloudevents-batch+json")], "[]", "batch"),
            (&[("content-type", "application/cloudevents+avro")], "x", "only the JSON format"),
            (&[("ce-specversion", "1.0")], "{", "malformed JSON data"),
            (&[("ce-specversion", "1.0"), ("content-type", "text/xml")], "<a/>", "must be application/json"),
            (&[("ce-specversion", "1.0"), ("ce-id", "%ff")], "", "not UTF-8"),
            (&[("ce-specversion", "1.0"), ("ce-id", "1"), ("Ce-Id", "2")], "", "id: is there twice"),
            (&[], r#"{"specversion":"1.0","id":"1","id":"2"}"#, "\"id\" is there twice"),
            (&[("ce-specversion", "1.0")], r#"{"a":1,"a":2}"#, "\"a\" is there twice"),
        ] {
            let error = read_with(headers, payload).unwrap_err().to_string();
            assert!(error.contains(reason), "{payload}: {error}");
        }
        let large = "x".repeat(MAX_BYTES + 1);
        assert!(matches!(read_with(&[], &large), Err(Error::TooLarge { .. })));
        let deep = "[".repeat(10_000);
        assert!(matches!(read_with(&[], &deep), Err(Error::NotAnEvent { .. })));
    }
}
