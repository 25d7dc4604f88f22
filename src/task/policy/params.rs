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
    /// The workloads to which the policy applies.
    pub scope: Scope,
    /// Name of the policy. Default: `default` for mTLS of the mesh or a namespace, `deny-all` for `allow` without rules;
    /// required otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME))]
    pub name: Option<String>,
    /// A predefined policy, by its key in Meshery's adapter for Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// mTLS mode of incoming connections (`PeerAuthentication`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
    /// Allowed or denied requests (`AuthorizationPolicy`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Write even if another policy applies to the same workloads, and take fields over from other field managers.
    #[serde(default)]
    pub force: bool,
    /// Take over an existing object of the same name that another tool manages.
    #[serde(default)]
    pub adopt: bool,
}

/// The workloads to which a policy applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The mesh, a namespace, or workloads of a namespace.
    pub of: Of,
    /// The namespace. For the mesh: its root namespace, by default `istio-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Labels of the workloads' pods (`selector`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// Scope of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// All workloads of the mesh.
    Mesh,
    /// All workloads of a namespace.
    Namespace,
    /// Workloads of a namespace with the given labels.
    Workload,
}

/// The policies of Meshery's adapter for Istio, by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Preset {
    /// Deny all requests.
    #[serde(rename = "deny-all-policy-operation")]
    DenyAll,
    /// Accept only mutual TLS.
    #[serde(rename = "strict-mtls-policy-operation")]
    Strict,
    /// Accept mutual TLS and plaintext.
    #[serde(rename = "mutual-mtls-policy-operation")]
    Permissive,
    /// Accept only plaintext.
    #[serde(rename = "disable-mtls-policy-operation")]
    Disable,
}

/// mTLS mode of incoming connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// Mode of all ports.
    pub mode: Mode,
    /// Modes of single ports of the pods, by number (`portLevelMtls`). Only for the scope `workload`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "propertyNames" = {"pattern": "^[1-9][0-9]{0,4}$"}))]
    pub ports: BTreeMap<String, Mode>,
}

/// mTLS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Accept only mutual TLS.
    Strict,
    /// Accept mutual TLS and plaintext.
    Permissive,
    /// Accept only plaintext.
    Disable,
}

/// Allowed or denied requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Whether requests that match a rule are allowed or denied.
    pub action: Action,
    /// A request matches if one of the rules matches. `allow` without rules denies all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<Rule>,
}

/// The action of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Allow matching requests. Requests that match no policy with `allow` are denied.
    Allow,
    /// Deny matching requests, regardless of policies with `allow`.
    Deny,
}

/// A condition for requests. All fields that are set must match, each with one of its values; an empty rule matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Identities of clients, such as `cluster.local/ns/shop/sa/web`; `*` as prefix or suffix matches any text. Requires
    /// mutual TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512), pattern(r"^\*?[^*\s]*\*?$")))]
    pub principals: Vec<String>,
    /// Namespaces of clients. Requires mutual TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub namespaces: Vec<Namespace>,
    /// HTTP methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 32), pattern("^[A-Z]+$")))]
    pub methods: Vec<String>,
    /// HTTP paths; `*` as prefix or suffix matches any text.
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
    /// Namespace of the policy: a namespace, or the root namespace of the mesh.
    pub scope: Scope,
    /// Kind of the policy.
    pub kind: Kind,
    /// Name of the policy, explicit or by default, as in `policy.apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAME))]
    pub name: Option<String>,
    /// Report what would be deleted, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The two kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A `PeerAuthentication`.
    Mtls,
    /// An `AuthorizationPolicy`.
    Access,
}

/// Report of `policy.apply` and `policy.remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyReport {
    /// The effect of the policy, in one sentence.
    pub holds: String,
    /// Clients that will be denied, and reasons why the policy may have no effect, as far as objects of the cluster show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// The object.
    pub objects: Vec<ObjectReport>,
}
