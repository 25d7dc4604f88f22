//! `sailhand conformance`: runs a suite and renders its report, reads a report of the suite of Gateway API, compares two
//! reports, lists cases.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use futures::StreamExt as _;
use serde_json::json;
use time::OffsetDateTime;

use super::bars::Bars;
use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, render, styled};
use super::{Error, Exit, Global, draft};
use crate::client::{self, Observed};
use crate::clock::Clock;
use crate::conformance::model::{CaseResult, Compliance, RunReport, SpecResult, Status};
use crate::conformance::official;
use crate::conformance::report::{conformance_report, diff, html, junit};
use crate::conformance::suite::SuiteKind;
use crate::event::{CommandDraft, EventKind, ResultData};
use crate::prose::plural;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a suite on a target and render the report
    Run(Run),
    /// Compare two reports written by `run -o json` or `import -o json`
    Diff(Diff),
    /// Read a `ConformanceReport` of Gateway API's own suite
    Import(Import),
    /// List the cases of a suite
    Cases(Cases),
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// The report as one JSON document
    Json,
    /// JUnit XML
    Junit,
    /// One self-contained page
    Html,
    /// Conformance report of Gateway API as YAML (gateway-api-mesh only)
    Yaml,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// smi or gateway-api-mesh
    #[arg(short, long, default_value = "smi")]
    suite: String,
    /// Cluster, by the id that the workers' configuration gives it
    #[arg(short, long)]
    target: String,
    /// Case to run; may be repeated; all when absent
    #[arg(long = "case", value_name = "ID")]
    cases: Vec<String>,
    /// A further parameter of conformance.run, such as `data_plane=ambient`
    #[arg(short, long = "param", value_name = "KEY=VALUE")]
    params: Vec<String>,
    /// How long to wait for the result
    #[arg(long, value_name = "DURATION", default_value = "45m", value_parser = super::duration)]
    timeout: Duration,
    /// How to write the report
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The earlier report
    before: PathBuf,
    /// The later report
    after: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// `ConformanceReport` (YAML) that the suite has written with `-report-output`
    report: PathBuf,
    /// Output of the suite with `-test.v`; gives the outcome and time of each test
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How to write the report
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Debug, Args)]
pub(super) struct Cases {
    /// smi or gateway-api-mesh
    #[arg(default_value = "smi")]
    suite: String,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<Exit, Error> {
    match command {
        Command::Run(options) => start(global, options).await,
        Command::Diff(options) => compare(&options),
        Command::Import(options) => import(&options),
        Command::Cases(options) => cases(&options),
    }
}

async fn start(global: &Global, options: Run) -> Result<Exit, Error> {
    let target = draft::target(&options.target)?;
    let mut suite =
        SuiteKind::named(&options.suite).map_err(|error| Error::argument("--suite", error.to_string()))?.suite();
    suite.select(&options.cases).map_err(|error| Error::argument("--case", error.to_string()))?;
    if options.output == Form::Yaml && suite.kind != SuiteKind::GatewayApiMesh {
        return Err(Error::argument("--output yaml", "a ConformanceReport exists for the suite gateway-api-mesh only"));
    }
    let mut params = super::params::build("conformance.run", None, &options.params, None)?;
    params["suite"] = json!(suite.kind.name());
    if !options.cases.is_empty() {
        params["cases"] = json!(options.cases);
    }
    let draft = CommandDraft {
        id: uuid::Uuid::new_v4().to_string(),
        source: client::SOURCE.to_owned(),
        verb: "conformance.run".to_owned(),
        params,
        expiry: Some(OffsetDateTime::now_utc() + options.timeout),
        ..CommandDraft::default()
    };
    let client = global.client().await?;
    let key = client.submit(&target, draft).await?.key;
    output::note(styled(QUIET, format_args!("conformance.run on {target}: {key}")));
    let mut bars = Bars::new(Format::Text);
    let mut observations = client.watch_command(&key);
    let end = async {
        while let Some(observation) = observations.next().await {
            let observation = observation?;
            match &observation.observed {
                Observed::Result(result) => {
                    bars.end(&key);
                    return Ok((**result).clone());
                }
                _ if options.output == Form::Text => bars.show(&observation)?,
                Observed::Event(EventKind::ConformanceCase(event)) => {
                    output::note(format_args!("{}/{} {}", event.done, event.total, case_line(&event.case)));
                }
                _ => {}
            }
        }
        let ended = std::io::Error::other("the server closed it before the command ended");
        Err(Error::local(format!("follow command {key}"), ended))
    };
    let clock = Clock::system();
    let result = tokio::select! {
        result = end => result?,
        () = clock.sleep(options.timeout) => return Err(Error::Waited { key: key.clone(), after: options.timeout }),
    };
    finish(&result, options.output)
}

fn finish(result: &ResultData, form: Form) -> Result<Exit, Error> {
    let report = result.report.clone().and_then(|report| serde_json::from_value::<RunReport>(report).ok());
    if let Some(report) = &report {
        write(report, form)?;
    }
    if let Some(problem) = &result.error {
        output::note(render(problem));
    }
    let failed = report.is_some_and(|report| report.specs.iter().any(|spec| spec.compliance == Compliance::Fail));
    let exit = Exit::from(result.outcome);
    Ok(if exit == Exit::Success && failed { Exit::Failed } else { exit })
}

fn write(report: &RunReport, form: Form) -> Result<(), Error> {
    match form {
        Form::Text => output::line(text(report)),
        Form::Json => output::json(report),
        Form::Junit => output::whole(junit::render(report).trim_end()),
        Form::Html => output::whole(html::render(report)),
        Form::Yaml => output::whole(conformance_report::render(report).unwrap_or_default().trim_end()),
    }
}

fn text(report: &RunReport) -> String {
    let counts = report.summary.counts;
    let mut lines: Vec<_> = report.specs.iter().map(spec_line).collect();
    lines.push(format!(
        "{}: {} passed, {} failed, {} error, {} not supported, {} skipped",
        plural(counts.total, "case"),
        counts.passed,
        counts.failed,
        counts.error,
        counts.not_supported,
        counts.skipped
    ));
    if report.run.driver == "simulated" {
        lines.push(styled(CHANGED, "Simulated: no request was sent. This says nothing about the cluster."));
    }
    if !report.kept_namespaces.is_empty() {
        lines.push(format!("Remaining namespaces: {}", report.kept_namespaces.join(", ")));
    }
    lines.join("\n")
}

fn compare(options: &Diff) -> Result<Exit, Error> {
    let differences = diff::compare(&read(&options.before)?, &read(&options.after)?);
    for one in &differences {
        let style = if one.is_regression { BAD } else { GOOD };
        output::line(format!("{}: {} → {}", styled(style, &one.what), one.before, one.after))?;
    }
    if differences.is_empty() {
        output::line("No differences.")?;
    }
    Ok(if differences.iter().any(|one| one.is_regression) { Exit::Failed } else { Exit::Success })
}

fn import(options: &Import) -> Result<Exit, Error> {
    if options.output == Form::Yaml {
        return Err(Error::argument("--output yaml", "the report is a ConformanceReport already"));
    }
    let text = text_of(&options.report, official::MAX_REPORT)?;
    let log = options.log.as_ref().map(|path| text_of(path, official::MAX_LOG)).transpose()?;
    let report = official::read(&text, log.as_deref());
    let report = report.map_err(|error| Error::argument(options.report.display().to_string(), error.to_string()))?;
    if options.output == Form::Text {
        for case in report.cases.iter().filter(|case| case.status != Status::Passed) {
            output::line(case_line(case))?;
        }
    }
    write(&report, options.output)?;
    let failed = report.specs.iter().any(|spec| spec.compliance == Compliance::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Success })
}

/// A text file; of a larger one so much that its reader refuses it.
fn text_of(path: &Path, limit: usize) -> Result<String, Error> {
    let fail = |source| Error::local(format!("read {}", path.display()), source);
    let mut text = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text)).map_err(fail)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn read(path: &Path) -> Result<RunReport, Error> {
    let fail = |source| Error::local(format!("read report {}", path.display()), source);
    let text = std::fs::read(path).map_err(fail)?;
    serde_json::from_slice(&text).map_err(|error| fail(error.into()))
}

fn cases(options: &Cases) -> Result<Exit, Error> {
    let suite = SuiteKind::named(&options.suite).map_err(|error| Error::argument("suite", error.to_string()))?.suite();
    for case in &suite.cases {
        output::line(format!("{:<42} {} {}", case.id, case.title, styled(QUIET, format_args!("({})", case.feature))))?;
    }
    Ok(Exit::Success)
}

/// A case, in one line.
pub(super) fn case_line(case: &CaseResult) -> String {
    let (sign, style) = match case.status {
        Status::Passed => ("✔", GOOD),
        Status::Failed => ("✖", BAD),
        Status::Error => ("!", BAD),
        Status::NotSupported | Status::Skipped => ("–", QUIET),
    };
    let text = if case.message.is_empty() { case.title.as_str() } else { case.message.as_str() };
    format!("{} {:<10} {text}", styled(style, sign), case.case_id)
}

/// The verdict on a specification, in one line.
pub(super) fn spec_line(spec: &SpecResult) -> String {
    let style = match spec.compliance {
        Compliance::Pass => GOOD,
        Compliance::Fail => BAD,
        Compliance::NotApplicable => CHANGED,
    };
    let verdict = format!("capability {}, compliance {}", spec.capability.as_str(), spec.compliance.as_str());
    let counts = spec.counts;
    let title = styled(STRONG, &spec.title);
    format!("{title}: {} ({} of {} passed)", styled(style, verdict), counts.passed, plural(counts.total, "case"))
}
