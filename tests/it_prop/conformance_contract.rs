//! The SMI suite through workloads with the contract of Meshery's learn-layer5, on simulated data planes.

use async_trait::async_trait;
use sailhand::conformance::Error;
use sailhand::conformance::contract::{Contract, Endpoint, Reply, Workloads};
use sailhand::conformance::environment::Environment as _;
use sailhand::conformance::model::{Capability, Compliance, RunReport, Status};
use sailhand::conformance::simulated::{Behavior, MUTANTS, Simulated, SimulatedWorkloads};
use sailhand::conformance::suite::SuiteKind;
use sailhand::error::Classify as _;

use crate::conformance::{guard, memory, not_passed, options, run_with, verdict};

/// Runs cases of SMI through workloads with the contract of learn-layer5.
async fn run_by_contract(behavior: Behavior, features: &[&str]) -> RunReport {
    let mut suite = SuiteKind::Smi.suite();
    suite.cases.retain(|case| features.is_empty() || features.contains(&case.feature));
    let memory = memory(SuiteKind::Smi);
    let plane = Simulated::new(memory.clone(), behavior, 1);
    let driver = Contract::new(SimulatedWorkloads::new(memory.clone(), plane));
    run_with(memory.as_ref(), &driver, &guard(), &(), &options(suite)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn contract_of_learn_layer5_gives_the_verdicts_of_the_echo_client() {
    let report = run_by_contract(Behavior::Conforming, &[]).await;
    assert_eq!(not_passed(&report), Vec::<String>::new());
    assert_eq!(verdict(&report, "traffic_split"), (Capability::Full, Compliance::Pass));
    assert_eq!(verdict(&report, "traffic_access_control"), (Capability::Partial, Compliance::Pass));
    let shares = report.cases.iter().find(|case| case.case_id == "TS-1.2.9").unwrap();
    assert_eq!(shares.evidence.by_backend.keys().collect::<Vec<_>>(), ["app-b", "app-c"]);
}

#[tokio::test(start_paused = true)]
async fn wrong_data_planes_fail_through_the_contract_too() {
    let features = [
        "default_deny",
        "deny_other_source",
        "tcp_ports",
        "revoke",
        "path",
        "method",
        "header_exact",
        "all_or_nothing",
    ];
    for info in MUTANTS.iter().filter(|info| info.suite == "smi" && features.contains(&info.feature)) {
        let report = run_by_contract(Behavior::Broken(info.mutant), &[info.feature]).await;
        let is_caught = report.cases.iter().any(|case| case.status == Status::Failed);
        assert!(is_caught, "{}: {:?}", info.defect, not_passed(&report));
    }
    let report = run_by_contract(Behavior::Ignoring, &["default_deny", "weighted"]).await;
    assert!(report.cases.iter().all(|case| case.status != Status::Passed), "{:?}", not_passed(&report));
}

#[tokio::test(start_paused = true)]
async fn workload_without_the_contract_ends_the_run_with_its_own_code() {
    /// Serves other paths.
    struct Other(SimulatedWorkloads);

    #[async_trait]
    impl Workloads for Other {
        async fn endpoints(&self, namespace: &str) -> Result<Vec<Endpoint>, Error> {
            self.0.endpoints(namespace).await
        }
        async fn http(&self, to: &Endpoint, method: &str, path: &str, body: String) -> Result<Reply, Error> {
            self.0.http(to, method, &format!("/other{path}"), body).await
        }
        fn name(&self) -> &'static str {
            "other"
        }
    }

    let memory = memory(SuiteKind::Smi);
    let plane = Simulated::new(memory.clone(), Behavior::Conforming, 1);
    let driver = Contract::new(Other(SimulatedWorkloads::new(memory.clone(), plane)));
    let options = options(SuiteKind::Smi.suite());
    let incomplete = run_with(memory.as_ref(), &driver, &guard(), &(), &options).await.unwrap_err();
    assert_eq!(incomplete.error.code().as_str(), "SH3412", "{}", incomplete.error);
    assert!(incomplete.error.to_string().contains("DELETE /metrics answers 404"), "{}", incomplete.error);
    assert!(memory.list("v1", "Namespace", None, None).await.unwrap().is_empty());
}
