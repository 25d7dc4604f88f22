//! `sailhand watch`: follows one command until it ends, or all commands. Live bars on a terminal, JSON lines elsewhere.

use std::convert::Infallible;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use time::OffsetDateTime;

use super::bars::{Bars, Screen};
use super::cancel::is_unknown;
use super::output::{self, CHANGED, Format, GOOD, QUIET, styled};
use super::{CommandId, Error, Exit, Global, completions, report, waiting};
use crate::client::{self, Client, Observation, Observed};
use crate::clock::Clock;
use crate::event::{CommandKey, ResultData};

const EXAMPLES: &str = "\
Examples:
  sailhand watch 0f3c…        everything about one command, from its start to its end
  sailhand watch --since 1h   all commands of the last hour, and new events
  sailhand watch -t dev --no-follow --since 1d   what happened on one target
  sailhand watch | jq .type   one JSON line for each event";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The key that `submit` prints, its first digits, or a CloudEvents id [default: all commands]
    #[arg(add = completions::keys())]
    id: Option<String>,
    /// CloudEvents source that goes with an id
    #[arg(long, default_value = client::SOURCE)]
    source: String,
    /// Only commands of this target
    #[arg(short, long, conflicts_with = "id", add = completions::targets())]
    target: Option<String>,
    /// Start with events of this time ago
    #[arg(long, value_name = "DURATION", default_value = "1m", conflicts_with = "id",
          value_parser = super::duration)]
    since: Duration,
    /// End after the events that exist, without waiting for new ones
    #[arg(long, conflicts_with = "id")]
    no_follow: bool,
    /// Stop waiting for the command's end after this time
    #[arg(long, value_name = "DURATION", requires = "id", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

/// Without new events for this long, the events that exist have been read.
const SILENCE: Duration = Duration::from_secs(1);

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
    let mut events = client.watch_all(OffsetDateTime::now_utc() - options.since).await?;
    if format.is_text() && !options.no_follow {
        let subject = client.bus().subjects().events();
        view.screen().note(styled(QUIET, format_args!("watching {subject}; press Ctrl-C to stop")));
    }
    let interrupt = tokio::signal::ctrl_c();
    let screen = view.screen();
    let outages = note_outages(&client, &screen);
    tokio::pin!(interrupt, outages);
    let mut shown = false;
    loop {
        let silence = async {
            if options.no_follow {
                Clock::system().sleep(SILENCE).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            next = events.next() => match next {
                Some(observation) => {
                    let observation = observation?;
                    if options.target.as_ref().is_none_or(|target| *target == observation.target) {
                        view.show(&observation, false)?;
                        shown = true;
                    }
                }
                None => return Ok(Exit::Success),
            },
            () = silence => {
                if !shown && format.is_text() {
                    screen.note(format_args!("no events in the last {}", humantime::format_duration(options.since)));
                }
                return Ok(Exit::Success);
            }
            _ = &mut interrupt => return Ok(Exit::Success),
            never = &mut outages => match never {},
        }
    }
}

/// Notes the loss of the connection and its return, and shows a bar in between.
async fn note_outages(client: &Client, screen: &Screen) -> Infallible {
    let mut health = client.bus().health();
    let mut connected = true;
    let mut outage = None;
    while health.changed().await.is_ok() {
        let now = health.borrow().connected;
        match (connected, now) {
            (true, false) => {
                screen.note(format_args!("{} to NATS; reconnecting …", styled(CHANGED, "lost the connection")));
                outage = Some(screen.outage());
            }
            (false, true) => {
                let after = outage.take().map(|outage| format!(" after {}s", outage.end().as_secs()));
                let after = after.unwrap_or_default();
                screen.note(format_args!("{} to NATS{after}", styled(GOOD, "reconnected")));
            }
            _ => {}
        }
        connected = now;
    }
    std::future::pending().await
}

/// How following a command ended.
pub(super) enum Followed {
    /// With its result.
    Ended(Box<ResultData>),
    /// The user pressed Ctrl-C; the command continues.
    Detached,
}

/// Follows one command until it ends and returns its exit code. With target and verb, the reason is shown while it does
/// not start.
pub(super) async fn one(
    client: &Client,
    key: &CommandKey,
    timeout: Option<Duration>,
    format: Format,
    submitted: Option<(&str, &str)>,
) -> Result<Exit, Error> {
    let view = View::new(format);
    Ok(match follow(client, key, timeout, view, submitted).await? {
        Followed::Ended(result) => result.outcome.into(),
        Followed::Detached => Exit::Interrupted,
    })
}

/// Follows one command until its result. See [`one`].
pub(super) async fn follow(
    client: &Client,
    key: &CommandKey,
    timeout: Option<Duration>,
    mut view: View,
    submitted: Option<(&str, &str)>,
) -> Result<Followed, Error> {
    let screen = view.screen();
    let mut events = client.watch_command(key);
    let end = async {
        let waiting = async {
            if let Some((target, verb)) = submitted {
                waiting::explain(client, &screen, key, target, verb).await;
            }
            std::future::pending::<Infallible>().await
        };
        let first = tokio::select! {
            first = events.next() => first,
            never = waiting => match never {},
        };
        let mut next = first;
        while let Some(observation) = next {
            let observation = observation?;
            view.show(&observation, true)?;
            if let Observed::Result(result) = &observation.observed {
                let result = result.clone();
                return Ok(Followed::Ended(result));
            }
            next = events.next().await;
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
        followed = end => followed,
        after = limit => Err(Error::Waited { key: key.clone(), after }),
        never = note_outages(client, &screen) => match never {},
        _ = tokio::signal::ctrl_c() => {
            screen.interrupted(format_args!(
                "Detached; the command continues.\n  sailhand watch {key}\n  sailhand cancel {key}"
            ));
            Ok(Followed::Detached)
        }
    }
}

/// Shows events and results: bars and lines for people, records for programs, nothing but bars for callers that show
/// the result themselves.
pub(super) enum View {
    /// Bars, lines, and the result.
    Bars(Bars),
    /// Bars and lines.
    Progress(Bars),
    /// One record for each event.
    Records(Format),
}

impl View {
    /// The view for a format.
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Text | Format::Wide => Self::Bars(Bars::new(format)),
            Format::Yaml | Format::Json | Format::Jsonl | Format::Name => Self::Records(format),
        }
    }

    /// Bars for a caller that shows the result itself.
    pub(super) fn progress() -> Self {
        Self::Progress(Bars::new(Format::Text))
    }

    /// Where notes can be written without overwriting bars.
    pub(super) fn screen(&self) -> Screen {
        match self {
            Self::Bars(bars) | Self::Progress(bars) => bars.screen(),
            Self::Records(_) => Screen::default(),
        }
    }

    /// Shows one observation. `whole` shows the report of a result below its first line.
    pub(super) fn show(&mut self, observation: &Observation, whole: bool) -> Result<(), Error> {
        let result = match &observation.observed {
            Observed::Result(result) => Some(result),
            Observed::Event(_) | Observed::Unknown => None,
        };
        match (self, result) {
            // Events of a command have no names of their own.
            (Self::Records(Format::Name), None) => Ok(()),
            (Self::Records(Format::Name), Some(_)) => output::line(&observation.key),
            (Self::Records(format), _) => format.event(&observation.event),
            (Self::Bars(bars) | Self::Progress(bars), None) => bars.show(observation),
            (Self::Progress(bars), Some(_)) => {
                bars.end(&observation.key);
                Ok(())
            }
            (Self::Bars(bars), Some(result)) => {
                let took = bars.end(&observation.key);
                bars.line(observation, &report::headline(observation, result, took))?;
                if whole { report::print_body(observation, result, bars.format()) } else { Ok(()) }
            }
        }
    }
}
