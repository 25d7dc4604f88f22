//! Classifies errors of the API server by their cause. Pure.

use std::time::Duration;

use kube::client::UpgradeConnectionError;
use kube::core::response::{Status, StatusCause};

use crate::error::{Class, Code};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No answer: name lookup, connection, TLS handshake, broken connection.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// No answer within the target's `request_timeout`, the client's own retries included.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The certificate does not fit the kubeconfig's authority or the server's name.
    #[error("{0}")]
    Certificate(String),
    /// 401, or no credentials could be had.
    #[error("{0}")]
    Unauthorized(String),
    /// 403; the text names verb and resource.
    #[error("{0}")]
    Forbidden(String),
    /// 403 or 404 because the namespace of the object does not exist or is terminating.
    #[error("{message}")]
    Namespace {
        /// Message of the API server.
        message: String,
        /// It is being deleted, so it may not exist at the next attempt.
        terminating: bool,
    },
    /// 404 of an object.
    #[error("{0}")]
    NotFound(String),
    /// 404 without an object's name: the resource is not served (yet, or any more), or something in front of the API
    /// server answered. It does not prove that an object does not exist.
    #[error("the API server does not serve the resource")]
    NotServed,
    /// 410 of a list: its continue token is too old.
    #[error("{0}")]
    Expired(String),
    /// 409: another client wrote at the same time.
    #[error("{0}")]
    Conflict(String),
    /// 409 of a server-side apply: the fields and who owns them.
    #[error("{}", fields(.0))]
    FieldConflict(Vec<FieldConflict>),
    /// 422: a field that cannot be changed.
    #[error("{0}")]
    Immutable(String),
    /// 400, 405, 413, 415, 422, and 500 for an object that does not fit the schema of its kind: another attempt fails
    /// the same way.
    #[error("{0}")]
    Refused(String),
    /// A webhook could not be called.
    #[error("{0}")]
    WebhookDown(String),
    /// An admission webhook was called, and its answer cannot be used: its patch does not fit the object.
    #[error("an admission webhook gave an invalid answer: {0}")]
    WebhookAnswer(String),
    /// An admission webhook, an admission policy, a quota or Pod Security rejected the object.
    #[error("{0}")]
    Denied(String),
    /// 429, 503, 504.
    #[error("{message}")]
    Overloaded {
        /// Message of the API server.
        message: String,
        /// The delay that the server requests.
        after: Option<Duration>,
    },
    /// 500 and 502 that are not about the object, such as an error of etcd.
    #[error("{0}")]
    Server(String),
    /// An answer that cannot be parsed.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
}

/// One field that another manager owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConflict {
    /// Such as `.spec.replicas`.
    pub field: String,
    /// The other's name.
    pub manager: String,
}

fn fields(conflicts: &[FieldConflict]) -> String {
    let each: Vec<String> = conflicts.iter().map(|one| format!("{} is owned by {}", one.field, one.manager)).collect();
    each.join(", ")
}

impl ApiError {
    /// Classifies an error of the client.
    #[must_use]
    pub fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::answered(status),
            kube::Error::Auth(error) => Self::Unauthorized(chain(error)),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::Discovery(_) => {
                Self::Unreadable(chain(error))
            }
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status))
                if status.as_u16() == 403 =>
            {
                Self::Forbidden(chain(error))
            }
            kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Self::Refused(chain(error)),
            _ => {
                let text = without_client_types(&chain(error)).to_owned();
                if text.contains("invalid peer certificate") {
                    Self::Certificate(text)
                } else {
                    Self::Unreachable(text)
                }
            }
        }
    }

    /// Classifies a status of the API server.
    fn answered(status: &Status) -> Self {
        let message = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
        let causes = status.details.as_ref().map_or(&[][..], |details| details.causes.as_slice());
        if status.code == 500 && is_unusable_answer(&message) {
            return Self::WebhookAnswer(message);
        }
        if message.contains("failed calling webhook") || is_unreachable_conversion(&message) {
            return Self::WebhookDown(message);
        }
        if DENIED.iter().any(|text| message.contains(text)) {
            return Self::Denied(message);
        }
        match status.code {
            401 => Self::Unauthorized(message),
            403 if causes.iter().any(|cause| cause.reason == "NamespaceTerminating") => {
                Self::Namespace { message, terminating: true }
            }
            // "User … cannot patch resource …" is a matter of rights; a quota or a pod security level is not.
            403 if message.contains(" cannot ") || message.contains("attempting to grant RBAC permissions") => {
                Self::Forbidden(message)
            }
            // The controller that creates it follows a new namespace by itself.
            403 if message.contains("error looking up service account") => Self::Server(message),
            403 => Self::Denied(message),
            404 => match &status.details {
                Some(details) if details.kind == "namespaces" => Self::Namespace { message, terminating: false },
                Some(details) if !details.name.is_empty() => Self::NotFound(message),
                _ => Self::NotServed,
            },
            409 => {
                let conflicts: Vec<_> = causes
                    .iter()
                    .filter(|cause| cause.reason == "FieldManagerConflict")
                    .map(|cause| FieldConflict { field: cause.field.clone(), manager: manager(&cause.message) })
                    .collect();
                if conflicts.is_empty() { Self::Conflict(message) } else { Self::FieldConflict(conflicts) }
            }
            410 => Self::Expired(message),
            422 if is_immutable(causes, &message) => Self::Immutable(immutable_fields(status, message)),
            429 | 503 | 504 => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let after = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
                Self::Overloaded { message, after }
            }
            500 if is_about_the_object(&message) => Self::Refused(without_values(message)),
            500 if is_too_large(&message) => {
                Self::Refused(format!("the object is larger than etcd stores, 1.5 MiB by default: {message}"))
            }
            500..=599 => Self::Server(message),
            _ => Self::Refused(message),
        }
    }

    /// Whether the object, as it is or as it is sent, has a field that the schema of a version lacks.
    pub(super) fn is_undeclared_field(&self) -> bool {
        matches!(self, Self::Refused(text) if text.contains("field not declared in schema"))
    }

    /// What the engine does about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Overloaded { after, .. } => Class::Retry { after: *after },
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Namespace { terminating: true, .. }
            | Self::NotServed
            | Self::Expired(_)
            | Self::Conflict(_)
            | Self::WebhookDown(_)
            | Self::Server(_)
            | Self::Unreadable(_) => Class::RETRY,
            Self::Certificate(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::Namespace { terminating: false, .. }
            | Self::NotFound(_)
            | Self::FieldConflict(_)
            | Self::Immutable(_)
            | Self::Refused(_)
            | Self::WebhookAnswer(_)
            | Self::Denied(_) => Class::Terminal,
        }
    }

    /// Its stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Unreachable(_) => Code::SH3001,
            Self::Unauthorized(_) => Code::SH3002,
            Self::Forbidden(_) => Code::SH3003,
            Self::NotServed => Code::SH3004,
            Self::NotFound(_) | Self::Refused(_) => Code::SH3005,
            Self::FieldConflict(_) => Code::SH3006,
            Self::Immutable(_) => Code::SH3007,
            Self::Timeout(_) | Self::Overloaded { .. } => Code::SH3010,
            Self::WebhookDown(_) => Code::SH3011,
            Self::WebhookAnswer(_) => Code::SH3025,
            Self::Denied(_) => Code::SH3012,
            Self::Namespace { .. } => Code::SH3013,
            Self::Certificate(_) => Code::SH3018,
            Self::Expired(_) | Self::Conflict(_) | Self::Server(_) | Self::Unreadable(_) => Code::SH3020,
        }
    }
}

/// The cause of a failed request without the names of the HTTP client's errors in front of it.
fn without_client_types(text: &str) -> &str {
    let text = text.strip_prefix("ServiceError: ").unwrap_or(text);
    text.strip_prefix("client error (Connect): ").unwrap_or(text)
}

/// What the API server says (without a reason of `metav1.Status`, so with HTTP 500) of an object that does not fit the
/// schema of its kind. Sources: `apiserver/pkg/endpoints/handlers/patch.go`, `apimachinery/pkg/util/managedfields`,
/// `structured-merge-diff/typed`.
const ABOUT_THE_OBJECT: [&str; 12] = [
    "failed to create typed patch object",
    "failed to create typed new object",
    "failed to create typed live object",
    "failed to convert patch object",
    "failed to convert new object",
    "failed to convert live object",
    "failed to decode patch object",
    "unable to convert unstructured object",
    "field not declared in schema",
    "duplicate entries for key",
    "associative list with keys",
    "strict decoding error",
];

/// What denies an object: a webhook, a `ValidatingAdmissionPolicy`, a `MutatingAdmissionPolicy`.
const DENIED: [&str; 3] = ["denied the request", "ValidatingAdmissionPolicy", "' denied request: "];

/// What the API server says when it has called an admission webhook and cannot use the answer. A repeat gets the same one.
/// Sources: `apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`, and `patch.go` of `evanphx/json-patch` for a
/// patch that does not fit the object, where the API server does not name the webhook.
const UNUSABLE_ANSWER: [&str; 19] = [
    "received invalid webhook response",
    "received undecodable patch in webhook response",
    "unsupported patch type",
    "attempted to modify the object, which is not supported",
    "operation does not apply: ",
    "operation failed to decode ",
    "operation missing path field",
    "operation, missing ",
    "operation value must be object or array",
    "error in add for path: '",
    "error in remove for path: '",
    "error in move for path: '",
    "error in copy for from: '",
    "error in test for path: '",
    "error while adding value during copy",
    "error while performing deep copy",
    ": test failed",
    "occurred: Unexpected kind: ",
    "occurred: json: cannot unmarshal ",
];

fn is_unusable_answer(message: &str) -> bool {
    UNUSABLE_ANSWER.iter().any(|text| message.contains(text))
}

fn is_about_the_object(message: &str) -> bool {
    ABOUT_THE_OBJECT.iter().any(|text| message.contains(text))
}

/// What etcd, and the API server's client of it, say of an object that is larger than a request to etcd may be.
const TOO_LARGE: [&str; 2] = ["etcdserver: request is too large", "trying to send message larger than max"];

fn is_too_large(message: &str) -> bool {
    TOO_LARGE.iter().any(|text| message.contains(text))
}

/// A conversion webhook of a CRD that gives no answer: `conversion webhook for example.com/v1, Kind=X failed: Post
/// "https://…": …`.
fn is_unreachable_conversion(message: &str) -> bool {
    message.split_once("conversion webhook for ").is_some_and(|(_, rest)| rest.contains("failed: Post "))
}

/// Cuts what the schema's error quotes of a Secret (`expected string, got …`): errors go into logs and events.
fn without_values(message: String) -> String {
    match message.find(", got ") {
        Some(at) if message.contains("Kind=Secret") => format!("{}, got another type", &message[..at]),
        _ => message,
    }
}

/// How validation in the API server's sources says that a field cannot change. The words differ between kinds.
const IMMUTABLE: [&str; 6] = [
    "immutable",
    "updates to ", // "updates to parameters are forbidden.", "updates to statefulset spec for fields other than"
    "may not change",
    "may not be changed",
    "cannot be changed",
    "cannot change roleRef",
];

fn says_immutable(message: &str) -> bool {
    IMMUTABLE.iter().any(|text| message.contains(text))
}

/// Only if each cause is an immutable field: an object that has another mistake too could not be created again.
fn is_immutable(causes: &[StatusCause], message: &str) -> bool {
    if causes.is_empty() { says_immutable(message) } else { causes.iter().all(|cause| says_immutable(&cause.message)) }
}

/// The fields with the reason of each. The server's text repeats the whole value, such as a Job's template.
fn immutable_fields(status: &Status, message: String) -> String {
    let Some(details) = status.details.as_ref().filter(|details| !details.causes.is_empty()) else { return message };
    let reason = |text: &str| match text.rsplit_once(": ") {
        Some((_, reason)) if text.starts_with("Invalid value: ") && says_immutable(reason) => reason.to_owned(),
        _ => text.to_owned(),
    };
    let mut fields: Vec<_> =
        details.causes.iter().map(|cause| format!("{}: {}", cause.field, reason(&cause.message))).collect();
    fields.dedup();
    format!("{} {:?} is invalid: {}", details.kind, details.name, in_one_line(&fields.join("; ")))
}

/// The API server shows the difference of a whole spec as lines of a unified diff: only the lines that differ are of use.
fn in_one_line(text: &str) -> String {
    let Some((reason, diff)) = text.split_once('\n') else { return text.to_owned() };
    let differs = |line: &&str| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++");
    let lines: Vec<_> = diff.lines().filter(differs).map(|line| line.split_whitespace().collect::<String>()).collect();
    format!("{reason} ({})", lines.join(" "))
}

/// `conflict with "kubectl" using v1` names the manager in quotes; `conflict with "a" with subresource …` too.
fn manager(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// An error with its causes in one line, without those that only repeat the previous one.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status::failure(message, "").with_code(code)
    }

    fn detailed(code: u16, message: &str, details: serde_json::Value) -> Status {
        status(code, message).with_details(serde_json::from_value(details).unwrap())
    }

    #[test]
    fn each_answer_has_its_class_and_code() {
        let table = [
            (status(401, "Unauthorized"), Code::SH3002, Class::Terminal),
            (status(403, "User \"x\" cannot list resource \"configmaps\""), Code::SH3003, Class::Terminal),
            (status(403, "pods \"x\" is forbidden: exceeded quota: q"), Code::SH3012, Class::Terminal),
            (status(404, "the server could not find the requested resource"), Code::SH3004, Class::RETRY),
            (status(409, "the object has been modified"), Code::SH3020, Class::RETRY),
            (status(413, "limit is 3145728"), Code::SH3005, Class::Terminal),
            (status(422, "spec.selector: Invalid value: {}: field is immutable"), Code::SH3007, Class::Terminal),
            (status(422, "spec.replicas: Invalid value: -1"), Code::SH3005, Class::Terminal),
            (status(410, "The provided continue parameter is too old"), Code::SH3020, Class::RETRY),
            (status(429, "slow down"), Code::SH3010, Class::RETRY),
            (status(500, "etcdserver: leader changed"), Code::SH3020, Class::RETRY),
            (status(500, "etcdserver: request is too large"), Code::SH3005, Class::Terminal),
            (
                status(500, "trying to send message larger than max (2300710 vs. 2097152)"),
                Code::SH3005,
                Class::Terminal,
            ),
            (
                status(403, "pods \"p\" is forbidden: error looking up service account a/default: not found"),
                Code::SH3020,
                Class::RETRY,
            ),
            (
                status(403, "user \"x\" is attempting to grant RBAC permissions not currently held"),
                Code::SH3003,
                Class::Terminal,
            ),
            (status(500, "failed calling webhook \"a.b.c\": no endpoints"), Code::SH3011, Class::RETRY),
            (
                status(422, "policy 'a' with binding 'b' denied request: add operation does not apply: missing value"),
                Code::SH3012,
                Class::Terminal,
            ),
            (status(400, "admission webhook \"a.b.c\" denied the request: no"), Code::SH3012, Class::Terminal),
            (status(503, "unavailable"), Code::SH3010, Class::RETRY),
            (
                detailed(404, "namespaces \"x\" not found", serde_json::json!({"kind": "namespaces", "name": "x"})),
                Code::SH3013,
                Class::Terminal,
            ),
            (
                detailed(403, "x", serde_json::json!({"causes": [{"reason": "NamespaceTerminating"}]})),
                Code::SH3013,
                Class::RETRY,
            ),
            (
                detailed(429, "x", serde_json::json!({"retryAfterSeconds": 7})),
                Code::SH3010,
                Class::Retry { after: Some(Duration::from_secs(7)) },
            ),
        ];
        for (status, code, class) in table {
            let fault = ApiError::answered(&status);
            assert_eq!((fault.code(), fault.class()), (code, class), "{status:?} became {fault:?}");
        }
    }

    /// The words of kube-apiserver; `tests/it_cluster/schema.rs` gets them from a real one.
    #[test]
    fn objects_that_do_not_fit_their_schema_are_terminal() {
        let typed = "failed to create typed patch object (/p; /v1, Kind=Pod): ";
        let converted = "failed to convert new object (/p; /v1, Kind=Pod) to proper version: \
                         unable to convert unstructured object to /v1, Kind=Pod: ";
        for text in [
            format!("{typed}.spec.containers[name=\"a\"].env: duplicate entries for key [name=\"X\"]"),
            format!("{typed}.spec.foo: field not declared in schema"),
            format!("{typed}.spec.containers: element 0: associative list with keys may not have a null element"),
            format!("{converted}quantities must match the regular expression"),
            format!("{converted}cannot convert float64 to int32"),
        ] {
            let fault = ApiError::answered(&status(500, &text));
            assert_eq!((fault.code(), fault.class()), (Code::SH3005, Class::Terminal), "{text}");
            assert_eq!(fault.to_string(), text);
        }
        let down =
            "failed to convert live object: conversion webhook for x.io/v1, Kind=X failed: Post \"https://h\": EOF";
        assert_eq!(ApiError::answered(&status(500, down)), ApiError::WebhookDown(down.to_owned()));
    }

    #[test]
    fn the_value_of_a_secret_is_not_quoted() {
        let text = "failed to create typed patch object (/s; /v1, Kind=Secret): .stringData.x: expected string, got &value{Value:5}";
        let fault = ApiError::answered(&status(500, text));
        assert!(fault.to_string().ends_with(".stringData.x: expected string, got another type"), "{fault}");
    }

    #[test]
    fn the_difference_of_an_immutable_spec_is_one_line() {
        let message = "spec is immutable after creation except resources.requests\n@@ -6,7 +6,7 @@\n  \"Requests\": {\n\
                       -   \"storage\": \"2Gi\"\n+   \"storage\": \"3Gi\"\n   }\n";
        assert_eq!(
            in_one_line(message),
            "spec is immutable after creation except resources.requests (-\"storage\":\"2Gi\" +\"storage\":\"3Gi\")"
        );
    }

    #[test]
    fn an_immutable_field_beside_another_mistake_is_refused() {
        let causes = |messages: &[&str]| {
            let causes: Vec<_> = messages
                .iter()
                .map(
                    |message| serde_json::json!({"reason": "FieldValueInvalid", "message": message, "field": "spec.a"}),
                )
                .collect();
            detailed(
                422,
                "Job.batch \"j\" is invalid",
                serde_json::json!({"kind": "Job", "name": "j", "causes": causes}),
            )
        };
        let fixed = "Invalid value: {\"a\": 1}: field is immutable";
        assert_eq!(
            ApiError::answered(&causes(&[fixed, fixed])),
            ApiError::Immutable("Job \"j\" is invalid: spec.a: field is immutable".to_owned())
        );
        let mixed = ApiError::answered(&causes(&["Invalid value: 1: must be 2", fixed]));
        assert_eq!(mixed.code(), Code::SH3005, "created again it would be refused");
    }

    #[test]
    fn a_field_conflict_names_field_and_manager() {
        let fault = ApiError::answered(&detailed(
            409,
            "Apply failed with 1 conflict",
            serde_json::json!({"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using v1", "field": ".data.a"},
            ]}),
        ));
        assert_eq!(fault.to_string(), ".data.a is owned by kubectl");
        assert_eq!(fault.code(), Code::SH3006);
    }
}
