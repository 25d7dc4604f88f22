//! Conformance runs in ambient mode, on a simulated cluster and data plane.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sailhand::conformance::Error;
use sailhand::conformance::environment::{Environment, Memory};
use sailhand::conformance::model::RunReport;
use sailhand::conformance::runner::{DataPlane, Incomplete, Options};
use sailhand::conformance::simulated::{Behavior, Simulated};
use sailhand::conformance::suite::SuiteKind;
use sailhand::error::Classify as _;

use crate::conformance::{guard, not_passed, options, run_with};

/// Remembers what was applied.
struct Recorded(Memory, Mutex<Vec<serde_json::Value>>);

#[async_trait]
impl Environment for Recorded {
    async fn apply(&self, object: &serde_json::Value) -> Result<serde_json::Value, Error> {
        self.1.lock().unwrap().push(object.clone());
        self.0.apply(object).await
    }
    async fn delete(&self, object: &sailhand::cluster::ObjectRef) -> Result<(), Error> {
        self.0.delete(object).await
    }
    async fn get(&self, object: &sailhand::cluster::ObjectRef) -> Result<Option<serde_json::Value>, Error> {
        self.0.get(object).await
    }
    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, Error> {
        self.0.list(api_version, kind, namespace, labels).await
    }
    async fn version(&self) -> Result<String, Error> {
        self.0.version().await
    }
}

/// Runs a whole suite in ambient mode.
async fn run_in_ambient_mode(kind: SuiteKind, has_gateway_api: bool) -> (Arc<Recorded>, Result<RunReport, Incomplete>) {
    let mut crds = kind.suite().crds;
    if has_gateway_api {
        crds.push(("gateways.gateway.networking.k8s.io", "v1"));
    }
    let environment = Arc::new(Recorded(Memory::with_crds(&crds), Mutex::default()));
    let driver = Simulated::new(environment.clone(), Behavior::Conforming, 1);
    let options = Options { data_plane: DataPlane::Ambient, ..options(kind.suite()) };
    let done = run_with(environment.as_ref(), &driver, &guard(), &(), &options).await;
    (environment, done)
}

#[tokio::test(start_paused = true)]
async fn ambient_runs_have_a_waypoint_where_http_is_judged() {
    let (environment, done) = run_in_ambient_mode(SuiteKind::Smi, true).await;
    assert_eq!(not_passed(&done.unwrap()), Vec::<String>::new());
    let applied = environment.1.lock().unwrap().clone();
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
    assert!(environment.1.lock().unwrap().is_empty());
}
