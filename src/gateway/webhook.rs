//! The handshake of the CloudEvents webhook specification (http-webhook.md §4): a sender asks with `OPTIONS` whether it
//! may deliver events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::refusal::Refusal;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Answers `OPTIONS`. The permission is for an origin that the configuration lists; events need credentials anyway.
/// `WebHook-Request-Callback` is ignored: the gateway sends no request to an address from a request.
pub(super) async fn handshake(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let allow = [(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"))];
    let Some(origin) = headers.get(REQUEST_ORIGIN) else {
        return Ok((StatusCode::NO_CONTENT, allow).into_response());
    };
    let text = origin.to_str().unwrap_or_default();
    let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(text);
    if text.is_empty() || !shared.settings.webhook_origins.iter().any(listed) {
        return Err(Refusal::Origin(text.chars().take(256).collect()));
    }
    // Events for each minute, by the lowest rate of the principals.
    let rates = shared.settings.principals.values().map(|principal| u64::from(principal.rate_per_second) * 60);
    let rate = HeaderValue::from(rates.min().unwrap_or(1));
    Ok((StatusCode::OK, allow, [(ALLOWED_ORIGIN, origin.clone()), (ALLOWED_RATE, rate)]).into_response())
}
