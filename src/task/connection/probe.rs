//! Asks a server what it is, and decides its state: one decision for `connection.discover`, `connection.watch` and
//! `connection.apply`.

use serde_json::Value;

use super::ConnectionError;
use super::store::Store;
use crate::error::{Class, Classify as _};
use crate::observe::envelope::{self, Unusable};
use crate::observe::instance::{InstanceKind, State};
use crate::task::Error;

/// Sends the simplest request of the server's kind. Returns the health of a Grafana, and null for a store.
///
/// # Errors
/// No answer, or one that is not of this kind; [`state`] has what it means.
pub(super) async fn ask(server: &Store) -> Result<Value, Error> {
    match server.kind {
        InstanceKind::Prometheus => server.query("vector(1)", None).await.map(|_| Value::Null),
        InstanceKind::Grafana => {
            let answer = server.get("/api/health", &[]).await?;
            envelope::health(&answer).map_err(|source| server.unusable(source))
        }
    }
}

/// State of a server that [`ask`] got this error from.
pub(super) fn state(error: &Error) -> State {
    let Error::Connection(error) = error else { return State::Unreachable };
    match (error.as_ref(), error.class()) {
        // It answers as what it is: it has no query engine.
        (ConnectionError::Unusable { source: Unusable::Agent, .. }, _) => State::Connected,
        (ConnectionError::Unusable { source: Unusable::Refused { .. }, .. }, _) => State::Refused,
        (_, Class::Retry { .. }) => State::Unreachable,
        _ => State::Discovered,
    }
}

/// The reason for the state, without the address.
pub(super) fn reason(error: &Error) -> String {
    let Error::Connection(connection) = error else { return error.to_string() };
    match connection.as_ref() {
        ConnectionError::Unusable { source: source @ Unusable::Refused { .. }, .. } => {
            format!("{source}; configure a connection with a credential in the worker's configuration")
        }
        ConnectionError::Unusable { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::envelope::Answer;

    fn of(status: u16, body: &str, read: impl Fn(&Answer) -> Option<Unusable>) -> State {
        let source = read(&Answer { status, body: body.to_owned() }).unwrap();
        state(&ConnectionError::Unusable { address: "Service a/b:80".to_owned(), source }.into())
    }

    #[test]
    fn servers_that_are_not_ready_are_unreachable_and_other_programs_are_not() {
        let page = "<html>Bad Gateway</html>";
        let busy = r#"{"status":"error","errorType":"unavailable","error":"some nodes do not answer"}"#;
        for status in [502, 503, 504] {
            assert_eq!(of(status, page, |answer| envelope::health(answer).err()), State::Unreachable, "{status}");
            assert_eq!(of(status, page, |answer| envelope::query(answer).err()), State::Unreachable, "{status}");
            assert_eq!(of(status, busy, |answer| envelope::query(answer).err()), State::Unreachable, "{status}");
        }
        for (status, body, expected) in
            [(401, "", State::Refused), (302, "", State::Refused), (200, page, State::Discovered)]
        {
            assert_eq!(of(status, body, |answer| envelope::health(answer).err()), expected, "{status}");
            assert_eq!(of(status, body, |answer| envelope::query(answer).err()), expected, "{status}");
        }
        let gone = ConnectionError::NoAnswer { address: "Service a/b:80".to_owned(), reason: "refused".to_owned() };
        assert_eq!(state(&gone.into()), State::Unreachable);
        let agent = r#"{"status":"error","errorType":"execution","error":"unavailable with Prometheus Agent"}"#;
        assert_eq!(of(422, agent, |answer| envelope::query(answer).err()), State::Connected);
    }
}
