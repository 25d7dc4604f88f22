//! `sailhand get`: how a command ended, or where it is.

use clap::Args;
use serde_json::json;

use super::output::{self, Format, QUIET, styled};
use super::{CommandId, Error, Exit, Global, report};
use crate::client::{Observation, Observed, State};
use crate::event::EventKind;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    id: CommandId,
    /// How to write [default: text on a terminal, JSON otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let key = options.id.key();
    let state = global.client().await?.state(&key).await?;
    let format = Format::or_fitting(options.output);
    match (&state, format) {
        (State::Ended(observation), Format::Json) => output::json(&observation.event)?,
        (State::Ended(observation), Format::Text) => {
            if let Observed::Result(result) = &observation.observed {
                output::line(report::headline(observation, result))?;
                report::print_body(result)?;
            }
        }
        (State::Begun(observation), Format::Json) => {
            output::json(&json!({ "key": key.as_str(), "state": word(observation), "lastevent": observation.event }))?;
        }
        (State::Begun(observation), Format::Text) => output::line(doing(observation))?,
        (State::Queued, Format::Json) => output::json(&json!({ "key": key.as_str(), "state": "queued" }))?,
        (State::Queued, Format::Text) => output::line("queued: no worker has begun it")?,
    }
    Ok(match &state {
        State::Ended(Observation { observed: Observed::Result(result), .. }) => result.outcome.into(),
        _ => Exit::Success,
    })
}

fn word(observation: &Observation) -> &'static str {
    match observation.observed {
        Observed::Event(EventKind::Retrying(_)) => "retrying",
        _ => "running",
    }
}

fn doing(observation: &Observation) -> String {
    let since = observation.event.get("time").and_then(serde_json::Value::as_str).unwrap_or_default();
    let what = match &observation.observed {
        Observed::Event(EventKind::Started(started)) => format!("attempt {} by {}", started.attempt, started.worker),
        Observed::Event(EventKind::Progress(step)) => format!("{}: {}", step.phase, step.message),
        Observed::Event(EventKind::Retrying(retrying)) => {
            format!("attempt {} failed: {}", retrying.attempt, retrying.problem)
        }
        Observed::Event(EventKind::DeadLettered(letter)) => {
            format!("given up ({}): {}", letter.reason, letter.problem)
        }
        Observed::Event(EventKind::Found(found)) => format!("{} findings told", found.findings.len()),
        Observed::Event(EventKind::Resolved(resolved)) => format!("{} findings resolved", resolved.findings.len()),
        Observed::Unknown | Observed::Result(_) => String::new(),
    };
    format!("{} on {}: {what} {}", word(observation), observation.target, styled(QUIET, format_args!("({since})")))
}
