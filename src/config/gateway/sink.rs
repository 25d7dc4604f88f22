//! `[gateway.sinks.<name>]`: an HTTP endpoint that results and events are posted to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Hmac, Wrong, check, is_name};
use crate::config::validate;
use crate::event::{EventKind, Outcome, Target};
use crate::http::Credentials;

/// Kind of a result in `kinds`.
pub const RESULT: &str = "result";

/// Form of a posted event (http-protocol-binding.md of CloudEvents).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Attributes as `ce-` headers, `data` as the body.
    #[default]
    Binary,
    /// The whole event as the body, `application/cloudevents+json`.
    Structured,
}

/// One endpoint. Each event is posted until the endpoint accepts it (status 2xx), so an endpoint may get one twice: it
/// recognizes the repetition by `source` and `id`. Events may arrive in another order than they were published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sink {
    /// `http://` or `https://` address without credentials. Logs and dead letters have it.
    pub url: String,
    /// Form of the events.
    pub mode: Mode,
    /// `result`, and kinds of events such as `started`, `retrying` or `deadlettered`.
    pub kinds: Vec<String>,
    /// Results with one of these outcomes, such as `failed`; all if empty. Other events are not filtered by it.
    pub outcomes: Vec<Outcome>,
    /// Events of these targets, by id; all if empty.
    pub targets: Vec<String>,
    /// Events of commands whose `source` begins with this text; of all commands if empty.
    pub source_prefix: String,
    /// Certificates, credentials and further headers.
    pub credentials: Credentials,
    /// Signature of the body in a header.
    pub hmac: Option<Hmac>,
    /// Longest request, 100 ms to 1 min.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Requests at the same time, 1 to 64.
    pub max_requests: usize,
    /// Upper bound of the growing delay between two requests for an event, 10 ms to 10 min.
    #[serde(with = "humantime_serde")]
    pub max_retry_delay: Duration,
    /// An event that is older becomes a dead letter after the next request that fails. 1 s to 7 days.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
}

impl Default for Sink {
    fn default() -> Self {
        Self {
            url: String::new(),
            mode: Mode::Binary,
            kinds: vec![RESULT.to_owned()],
            outcomes: Vec::new(),
            targets: Vec::new(),
            source_prefix: String::new(),
            credentials: Credentials::default(),
            hmac: None,
            timeout: Duration::from_secs(10),
            max_requests: 16,
            max_retry_delay: Duration::from_mins(1),
            give_up_after: Duration::from_hours(24),
        }
    }
}

/// Checks what the types do not.
pub(super) fn validate(name: &str, sink: &Sink) -> Result<(), Wrong> {
    let check = |holds, key: &str, reason: &str| check(holds, &format!("sinks.{name}{key}"), reason);
    check(is_name(name), "", "the name must be 1 to 63 of a-z, 0-9 and -")?;
    let url = sink.url.parse::<http::Uri>().unwrap_or_default();
    let is_http = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    check(is_http, ".url", "must be an http:// or https:// address")?;
    // Not repeated: it is a secret. Logs and dead letters have the address.
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    check(!has_user, ".url", "must not hold credentials; name a file of them instead")?;
    validate::credentials(&format!("gateway.sinks.{name}.credentials"), &sink.credentials)?;
    let known = sink.kinds.iter().all(|kind| kind == RESULT || EventKind::NAMES.contains(&kind.as_str()));
    check(
        known && !sink.kinds.is_empty(),
        ".kinds",
        &format!("must be some of {RESULT}, {}", EventKind::NAMES.join(", ")),
    )?;
    let targets = sink.targets.iter().all(|id| id.parse::<Target>().is_ok());
    check(targets, ".targets", "must be ids of targets")?;
    if let Some(hmac) = &sink.hmac {
        check(http::HeaderName::try_from(&hmac.header).is_ok(), ".hmac.header", "must be the name of a header")?;
    }
    let within = |time: Duration, least: Duration, most: Duration| time >= least && time <= most;
    let milliseconds = Duration::from_millis;
    check(within(sink.timeout, milliseconds(100), Duration::from_mins(1)), ".timeout", "must be 100ms to 1m")?;
    check((1..=64).contains(&sink.max_requests), ".max_requests", "must be 1 to 64")?;
    check(
        within(sink.max_retry_delay, milliseconds(10), Duration::from_mins(10)),
        ".max_retry_delay",
        "must be 10ms to 10m",
    )?;
    check(
        within(sink.give_up_after, Duration::from_secs(1), Duration::from_hours(7 * 24)),
        ".give_up_after",
        "must be 1s to 7days",
    )
}
