//! The suites as data: the objects that each case applies, its requests and the expected responses. Objects name their namespaces by
//! placeholders, which a run replaces by its own. Pure.

pub mod gateway_api_mesh;
pub mod smi;

use serde_json::Value;

use super::Error;
use super::model::{CaseKind, CaseResult, Evidence, Level, Status};
use super::traffic::{Protocol, Request};
use crate::suggest;

/// Placeholder of the group's namespace in objects, hosts and senders.
pub const NAMESPACE: &str = "$namespace";
/// Placeholder of its second namespace.
pub const SECOND: &str = "$second";
/// Placeholder of its third namespace.
pub const THIRD: &str = "$third";

/// A suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuiteKind {
    /// Service Mesh Interface v0.6.0.
    Smi,
    /// Profiles MESH-HTTP and MESH-GRPC of Gateway API.
    GatewayApiMesh,
}

/// A suite with its parts.
pub struct Suite {
    /// Id of the suite.
    pub kind: SuiteKind,
    /// Version of the specification.
    pub version: &'static str,
    /// Prefix of the test namespaces.
    pub prefix: &'static str,
    /// The specifications it judges.
    pub specs: Vec<Spec>,
    /// Groups of cases; each has namespaces and workloads of its own.
    pub groups: Vec<Group>,
    /// All cases, in the order of reports.
    pub cases: Vec<Case>,
    /// CRDs that must exist, with the version that must be served.
    pub crds: Vec<(&'static str, &'static str)>,
}

impl SuiteKind {
    /// All.
    pub const ALL: [Self; 2] = [Self::Smi, Self::GatewayApiMesh];

    /// Name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smi => "smi",
            Self::GatewayApiMesh => "gateway-api-mesh",
        }
    }

    /// The suite of a name.
    ///
    /// # Errors
    /// [`Error::UnknownSuite`] with the nearest name.
    pub fn named(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| Error::UnknownSuite {
            name: name.to_owned(),
            nearest: suggest::nearest(name, known).map(str::to_owned),
        })
    }

    /// The suite itself.
    #[must_use]
    pub fn suite(self) -> Suite {
        match self {
            Self::Smi => smi::suite(),
            Self::GatewayApiMesh => gateway_api_mesh::suite(),
        }
    }
}

impl Suite {
    /// Keeps the cases of these ids; all when there are none.
    ///
    /// # Errors
    /// [`Error::UnknownCase`] with the nearest id.
    pub fn select(&mut self, ids: &[String]) -> Result<(), Error> {
        for id in ids {
            if !self.cases.iter().any(|case| case.id.eq_ignore_ascii_case(id)) {
                let known = self.cases.iter().map(|case| case.id);
                return Err(Error::UnknownCase {
                    suite: self.kind.name(),
                    id: id.clone(),
                    nearest: suggest::nearest(id, known).map(str::to_owned),
                });
            }
        }
        if !ids.is_empty() {
            self.cases.retain(|case| ids.iter().any(|id| case.id.eq_ignore_ascii_case(id)));
        }
        Ok(())
    }

    /// Groups that have a selected case.
    pub fn selected_groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| self.cases.iter().any(|case| case.group == group.name))
    }
}

/// A specification that a suite judges.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Key in results.
    pub key: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// API version.
    pub version: &'static str,
    /// Its name in the shape of Meshery's tool, with that tool's version text; none where that tool has no such part.
    pub legacy: Option<(&'static str, &'static str)>,
}

/// Cases that share namespaces and workloads.
#[derive(Debug, Clone)]
pub struct Group {
    /// Suffix of its namespaces.
    pub name: &'static str,
    /// Whether each case configures a Service of its own, so that several run at the same time. The cases of other
    /// groups run one after the other.
    pub is_independent: bool,
    /// Whether its objects concern HTTP, which a waypoint enforces in ambient mode.
    pub is_http: bool,
    /// Namespaces: `$namespace`, then `$second`, then `$third`.
    pub namespaces: usize,
    /// Objects of the workloads.
    pub app: Vec<Value>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Stable id.
    pub id: &'static str,
    /// One sentence: the requirement.
    pub title: &'static str,
    /// Key of its specification.
    pub spec: &'static str,
    /// See [`CaseKind`].
    pub kind: CaseKind,
    /// Key of the feature.
    pub feature: &'static str,
    /// See [`Level`].
    pub level: Level,
    /// Name of its group.
    pub group: &'static str,
    /// Whether the canonical suite of Meshery has the same id.
    pub canonical: bool,
    /// Whether an adapter may refuse the objects: then the case ends as `not-supported`, if nothing wider is allowed.
    pub may_be_refused: bool,
    /// Why the case cannot be run by any driver; it ends as `not-supported` then.
    pub untestable: Option<&'static str>,
    /// The steps, in order.
    pub phases: Vec<Phase>,
}

impl Case {
    /// Requests of all checks together, a measure of how long the case takes.
    #[must_use]
    pub fn requests(&self) -> u32 {
        let checks = self.phases.iter().flat_map(|phase| &phase.checks);
        checks.filter_map(Check::request).map(|request| request.count).sum()
    }

    /// A result without a reason, a message and evidence.
    #[must_use]
    pub fn result(&self, ordinal: u32, status: Status) -> CaseResult {
        CaseResult {
            case_id: self.id.to_owned(),
            title: self.title.to_owned(),
            spec: self.spec.to_owned(),
            kind: self.kind,
            feature: self.feature.to_owned(),
            conformance_level: self.level,
            ordinal,
            status,
            reason: None,
            message: String::new(),
            suspected_race: String::new(),
            duration_ms: 0,
            attempts: 0,
            evidence: Evidence::default(),
        }
    }
}

/// Changes, then checks. Until the first check holds it is repeated alone; therefore it is one that only the changes
/// explain. Then all checks must hold for three times as many requests, spread over half a second; in a control phase,
/// and for objects of the API server, once. The first check must hold within the time limit.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Its purpose.
    pub name: &'static str,
    /// Whether it is a control. One that fails ends the case as `error`, not as `failed`.
    pub control: bool,
    /// In order.
    pub changes: Vec<Change>,
    /// All must hold in the same round.
    pub checks: Vec<Check>,
}

/// A change of the cluster.
#[derive(Debug, Clone)]
pub enum Change {
    /// Applies an object.
    Apply(Value),
    /// Deletes the object that this names.
    Delete(Value),
    /// Opts the group's namespaces in to or out of deny by default.
    DefaultDeny(bool),
}

/// A check and the expected response.
#[derive(Debug, Clone)]
pub enum Check {
    /// Every answer is as expected.
    Answers(Request, Expect),
    /// All these workloads answer, and no other.
    Reaches(Request, Vec<&'static str>),
    /// The workload answers at least once: traffic that only the new configuration explains.
    Appears(Request, &'static str),
    /// Answers are spread by weight. Sampled after the other checks of the phase held, in up to [`TRIES`] samples.
    Shares(Shares),
    /// The API server has stored the object as it was applied; pruned or defaulted fields show here.
    Stored(Value),
    /// The object does not exist.
    Gone(Value),
    /// The adapter reports an Event or a condition about the object.
    Reported(Value),
    /// The CRD is established and serves the version.
    Served(&'static str, &'static str),
    /// Pods of the group are ready and in the mesh.
    InMesh,
}

impl Check {
    /// Whether the check sends requests; the others read objects of the API server.
    #[must_use]
    pub const fn sends_requests(&self) -> bool {
        self.request().is_some()
    }

    /// The request that the check sends.
    #[must_use]
    pub const fn request(&self) -> Option<&Request> {
        match self {
            Self::Answers(request, _) | Self::Reaches(request, _) | Self::Appears(request, _) => Some(request),
            Self::Shares(shares) => Some(&shares.request),
            Self::Stored(_) | Self::Gone(_) | Self::Reported(_) | Self::Served(..) | Self::InMesh => None,
        }
    }

    /// The same, to change it.
    pub const fn request_mut(&mut self) -> Option<&mut Request> {
        match self {
            Self::Answers(request, _) | Self::Reaches(request, _) | Self::Appears(request, _) => Some(request),
            Self::Shares(shares) => Some(&mut shares.request),
            Self::Stored(_) | Self::Gone(_) | Self::Reported(_) | Self::Served(..) | Self::InMesh => None,
        }
    }
}

/// Samples of a weighted check before it fails.
pub const TRIES: u32 = 3;

/// A weighted check.
#[derive(Debug, Clone)]
pub struct Shares {
    /// With the size of a sample as its count.
    pub request: Request,
    /// Weight of each workload.
    pub weights: Vec<(&'static str, u32)>,
    /// Largest accepted difference, percentage points.
    pub tolerance: f64,
    /// Shares of the wrong data plane that the check must distinguish from a conforming one, in most cases one that ignores the
    /// configuration and shows the balance of the root Service.
    pub ignored: Vec<f64>,
}

impl Shares {
    /// The expected share of each workload, 0 to 1.
    #[must_use]
    pub fn expected(&self) -> Vec<f64> {
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        self.weights.iter().map(|(_, weight)| f64::from(*weight) / f64::from(total.max(1))).collect()
    }
}

/// How a request must end.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// The kind of answer.
    pub outcome: Outcome,
    /// Workloads that may answer; any when empty.
    pub backends: Vec<&'static str>,
    /// Path and query as the workload must receive them.
    pub path: Option<&'static str>,
    /// `Location` of a redirect.
    pub location: Option<&'static str>,
    /// Request headers that the workload must receive, with all values joined by commas.
    pub request_headers: Vec<(&'static str, &'static str)>,
    /// Request headers that it must not receive.
    pub absent_request_headers: Vec<&'static str>,
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// 200.
    #[default]
    Ok,
    /// 403.
    Denied,
    /// 403, or a connection that is reset: layer 4 policies have no other answer.
    DeniedAtL4,
    /// This status.
    Status(u16),
}

/// `GET` by a workload in the first namespace.
#[must_use]
pub fn get(from: &str, host: &str, port: u16, path: &str) -> Request {
    request(NAMESPACE, from, "GET", host, port, path)
}

/// A request by a workload.
#[must_use]
pub fn request(namespace: &str, from: &str, method: &str, host: &str, port: u16, path: &str) -> Request {
    Request {
        namespace: namespace.to_owned(),
        from: from.to_owned(),
        host: host.to_owned(),
        port,
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        protocol: Protocol::Http,
        count: 1,
        per_second: 0,
    }
}

/// The request with headers.
#[must_use]
pub fn with_headers(request: &Request, headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Request { headers, ..request.clone() }
}

/// The request so many times.
#[must_use]
pub fn times(request: &Request, count: u32) -> Request {
    Request { count, ..request.clone() }
}

/// Expects status 200.
#[must_use]
pub fn ok(request: &Request) -> Check {
    Check::Answers(request.clone(), Expect::default())
}

/// Expects status 403.
#[must_use]
pub fn denied(request: &Request) -> Check {
    Check::Answers(request.clone(), Expect { outcome: Outcome::Denied, ..Expect::default() })
}

/// Expects status 403 or a reset connection.
#[must_use]
pub fn denied_at_l4(request: &Request) -> Check {
    Check::Answers(request.clone(), Expect { outcome: Outcome::DeniedAtL4, ..Expect::default() })
}

/// A phase that shows that requests succeed before anything restricts them.
#[must_use]
pub fn control(name: &'static str, changes: Vec<Change>, checks: Vec<Check>) -> Phase {
    Phase { name, control: true, changes, checks }
}

/// Changes, and the checks that must succeed after them.
#[must_use]
pub fn phase(name: &'static str, changes: Vec<Change>, checks: Vec<Check>) -> Phase {
    Phase { name, control: false, changes, checks }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::statistics;
    use super::*;

    fn key(request: &Request) -> Request {
        Request { count: 1, ..request.clone() }
    }

    fn is_denial(outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Denied | Outcome::DeniedAtL4)
    }

    #[test]
    fn every_denied_request_succeeded_in_an_earlier_phase_of_its_case() {
        for suite in SuiteKind::ALL.map(SuiteKind::suite) {
            for case in &suite.cases {
                let mut succeeded = Vec::new();
                for phase in &case.phases {
                    for check in &phase.checks {
                        let Check::Answers(request, expect) = check else { continue };
                        if is_denial(expect.outcome) {
                            assert!(succeeded.contains(&key(request)), "{}: {}", case.id, request.describe());
                        }
                    }
                    for check in &phase.checks {
                        if let Check::Answers(request, expect) = check
                            && !is_denial(expect.outcome)
                        {
                            succeeded.push(key(request));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn cases_name_groups_and_specifications_that_exist_and_have_ids_of_their_own() {
        for suite in SuiteKind::ALL.map(SuiteKind::suite) {
            let mut ids = BTreeSet::new();
            for case in &suite.cases {
                assert!(ids.insert(case.id), "{}", case.id);
                assert!(suite.groups.iter().any(|group| group.name == case.group), "{}", case.id);
                assert!(suite.specs.iter().any(|spec| spec.key == case.spec), "{}", case.id);
                assert_eq!(case.phases.is_empty(), case.untestable.is_some(), "{}", case.id);
            }
        }
    }

    #[test]
    fn smi_has_the_24_canonical_cases_and_gateway_api_the_14_of_mesh_http() {
        let smi = SuiteKind::Smi.suite();
        assert_eq!(smi.cases.iter().filter(|case| case.canonical).count(), 24);
        let mesh = SuiteKind::GatewayApiMesh.suite();
        assert_eq!(mesh.cases.iter().filter(|case| case.spec == "mesh_http").count(), 14);
        assert_eq!(mesh.cases.iter().filter(|case| case.spec == "mesh_grpc").count(), 1);
    }

    #[test]
    fn weighted_checks_of_a_run_are_wrong_with_a_probability_below_one_in_a_thousand() {
        let tries = i32::try_from(TRIES).unwrap();
        for suite in SuiteKind::ALL.map(SuiteKind::suite) {
            let (mut fails, mut passes, mut checks) = (0.0, 0.0, 0);
            for case in &suite.cases {
                for check in case.phases.iter().flat_map(|phase| &phase.checks) {
                    let Check::Shares(shares) = check else { continue };
                    let (count, expected) = (shares.request.count, shares.expected());
                    assert_eq!(shares.ignored.len(), expected.len(), "{}", case.id);
                    let fail = statistics::false_fail(count, &expected, shares.tolerance, tries);
                    let pass = statistics::false_pass(count, &expected, &shares.ignored, shares.tolerance, TRIES);
                    println!("{}: false fail {fail:.1e}, false pass {pass:.1e}", case.id);
                    fails += fail;
                    passes += pass;
                    checks += 1;
                }
            }
            assert!(checks >= 2, "{}", suite.kind.name());
            assert!(fails < 1e-3 && passes < 1e-3, "{}: {fails:.1e}, {passes:.1e}", suite.kind.name());
        }
    }

    #[test]
    fn unknown_name_gets_a_suggestion() {
        let error = SuiteKind::named("smy").unwrap_err().to_string();
        assert!(error.contains("did you mean smi?"), "{error}");
        let mut suite = SuiteKind::Smi.suite();
        let error = suite.select(&["TA-1.2.9".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("did you mean TA-1.2."), "{error}");
        suite.select(&["ta-1.2.3".to_owned()]).unwrap();
        assert_eq!(suite.cases.len(), 1);
    }
}
