//! `sailhand analyze`: reads configuration and tells what is wrong with it.

mod explain;
mod filter;
mod live;
mod notes;
mod show;
mod watch;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use filter::Filter;
use live::Gaps;
use show::{FailOn, Format, show};

use super::{Error, Exit, output};
use crate::analysis::report::Report;
use crate::analysis::source::{self, PassedOver, Reading, Sources, files};
use crate::analysis::suppress::{self, Suppressions};
use crate::analysis::{Finding, Kind, Node, Settings, Snapshot, mesh};
use crate::clock::Clock;

/// What Istio's own tests add to each case: a gateway's pod and service. They are part of nearly every installation,
/// but not of a folder of manifests.
const DEFAULT_OBJECTS: &str = include_str!("analyze/ingress-gateway.yaml");

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing at or above --fail-on, 1 something, 2 usage, 6 some of the input was not read, or there was none.

Examples:
  sailhand analyze ./manifests
  kubectl get vs,dr,svc,pods -A -o yaml | sailhand analyze -
  sailhand analyze -A ./manifests          # what would be wrong if this were applied
  sailhand analyze -o html ./manifests >findings.html
  sailhand analyze --watch --only-namespace shop  # what becomes wrong, what is mended
  sailhand analyze --explain IST0101")]
pub(super) struct Options {
    /// Files and folders with YAML or JSON; `-` is standard input
    paths: Vec<PathBuf>,
    /// Read a cluster too, all its namespaces; files win over what is there, as if they were applied
    #[arg(short = 'A', long)]
    live: bool,
    /// Go on watching the cluster: tell what becomes wrong (+) and what is mended (-) until it is interrupted
    #[arg(short, long, conflicts_with_all = ["paths", "mesh_config", "mesh_networks", "default_objects", "write_baseline"])]
    watch: bool,
    /// Context in the kubeconfig [default: its current one]; several are read as the clusters of one mesh
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    context: Vec<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Longest time for reading a cluster; what has not come by then is named and left out
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::duration)]
    timeout: Duration,
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
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
    /// Namespace of objects in files that state none, as with `kubectl apply -n`
    #[arg(short, long, value_name = "NAMESPACE", requires = "paths")]
    namespace: Option<String>,
    /// Report findings of these namespaces only; all namespaces are still read
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    only_namespace: Vec<String>,
    /// The files are all that the cluster has: whatever is not among them does not exist
    #[arg(long, conflicts_with = "watch")]
    whole_cluster: bool,
    /// DNS domain of the cluster [default: what the arguments of istiod say, else cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    cluster_domain: Option<String>,
    /// Exit with 0 when the input has no object that a rule reads
    #[arg(long)]
    allow_empty: bool,
    /// Do not tell a code, or a code of some objects: `IST0102`, `IST0102=Namespace test-*`, `*=* legacy/*`
    #[arg(short = 'S', long, value_name = "CODE[=OBJECT]")]
    suppress: Vec<String>,
    /// Do not tell the findings that this file lists
    #[arg(long, value_name = "FILE")]
    baseline: Vec<PathBuf>,
    /// Write the findings into a file for --baseline and end
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// Lowest level that makes the exit code 1
    #[arg(long, value_enum, default_value = "error")]
    fail_on: FailOn,
    /// Explain a code and end
    #[arg(long, value_name = "CODE", exclusive = true)]
    explain: Option<String>,
    /// List the rules with their codes and end
    #[arg(long, exclusive = true)]
    list_rules: bool,
    /// Write the pages of docs/rules and end
    #[arg(long, value_name = "FOLDER", exclusive = true, hide = true)]
    write_docs: Option<PathBuf>,
}

pub(super) async fn run(options: &Options) -> Result<Exit, Error> {
    if let Some(code) = &options.explain {
        return explain::code(code);
    }
    if options.list_rules {
        return explain::list();
    }
    if let Some(folder) = &options.write_docs {
        return explain::write_docs(folder);
    }
    if options.paths.is_empty() && !options.is_live() {
        let reason = "name files or folders to analyse, `-` for standard input, or --live for a cluster";
        return Err(Error::argument("PATH", reason));
    }
    let filter = Filter::new(&options.codes)?;
    let suppressions = suppressions(options)?;
    if options.watch {
        return watch::run(options, filter, suppressions).await;
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let (sources, mut reading) = read(options, threads)?;
    if let Some(namespace) = &options.namespace {
        reading.resources.iter_mut().for_each(|resource| resource.default_namespace(namespace));
    }
    let mut is_whole = reading.errors.is_empty() && !sources.passed_over().iter().any(PassedOver::is_manifest);
    let all = filter.rules();
    let gaps = if options.is_live() { live::read(options, &all, &mut reading).await? } else { Gaps::default() };
    let rules = gaps.rules(&all);
    is_whole &= gaps.unread.is_empty();
    let settings = settings(options, &reading)?;
    let snapshot = Snapshot::new(std::mem::take(&mut reading.resources), settings);
    let mut findings = crate::analysis::run_alternatives(&snapshot, &rules, threads);
    let unmatched = suppressions.unmatched(&findings);
    if options.codes.is_empty() {
        notes::unmatched(&unmatched, suppressions.baseline_length());
    }
    findings.retain(|finding| filter.allows(finding) && is_asked_for(&options.only_namespace, finding));
    if let Some(path) = &options.write_baseline {
        return write_baseline(path, &findings);
    }
    let suppressed = suppressions.apply(&mut findings);
    sources.index_positions(&findings);
    let report = Report { findings: &findings, sources: &sources, objects: snapshot.len(), suppressed };
    show(options.output, options.fail_on, !options.codes.is_empty(), &report, &snapshot)?;
    notes::tell(&reading, &sources, &snapshot, options.is_live());
    notes::gaps(&gaps, all.len() - rules.len(), &options.only_namespace);
    notes::namespaces(&options.only_namespace, &snapshot);
    let is_bad = findings.iter().any(|finding| options.fail_on.is_reached(finding));
    is_whole &= options.allow_empty || options.is_live() || !snapshot.is_empty();
    let exit = match (is_bad, is_whole) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Success,
        (false, false) => Exit::Trouble,
    };
    // The process ends here; taking a hundred thousand small strings apart first would only take time.
    std::mem::forget((snapshot, findings, sources));
    Ok(exit)
}

impl Options {
    fn is_live(&self) -> bool {
        self.live || self.watch || self.kubeconfig.is_some() || !self.context.is_empty()
    }
}

fn is_asked_for(namespaces: &[String], finding: &Finding) -> bool {
    namespaces.is_empty()
        || namespaces.iter().any(|namespace| {
            let object = &finding.object;
            let own = if object.kind == Kind::Namespace { &object.name } else { &object.namespace };
            own == namespace
        })
}

fn suppressions(options: &Options) -> Result<Suppressions, Error> {
    let mut suppressions = Suppressions::default();
    for pattern in &options.suppress {
        let code = pattern.split('=').next().unwrap_or_default().trim();
        if !code.contains('*') {
            explain::known(&format!("--suppress {pattern}"), code)?;
        }
        suppressions.add_pattern(pattern);
    }
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

fn write_baseline(path: &Path, findings: &[Finding]) -> Result<Exit, Error> {
    let name = path.display();
    std::fs::write(path, suppress::baseline(findings))
        .map_err(|source| Error::local(format!("write {name}"), source))?;
    output::note(format_args!("{} findings are in {name}", findings.len()));
    Ok(Exit::Success)
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
        whole_cluster: options.whole_cluster,
        cluster_domain: options.cluster_domain.clone().or(found.cluster_domain),
    })
}
