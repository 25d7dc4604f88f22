//! Builds the desired Istio object of a policy. Pure. Fields are those of istio/api's security/v1.

use serde_json::{Map, Value, json};

use super::params::{Access, Action, ApplyParams, Kind, Mode, Mtls, Of, Preset, Rule, Scope};
use crate::analysis::mesh::ISTIO_NAMESPACE;
use crate::task::Error;
use crate::task::names::Namespace;

/// A policy with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub kind: Kind,
    pub name: String,
    pub namespace: Namespace,
    pub scope: Scope,
    pub mtls: Option<Mtls>,
    pub access: Option<Access>,
}

impl Scope {
    /// Where the object goes.
    pub(super) fn namespace(&self) -> Namespace {
        self.namespace.clone().unwrap_or_else(|| Namespace::known(ISTIO_NAMESPACE))
    }

    /// The workloads in scope, as text.
    pub(super) fn summary(&self) -> String {
        let namespace = self.namespace();
        match (self.of, &self.labels) {
            (Of::Mesh, _) => format!("the mesh whose root namespace is {namespace}"),
            (Of::Workload, Some(labels)) => {
                let labels = labels.0.iter().map(|(key, value)| format!("{key}={value}"));
                format!("pods {} of namespace {namespace}", labels.collect::<Vec<_>>().join(","))
            }
            _ => format!("namespace {namespace}"),
        }
    }

    fn check(&self) -> Result<(), Error> {
        match (self.of, &self.namespace, &self.labels) {
            (Of::Workload, Some(_), Some(_)) | (Of::Namespace, Some(_), None) | (Of::Mesh, _, None) => Ok(()),
            (Of::Workload, _, None) => Err(wrong("scope.labels", "workloads are chosen by labels")),
            (_, None, _) => Err(wrong("scope.namespace", "name the namespace")),
            (_, _, Some(_)) => Err(wrong("scope.labels", "labels choose workloads; say `of: workload`")),
        }
    }

    /// The name given, or what the policy is called without one.
    pub(super) fn name(&self, given: Option<&String>, default: &'static str) -> Result<String, Error> {
        match given {
            Some(name) => Ok(name.clone()),
            None if self.of == Of::Workload || default.is_empty() => {
                Err(wrong("name", "it needs a name, as there may be several of its kind"))
            }
            None => Ok(default.to_owned()),
        }
    }
}

impl Policy {
    /// The policy of a command.
    ///
    /// # Errors
    /// The parameter that is wrong, and why.
    pub fn of(params: &ApplyParams) -> Result<Self, Error> {
        params.scope.check()?;
        let all = |mode| Mtls { mode, ports: [].into() };
        let (mtls, access) = match (params.preset, &params.mtls, &params.access) {
            (Some(Preset::DenyAll), None, None) => (None, Some(Access { action: Action::Allow, rules: Vec::new() })),
            (Some(Preset::Strict), None, None) => (Some(all(Mode::Strict)), None),
            (Some(Preset::Permissive), None, None) => (Some(all(Mode::Permissive)), None),
            (Some(Preset::Disable), None, None) => (Some(all(Mode::Disable)), None),
            (None, Some(mtls), None) => (Some(mtls.clone()), None),
            (None, None, Some(access)) => (None, Some(access.clone())),
            _ => return Err(wrong("preset", "set exactly one of preset, mtls and access")),
        };
        if let Some(mtls) = &mtls {
            check_ports(mtls, params.scope.of)?;
        }
        if let Some(access) = &access {
            check_rules(access)?;
        }
        let (kind, default) = match &access {
            None => (Kind::Mtls, "default"),
            Some(access) if access.rules.is_empty() => (Kind::Access, "deny-all"),
            Some(_) => (Kind::Access, ""),
        };
        let name = params.scope.name(params.name.as_ref(), default)?;
        Ok(Self { kind, name, namespace: params.scope.namespace(), scope: params.scope.clone(), mtls, access })
    }

    /// Effect of the policy, one sentence.
    pub fn summary(&self) -> String {
        let scope = self.scope.summary();
        if let Some(mtls) = &self.mtls {
            let ports = mtls.ports.iter().map(|(port, mode)| format!(", at port {port} {}", accepts(*mode)));
            return format!("{scope}: {}{}", accepts(mtls.mode), ports.collect::<String>());
        }
        match &self.access {
            Some(access) if access.rules.is_empty() => format!("{scope}: all requests are denied"),
            Some(access) if access.action == Action::Allow => {
                format!("{scope}: only requests that match {} are allowed", any_of(access.rules.len()))
            }
            Some(access) => format!("{scope}: requests that match {} are denied", any_of(access.rules.len())),
            None => scope,
        }
    }

    /// `spec` of the object.
    pub fn spec(&self) -> Value {
        let mut spec = Map::new();
        if let Some(labels) = &self.scope.labels {
            spec.insert("selector".to_owned(), json!({"matchLabels": labels}));
        }
        if let Some(mtls) = &self.mtls {
            spec.insert("mtls".to_owned(), json!({"mode": mode(mtls.mode)}));
            if !mtls.ports.is_empty() {
                let ports = mtls.ports.iter().map(|(port, it)| (port.clone(), json!({"mode": mode(*it)})));
                spec.insert("portLevelMtls".to_owned(), Value::Object(ports.collect()));
            }
        }
        if let Some(access) = &self.access {
            let action = match access.action {
                Action::Allow => "ALLOW",
                Action::Deny => "DENY",
            };
            spec.insert("action".to_owned(), action.into());
            if !access.rules.is_empty() {
                spec.insert("rules".to_owned(), access.rules.iter().map(rule).collect());
            }
        }
        Value::Object(spec)
    }
}

fn rule(rule: &Rule) -> Value {
    let listed = |name: &str, list: Value| {
        let filled = list.as_array().is_some_and(|list| !list.is_empty());
        filled.then(|| (name.to_owned(), list))
    };
    let ports: Vec<_> = rule.ports.iter().map(ToString::to_string).collect();
    let source: Map<_, _> =
        [listed("principals", json!(rule.principals)), listed("namespaces", json!(rule.namespaces))]
            .into_iter()
            .flatten()
            .collect();
    let operation: Map<_, _> =
        [listed("methods", json!(rule.methods)), listed("paths", json!(rule.paths)), listed("ports", json!(ports))]
            .into_iter()
            .flatten()
            .collect();
    let mut whole = Map::new();
    if !source.is_empty() {
        whole.insert("from".to_owned(), json!([{ "source": source }]));
    }
    if !operation.is_empty() {
        whole.insert("to".to_owned(), json!([{ "operation": operation }]));
    }
    Value::Object(whole)
}

fn check_ports(mtls: &Mtls, of: Of) -> Result<(), Error> {
    if !mtls.ports.is_empty() && of != Of::Workload {
        return Err(wrong("mtls.ports", "port-level mTLS requires a workload selector"));
    }
    match mtls.ports.keys().find(|port| port.parse::<u16>().is_err()) {
        Some(port) => Err(wrong("mtls.ports", format!("{port} is not the number of a port"))),
        None => Ok(()),
    }
}

fn check_rules(access: &Access) -> Result<(), Error> {
    if access.action == Action::Deny && access.rules.is_empty() {
        return Err(wrong(
            "access.rules",
            "an empty list denies nothing; `action: allow` with an empty list denies all requests",
        ));
    }
    match access.rules.iter().position(|rule| *rule == Rule::default()) {
        Some(_) if access.action == Action::Allow && access.rules.len() == 1 => Ok(()),
        Some(at) => Err(wrong("access.rules", format!("rule {} matches every request", at + 1))),
        None => Ok(()),
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Strict => "STRICT",
        Mode::Permissive => "PERMISSIVE",
        Mode::Disable => "DISABLE",
    }
}

/// Rules of which one has to match.
fn any_of(rules: usize) -> String {
    if rules == 1 { "the rule".to_owned() } else { format!("one of {rules} rules") }
}

const fn accepts(mode: Mode) -> &'static str {
    match mode {
        Mode::Strict => "only mutual TLS is accepted",
        Mode::Permissive => "mutual TLS and plaintext are accepted",
        Mode::Disable => "only plaintext is accepted",
    }
}

pub(super) fn wrong(field: &'static str, reason: impl Into<String>) -> Error {
    Error::Parameter { field, reason: reason.into() }
}
