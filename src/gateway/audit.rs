//! One log line for each event that is accepted or refused, with the target `sailhand::audit`. It has no parameters and
//! no credentials: both may be secret.

use std::net::SocketAddr;

use super::Shared;
use super::principals::Caller;
use super::refusal::Refusal;
use crate::client::Submitted;
use crate::event::Command;

/// Characters of a value from a request.
const LONGEST: usize = 200;

pub(super) fn accepted(
    shared: &Shared,
    caller: &Caller,
    peer: Option<SocketAddr>,
    command: &Command,
    submitted: &Submitted,
) {
    shared.metrics.accepted(&caller.principal.name);
    let origin = &command.origin;
    tracing::info!(
        target: "sailhand::audit",
        principal = %caller.principal.name,
        user = short(caller.user.as_deref().unwrap_or_default()),
        peer = %peer.map(|peer| peer.to_string()).unwrap_or_default(),
        verb = %origin.verb,
        command_target = %origin.target,
        key = %submitted.key,
        id = short(&origin.id),
        source = short(&origin.source),
        duplicate = submitted.duplicate,
        "command accepted"
    );
}

pub(super) fn refused(shared: &Shared, caller: Option<&Caller>, peer: Option<SocketAddr>, refusal: &Refusal) {
    shared.metrics.refused(caller.map(|caller| caller.principal.name.as_str()), refusal);
    tracing::info!(
        target: "sailhand::audit",
        principal = caller.map_or("", |caller| caller.principal.name.as_str()),
        user = short(caller.and_then(|caller| caller.user.as_deref()).unwrap_or_default()),
        peer = %peer.map(|peer| peer.to_string()).unwrap_or_default(),
        status = refusal.status().as_u16(),
        code = %refusal.code(),
        reason = short(&refusal.to_string()),
        "request refused"
    );
}

/// At most [`LONGEST`] characters, without control characters.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
