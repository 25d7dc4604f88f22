//! `config.analyze`: analyzes the configuration of a cluster, of a manifest, or of the cluster with the manifest
//! applied. Read-only.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::Namespace;
use super::{Error, Failure, Limits, Outcome, Refusal, Task, TaskContext};
use crate::analysis::source::{self, Reading, Sources};
use crate::analysis::{Code, Finding, Kind, Level, Rule, Snapshot, mesh, rules, run_until};
use crate::attachment::Attachment;
use crate::cluster::configuration::{self, Configuration};
use crate::cluster::manifest;
use crate::event::dataref::MAX_BYTES;
use crate::prose::plural;
pub use crate::task_event::{CodeReport, FindingReport};

/// Limit for the findings in one report, bytes: half of the default maximum payload of NATS.
const MAX_FINDINGS: usize = 512 * 1024;
/// Timeout for reading the cluster. Kinds that were not read by then are listed in the report.
const READ: Duration = Duration::from_mins(1);

/// The task.
pub struct Analyze;

/// Parameters of `config.analyze`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalyzeParams {
    /// Objects, YAML or JSON. With live objects: the cluster is analyzed as if they were applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8_388_608))]
    pub manifest: Option<String>,
    /// Whether to read the cluster; `false` analyzes only the manifest.
    #[serde(default = "yes")]
    pub live: bool,
    /// Report only findings in these namespaces; all if empty. All namespaces are still read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub namespaces: Vec<Namespace>,
    /// Report only these codes; if empty, all except `IST0136`, which is reported only on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub codes: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// Report of `config.analyze`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalysisReport {
    /// Number of analyzed objects.
    pub objects: usize,
    /// Findings of severity `error`.
    pub errors: usize,
    /// Findings of severity `warning`.
    pub warnings: usize,
    /// Findings of severity `info`.
    pub infos: usize,
    /// Title and number of findings of each code.
    #[serde(default)]
    pub codes: BTreeMap<String, CodeReport>,
    /// Number of findings of each namespace; "" for objects without one.
    #[serde(default)]
    pub namespaces: BTreeMap<String, usize>,
    /// The findings, errors first.
    #[serde(default)]
    pub findings: Vec<FindingReport>,
    /// Number of findings that did not fit into the report.
    #[serde(default)]
    pub omitted: usize,
    /// If findings did not fit: all of them as a JSON array in the form of `findings`, errors first, up to 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Kinds that could not be read, with the reason. Rules that need them were skipped.
    #[serde(default)]
    pub unread: Vec<String>,
}

impl Task for Analyze {
    const VERB: &'static str = "config.analyze";
    const SUMMARY: &'static str = "Analyzes the Istio configuration of a cluster, of a manifest, or of both together.";
    type Params = AnalyzeParams;
    type Report = AnalysisReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(3), ..Limits::default() }
    }

    fn installation(&self, _: &AnalyzeParams) -> Option<String> {
        None
    }

    fn example(&self) -> AnalyzeParams {
        AnalyzeParams { manifest: None, live: true, namespaces: vec![Namespace::known("shop")], codes: Vec::new() }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: AnalyzeParams,
    ) -> Result<Outcome<AnalysisReport>, Failure<AnalysisReport>> {
        if !params.live && params.manifest.is_none() {
            let reason = "live: false requires a manifest".to_owned();
            return Err(Error::Parameter { field: "manifest", reason }.into());
        }
        let rules = rules_for(&params.codes)?;
        let mut live = Configuration::default();
        if params.live {
            cx.step("read", 0, 1, "reading the cluster");
            live = configuration::read(&*cx.cluster().await?, &rules, READ, &[]).await;
            if live.resources.is_empty()
                && let Some(error) = live.unread.iter_mut().find_map(|unread| unread.error.take())
            {
                return Err(Error::Cluster(error).into());
            }
        }
        // Kinds that could not be read are not treated as empty.
        let rules = rules::without(&rules, &live.unread.iter().map(|unread| unread.kind).collect());
        let now = cx.clock.now().unix_timestamp();
        let (mut report, all) =
            cancellable(move |cancelled| analyze_objects(live, params, &rules, now, cancelled)).await?;
        if let Some(all) = all {
            report.attachment = Some(cx.attachments.attach(all).await?);
        }
        Ok(Outcome::Unchanged(report))
    }
}

/// Fails if the manifest's objects have errors when analyzed together with the cluster. Kinds that could not be read
/// are not treated as empty: rules that need them are skipped, and the message lists them.
pub(super) async fn refuse_errors(cx: &TaskContext, manifest: String, namespace: String) -> Result<(), Error> {
    cx.step("analyze", 0, 1, "running the rules");
    let mut live = configuration::read(&*cx.cluster().await?, rules::ALL, READ, &[]).await;
    if live.resources.is_empty()
        && let Some(error) = live.unread.iter_mut().find_map(|unread| unread.error.take())
    {
        return Err(Error::Cluster(error));
    }
    let unread: Vec<String> = live.unread.iter().map(ToString::to_string).collect();
    let rules = rules::without(rules::ALL, &live.unread.iter().map(|unread| unread.kind).collect());
    if !unread.is_empty() {
        let left_out = rules::ALL.len() - rules.len();
        cx.step(
            "analyze",
            0,
            1,
            format!("{} skipped, could not be read: {}", plural(left_out, "rule"), unread.join("; ")),
        );
    }
    let now = cx.clock.now().unix_timestamp();
    let findings = cancellable(move |cancelled| {
        let (snapshot, _) = together(live, Some(manifest), &namespace, now, cancelled)?;
        let mut findings = run_until(&snapshot, &rules, threads(), cancelled);
        // Objects from the manifest have a position in it.
        findings.retain(|one| one.level == Level::Error && !one.suppressed && one.origin.is_some());
        Ok::<_, Error>(findings)
    })
    .await?;
    if findings.is_empty() {
        return Ok(());
    }
    let first = findings.iter().take(5).map(|one| format!("{} {}: {}", one.code.id, one.object, one.message)).collect();
    Err(Refusal::Findings { errors: findings.len(), first, unread }.into())
}

fn threads() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Runs blocking work that checks its flag. The flag becomes `true` when the caller is dropped, as at a deadline or a
/// cancellation, so that the work ends with its caller.
async fn cancellable<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    struct SetOnDrop(Arc<AtomicBool>);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let flag = SetOnDrop(Arc::default());
    let seen = flag.0.clone();
    match tokio::task::spawn_blocking(move || work(&seen)).await {
        Ok(done) => done,
        // The engine knows what to do about a task that panics.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The cluster with the manifest applied.
fn together(
    live: Configuration,
    manifest: Option<String>,
    namespace: &str,
    now: i64,
    cancelled: &AtomicBool,
) -> Result<(Snapshot, Sources), Error> {
    let mut sources = Sources::default();
    if let Some(manifest) = manifest {
        sources.add("manifest", manifest);
    }
    let limits = source::Limits { text_bytes: Some(manifest::MAX_BYTES), cancelled: Some(cancelled) };
    let Reading { mut resources, errors, .. } = source::read_within(&sources, threads(), limits);
    if let Some(error) = errors.first() {
        return Err(Error::Parameter { field: "manifest", reason: error.to_string() });
    }
    for resource in &mut resources {
        resource.default_namespace(namespace);
    }
    // The object of the manifest replaces one with the same name.
    resources.extend(live.resources);
    let settings = mesh::settings_in(&resources, now);
    Ok((Snapshot::new(resources, settings), sources))
}

pub(super) fn rules_for(codes: &[String]) -> Result<Vec<&'static Rule>, Error> {
    let known = rules::codes();
    if let Some(unknown) = codes.iter().find(|asked| known.iter().all(|code| code.id != asked.as_str())) {
        return Err(Error::Parameter { field: "codes", reason: format!("unknown code {unknown}") });
    }
    let asked =
        |rule: &&'static Rule| codes.is_empty() || rule.codes.iter().any(|code| codes.iter().any(|id| id == code.id));
    Ok(rules::ALL.iter().copied().filter(asked).collect())
}

fn analyze_objects(
    live: Configuration,
    params: AnalyzeParams,
    rules: &[&'static Rule],
    now: i64,
    cancelled: &AtomicBool,
) -> Result<(AnalysisReport, Option<Vec<u8>>), Error> {
    let unread = live.unread.iter().map(ToString::to_string).collect();
    let namespace_of_manifest = if params.live { "default" } else { "" };
    let (snapshot, sources) = together(live, params.manifest, namespace_of_manifest, now, cancelled)?;
    let mut findings = run_until(&snapshot, rules, threads(), cancelled);
    findings.retain(|finding| is_wanted(&params.codes, &params.namespaces, finding));
    sources.index_positions(&findings);
    let (mut report, all) = report(&findings, &sources);
    report.objects = snapshot.len();
    report.unread = unread;
    Ok((report, all))
}

/// Whether a command with these codes and namespaces reports a finding.
pub(super) fn is_wanted(codes: &[String], namespaces: &[Namespace], finding: &Finding) -> bool {
    let code = finding.code;
    let is_asked =
        if codes.is_empty() { rules::is_enabled_by_default(code) } else { codes.iter().any(|asked| asked == code.id) };
    let is_there = namespaces.is_empty() || namespaces.iter().any(|one| one.as_str() == namespace(finding));
    !finding.suppressed && is_asked && is_there
}

fn namespace(finding: &Finding) -> &str {
    if finding.object.kind == Kind::Namespace { &finding.object.name } else { &finding.object.namespace }
}

/// The report and, if it does not contain all findings, all of them as JSON.
fn report(findings: &[Finding], sources: &Sources) -> (AnalysisReport, Option<Vec<u8>>) {
    let mut report = AnalysisReport::default();
    let mut bytes = 0;
    let mut all = Vec::new();
    for finding in findings {
        match finding.level {
            Level::Error => report.errors += 1,
            Level::Warning => report.warnings += 1,
            Level::Info => report.infos += 1,
        }
        let code = finding.code;
        count(code, &mut report.codes);
        *report.namespaces.entry(namespace(finding).to_owned()).or_default() += 1;
        let mut one = finding_report(finding);
        one.line = sources.position(finding).map(|(_, position)| position.line);
        bytes += one.length();
        if bytes > MAX_FINDINGS {
            report.omitted += 1;
        }
        all.push(one);
    }
    let attached = (report.omitted > 0).then(|| array(&all, MAX_BYTES));
    all.truncate(all.len() - report.omitted);
    report.findings = all;
    (report, attached)
}

/// The findings as a JSON array, as many as fit.
fn array(findings: &[FindingReport], limit: usize) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for finding in findings {
        let one = serde_json::to_vec(finding).unwrap_or_default(); // serializing strings and numbers cannot fail
        if text.len() + one.len() + 2 > limit {
            break;
        }
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend(one);
    }
    text.push(b']');
    text
}

/// Counts a code.
pub(super) fn count(code: &Code, codes: &mut BTreeMap<String, CodeReport>) {
    let of_code = codes.entry(code.id.to_owned()).or_insert_with(|| CodeReport {
        count: 0,
        title: code.title.to_owned(),
        remedy: code.remedy.to_owned(),
        url: code.url(),
    });
    of_code.count += 1;
}

/// A finding without its position in the manifest.
pub(super) fn finding_report(finding: &Finding) -> FindingReport {
    FindingReport {
        code: finding.code.id.to_owned(),
        severity: finding.level.as_str().to_owned(),
        resource: finding.object.to_string(),
        field: finding.field.clone(),
        message: finding.message.clone(),
        line: None,
        fingerprint: finding.fingerprint.clone(),
    }
}
