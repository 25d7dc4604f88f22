//! `sailhand verbs`: what can be asked for.

use clap::Args;

use super::output::{self, STRONG, styled};
use super::{Error, Exit};
use crate::task::Registry;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Show the parameters' JSON Schema and an example of this one
    verb: Option<String>,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let registry = Registry::standard();
    let Some(verb) = &options.verb else {
        let width = registry.iter().map(|task| task.verb().len()).max().unwrap_or_default();
        for task in registry.iter() {
            output::line(format_args!(
                "{} {}",
                styled(STRONG, format_args!("{:<width$}", task.verb())),
                task.summary()
            ))?;
        }
        return Ok(Exit::Success);
    };
    let task = registry.get(verb).ok_or_else(|| Error::argument(verb, "is not a verb; `sailhand verbs` lists them"))?;
    output::line(task.summary())?;
    output::line(format_args!("{}\n{:#}", styled(STRONG, "Example:"), task.example()))?;
    output::line(format_args!("{}\n{:#}", styled(STRONG, "Schema:"), task.params_schema().as_value()))?;
    Ok(Exit::Success)
}
