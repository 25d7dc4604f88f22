//! Results of a run as they travel in events, results and reports: one for each case, one for each specification, one
//! summary. Plain data; knows no client of anything.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which run an event or report belongs to. The same in every event of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunInfo {
    /// Key of the command that started the run (32 hex digits).
    pub run_id: String,
    /// The run.
    pub suite: SuiteInfo,
    /// Attempt of the command, from 1. An event of a later attempt replaces those of an earlier one.
    pub attempt: u32,
    /// The cluster.
    pub cluster: ClusterInfo,
    /// The mesh.
    pub mesh: MeshInfo,
    /// The adapter that translates SMI objects; empty for other suites.
    #[serde(default)]
    pub adapter: AdapterInfo,
    /// `exec` and `port-forward` send real requests from pods. `simulated` sends none: such a report says nothing about the
    /// cluster.
    pub driver: String,
    /// RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// RFC 3339; absent while the run continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub finished_at: Option<String>,
}

/// A suite and its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteInfo {
    /// `smi` or `gateway-api-mesh`.
    pub name: String,
    /// Version of the specification: `v0.6.0` of SMI, `v1.6.1` of Gateway API.
    pub version: String,
    /// `builtin`: the cases of this program; such a report is never an official one. `upstream`: the suite of Gateway API
    /// itself, read by `sailhand conformance import`.
    pub origin: String,
}

/// The cluster that was tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterInfo {
    /// Target id of the command.
    pub id: String,
    /// Version of the API server, such as `v1.34.4`.
    pub kubernetes_version: String,
}

/// The mesh that was tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshInfo {
    /// `istio`, or `simulated`.
    pub name: String,
    /// Tag of the control plane's image; empty when it has none.
    pub version: String,
    /// Revision of the control plane (`default` without a label).
    pub revision: String,
    /// `sidecar` or `ambient`.
    pub data_plane: String,
    /// Labels that the test namespaces get to be in the mesh.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The SMI adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdapterInfo {
    /// Name of its Deployment; empty when there is none.
    pub name: String,
    /// Tag of its image.
    pub version: String,
    /// Its image.
    pub image: String,
    /// `none`, or `builtin` for `sailhand smi-controller`, whose supported features are declared.
    pub mode: String,
}

/// The subject of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseKind {
    /// That something exists or is stored; says nothing about traffic.
    Presence,
    /// That traffic is handled as the specification requires.
    Capability,
}

/// Whether a specification requires the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It does.
    Core,
    /// An implementation may leave it out.
    Extended,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Every check held.
    Passed,
    /// A check did not hold within the time limit.
    Failed,
    /// Not run.
    Skipped,
    /// The implementation declares, or reports by an Event, that it does not support the feature, and enforces nothing wider.
    NotSupported,
    /// The case could not be judged: the control phase failed, or requests did not reach the data plane.
    Error,
}

impl Status {
    /// Name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotSupported => "not-supported",
            Self::Error => "error",
        }
    }
}

/// Why a case did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Answers were not as required.
    Assertion,
    /// Requests timed out.
    Timeout,
    /// A host name was not resolved.
    Dns,
    /// The control phase failed: requests that nothing restricts did not succeed.
    Setup,
    /// The adapter refused an object of the case.
    AdapterRejected,
    /// The feature is declared unsupported, or no driver can send such traffic.
    Declared,
    /// The API server, an exec or a port-forward failed.
    Cluster,
    /// The run was stopped.
    Cancelled,
}

/// Result of one case; `data` of `conformance_case` has it beside the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseResult {
    /// Such as `TA-1.2.3` or `MeshHTTPRouteWeight`.
    pub case_id: String,
    /// One sentence: the requirement.
    pub title: String,
    /// Key of the specification, such as `traffic_access_control`.
    pub spec: String,
    /// Whether it checks the presence of kinds or a capability.
    pub kind: CaseKind,
    /// Feature that the case checks, such as `default_deny`.
    pub feature: String,
    /// Whether the specification requires the feature (`core`) or allows it (`extended`).
    pub conformance_level: Level,
    /// Place in the suite, from 1.
    pub ordinal: u32,
    /// How it ended.
    pub status: Status,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was expected and what was observed, unless it passed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Evidence that the failure may be a race of the suite that was run and not a defect of the mesh; only in reports of
    /// the suite of Gateway API. The case counts as failed nevertheless.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suspected_race: String,
    /// Time of this case alone, milliseconds.
    pub duration_ms: u64,
    /// Rounds of checks, over all phases.
    pub attempts: u32,
    /// The requests and their answers.
    pub evidence: Evidence,
}

/// The requests of a case and their answers. Bounded: each list has a limited number of texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Requests sent, over all phases.
    pub requests_sent: u64,
    /// Answers by HTTP status.
    #[serde(default)]
    pub by_status: BTreeMap<String, u64>,
    /// Answers by the workload that gave them, of the last round of the case.
    #[serde(default)]
    pub by_backend: BTreeMap<String, u64>,
    /// Expected share of each workload in percent; empty for cases without weights.
    #[serde(default)]
    pub expected: BTreeMap<String, f64>,
    /// Largest accepted difference from an expected share, percentage points; 0 for cases without weights.
    pub tolerance: f64,
    /// Transport errors of requests that got no HTTP response, as the client reported them.
    #[serde(default)]
    pub transport_errors: Vec<String>,
    /// Objects applied: kind and name.
    #[serde(default)]
    pub applied: Vec<String>,
    /// Objects that the adapter made from them.
    #[serde(default)]
    pub translated: Vec<String>,
    /// Body or header by which a proxy explains a refusal, such as `RBAC: access denied`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy_hint: String,
    /// Each phase with its checks, as of its last round.
    #[serde(default)]
    pub phases: Vec<PhaseEvidence>,
}

impl Evidence {
    /// Maximum number of texts of one list.
    pub const TEXTS: usize = 12;
    /// Longest text, bytes.
    pub const TEXT: usize = 300;
}

/// One phase of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhaseEvidence {
    /// Purpose of the phase.
    pub name: String,
    /// Whether it is a control: it shows that requests succeed before something restricts or routes them.
    pub control: bool,
    /// Whether all checks held.
    pub held: bool,
    /// From its changes to the end of its checks, milliseconds.
    pub duration_ms: u64,
    /// Rounds of checks.
    pub rounds: u32,
    /// The checks of the last round.
    pub checks: Vec<CheckEvidence>,
}

/// One check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckEvidence {
    /// Such as `app-a: GET http://app-b:9091/echo`.
    pub what: String,
    /// Such as `403`.
    pub expected: String,
    /// Such as `200 from app-b`.
    pub observed: String,
    /// Whether it held.
    pub held: bool,
}

/// How much of a specification works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Every feature.
    Full,
    /// Some features.
    Partial,
    /// No feature that acts on traffic. Stored objects alone are not a capability.
    None,
    /// Too few cases could be judged.
    Unknown,
}

impl Capability {
    /// Name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether what is supported follows the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compliance {
    /// Every case of the supported features passed.
    Pass,
    /// A case of a supported feature failed.
    Fail,
    /// Nothing is supported, or not every case of the supported features could be judged.
    NotApplicable,
}

impl Compliance {
    /// Name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotApplicable => "not-applicable",
        }
    }
}

/// State of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureState {
    /// Every case passed.
    Supported,
    /// Declared unsupported, or not declared and no case passed.
    Unsupported,
    /// Declared or observed, and a case failed.
    Failed,
    /// No case could be judged.
    Untested,
}

impl FeatureState {
    /// Name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Untested => "untested",
        }
    }
}

/// Cases by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All.
    pub total: u32,
    /// Cases with the status `passed`.
    pub passed: u32,
    /// Cases with the status `failed`.
    pub failed: u32,
    /// Cases with the status `skipped`.
    pub skipped: u32,
    /// Cases with the status `not-supported`.
    pub not_supported: u32,
    /// Cases with the status `error`.
    pub error: u32,
}

/// Verdict on one specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecResult {
    /// Key, such as `traffic_split`.
    pub spec: String,
    /// Name for people, such as `Traffic Split`.
    pub title: String,
    /// API version, such as `split.smi-spec.io/v1alpha4`.
    pub version: String,
    /// How much works.
    pub capability: Capability,
    /// Whether what works follows the specification.
    pub compliance: Compliance,
    /// Whether every case was judged: none ended as `error` or `skipped`.
    pub complete: bool,
    /// State of each feature that acts on traffic.
    pub features: BTreeMap<String, FeatureState>,
    /// Whether every presence case passed; absent when none was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Its cases.
    pub counts: Counts,
}

/// Summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// All cases.
    pub counts: Counts,
    /// `passed / (passed + failed + error)` in percent, two decimals; absent when no case was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_percent: Option<f64>,
    /// `capability/compliance` of each specification, such as `partial/pass`.
    pub conformance: BTreeMap<String, String>,
    /// `completed`, `failed` or `cancelled`.
    pub phase: String,
    /// The same in the shape of the SMI conformance tool of Meshery; absent for other suites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy: Option<Legacy>,
}

/// Result as Meshery's SMI conformance tool reported it. Only the 24 canonical cases count here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Legacy {
    /// Canonical cases that passed.
    pub cases_passed: String,
    /// Of 24, in percent with two decimals.
    pub passing_percentage: String,
    /// One for each specification.
    pub more_details: Vec<LegacyDetail>,
}

/// One specification as Meshery's tool reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LegacyDetail {
    /// Such as `traffic-access`.
    pub smi_specification: String,
    /// Such as `v0.6.0/v1alpha3`.
    pub smi_version: String,
    /// Sum of the durations of its cases, such as `12.3s`.
    pub time: String,
    /// Canonical cases of the specification.
    pub assertions: String,
    /// First failure, or `All test passed`.
    pub reason: String,
    /// `FULL`, `HALF` or `NONE`.
    pub capability: String,
    /// `PASSED` or `FAILED`.
    pub status: String,
}

/// Everything of a run: the result's report, and what reports are rendered from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// The run.
    pub run: RunInfo,
    /// Every case, in the order of the suite.
    pub cases: Vec<CaseResult>,
    /// Every specification.
    pub specs: Vec<SpecResult>,
    /// The summary.
    pub summary: Summary,
    /// Namespaces left in the cluster because of `keep_namespace`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_namespaces: Vec<String>,
}

/// `data` of `conformance_case`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseEvent {
    /// The run.
    pub run: RunInfo,
    /// The case.
    pub case: CaseResult,
    /// Cases that have ended, this one included.
    pub done: u32,
    /// Cases of the run.
    pub total: u32,
}

/// `data` of `conformance_spec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecEvent {
    /// The run.
    pub run: RunInfo,
    /// The verdict.
    pub spec: SpecResult,
}

/// `data` of `conformance_summary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryEvent {
    /// The run.
    pub run: RunInfo,
    /// Every specification.
    pub specs: Vec<SpecResult>,
    /// The summary.
    pub summary: Summary,
}
