//! Side effects of an installation for the report: objects that it changes or leaves although the command does not name
//! them. Pure.

use super::plan::Plan;
use super::{Component, Finding, ObservedMesh, Request, Severity};

/// Findings about side effects.
#[must_use]
pub fn side_effects(request: &Request, facts: &ObservedMesh, plan: &Plan) -> Vec<Finding> {
    let mut found = Vec::new();
    let label = |revision: &str| if revision.is_empty() { "default".to_owned() } else { revision.to_owned() };
    let own = request.revision_label();
    let planned = |component: Component| plan.steps.iter().any(|step| step.component == component);
    if facts.istiod(own).is_some() && !planned(Component::Istiod) {
        let message =
            format!("the control plane of revision {own} is not in the request and stays; mesh.uninstall removes it");
        found.push(Finding::new(Severity::Warning, "control-plane", message));
    }
    for step in &plan.steps {
        let there = facts.installed(step.component).find(|it| it.name == step.name && it.revision != step.revision);
        let Some(there) = there else { continue };
        let from = label(&there.revision);
        match step.component {
            Component::Gateway => {
                let place = format!("{}/{}", there.namespace, there.release);
                let message = format!("gateway {place} moves from revision {from} to {own}, with its proxies");
                found.push(Finding::new(Severity::Warning, "gateways", message));
            }
            Component::Tag => {
                let message = format!("tag {} moves from revision {from} to {own}", step.name);
                found.push(Finding::new(Severity::Info, "tags", message));
            }
            _ => {}
        }
    }
    let left = facts.installed(Component::Tag).filter(|tag| label(&tag.revision) == own);
    for tag in left.filter(|tag| !request.tags.contains(&tag.name)) {
        let message = format!("tag {} still points to revision {own}: mesh.uninstall with tags removes it", tag.name);
        found.push(Finding::new(Severity::Info, "tags", message));
    }
    found
}
