//! Explains why a submitted command does not start: its target is paused, no worker has the target, or another command
//! runs on the same installation.

use std::time::Duration;

use time::OffsetDateTime;

use super::bars::Screen;
use super::output::{self, CHANGED, styled};
use super::report::short;
use crate::client::{Client, CommandState, Error, ListFilter};
use crate::clock::Clock;
use crate::event::CommandKey;

/// Time without an event before the reason is looked up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two look-ups.
const AGAIN: Duration = Duration::from_secs(10);

/// Notes the reason, and again when it changes, until it is dropped.
pub(super) async fn explain(client: &Client, screen: &Screen, key: &CommandKey, target: &str, verb: &str) {
    let mut noted = String::new();
    let mut pause = PATIENCE;
    loop {
        Clock::system().sleep(pause).await;
        pause = AGAIN;
        // Credentials that may submit need not be allowed to read all of this.
        let reason = reason(client, key, target, verb).await.unwrap_or_default();
        if reason != noted && !reason.is_empty() {
            screen.note(format_args!("{} {reason}", styled(CHANGED, "queued:")));
            noted = reason;
        }
    }
}

async fn reason(client: &Client, key: &CommandKey, target: &str, verb: &str) -> Result<String, Error> {
    if let Some(pause) = client.pauses().await.ok().and_then(|mut pauses| pauses.remove(target)) {
        let why = pause.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return Ok(format!(
            "target {target} has been paused since {} by {}{why}",
            output::seconds(&pause.since),
            pause.by
        ));
    }
    if let Some(cards) = client.cards().await? {
        if cards.is_empty() {
            return Ok("no worker is running".to_owned());
        }
        if !cards.contains_key(target) {
            let known = cards.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Ok(format!("no worker has target {target}; the workers have {known}"));
        }
    }
    let now = OffsetDateTime::now_utc();
    let commands = client.list(&ListFilter { target: Some(target.to_owned()), since: now }).await?;
    let family = |verb: &str| verb.split('.').next().unwrap_or_default().to_owned();
    let under_way = commands.iter().filter(|it| it.key != key.as_str());
    let mut under_way = under_way.filter(|it| matches!(it.state, CommandState::Running | CommandState::Retrying));
    let holder = under_way.find(|it| family(&it.verb) == family(verb));
    Ok(match holder {
        Some(it) => {
            let key = it.key.parse().map_or_else(|()| it.key.clone(), |key| short(&key).to_owned());
            // All verbs that write to a mesh share one installation; others may have several.
            let may = if verb.starts_with("mesh.") { "waits" } else { "may wait" };
            format!("{may} for {} {key}, which runs on the same installation", it.verb)
        }
        None => "no worker has started it yet".to_owned(),
    })
}
