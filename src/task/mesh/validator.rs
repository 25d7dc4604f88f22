//! The default validating webhook, which the base chart installs, while control planes are removed. It always calls the
//! control plane of one revision: when that one goes, it has to call another one or go too.

use std::collections::BTreeSet;

use serde_json::json;

use super::common_params::CommonParams;
use super::rendered_chart;
use super::uninstall::Removing;
use crate::mesh::{Component, Finding, Installed, ObservedMesh, PlannedChart, Request, Severity, Version};
use crate::task::Error;

/// The name of the Service of a revision's control plane, as the charts of istiod and base derive it.
pub(super) fn service(revision: &str) -> String {
    if revision.is_empty() || revision == "default" { "istiod".to_owned() } else { format!("istiod-{revision}") }
}

/// Points the default validating webhook at a revision that stays, or removes it with the last one, before the parts
/// in `going` are deleted. Does nothing where the webhook goes with its chart or calls a revision that stays.
pub(super) async fn hand_over(
    work: &mut Removing<'_>,
    facts: &ObservedMesh,
    going: &[&Installed],
) -> Result<(), Error> {
    let Some(base) = facts.installed(Component::Base).next() else { return Ok(()) };
    let external = base.values["base"]["validationURL"].as_str().is_some_and(|url| !url.is_empty());
    if external || going.iter().any(|part| part.origin.component == Component::Base) {
        return Ok(());
    }
    let current = base.values["defaultRevision"].as_str().unwrap_or("default");
    let namespace = base.values["global"]["istioNamespace"].as_str().unwrap_or(&base.namespace);
    let staying = staying(facts, going, namespace);
    if current.is_empty() || staying.contains(current) {
        return Ok(());
    }
    let next = successor(facts, &staying);
    let mut step = PlannedChart::of(base);
    step.values["defaultRevision"] = json!(next.as_deref().unwrap_or_default());
    let message = match &next {
        Some(next) => format!("the default validating webhook calls revision {next} instead of {current}"),
        None => format!("the default validating webhook is removed: it calls revision {current}, the last one"),
    };
    work.report.findings.push(Finding::new(Severity::Info, "validator", message));
    let request = Request::of(base.version.clone());
    let common = CommonParams { dry_run: work.dry_run, wait: work.wait, ..CommonParams::default() };
    let part = rendered_chart::render(work.charts, step, &facts.kubernetes, None).await?;
    let label = part.title();
    match part.apply(work.cx, work.cluster, &request, &common, &label).await {
        Ok(done) => {
            work.report.parts.push(done);
            Ok(())
        }
        Err((error, done)) => {
            work.report.parts.push(done);
            Err(error)
        }
    }
}

/// Revisions whose control planes stay in the namespace that the webhook's Service is looked up in.
fn staying(facts: &ObservedMesh, going: &[&Installed], namespace: &str) -> BTreeSet<String> {
    let goes = |revision: &str| {
        going.iter().any(|part| part.origin.component == Component::Istiod && part.origin.name == revision)
    };
    let own = facts.installed(Component::Istiod).filter(|it| it.namespace == namespace).map(|it| it.name.clone());
    let running = facts.control_planes.iter().filter(|it| it.namespace == namespace).map(|it| it.revision.clone());
    own.chain(running).filter(|revision| !goes(revision)).collect()
}

/// The revision that takes over: the one that the tag `default` points to, the default one, else the newest.
fn successor(facts: &ObservedMesh, staying: &BTreeSet<String>) -> Option<String> {
    let tag = facts.webhooks.iter().find(|it| it.tag.as_deref() == Some("default")).map(|it| it.revision.clone());
    let version = |revision: &String| -> Option<Version> {
        let own = facts.istiod(revision).map(|it| it.version.clone());
        let plane = facts.control_planes.iter().find(|it| it.revision == *revision);
        own.or_else(|| plane?.version.as_deref()?.parse().ok())
    };
    let newest = || staying.iter().max_by_key(|revision| version(revision)).cloned();
    tag.filter(|revision| staying.contains(revision)).or_else(|| staying.get("default").cloned()).or_else(newest)
}
