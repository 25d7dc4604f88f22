//! The calls of a Meshery server, to a real worker and a real API server.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use sailhand::bridge::kubeconfig;
use sailhand::bridge::proto::{
    ApplyRuleRequest, ComponentInfoRequest, CreateMeshInstanceRequest, EventType, MeshNameRequest, MeshVersionsRequest,
    SupportedOperationsRequest,
};
use sailhand::config::BridgeTarget;

use crate::bridge::{Bridge, Events};
use crate::mesh_settings;
use crate::support;
use crate::support::own_control_plane::ControlPlane;
use crate::support::worker::{WorkerEnv, unique_name};

/// The section that `sailhand bridge match` prints.
fn section(kubeconfig: &str) -> BridgeTarget {
    let facts = kubeconfig::read(kubeconfig).unwrap();
    let ca_sha256: Vec<_> = facts.ca_sha256.into_iter().collect();
    BridgeTarget {
        server: vec![facts.server.to_string()],
        server_only: ca_sha256.is_empty(),
        ca_sha256,
        ..BridgeTarget::default()
    }
}

fn request(key: &str, namespace: &str, kubeconfig: &str) -> ApplyRuleRequest {
    ApplyRuleRequest { kube_configs: vec![kubeconfig.to_owned()], ..crate::bridge::request(key, namespace) }
}

#[tokio::test]
async fn operations_of_meshery_are_executed_and_end_on_the_event_stream() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let kubeconfig = std::fs::read_to_string(support::control_plane::kubeconfig()).unwrap();
    let mut config = test_env.config.clone();
    config.bridge.targets.insert("dev".to_owned(), section(&kubeconfig));
    config.bridge.operations = ["label-namespace", "httpbin", "custom"].map(str::to_owned).to_vec();
    config.bridge.wait = Duration::from_mins(1);
    let bridge = Bridge::start(config).await;
    let mut client = bridge.client().await;

    // The order of the calls when a user connects an adapter.
    assert_eq!(client.mesh_name(MeshNameRequest {}).await.unwrap().into_inner().name, "ISTIO");
    let info = client.component_info(ComponentInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("adapter", "ISTIO"));
    let versions = client.mesh_versions(MeshVersionsRequest {}).await.unwrap().into_inner().version;
    assert_eq!(versions, ["1.30.3"]);
    let listed = client.supported_operations(SupportedOperationsRequest {}).await.unwrap().into_inner();
    let keys: Vec<_> = listed.ops.iter().map(|operation| operation.key.as_str()).collect();
    assert_eq!(keys, ["label-namespace", "httpbin", "custom"]);
    let create = CreateMeshInstanceRequest { k8s_config: kubeconfig.clone().into(), context_name: String::new() };
    client.create_mesh_instance(create).await.unwrap();

    let mut events = bridge.events().await;
    let space = unique_name("bridge");
    let mut end = async |request: ApplyRuleRequest| end_of(&bridge, &mut events, request).await;
    let deployed = end(request("httpbin", &space, &kubeconfig)).await;
    assert_eq!(deployed.event_type(), EventType::Info, "{deployed:?}");
    assert!(deployed.summary.contains(&format!("deployed in {space} on dev")), "{deployed:?}");
    let labeled = end(request("label-namespace", &space, &kubeconfig)).await;
    assert_eq!(labeled.summary, format!("Label updated on {space} namespace on dev"));
    let again = end(request("label-namespace", &space, &kubeconfig)).await;
    assert!(again.summary.ends_with("(no changes)"), "{again:?}");
    let broken = ApplyRuleRequest { custom_body: "kind: [".to_owned(), ..request("custom", &space, &kubeconfig) };
    let failed = end(broken).await;
    assert_eq!(failed.event_type(), EventType::Error, "{failed:?}");
    assert!(failed.error_code.starts_with("SH") && !failed.suggested_remediation.is_empty(), "{failed:?}");
    let removed = end(ApplyRuleRequest { delete_op: true, ..request("httpbin", &space, &kubeconfig) }).await;
    assert!(removed.summary.contains("removed on dev"), "{removed:?}");
}

async fn end_of(
    bridge: &Bridge,
    events: &mut Events,
    request: ApplyRuleRequest,
) -> sailhand::bridge::proto::EventsResponse {
    let operation_id = request.operation_id.clone();
    let accepted = bridge.client().await.apply_operation(request).await.unwrap().into_inner();
    assert_eq!((accepted.operation_id.as_str(), accepted.error.as_str()), (operation_id.as_str(), ""));
    events.end_of(&operation_id).await
}

#[tokio::test]
async fn istio_is_installed_and_removed_from_meshery() {
    if support::charts::are_missing() {
        return;
    }
    let plane = ControlPlane::start().await;
    let path = plane.kubeconfig();
    let test_env = WorkerEnv::on(support::nats::NatsServer::start().await, |config| {
        config.targets.get_mut("dev").unwrap().kubeconfig = Some(path.clone());
        config.charts = mesh_settings::settings();
        config.charts.source = support::charts::folder().to_string_lossy().into_owned();
    })
    .await;
    let admin = Kubeconfig::read_from(&path).unwrap();
    let admin = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
    let standin = tokio::spawn(support::istiod::without_validation(kube::Client::try_from(admin).unwrap()));
    let _worker = test_env.worker("w1").await;
    let kubeconfig = std::fs::read_to_string(&path).unwrap();
    let mut config = test_env.config.clone();
    config.bridge.targets.insert("dev".to_owned(), section(&kubeconfig));
    config.bridge.operations = ["istio", "istio:delete"].map(str::to_owned).to_vec();
    // The gateway's pod needs an injection webhook that answers, which no simulated node runs.
    config.bridge.wait = Duration::ZERO;
    let bridge = Bridge::start(config).await;
    let mut events = bridge.events().await;

    let mut install = request("istio", "default", &kubeconfig);
    install.version = "v1.0.0".to_owned(); // what Meshery sends for a model of another registrant
    let operation_id = install.operation_id.clone();
    bridge.client().await.apply_operation(install).await.unwrap();
    let warning = events.next().await;
    assert_eq!(warning.event_type(), EventType::Warn);
    assert!(warning.summary.contains("1.0.0") && warning.summary.contains("1.30.3"), "{warning:?}");
    let installed = events.end_of(&operation_id).await;
    assert_eq!(installed.event_type(), EventType::Info, "{installed:?}");
    assert!(installed.summary.starts_with("Istio service mesh 1.30.3 installed on dev"), "{installed:?}");
    assert!(installed.details.contains("mesh is now installed"), "{installed:?}");

    let remove = ApplyRuleRequest { delete_op: true, ..request("istio", "default", &kubeconfig) };
    let removed = end_of(&bridge, &mut events, remove).await;
    assert_eq!(removed.event_type(), EventType::Info, "{removed:?}");
    assert!(removed.summary.contains("removed on dev"), "{removed:?}");
    standin.abort();
}
