//! The steps of an installation: which chart goes where with which values, in which order. A pure function of what is
//! asked, what the cluster is and what it has.

use serde_json::{Map, Value};

use super::profile::Defaults;
use super::values::{self, Around};
use super::{Component, Finding, Gateway, ObservedMesh, Provenance, Request, Severity, Version, skew, validate};

/// Which objects of a rendered chart are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// The objects of one revision tag.
    Tag(String),
}

/// One part to apply.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedChart {
    /// Which part.
    pub component: Component,
    /// The revision, the tag or the gateway's name; empty for the others.
    pub name: String,
    /// The revision it belongs to; empty for the default one and for what has none.
    pub revision: String,
    /// Its inventory, before it is cut to the length of one.
    pub installation: String,
    /// Helm's release name, which charts put into names and labels.
    pub release: String,
    /// Where it goes.
    pub namespace: String,
    /// Version of the chart.
    pub version: Version,
    /// Values of the chart.
    pub values: Value,
    /// Which of its objects are applied.
    pub keep: Keep,
}

impl PlannedChart {
    /// The step that made a part.
    #[must_use]
    pub fn of(origin: &Provenance) -> Self {
        Self {
            component: origin.component,
            name: origin.name.clone(),
            revision: origin.revision.clone(),
            installation: origin.component.installation(&origin.name),
            release: origin.release.clone(),
            namespace: origin.namespace.clone(),
            version: origin.version.clone(),
            values: origin.values.clone(),
            keep: if origin.component == Component::Tag { Keep::Tag(origin.name.clone()) } else { Keep::All },
        }
    }
}

/// Steps in order, what leaves the cluster, and what speaks against it.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// To be applied, in this order, each ready before the next.
    pub steps: Vec<PlannedChart>,
    /// Inventories of what this revision had and shall no longer have.
    pub removals: Vec<String>,
    /// Findings of the plan.
    pub findings: Vec<Finding>,
}

/// Plans a mesh.
#[must_use]
pub fn plan(request: &Request, facts: &ObservedMesh) -> Plan {
    let mut plan = Plan::default();
    let Some(profile) = request.profile.in_mode(request.mode) else {
        let message =
            "the profile and the mode contradict each other: ambient goes with default, minimal, ambient and openshift";
        plan.findings.push(Finding::unforceable("profile", message));
        return plan;
    };
    plan.findings.extend(skew::check_pair(&request.version, &facts.kubernetes));
    plan.findings.extend(replaced(request, facts));
    plan.findings.extend(others(request, facts));
    let on = switched(profile.components(), request);
    let gateways = gateways(request, on);
    plan.findings.extend(validate::check(request, &gateways, facts));
    let platform = profile.platform().or(facts.platform.filter(|platform| *platform == "gke"));
    let node_namespace = if platform.is_some() { "kube-system".to_owned() } else { request.namespace.clone() };
    let default_revision = default_revision(request, facts);
    let around = Around {
        profile,
        platform,
        default_revision: &default_revision,
        cni: on.cni,
        ztunnel_namespace: Some(node_namespace.as_str()).filter(|it| on.ztunnel && *it != request.namespace),
    };
    let step =
        |component: Component, name: &str, release: &str, namespace: &str, values: Map<String, Value>| PlannedChart {
            component,
            name: name.to_owned(),
            revision: String::new(),
            installation: component.installation(name),
            release: release.to_owned(),
            namespace: namespace.to_owned(),
            version: request.version.clone(),
            values: Value::Object(values),
            keep: Keep::All,
        };
    let own = request.namespace.as_str();
    if on.base {
        match facts.installed(Component::Base).find(|base| base.version > request.version) {
            Some(newer) if !only_plane(request, facts) => {
                let message = format!("the CRDs stay at version {}: another revision needs them", newer.version);
                plan.findings.push(Finding::new(Severity::Info, "base", message));
            }
            _ => plan.steps.push(step(Component::Base, "", "istio-base", own, values::base(request, &around))),
        }
    }
    if request.gateway_api.is_some() {
        plan.steps.push(step(Component::GatewayApi, "", "gateway-api", own, Map::new()));
    }
    let revision = request.revision().to_owned();
    if on.istiod {
        let suffix = if revision.is_empty() { String::new() } else { format!("-{revision}") };
        let release = format!("istiod{suffix}");
        let values = values::istiod(request, &around);
        let istiod = step(Component::Istiod, request.revision_label(), &release, own, values);
        plan.steps.push(PlannedChart { revision: revision.clone(), ..istiod });
        for tag in &request.tags {
            plan.steps.push(tag_step(request, &around, tag));
        }
    }
    if on.cni {
        plan.steps.push(step(Component::Cni, "", "istio-cni", &node_namespace, values::cni(request, &around)));
    }
    if on.ztunnel {
        let values = values::ztunnel(request, &around);
        plan.steps.push(step(Component::Ztunnel, "", "ztunnel", &node_namespace, values));
    }
    for gateway in &gateways {
        let namespace = gateway.namespace.as_deref().unwrap_or(own);
        let name = format!("{namespace}-{}", gateway.name);
        let values = values::gateway(request, &around, gateway);
        let one = step(Component::Gateway, &name, &gateway.name, namespace, values);
        plan.steps.push(PlannedChart { revision: revision.clone(), ..one });
    }
    plan.removals = leaving(request, facts, &plan.steps);
    plan
}

/// The step that makes one tag point to the request's revision. The chart renders tags with the control plane; only
/// the tag's objects are taken, so that it can move from one revision to another in one write.
fn tag_step(request: &Request, around: &Around, tag: &str) -> PlannedChart {
    let mut values = values::istiod(request, around);
    values.insert("revisionTags".to_owned(), Value::from(vec![tag]));
    PlannedChart {
        component: Component::Tag,
        name: tag.to_owned(),
        revision: request.revision().to_owned(),
        installation: Component::Tag.installation(tag),
        release: format!("istio-tag-{tag}"),
        namespace: request.namespace.clone(),
        version: request.version.clone(),
        values: Value::Object(values),
        keep: Keep::Tag(tag.to_owned()),
    }
}

fn switched(profile: Defaults, request: &Request) -> Defaults {
    let switches = &request.components;
    Defaults {
        base: switches.base.unwrap_or(profile.base),
        istiod: switches.istiod.unwrap_or(profile.istiod),
        cni: switches.cni.unwrap_or(profile.cni),
        ztunnel: switches.ztunnel.unwrap_or(profile.ztunnel),
        ..profile
    }
}

/// The command's gateways, or those of the profile.
fn gateways(request: &Request, on: Defaults) -> Vec<Gateway> {
    let named = |name: &str| Gateway { name: name.to_owned(), namespace: None, values: Map::new() };
    request.gateways.clone().unwrap_or_else(|| {
        let profile = [(on.ingress, "istio-ingressgateway"), (on.egress, "istio-egressgateway")];
        profile.into_iter().filter(|(on, _)| *on).map(|(_, name)| named(name)).collect()
    })
}

/// The revision that the default validator calls. A new revision does not take it from one that is there: that is
/// the last step of an upgrade (istio/istio#35588 is what happens when it names a Service that does not exist).
fn default_revision(request: &Request, facts: &ObservedMesh) -> String {
    let wanted = request.revision_label();
    if wanted == "default" || request.tags.iter().any(|tag| tag == "default") {
        return wanted.to_owned();
    }
    let held = facts.installed(Component::Base).find_map(|base| base.values["defaultRevision"].as_str());
    held.filter(|held| facts.istiod(held).is_some()).unwrap_or(wanted).to_owned()
}

/// Whether there is no control plane of this worker but the request's.
fn only_plane(request: &Request, facts: &ObservedMesh) -> bool {
    facts.installed(Component::Istiod).all(|origin| origin.name == request.revision_label())
}

/// Findings that forbid replacing the installed version.
fn replaced(request: &Request, facts: &ObservedMesh) -> Vec<Finding> {
    let Some(there) = facts.istiod(request.revision_label()) else { return Vec::new() };
    let mut found = skew::check_step(&there.version, &request.version, skew::Way::InPlace);
    if there.namespace != request.namespace {
        let message =
            format!("revision {} is installed in namespace {}: uninstall it there first", there.name, there.namespace);
        found.push(Finding::unforceable("control-plane", message));
    }
    found
}

/// Control planes of the same revision that another tool has installed.
fn others(request: &Request, facts: &ObservedMesh) -> Vec<Finding> {
    let own = facts.istiod(request.revision_label()).is_some();
    let rivals = facts.control_planes.iter().filter(|it| it.revision == request.revision_label());
    rivals
        .filter(|rival| rival.owner != super::owner::Owner::Sailhand || (!own && rival.namespace != request.namespace))
        .map(|rival| {
            let message = format!(
                "{}/{} is a control plane of revision {}, installed by {}",
                rival.namespace, rival.name, rival.revision, rival.owner
            );
            Finding::new(Severity::Error, "owner", message)
        })
        .collect()
}

/// Components of this revision that the plan does not contain: gateways, and node components if no other revision needs them.
/// Tags stay, as namespaces may refer to them; base stays, as users' objects are of its kinds.
fn leaving(request: &Request, facts: &ObservedMesh, steps: &[PlannedChart]) -> Vec<String> {
    let only = only_plane(request, facts);
    let leaves = |origin: &Provenance| match origin.component {
        Component::Gateway => origin.revision == request.revision(),
        Component::Cni | Component::Ztunnel => only,
        _ => false,
    };
    let installed = facts.installed.iter().filter(|it| leaves(&it.origin));
    let planned = |origin: &Provenance| {
        steps.iter().any(|step| (step.component, step.name.as_str()) == (origin.component, origin.name.as_str()))
    };
    let mut leaving: Vec<_> = installed.filter(|it| !planned(&it.origin)).collect();
    leaving.sort_by_key(|it| std::cmp::Reverse(it.origin.component));
    leaving.into_iter().map(|it| it.installation.clone()).collect()
}

#[cfg(test)]
mod tests;
