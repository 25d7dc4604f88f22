//! `sailhand analyze`: reads configuration and tells what is wrong with it.

use std::io::IsTerminal;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Error, Exit, output};
use crate::analysis::report::{self, Report};
use crate::analysis::source::{self, Reading, Sources, files};
use crate::analysis::{Code, Finding, Level, Node, Rule, Settings, Snapshot, mesh, rules};
use crate::clock::Clock;

/// What Istio's own tests add to each case: a gateway's pod and service. They are part of nearly every installation,
/// but not of a folder of manifests.
const DEFAULT_OBJECTS: &str = include_str!("analyze/ingress-gateway.yaml");

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing at or above --fail-on, 1 something, 2 usage, 6 some of the input was not read.

Examples:
  sailhand analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand analyze -
  sailhand analyze --explain IST0101")]
pub(super) struct Options {
    /// Files and folders with YAML or JSON; `-` is standard input
    paths: Vec<PathBuf>,
    /// MeshConfig in a file, instead of what ConfigMap istio-system/istio says
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// MeshNetworks in a file
    #[arg(long, value_name = "FILE")]
    mesh_networks: Option<PathBuf>,
    /// Report these codes only, or what these rules find
    #[arg(long, value_name = "CODE,RULE", value_delimiter = ',')]
    codes: Vec<String>,
    /// Add a pod and a service of an ingress gateway to what is read
    #[arg(long)]
    default_objects: bool,
    /// How findings are written
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Lowest level that makes the exit code 1
    #[arg(long, value_enum, default_value = "error")]
    fail_on: FailOn,
    /// Explain a code and end
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    /// List the rules with their codes and end
    #[arg(long, exclusive = true)]
    list_rules: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// A list of findings
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Info,
    Never,
}

impl FailOn {
    fn is_reached(self, level: Level) -> bool {
        match self {
            Self::Error => level >= Level::Error,
            Self::Warning => level >= Level::Warning,
            Self::Info => true,
            Self::Never => false,
        }
    }
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    if let Some(code) = &options.explain {
        return explain(code);
    }
    if options.list_rules {
        return list_rules();
    }
    if options.paths.is_empty() {
        return Err(Error::argument("PATH", "name files or folders to analyse, or `-` for standard input"));
    }
    let filter = Filter::new(&options.codes)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let (sources, mut reading) = read(options, threads)?;
    let settings = settings(options, &reading)?;
    reading.errors.iter().for_each(|error| output::problem(error));
    let snapshot = Snapshot::new(std::mem::take(&mut reading.resources), settings);
    let mut findings = crate::analysis::run(&snapshot, &filter.rules(), threads);
    findings.retain(|finding| filter.allows(finding));
    let report = Report { findings: &findings, sources: &sources, objects: snapshot.len() };
    show(options, &report, &reading)?;
    let is_bad = findings.iter().any(|finding| options.fail_on.is_reached(finding.level));
    Ok(match (is_bad, reading.errors.is_empty()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Success,
        (false, false) => Exit::Trouble,
    })
}

fn show(options: &Options, report: &Report<'_>, reading: &Reading) -> Result<(), Error> {
    let fitting = if std::io::stdout().is_terminal() { Format::Text } else { Format::Json };
    match options.output.unwrap_or(fitting) {
        Format::Json => output::json(&report::json::findings(report)),
        Format::Text => {
            let mut text = String::new();
            // Writing to a string does not fail.
            let _ = report::text::write(report, &mut text);
            output::line(text.trim_end())?;
            if reading.foreign > 0 {
                output::note(format_args!(
                    "{} documents are no Kubernetes objects and were passed over",
                    reading.foreign
                ));
            }
            Ok(())
        }
    }
}

fn read(options: &Options, threads: NonZero<usize>) -> Result<(Sources, Reading), Error> {
    let mut sources = Sources::default();
    let mut errors = Vec::new();
    for path in &options.paths {
        if path == Path::new("-") {
            let text = files::read_to_end(std::io::stdin().lock())
                .map_err(|source| Error::local("read standard input", source))?;
            sources.add("<standard input>", text);
        } else {
            files::read(path, &mut sources, &mut errors);
        }
    }
    if options.default_objects {
        sources.add("<default objects>", DEFAULT_OBJECTS.to_owned());
    }
    let mut reading = source::read(&sources, threads);
    reading.errors.splice(0..0, errors);
    Ok((sources, reading))
}

fn settings(options: &Options, reading: &Reading) -> Result<Settings, Error> {
    let given = |path: &Option<PathBuf>| -> Result<Option<Node>, Error> {
        let Some(path) = path else { return Ok(None) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::local(format!("read {name}"), source))?;
        Ok(Some(source::read_value(&name, &text)?))
    };
    let now = Clock::system().now().unix_timestamp();
    let found = mesh::settings_in(&reading.resources, now);
    Ok(Settings {
        mesh_config: given(&options.mesh_config)?.or(found.mesh_config),
        mesh_networks: given(&options.mesh_networks)?.or(found.mesh_networks),
        now,
    })
}

/// What `--codes` asks for: codes, or rules by name.
struct Filter {
    codes: Vec<&'static Code>,
    rules: Vec<&'static Rule>,
}

impl Filter {
    fn new(asked: &[String]) -> Result<Self, Error> {
        let mut filter = Self { codes: Vec::new(), rules: Vec::new() };
        let codes = rules::codes();
        for name in asked {
            if let Some(code) = codes.iter().find(|code| code.id.eq_ignore_ascii_case(name)) {
                filter.codes.push(code);
            } else if let Some(rule) = rules::ALL.iter().find(|rule| rule.name.eq_ignore_ascii_case(name)) {
                filter.rules.push(rule);
            } else {
                return Err(Error::argument(format!("--codes {name}"), "no such code or rule; see --list-rules"));
            }
        }
        Ok(filter)
    }

    fn is_open(&self) -> bool {
        self.codes.is_empty() && self.rules.is_empty()
    }

    /// Rules that can report something asked for.
    fn rules(&self) -> Vec<&'static Rule> {
        let asked = |rule: &&'static Rule| {
            self.is_open()
                || self.rules.iter().any(|one| one.name == rule.name)
                || rule.codes.iter().any(|code| self.codes.contains(code))
        };
        rules::ALL.iter().copied().filter(asked).collect()
    }

    fn allows(&self, finding: &Finding) -> bool {
        self.is_open()
            || self.codes.contains(&finding.code)
            || self.rules.iter().any(|rule| rule.codes.contains(&finding.code))
    }
}

fn explain(id: &str) -> Result<Exit, Error> {
    let codes = rules::codes();
    let code = codes.iter().find(|code| code.id.eq_ignore_ascii_case(id));
    let code = code.ok_or_else(|| Error::argument(format!("--explain {id}"), "no such code; see --list-rules"))?;
    let head = format!("{}[{}] {}: {}", code.level, code.id, code.name, code.title);
    output::line(output::styled(output::STRONG, head))?;
    output::line(format_args!("\n{}\n\n{}", code.why, code.remedy))?;
    output::line(format_args!("\nSource: {}\n\nBefore:\n", code.source))?;
    output::line(indented(code.example.before))?;
    output::line("\nAfter:\n")?;
    output::line(indented(code.example.after))?;
    Ok(Exit::Success)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn list_rules() -> Result<Exit, Error> {
    for rule in rules::ALL {
        let codes: Vec<&str> = rule.codes.iter().map(|code| code.id).collect();
        output::line(format_args!("{:<48} {}", rule.name, codes.join(" ")))?;
    }
    Ok(Exit::Success)
}
