//! The suites on simulated data planes: one that conforms, one that ignores the objects, one that refuses regular
//! expressions, and mutants that break one feature each. Time is tokio's and is paused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sailhand::clock::Clock;
use sailhand::conformance::Error;
use sailhand::conformance::environment::{Environment, Memory};
use sailhand::conformance::model::{Capability, Compliance, FeatureState, Reason, RunReport, Status};
use sailhand::conformance::report::{conformance_report, diff, html, junit};
use sailhand::conformance::runner::{self, Context, DataPlane, Incomplete, Options};
use sailhand::conformance::simulated::{Behavior, MUTANTS, Simulated};
use sailhand::conformance::suite::{Change, Check, Phase, Suite, SuiteKind};
use sailhand::conformance::traffic::{Answer, Request, TrafficDriver};
use sailhand::error::Classify as _;
use sailhand::guard::Guard;
use sailhand::task_event::{PublishError, TaskEvent, TaskEvents};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::smi_mutants::{MUTANTS as MUTANT_CONTROLLERS, Mutant};

/// Counts events by kind.
#[derive(Default)]
struct CountedEvents(Mutex<(usize, usize, usize)>);

#[async_trait]
impl TaskEvents for CountedEvents {
    async fn publish(&self, event: TaskEvent) -> Result<(), PublishError> {
        let mut counts = self.0.lock().unwrap();
        match event {
            TaskEvent::ConformanceCase(_) => counts.0 += 1,
            TaskEvent::ConformanceSpec(_) => counts.1 += 1,
            TaskEvent::ConformanceSummary(_) => counts.2 += 1,
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

/// A cluster in memory that records applied objects, alters listed ones, and may keep its namespaces.
pub(crate) struct Altered {
    pub memory: Memory,
    pub applied: Mutex<Vec<serde_json::Value>>,
    pub on_list: fn(&mut serde_json::Value),
    pub keeps_namespaces: bool,
}

impl Altered {
    /// Alters nothing.
    pub fn of(memory: Memory) -> Self {
        Self { memory, applied: Mutex::default(), on_list: |_| {}, keeps_namespaces: false }
    }
}

#[async_trait]
impl Environment for Altered {
    async fn apply(&self, object: &serde_json::Value) -> Result<serde_json::Value, Error> {
        self.applied.lock().unwrap().push(object.clone());
        self.memory.apply(object).await
    }
    async fn delete(&self, object: &sailhand::cluster::ObjectRef) -> Result<(), Error> {
        if self.keeps_namespaces && object.kind == "Namespace" {
            return Ok(());
        }
        self.memory.delete(object).await
    }
    async fn get(&self, object: &sailhand::cluster::ObjectRef) -> Result<Option<serde_json::Value>, Error> {
        self.memory.get(object).await
    }
    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, Error> {
        let mut found = self.memory.list(api_version, kind, namespace, labels).await?;
        found.iter_mut().for_each(self.on_list);
        Ok(found)
    }
    async fn version(&self) -> Result<String, Error> {
        self.memory.version().await
    }
}

pub(crate) fn options(suite: Suite) -> Options {
    Options {
        run_id: "0123456789abcdef0123456789abcdef".to_owned(),
        attempt: 1,
        target: "test".to_owned(),
        suite,
        data_plane: DataPlane::Sidecar,
        revision: String::new(),
        image: "echo:test".to_owned(),
        phase_timeout: Duration::from_secs(20),
        ready_timeout: Duration::from_mins(1),
        parallel: 4,
        keep_namespace: false,
    }
}

pub(crate) fn guard() -> Guard {
    Guard::new(Instant::now() + Duration::from_hours(9), 7, CancellationToken::new())
}

pub(crate) async fn run_with(
    environment: &dyn Environment,
    driver: &dyn TrafficDriver,
    guard: &Guard,
    events: &dyn TaskEvents,
    options: &Options,
) -> Result<RunReport, Incomplete> {
    let cx = Context { environment, driver, guard, events, progress: &(), clock: Clock::system() };
    runner::run(&cx, options).await
}

pub(crate) fn memory(kind: SuiteKind) -> Arc<Memory> {
    Arc::new(Memory::with_crds(&kind.suite().crds))
}

/// Runs the cases of the given features, or all.
async fn run(kind: SuiteKind, behavior: Behavior, features: &[&str]) -> RunReport {
    let mut suite = kind.suite();
    suite.cases.retain(|case| features.is_empty() || features.contains(&case.feature));
    let memory = memory(kind);
    let driver = Simulated::new(memory.clone(), behavior, 1);
    let report = run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap();
    let left = memory.list("v1", "Namespace", None, None).await.unwrap();
    assert!(left.is_empty(), "namespaces are left: {left:?}");
    report
}

pub(crate) fn verdict(report: &RunReport, spec: &str) -> (Capability, Compliance) {
    let spec = report.specs.iter().find(|one| one.spec == spec).unwrap();
    (spec.capability, spec.compliance)
}

pub(crate) fn not_passed(report: &RunReport) -> Vec<String> {
    let cases = report.cases.iter().filter(|case| !matches!(case.status, Status::Passed | Status::NotSupported));
    cases.map(|case| format!("{} {:?} {}", case.case_id, case.status, case.message)).collect()
}

#[tokio::test(start_paused = true)]
async fn conforming_data_plane_passes_every_smi_case() {
    let report = run(SuiteKind::Smi, Behavior::Conforming, &[]).await;
    assert_eq!(not_passed(&report), Vec::<String>::new());
    assert_eq!(verdict(&report, "traffic_split"), (Capability::Full, Compliance::Pass));
    assert_eq!(verdict(&report, "traffic_specs"), (Capability::Full, Compliance::Pass));
    // UDP cannot be tested.
    assert_eq!(verdict(&report, "traffic_access_control"), (Capability::Partial, Compliance::Pass));
    assert_eq!(report.summary.legacy.as_ref().unwrap().passing_percentage, "100.00");
    let size = serde_json::to_vec(&report).unwrap().len();
    assert!(size < 256 * 1024, "a report fits into a message: {size}");
}

#[tokio::test(start_paused = true)]
async fn conforming_data_plane_passes_every_gateway_api_case() {
    let report = run(SuiteKind::GatewayApiMesh, Behavior::Conforming, &[]).await;
    assert_eq!(not_passed(&report), Vec::<String>::new());
    assert_eq!(verdict(&report, "mesh_http"), (Capability::Full, Compliance::Pass));
    assert_eq!(verdict(&report, "mesh_grpc"), (Capability::Full, Compliance::Pass));
}

#[tokio::test(start_paused = true)]
async fn crds_without_an_adapter_are_no_capability() {
    let report = run(SuiteKind::Smi, Behavior::Ignoring, &[]).await;
    for spec in ["traffic_access_control", "traffic_specs", "traffic_split", "traffic_metrics"] {
        assert_eq!(verdict(&report, spec), (Capability::None, Compliance::NotApplicable), "{spec}");
    }
    assert!(report.specs.iter().filter(|spec| spec.spec != "traffic_metrics").all(|spec| spec.present == Some(true)));
    let report = run(SuiteKind::GatewayApiMesh, Behavior::Ignoring, &[]).await;
    let passed: Vec<_> = report.cases.iter().filter(|case| case.status == Status::Passed).collect();
    assert_eq!(passed.iter().map(|case| case.case_id.as_str()).collect::<Vec<_>>(), ["MeshBasic"]);
}

#[tokio::test(start_paused = true)]
async fn refused_regular_expressions_that_allow_nothing_wider_are_not_supported() {
    let report = run(SuiteKind::Smi, Behavior::RefusingRegex, &[]).await;
    assert_eq!(not_passed(&report), Vec::<String>::new());
    let specs = &report.specs[1];
    assert_eq!((specs.capability, specs.compliance), (Capability::Partial, Compliance::Pass));
    for feature in ["path_regex", "header_regex"] {
        assert_eq!(specs.features[feature], FeatureState::Unsupported, "{feature}");
    }
    let refused = report.cases.iter().find(|case| case.case_id == "TSC-x.5").unwrap();
    assert_eq!((refused.status, refused.reason), (Status::NotSupported, Some(Reason::AdapterRejected)));
}

#[tokio::test(start_paused = true)]
async fn every_mutant_is_caught_by_the_case_of_the_feature_it_breaks() {
    let mut survivors = Vec::new();
    let mut rows = Vec::new();
    for info in MUTANTS {
        let kind = SuiteKind::named(info.suite).unwrap();
        let report = run(kind, Behavior::Broken(info.mutant), &[info.feature]).await;
        let caught: Vec<_> = report
            .cases
            .iter()
            .filter(|case| case.status == Status::Failed)
            .map(|case| case.case_id.as_str())
            .collect();
        if caught.is_empty() {
            survivors.push(format!("{:?}: {:?}", info.mutant, not_passed(&report)));
        }
        rows.push(format!("| {} | `{}` | {} | {} |", info.suite, info.feature, info.defect, caught.join(", ")));
    }
    println!("| suite | feature | the data plane … | caught by |\n|---|---|---|---|\n{}", rows.join("\n"));
    assert!(survivors.is_empty(), "{survivors:#?}");
    let smi = MUTANTS.iter().filter(|info| info.suite == "smi").count();
    assert!(smi >= 20, "{smi}");
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md")).unwrap();
    for row in &rows {
        assert!(documented.contains(row), "docs/conformance.md lacks the row, see `just conformance-mutants`: {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_testable_feature_has_a_mutant() {
    for kind in SuiteKind::ALL {
        let broken: BTreeSet<_> =
            MUTANTS.iter().filter(|info| info.suite == kind.name()).map(|info| info.feature).collect();
        for case in kind.suite().cases {
            let is_plain = case.feature == "presence" || case.untestable.is_some();
            // These two are broken by mutants of other features as well: a plane without routes breaks all of them.
            let covered = ["MeshBasic", "MeshTrafficSplit"].contains(&case.feature);
            assert!(is_plain || covered || broken.contains(case.feature), "{}", case.feature);
        }
    }
}

#[test]
fn every_testable_feature_of_smi_has_a_wrong_controller_and_a_row_in_the_documentation() {
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md")).unwrap();
    for mutant in MUTANT_CONTROLLERS {
        let row = mutant.row();
        assert!(
            documented.contains(&row),
            "docs/conformance.md lacks the row, see `just conformance-mutants-real`: {row}"
        );
    }
    for case in SuiteKind::Smi.suite().cases {
        let of_case = |mutant: &&Mutant| mutant.case == case.id;
        for mutant in MUTANT_CONTROLLERS.iter().filter(of_case) {
            assert_eq!((mutant.feature, mutant.group), (case.feature, case.group), "{}", mutant.defect);
            assert!(case.phases.iter().any(|phase| phase.name == mutant.phase), "{}: {}", case.id, mutant.phase);
        }
        // Which endpoint answers without a TrafficSplit is not the controller's work.
        let is_plain = ["presence", "default_balance"].contains(&case.feature) || case.untestable.is_some();
        let is_broken = MUTANT_CONTROLLERS.iter().any(|mutant| mutant.feature == case.feature);
        assert!(is_plain || is_broken, "{}", case.feature);
    }
}

/// Answers everything with one error.
struct Broken(&'static str);

#[async_trait]
impl TrafficDriver for Broken {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        Ok((0..request.count).map(|_| Answer::failed(self.0)).collect())
    }

    fn name(&self) -> &'static str {
        "broken"
    }
}

/// Succeeds until deny by default is asked for, then fails with an error that is no denial.
struct Silent(Arc<Memory>, &'static str);

#[async_trait]
impl TrafficDriver for Silent {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        let label = Some("smi.sailhand.dev/default-deny=true");
        let denies = !self.0.list("v1", "Namespace", None, label).await?.is_empty();
        let ok = Answer { status: Some(200), backend: "app-b".to_owned(), ..Answer::default() };
        Ok((0..request.count).map(|_| if denies { Answer::failed(self.1) } else { ok.clone() }).collect())
    }

    fn name(&self) -> &'static str {
        "silent"
    }
}

#[tokio::test(start_paused = true)]
async fn dns_errors_and_timeouts_are_errors_and_never_denials() {
    for (text, reason) in [("lookup app-b: no such host", Reason::Dns), ("context deadline exceeded", Reason::Timeout)]
    {
        let memory = memory(SuiteKind::Smi);
        let mut suite = SuiteKind::Smi.suite();
        suite.select(&["TA-1.2.3".to_owned()]).unwrap();
        let driver = Silent(memory.clone(), text);
        let report = run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap();
        assert_eq!((report.cases[0].status, report.cases[0].reason), (Status::Error, Some(reason)), "{text}");
        assert_eq!(verdict(&report, "traffic_access_control").0, Capability::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_never_succeed_are_a_failed_control_and_no_denial() {
    let memory = memory(SuiteKind::Smi);
    let driver = Broken("connection reset by peer");
    let suite = SuiteKind::Smi.suite();
    let report = run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap();
    let judged: Vec<_> = report.cases.iter().filter(|case| case.evidence.requests_sent > 0).collect();
    assert!(judged.len() > 20 && judged.iter().all(|case| case.status != Status::Passed));
    let denied = report.cases.iter().find(|case| case.case_id == "TA-1.2.3").unwrap();
    assert_eq!((denied.status, denied.reason), (Status::Error, Some(Reason::Setup)));
}

/// Counts what is sent. With `flaps`, one of several repeated requests is answered wrongly.
struct Counting {
    plane: Simulated,
    sent: Mutex<usize>,
    flaps: bool,
}

#[async_trait]
impl TrafficDriver for Counting {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        *self.sent.lock().unwrap() += 1;
        let mut answers = self.plane.send(request).await?;
        if self.flaps && request.per_second > 0 {
            answers[0].status = Some(503);
        }
        Ok(answers)
    }

    fn name(&self) -> &'static str {
        "counting"
    }
}

async fn run_counting(flaps: bool) -> (RunReport, usize) {
    let kind = SuiteKind::GatewayApiMesh;
    let memory = memory(kind);
    let plane = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let driver = Counting { plane, sent: Mutex::default(), flaps };
    let report = run_with(memory.as_ref(), &driver, &guard(), &(), &options(kind.suite())).await.unwrap();
    let sent = *driver.sent.lock().unwrap();
    (report, sent)
}

#[tokio::test(start_paused = true)]
async fn each_check_of_a_conforming_plane_is_sent_once_after_one_look_at_its_phase() {
    let (report, sent) = run_counting(false).await;
    assert_eq!(not_passed(&report), Vec::<String>::new());
    let phases = SuiteKind::GatewayApiMesh.suite().cases.into_iter().flat_map(|case| case.phases);
    let of_phase = |phase: Phase| {
        let sends = phase.checks.iter().filter(|check| check.sends_requests()).count();
        // The first check of the phase of MeshBasic looks at the pods.
        if phase.control || matches!(phase.checks[0], Check::InMesh) { sends } else { sends + 1 }
    };
    assert_eq!(sent, phases.map(of_phase).sum::<usize>());
}

#[tokio::test(start_paused = true)]
async fn responses_that_do_not_stay_as_required_fail_a_case() {
    let (report, _) = run_counting(true).await;
    assert!(report.cases.iter().all(|case| case.status == Status::Failed), "{:?}", not_passed(&report));
    let case = report.cases.iter().find(|case| case.case_id == "MeshHTTPRouteMatching").unwrap();
    assert!(case.message.contains("503"), "{}", case.message);
    // A verdict names all checks of the phase, and not only the one that was repeated.
    assert_eq!(case.evidence.phases.last().unwrap().checks.len(), 9);
}

#[test]
fn no_two_gateway_api_cases_route_one_service() {
    let mut routed = BTreeSet::new();
    for case in SuiteKind::GatewayApiMesh.suite().cases {
        let services: BTreeSet<_> = case
            .phases
            .iter()
            .flat_map(|phase| &phase.changes)
            .filter_map(|change| match change {
                Change::Apply(route) => route["spec"]["parentRefs"][0]["name"].as_str().map(str::to_owned),
                _ => None,
            })
            .collect();
        assert!(services.len() == usize::from(case.id != "MeshBasic"), "{}: {services:?}", case.id);
        for service in services {
            assert!(routed.insert(service.clone()), "{}: {service}", case.id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_case_each_specification_and_the_run_have_one_event() {
    let memory = memory(SuiteKind::Smi);
    let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let events = CountedEvents::default();
    let suite = SuiteKind::Smi.suite();
    let cases = suite.cases.len();
    run_with(memory.as_ref(), &driver, &guard(), &events, &options(suite)).await.unwrap();
    assert_eq!(*events.0.lock().unwrap(), (cases, 4, 1));
}

#[tokio::test(start_paused = true)]
async fn target_without_mesh_or_crds_is_refused_before_anything_is_written() {
    let kind = SuiteKind::Smi;
    let other: Vec<_> = kind.suite().crds.iter().map(|(name, _)| (*name, "v1alpha1")).collect();
    for (memory, code) in
        [(Memory::default(), "SH3403"), (Memory::with_crds(&[]), "SH3404"), (Memory::with_crds(&other), "SH3405")]
    {
        let memory = Arc::new(memory);
        let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
        let error = run_with(memory.as_ref(), &driver, &guard(), &(), &options(kind.suite())).await.unwrap_err();
        assert_eq!(error.error.code().as_str(), code, "{}", error.error);
        assert!(error.report.is_none());
        assert!(memory.list("v1", "Namespace", None, None).await.unwrap().is_empty());
    }
}

fn left_behind(name: &str, run: &str, age: i64, kept: bool) -> serde_json::Value {
    let created = (Clock::system().now().unix_timestamp() - age).to_string();
    let mut labels = json!({"conformance.sailhand.dev/run": run, "conformance.sailhand.dev/created": created});
    if kept {
        labels["conformance.sailhand.dev/kept"] = json!("true");
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

#[tokio::test(start_paused = true)]
async fn namespaces_of_a_crashed_run_are_swept_by_label_and_age() {
    let memory = memory(SuiteKind::Smi);
    let own = "0123456789abcdef0123456789abcdef";
    for namespace in [
        left_behind("smi-conf-1-access", own, 10, false),
        left_behind("smi-conf-2-access", "other", 2 * 3600, false),
        left_behind("smi-conf-3-access", "other", 60, false),
        left_behind("smi-conf-4-access", "other", 2 * 3600, true),
        left_behind("shop", "other", 2 * 3600, false),
    ] {
        memory.put(namespace);
    }
    let mut suite = SuiteKind::Smi.suite();
    suite.select(&["TA-1.1.1".to_owned()]).unwrap();
    let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap();
    let left = memory.list("v1", "Namespace", None, None).await.unwrap();
    let names: Vec<_> = left.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop", "smi-conf-3-access", "smi-conf-4-access"]);
}

/// Cancels the run, or takes its lease, after some requests.
struct Stopping(Simulated, Guard, Mutex<u32>, bool);

#[async_trait]
impl TrafficDriver for Stopping {
    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        let sent = {
            let mut sent = self.2.lock().unwrap();
            *sent += 1;
            *sent
        };
        assert!(sent <= 20 + 8, "requests are sent after the stop");
        if sent == 20 {
            if self.3 { self.1.lose_lease() } else { self.1.cancel() }
        }
        self.0.send(request).await
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_run_sends_no_more_requests_and_deletes_its_namespaces_unless_the_lease_is_lost() {
    for is_lease_lost in [false, true] {
        let memory = memory(SuiteKind::Smi);
        let guard = guard();
        let simulated = Simulated::new(memory.clone(), Behavior::Conforming, 1);
        let driver = Stopping(simulated, guard.clone(), Mutex::new(0), is_lease_lost);
        let options = options(SuiteKind::Smi.suite());
        let incomplete = run_with(memory.as_ref(), &driver, &guard, &(), &options).await.unwrap_err();
        let report = incomplete.report.unwrap();
        assert_eq!(report.summary.phase, if is_lease_lost { "failed" } else { "cancelled" });
        let left = memory.list("v1", "Namespace", None, None).await.unwrap().len();
        assert_eq!(left > 0, is_lease_lost, "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_revision_is_refused_with_the_existing_ones() {
    let memory = memory(SuiteKind::Smi);
    let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let options = Options { revision: "1-30-3".to_owned(), ..options(SuiteKind::Smi.suite()) };
    let error = run_with(memory.as_ref(), &driver, &guard(), &(), &options).await.unwrap_err().error;
    assert_eq!(error.code().as_str(), "SH3403");
    assert_eq!(error.to_string(), "target test has no control plane of revision 1-30-3, only of default");
}

#[tokio::test(start_paused = true)]
async fn namespaces_have_the_labels_of_the_only_revision() {
    let memory = memory(SuiteKind::Smi);
    memory.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod", "istio.io/rev": "1-30-3"}},
        "spec": {"template": {"spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.30.3"}]}}},
    }));
    let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let mut suite = SuiteKind::Smi.suite();
    suite.select(&["TA-1.1.1".to_owned()]).unwrap();
    let options = Options { revision: String::new(), keep_namespace: true, ..options(suite) };
    let report = run_with(memory.as_ref(), &driver, &guard(), &(), &options).await.unwrap();
    assert_eq!(report.run.mesh.labels, [("istio.io/rev".to_owned(), "1-30-3".to_owned())].into());
    let namespaces = memory.list("v1", "Namespace", None, None).await.unwrap();
    assert!(!namespaces.is_empty());
    for namespace in namespaces {
        let labels = &namespace["metadata"]["labels"];
        assert_eq!((&labels["istio.io/rev"], labels.get("istio-injection")), (&json!("1-30-3"), None));
    }
}

#[tokio::test(start_paused = true)]
async fn image_that_cannot_be_pulled_ends_the_run_with_its_own_code() {
    /// Pods wait for their image.
    fn without_image(object: &mut serde_json::Value) {
        if object["kind"] == "Pod" {
            let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"echo:test\""});
            let statuses = json!([{"name": "echo", "image": "echo:test", "state": {"waiting": waiting}}]);
            object["status"] = json!({"phase": "Pending", "containerStatuses": statuses});
        }
    }

    let memory = Memory::with_crds(&SuiteKind::Smi.suite().crds);
    let environment = Altered { on_list: without_image, ..Altered::of(memory) };
    let options = options(SuiteKind::Smi.suite());
    let incomplete = run_with(&environment, &Broken("unused"), &guard(), &(), &options).await.unwrap_err();
    assert_eq!(incomplete.error.code().as_str(), "SH3406", "{}", incomplete.error);
    assert!(incomplete.error.to_string().contains("echo:test"), "{}", incomplete.error);
    assert!(environment.memory.list("v1", "Namespace", None, None).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn namespace_that_cannot_be_deleted_has_its_own_code_and_keeps_the_verdicts() {
    /// Namespaces name the reason why they stay.
    fn with_finalizers(object: &mut serde_json::Value) {
        if object["kind"] == "Namespace" {
            let message = "Some content in the namespace has finalizers remaining: example.com/never";
            object["status"] = json!({"conditions": [{"status": "True", "message": message}]});
        }
    }

    let memory = Memory::with_crds(&SuiteKind::Smi.suite().crds);
    let memory = Arc::new(Altered { on_list: with_finalizers, keeps_namespaces: true, ..Altered::of(memory) });
    let mut suite = SuiteKind::Smi.suite();
    suite.select(&["TA-1.1.1".to_owned()]).unwrap();
    let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let incomplete = run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap_err();
    assert_eq!(incomplete.error.code().as_str(), "SH3408", "{}", incomplete.error);
    assert!(incomplete.error.to_string().contains("example.com/never"), "{}", incomplete.error);
    assert_eq!(incomplete.report.unwrap().cases[0].status, Status::Passed);
}

#[tokio::test(start_paused = true)]
async fn reports_escape_texts_and_the_page_marks_simulated_runs() {
    let mut report = run(SuiteKind::GatewayApiMesh, Behavior::Conforming, &["MeshHTTPRouteWeight"]).await;
    let before = report.clone();
    report.cases[0].message = "<script>alert(1)</script> & \"quoted\"".to_owned();
    report.cases[0].status = Status::Failed;
    let page = html::render(&report);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    assert!(page.contains("This report says nothing about the cluster"), "{page}");
    assert!(page.contains("width=\"70\""), "the expected share is drawn: {page}");
    assert!(page.contains("<details open>"), "a failed case shows its evidence at once: {page}");
    let junit = junit::render(&report);
    assert!(
        junit.contains("<failure message=\"&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;\"/>"),
        "{junit}"
    );
    let yaml = conformance_report::render(&report).unwrap();
    assert!(yaml.contains("kind: ConformanceReport") && yaml.contains("not an official report"), "{yaml}");
    let differences = diff::compare(&before, &report);
    assert_eq!(differences.len(), 1);
    assert!(differences[0].is_regression && differences[0].what == "MeshHTTPRouteWeight");
}
