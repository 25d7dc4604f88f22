//! Warns of traffic that a policy will break, and of objects that override it. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::desired::Policy;
use super::facts::{Facts, Pod};
use super::params::{Access, Action, Mode, Mtls, Of, Rule};
use crate::analysis::istio::protocol::{Protocol, of_service_port};
use crate::prose::plural;
use crate::task::istio_api::namespace_of;

/// Maximum number of names in one warning.
const NAMED: usize = 5;

/// Policies with the same scope, of which Istio uses the oldest.
pub fn conflicts(policy: &Policy, facts: &Facts) -> Vec<String> {
    if policy.mtls.is_none() {
        return Vec::new();
    }
    let labels = policy.scope.labels.as_ref().map(|labels| serde_json::json!(labels)).unwrap_or_default();
    let same = facts.mtls.iter().filter(|live| {
        live["metadata"]["namespace"] == policy.namespace.as_str() && live["spec"]["selector"]["matchLabels"] == labels
    });
    same.map(|live| named("PeerAuthentication", live)).collect()
}

/// Sentences for the report.
pub fn warnings(policy: &Policy, facts: &Facts) -> Vec<String> {
    match (&policy.mtls, &policy.access) {
        (Some(mtls), _) => connections(policy, mtls, facts),
        (None, Some(access)) => requests(policy, access, facts),
        (None, None) => Vec::new(),
    }
}

fn connections(policy: &Policy, mtls: &Mtls, facts: &Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    let strict = mtls.mode == Mode::Strict || mtls.ports.values().any(|mode| *mode == Mode::Strict);
    let disabled = mtls.mode == Mode::Disable || mtls.ports.values().any(|mode| *mode == Mode::Disable);
    if strict {
        let bare = facts.pods.iter().filter(|pod| !pod.proxy && !apart(policy, &pod.namespace));
        warnings.extend(some(bare.map(place), |count, names| {
            let pods = plural(count, "pod");
            format!(
                "strict mTLS rejects requests from {pods} without a proxy, and does not apply to requests that such pods receive: {names}"
            )
        }));
        let probed = facts.pods.iter().filter(|pod| pod.proxy && !pod.probes_pass && covers(policy, pod));
        warnings.extend(some(probed.map(place), |count, names| {
            let pods = plural(count, "pod");
            format!(
                "strict mTLS rejects HTTP probes of the kubelet, because sidecar.istio.io/rewriteAppHTTPProbers is false, for {pods}: {names}"
            )
        }));
    }
    let clash = |mode: &str| match mode {
        "DISABLE" | "SIMPLE" | "MUTUAL" => strict,
        "ISTIO_MUTUAL" => disabled,
        _ => false,
    };
    let rules = facts.rules.iter().filter(|rule| {
        let from = rule["metadata"]["namespace"].as_str().unwrap_or_default();
        let host = rule["spec"]["host"].as_str().unwrap_or_default();
        let reached = match namespace_of(host, from) {
            Some(namespace) => policy.scope.of == Of::Mesh || namespace == policy.namespace.as_str(),
            None => host.starts_with('*'),
        };
        reached && tls_modes(&rule["spec"]).any(clash)
    });
    warnings.extend(some(rules.map(|rule| named("DestinationRule", rule)), |_, names| {
        format!("requests of clients are rejected, because DestinationRules set another TLS mode: {names}")
    }));
    let others = facts.mtls.iter().filter(|live| narrower(policy, live));
    warnings.extend(some(others.map(|live| named("PeerAuthentication", live)), |_, names| {
        format!("policies with a narrower scope override this one: {names}")
    }));
    if disabled {
        let identities = facts.access.iter().filter(|live| uses_identities(live));
        warnings.extend(some(identities.map(|live| named("AuthorizationPolicy", live)), |_, names| {
            format!("plaintext requests have no identity, so rules with principals or namespaces never match: {names}")
        }));
    }
    warnings
}

fn requests(policy: &Policy, access: &Access, facts: &Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    let identities = |rule: &Rule| !rule.principals.is_empty() || !rule.namespaces.is_empty();
    let http = |rule: &Rule| !rule.methods.is_empty() || !rule.paths.is_empty();
    if access.rules.iter().any(identities) {
        let bare = facts.pods.iter().filter(|pod| !pod.proxy && !apart(policy, &pod.namespace));
        warnings.extend(some(bare.map(place), |count, names| {
            let pods = plural(count, "pod");
            format!("rules with principals or namespaces never match requests from {pods} without a proxy: {names}")
        }));
        let disabled = facts.mtls.iter().filter(|live| live["spec"]["mtls"]["mode"] == "DISABLE");
        warnings.extend(some(disabled.map(|live| named("PeerAuthentication", live)), |_, names| {
            format!("rules with principals or namespaces never match where mTLS is disabled: {names}")
        }));
    }
    if access.rules.iter().any(http) {
        let ports = facts.services.iter().filter(|it| !apart(policy, text(it, "namespace"))).flat_map(|service| {
            let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
            let other = ports.iter().filter(|port| !speaks_http(port));
            other.map(|port| format!("{} port {}", named("Service", service), port["port"]))
        });
        warnings.extend(some(ports, |_, names| {
            format!("rules with methods or paths match only on ports that are declared as HTTP, which these are not: {names}")
        }));
    }
    if access.rules.iter().any(http) {
        let layer4 = facts.pods.iter().filter(|pod| pod.ambient && covers(policy, pod));
        warnings.extend(some(layer4.map(place), |count, names| {
            let pods = plural(count, "pod");
            format!(
                "ztunnel does not support methods and paths, and denies all requests to {pods} in ambient mode because of this policy: {names}"
            )
        }));
    }
    if access.action == Action::Allow && access.rules.iter().all(identities) {
        let gateways = facts.pods.iter().filter(|pod| pod.gateway && covers(policy, pod));
        warnings.extend(some(gateways.map(place), |_, names| {
            format!(
                "requests from outside the mesh are denied, because such clients have no identity and the policy applies to gateways too: {names}"
            )
        }));
    }
    if access.action == Action::Allow {
        let others = facts.access.iter().filter(|live| {
            let action = live["spec"]["action"].as_str().unwrap_or("ALLOW");
            action == "ALLOW" && live["spec"]["rules"].as_array().is_some_and(|rules| !rules.is_empty())
        });
        warnings.extend(some(others.map(|live| named("AuthorizationPolicy", live)), |_, names| {
            format!("requests that other policies allow stay allowed: {names}")
        }));
    }
    warnings
}

/// Namespaces that warnings about a policy for the mesh leave out: those of Kubernetes, and the control plane's.
fn apart(policy: &Policy, namespace: &str) -> bool {
    policy.scope.of == Of::Mesh && (namespace.starts_with("kube-") || namespace == policy.namespace.as_str())
}

fn covers(policy: &Policy, pod: &Pod) -> bool {
    let labels = policy.scope.labels.as_ref();
    labels.is_none_or(|labels| labels.0.iter().all(|(key, value)| pod.labels[key] == value.as_str()))
}

/// A policy for less than this one is for.
fn narrower(policy: &Policy, live: &Value) -> bool {
    let for_workloads = !live["spec"]["selector"].is_null();
    match policy.scope.of {
        Of::Mesh => for_workloads || text(live, "namespace") != policy.namespace.as_str(),
        Of::Namespace => for_workloads,
        Of::Workload => false,
    }
}

fn uses_identities(live: &Value) -> bool {
    let rules = live["spec"]["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let sources = rules.iter().flat_map(|rule| rule["from"].as_array().map_or(&[][..], Vec::as_slice));
    sources.map(|from| &from["source"]).any(|source| {
        ["principals", "notPrincipals", "namespaces", "notNamespaces"].iter().any(|field| !source[*field].is_null())
    })
}

fn tls_modes(spec: &Value) -> impl Iterator<Item = &str> {
    let subsets = spec["subsets"].as_array().map_or(&[][..], Vec::as_slice);
    let policies = std::iter::once(&spec["trafficPolicy"]).chain(subsets.iter().map(|one| &one["trafficPolicy"]));
    policies
        .flat_map(|policy| {
            let ports = policy["portLevelSettings"].as_array().map_or(&[][..], Vec::as_slice);
            std::iter::once(policy).chain(ports)
        })
        .filter_map(|settings| settings["tls"]["mode"].as_str())
}

/// By Istio's rules for the name of a port and `appProtocol` (istio.io, protocol selection).
fn speaks_http(port: &Value) -> bool {
    of_service_port(port) == Protocol::Http
}

fn place(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn text<'a>(live: &'a Value, field: &str) -> &'a str {
    live["metadata"][field].as_str().unwrap_or_default()
}

fn named(kind: &str, live: &Value) -> String {
    format!("{kind} {}/{}", text(live, "namespace"), text(live, "name"))
}

/// A sentence about some things, the first of them by name; none about nothing.
fn some(names: impl Iterator<Item = String>, sentence: impl Fn(usize, String) -> String) -> Option<String> {
    let names: BTreeSet<_> = names.collect();
    let mut list = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        list = format!("{list}, and {} more", names.len() - NAMED);
    }
    (!names.is_empty()).then(|| sentence(names.len(), list))
}
