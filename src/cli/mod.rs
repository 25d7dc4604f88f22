//! The command line: one file for each subcommand. It parses arguments and formats results; other modules do the work.

mod analyze;
mod bars;
mod bridge;
mod cancel;
mod catalog;
mod check;
mod completions;
mod confirm;
mod conformance;
mod crd_schemas;
mod dashboard;
mod deletions;
mod dev;
mod dlq;
mod draft;
mod error;
mod explain;
mod gateway;
mod get;
mod installations;
mod list;
mod local;
mod lsp;
mod man;
mod manifest;
mod output;
mod params;
mod pause;
mod report;
mod run;
mod schema;
mod server;
mod smi_controller;
mod submit;
mod table;
mod targets;
mod topology;
mod verb;
mod verbs;
mod version;
mod waiting;
mod watch;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use error::{Error, Exit};

use crate::client::Client;
use crate::config::{self, Config, Loaded, Override};
use crate::error::{Code, Problem};
use crate::event::CommandKey;
use crate::task::{DynTask, Registry};

const EXIT_CODES: &str = "\
Exit codes:
  0  done                     5  expired, or timed out while waiting
  1  the command failed       6  NATS or a cluster unreachable, or a local I/O error
  2  usage or configuration   7  superseded by a newer generation
  3  rejected                 8  no such record
  4  cancelled              130  interrupted by Ctrl-C

Configuration: built-in defaults, then /etc/sailhand/config.toml and
~/.config/sailhand/config.toml (or --config alone), then variables such as
SAILHAND__NATS__URL, then flags.";

/// Operates Istio by events: commands on NATS, idempotent tasks on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sailhand", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Global {
    /// Configuration file, instead of the usual ones
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Address of the NATS server; several with commas
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',', help_heading = "Global options")]
    nats_url: Option<Vec<String>>,
}

impl Global {
    fn load(&self, more: impl IntoIterator<Item = Option<Override>>) -> Result<Loaded, Error> {
        let url = Override::new("nats.url", "--nats-url", self.nats_url.clone());
        let overrides = more.into_iter().chain([url]).flatten().collect();
        Ok(config::load(self.config.as_deref(), overrides)?)
    }

    fn config(&self) -> Result<Config, Error> {
        Ok(self.load([])?.config)
    }

    async fn client(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.config()?).await.map_err(crate::client::Error::from)?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a worker: execute queued commands on Kubernetes clusters
    Worker(worker::Options),
    /// Run NATS, its streams and a worker for the current kubeconfig context in the foreground
    Dev(dev::Options),
    /// Submit a command (--wait follows it until it ends)
    Submit(submit::Options),
    /// Execute a command in this process, without NATS and workers
    Run(run::Options),
    /// Apply manifests as a named installation (config.apply)
    Apply(manifest::Apply),
    /// Show what applying manifests would change
    Diff(manifest::Diff),
    /// Check NATS, streams, workers, helm, charts and clusters
    Check(check::Options),
    /// Stream progress events and results of one command, or of all
    Watch(watch::Options),
    /// Show the result or the state of a command
    Get(get::Options),
    /// List commands: queued, running and ended
    List(list::Options),
    /// Cancel a queued or running command
    Cancel(cancel::Options),
    /// Pause a target: its queued commands wait
    Pause(pause::Pause),
    /// Resume a paused target
    Resume(pause::Resume),
    /// List targets: workers, cluster, pause, queue and dead letters
    Targets(targets::Options),
    /// List the installations of a cluster with their objects
    Installations(installations::Options),
    /// List, show, replay and delete dead letters
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Serve web pages about runs, targets, findings and dead letters
    Dashboard(dashboard::Options),
    /// Accept commands as CloudEvents over HTTP, and serve their events and results
    Gateway(gateway::Options),
    /// Serve Meshery's gRPC contract: its operations become commands
    Bridge(bridge::Options),
    /// Create or verify the JetStream streams, buckets and consumers
    #[command(subcommand)]
    Topology(topology::Command),
    /// Analyze Istio configuration in files or a live cluster
    Analyze(analyze::Options),
    /// Serve an editor: findings while typing, pages of rules, quick fixes
    Lsp(lsp::Options),
    /// Run conformance suites against a mesh and compare their reports
    #[command(subcommand)]
    Conformance(conformance::Command),
    /// Translate SMI objects of a cluster into Istio objects until stopped
    SmiController(smi_controller::Options),
    /// List the verbs and their parameters
    Verbs(verbs::Options),
    /// Explain a code: SH…, IST… or KIA…
    Explain(explain::Options),
    /// Print the versions of this program, nats-server and the workers
    Version(version::Options),
    /// Write the JSON Schemas and the AsyncAPI document
    Schema(schema::Options),
    /// Make the schemas of custom resources that the analysis carries (`just crd-schemas`)
    #[command(hide = true)]
    CrdSchemas(crd_schemas::Options),
    /// Write the manual pages of all commands
    #[command(hide = true)]
    Man(man::Options),
    /// Print a completion script for a shell
    Completions(completions::Options),
}

/// A command by its key, the first digits of its key, or its CloudEvents id and source.
#[derive(Debug, Clone, Args)]
struct CommandId {
    /// The key that `submit` prints, its first digits (at least 4), or a CloudEvents id
    #[arg(add = completions::keys())]
    id: String,
    /// CloudEvents source that goes with an id
    #[arg(long, default_value = crate::client::SOURCE)]
    source: String,
}

impl CommandId {
    async fn key(&self, client: &Client) -> Result<CommandKey, Error> {
        Ok(client.resolve(&self.id, &self.source).await?)
    }

    /// The error of a command that is not known, with the id as it was given.
    fn unknown(&self) -> Error {
        let what = format!("a command with key or id {}", self.id);
        Error::Client(crate::bus::Error::NotFound { what }.into())
    }
}

/// A duration of at most a hundred years, so that it can be added to a date.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);
    let duration = humantime::parse_duration(text);
    let duration = duration.map_err(|_| "not a duration such as 30s, 10m or 1h30m".to_owned())?;
    if duration <= LONGEST { Ok(duration) } else { Err("is longer than a hundred years".to_owned()) }
}

/// A whole number. The parsers of the standard library report "invalid digit found in string".
fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| match text.parse::<i128>() {
        Ok(_) => "out of range".to_owned(),
        Err(_) => "must be a whole number such as 12".to_owned(),
    })
}

/// Parses the command line, executes the subcommand and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let (cli, subcommand) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&with_verb_hint(error)).into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(|source| Error::local("start the runtime", source)).and_then(|runtime| {
        let done = runtime.block_on(cli.run());
        // Commands have been settled; remaining tasks must not keep the process alive.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let mut problem = Problem::new(&error);
            if let Error::Argument { .. } = error {
                problem.remedy = format!("See `{subcommand} --help`.");
            }
            output::note(output::render(&problem));
            error.exit().into()
        }
    }
}

/// The command line, and its subcommand as it is written, such as `sailhand dlq replay`.
fn parse() -> Result<(Cli, String), clap::Error> {
    let mut matches = Cli::command().try_get_matches()?;
    let mut path = "sailhand".to_owned();
    let mut innermost = &matches;
    while let Some((name, below)) = innermost.subcommand() {
        path.extend([" ", name]);
        innermost = below;
    }
    let cli = Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Cli::command()))?;
    Ok((cli, path))
}

/// Prints help, or a usage error with the command that explains it.
fn refuse(error: &clap::Error) -> Exit {
    // A pipe that the reader has closed does not make it fail.
    let _ = error.print();
    if error.exit_code() == 0 {
        return Exit::Success;
    }
    if error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::note(format_args!("  {}", output::more(Code::SH5002.as_str())));
    }
    Exit::Usage
}

/// A verb in the place of a subcommand, or its last part, as in `istioctl install`, gets a hint at the subcommands that
/// execute it.
fn with_verb_hint(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let registry = Registry::standard();
    let verbs: Vec<&str> = registry.iter().map(DynTask::verb).collect();
    let of_mesh = format!("mesh.{word}");
    let is_last_part = |verb: &&&str| verb.split_once('.').is_some_and(|(_, last)| last == word);
    let named =
        verbs.iter().find(|verb| *verb == word || **verb == of_mesh).or_else(|| verbs.iter().find(is_last_part));
    if let Some(verb) = named {
        let hint =
            format!("{verb} is a verb:\n    sailhand submit {verb} --target TARGET --wait\n    sailhand run {verb}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

impl Cli {
    async fn run(self) -> Result<Exit, Error> {
        let global = self.global;
        match self.command {
            Command::Worker(options) => worker::run(&global, &options).await,
            Command::Dev(options) => Box::pin(dev::run(&global, &options)).await,
            Command::Submit(options) => submit::run(&global, options).await,
            Command::Run(options) => run::run(&global, &options).await,
            Command::Apply(options) => manifest::apply(&global, &options).await,
            Command::Diff(options) => manifest::diff(&global, &options).await,
            Command::Check(options) => check::run(&global, &options).await,
            Command::Watch(options) => watch::run(&global, options).await,
            Command::Get(options) => get::run(&global, &options).await,
            Command::List(options) => list::run(&global, &options).await,
            Command::Cancel(options) => cancel::run(&global, &options).await,
            Command::Pause(options) => pause::pause(&global, &options).await,
            Command::Resume(options) => pause::resume(&global, &options).await,
            Command::Targets(options) => targets::run(&global, &options).await,
            Command::Installations(options) => installations::run(&global, &options).await,
            Command::Dlq(command) => dlq::run(&global, command).await,
            Command::Dashboard(options) => dashboard::run(&global, options).await,
            Command::Gateway(options) => gateway::run(&global, &options).await,
            Command::Bridge(options) => bridge::run(&global, options).await,
            Command::Topology(command) => topology::run(&global, &command).await,
            Command::Analyze(options) => analyze::run(&options).await,
            Command::Lsp(options) => lsp::run(options).await,
            Command::Conformance(command) => conformance::run(&global, command).await,
            Command::SmiController(options) => smi_controller::run(&global, options).await,
            Command::Verbs(options) => verbs::run(&options),
            Command::Explain(options) => explain::run(&options),
            Command::Version(options) => version::run(&global, &options).await,
            Command::Schema(options) => schema::run(&options),
            Command::CrdSchemas(options) => crd_schemas::run(&options),
            Command::Man(options) => man::run(&options),
            Command::Completions(options) => completions::run(&options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
