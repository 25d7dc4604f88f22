//! `sailhand check`: whether NATS, its streams, the workers, helm, the charts and the clusters are usable. Each problem has a
//! remedy. Reads only.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::process::Command;

use super::local::{self, LocalCluster};
use super::output::{self, BAD, CHANGED, Format, GOOD, STRONG, Style, styled};
use super::{Error, Exit, Global};
use crate::bus::nats::topology;
use crate::bus::topology::Topology;
use crate::chart::Charts;
use crate::client::{Client, ListFilter};
use crate::cluster::rights;
use crate::config::{self, Config, Target};
use crate::error::{Classify, Problem};
use crate::mesh::Version;
use crate::prose::{self, plural};

const EXAMPLES: &str = "\
Exit codes: 0 no check failed, 1 a check failed.

Examples:
  sailhand check
  sailhand check nats workers
  sailhand check clusters --context kind-dev";

/// How long a chart or an API server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The oldest supported nats-server.
const NATS_VERSION: (u64, u64) = (2, 12);
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// What to check [default: everything]
    sections: Vec<Section>,
    #[command(flatten)]
    cluster: LocalCluster,
    /// Output format [default: text on a terminal, JSON lines otherwise]
    #[arg(short, long)]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Section {
    /// The server, JetStream, the streams, and the permissions of these credentials
    Nats,
    /// Workers, their versions and targets
    Workers,
    /// helm and Istio's charts, for `run`, `dev` and workers on this machine
    Charts,
    /// API servers and rights: the targets of the configuration, or the kubeconfig
    Clusters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Passed,
    Warning,
    Failed,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    section: Section,
    status: Status,
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// Code of the error; `sailhand explain` has its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// The checks so far. On a terminal each is printed at once: a server that does not answer takes seconds.
struct Checks {
    list: Vec<Check>,
    section: Option<Section>,
    format: Format,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let config = global.config()?;
    let format = Format::or_fitting(options.output);
    let is_wanted = |section| options.sections.is_empty() || options.sections.contains(&section);
    let mut checks = Checks { list: Vec::new(), section: None, format };
    if is_wanted(Section::Nats) || is_wanted(Section::Workers) {
        let client = nats(&config, &mut checks).await?;
        if let Some(client) = client.filter(|_| is_wanted(Section::Workers)) {
            workers(&config, &client, &mut checks).await?;
        }
    }
    if is_wanted(Section::Charts) {
        charts(&config, &mut checks).await?;
    }
    if is_wanted(Section::Clusters) {
        clusters(&config, &options.cluster, &mut checks).await?;
    }
    checks.end()
}

async fn nats(config: &Config, checks: &mut Checks) -> Result<Option<Client>, Error> {
    let url = config.nats.url.join(",");
    let client = match Client::connect(config).await {
        Ok(client) => client,
        Err(error) => {
            let error = Error::Client(crate::client::Error::from(error));
            checks.problem(Section::Nats, Status::Failed, &error)?;
            return Ok(None);
        }
    };
    let info = client.bus().context().client().server_info();
    let is_old = version_of(&info.version).is_some_and(|version| version < NATS_VERSION);
    let message = format!("nats-server {} answers at {url}", info.version);
    if is_old {
        let (major, minor) = NATS_VERSION;
        let remedy = format!("Upgrade nats-server to {major}.{minor} or newer.");
        checks.add(Section::Nats, Status::Failed, message, Some(remedy))?;
    } else {
        checks.add(Section::Nats, Status::Passed, message, None)?;
    }
    match topology::verify(client.bus(), &Topology::new(&config.bus)).await {
        Ok(()) => {
            let message = "streams, buckets and consumers are as declared".to_owned();
            checks.add(Section::Nats, Status::Passed, message, None)?;
        }
        Err(error) => {
            checks.problem(Section::Nats, Status::Failed, &error)?;
            return Ok(None);
        }
    }
    let hour = ListFilter { target: None, since: OffsetDateTime::now_utc() - time::Duration::hours(1) };
    let reads = client.list(&hour).await.map(drop);
    let pauses = client.pauses().await.map(drop);
    for (what, read) in [("read events and results", reads), ("read pauses", pauses)] {
        match read {
            Ok(()) => checks.add(Section::Nats, Status::Passed, format!("these credentials may {what}"), None)?,
            Err(error) => checks.problem(Section::Nats, Status::Warning, &error)?,
        }
    }
    Ok(Some(client))
}

/// Major and minor version.
fn version_of(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.trim_start_matches('v').split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

async fn workers(config: &Config, client: &Client, checks: &mut Checks) -> Result<(), Error> {
    let section = Section::Workers;
    let cards = match client.cards().await {
        Ok(Some(cards)) => cards,
        Ok(None) => {
            let message = "the workers cannot be listed: the bucket does not exist or may not be read".to_owned();
            return checks.add(section, Status::Warning, message, None);
        }
        Err(error) => return checks.problem(section, Status::Failed, &error),
    };
    if cards.is_empty() {
        let remedy = "Start one with `sailhand worker`, or `sailhand dev` on this machine.".to_owned();
        return checks.add(section, Status::Failed, "no worker is running".to_owned(), Some(remedy));
    }
    for (target, workers) in &cards {
        let names: Vec<&str> = workers.iter().map(|card| card.worker.as_str()).collect();
        checks.add(section, Status::Passed, format!("target {target}: {}", names.join(", ")), None)?;
        for card in workers {
            if let Some(problem) = &card.problem {
                let message = format!("target {target}, worker {}: {problem}", card.worker);
                let remedy = "Correct the kubeconfig or the context of the target in the worker's configuration.";
                checks.add(section, Status::Failed, message, Some(remedy.to_owned()))?;
            }
            if card.version != VERSION {
                let message = format!("worker {} has version {}, this program {VERSION}", card.worker, card.version);
                let remedy = "Upgrade the older one: a worker rejects verbs and parameters that it does not know.";
                checks.add(section, Status::Warning, message, Some(remedy.to_owned()))?;
            }
        }
    }
    for target in config.targets.keys().filter(|target| !cards.contains_key(*target)) {
        let message = format!("target {target} of this configuration has no worker");
        let remedy = "Start a worker with this configuration.".to_owned();
        checks.add(section, Status::Warning, message, Some(remedy))?;
    }
    Ok(())
}

async fn charts(config: &Config, checks: &mut Checks) -> Result<(), Error> {
    let section = Section::Charts;
    if let Some(version) = helm(&config.charts.helm).await {
        checks.add(section, Status::Passed, format!("helm {version}"), None)?;
    } else {
        let message = format!("{} is not found or does not run", config.charts.helm.display());
        let remedy = "Install helm 3.8 or newer (https://helm.sh/docs/intro/install), or set charts.helm. Only mesh.* \
                      verbs need it.";
        checks.add(section, Status::Warning, message, Some(remedy.to_owned()))?;
    }
    let version = Version::example().to_string();
    let source = &config.charts.source;
    match tokio::time::timeout(ANSWER, Charts::new(&config.charts).fetch("base", &version)).await {
        Ok(Ok(_)) => checks.add(section, Status::Passed, format!("chart base {version} from {source}"), None),
        Ok(Err(error)) => checks.problem(section, Status::Warning, &error),
        Err(_) => {
            let message = format!("{source} does not answer within {}s", ANSWER.as_secs());
            let remedy = "Check the network and proxies, or set charts.source to a folder or a mirror.".to_owned();
            checks.add(section, Status::Warning, message, Some(remedy))
        }
    }
}

async fn helm(program: &Path) -> Option<String> {
    let program = config::find_program(program)?;
    let mut command = Command::new(program);
    command.args(["version", "--short"]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ANSWER, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn clusters(config: &Config, named: &LocalCluster, checks: &mut Checks) -> Result<(), Error> {
    let section = Section::Clusters;
    let targets = if named.is_named() || config.targets.is_empty() {
        let target = named.target(None);
        if !named.is_named() && !local::has_kubeconfig(&target) {
            let message = format!("{}, and no target in the configuration", local::missing(&target));
            let remedy = "Name one with --kubeconfig, or add a target to the configuration.".to_owned();
            return checks.add(section, Status::Warning, message, Some(remedy));
        }
        [("kubeconfig".to_owned(), target)].into()
    } else {
        config.targets.clone()
    };
    for (name, target) in &targets {
        cluster(name, target, checks).await?;
    }
    Ok(())
}

async fn cluster(name: &str, target: &Target, checks: &mut Checks) -> Result<(), Error> {
    let section = Section::Clusters;
    let identity = match local::identity(name, target) {
        Ok(identity) => identity,
        Err(error) => return checks.problem(section, Status::Failed, &error),
    };
    let (cluster, version) = match local::connect(name, target, &identity, ANSWER).await {
        Ok(connected) => connected,
        Err(error) => return checks.problem(section, Status::Failed, &error),
    };
    checks.add(section, Status::Passed, format!("{name}: Kubernetes {version}, {identity}"), None)?;
    let mut is_missing = false;
    for right in rights::USUAL {
        match cluster.may(right).await {
            Ok(true) => {}
            Ok(false) => {
                is_missing = true;
                let message = format!("{name}: user {} may not {right}", identity.user);
                let remedy = format!("Grant it. Needed by {}.", right.needed_by);
                checks.add(section, Status::Warning, message, Some(remedy))?;
            }
            Err(error) => return checks.problem(section, Status::Warning, &error),
        }
    }
    if !is_missing {
        checks.add(section, Status::Passed, format!("{name}: the credentials have the usual rights"), None)?;
    }
    Ok(())
}

impl Checks {
    fn add(&mut self, section: Section, status: Status, message: String, remedy: Option<String>) -> Result<(), Error> {
        self.push(Check { section, status, message, remedy, code: None })
    }

    fn problem(&mut self, section: Section, status: Status, error: &dyn Classify) -> Result<(), Error> {
        let problem = Problem::new(error);
        let mut message = problem.message.clone();
        for cause in &problem.causes {
            let _ = write!(message, ": {cause}");
        }
        self.push(Check { section, status, message, remedy: Some(problem.remedy), code: Some(problem.code) })
    }

    fn push(&mut self, check: Check) -> Result<(), Error> {
        if self.format.is_text() {
            if self.section != Some(check.section) {
                let gap = if self.section.is_some() { "\n" } else { "" };
                output::line(format_args!("{gap}{}", styled(STRONG, heading(check.section))))?;
                self.section = Some(check.section);
            }
            output::line(text(&check))?;
        }
        self.list.push(check);
        Ok(())
    }

    fn end(self) -> Result<Exit, Error> {
        let count = |status| self.list.iter().filter(|check| check.status == status).count();
        let failed = count(Status::Failed);
        if !self.format.list(&self.list, |check| format!("{}: {}", heading(check.section), check.message))? {
            let (passed, warnings) = (count(Status::Passed), plural(count(Status::Warning), "warning"));
            output::line(format_args!("\n{passed} passed, {warnings}, {failed} failed"))?;
        }
        Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
    }
}

const fn heading(section: Section) -> &'static str {
    match section {
        Section::Nats => "nats",
        Section::Workers => "workers",
        Section::Charts => "charts",
        Section::Clusters => "clusters",
    }
}

fn text(check: &Check) -> String {
    let (sign, style): (&str, Style) = match check.status {
        Status::Passed => ("✓", GOOD),
        Status::Warning => ("!", CHANGED),
        Status::Failed => ("✗", BAD),
    };
    let fold = |text: &str| prose::fold(text, 2, 4, output::width());
    let mut text = format!("{} {}", styled(style, sign), fold(&check.message));
    if let Some(remedy) = &check.remedy {
        let _ = write!(text, "\n  {}", fold(remedy));
    }
    if let Some(code) = &check.code {
        let _ = write!(text, "\n  {}", output::more(code));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_has_a_sign_a_remedy_and_the_command_that_explains_its_code() {
        let check = Check {
            section: Section::Nats,
            status: Status::Failed,
            message: "cannot connect".to_owned(),
            remedy: Some("Start it.".to_owned()),
            code: Some("SH2001".to_owned()),
        };
        let plain = anstream::adapter::strip_str(&text(&check)).to_string();
        assert_eq!(plain, "✗ cannot connect\n  Start it.\n  more: sailhand explain SH2001");
    }

    #[test]
    fn versions_of_servers_are_compared_by_number() {
        assert_eq!(version_of("2.9.25"), Some((2, 9)));
        assert!(version_of("2.9.25") < Some(NATS_VERSION));
        assert_eq!(version_of("v2.12.1-RC.1"), Some((2, 12)));
        assert_eq!(version_of("main"), None);
    }
}
