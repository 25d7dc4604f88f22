//! The command line of the analysis of files: options, input, formats, suppressions, exit codes, and the language server.
//! `sailhand-analyze` consists of this alone; `sailhand analyze` adds clusters. Does not depend on tokio, TLS, NATS and kube.

mod error;
mod explain;
mod filter;
mod fix;
mod helm;
pub mod lsp;
pub mod notes;
pub mod output;
mod show;

use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use sailhand_analysis::report::Report;
use sailhand_analysis::report::html::About;
use sailhand_analysis::source::{self, PassedOver, Reading, Sources, files};
use sailhand_analysis::suppress::{self, Suppressions};
use sailhand_analysis::{Finding, Kind, Rule, Settings, Snapshot, Value, mesh};
use sailhand_base::prose::plural;

pub use error::{Error, Exit};
pub use filter::Filter;
pub use show::{FailOn, Format, Threshold};

/// Prints the explanation of a code of the analysis.
///
/// # Errors
/// An unknown code, or an output that cannot be written.
pub fn explain(id: &str) -> Result<Exit, Error> {
    explain::code(id)
}

/// Objects that Istio's own tests add to each case: the pod and Service of an ingress gateway. Nearly every
/// installation has them, but a folder of manifests does not.
const DEFAULT_OBJECTS: &str = include_str!("ingress-gateway.yaml");

/// Options of an analysis that do not need a cluster.
#[derive(Debug, Args)]
pub struct FileOptions {
    /// Files and folders with YAML or JSON; `-` is standard input
    pub paths: Vec<PathBuf>,
    /// MeshConfig in a file, instead of that in ConfigMap istio-system/istio
    #[arg(long, value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// MeshNetworks in a file
    #[arg(long, value_name = "FILE")]
    pub mesh_networks: Option<PathBuf>,
    /// Report only these codes, or the codes of these rules
    #[arg(long, value_name = "CODE,RULE", value_delimiter = ',')]
    pub codes: Vec<String>,
    /// Assume that the pod and Service of the default ingress gateway exist, which avoids IST0101 on Gateways in files
    #[arg(long)]
    pub default_objects: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Format,
    /// Namespace of objects in files that have none, as with `kubectl apply -n`
    #[arg(short, long, value_name = "NAMESPACE", requires = "paths")]
    pub namespace: Option<String>,
    /// Report only findings in these namespaces; all namespaces are still read
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    pub only_namespace: Vec<String>,
    /// The files contain all objects of the cluster: an object that is not among them does not exist
    #[arg(long)]
    pub whole_cluster: bool,
    /// DNS domain of the cluster [default: the one in istiod's arguments, otherwise cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Render the Helm charts of folders with their default values, if helm is there
    #[arg(long, requires = "paths")]
    pub helm: bool,
    /// Exit with 0 when the input has no object that a rule reads
    #[arg(long)]
    pub allow_empty: bool,
    /// Suppress a code, or a code for some objects: `IST0102`, `IST0102=Namespace test-*`, `*=* legacy/*`
    #[arg(short = 'S', long, value_name = "CODE[=OBJECT]")]
    pub suppress: Vec<String>,
    /// Suppress the findings in this baseline file
    #[arg(long, value_name = "FILE")]
    pub baseline: Vec<PathBuf>,
    /// Write the findings into a baseline file and exit
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// Correct what has one mechanical remedy (misspelled fields, kinds and annotations, port names, old API versions,
    /// repeated entries) in the files, and report the other findings
    #[arg(long, requires = "paths", conflicts_with = "write_baseline")]
    pub fix: bool,
    /// Print what --fix would change as a diff, and write nothing; exit with 1 if there is something
    #[arg(long, requires = "paths", conflicts_with = "write_baseline")]
    pub diff: bool,
    /// Lowest level for which the exit code is 1
    #[arg(long, value_enum, default_value = "error", ignore_case = true, alias = "failure-threshold")]
    pub fail_on: FailOn,
    /// Lowest level that is reported
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub output_threshold: Threshold,
    /// Explain a code and exit
    #[arg(long, value_name = "CODE", exclusive = true)]
    pub explain: Option<String>,
    /// List the rules with their codes and exit
    #[arg(long, exclusive = true)]
    pub list_rules: bool,
    /// Write the pages of docs/rules and exit
    #[arg(long, value_name = "FOLDER", exclusive = true, hide = true)]
    pub write_docs: Option<PathBuf>,
}

impl FileOptions {
    /// Handles the options that need no analysis: `--explain`, `--list-rules`, `--write-docs`. `None` if none of them
    /// is set.
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown code, [`Error::Local`] if the output cannot be written.
    pub fn answer(&self) -> Result<Option<Exit>, Error> {
        if let Some(code) = &self.explain {
            return explain::code(code).map(Some);
        }
        if self.list_rules {
            return explain::list().map(Some);
        }
        self.write_docs.as_deref().map(explain::write_docs).transpose()
    }
}

/// An analysis after its files have been read.
#[derive(Debug)]
pub struct Analysis<'a> {
    options: &'a FileOptions,
    filter: Filter,
    suppressions: Suppressions,
    threads: NonZero<usize>,
    sources: Sources,
    charts: helm::Charts,
    /// Objects of the files; the caller may add those of a cluster.
    pub reading: Reading,
}

/// Properties of the input beside the files.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Current time, Unix seconds, for the validity of certificates.
    pub now: i64,
    /// Whether a cluster was read as well.
    pub is_live: bool,
    /// Whether everything beside the files was read completely.
    pub is_whole: bool,
    /// Clusters that were read, as people know them.
    pub clusters: &'a [String],
}

impl<'a> Analysis<'a> {
    /// Checks the options and reads their files, folders and standard input.
    ///
    /// # Errors
    /// [`Error::Argument`] for unknown codes, [`Error::Local`] if standard input or a baseline cannot be read. Files
    /// that cannot be read are listed in `reading`.
    pub fn read(options: &'a FileOptions) -> Result<Self, Error> {
        let filter = Filter::new(&options.codes)?;
        let suppressions = suppressions(options)?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let mut charts = helm::Charts::new();
        let (sources, reading) = read(options, threads, [], &mut charts)?;
        Ok(Self { options, filter, suppressions, threads, sources, charts, reading })
    }

    /// The rules that the options select.
    #[must_use]
    pub fn rules(&self) -> Vec<&'static Rule> {
        self.filter.rules()
    }

    /// Runs the rules, writes the findings to standard output and notes to standard error.
    ///
    /// # Errors
    /// [`Error::Source`] and [`Error::Local`] for files of options, [`Error::Local`] if the output cannot be written.
    pub fn report(mut self, rules: &[&'static Rule], input: Input<'_>) -> Result<Exit, Error> {
        let options = self.options;
        if (options.fix || options.diff)
            && let Some(exit) = fix::run(&mut self, rules, input)?
        {
            return Ok(exit);
        }
        let mut is_whole = input.is_whole
            && self.reading.errors.is_empty()
            && !self.sources.passed_over().iter().any(PassedOver::is_manifest);
        let (snapshot, mut findings) = self.find(rules, input)?;
        let unmatched = self.suppressions.unmatched(&findings);
        if options.codes.is_empty() {
            notes::unmatched(&unmatched, self.suppressions.baseline_length());
        }
        if let Some(path) = &options.write_baseline {
            findings.retain(|finding| self.filter.allows(finding) && is_asked_for(&options.only_namespace, finding));
            return write_baseline(path, &findings);
        }
        let suppressed = self.keep(&mut findings);
        findings.retain(|finding| options.output_threshold.is_reached(finding));
        self.sources.index_positions(&findings);
        let report = Report { findings: &findings, sources: &self.sources, objects: snapshot.len(), suppressed };
        let about = about(options, &self.sources, &self.reading, &snapshot, suppressed, input);
        show::show(options.output, options.fail_on, !options.codes.is_empty(), &report, &snapshot, &about)?;
        notes::tell(&self.reading, &self.sources, &snapshot, input.is_live);
        notes::namespaces(&options.only_namespace, &snapshot);
        is_whole &= options.allow_empty || input.is_live || !snapshot.is_empty();
        let is_bad = findings.iter().any(|finding| options.fail_on.is_reached(finding));
        // The process exits here; freeing a hundred thousand small strings first would only take time.
        std::mem::forget((snapshot, findings, self));
        Ok(match (is_bad, is_whole) {
            (true, _) => Exit::Failed,
            (false, true) => Exit::Success,
            (false, false) => Exit::Trouble,
        })
    }
}

impl Analysis<'_> {
    /// Takes the objects that were read, and gives all findings about them.
    fn find(&mut self, rules: &[&'static Rule], input: Input<'_>) -> Result<(Snapshot, Vec<Finding>), Error> {
        if let Some(namespace) = &self.options.namespace {
            self.reading.resources.iter_mut().for_each(|resource| resource.default_namespace(namespace));
        }
        let mut settings = settings(self.options, &self.reading, input.now)?;
        if !input.is_live {
            settings.layout = self.sources.layout();
        }
        let snapshot = Snapshot::new(std::mem::take(&mut self.reading.resources), settings);
        let findings = sailhand_analysis::run_alternatives(&snapshot, rules, self.threads);
        Ok((snapshot, findings))
    }

    /// Drops findings that the options do not select. Gives the number of those that are suppressed.
    fn keep(&self, findings: &mut Vec<Finding>) -> usize {
        findings.retain(|it| self.filter.allows(it) && is_asked_for(&self.options.only_namespace, it));
        self.suppressions.apply(findings)
    }

    /// Reads the files again, some with other texts than those on disk.
    fn read_again(&mut self, texts: impl IntoIterator<Item = (PathBuf, String)>) -> Result<(), Error> {
        (self.sources, self.reading) = read(self.options, self.threads, texts, &mut self.charts)?;
        Ok(())
    }
}

/// The description of the input in the HTML report.
fn about(
    options: &FileOptions,
    sources: &Sources,
    reading: &Reading,
    snapshot: &Snapshot,
    suppressed: usize,
    input: Input<'_>,
) -> About {
    let named = |path: &PathBuf| {
        if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
    };
    let clusters = input.clusters.iter().cloned();
    About {
        inputs: options.paths.iter().map(named).chain(clusters).collect(),
        time: utc(input.now),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        notes: notes::summary(reading, sources, snapshot, suppressed),
    }
}

/// A time in Unix seconds as `2026-01-31 12:00 UTC`, by the algorithm `civil_from_days` of Howard Hinnant.
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

/// Whether a finding is about an object in one of the namespaces, or no namespaces are given.
#[must_use]
pub fn is_asked_for(namespaces: &[String], finding: &Finding) -> bool {
    namespaces.is_empty()
        || namespaces.iter().any(|namespace| {
            let object = &finding.object;
            let own = if object.kind == Kind::Namespace { &object.name } else { &object.namespace };
            own == namespace
        })
}

/// The suppressions of `--suppress` and `--baseline`.
///
/// # Errors
/// [`Error::Argument`] for an unknown code, [`Error::Local`] for a baseline that cannot be read.
pub fn suppressions(options: &FileOptions) -> Result<Suppressions, Error> {
    let mut suppressions = patterns(&options.suppress)?;
    for path in &options.baseline {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|source| Error::local(format!("read {name}"), source))?;
        suppressions.add_baseline(&text).map_err(|line| {
            let reason = format!("line {line} does not begin with a fingerprint; --write-baseline writes such files");
            Error::argument(format!("--baseline {name}"), reason)
        })?;
    }
    Ok(suppressions)
}

/// The suppressions of `--suppress`.
fn patterns(patterns: &[String]) -> Result<Suppressions, Error> {
    let mut suppressions = Suppressions::default();
    for pattern in patterns {
        let code = pattern.split('=').next().unwrap_or_default().trim();
        if !code.contains('*') {
            explain::known(&format!("--suppress {pattern}"), code)?;
        }
        suppressions.add_pattern(pattern);
    }
    Ok(suppressions)
}

fn write_baseline(path: &Path, findings: &[Finding]) -> Result<Exit, Error> {
    let name = path.display();
    std::fs::write(path, suppress::baseline(findings))
        .map_err(|source| Error::local(format!("write {name}"), source))?;
    output::note(format_args!("wrote {} to {name}", plural(findings.len(), "finding")));
    Ok(Exit::Success)
}

fn read(
    options: &FileOptions,
    threads: NonZero<usize>,
    texts: impl IntoIterator<Item = (PathBuf, String)>,
    charts: &mut helm::Charts,
) -> Result<(Sources, Reading), Error> {
    let mut sources = Sources::with_texts(texts);
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
    if options.helm {
        helm::render(&mut sources, charts);
    }
    if options.default_objects {
        sources.add("<default objects>", DEFAULT_OBJECTS.to_owned());
    }
    let mut reading = source::read(&sources, threads);
    reading.errors.splice(0..0, errors);
    Ok((sources, reading))
}

fn settings(options: &FileOptions, reading: &Reading, now: i64) -> Result<Settings, Error> {
    let given = |path: &Option<PathBuf>| -> Result<Option<Value>, Error> {
        let Some(path) = path else { return Ok(None) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::local(format!("read {name}"), source))?;
        Ok(Some(source::read_value(&name, &text)?))
    };
    let found = mesh::settings_in(&reading.resources, now);
    Ok(Settings {
        mesh_config: given(&options.mesh_config)?.or(found.mesh_config),
        mesh_networks: given(&options.mesh_networks)?.or(found.mesh_networks),
        now,
        whole_cluster: options.whole_cluster,
        cluster_domain: options.cluster_domain.clone().or(found.cluster_domain),
        ..Settings::default()
    })
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_readable() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(1_769_860_800), "2026-01-31 12:00 UTC");
        assert_eq!(utc(1_709_164_800), "2024-02-29 00:00 UTC");
    }
}
