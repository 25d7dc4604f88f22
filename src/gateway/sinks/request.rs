//! One request to the endpoint of a sink (http-protocol-binding.md of CloudEvents), and what its answer means.

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::{Map, Value};

use super::super::principals::read_secret;
use super::{Sink, Verdict};
use crate::config::gateway::{Hmac, Mode};
use crate::event;
use crate::hex::hex;
use crate::http::Response;

/// Characters of an attribute that a header must not have: those of the binding, section 3.1.3.2.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// Bytes of an answer that are read, for messages.
const MAX_ANSWER: usize = 1 << 10;
/// Characters of an answer in a message.
const QUOTED: usize = 200;

impl Sink {
    /// Posts an event once.
    pub(super) async fn post(&self, event: &Map<String, Value>) -> Verdict {
        let (mut headers, body) = match encode(self.settings.mode, event) {
            Ok(encoded) => encoded,
            Err(reason) => return Verdict::Refused(reason),
        };
        if let Some(signature) = &self.settings.hmac {
            match sign(signature, &body).await {
                Ok((name, value)) => drop(headers.insert(name, value)),
                Err(reason) => return Verdict::Again(reason, None),
            }
        }
        let url = &self.settings.url;
        match self.http.post(url, headers, body, MAX_ANSWER).await {
            Ok(response) => judge(url, &response),
            Err(error) => Verdict::Again(format!("POST {url}: {error}"), None),
        }
    }
}

fn judge(url: &str, response: &Response) -> Verdict {
    let status = response.status;
    let body: String = response.body.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTED).collect();
    let text = format!("POST {url} responds {status}: {}", body.trim());
    let text = text.trim_end_matches([':', ' ']).to_owned();
    match status {
        200..=299 => Verdict::Accepted,
        // About the content of this event.
        400 | 406 | 410 | 411 | 413 | 414 | 415 | 422 | 431 => Verdict::Refused(text),
        // About the address, the credentials or the moment, which a person or time repairs.
        _ => Verdict::Again(text, response.retry_after),
    }
}

/// Headers and body of an event.
fn encode(mode: Mode, event: &Map<String, Value>) -> Result<(HeaderMap, Bytes), String> {
    let mut headers = HeaderMap::new();
    if mode == Mode::Structured {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(event::CONTENT_TYPE));
        let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        return Ok((headers, body.into()));
    }
    for (name, value) in event.iter().filter(|(name, _)| *name != "data") {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let invalid = || format!("the attribute {name:?} cannot be a header");
        let (header, text) = if name == "datacontenttype" {
            (CONTENT_TYPE, text)
        } else {
            let header = HeaderName::try_from(format!("ce-{name}")).map_err(|_| invalid())?;
            (header, utf8_percent_encode(&text, ENCODED).to_string())
        };
        headers.insert(header, HeaderValue::try_from(text).map_err(|_| invalid())?);
    }
    let body = event.get("data").map(Value::to_string).unwrap_or_default();
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    Ok((headers, body.into()))
}

/// The header with the signature of a body. The secret is read each time, so that a rotated file is used.
async fn sign(signature: &Hmac, body: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let secret = read_secret(&signature.secret_file).await?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let name = HeaderName::try_from(&signature.header).map_err(|error| error.to_string())?;
    let value = format!("sha256={}", hex(hmac::sign(&key, body).as_ref()));
    Ok((name, HeaderValue::try_from(value).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Map<String, Value> {
        let event = json!({
            "specversion": "1.0", "id": "a b\r\nX-Evil: 1", "source": "/wörker%", "type": "t", "subject": "dev",
            "datacontenttype": "application/json", "attempt": 2, "data": {"a": 1},
        });
        event.as_object().unwrap().clone()
    }

    #[test]
    fn attributes_are_encoded_as_headers() {
        let (headers, body) = encode(Mode::Binary, &event()).unwrap();
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("ce-id"), "a%20b%0D%0AX-Evil:%201");
        assert_eq!(header("ce-source"), "/w%C3%B6rker%25");
        assert_eq!((header("ce-attempt"), header("content-type")), ("2".to_owned(), "application/json".to_owned()));
        assert_eq!(body, "{\"a\":1}");
        // What a receiver decodes is the event.
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let read = event::binding::read(&pairs.iter().copied(), &body).unwrap();
        assert_eq!((&read["id"], &read["source"]), (&event()["id"], &event()["source"]));
        let (headers, body) = encode(Mode::Structured, &event()).unwrap();
        assert_eq!(headers[CONTENT_TYPE], event::CONTENT_TYPE);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), Value::Object(event()));
    }

    #[test]
    fn only_answers_about_the_content_are_final() {
        let verdict = |status| match judge("http://a", &Response { status, retry_after: None, body: "no\n".to_owned() })
        {
            Verdict::Accepted => "accepted",
            Verdict::Refused(text) if text == format!("POST http://a responds {status}: no") => "refused",
            Verdict::Again(..) => "again",
            Verdict::Refused(_) => "?",
        };
        for (statuses, wanted) in [
            (&[200, 202, 204][..], "accepted"),
            (&[400, 410, 413, 415, 422], "refused"),
            (&[301, 302, 307, 401, 403, 404, 408, 425, 429, 500, 503], "again"),
        ] {
            for status in statuses {
                assert_eq!(verdict(*status), wanted, "{status}");
            }
        }
    }
}
