//! `sailhand get`: the result of a command, or its state.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::{self, Format, QUIET, styled};
use super::{CommandId, Error, Exit, Global, report};
use crate::bus;
use crate::client::{self, Client, Observation, Observed, State};
use crate::event::{CommandKey, EventKind, waited_text};
use crate::prose::{self, plural};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    id: CommandId,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
    /// Write the attachment of the result to a file, such as all findings of config.analyze as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    attachment: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let client = global.client().await?;
    let key = options.id.key(&client).await?;
    let state = match client.state(&key).await {
        Err(client::Error::Bus(bus::Error::NotFound { what })) if !what.contains("may not be read") => {
            return Err(options.id.unknown());
        }
        state => state?,
    };
    if let Some(file) = &options.attachment {
        return fetch(&client, &key, &state, file).await;
    }
    let format = Format::or_fitting(options.output);
    match &state {
        State::Ended(observation) => {
            if !format.record(&observation.event, &key)?
                && let Observed::Result(result) = &observation.observed
            {
                let headline = report::headline(observation, result, None);
                output::line(prose::fold(&headline, 0, 2, output::width()))?;
                report::print_body(observation, result, format)?;
            }
        }
        State::Started(observation) => {
            let record = json!({ "key": key.as_str(), "state": word(observation), "lastevent": observation.event });
            if !format.record(&record, &key)? {
                output::line(doing(observation))?;
            }
        }
        State::Queued => {
            if !format.record(&json!({ "key": key.as_str(), "state": "queued" }), &key)? {
                output::line("queued: no worker has started it")?;
            }
        }
    }
    Ok(match &state {
        State::Ended(Observation { observed: Observed::Result(result), .. }) => result.outcome.into(),
        _ => Exit::Success,
    })
}

async fn fetch(client: &Client, key: &CommandKey, state: &State, file: &Path) -> Result<Exit, Error> {
    let result = match state {
        State::Ended(Observation { observed: Observed::Result(result), .. }) => Some(result),
        _ => None,
    };
    let Some(attachment) = result.and_then(|result| client::attachment(result)) else {
        let what = match result {
            Some(_) => format!("attachment of command {key}: its result holds everything"),
            None => format!("attachment of command {key}: it has not ended"),
        };
        return Err(client::Error::from(bus::Error::NotFound { what }).into());
    };
    let bytes = client.fetch(&attachment).await?;
    if file.as_os_str() == "-" {
        output::whole(String::from_utf8_lossy(&bytes))?;
    } else {
        std::fs::write(file, &bytes).map_err(|source| Error::local(format!("write {}", file.display()), source))?;
        output::note(format_args!("{} bytes written to {}", bytes.len(), file.display()));
    }
    Ok(Exit::Success)
}

fn word(observation: &Observation) -> &'static str {
    match observation.observed {
        Observed::Event(EventKind::Retrying(_)) => "retrying",
        _ => "running",
    }
}

fn doing(observation: &Observation) -> String {
    let since = observation.attribute("time");
    let what = match &observation.observed {
        Observed::Event(EventKind::Started(started)) => {
            let waited = waited_text(&started.waited).map(|waited| format!(", {waited}")).unwrap_or_default();
            format!("attempt {} by {}{waited}", started.attempt, started.worker)
        }
        Observed::Event(EventKind::Progress(step)) => format!("{}: {}", step.phase, step.message),
        Observed::Event(EventKind::Retrying(retrying)) => {
            format!("attempt {} failed: {}", retrying.attempt, retrying.problem)
        }
        Observed::Event(EventKind::DeadLettered(letter)) => {
            format!("moved to the dead letters ({}): {}", letter.reason, letter.problem)
        }
        Observed::Event(EventKind::Found(found)) => plural(found.findings.len(), "new finding"),
        Observed::Event(EventKind::Resolved(resolved)) => {
            format!("{} resolved", plural(resolved.findings.len(), "finding"))
        }
        Observed::Event(EventKind::ConformanceCase(event)) => {
            format!("{} of {}, last {}", event.done, plural(event.total, "case"), event.case.case_id)
        }
        Observed::Event(EventKind::ConformanceSpec(event)) => format!("verdict on {}", event.spec.title),
        Observed::Event(EventKind::ConformanceSummary(event)) => plural(event.summary.counts.total, "case"),
        Observed::Event(EventKind::Discovered(discovered)) => {
            format!("{} discovered", plural(discovered.instances.len(), "server"))
        }
        Observed::Event(EventKind::Changed(changed)) => format!("{} changed", plural(changed.changes.len(), "server")),
        Observed::Event(EventKind::Lost(lost)) => format!("{} lost", plural(lost.instances.len(), "server")),
        Observed::Unknown | Observed::Result(_) => String::new(),
    };
    format!("{} on {}: {what} {}", word(observation), observation.target, styled(QUIET, format_args!("({since})")))
}
