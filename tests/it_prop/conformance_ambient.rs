//! Conformance runs in ambient mode, on a simulated cluster and data plane.

use std::collections::BTreeSet;
use std::sync::Arc;

use sailhand::conformance::environment::Memory;
use sailhand::conformance::model::RunReport;
use sailhand::conformance::runner::{DataPlane, Incomplete, Options};
use sailhand::conformance::simulated::{Behavior, Simulated};
use sailhand::conformance::suite::SuiteKind;
use sailhand::error::Classify as _;

use crate::conformance::{Altered, guard, not_passed, options, run_with};

/// Runs a whole suite in ambient mode.
async fn run_in_ambient_mode(kind: SuiteKind, has_gateway_api: bool) -> (Arc<Altered>, Result<RunReport, Incomplete>) {
    let mut crds = kind.suite().crds;
    if has_gateway_api {
        crds.push(("gateways.gateway.networking.k8s.io", "v1"));
    }
    let environment = Arc::new(Altered::of(Memory::with_crds(&crds)));
    let driver = Simulated::new(environment.clone(), Behavior::Conforming, 1);
    let options = Options { data_plane: DataPlane::Ambient, ..options(kind.suite()) };
    let done = run_with(environment.as_ref(), &driver, &guard(), &(), &options).await;
    (environment, done)
}

#[tokio::test(start_paused = true)]
async fn ambient_runs_have_a_waypoint_where_http_is_judged() {
    let (environment, done) = run_in_ambient_mode(SuiteKind::Smi, true).await;
    assert_eq!(not_passed(&done.unwrap()), Vec::<String>::new());
    let applied = environment.applied.lock().unwrap().clone();
    let of = |kind: &str| applied.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let gateways: BTreeSet<_> = of("Gateway").into_iter().map(|one| one["metadata"]["namespace"].to_string()).collect();
    assert_eq!(gateways.len(), 2, "routes and split: {gateways:?}");
    for namespace in of("Namespace") {
        let labels = &namespace["metadata"]["labels"];
        assert_eq!(labels["istio.io/dataplane-mode"], "ambient");
        let uses = labels["istio.io/use-waypoint"] == "waypoint";
        assert_eq!(uses, gateways.contains(&namespace["metadata"]["name"].to_string()), "{namespace}");
    }
    let (_, done) = run_in_ambient_mode(SuiteKind::GatewayApiMesh, true).await;
    assert_eq!(not_passed(&done.unwrap()), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn ambient_run_without_the_gateway_api_is_refused_before_anything_is_written() {
    let (environment, done) = run_in_ambient_mode(SuiteKind::Smi, false).await;
    let error = done.unwrap_err().error;
    assert_eq!(error.code().as_str(), "SH3404", "{error}");
    assert!(error.to_string().contains("gateways.gateway.networking.k8s.io"), "{error}");
    assert!(environment.applied.lock().unwrap().is_empty());
}
