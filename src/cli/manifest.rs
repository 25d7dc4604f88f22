//! `sailhand apply` and `sailhand diff`: `config.apply` for files and folders, as `kubectl apply -f` and `kubectl diff -f`.
//! Workers execute it (`--target`), or this process (`--context`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::local::LocalCluster;
use super::output::{self, Format, GOOD, QUIET, styled};
use super::run::{self, Process};
use super::watch::{self, Followed, View};
use super::{Error, Exit, Global, completions, draft, params, report, submit};
use crate::cluster::manifest;
use crate::event::{CommandDraft, Outcome, dataref};
use crate::prose::plural;

const APPLY_EXAMPLES: &str = "\
Examples:
  sailhand apply -f shop/ --name shop -t dev
  kubectl kustomize . | sailhand apply -f - --name shop -t dev --ready 2m
  sailhand apply -f shop.yaml --name shop --context kind-dev    # without NATS and workers";

const DIFF_EXAMPLES: &str = "\
Exit codes: 0 no differences, 1 differences or a failed dry run.

Examples:
  sailhand diff -f shop/ --name shop -t dev
  sailhand diff -f shop.yaml --name shop --context kind-dev";

/// Files in a folder that are manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Folders below folders.
const DEEPEST: usize = 16;
/// Files of all folders.
const MOST_FILES: usize = 10_000;

#[derive(Debug, Args)]
struct Manifests {
    /// Files and folders with manifests; - for standard input
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true, value_hint = clap::ValueHint::AnyPath)]
    files: Vec<PathBuf>,
    /// Name of the installation: objects that it had and the files no longer have are pruned
    #[arg(long)]
    name: String,
    /// Target whose workers execute the command
    #[arg(short, long, add = completions::targets())]
    target: Option<String>,
    #[command(flatten)]
    cluster: LocalCluster,
    /// Namespace of objects that have none
    #[arg(short, long)]
    namespace: Option<String>,
    /// Create missing namespaces
    #[arg(long)]
    create_namespace: bool,
    /// Keep objects that the files no longer have
    #[arg(long)]
    no_prune: bool,
    /// Take fields over from other field managers
    #[arg(long)]
    force: bool,
    /// Take over objects that another tool manages
    #[arg(long)]
    adopt: bool,
    /// Delete objects whose immutable fields differ, and create them again
    #[arg(long)]
    recreate: bool,
    /// How long to wait for the result
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = super::duration)]
    timeout: Duration,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
#[command(after_help = APPLY_EXAMPLES)]
pub(super) struct Apply {
    #[command(flatten)]
    manifests: Manifests,
    /// Write nothing if the analysis of the cluster with the manifests reports errors
    #[arg(long)]
    analyze: bool,
    /// Wait until the objects are ready, at most this time
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    ready: Option<Duration>,
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before a cluster on another machine is changed
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub(super) struct Diff {
    #[command(flatten)]
    manifests: Manifests,
}

pub(super) async fn apply(global: &Global, options: &Apply) -> Result<Exit, Error> {
    let manifests = &options.manifests;
    let mut params = manifests.params()?;
    params["analyze"] = json!(options.analyze);
    params["dry_run"] = json!(options.dry_run);
    if let Some(ready) = options.ready {
        params["wait"] = json!(humantime::format_duration(ready).to_string());
    }
    let view = View::new(Format::or_fitting(manifests.output));
    match manifests.execute(global, params, options.yes, view).await? {
        Some(Followed::Ended(result)) => Ok(result.outcome.into()),
        Some(Followed::Detached) => Ok(Exit::Interrupted),
        None => Ok(Exit::Failed),
    }
}

pub(super) async fn diff(global: &Global, options: &Diff) -> Result<Exit, Error> {
    let manifests = &options.manifests;
    let mut params = manifests.params()?;
    params["dry_run"] = json!(true);
    let format = Format::or_fitting(manifests.output);
    let view = if format.is_text() { View::progress() } else { View::new(format) };
    let result = match manifests.execute(global, params, true, view).await? {
        Some(Followed::Ended(result)) => result,
        Some(Followed::Detached) => return Ok(Exit::Interrupted),
        None => return Ok(Exit::Failed),
    };
    let (text, differs) = report::differences(&result);
    if format.is_text() {
        let none = styled(GOOD, "No differences.");
        output::line(if text.is_empty() { &none } else { &text })?;
    }
    Ok(match result.outcome {
        Outcome::Succeeded if differs => Exit::Failed,
        outcome => outcome.into(),
    })
}

impl Manifests {
    fn params(&self) -> Result<Value, Error> {
        let mut params = json!({
            "name": self.name, "manifest": read(&self.files)?, "create_namespace": self.create_namespace,
            "prune": !self.no_prune, "force": self.force, "adopt": self.adopt,
            "recreate": self.recreate,
        });
        if let Some(namespace) = &self.namespace {
            params["namespace"] = json!(namespace);
        }
        Ok(params)
    }

    async fn execute(&self, global: &Global, params: Value, yes: bool, view: View) -> Result<Option<Followed>, Error> {
        let draft = draft::of("config.apply", params)?;
        match &self.target {
            Some(target) if !self.cluster.is_named() => self.execute_on_worker(global, target, draft, yes, view).await,
            None if !self.cluster.is_named() => {
                let reason =
                    "name the target whose workers execute it (--target), or the cluster for this process (--context)";
                Err(Error::argument("--target", reason))
            }
            target => {
                let target = draft::target(target.as_deref().unwrap_or(run::TARGET))?;
                let process = Process::new(global, &target, &self.cluster, None)?;
                Ok(process.confirm_and_execute(draft, yes, view).await?.map(|(followed, _)| followed))
            }
        }
    }

    async fn execute_on_worker(
        &self,
        global: &Global,
        target: &str,
        draft: CommandDraft,
        yes: bool,
        view: View,
    ) -> Result<Option<Followed>, Error> {
        let target = draft::target(target)?;
        let verb = draft.verb.clone();
        let Some((client, sent)) = submit::send(global, &target, draft, yes).await? else { return Ok(None) };
        let submitted = Some((target.as_str(), verb.as_str()));
        watch::follow(&client, &sent.key, Some(self.timeout), view, submitted).await.map(Some)
    }
}

/// The documents of all files, in the order of the arguments and of the names in a folder.
fn read(paths: &[PathBuf]) -> Result<String, Error> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, 0, &mut files)?;
            if files.len() == before {
                let reason = format!("the folder has no files that end with {}", EXTENSIONS.join(", "));
                return Err(Error::argument(path.display().to_string(), reason));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut all = String::new();
    for file in &files {
        let name = file.display().to_string();
        let text = params::read(&name)?;
        // Here, because lines of the whole are not those of a file. A text that is not YAML alone cannot be part of one.
        if let Err(source) = manifest::read(&text) {
            return Err(Error::Manifest { file: name, source });
        }
        all.push_str("---\n");
        all.push_str(text.trim_end());
        all.push('\n');
        if all.len() > dataref::MAX_BYTES {
            let reason = format!("the manifests exceed {} bytes", dataref::MAX_BYTES);
            return Err(Error::argument(name, reason));
        }
    }
    if files.len() > 1 {
        output::note(styled(QUIET, plural(files.len(), "file")));
    }
    Ok(all)
}

/// Adds the manifests of a folder and of the folders in it. What cannot be read is an error, because the objects of a file
/// that is left out would be pruned.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let fail = |source| Error::local(format!("read {}", folder.display()), source);
    let entries = std::fs::read_dir(folder).map_err(fail)?;
    let mut entries = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
    entries.sort();
    for entry in entries {
        let refused = |reason: String| Error::argument(entry.display().to_string(), reason);
        let extension = entry.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if entry.is_dir() {
            if is_of_a_volume(&entry) {
                continue;
            }
            if entry.is_symlink() {
                return Err(refused(
                    "is a link to a folder, and links can form a circle; name the folder itself".to_owned(),
                ));
            }
            if depth == DEEPEST {
                return Err(refused(format!("is below more than {DEEPEST} folders")));
            }
            collect(&entry, depth + 1, files)?;
        } else if EXTENSIONS.contains(&extension) && entry.is_file() {
            if files.len() == MOST_FILES {
                return Err(refused(format!("there are more than {MOST_FILES} files")));
            }
            files.push(entry);
        }
    }
    Ok(())
}

/// A folder such as `..data` of a mounted ConfigMap, whose files are beside it as links.
fn is_of_a_volume(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_of_folders_are_read_in_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        let object = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        for (name, text) in
            [("c.yml", object("c")), ("a.yaml", object("a")), ("b/x.json", object("x")), ("README.md", "no".to_owned())]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let all = format!("---\n{}---\n{}---\n{}", object("a"), object("x"), object("c"));
        assert_eq!(read(&[dir.path().to_owned()]).unwrap(), all);
        let empty = tempfile::tempdir().unwrap();
        assert!(read(&[empty.path().to_owned()]).unwrap_err().to_string().contains("has no files"));
    }

    #[test]
    fn folder_that_is_not_read_completely_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "# nothing\n").unwrap();
        let reason = || read(&[dir.path().to_owned()]).unwrap_err().to_string();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(reason().contains("is a link to a folder"), "{}", reason());
        std::fs::rename(&link, dir.path().join("..data")).unwrap();
        assert_eq!(read(&[dir.path().to_owned()]).unwrap(), "---\n# nothing\n");
        std::fs::create_dir_all(dir.path().join("d/".repeat(DEEPEST + 1))).unwrap();
        assert!(reason().contains("is below more than 16 folders"), "{}", reason());
    }
}
