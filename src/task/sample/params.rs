//! Parameters and reports of the sample commands; part of the wire contract.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::{Choice, EntryReport};
use crate::cluster::ObjectReport;
use crate::task::DURATION;
use crate::task::names::Namespace;

/// The sample applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Istio's book shop: four services, six Deployments.
    Bookinfo,
    /// One service that answers what it is asked.
    Httpbin,
    /// A shop of twelve Deployments (once Hipster Shop).
    OnlineBoutique,
}

/// Parameters of `sample.deploy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployParams {
    /// Which application.
    pub application: Name,
    /// Where it goes; a namespace of the application's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Create the namespace when it does not exist.
    #[serde(default = "yes")]
    pub create_namespace: bool,
    /// How it is reached from outside. Applied where the CRDs exist; otherwise the report says why it was skipped.
    #[serde(default)]
    pub entry: Choice,
    /// Hosts the entry answers to; `*` is any.
    #[serde(default = "any_host")]
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(max = 253),
            pattern(r"^(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$")
        )
    )]
    pub hosts: Vec<String>,
    /// Value of the `istio` label on the ingress gateway's pods. Only for an entry of Istio's API.
    #[serde(default = "ingress_gateway")]
    #[schemars(length(max = 63), pattern(r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub ingress: String,
    /// A mirror such as `mirror.example:5000/hub`. It takes the place of the registry's host in every image; the
    /// path after the host does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), pattern(r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._-]+)*/?$"))]
    pub registry: Option<String>,
    /// Online Boutique only: deploy the component that makes requests without end.
    #[serde(default = "yes")]
    pub load_generator: bool,
    /// How long to wait until every object is ready, such as `5m`; `0s` does not wait. The outer address of a
    /// load balancer is never waited for.
    #[serde(with = "humantime_serde", default = "deploy_wait")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Take over objects that another tool owns.
    #[serde(default)]
    pub adopt: bool,
    /// Take fields over from other field managers.
    #[serde(default)]
    pub force: bool,
}

impl DeployParams {
    /// The defaults for an application.
    #[must_use]
    pub fn of(application: Name) -> Self {
        Self {
            application,
            namespace: None,
            create_namespace: true,
            entry: Choice::Auto,
            hosts: any_host(),
            ingress: ingress_gateway(),
            registry: None,
            load_generator: true,
            wait: deploy_wait(),
            dry_run: false,
            adopt: false,
            force: false,
        }
    }
}

/// Parameters of `sample.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Which application.
    pub application: Name,
    /// Namespace of the application; by default its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// How long to wait until all objects are deleted, such as `2m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "remove_wait")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would go, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl RemoveParams {
    /// The defaults for an application.
    #[must_use]
    pub fn of(application: Name) -> Self {
        Self { application, namespace: None, wait: remove_wait(), dry_run: false }
    }
}

/// Report of `sample.deploy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployReport {
    /// Which application.
    pub application: Name,
    /// Where it is.
    pub namespace: Namespace,
    /// Every object was seen ready. False when that was not waited for.
    pub ready: bool,
    /// How it is reached from outside.
    pub entry: EntryReport,
    /// Reasons why traffic rules for the application may have no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// Every object of the application, and what was pruned.
    pub objects: Vec<ObjectReport>,
}

/// Report of `sample.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveReport {
    /// Which application.
    pub application: Name,
    /// Where it was.
    pub namespace: Namespace,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// Every object that the application had.
    pub objects: Vec<ObjectReport>,
}

const fn yes() -> bool {
    true
}

fn any_host() -> Vec<String> {
    vec!["*".to_owned()]
}

fn ingress_gateway() -> String {
    "ingressgateway".to_owned()
}

const fn deploy_wait() -> Duration {
    Duration::from_mins(5)
}

const fn remove_wait() -> Duration {
    Duration::from_mins(2)
}
