//! `sailhand verbs`: the verbs and their parameters.

mod page;

use clap::Args;
use serde_json::json;

use super::output::{self, Format, STRONG, styled};
use super::{Error, Exit};
use crate::prose;
use crate::task::Registry;

const EXAMPLES: &str = "\
Examples:
  sailhand verbs
  sailhand verbs mesh.install
  sailhand verbs mesh.install -o json | jq .schema";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Show the parameters of this verb and an example
    #[arg(value_parser = super::verb::Parser, hide_possible_values = true)]
    verb: Option<String>,
    /// Output format; yaml and json contain the JSON Schema of the parameters
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let registry = Registry::standard();
    let Some(verb) = &options.verb else {
        let verbs: Vec<_> =
            registry.iter().map(|task| json!({"verb": task.verb(), "summary": task.summary()})).collect();
        if !options.output.list(&verbs, |verb| verb["verb"].as_str().unwrap_or_default().to_owned())? {
            let width = registry.iter().map(|task| task.verb().len()).max().unwrap_or_default();
            for task in registry.iter() {
                let name = styled(STRONG, format_args!("{:<width$}", task.verb()));
                let summary = prose::fold(task.summary(), width + 1, width + 1, output::width());
                output::line(format_args!("{name} {summary}"))?;
            }
        }
        return Ok(Exit::Success);
    };
    let task = registry.get(verb).ok_or_else(|| Error::argument(verb, "is not a verb; `sailhand verbs` lists them"))?;
    let (schema, example) = (task.params_schema(), task.example());
    let record = json!({"verb": verb, "summary": task.summary(), "example": example, "schema": schema.as_value()});
    if !options.output.record(&record, verb)? {
        output::line(page::page(verb, task.summary(), schema.as_value(), &example))?;
    }
    Ok(Exit::Success)
}
