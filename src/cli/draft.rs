//! A command from the command line: its verb and parameters, checked before it is sent or executed.

use clap::Args;
use schemars::Schema;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Error, completions, params};
use crate::event::params::ParamsValidator;
use crate::event::{self, CommandDraft, Target};
use crate::suggest;
use crate::task::{DynTask, Registry};

/// Verb and parameters.
#[derive(Debug, Args)]
pub(super) struct VerbArgs {
    /// The verb, such as config.apply; `sailhand verbs` lists them
    #[arg(value_parser = super::verb::Parser, hide_possible_values = true)]
    pub verb: String,
    /// A parameter: JSON if it is valid, otherwise text; dots and `[0]` nest; @file reads a file, @- standard input
    #[arg(short, long = "param", value_name = "KEY=VALUE", add = completions::params())]
    pub params: Vec<String>,
    /// All parameters as JSON or YAML, or an `IstioOperator` for mesh.install; - for standard input
    #[arg(short, long, value_hint = clap::ValueHint::FilePath)]
    pub file: Option<String>,
    /// Do not check the parameters against the schemas of this version; the worker does
    #[arg(long)]
    pub no_check: bool,
}

impl VerbArgs {
    /// The command with its parameters checked against the schema of its verb.
    ///
    /// # Errors
    /// Files that cannot be read, an unknown verb, and parameters that do not match its schema.
    pub fn draft(&self) -> Result<CommandDraft, Error> {
        let registry = Registry::standard();
        let schema = registry.get(&self.verb).map(DynTask::params_schema);
        let shape = schema.as_ref().map(Schema::as_value);
        let params = params::build(&self.verb, self.file.as_deref(), &self.params, shape)?;
        if self.no_check { Ok(unchecked(&self.verb, params)) } else { of(&self.verb, params) }
    }
}

/// A command with a new id.
///
/// # Errors
/// An unknown verb, and parameters that do not match its schema.
pub(super) fn of(verb: &str, params: Value) -> Result<CommandDraft, Error> {
    let registry = Registry::standard();
    let Some(task) = registry.get(verb) else { return Err(unknown(verb, &registry)) };
    check(verb, &task.params_schema(), &params)?;
    task.check(&params).map_err(|source| Error::Parameters { verb: verb.to_owned(), source })?;
    Ok(unchecked(verb, params))
}

fn unchecked(verb: &str, params: Value) -> CommandDraft {
    CommandDraft {
        id: uuid::Uuid::new_v4().to_string(),
        source: crate::client::SOURCE.to_owned(),
        verb: verb.to_owned(),
        params,
        ..CommandDraft::default()
    }
}

/// The target of the option `--target`.
///
/// # Errors
/// As [`target_argument`].
pub(super) fn target(name: &str) -> Result<Target, Error> {
    target_argument(format!("--target {name}"), name)
}

/// A target from the command line; `argument` is as written there.
///
/// # Errors
/// [`Error::Argument`] when it is not a DNS label.
pub(super) fn target_argument(argument: impl Into<String>, name: &str) -> Result<Target, Error> {
    name.parse().map_err(|()| {
        let reason = "invalid target name: use 1 to 63 lowercase letters, digits and dashes, with no dash at an end";
        Error::argument(argument, reason)
    })
}

/// The event of the command, if a worker would accept it.
///
/// # Errors
/// [`Error::Contract`] with the error that a worker would publish.
pub(super) fn encode(draft: &CommandDraft, target: &Target) -> Result<Vec<u8>, Error> {
    let event = draft.event(target, OffsetDateTime::now_utc()).map_err(|source| contract(&draft.verb, source))?;
    let bytes = serde_json::to_vec(&event).map_err(|source| Error::local("write JSON", source.into()))?;
    // Larger parameters are uploaded by the client.
    if bytes.len() <= event::binding::MAX_BYTES {
        event::decode(target, &draft.verb, &std::iter::empty(), &bytes)
            .map_err(|rejection| contract(&draft.verb, rejection.error))?;
    }
    Ok(bytes)
}

fn unknown(verb: &str, registry: &Registry) -> Error {
    let known = registry.iter().map(DynTask::verb);
    let found = match suggest::nearest(verb, known) {
        Some(near) => format!("{verb}; did you mean {near}?"),
        None => verb.to_owned(),
    };
    contract(verb, event::Error::UnknownType { found })
}

fn contract(verb: &str, source: event::Error) -> Error {
    Error::Contract { verb: verb.to_owned(), source }
}

fn check(verb: &str, schema: &Schema, params: &Value) -> Result<(), Error> {
    let unusable = |reason| Error::argument(format!("schema of {verb}"), reason);
    ParamsValidator::new(schema).map_err(unusable)?.check(params).map_err(|source| contract(verb, source))
}
