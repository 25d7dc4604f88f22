//! Runs one case: its phases in order, then undoes what it applied.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::super::Error;
use super::super::environment::reference;
use super::super::model::{CaseKind, CaseResult, Evidence, PhaseEvidence, Reason, Status};
use super::super::suite::{Case, Change, Check, Group, Phase, TRIES};
use super::super::traffic::{Failure, Request, header};
use super::Run;
use super::check::{self, Judged};

/// How often each request must be answered as required without a break: a proxy may apply an update later than another.
/// One exec of the client sends all of them, because starting a process in a container costs more than its requests.
const STEADY: u32 = 3;
/// Between two rounds, and between two of the repeated requests.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// How a phase ended.
enum End {
    Held,
    /// The adapter refused an object, and every denial of the phase held.
    Refused(String),
    NotHeld(Status, Reason, String),
}

/// A case in progress.
#[derive(Default)]
struct State {
    evidence: Evidence,
    rounds: u32,
    succeeded: HashSet<Request>,
    /// Objects applied and not deleted, in order.
    applied: Vec<Value>,
    uids: BTreeMap<String, String>,
    default_deny: bool,
}

/// A case that is not run.
pub(super) fn not_supported(case: &Case, ordinal: u32, why: &str) -> CaseResult {
    let end = (Status::NotSupported, Some(Reason::Declared), why.to_owned());
    result(case, ordinal, end, Duration::ZERO, State::default())
}

impl Run<'_> {
    /// # Errors
    /// What ends the run; everything else is a result.
    pub(super) async fn case(&self, group: &Group, case: &Case, ordinal: u32) -> Result<CaseResult, Error> {
        let begun = Instant::now();
        let mut state = State::default();
        let mut end = (Status::Passed, None, String::new());
        for phase in &case.phases {
            match self.phase(group, case, phase, &mut state).await? {
                End::Held => {}
                End::Refused(message) => {
                    end = (Status::NotSupported, Some(Reason::AdapterRejected), message);
                    break;
                }
                End::NotHeld(status, reason, message) => {
                    end = (status, Some(reason), message);
                    break;
                }
            }
        }
        if !state.applied.is_empty() {
            state.evidence.translated = check::translated(self.cx, &self.namespaces.name(group, 0)).await;
            state.evidence.translated.truncate(Evidence::TEXTS);
        }
        self.undo(group, &mut state).await?;
        Ok(result(case, ordinal, end, begun.elapsed(), state))
    }

    async fn phase(&self, group: &Group, case: &Case, phase: &Phase, state: &mut State) -> Result<End, Error> {
        let begun = Instant::now();
        let mut evidence = PhaseEvidence { name: phase.name.to_owned(), control: phase.control, ..Default::default() };
        let end = match self.change(group, phase, state).await {
            Ok(()) => self.until_steady(group, case, phase, state, &mut evidence).await?,
            Err(error) if error.ends_run() => return Err(error),
            Err(error) => {
                let presence = case.kind == CaseKind::Presence;
                let (status, reason) =
                    if presence { (Status::Failed, Reason::Assertion) } else { (Status::Error, Reason::Cluster) };
                End::NotHeld(status, reason, format!("{}: {error}", phase.name))
            }
        };
        evidence.held = matches!(end, End::Held);
        evidence.duration_ms = milliseconds(begun.elapsed());
        state.rounds += evidence.rounds;
        state.evidence.phases.push(evidence);
        Ok(end)
    }

    async fn change(&self, group: &Group, phase: &Phase, state: &mut State) -> Result<(), Error> {
        for change in &phase.changes {
            self.cx.guard.check()?;
            match change {
                Change::Apply(object) => {
                    let object = self.namespaces.resolve_object(group, object);
                    let name = reference(&object);
                    state.applied.retain(|one| reference(one) != name);
                    state.applied.push(object.clone());
                    let stored = self.cx.environment.apply(&object).await?;
                    let uid = stored["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                    let generation = stored["metadata"]["generation"].as_u64();
                    let generation =
                        generation.map(|generation| format!(", generation {generation}")).unwrap_or_default();
                    note(&mut state.evidence.applied, format!("{name}{generation}"));
                    state.uids.insert(name.to_string(), uid);
                }
                Change::Delete(object) => {
                    let name = reference(&self.namespaces.resolve_object(group, object));
                    self.cx.environment.delete(&name).await?;
                    state.applied.retain(|one| reference(one) != name);
                }
                Change::DefaultDeny(deny) => {
                    if state.default_deny != *deny {
                        self.namespaces.default_deny(group, *deny).await?;
                        state.default_deny = *deny;
                    }
                }
            }
        }
        Ok(())
    }

    /// Repeats one check until it holds, because all of them each time would only load the cluster; then requires all
    /// checks of [`STEADY`] times as many requests, and starts again with the check that does not hold. Samples weighted
    /// checks at the end. What holds may end after the time limit: a slow machine must not fail a case.
    async fn until_steady(
        &self,
        group: &Group,
        case: &Case,
        phase: &Phase,
        state: &mut State,
        evidence: &mut PhaseEvidence,
    ) -> Result<End, Error> {
        let (sampled, polled): (Vec<_>, Vec<_>) =
            phase.checks.iter().partition(|check| matches!(check, Check::Shares(_)));
        let deadline = Instant::now() + self.options.phase_timeout;
        let is_steady_once = phase.control || !phase.checks.iter().any(Check::sends_requests);
        let (mut watched, mut closed) = (0, 0);
        loop {
            let is_late = Instant::now() >= deadline;
            // A refusal is judged by all denials, and a verdict names every check.
            let is_whole = is_steady_once || case.may_be_refused || is_late;
            let checks = if is_whole { &polled[..] } else { polled.get(watched..=watched).unwrap_or_default() };
            let mut round = self.round(group, checks, 1, state, evidence).await?;
            if holds(&round) && !is_steady_once {
                round = self.round(group, &polled, STEADY, state, evidence).await?;
                watched = round.iter().position(|judged| !judged.evidence.held).unwrap_or_default();
            }
            if holds(&round) {
                break;
            }
            if case.may_be_refused && !phase.control {
                let denials_held = round.iter().filter(|judged| judged.is_denial).all(|judged| judged.evidence.held);
                let refusals = if denials_held { self.events(group, &state.uids).await? } else { Vec::new() };
                closed = if refusals.is_empty() { 0 } else { closed + 1 };
                if let Some((object, reason)) = refusals.first().filter(|_| closed >= STEADY) {
                    return Ok(End::Refused(format!("the adapter refuses {object}: {reason}")));
                }
            }
            if is_late {
                return Ok(not_held(phase, &round));
            }
            self.cx.pause(PAUSE).await?;
        }
        for check in sampled {
            if let Some(end) = self.sample(group, phase, check, state, evidence).await? {
                return Ok(end);
            }
        }
        Ok(End::Held)
    }

    /// One round of checks at the same time, noted in the evidence. Requests of a round that holds have succeeded.
    async fn round(
        &self,
        group: &Group,
        checks: &[&Check],
        times: u32,
        state: &mut State,
        evidence: &mut PhaseEvidence,
    ) -> Result<Vec<Judged>, Error> {
        let round = self.judge_all(group, checks, times, state).await?;
        evidence.rounds += 1;
        evidence.checks = round.iter().map(|judged| judged.evidence.clone()).collect();
        state.observe(&round);
        if holds(&round) {
            state.succeeded.extend(round.iter().filter_map(|judged| judged.succeeded.clone()));
        }
        Ok(round)
    }

    async fn judge_all(
        &self,
        group: &Group,
        checks: &[&Check],
        times: u32,
        state: &State,
    ) -> Result<Vec<Judged>, Error> {
        let judged = checks.iter().map(|check| self.judge(group, check, times, &state.succeeded, &state.uids));
        try_join_all(judged).await
    }

    /// Up to [`TRIES`] samples of one weighted check; none when one of them held.
    async fn sample(
        &self,
        group: &Group,
        phase: &Phase,
        check: &Check,
        state: &mut State,
        evidence: &mut PhaseEvidence,
    ) -> Result<Option<End>, Error> {
        let polled = evidence.checks.len();
        let mut last = Vec::new();
        if let Check::Shares(shares) = check {
            state.evidence.expected = check::expected_shares(shares);
            state.evidence.tolerance = shares.tolerance;
        }
        for _ in 0..TRIES {
            last = self.judge_all(group, &[check], 1, state).await?;
            evidence.rounds += 1;
            state.observe(&last);
            evidence.checks.truncate(polled);
            evidence.checks.extend(last.iter().map(|judged| judged.evidence.clone()));
            if last.iter().all(|judged| judged.evidence.held) {
                return Ok(None);
            }
        }
        Ok(Some(not_held(phase, &last)))
    }

    /// Deletes the objects that the case applied, in reverse order, and ends deny by default. Errors of the API server are
    /// ignored, because the namespaces are deleted in the end.
    async fn undo(&self, group: &Group, state: &mut State) -> Result<(), Error> {
        while let Some(object) = state.applied.pop() {
            ends(self.cx.environment.delete(&reference(&object)).await)?;
        }
        if state.default_deny {
            ends(self.namespaces.default_deny(group, false).await)?;
        }
        Ok(())
    }
}

fn holds(round: &[Judged]) -> bool {
    round.iter().all(|judged| judged.evidence.held)
}

pub(super) fn ends(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.ends_run() => Err(error),
        _ => Ok(()),
    }
}

/// The end of a phase that did not hold. Requests that never reached the data plane are an error and not a failure.
fn not_held(phase: &Phase, round: &[Judged]) -> End {
    let Some(wrong) = round.iter().find(|judged| !judged.evidence.held) else { return End::Held };
    let evidence = &wrong.evidence;
    let message =
        format!("{}: {}: expected {}, observed {}", phase.name, evidence.what, evidence.expected, evidence.observed);
    let unheld = || round.iter().filter(|judged| !judged.evidence.held);
    let failure = unheld().find_map(Judged::failure);
    let (status, reason) = match failure {
        Some(Failure::Dns) => (Status::Error, Reason::Dns),
        Some(Failure::Timeout) => (Status::Error, Reason::Timeout),
        _ if unheld().any(|judged| judged.cluster) => (Status::Error, Reason::Cluster),
        _ if phase.control => (Status::Error, Reason::Setup),
        _ => (Status::Failed, Reason::Assertion),
    };
    End::NotHeld(status, reason, message)
}

impl State {
    /// Adds the answers of a round to the evidence.
    fn observe(&mut self, round: &[Judged]) {
        let answers = || round.iter().flat_map(|judged| &judged.answers);
        let evidence = &mut self.evidence;
        for answer in answers() {
            evidence.requests_sent += 1;
            match (&answer.status, &answer.error) {
                (Some(status), _) => *evidence.by_status.entry(status.to_string()).or_default() += 1,
                (None, Some((_, text))) => note(&mut evidence.transport_errors, text.clone()),
                (None, None) => {}
            }
            if answer.status == Some(403)
                && let Some(hint) = header(&answer.response_headers, "x-denied-by").next()
            {
                evidence.proxy_hint = cut(hint.to_owned());
            }
        }
        if let Some(last) = round.iter().rev().find(|judged| !judged.answers.is_empty()) {
            evidence.by_backend = check::by_backend(&last.answers);
        }
    }
}

/// Adds a text, once and within bounds.
fn note(texts: &mut Vec<String>, text: String) {
    let text = cut(text);
    if texts.len() < Evidence::TEXTS && !texts.contains(&text) {
        texts.push(text);
    }
}

/// The text within the bound of evidence.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > Evidence::TEXT {
        text.truncate(text.floor_char_boundary(Evidence::TEXT));
        text.push('…');
    }
    text
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn result(
    case: &Case,
    ordinal: u32,
    (status, reason, message): (Status, Option<Reason>, String),
    duration: Duration,
    state: State,
) -> CaseResult {
    CaseResult {
        reason,
        message,
        duration_ms: milliseconds(duration),
        attempts: state.rounds,
        evidence: state.evidence,
        ..case.result(ordinal, status)
    }
}
