//! `sailhand completions`: scripts that complete the command line. The scripts ask this program, which knows verbs,
//! parameters and codes, and asks NATS for targets and keys.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use kube::config::Kubeconfig;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Error, Exit, Global, analyze, output};
use crate::client::{Client, Filter, ListFilter};
use crate::config;
use crate::error::Code;
use crate::event::params::meant;
use crate::task::Registry;

/// Environment variable that the completion script sets to get completions from this program.
pub(super) const VARIABLE: &str = "COMPLETE";
/// How long NATS may take: a shell waits for it.
const ANSWER: Duration = Duration::from_secs(1);
/// Age of the oldest commands whose keys are offered.
const RECENT: time::Duration = time::Duration::hours(24);
/// Maximum number of dead letters in completions.
const LETTERS: usize = 50;
/// Objects below objects whose parameters are offered.
const DEEPEST: usize = 3;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sailhand completions bash >~/.local/share/bash-completion/completions/sailhand
  sailhand completions zsh >\"${fpath[1]}/_sailhand\"
  sailhand completions fish >~/.config/fish/completions/sailhand.fish")]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let name = options.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| Error::argument(&name, "is not a known shell"))?;
    shell
        .write_registration(VARIABLE, "sailhand", "sailhand", "sailhand", &mut script)
        .map_err(|source| Error::local("write the script", source))?;
    output::whole(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}

/// Targets of the workers and of the configuration.
pub(super) fn targets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let global = arguments().1;
        let Ok(config) = global.config() else { return Vec::new() };
        let mut names: BTreeSet<String> = config.targets.keys().cloned().collect();
        let known = ask(&global, async |client| client.targets(Vec::new()).await.unwrap_or_default());
        names.extend(known.unwrap_or_default().into_iter().map(|target| target.target));
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// Keys of the commands of the last day, with verb, target and state.
pub(super) fn keys() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let filter = ListFilter { target: None, since: OffsetDateTime::now_utc() - RECENT };
        let commands = ask(&arguments().1, async |client| client.list(&filter).await.unwrap_or_default());
        let candidate = |it: crate::client::CommandSummary| {
            let help = format!("{} on {}, {}", it.verb, it.target, it.state.as_str());
            CompletionCandidate::new(it.key).help(Some(help.into()))
        };
        commands.unwrap_or_default().into_iter().map(candidate).collect()
    })
}

/// Numbers of the newest dead letters, with reason and message.
pub(super) fn dead_letters() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let filter = Filter { limit: LETTERS, ..Filter::default() };
        let letters = ask(&arguments().1, async |client| client.dead_letters(&filter).await.unwrap_or_default());
        let candidate = |it: crate::client::DeadLetter| {
            let help = format!("{} {}", it.reason, it.message.lines().next().unwrap_or_default());
            CompletionCandidate::new(it.sequence.to_string()).help(Some(help.into()))
        };
        letters.unwrap_or_default().into_iter().map(candidate).collect()
    })
}

/// Contexts of the kubeconfig.
pub(super) fn contexts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let read = config::usual_kubeconfig().and_then(|file| Kubeconfig::read_from(file).ok());
        let contexts = read.map(|read| read.contexts).unwrap_or_default();
        contexts.into_iter().map(|context| CompletionCandidate::new(context.name)).collect()
    })
}

/// Codes of errors and of the analysis, with their titles.
pub(super) fn codes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let errors = Code::ALL.iter().map(|code| (code.as_str(), code.title()));
        let rules = analyze::code_titles();
        let candidate =
            |(id, title): (&'static str, &'static str)| CompletionCandidate::new(id).help(Some(title.into()));
        errors.chain(rules).map(candidate).collect()
    })
}

/// Parameters of the verb on the command line, as `name=`, and the values of those with a fixed choice.
pub(super) fn params() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy();
        let registry = Registry::standard();
        let words = arguments().0;
        let Some(task) = words.iter().find_map(|word| registry.get(word)) else { return Vec::new() };
        let schema = task.params_schema();
        let mut found = Vec::new();
        offer(schema.as_value(), schema.as_value(), "", 0, &mut found);
        found.retain(|(text, _)| text.starts_with(&*current));
        let candidate = |(text, about): (String, String)| CompletionCandidate::new(text).help(Some(about.into()));
        found.into_iter().map(candidate).collect()
    })
}

fn offer(root: &Value, object: &Value, path: &str, depth: usize, found: &mut Vec<(String, String)>) {
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let kind = meant(root, field);
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let about = field["description"].as_str().or_else(|| kind["description"].as_str()).unwrap_or_default();
        let about = about.lines().next().unwrap_or_default().to_owned();
        let choices = kind["oneOf"].as_array().into_iter().flatten().filter_map(|choice| choice["const"].as_str());
        let words = kind["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_switch = kind["type"] == "boolean";
        let switches = is_switch.then_some(["true", "false"]).into_iter().flatten();
        let values: Vec<&str> = choices.chain(words).chain(switches).collect();
        if kind["properties"].is_object() && depth < DEEPEST {
            offer(root, kind, &path, depth + 1, found);
        } else if values.is_empty() {
            found.push((format!("{path}="), about));
        } else {
            found.extend(values.into_iter().map(|value| (format!("{path}={value}"), about.clone())));
        }
    }
}

/// Words of the command line that is completed, and its global options.
fn arguments() -> (Vec<String>, Global) {
    let words: Vec<String> = std::env::args().skip_while(|word| word != "--").skip(1).collect();
    let mut global = Global { config: None, nats_url: None };
    for pair in words.windows(2) {
        if let [name, value] = pair {
            match name.as_str() {
                "--config" => global.config = Some(PathBuf::from(value)),
                "--nats-url" => global.nats_url = Some(value.split(',').map(str::to_owned).collect()),
                _ => {}
            }
        }
    }
    (words, global)
}

/// Asks NATS; `None` when it does not answer in time.
fn ask<T>(global: &Global, question: impl AsyncFnOnce(Client) -> T) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let answer = async { Some(question(global.client().await.ok()?).await) };
        tokio::time::timeout(ANSWER, answer).await.ok().flatten()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_offered_with_their_values() {
        let schema = json!({
            "properties": {
                "name": {"type": "string", "description": "Its name.\nMore."},
                "deep": {"$ref": "#/$defs/Deep"},
                "mode": {"oneOf": [{"const": "a"}, {"const": "b"}]},
            },
            "$defs": {"Deep": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
        });
        let mut found = Vec::new();
        offer(&schema, &schema, "", 0, &mut found);
        let texts: BTreeSet<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, BTreeSet::from(["deep.on=false", "deep.on=true", "mode=a", "mode=b", "name="]));
        assert!(found.contains(&("name=".to_owned(), "Its name.".to_owned())));
    }
}
