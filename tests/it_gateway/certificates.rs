//! Principals with a client certificate: mutual TLS on the second listener.

use std::path::Path;

use rcgen::ExtendedKeyUsagePurpose;
use reqwest::StatusCode;
use serde_json::Value;

use crate::gateway::{Gateway, PATIENCE, TOKEN, ping};
use crate::support::certificates::{authority, issue};
use crate::support::eventually::eventually;
use crate::support::worker::WorkerEnv;

const NAME: &str = "spiffe://cluster.local/ns/ci/sa/deployer";

fn client(trusted: &str, identity: Option<&(String, String)>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(trusted.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().tls_certs_only([authority]).timeout(PATIENCE);
    let identity = identity.map(|(cert, key)| reqwest::Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap());
    match identity {
        Some(identity) => builder.identity(identity).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[tokio::test]
async fn client_certificate_authenticates_its_principal_only() {
    let test_env = WorkerEnv::new().await;
    let (ours, other) = (authority(), authority());
    let (cert, key) = issue(&ours, ExtendedKeyUsagePurpose::ServerAuth, "localhost");
    let write = |folder: &Path, name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let gateway = Gateway::with(
        &test_env.nats.url(),
        |_| String::new(),
        |folder| {
            format!(
                "[gateway.tls]\nlisten = \"127.0.0.1:0\"\ncert_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n\
                 [gateway.principals.mesh]\ncertificate = \"{NAME}\"\nverbs = [\"ping\"]\ntargets = [\"dev\"]\n\
                 source_prefix = \"/ci/\"\n\
                 [gateway.principals.ci]\ntoken_file = {:?}\nverbs = [\"ping\"]\ntargets = [\"dev\"]\n\
                 source_prefix = \"/ci/\"\n",
                write(folder, "server.pem", &cert),
                write(folder, "server.key", &key),
                write(folder, "ca.pem", &ours.pem()),
                write(folder, "ci", TOKEN),
            )
        },
    )
    .await;
    gateway.logs("mutual TLS at https://").await;
    let address =
        gateway.log().split("mutual TLS at https://127.0.0.1:").nth(1).unwrap().lines().next().unwrap().to_owned();
    let url = format!("https://localhost:{address}/v1/events");
    let send = async |client: &reqwest::Client, token: Option<&str>| {
        let request =
            client.post(&url).header("Content-Type", "application/cloudevents+json").body(ping("m").to_string());
        match token {
            Some(token) => request.bearer_auth(token).send().await,
            None => request.send().await,
        }
    };
    let mine = issue(&ours, ExtendedKeyUsagePurpose::ClientAuth, NAME);
    let known = client(&ours.pem(), Some(&mine));
    assert_eq!(send(&known, None).await.unwrap().status(), StatusCode::ACCEPTED);
    // A valid certificate of the authority with another name.
    let stranger = issue(&ours, ExtendedKeyUsagePurpose::ClientAuth, "spiffe://cluster.local/ns/ci/sa/other");
    let stranger = client(&ours.pem(), Some(&stranger));
    let refused = send(&stranger, None).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("sa/other"), "{problem}");
    // A token still decides: it names the principal that is audited.
    assert_eq!(send(&stranger, Some(TOKEN)).await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(send(&known, Some("0123456789abcdef-no")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // No certificate, one of another authority, one that is not for clients.
    let forged = issue(&other, ExtendedKeyUsagePurpose::ClientAuth, NAME);
    let server = issue(&ours, ExtendedKeyUsagePurpose::ServerAuth, NAME);
    for identity in [None, Some(&forged), Some(&server)] {
        let failed = send(&client(&ours.pem(), identity), None).await;
        assert!(failed.is_err(), "{failed:?}");
    }
    // Without TLS there are no certificates.
    let headers = [("Content-Type", "application/cloudevents+json")];
    gateway.request("POST", "/v1/events", &headers, &ping("m").to_string()).await.is_problem(401, "SH3804");
    // Open handshakes take no connection of the other listener.
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(tokio::net::TcpStream::connect(format!("127.0.0.1:{address}")).await.unwrap());
    }
    eventually("the other listener answers", PATIENCE, async || {
        (gateway.post(&ping("m")).await.status == 202).then_some(())
    })
    .await;
}
