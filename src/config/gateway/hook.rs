//! `[gateway.hooks.<name>]`: how the JSON of another tool becomes a command.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One hook, served at `POST /v1/hooks/<name>`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hook {
    /// Name of the principal that sends the requests. Its permissions apply to the commands.
    pub principal: String,
    /// Conditions that a payload must fulfill; other payloads are ignored. Every payload fulfills an empty list.
    pub when: Vec<Condition>,
    /// JSON pointer of an array: one command for each of its elements, such as `/alerts`. Pointers are then looked up in the
    /// element, and in the whole payload if the element does not have them.
    pub each: Option<String>,
    /// The verb.
    pub verb: String,
    /// The target: a name, or a text with placeholders.
    pub target: String,
    /// JSON pointers whose values identify the command, so that a repeated payload is the same command. The digest of the
    /// payload (or element) if empty.
    pub id: Vec<String>,
    /// Parameters. A text that is one placeholder, such as `{/spec/replicas}`, becomes the value at that pointer. In a longer
    /// text, placeholders become text of letters, digits and `._-:/@+`.
    pub params: Map<String, Value>,
    /// The command is not started after this time.
    #[serde(with = "humantime_serde")]
    pub expires: Option<Duration>,
}

/// `[[gateway.hooks.<name>.when]]`: one of `pointer` and `header`, and the values that it may have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// JSON pointer into the payload.
    pub pointer: Option<String>,
    /// Name of a header, such as `X-GitHub-Event`.
    pub header: Option<String>,
    /// Accepted values, as text.
    pub is: Vec<String>,
}
