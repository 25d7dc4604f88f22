//! `bridge.probe` against a real API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sailhand::bridge::proto::ApplyRuleRequest;
use sailhand::config::BridgeTarget;
use tonic::Code;

use crate::bridge::{BridgeEnv, kubeconfig, request};
use crate::support;

async fn uid() -> String {
    let config = kube::config::Kubeconfig::read_from(support::control_plane::kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await.unwrap();
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(kube::Client::try_from(config).unwrap());
    namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn probe_recognizes_a_cluster_by_its_uid_and_asks_no_other_address() {
    let text = std::fs::read_to_string(support::control_plane::kubeconfig()).unwrap();
    let server = sailhand::bridge::kubeconfig::read(&text).unwrap().server.to_string();
    let uid = uid().await;
    // Another address of the sender's choice, which counts connections.
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = listener.local_addr().unwrap();
    let counter = asked.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let test_env = BridgeEnv::new().await;
    let target = |uid: &str| BridgeTarget {
        server: vec![server.clone()],
        cluster_uid: Some(uid.to_owned()),
        ..BridgeTarget::default()
    };
    let bridge = |probe: bool, uid: String| {
        let target = target(&uid);
        test_env.bridge(move |bridge| {
            bridge.probe = probe;
            bridge.targets.insert("dev".to_owned(), target);
        })
    };
    let call = |text: &str| ApplyRuleRequest { kube_configs: vec![text.to_owned()], ..request("bookinfo", "shop") };
    let code = async |bridge: &crate::bridge::Bridge, text: &str| {
        let applied = bridge.client().await.apply_operation(call(text)).await;
        applied.map_or_else(|status| status.code(), |_| Code::Ok)
    };

    let without = bridge(false, uid.clone()).await;
    assert_eq!(code(&without, &text).await, Code::FailedPrecondition, "the address alone does not suffice");
    let with = bridge(true, uid.clone()).await;
    assert_eq!(code(&with, &text).await, Code::Ok);
    assert_eq!(test_env.command().await.origin.target.as_str(), "dev");
    // No credentials, and an address that is not configured.
    let anonymous = text.replace("client-key-data", "other-data");
    assert_eq!(code(&with, &anonymous).await, Code::FailedPrecondition);
    assert_eq!(code(&with, &kubeconfig(&format!("https://{other}"))).await, Code::FailedPrecondition);
    let another = bridge(true, "00000000-0000-0000-0000-000000000000".to_owned()).await;
    assert_eq!(code(&another, &text).await, Code::FailedPrecondition, "another cluster behind the address");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert!(test_env.next_command(Duration::from_millis(500)).await.is_none());
    for log in [with.log(), another.log()] {
        assert!(!log.contains("PRIVATE KEY") && !log.contains(crate::bridge::CANARY), "{log}");
    }
}
