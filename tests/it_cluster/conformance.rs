//! Conformance runs on a real API server. Pods are simulated and have no proxy, so a driver in memory answers for them;
//! namespaces, objects and Events are real.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster_target::{context, unique, write, write_served};
use crate::support::cluster_env::ClusterEnv;
use async_trait::async_trait;
use futures::StreamExt as _;
use sailhand::cluster::{Cluster, ObjectRef};
use sailhand::conformance::Error;
use sailhand::conformance::environment::Environment;
use sailhand::conformance::exec::Exec;
use sailhand::conformance::kubernetes::Kubernetes;
use sailhand::conformance::model::{Capability, Compliance, RunReport, Status};
use sailhand::conformance::runner::{self, Context, DataPlane, Options};
use sailhand::conformance::simulated::{Behavior, Simulated};
use sailhand::conformance::suite::{SuiteKind, get};
use sailhand::conformance::traffic::TrafficDriver as _;
use sailhand::error::Classify as _;
use sailhand::guard::Guard;
use sailhand::task::{Registry, TaskContext};
use serde_json::{Value, json};

/// The real cluster, whose pods seem to have a sidecar and to be redirected to ztunnel. Its waypoints seem to be ready.
struct Injected {
    cluster: Arc<Cluster>,
    guard: Guard,
}

impl Injected {
    fn real(&self) -> Kubernetes<'_> {
        Kubernetes { cluster: &self.cluster, guard: &self.guard }
    }
}

#[async_trait]
impl Environment for Injected {
    async fn apply(&self, object: &Value) -> Result<Value, Error> {
        self.real().apply(object).await
    }
    async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        self.real().delete(object).await
    }
    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Error> {
        let mut found = self.real().get(object).await?;
        if let Some(gateway) = found.as_mut().filter(|_| object.kind == "Gateway") {
            gateway["status"] = json!({"conditions": [{"type": "Programmed", "status": "True"}]});
        }
        Ok(found)
    }
    async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Vec<Value>, Error> {
        let mut found = self.real().list(api_version, kind, namespace, labels).await?;
        for pod in found.iter_mut().filter(|object| object["kind"] == "Pod") {
            pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "image": "proxyv2"}));
            pod["metadata"]["annotations"]["ambient.istio.io/redirection"] = json!("enabled");
        }
        Ok(found)
    }
    async fn version(&self) -> Result<String, Error> {
        self.real().version().await
    }
}

fn crd(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

/// A control plane of a revision of its own, and the CRDs of SMI.
async fn prepare(cx: &TaskContext) -> String {
    let revision = unique("conf");
    write(cx, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": revision}})).await;
    write(cx, json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": revision, "labels": {"app": "istiod", "istio.io/rev": revision}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "istiod"}}, "template": {
            "metadata": {"labels": {"app": "istiod"}},
            "spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.30.3"}]},
        }},
    }))
    .await;
    for (group, version, kind, plural) in [
        ("access.smi-spec.io", "v1alpha3", "TrafficTarget", "traffictargets"),
        ("specs.smi-spec.io", "v1alpha4", "HTTPRouteGroup", "httproutegroups"),
        ("specs.smi-spec.io", "v1alpha4", "TCPRoute", "tcproutes"),
        ("specs.smi-spec.io", "v1alpha4", "UDPRoute", "udproutes"),
        ("split.smi-spec.io", "v1alpha4", "TrafficSplit", "trafficsplits"),
        ("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
    ] {
        write_served(cx, crd(group, version, kind, plural)).await;
    }
    revision
}

fn options(cx: &TaskContext, revision: &str, cases: &[&str]) -> Options {
    let mut suite = SuiteKind::Smi.suite();
    suite.select(&cases.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()).unwrap();
    Options {
        run_id: cx.key.to_string(),
        attempt: 1,
        target: "test".to_owned(),
        suite,
        data_plane: DataPlane::Sidecar,
        revision: revision.to_owned(),
        image: "echo:test".to_owned(),
        phase_timeout: Duration::from_secs(20),
        ready_timeout: Duration::from_mins(1),
        parallel: 4,
        keep_namespace: false,
    }
}

/// Runs with the simulated driver.
async fn run(cx: &TaskContext, options: &Options) -> RunReport {
    let environment = Arc::new(Injected { cluster: cx.cluster().await.unwrap(), guard: cx.guard.clone() });
    let driver = Simulated::new(environment.clone(), Behavior::Conforming, 1);
    let context = Context {
        environment: environment.as_ref(),
        driver: &driver,
        guard: &cx.guard,
        events: &(),
        progress: &(),
        clock: cx.clock,
    };
    runner::run(&context, options).await.unwrap()
}

async fn namespaces_of(cx: &TaskContext) -> Vec<Value> {
    let cluster = cx.cluster().await.unwrap();
    let environment = Kubernetes { cluster: &cluster, guard: &cx.guard };
    let label = format!("conformance.sailhand.dev/run={}", cx.key);
    environment.list("v1", "Namespace", None, Some(&label)).await.unwrap()
}

#[tokio::test]
async fn smi_run_on_a_real_api_server_judges_and_leaves_nothing() {
    let (cx, _) = context("conformance", 1);
    let revision = prepare(&cx).await;
    let options = options(&cx, &revision, &[]);
    let report = run(&cx, &options).await;
    let wrong: Vec<_> = report
        .cases
        .iter()
        .filter(|case| !matches!(case.status, Status::Passed | Status::NotSupported))
        .map(|case| format!("{}: {}", case.case_id, case.message))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((report.specs[2].capability, report.specs[2].compliance), (Capability::Full, Compliance::Pass));
    assert_eq!(report.run.mesh.version, "1.30.3");
    assert!(namespaces_of(&cx).await.is_empty());
}

#[tokio::test]
async fn ambient_run_on_a_real_api_server_has_waypoints_and_leaves_nothing() {
    let (cx, _) = context("conformance", 1);
    let revision = prepare(&cx).await;
    let cases = ["TA-1.2.5", "TSC-1.2.6", "TS-1.2.5"];
    let options = Options { data_plane: DataPlane::Ambient, ..options(&cx, &revision, &cases) };
    let report = run(&cx, &options).await;
    assert!(report.cases.iter().all(|case| case.status == Status::Passed), "{:?}", report.cases);
    assert_eq!(report.run.mesh.labels, [("istio.io/dataplane-mode".to_owned(), "ambient".to_owned())].into());
    assert!(namespaces_of(&cx).await.is_empty());
}

#[tokio::test]
async fn changed_object_is_noticed_by_a_watch() {
    let (cx, _) = context("conformance", 1);
    let cluster = cx.cluster().await.unwrap();
    let environment = Kubernetes { cluster: &cluster, guard: &cx.guard };
    let namespace = unique("conf");
    let labels = format!("run={namespace}");
    let mut changes = environment.changes("v1", "Namespace", None, Some(&labels));
    let soon = Duration::from_secs(30);
    tokio::time::timeout(soon, changes.next()).await.expect("the first list");
    let object = |text: &str| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": namespace, "labels": {"run": namespace}, "annotations": {"text": text},
        }})
    };
    for text in ["created", "changed"] {
        environment.apply(&object(text)).await.unwrap();
        tokio::time::timeout(soon, changes.next()).await.expect(text).unwrap();
    }
}

#[tokio::test]
async fn namespaces_of_a_crashed_attempt_are_deleted_by_the_next() {
    let (cx, _) = context("conformance", 1);
    let revision = prepare(&cx).await;
    let name = unique("smi-conf");
    write(
        &cx,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
            "conformance.sailhand.dev/run": cx.key.to_string(), "conformance.sailhand.dev/created": "1700000000",
        }}}),
    )
    .await;
    let options = options(&cx, &revision, &["TA-1.1.1"]);
    run(&cx, &options).await;
    crate::support::eventually::eventually("the namespace is gone", Duration::from_mins(1), async || {
        namespaces_of(&cx).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn pods_without_a_proxy_end_the_run_and_leave_nothing() {
    let (cx, _) = context("conformance", 1);
    let revision = prepare(&cx).await;
    let params = json!({"suite": "smi", "revision": revision, "cases": ["TA-1.2.3"]});
    let failure = Registry::standard().get("conformance.run").unwrap().run(&cx, params).await.unwrap_err();
    assert_eq!(failure.error.code().as_str(), "SH3410", "{}", failure.error);
    crate::support::eventually::eventually("the namespaces are gone", Duration::from_mins(1), async || {
        namespaces_of(&cx).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn exec_without_the_right_ends_the_run_with_its_own_code() {
    let test_env = ClusterEnv::new("exec").await;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app-a-5d4b8c7f9-x2x4z", "namespace": test_env.namespace},
    });
    pod["spec"] = json!({"containers": [{"name": "echo", "image": "echo:test"}]});
    test_env.seed("test", &pod).await;
    let limited = test_env.limited(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]}])).await;
    let guard = crate::cluster_target::guard(1);
    let driver = Exec::new(&limited, &guard);
    let request = sailhand::conformance::traffic::Request {
        namespace: test_env.namespace.clone(),
        ..get("app-a", "app-b", 9091, "/echo")
    };
    let error = driver.send(&request).await.unwrap_err();
    assert!(error.ends_run(), "{error}");
    assert_eq!(error.code().as_str(), "SH3407", "{error}");
}
