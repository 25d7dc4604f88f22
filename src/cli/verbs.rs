//! `sailhand verbs`: the verbs and their parameters.

mod page;

use clap::Args;
use serde_json::json;

use super::output::{self, Format, STRONG, styled};
use super::{Error, Exit};
use crate::task::Registry;

const EXAMPLES: &str = "\
Examples:
  sailhand verbs
  sailhand verbs mesh.install
  sailhand verbs mesh.install -o json | jq .schema";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Show the parameters of this verb, with an example
    #[arg(value_parser = super::verb::Parser, hide_possible_values = true)]
    verb: Option<String>,
    /// For people, or with the JSON Schema of the parameters
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let registry = Registry::standard();
    let Some(verb) = &options.verb else {
        let width = registry.iter().map(|task| task.verb().len()).max().unwrap_or_default();
        for task in registry.iter() {
            match options.output {
                Format::Json => output::json(&json!({"verb": task.verb(), "summary": task.summary()}))?,
                Format::Text => output::line(format_args!(
                    "{} {}",
                    styled(STRONG, format_args!("{:<width$}", task.verb())),
                    task.summary()
                ))?,
            }
        }
        return Ok(Exit::Success);
    };
    let task = registry.get(verb).ok_or_else(|| Error::argument(verb, "is not a verb; `sailhand verbs` lists them"))?;
    let (schema, example) = (task.params_schema(), task.example());
    match options.output {
        Format::Json => output::json(
            &json!({"verb": verb, "summary": task.summary(), "example": example, "schema": schema.as_value()}),
        )?,
        Format::Text => output::line(page::page(verb, task.summary(), schema.as_value(), &example))?,
    }
    Ok(Exit::Success)
}
