//! `GET /v1/commands/{target}/{key}`: state and result of a command, with `?wait=` for its end; `…/events`: its events and
//! its result as server-sent events that can be resumed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::{Extension, Json};
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::feed::Subscription;
use super::principals::Caller;
use super::refusal::Refusal;
use crate::client::{Observation, Observed};
use crate::error::{Class, Classify};
use crate::event::{CommandId, CommandKey, Outcome, Target, verb_and_version};
use crate::web::tls::CertificateNames;

/// How often a waiting request reads the stream itself, in case the feed has missed an event.
const LOOK: Duration = Duration::from_secs(5);
/// A stream of events ends after this time; the client resumes it.
const STREAM: Duration = Duration::from_hours(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// `id` of the result, which is the last event of a stream.
const END: &str = "end";

/// State of a command in a response.
#[derive(Debug, Serialize)]
struct View {
    key: String,
    target: String,
    /// `pending`: no worker has started it, or it does not exist. `running`: it has events. `ended`: it has a result.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// `data` of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// The newest event of a running command.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wait {
    wait: Option<String>,
}

pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<(String, String)>,
    query: Result<Query<Wait>, QueryRejection>,
    Extension(certificate): Extension<CertificateNames>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = shared.principals.authenticate(&headers, &certificate).await?;
    caller.principal.spend()?;
    let command = command_id(&caller, path)?;
    let Query(query) = query.map_err(|error| Refusal::Invalid(error.body_text()))?;
    let view = match query.wait {
        None => look(&shared, &caller, &command).await?,
        Some(text) => {
            let wait = humantime::parse_duration(&text)
                .map_err(|error| Refusal::Invalid(format!("wait={text:?} is not a duration such as 60s: {error}")))?;
            wait_for(&shared, &caller, &command, wait.min(shared.settings.max_wait)).await?
        }
    };
    Ok(Json(view).into_response())
}

/// The command of a path. A target of other principals gives the same response as a command that does not exist.
fn command_id(caller: &Caller, (target, key): (String, String)) -> Result<CommandId, Refusal> {
    let missing = || Refusal::Missing(format!("{target}/{key}").chars().take(128).collect());
    let name: Target = target.parse().map_err(|()| missing())?;
    let digest: CommandKey = key.parse().map_err(|()| missing())?;
    if caller.principal.has_target(&name) { Ok(CommandId::new(&name, &digest)) } else { Err(missing()) }
}

/// The state now. A command that nothing has been published about is `pending`: the queue, which has the parameters of all
/// senders, is not read.
async fn look(shared: &Shared, caller: &Caller, command: &CommandId) -> Result<View, Refusal> {
    let mut view = View {
        key: command.key.to_string(),
        target: command.target.to_string(),
        state: "pending",
        id: None,
        source: None,
        verb: None,
        outcome: None,
        result: None,
        last_event: None,
    };
    if let Some(result) = shared.client.result_of(command).await? {
        check_reader(caller, command, &result)?;
        view.state = "ended";
        view.name(&result);
        view.verb = result.result_verb().map(str::to_owned);
        if let Observed::Result(data) = &result.observed {
            view.outcome = Some(data.outcome);
        }
        view.result = result.event.get("data").cloned();
    } else if let Some(event) = shared.client.last_event_of(command).await? {
        check_reader(caller, command, &event)?;
        view.state = "running";
        view.name(&event);
        view.last_event = Some(event.event);
    }
    Ok(view)
}

impl View {
    fn name(&mut self, observation: &Observation) {
        self.id = Some(observation.attribute("commandid").to_owned());
        self.source = Some(observation.attribute("commandsource").to_owned());
    }
}

fn check_reader(caller: &Caller, command: &CommandId, observation: &Observation) -> Result<(), Refusal> {
    let allowed = caller.principal.may_read(observation.attribute("commandsource"));
    if allowed { Ok(()) } else { Err(Refusal::Missing(command.to_string().replace('.', "/"))) }
}

fn permit(shared: &Shared) -> Result<OwnedSemaphorePermit, Refusal> {
    shared.streams.clone().try_acquire_owned().map_err(|_| Refusal::Streams(shared.settings.max_streams))
}

/// The state at the end of the command, or after `wait`. An outage of the bus is waited out.
async fn wait_for(shared: &Shared, caller: &Caller, command: &CommandId, wait: Duration) -> Result<View, Refusal> {
    let _permit = permit(shared)?;
    let mut subscription = shared.subscribers.subscribe(&command.key);
    let end = Instant::now() + wait;
    loop {
        let seen = look(shared, caller, command).await;
        let is_final = match &seen {
            Ok(view) => view.state == "ended",
            Err(refusal) => !is_temporary(refusal),
        };
        if is_final || Instant::now() >= end || shared.stop.is_cancelled() {
            return seen;
        }
        changed(shared, &mut subscription, end).await;
    }
}

/// Waits for a change of the command, at most [`LOOK`] and not beyond `until`.
async fn changed(shared: &Shared, subscription: &mut Subscription, until: Instant) {
    tokio::select! {
        () = subscription.changed() => {}
        () = sleep_until(until.min(Instant::now() + LOOK)) => {}
        () = shared.stop.cancelled() => {}
    }
}

fn is_temporary(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Client(error) if matches!(error.class(), Class::Retry { .. }))
}

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<(String, String)>,
    Extension(certificate): Extension<CertificateNames>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = shared.principals.authenticate(&headers, &certificate).await?;
    caller.principal.spend()?;
    let command = command_id(&caller, path)?;
    let after = match headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default()) {
        // Nothing follows: 204 ends the reconnections of a browser.
        Some(END) => return Ok(StatusCode::NO_CONTENT.into_response()),
        None | Some("") => 0,
        Some(id) => {
            id.parse().map_err(|_| Refusal::Invalid(format!("Last-Event-ID {id:?} is not an id of this stream")))?
        }
    };
    let permit = permit(&shared)?;
    let subscription = shared.subscribers.subscribe(&command.key);
    look(&shared, &caller, &command).await?;
    let live = Live {
        shared,
        caller,
        command,
        after,
        result: None,
        ended: false,
        until: Instant::now() + STREAM,
        subscription,
        _permit: permit,
    };
    let events = stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok::<_, Infallible>(event), live))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// One stream. It reads an event when the connection can take it, so a slow client costs no memory.
struct Live {
    shared: Arc<Shared>,
    caller: Caller,
    command: CommandId,
    /// Sequence of the last event that was sent.
    after: u64,
    /// The result, which is sent after the events before it.
    result: Option<Observation>,
    ended: bool,
    until: Instant,
    subscription: Subscription,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        while !self.ended && Instant::now() < self.until && !self.shared.stop.is_cancelled() {
            match self.read().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) if self.result.is_some() || self.ended => {}
                Ok(None) => self.wait().await,
                Err(refusal) if is_temporary(&refusal) => self.wait().await,
                Err(_) => return None,
            }
        }
        None
    }

    async fn wait(&mut self) {
        changed(&self.shared, &mut self.subscription, self.until).await;
    }

    /// The next event, or the result when no event is left. The worker publishes the result last, so events are read once
    /// more after the result has been seen.
    async fn read(&mut self) -> Result<Option<Event>, Refusal> {
        while let Some(next) = self.shared.client.next_event_of(&self.command, self.after).await? {
            self.after = next.sequence;
            if let Some(observation) = next.observation {
                check_reader(&self.caller, &self.command, &observation)?;
                return Ok(Some(sse(&observation, &next.sequence.to_string())));
            }
        }
        if let Some(result) = self.result.take() {
            self.ended = true;
            return Ok(Some(sse(&result, END)));
        }
        if let Some(result) = self.shared.client.result_of(&self.command).await? {
            check_reader(&self.caller, &self.command, &result)?;
            self.result = Some(result);
        }
        Ok(None)
    }
}

/// `event` is the kind (`started`, `progress`, …, `result`), `data` the CloudEvent on one line.
fn sse(observation: &Observation, id: &str) -> Event {
    let ty = observation.attribute("type");
    let kind = verb_and_version(ty, "event").map_or("result", |(kind, _)| kind);
    Event::default().id(id).event(kind).data(observation.event.to_string())
}
