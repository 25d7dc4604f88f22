//! Parameters and reports of the policy commands; part of the wire contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::ObjectReport;
use crate::task::names::Namespace;
use crate::task::traffic::Labels;

/// Name of a policy.
const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Parameters of `policy.apply`. One of `preset`, `mtls` and `access`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Where and for whom it holds.
    pub scope: Scope,
    /// Names the policy, so that several can stand side by side. `default` for mTLS of the mesh or a namespace,
    /// `deny-all` for an empty list; asked for otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME))]
    pub name: Option<String>,
    /// A policy under the key by which Meshery's adapter knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Which connections workloads take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
    /// Which requests workloads take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Write even if another policy governs the same, and take fields over from other field managers.
    #[serde(default)]
    pub force: bool,
    /// Take over an object of the policy's name that another tool owns.
    #[serde(default)]
    pub adopt: bool,
}

/// Where and for whom a policy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The whole mesh, a namespace, or some workloads of one.
    pub of: Of,
    /// The namespace; for the mesh its root namespace, `istio-system` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Labels of the workloads' pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// How far a policy reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// Every workload.
    Mesh,
    /// The workloads of a namespace.
    Namespace,
    /// Those with the labels.
    Workload,
}

/// The policies that Meshery's adapter for Istio knew, by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// No request is taken.
    #[serde(rename = "deny-all-policy-operation")]
    DenyAll,
    /// Only mutual TLS.
    #[serde(rename = "strict-mtls-policy-operation")]
    Strict,
    /// Mutual TLS and plain text.
    #[serde(rename = "mutual-mtls-policy-operation")]
    Permissive,
    /// Only plain text.
    #[serde(rename = "disable-mtls-policy-operation")]
    Disable,
}

/// Which connections workloads take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// At every port.
    pub mode: Mode,
    /// At some ports of the pods, by number. Only for workloads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "propertyNames" = {"pattern": "^[1-9][0-9]{0,4}$"}))]
    pub ports: BTreeMap<String, Mode>,
}

/// Which connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only mutual TLS.
    Strict,
    /// Mutual TLS and plain text.
    Permissive,
    /// Only plain text.
    Disable,
}

/// Which requests workloads take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The action for requests that match a rule.
    pub action: Action,
    /// A request matches if one of the rules does. Empty with `allow`: no request is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<Rule>,
}

/// The action of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Matching requests are accepted. Requests that match no policy with `allow` are rejected.
    Allow,
    /// Matching requests are rejected, regardless of policies with `allow`.
    Deny,
}

/// A condition for requests. All fields that are set have to match, each with one of its values; an empty one matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Identities of clients, such as `cluster.local/ns/shop/sa/web`; `*` at either end stands for anything. Known
    /// only of clients that use mutual TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512), pattern(r"^\*?[^*\s]*\*?$")))]
    pub principals: Vec<String>,
    /// Namespaces of clients; known only of clients that use mutual TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub namespaces: Vec<Namespace>,
    /// HTTP methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32), pattern("^[A-Z]+$")))]
    pub methods: Vec<String>,
    /// HTTP paths; `*` at either end stands for anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024), pattern(r"^(\*|/)[^*\s]*\*?$")))]
    pub paths: Vec<String>,
    /// Ports of the pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1)))]
    pub ports: Vec<u16>,
}

/// Parameters of `policy.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Where it is: the namespace, or the mesh's root namespace.
    pub scope: Scope,
    /// What kind of policy it is.
    pub kind: Kind,
    /// Its name, as `policy.apply` had it or gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME))]
    pub name: Option<String>,
    /// Report what would go, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The two kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Which connections are taken: a `PeerAuthentication`.
    Mtls,
    /// Which requests are taken: an `AuthorizationPolicy`.
    Access,
}

/// Report of `policy.apply` and `policy.remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyReport {
    /// What now holds for whom, in a sentence.
    pub holds: String,
    /// Who will be refused, or what will not hold, as far as objects in the cluster show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// The object.
    pub objects: Vec<ObjectReport>,
}
