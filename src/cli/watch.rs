//! `sailhand watch`: follows one command to its end, or all of them. Live bars on a terminal, JSON lines otherwise.

use std::convert::Infallible;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use time::OffsetDateTime;

use super::bars::Bars;
use super::cancel::is_unknown;
use super::output::{self, Format};
use super::{CommandId, Error, Exit, Global, report, waiting};
use crate::client::{self, Client, Observation, Observed};
use crate::clock::Clock;
use crate::event::CommandKey;

const EXAMPLES: &str = "\
Examples:
  sailhand watch 0f3c…        everything about one command, from its start to its end
  sailhand watch --since 1h   all commands of the last hour, and what comes
  sailhand watch | jq .type   one JSON line for each event";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The key that `submit` prints, or its first digits, or a CloudEvents id; all commands when absent
    id: Option<String>,
    /// CloudEvents source that goes with an id
    #[arg(long, default_value = client::SOURCE)]
    source: String,
    /// How far back to begin, when all commands are watched
    #[arg(long, value_name = "DURATION", default_value = "1m", conflicts_with = "id",
          value_parser = super::duration)]
    since: Duration,
    /// Stop waiting for the command's end after this time
    #[arg(long, value_name = "DURATION", requires = "id", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let client = global.client().await?;
    let format = Format::or_fitting(options.output);
    if let Some(id) = options.id {
        let id = CommandId { id, source: options.source };
        let key = id.key(&client).await?;
        if let Err(error) = client.state(&key).await
            && is_unknown(&error)
        {
            return Err(id.unknown());
        }
        return one(&client, &key, options.timeout, format, None).await;
    }
    let mut view = View::new(format);
    let mut told = client.watch_all(OffsetDateTime::now_utc() - options.since).await?;
    let interrupt = tokio::signal::ctrl_c();
    let outages = tell_outages(&client);
    tokio::pin!(interrupt, outages);
    loop {
        tokio::select! {
            next = told.next() => match next {
                Some(observation) => { view.show(&observation?, false)?; }
                None => return Ok(Exit::Success),
            },
            _ = &mut interrupt => return Ok(Exit::Success),
            never = &mut outages => match never {},
        }
    }
}

/// Says why nothing is told for a while.
async fn tell_outages(client: &Client) -> Infallible {
    let mut health = client.bus().health();
    let mut connected = true;
    while health.changed().await.is_ok() {
        let now = health.borrow().connected;
        if now != connected {
            output::note(if now { "Connected again." } else { "The connection to NATS is lost; reconnecting …" });
        }
        connected = now;
    }
    std::future::pending().await
}

/// Follows one command to its end and gives its exit code. With its target and verb, the reason is shown while it does
/// not start.
pub(super) async fn one(
    client: &Client,
    key: &CommandKey,
    timeout: Option<Duration>,
    format: Format,
    submitted: Option<(&str, &str)>,
) -> Result<Exit, Error> {
    let mut view = View::new(format);
    let mut told = client.watch_command(key);
    let end = async {
        let waiting = async {
            if let Some((target, verb)) = submitted {
                waiting::tell(client, key, target, verb).await;
            }
            std::future::pending::<Infallible>().await
        };
        let first = tokio::select! {
            first = told.next() => first,
            never = waiting => match never {},
        };
        let mut next = first;
        while let Some(observation) = next {
            if let Some(exit) = view.show(&observation?, true)? {
                return Ok(exit);
            }
            next = told.next().await;
        }
        let ended = std::io::Error::other("the server closed it before the command ended");
        Err(Error::local(format!("follow command {key}"), ended))
    };
    let limit = async {
        match timeout {
            Some(after) => {
                Clock::system().sleep(after).await;
                after
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        exit = end => exit,
        after = limit => Err(Error::Waited { key: key.clone(), after }),
        never = tell_outages(client) => match never {},
        _ = tokio::signal::ctrl_c() => {
            output::note(format_args!("Detached; the command goes on. Follow it: `sailhand watch {key}`. Cancel it: `sailhand cancel {key}`."));
            Ok(Exit::TimedOut)
        }
    }
}

/// Bars where they can be seen, else a line for each event.
enum View {
    Bars(Bars),
    Json,
}

impl View {
    fn new(format: Format) -> Self {
        match format {
            Format::Text => Self::Bars(Bars::new()),
            Format::Json => Self::Json,
        }
    }

    /// Shows one observation; the exit code if it is a result. `whole` shows all of a result, not only its first line.
    fn show(&mut self, observation: &Observation, whole: bool) -> Result<Option<Exit>, Error> {
        let result = match &observation.observed {
            Observed::Result(result) => Some(result),
            Observed::Event(_) | Observed::Unknown => None,
        };
        match self {
            Self::Json => output::json(&observation.event)?,
            Self::Bars(bars) => match result {
                Some(result) => {
                    bars.end(&observation.key);
                    bars.line(&report::headline(observation, result))?;
                    if whole {
                        report::print_body(observation, result)?;
                    }
                }
                None => bars.show(observation)?,
            },
        }
        Ok(result.map(|result| result.outcome.into()))
    }
}
