//! `sailhand submit`: sends a command after its parameters were checked and deletions were confirmed; `--wait` follows it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use time::OffsetDateTime;

use super::draft::{self, VerbArgs};
use super::output::{self, CHANGED, Format, QUIET, styled};
use super::{Error, Exit, Global, completions, deletions, watch};
use crate::bus::TargetCard;
use crate::client::{self, Client, Submitted};
use crate::event::{CommandDraft, Target};
use crate::suggest;

const EXAMPLES: &str = "\
Examples:
  sailhand submit ping --target dev --wait
  sailhand submit config.apply -t dev -p name=shop -p manifest=@shop.yaml --wait
  kubectl kustomize . | sailhand submit config.apply -t dev -p name=shop -p manifest=@-
  sailhand submit mesh.install -t dev -p version=1.30.3 -p values=@values.yaml --wait
  sailhand submit mesh.install -t dev -p version=1.30.3 -f istio-operator.yaml --wait
  sailhand submit sample.deploy -t dev --file params.yaml --expires 30m

`sailhand verbs` lists the verbs, `sailhand verbs <verb>` the parameters of one.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(flatten)]
    command: VerbArgs,
    /// Target: the name of a cluster in the configuration of the workers
    #[arg(short, long, add = completions::targets())]
    target: String,
    /// CloudEvents id; the same id and source again is the same command
    #[arg(long)]
    id: Option<String>,
    /// CloudEvents source
    #[arg(long, default_value = client::SOURCE)]
    source: String,
    /// The command expires after this time, such as 10m: it neither starts nor continues then
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    expires: Option<Duration>,
    /// Generation: commands with a lower one do not override this command
    #[arg(long, value_parser = super::number::<u64>)]
    generation: Option<u64>,
    /// Do not ask before control planes, gateways, namespaces or CRDs are deleted
    #[arg(short, long)]
    yes: bool,
    /// Show progress and wait for the result
    #[arg(short, long)]
    wait: bool,
    /// How long --wait waits
    #[arg(long, requires = "wait", value_name = "DURATION", default_value = "10m",
          value_parser = super::duration)]
    timeout: Duration,
    /// Output format [default: text on a terminal, JSON lines with --wait otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

pub(super) async fn run(global: &Global, options: Options) -> Result<Exit, Error> {
    let target = draft::target(&options.target)?;
    let mut draft = options.command.draft()?;
    let is_new = options.id.is_none();
    draft.id = options.id.unwrap_or(draft.id);
    draft.source = options.source;
    draft.expiry = options.expires.map(|expires| OffsetDateTime::now_utc() + expires);
    draft.generation = options.generation;
    let (id, source, verb) = (draft.id.clone(), draft.source.clone(), draft.verb.clone());
    let Some((client, sent)) = send(global, &target, draft, options.yes).await? else { return Ok(Exit::Failed) };
    // A new command can only be a duplicate of its own first attempt, whose ack was lost.
    let duplicate = sent.duplicate && !is_new;
    if duplicate {
        output::note("This command was sent before; nothing new was queued.");
    }
    if options.wait {
        let format = Format::or_fitting(options.output);
        let submitted = Some((target.as_str(), verb.as_str()));
        return watch::one(&client, &sent.key, Some(options.timeout), format, submitted).await;
    }
    let record = json!({
        "key": sent.key.as_str(), "id": id, "source": source, "target": target.as_str(), "verb": verb,
        "duplicate": duplicate,
    });
    let is_written = options.output.map(|format| format.record(&record, &sent.key)).transpose()?;
    if is_written != Some(true) {
        output::line(&sent.key)?;
    }
    Ok(Exit::Success)
}

/// Sends a command that a worker would accept, after deletions were confirmed. `None` if they were not.
///
/// # Errors
/// An invalid command, a missing confirmation, and NATS errors.
pub(super) async fn send(
    global: &Global,
    target: &Target,
    draft: CommandDraft,
    yes: bool,
) -> Result<Option<(Client, Submitted)>, Error> {
    draft::encode(&draft, target)?;
    deletions::refuse_unconfirmed(target, &draft, yes)?;
    let client = global.client().await?;
    let cards = client.cards().await.unwrap_or_default();
    if let Some(cards) = &cards {
        warn_of_target(target, cards);
    }
    let card = cards.as_ref().and_then(|cards| cards.get(target.as_str())?.first());
    let cluster = card.map(|card| format!("context {} ({}, user {})", card.context, card.server, card.user));
    let rehearse = async |rehearsal| deletions::rehearse_on_worker(&client, target, rehearsal).await;
    if !deletions::confirmed(target, &draft, cluster, yes, rehearse).await? {
        output::note("Nothing was sent.");
        return Ok(None);
    }
    let verb = draft.verb.clone();
    let sent = client.submit(target, draft).await?;
    output::note(styled(QUIET, format_args!("{verb} on {target}: {}", sent.key)));
    Ok(Some((client, sent)))
}

/// Warns of a target that no worker has: most often it is misspelled. A worker may start later, so it is not an error.
pub(super) fn warn_of_target(target: &Target, cards: &BTreeMap<String, Vec<TargetCard>>) {
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
