//! `sailhand submit`: checks a command against its schema, asks before deletions, sends it, and follows it with `--wait`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use schemars::Schema;
use serde_json::json;
use time::OffsetDateTime;

use super::output::{self, CHANGED, Format, QUIET, styled};
use super::{Error, Exit, Global, confirm, deletions, params, watch};
use crate::bus::TargetCard;
use crate::client;
use crate::event::params::ParamsValidator;
use crate::event::{self, CommandDraft, Target};
use crate::suggest;
use crate::task::{DynTask, Registry};

const EXAMPLES: &str = "\
Examples:
  sailhand submit ping --target dev --wait
  sailhand submit config.apply -t dev -p name=shop -p manifest=@shop.yaml --wait
  kubectl kustomize . | sailhand submit config.apply -t dev -p name=shop -p manifest=@-
  sailhand submit sample.deploy -t dev --file params.yaml --expires 30m

`sailhand verbs` lists the verbs, `sailhand verbs <verb>` the parameters of one.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// What to do, such as config.apply
    #[arg(value_parser = super::verb::Parser, hide_possible_values = true)]
    verb: String,
    /// Cluster, by the id that the workers' configuration gives it
    #[arg(short, long)]
    target: String,
    /// A parameter: JSON if it is valid, else text; dots nest; @file reads a file, @- standard input
    #[arg(short, long = "param", value_name = "KEY=VALUE")]
    params: Vec<String>,
    /// All parameters as JSON or YAML; - for standard input
    #[arg(short, long)]
    file: Option<String>,
    /// CloudEvents id; the same id and source again is the same command
    #[arg(long)]
    id: Option<String>,
    /// CloudEvents source
    #[arg(long, default_value = client::SOURCE)]
    source: String,
    /// Do not begin, and do not go on, after this time, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    expires: Option<Duration>,
    /// A command with a lower generation will not undo this one
    #[arg(long)]
    generation: Option<u64>,
    /// Send even what this version's schemas do not know; the worker decides
    #[arg(long)]
    no_check: bool,
    /// Do not ask before control planes, gateways, namespaces or CRDs are deleted
    #[arg(short, long)]
    yes: bool,
    /// Show progress and wait for the result
    #[arg(short, long)]
    wait: bool,
    /// How long to wait
    #[arg(long, requires = "wait", value_name = "DURATION", default_value = "10m",
          value_parser = super::duration)]
    timeout: Duration,
    /// Output format [default: text on a terminal, JSON lines with --wait otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let target: Target = options.target.parse().map_err(|()| {
        Error::argument(format!("--target {}", options.target), "must be 1 to 63 of a-z, 0-9 and -, not - at an end")
    })?;
    let registry = Registry::standard();
    let schema = registry.get(&options.verb).map(DynTask::params_schema);
    let params = params::build(options.file.as_deref(), &options.params, schema.as_ref().map(Schema::as_value))?;
    if !options.no_check {
        match &schema {
            Some(schema) => check(&options.verb, schema, &params)?,
            None => return Err(unknown(&options.verb, &registry)),
        }
    }
    let is_new = options.id.is_none();
    let draft = CommandDraft {
        id: options.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        source: options.source,
        verb: options.verb,
        params,
        expiry: options.expires.map(|expires| OffsetDateTime::now_utc() + expires),
        generation: options.generation,
        ..CommandDraft::default()
    };
    // What a worker would refuse is refused here, with the same words.
    let event = draft.event(&target, OffsetDateTime::now_utc()).map_err(Error::Contract)?;
    let bytes = serde_json::to_vec(&event).map_err(|source| Error::local("write JSON", source.into()))?;
    if bytes.len() <= event::binding::MAX_BYTES {
        event::decode(&target, &draft.verb, &std::iter::empty(), &bytes)
            .map_err(|rejection| Error::Contract(rejection.error))?;
    }

    if !options.yes
        && !confirm::can_ask()
        && let Some(deletion) = deletions::of(&draft.verb, &draft.params).filter(|it| it.needs_consent)
    {
        let what = format!("{} on {target} deletes {}", draft.verb, deletion.what);
        return Err(Error::Unconfirmed { what });
    }
    let client = global.client().await?;
    let cards = client.cards().await.unwrap_or_default();
    if let Some(cards) = &cards {
        warn_of_target(&target, cards);
    }
    let own = cards.as_ref().and_then(|cards| cards.get(target.as_str())).map(Vec::as_slice);
    if !deletions::confirmed(&client, &target, &draft, own, options.yes).await? {
        output::note("Nothing was sent.");
        return Ok(Exit::Failed);
    }
    let (id, source, verb) = (draft.id.clone(), draft.source.clone(), draft.verb.clone());
    let sent = client.submit(&target, draft).await?;
    // What is new can only be a duplicate of our own try whose answer was lost.
    let duplicate = sent.duplicate && !is_new;
    if duplicate {
        output::note("This command had been sent already; nothing new was queued.");
    }
    if options.wait {
        output::note(styled(QUIET, format_args!("{verb} on {target}: {}", sent.key)));
        let format = Format::or_fitting(options.output);
        let submitted = Some((target.as_str(), verb.as_str()));
        return watch::one(&client, &sent.key, Some(options.timeout), format, submitted).await;
    }
    match options.output {
        Some(Format::Json) => output::json(&json!({
            "key": sent.key.as_str(), "id": id, "source": source, "target": target.as_str(), "verb": verb,
            "duplicate": duplicate,
        }))?,
        _ => output::line(&sent.key)?,
    }
    Ok(Exit::Success)
}

/// A target that no worker has is most often misspelled. The command is sent all the same: a worker may start later.
fn warn_of_target(target: &Target, cards: &BTreeMap<String, Vec<TargetCard>>) {
    if cards.is_empty() || cards.contains_key(target.as_str()) {
        return;
    }
    let known = cards.keys().map(String::as_str);
    let near = suggest::nearest(target.as_str(), known.clone()).map(|near| format!("; did you mean {near}?"));
    let known = known.collect::<Vec<_>>().join(", ");
    let near = near.unwrap_or_default();
    output::note(format_args!(
        "{} no worker has target {target}{near} (workers have: {known})",
        styled(CHANGED, "warning:")
    ));
}

fn unknown(verb: &str, registry: &Registry) -> Error {
    let known = registry.iter().map(DynTask::verb);
    let found = match suggest::nearest(verb, known) {
        Some(near) => format!("{verb}; did you mean {near}?"),
        None => verb.to_owned(),
    };
    Error::Contract(event::Error::UnknownType { found })
}

fn check(verb: &str, schema: &Schema, params: &serde_json::Value) -> Result<(), Error> {
    let unusable = |reason| Error::argument(format!("schema of {verb}"), reason);
    ParamsValidator::new(schema).map_err(unusable)?.check(params).map_err(Error::Contract)
}
