//! The listener with mutual TLS, and the permissions of client certificates.

use std::path::Path;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use sailhand::bridge::proto::mesh_service_client::MeshServiceClient;
use sailhand::bridge::proto::{EventsRequest, MeshNameRequest, SupportedOperationsRequest};
use sailhand::config::{self, BridgeClient, MutualTls};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::bridge::{BridgeEnv, Events, kubeconfig, request};
use crate::support::certificates::{Authority, authority, issue};
use crate::support::eventually::eventually;
use crate::support::worker::succeeded;

const SPIFFE: &str = "spiffe://cluster.local/ns/ci/sa/deployer";

/// Adds the listener, with files in `folder`.
fn with_tls(authority: &Authority, folder: &Path, bridge: &mut config::Bridge) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = issue(authority, ExtendedKeyUsagePurpose::ServerAuth, "localhost");
    bridge.tls = Some(MutualTls {
        listen: ([127, 0, 0, 1], 0).into(),
        cert_file: write("server.pem", &cert),
        key_file: write("server.key", &key),
        client_ca_file: write("ca.pem", &authority.pem()),
    });
}

/// Connects with a certificate of `issuer`, or without any.
async fn connect(
    server: &Authority,
    address: &str,
    client: Option<(&Authority, &str)>,
) -> Result<MeshServiceClient<Channel>, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(server.pem())).domain_name("localhost");
    if let Some((issuer, name)) = client {
        let (cert, key) = issue(issuer, ExtendedKeyUsagePurpose::ClientAuth, name);
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.timeout(Duration::from_secs(20)).connect().await.map_err(|error| error.to_string())?;
    let mut client = MeshServiceClient::new(channel);
    let answer = client.mesh_name(MeshNameRequest {}).await.map_err(|status| status.to_string())?;
    assert_eq!(answer.into_inner().name, "ISTIO");
    Ok(client)
}

#[tokio::test]
async fn second_listener_admits_only_clients_with_a_certificate_of_its_authority() {
    let (ours, other) = (authority(), authority());
    let dir = tempfile::tempdir().unwrap();
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| with_tls(&ours, dir.path(), bridge)).await;
    let address = bridge.tls_address.clone().unwrap();
    connect(&ours, &address, Some((&ours, "localhost"))).await.unwrap();
    assert!(connect(&ours, &address, Some((&other, "localhost"))).await.is_err());
    assert!(connect(&ours, &address, None).await.is_err());
    // Before: handshakes that do not go on took the connections of the plaintext listener too.
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let answer = tokio::time::timeout(Duration::from_secs(8), async {
        bridge.client().await.mesh_name(MeshNameRequest {}).await.unwrap().into_inner().name
    });
    assert_eq!(answer.await.expect("an answer before the handshakes time out"), "ISTIO");
}

#[tokio::test]
async fn certificate_has_only_the_operations_targets_and_events_of_its_client() {
    let ours = authority();
    let dir = tempfile::tempdir().unwrap();
    let test_env = BridgeEnv::new().await;
    let bridge = test_env
        .bridge(|bridge| {
            with_tls(&ours, dir.path(), bridge);
            let list = |text: &str| vec![text.to_owned()];
            let client =
                BridgeClient { certificate: SPIFFE.to_owned(), operations: list("bookinfo"), targets: list("dev") };
            bridge.clients.insert("ci".to_owned(), client);
        })
        .await;
    let address = bridge.tls_address.clone().unwrap();
    let stranger = connect(&ours, &address, Some((&ours, "spiffe://cluster.local/ns/ci/sa/other"))).await.unwrap_err();
    assert!(stranger.contains("SH3609") && stranger.contains("sa/other"), "{stranger}");

    let mut client = connect(&ours, &address, Some((&ours, SPIFFE))).await.unwrap();
    let listed = client.supported_operations(SupportedOperationsRequest {}).await.unwrap().into_inner().ops;
    let keys: Vec<_> = listed.iter().map(|operation| operation.key.as_str()).collect();
    assert_eq!(keys, ["bookinfo"]);
    let mut forbidden = request("bookinfo", "shop");
    forbidden.kube_configs.push(kubeconfig("https://prod"));
    for (call, text) in [(request("httpbin", "shop"), "operation httpbin"), (forbidden, "target prod")] {
        let status = client.apply_operation(call).await.unwrap_err();
        assert!(status.code() == Code::PermissionDenied && status.message().contains(text), "{status:?}");
    }

    // What Meshery does on the other cluster is not shown to it; its own command says whose it is.
    let mut own = Events(client.stream_events(EventsRequest {}).await.unwrap().into_inner());
    let mut all = bridge.events().await;
    let mut elsewhere = request("httpbin", "shop");
    elsewhere.kube_configs = vec![kubeconfig("https://prod")];
    let (elsewhere_id, call) = (elsewhere.operation_id.clone(), request("bookinfo", "shop"));
    let id = call.operation_id.clone();
    bridge.client().await.apply_operation(elsewhere).await.unwrap();
    test_env.end(&test_env.command().await, succeeded()).await;
    all.end_of(&elsewhere_id).await;
    client.apply_operation(call).await.unwrap();
    let command = test_env.command().await;
    assert_eq!(command.origin.source, "urn:sailhand:meshery:meshery/ci/jane%40example%2Ecom");
    test_env.end(&command, succeeded()).await;
    assert_eq!(own.next().await.operation_id, id);
    assert_eq!(all.end_of(&id).await.operation_id, id);
}

/// Before: a renewed certificate needed a restart of the bridge.
#[tokio::test]
async fn renewed_certificates_are_used_without_a_restart() {
    let (old, new) = (authority(), authority());
    let dir = tempfile::tempdir().unwrap();
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| with_tls(&old, dir.path(), bridge)).await;
    let address = bridge.tls_address.clone().unwrap();
    connect(&old, &address, Some((&old, SPIFFE))).await.unwrap();
    with_tls(&new, dir.path(), &mut config::Bridge::default());
    eventually("the new authority is used", crate::bridge::PATIENCE, async || {
        connect(&new, &address, Some((&new, SPIFFE))).await.ok().map(drop)
    })
    .await;
}
