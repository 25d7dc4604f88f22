//! Errors of the command line and its exit codes.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use sailhand_analyze::notes::some;

use crate::error::{Class, Classify, Code};
use crate::event::{CommandKey, Outcome};
use crate::{
    analysis, bridge, bus, client, cluster, config, dashboard, event, gateway, smi_controller, task, telemetry, worker,
};

/// Exit codes, as `sailhand --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The command failed, or a check did.
    Failed = 1,
    /// Invalid usage or configuration.
    Usage = 2,
    /// The command was rejected.
    Rejected = 3,
    /// The command was cancelled.
    Cancelled = 4,
    /// The command expired, or the wait for it timed out.
    TimedOut = 5,
    /// NATS or a cluster is unreachable, or a local operation failed.
    Trouble = 6,
    /// A command with a higher generation was applied before.
    Superseded = 7,
    /// No such command or dead letter.
    NotFound = 8,
    /// Ctrl-C ended the wait for a command.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<sailhand_analyze::Exit> for Exit {
    fn from(exit: sailhand_analyze::Exit) -> Self {
        use sailhand_analyze::Exit as Analyzer;
        match exit {
            Analyzer::Success => Self::Success,
            Analyzer::Failed => Self::Failed,
            Analyzer::Usage => Self::Usage,
            Analyzer::Trouble => Self::Trouble,
        }
    }
}

impl From<sailhand_analyze::Error> for Error {
    fn from(error: sailhand_analyze::Error) -> Self {
        use sailhand_analyze::Error as Analyzer;
        match error {
            Analyzer::Argument { argument, reason } => Self::Argument { argument, reason },
            Analyzer::Local { operation, source } => Self::Local { operation, source },
            Analyzer::Source(error) => Self::Analysis(error),
        }
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Success,
            Outcome::Failed => Self::Failed,
            Outcome::Rejected => Self::Rejected,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::TimedOut,
            Outcome::Superseded => Self::Superseded,
        }
    }
}

/// An error that ends a subcommand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// An argument that clap cannot validate.
    #[error("{argument}: {reason}")]
    Argument {
        /// As written on the command line.
        argument: String,
        /// Cause of the error, as in the message.
        reason: String,
    },
    /// The command violates the contract and was not sent.
    #[error("not sent: {source}")]
    Contract {
        /// The verb.
        verb: String,
        /// What a worker would publish.
        source: event::Error,
    },
    /// Parameters that the task would reject. The command was not sent.
    #[error("not sent: {source}")]
    Parameters {
        /// The verb.
        verb: String,
        /// What a worker would publish.
        source: task::Error,
    },
    /// A manifest that a worker would reject. Nothing was sent.
    #[error("not sent: {file}: {source}")]
    Manifest {
        /// The file as given by the user.
        file: String,
        /// What is wrong with it.
        source: cluster::manifest::Error,
    },
    /// A worker that did not start.
    #[error(transparent)]
    Worker(#[from] worker::serve::Error),
    /// An SMI controller that did not start.
    #[error(transparent)]
    SmiController(#[from] smi_controller::Error),
    /// A dashboard that did not start.
    #[error(transparent)]
    Dashboard(#[from] dashboard::Error),
    /// A gateway that did not start.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// A bridge that did not start, or a kubeconfig that it cannot read.
    #[error(transparent)]
    Bridge(#[from] bridge::error::Error),
    /// Logs and traces.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The bus.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// `--timeout` has elapsed.
    #[error("command {key} has not ended after {}", humantime::format_duration(*.after))]
    Waited {
        /// The command.
        key: CommandKey,
        /// The value of `--timeout`.
        after: Duration,
    },
    /// A file or process of this machine.
    #[error("cannot {operation}")]
    Local {
        /// The operation.
        operation: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A command that needs confirmation, without `--yes` and without a terminal to ask on.
    #[error("{what}; standard input is not a terminal")]
    Unconfirmed {
        /// What would be deleted, and where.
        what: String,
    },
    /// The API server of a local cluster does not answer.
    #[error("cannot reach {server} (context {context})")]
    NoCluster {
        /// URL of the API server.
        server: String,
        /// The context of the kubeconfig.
        context: String,
        /// Underlying error.
        #[source]
        source: Box<cluster::Error>,
    },
    /// Input of the analysis.
    #[error(transparent)]
    Analysis(#[from] analysis::source::Error),
    /// A cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Generated files that are out of date.
    #[error("not as generated: {}", some(files.iter().map(String::as_str)))]
    SchemaDrift {
        /// Names of the files.
        files: Vec<String>,
    },
}

impl Error {
    pub(super) fn local(operation: impl Into<String>, source: io::Error) -> Self {
        Self::Local { operation: operation.into(), source }
    }

    pub(super) fn argument(argument: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Argument { argument: argument.into(), reason: reason.into() }
    }

    /// Whether the reader of standard output has closed it, as `head` does.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Local { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Argument { .. }
            | Self::Telemetry(_)
            | Self::Unconfirmed { .. }
            | Self::SmiController(smi_controller::Error::Settings(_))
            | Self::Dashboard(dashboard::Error::Keys(_))
            | Self::Gateway(gateway::Error::Credential { .. })
            | Self::Bridge(
                bridge::error::Error::NoTargets
                | bridge::error::Error::Settings(_)
                | bridge::error::Error::Kubeconfig { .. },
            )
            | Self::Client(client::Error::Ambiguous { .. }) => Exit::Usage,
            Self::Contract { .. }
            | Self::Parameters { .. }
            | Self::Manifest { .. }
            | Self::Client(client::Error::Event(_)) => Exit::Rejected,
            Self::SchemaDrift { .. } => Exit::Failed,
            Self::Analysis(_)
            | Self::Cluster(_)
            | Self::SmiController(_)
            | Self::Dashboard(_)
            | Self::Gateway(_)
            | Self::Bridge(_)
            | Self::NoCluster { .. } => Exit::Trouble,
            Self::Waited { .. } => Exit::TimedOut,
            Self::Client(_) | Self::Worker(_) | Self::Local { .. } => match self.code() {
                Code::SH2003 => Exit::Failed,
                Code::SH2008 => Exit::NotFound,
                _ => Exit::Trouble,
            },
        }
    }
}

impl Classify for Error {
    fn class(&self) -> Class {
        match self {
            Self::Config(error) => error.class(),
            Self::Contract { source, .. } => source.class(),
            Self::Parameters { source, .. } => source.class(),
            Self::Manifest { source, .. } => source.class(),
            Self::Client(error) => error.class(),
            Self::Worker(error) => error.class(),
            Self::SmiController(error) => error.class(),
            Self::Dashboard(error) => error.class(),
            Self::Gateway(error) => error.class(),
            Self::Bridge(error) => error.class(),
            Self::Analysis(error) => error.class(),
            Self::Cluster(error) => error.class(),
            Self::Telemetry(_)
            | Self::Argument { .. }
            | Self::Waited { .. }
            | Self::Local { .. }
            | Self::SchemaDrift { .. }
            | Self::Unconfirmed { .. }
            | Self::NoCluster { .. } => Class::Terminal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Config(error) => error.code(),
            Self::Argument { .. } => Code::SH5002,
            Self::Contract { source, .. } => source.code(),
            Self::Parameters { source, .. } => source.code(),
            Self::Manifest { source, .. } => source.code(),
            Self::Client(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::SmiController(error) => error.code(),
            Self::Dashboard(error) => error.code(),
            Self::Gateway(error) => error.code(),
            Self::Bridge(error) => error.code(),
            Self::Analysis(error) => error.code(),
            Self::Cluster(error) => error.code(),
            Self::Telemetry(_) => Code::SH5001,
            Self::Waited { .. } => Code::SH5003,
            Self::Unconfirmed { .. } => Code::SH5011,
            Self::NoCluster { .. } => Code::SH5013,
            Self::Local { .. } | Self::SchemaDrift { .. } => Code::SH5004,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Config(error) => error.remedy(),
            Self::Contract { verb, source } => for_verb(&source.remedy(), verb),
            Self::Parameters { verb, source } => for_verb(&source.remedy(), verb),
            Self::Manifest { source, .. } => source.remedy(),
            Self::Client(client::Error::Bus(bus::Error::Connect { source, .. })) if is_rejected(source.as_ref()) => {
                "The server rejects the credentials. Set nats.user with nats.password_file, nats.token_file, \
                 nats.nkey_file or nats.creds_file in the configuration; `sailhand worker --check` prints what is set."
                    .to_owned()
            }
            Self::Client(client::Error::Bus(bus::Error::Connect { .. })) => {
                "Check that nats-server listens there. Start a local one with `sailhand dev`, or set another address with \
                 --nats-url or SAILHAND__NATS__URL."
                    .to_owned()
            }
            Self::Client(error) => error.remedy(),
            Self::Worker(error) => error.remedy(),
            Self::Analysis(error) => error.remedy(),
            Self::Cluster(error) => error.remedy(),
            Self::SmiController(error) => error.remedy(),
            Self::Dashboard(error) => error.remedy(),
            Self::Gateway(error) => error.remedy(),
            Self::Bridge(error) => error.remedy(),
            Self::SchemaDrift { .. } => "Run `sailhand schema` and commit what it writes.".to_owned(),
            _ => self.code().remedy().to_owned(),
        }
    }
}

/// Whether NATS answered and rejected the credentials. Its client has no error of its own for this in every case.
fn is_rejected(error: &(dyn std::error::Error + Send + Sync)) -> bool {
    error.to_string().to_ascii_lowercase().contains("authorization violation")
}

/// A remedy with the verb of the command.
pub(super) fn for_verb(remedy: &str, verb: &str) -> String {
    remedy.replace("<verb>", verb)
}
