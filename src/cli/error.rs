//! What ends a subcommand, and the exit code for it.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Class, Classify, Code};
use crate::event::{CommandKey, Outcome};
use crate::{analysis, bridge, client, cluster, config, dashboard, event, smi_controller, telemetry, worker};

/// Exit codes, as `sailhand --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The command failed; or what was checked is not as it should be.
    Failed = 1,
    /// Usage or configuration.
    Usage = 2,
    /// The command was rejected.
    Rejected = 3,
    /// The command was cancelled.
    Cancelled = 4,
    /// The command expired, or was waited for in vain.
    TimedOut = 5,
    /// The bus or this machine.
    Trouble = 6,
    /// A newer generation was there first.
    Superseded = 7,
    /// No such command or dead letter.
    NotFound = 8,
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

/// What ends a subcommand early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// An argument that clap cannot judge.
    #[error("{argument}: {reason}")]
    Argument {
        /// As written on the command line.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The command does not fit the contract; it has not been sent.
    #[error("not sent: {0}")]
    Contract(#[source] event::Error),
    /// A worker that did not start.
    #[error(transparent)]
    Worker(#[from] worker::serve::Error),
    /// An SMI controller that did not start.
    #[error(transparent)]
    SmiController(#[from] smi_controller::Error),
    /// A dashboard that did not start.
    #[error(transparent)]
    Dashboard(#[from] dashboard::Error),
    /// A bridge that did not start, or a kubeconfig that it cannot read.
    #[error(transparent)]
    Bridge(#[from] bridge::error::Error),
    /// Logs and traces.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The bus.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// `--timeout` is over.
    #[error("command {key} has not ended after {}", humantime::format_duration(*.after))]
    Waited {
        /// The command.
        key: CommandKey,
        /// How long was waited.
        after: Duration,
    },
    /// A file or process of this machine.
    #[error("cannot {operation}")]
    Local {
        /// What was tried.
        operation: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It deletes, nobody confirmed it, and there is no terminal to ask on.
    #[error("{what}; standard input is not a terminal")]
    Unconfirmed {
        /// What would be deleted, and where.
        what: String,
    },
    /// The API server that a worker would be started for.
    #[error("cannot reach {server} (context {context})")]
    NoCluster {
        /// URL of the API server.
        server: String,
        /// The context of the kubeconfig.
        context: String,
        /// Why.
        #[source]
        source: Box<cluster::Error>,
    },
    /// Input of the analysis.
    #[error(transparent)]
    Analysis(#[from] analysis::source::Error),
    /// A cluster that is analysed.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Files that should be as generated and are not.
    #[error("not as generated: {}", files.join(", "))]
    SchemaDrift {
        /// Which.
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

    /// Whoever read the output has seen enough.
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
            | Self::Bridge(
                bridge::error::Error::NoTargets
                | bridge::error::Error::Settings(_)
                | bridge::error::Error::Kubeconfig { .. },
            )
            | Self::Client(client::Error::Ambiguous { .. }) => Exit::Usage,
            Self::Contract(_) | Self::Client(client::Error::Event(_)) => Exit::Rejected,
            Self::SchemaDrift { .. } => Exit::Failed,
            Self::Analysis(_)
            | Self::Cluster(_)
            | Self::SmiController(_)
            | Self::Dashboard(_)
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
            Self::Contract(error) => error.class(),
            Self::Client(error) => error.class(),
            Self::Worker(error) => error.class(),
            Self::SmiController(error) => error.class(),
            Self::Dashboard(error) => error.class(),
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
            Self::Contract(error) => error.code(),
            Self::Client(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::SmiController(error) => error.code(),
            Self::Dashboard(error) => error.code(),
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
            Self::Contract(error) => error.remedy(),
            Self::Client(error) => error.remedy(),
            Self::Worker(error) => error.remedy(),
            Self::Analysis(error) => error.remedy(),
            Self::Cluster(error) => error.remedy(),
            Self::SmiController(error) => error.remedy(),
            Self::Dashboard(error) => error.remedy(),
            Self::Bridge(error) => error.remedy(),
            Self::SchemaDrift { .. } => "Run `sailhand schema` and commit what it writes.".to_owned(),
            _ => self.code().remedy().to_owned(),
        }
    }
}
