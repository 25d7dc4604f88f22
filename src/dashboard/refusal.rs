//! Responses to requests that the dashboard refuses or cannot answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, html};

use super::page;
use crate::client;
use crate::error::{Classify, Code};
use crate::web::token;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the dashboard does not serve the host {0:?}")]
    Host(String),
    #[error("{0}")]
    Identity(String),
    #[error("{0}")]
    Keys(String),
    #[error("the dashboard is read-only for this user")]
    Action,
    #[error("{0}")]
    Form(&'static str),
    #[error("there is no {0}")]
    Missing(String),
    #[error(transparent)]
    Client(#[from] client::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Identity(_) => StatusCode::UNAUTHORIZED,
            Self::Action | Self::Form(_) => StatusCode::FORBIDDEN,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Client(error) if error.code() == Code::SH2008 => StatusCode::NOT_FOUND,
            Self::Client(error) if error.code() == Code::SH2004 => StatusCode::FORBIDDEN,
            Self::Keys(_) | Self::Client(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Host(_) => Code::SH3703,
            Self::Identity(_) => Code::SH3704,
            Self::Keys(_) => Code::SH3702,
            Self::Action => Code::SH3705,
            Self::Form(_) => Code::SH3706,
            Self::Missing(_) => Code::SH2008,
            Self::Client(error) => error.code(),
        }
    }
}

impl From<token::Error> for Refusal {
    fn from(error: token::Error) -> Self {
        match &error {
            token::Error::Invalid(_) => Self::Identity(error.to_string()),
            token::Error::Keys { .. } => Self::Keys(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.code();
        let remedy = match &self {
            Self::Client(error) => error.remedy(),
            _ => code.remedy().to_owned(),
        };
        let content = html! {
            (DOCTYPE)
            html lang="en" {
                head { (page::head(code.as_str())) }
                body {
                    main {
                        h1 { (code.as_str()) ": " (code.title()) }
                        p { (self.to_string()) }
                        p { (remedy) }
                        p { a href="/runs" { "Runs" } }
                    }
                }
            }
        };
        (self.status(), [("content-type", "text/html; charset=utf-8")], content.into_string()).into_response()
    }
}
