//! Refused requests, as problem details (RFC 9457) with our codes.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::bus;
use crate::client;
use crate::error::{Classify, Code};
use crate::event;
use crate::web::token;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the gateway does not serve the host {0:?}")]
    Host(String),
    #[error("{0}")]
    Identity(String),
    #[error("{0}")]
    Keys(String),
    #[error("{0}")]
    Permission(String),
    #[error("principal {principal} exceeds {rate} events and reads per second")]
    Rate { principal: String, rate: u32, after: Duration },
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body is not complete after {}", humantime::format_duration(*.0))]
    Slow(Duration),
    #[error("the body cannot be read: {0}")]
    Body(String),
    #[error("{0}")]
    MediaType(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Hook(String),
    #[error("{0} requests wait for results or stream events already")]
    Streams(usize),
    #[error("the webhook origin {0:?} is not allowed")]
    Origin(String),
    #[error("the path does not exist")]
    Route,
    #[error("the path does not support this method")]
    Method,
    #[error("command {0} does not exist, or the principal may not read it")]
    Missing(String),
    #[error("NATS is not reachable: {0}")]
    Disconnected(String),
    #[error("NATS did not confirm the event within {}", humantime::format_duration(*.0))]
    Unconfirmed(Duration),
    #[error("event {index} of the batch: {reason}")]
    Batch {
        index: usize,
        #[source]
        reason: Box<Self>,
    },
    #[error(transparent)]
    Event(#[from] event::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl From<token::Error> for Refusal {
    fn from(error: token::Error) -> Self {
        match &error {
            token::Error::Invalid(_) => Self::Identity(error.to_string()),
            token::Error::Keys { .. } => Self::Keys(error.to_string()),
        }
    }
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Permission(_) | Self::Origin(_) | Self::Client(client::Error::Bus(bus::Error::Denied { .. })) => {
                StatusCode::FORBIDDEN
            }
            Self::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge(_)
            | Self::Event(event::Error::TooLarge { .. })
            | Self::Client(client::Error::Bus(bus::Error::TooLarge { .. })) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(_) | Self::Invalid(_) | Self::Event(_) | Self::Client(client::Error::Event(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Hook(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Route | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Batch { reason, .. } => reason.status(),
            Self::Keys(_) | Self::Streams(_) | Self::Disconnected(_) | Self::Unconfirmed(_) | Self::Client(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Host(_) => Code::SH3803,
            Self::Identity(_) => Code::SH3804,
            Self::Keys(_) => Code::SH3802,
            Self::Permission(_) => Code::SH3805,
            Self::Rate { .. } => Code::SH3806,
            Self::TooLarge(_) => Code::SH3807,
            Self::Slow(_) => Code::SH3808,
            Self::MediaType(_) => Code::SH3809,
            Self::Streams(_) => Code::SH3810,
            Self::Origin(_) => Code::SH3811,
            Self::Body(_) | Self::Invalid(_) | Self::Route | Self::Method => Code::SH3812,
            Self::Hook(_) => Code::SH3813,
            Self::Missing(_) => Code::SH2008,
            Self::Disconnected(_) => Code::SH2001,
            Self::Unconfirmed(_) => Code::SH2002,
            Self::Batch { reason, .. } => reason.code(),
            Self::Event(error) => error.code(),
            Self::Client(error) => error.code(),
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Batch { reason, .. } => reason.remedy(),
            Self::Event(error) => error.remedy(),
            Self::Client(error) => error.remedy(),
            _ => self.code().remedy().to_owned(),
        }
    }

    /// `Retry-After` in seconds, for requests that may succeed later.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Rate { after, .. } => Some(after.as_secs() + 1),
            Self::Batch { reason, .. } => reason.retry_after(),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(5),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let body = json!({
            "type": format!("urn:sailhand:error:{code}"),
            "title": code.title(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "code": code.as_str(),
            "remedy": self.remedy(),
        });
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
