//! `conformance.run` through a real bus and a real worker: its events, its result, and bad input.

use crate::support::worker::WorkerEnv;
use sailhand::conformance::model::{Capability, Compliance, RunReport, Status};
use sailhand::event::{EventKind, Outcome};
use serde_json::json;

#[tokio::test]
async fn simulated_run_publishes_cases_verdicts_and_summary_and_touches_nothing() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let key =
        test_env.send("gone", "conformance.run", json!({"suite": "gateway-api-mesh", "driver": "simulated"})).await;
    test_env
        .event(&key, |kind| match kind {
            EventKind::ConformanceCase(event) => {
                event.case.case_id == "MeshHTTPRouteWeight"
                    && event.case.status == Status::Passed
                    && event.run.run_id == key.as_str()
            }
            _ => false,
        })
        .await;
    test_env
        .event(&key, |kind| matches!(kind, EventKind::ConformanceSpec(event) if event.spec.spec == "mesh_grpc"))
        .await;
    test_env
        .event(&key, |kind| matches!(kind, EventKind::ConformanceSummary(event) if event.summary.phase == "completed"))
        .await;
    let result = test_env.result(&key).await;
    assert_eq!((result.outcome, result.changed), (Outcome::Succeeded, false), "{:?}", result.error);
    let report: RunReport = serde_json::from_value(result.report.unwrap()).unwrap();
    assert_eq!((report.run.driver.as_str(), report.cases.len()), ("simulated", 15));
    assert!(report.specs.iter().all(|spec| (spec.capability, spec.compliance) == (Capability::Full, Compliance::Pass)));
}

#[tokio::test]
async fn bad_input_ends_with_its_own_code_before_anything_is_written() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    for (params, outcome, code) in [
        (json!({"suite": "smy"}), Outcome::Rejected, "SH3401"),
        (json!({"suite": "smi", "cases": ["TA-9"]}), Outcome::Rejected, "SH3402"),
        (json!({"suite": "smi", "timeout": "11m"}), Outcome::Rejected, "SH1005"),
        (json!({"suite": "smi", "revision": "no-such-revision"}), Outcome::Failed, "SH3403"),
    ] {
        let result = test_env.run("dev", "conformance.run", params.clone()).await;
        let error = result.error.unwrap();
        assert_eq!((result.outcome, result.changed, error.code.as_str()), (outcome, false, code), "{params}: {error}");
    }
}
