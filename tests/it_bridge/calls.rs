//! What a call publishes, and with which status it is refused.

use std::time::Duration;

use sailhand::bridge::proto::{
    ApplyRuleRequest, EventType, EventsResponse, ProcessOamRequest, ProvisionRequest, SupportedOperationsRequest,
};
use sailhand::config::Bridge as Settings;
use sailhand::error::Problem;
use sailhand::event::params::ParamsValidator;
use sailhand::event::{Outcome, ResultData};
use sailhand::task::Registry;
use serde_json::{Value, json};
use tonic::Code;

use crate::bridge::{BridgeEnv, kubeconfig, request};
use crate::support::worker::succeeded;

const ALL: [&str; 17] = [
    "istio",
    "istio:delete",
    "label-namespace",
    "prometheus-addon",
    "grafana-addon",
    "kiali-addon",
    "jaeger-addon",
    "zipkin-addon",
    "istio-vet",
    "deny-all-policy-operation",
    "strict-mtls-policy-operation",
    "mutual-mtls-policy-operation",
    "disable-mtls-policy-operation",
    "bookinfo",
    "httpbin",
    "custom",
    "smi_conformance",
];

fn allow_all(bridge: &mut Settings) {
    bridge.operations = ALL.map(str::to_owned).to_vec();
}

fn failed(message: &str) -> ResultData {
    let error = Problem {
        code: "SH3007".to_owned(),
        class: "terminal".to_owned(),
        message: message.to_owned(),
        causes: vec!["a cause".to_owned()],
        remedy: "Do this.".to_owned(),
    };
    ResultData { outcome: Outcome::Failed, error: Some(error), ..succeeded() }
}

#[tokio::test]
async fn each_listed_operation_and_its_reverse_is_a_valid_command() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(allow_all).await;
    let registry = Registry::standard();
    let mut client = bridge.client().await;
    let listed = client.supported_operations(SupportedOperationsRequest {}).await.unwrap().into_inner().ops;
    assert_eq!(listed.len(), 16);
    for operation in listed {
        for delete_op in [false, true] {
            let mut call = ApplyRuleRequest { delete_op, ..request(&operation.key, "shop") };
            call.custom_body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n".to_owned();
            let operation_id = call.operation_id.clone();
            client.apply_operation(call).await.unwrap();
            let command = test_env.command().await;
            let verb = &command.origin.verb;
            let schema = registry.get(verb).unwrap_or_else(|| panic!("{verb}")).params_schema();
            let checked = ParamsValidator::new(&schema).unwrap().check(&command.params);
            assert!(checked.is_ok(), "{} {delete_op}: {verb} {}: {checked:?}", operation.key, command.params);
            assert_eq!(command.origin.correlation, operation_id);
            assert_eq!(command.origin.source, "urn:sailhand:meshery:meshery/jane%40example%2Ecom");
            assert!(command.expiry.is_some());
        }
    }
}

#[tokio::test]
async fn refusals_have_a_status_a_code_and_publish_nothing() {
    let test_env = BridgeEnv::new().await;
    let bridge =
        test_env.bridge(|bridge| bridge.operations = ["bookinfo", "custom", "istio"].map(str::to_owned).to_vec()).await;
    let mut client = bridge.client().await;
    let with = |set: &dyn Fn(&mut ApplyRuleRequest)| {
        let mut call = request("bookinfo", "shop");
        set(&mut call);
        call
    };
    for (call, code, text) in [
        (with(&|it| it.op_name = "bookinfos".to_owned()), Code::Unimplemented, "did you mean bookinfo?"),
        (with(&|it| it.op_name = "imagehub".to_owned()), Code::Unimplemented, "SH3601"),
        (with(&|it| it.op_name = "httpbin".to_owned()), Code::PermissionDenied, "SH3602"),
        (with(&|it| it.kube_configs = Vec::new()), Code::FailedPrecondition, "select a cluster"),
        (with(&|it| it.kube_configs.push(kubeconfig("https://other"))), Code::FailedPrecondition, "https://other:443"),
        (with(&|it| it.kube_configs = vec!["{".to_owned()]), Code::InvalidArgument, "SH3604"),
        (with(&|it| it.namespace = "A B".to_owned()), Code::InvalidArgument, "namespace"),
        (with(&|it| it.operation_id = "a b".to_owned()), Code::InvalidArgument, "operation_id"),
        (with(&|it| it.op_name = "custom".to_owned()), Code::InvalidArgument, "custom_body"),
        (
            with(&|it| {
                it.op_name = "istio".to_owned();
                it.delete_op = true;
            }),
            Code::PermissionDenied,
            "istio:delete",
        ),
    ] {
        let key = call.op_name.clone();
        let status = client.apply_operation(call).await.unwrap_err();
        assert!(status.code() == code && status.message().contains(text), "{key}: {status:?}");
        assert!(status.message().starts_with("SH"), "{status:?}");
    }
    assert!(test_env.next_command(Duration::from_secs(1)).await.is_none());
}

#[tokio::test]
async fn repeated_operation_id_is_the_same_command() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let call = request("bookinfo", "shop");
    let mut client = bridge.client().await;
    for _ in 0..3 {
        client.apply_operation(call.clone()).await.unwrap();
    }
    test_env.command().await;
    assert!(test_env.next_command(Duration::from_secs(1)).await.is_none());
}

#[tokio::test]
async fn operation_on_two_clusters_has_one_closing_event() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let mut events = bridge.events().await;
    for (result, kind, text) in [
        (succeeded(), EventType::Info, "completed on 2 clusters"),
        (failed("no access"), EventType::Error, "failed on 1 of 2 clusters"),
    ] {
        let mut call = request("istio", "default");
        call.kube_configs = vec![kubeconfig("https://dev"), kubeconfig("https://prod"), kubeconfig("https://DEV:443/")];
        let operation_id = call.operation_id.clone();
        bridge.client().await.apply_operation(call).await.unwrap();
        let (first, second) = (test_env.command().await, test_env.command().await);
        test_env.end(&first, succeeded()).await;
        let event = events.next().await;
        assert!(event.summary.contains("installed on ") && !event.details.contains("now installed"), "{event:?}");
        test_env.end(&second, result).await;
        let event = events.next().await;
        assert_eq!((event.event_type(), event.operation_id.as_str()), (kind, operation_id.as_str()));
        let closing = events.next().await;
        assert_eq!((closing.event_type(), closing.operation_id.as_str()), (kind, operation_id.as_str()));
        assert!(closing.summary.contains(text), "{closing:?}");
        assert_eq!(closing.details.contains("mesh is now installed"), kind == EventType::Info, "{closing:?}");
    }
    events.is_silent(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn findings_of_an_analysis_and_the_conformance_report_reach_meshery() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(allow_all).await;
    let mut events = bridge.events().await;
    let report = json!({"findings": [
        {"code": "IST0101", "message": "Referenced host not found: error", "severity": "error", "resource": "a"},
        {"code": "IST0102", "message": "Not labeled", "severity": "info", "resource": "b"},
    ]});
    bridge.client().await.apply_operation(request("istio-vet", "default")).await.unwrap();
    test_env.end(&test_env.command().await, ResultData { report: Some(report), ..succeeded() }).await;
    let found = [events.next().await, events.next().await, events.next().await];
    let kinds = found.each_ref().map(EventsResponse::event_type);
    assert_eq!(kinds, [EventType::Warn, EventType::Info, EventType::Info], "{found:?}");
    assert!(found[2].summary.contains("2 findings"), "{found:?}");

    let legacy = json!({"id": "1", "mesh_name": "Istio", "more_details": []});
    bridge.client().await.apply_operation(request("smi_conformance", "default")).await.unwrap();
    let report = json!({"legacy": legacy});
    test_env.end(&test_env.command().await, ResultData { report: Some(report), ..succeeded() }).await;
    let event = events.next().await;
    assert_eq!(event.summary, "Smi conformance test completed successfully");
    assert_eq!(serde_json::from_str::<Value>(&event.details).unwrap(), legacy);
}

#[tokio::test]
async fn designs_are_deployed_component_by_component() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(allow_all).await;
    let virtual_service = json!({
        "component": {"kind": "VirtualService", "version": "networking.istio.io/v1"}, "displayName": "shop",
        "configuration": {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"hosts": ["shop"]}},
    });
    let mesh = json!({"component": {"kind": "IstioMesh", "version": "v1"}, "displayName": "mesh"});
    let design = ProvisionRequest {
        username: "jane".to_owned(),
        delete_op: false,
        declarations: vec![mesh.to_string(), virtual_service.to_string()],
        kube_configs: vec![kubeconfig("https://dev")],
    };
    let mut client = bridge.client().await;
    let call = tokio::spawn({
        let design = design.clone();
        let mut client = client.clone();
        async move { client.provision(design).await }
    });
    for verb in ["mesh.install", "config.apply"] {
        let command = test_env.command().await;
        assert_eq!(command.origin.verb, verb);
        test_env.end(&command, succeeded()).await;
    }
    let message = call.await.unwrap().unwrap().into_inner().message;
    assert!(message.contains("IstioMesh mesh on dev: ") && message.contains("VirtualService shop on dev"), "{message}");

    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.provision(design).await }
    });
    test_env.end(&test_env.command().await, failed("no access")).await;
    let status = call.await.unwrap().unwrap_err();
    assert!(status.code() == Code::Aborted && status.message().contains("SH3007: no access"), "{status:?}");
    assert!(test_env.next_command(Duration::from_secs(1)).await.is_none(), "the next component is not deployed");

    let oam = ProcessOamRequest {
        username: "jane".to_owned(),
        delete_op: false,
        oam_comps: vec!["{".to_owned()],
        oam_config: String::new(),
        kube_configs: vec![kubeconfig("https://dev")],
    };
    let status = client.process_oam(oam).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("component 1"), "{status:?}");
}

#[tokio::test]
async fn lost_bus_is_unavailable_in_calls_and_health_service() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;

    let mut test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", bridge.address)).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut until = async |wanted: ServingStatus| {
        let request = HealthCheckRequest { service: "meshes.MeshService".to_owned() };
        let mut changes = health.watch(request).await.unwrap().into_inner();
        loop {
            let change = tokio::time::timeout(crate::bridge::PATIENCE, changes.message()).await;
            if change.unwrap().unwrap().unwrap().status() == wanted {
                return;
            }
        }
    };
    until(ServingStatus::Serving).await;
    test_env.nats.kill();
    until(ServingStatus::NotServing).await;
    let status = bridge.client().await.apply_operation(request("bookinfo", "shop")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    test_env.nats.restart().await;
    until(ServingStatus::Serving).await;
    bridge.client().await.apply_operation(request("bookinfo", "shop")).await.unwrap();
}
