//! Input that tries to read files, start programs, exhaust memory or leak credentials.

use std::time::Duration;

use base64::Engine as _;
use sailhand::bridge::proto::{ApplyRuleRequest, EventsRequest};
use sailhand::config::BridgeTarget;
use tonic::Code;

use crate::bridge::{BridgeEnv, CANARY, kubeconfig, request};
use crate::support::worker::succeeded;

fn with_kubeconfigs(kube_configs: Vec<String>) -> ApplyRuleRequest {
    ApplyRuleRequest { kube_configs, ..request("bookinfo", "shop") }
}

/// A kubeconfig whose cluster has one more field and whose user is this YAML.
fn kubeconfig_with(cluster: &str, user: &str) -> String {
    format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'https://dev', {cluster}}}}}]\nusers: [{{name: u, user: {user}}}]\n"
    )
}

#[tokio::test]
async fn hostile_kubeconfigs_are_refused_in_bounded_memory_and_publish_nothing() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let mut client = bridge.client().await;
    client.apply_operation(request("bookinfo", "shop")).await.unwrap();
    test_env.command().await;
    let before = bridge.memory();
    let bomb = (1..30).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, number| {
        let last = number - 1;
        format!("{text}a{number}: &a{number} [*a{last},*a{last},*a{last},*a{last},*a{last},*a{last}]\n")
    }) + &kubeconfig("https://dev");
    let deep = format!("x: {}{}\n{}", "[".repeat(100_000), "]".repeat(100_000), kubeconfig("https://dev"));
    let wide = format!("x: [{}]\n{}", "1,".repeat(400_000), kubeconfig("https://dev"));
    let long = format!("x: {}\n{}", "x".repeat(2 << 20), kubeconfig("https://dev"));
    for text in [bomb, deep, wide, long, "\0".to_owned(), "- - - -".to_owned(), "%YAML 9\n---\n*a".to_owned()] {
        let status = client.apply_operation(with_kubeconfigs(vec![text])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    let many = vec![kubeconfig("https://dev"); 65];
    let status = client.apply_operation(with_kubeconfigs(many)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let huge = vec!["x".repeat(17 << 20)];
    let status = client.apply_operation(with_kubeconfigs(huge)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let grown = bridge.memory().saturating_sub(before);
    assert!(grown < 96 * 1024, "{grown} KiB");
    assert!(test_env.next_command(Duration::from_secs(1)).await.is_none());
}

#[tokio::test]
async fn programs_and_files_of_a_kubeconfig_are_ignored() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let mut client = bridge.client().await;
    let file = bridge.folder().join("started");
    let exec = format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['{}'], interactiveMode: Never}}}}",
        file.display()
    );
    let provider =
        format!("{{auth-provider: {{name: gcp, config: {{cmd-path: touch, cmd-args: '{}'}}}}}}", file.display());
    for user in [exec, provider, "{tokenFile: /etc/shadow}".to_owned(), "[1, 2]".to_owned()] {
        client.apply_operation(with_kubeconfigs(vec![kubeconfig_with("", &user)])).await.unwrap();
        test_env.command().await;
    }
    assert!(!file.exists());
    let by_path = kubeconfig_with("certificate-authority: /etc/shadow", "{}");
    client.apply_operation(with_kubeconfigs(vec![by_path])).await.unwrap();
    let proxied = kubeconfig_with("proxy-url: 'http://127.0.0.1:1'", "{}");
    client.apply_operation(with_kubeconfigs(vec![proxied])).await.unwrap();
}

#[tokio::test]
async fn kubeconfig_with_another_certificate_authority_matches_no_target() {
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    };
    let encoded = |pem: &str| {
        let data = base64::engine::general_purpose::STANDARD.encode(pem);
        kubeconfig_with(&format!("certificate-authority-data: {data}"), &format!("{{token: {CANARY}}}"))
    };
    let (right, wrong) = (authority("right"), authority("wrong"));
    let facts = sailhand::bridge::kubeconfig::read(&encoded(&right)).unwrap();
    let test_env = BridgeEnv::new().await;
    let bridge = test_env
        .bridge(|bridge| {
            let dev = BridgeTarget {
                server: vec!["https://dev".to_owned()],
                ca_sha256: facts.ca_sha256.into_iter().collect(),
                contexts: vec!["a".to_owned()],
                ..BridgeTarget::default()
            };
            bridge.targets.insert("dev".to_owned(), dev);
        })
        .await;
    let mut client = bridge.client().await;
    let bundle = [wrong.as_str(), right.as_str()].concat();
    for accepted in [encoded(&right), encoded(&bundle), encoded(&right).replace("https://dev", "https://127.0.0.1:1")] {
        client.apply_operation(with_kubeconfigs(vec![accepted])).await.unwrap();
    }
    let status = client.apply_operation(with_kubeconfigs(vec![encoded(&wrong)])).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("sailhand bridge match"), "{status:?}");
    let status = client.apply_operation(with_kubeconfigs(vec![encoded("no certificate")])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

#[tokio::test]
async fn credentials_of_kubeconfigs_are_nowhere_but_in_the_request() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|_| {}).await;
    let mut client = bridge.client().await;
    let mut events = bridge.events().await;
    let mut texts = Vec::new();
    for text in [
        kubeconfig("https://dev"),
        kubeconfig("https://unknown"),
        kubeconfig(&format!("https://user:{CANARY}@unknown")),
        format!("{CANARY}: ["),
        kubeconfig(CANARY),
        kubeconfig_with(&format!("certificate-authority-data: {CANARY}"), "{}"),
        kubeconfig("https://dev").replace("current-context: a", "current-context: b"),
    ] {
        match client.apply_operation(with_kubeconfigs(vec![text])).await {
            Ok(answer) => texts.push(format!("{answer:?}")),
            Err(status) => texts.push(format!("{status:?}")),
        }
    }
    let command = test_env.command().await;
    test_env.end(&command, succeeded()).await;
    texts.push(format!("{command:?}"));
    texts.push(format!("{:?}", events.next().await));
    let context = test_env.client.bus().context();
    for stream in ["ISTIO_CMD", "ISTIO_RES", "ISTIO_EVT", "ISTIO_DLQ", "OBJ_istio_blob", "KV_istio_control"] {
        let handle = context.get_stream(stream).await.unwrap();
        let last = handle.get_info().await.unwrap().state.last_sequence;
        for sequence in 1..=last {
            if let Ok(message) = handle.get_raw_message(sequence).await {
                texts.push(format!("{:?} {}", message.headers, String::from_utf8_lossy(&message.payload)));
            }
        }
    }
    for entry in std::fs::read_dir(bridge.folder()).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let found: Vec<_> = texts.iter().filter(|text| text.contains(CANARY)).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(bridge.log().contains("command sent"));
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let test_env = BridgeEnv::new().await;
    let bridge = test_env.bridge(|bridge| bridge.max_calls = 1).await;
    let design = sailhand::bridge::proto::ProvisionRequest {
        declarations: vec![r#"{"component": {"kind": "IstioMesh"}, "displayName": "mesh"}"#.to_owned()],
        kube_configs: vec![kubeconfig("https://dev")],
        ..Default::default()
    };
    let waiting = tokio::spawn({
        let mut client = bridge.client().await;
        async move { client.provision(design).await }
    });
    let command = test_env.command().await;
    let status = bridge.client().await.stream_events(EventsRequest {}).await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("SH3606"), "{status:?}");
    test_env.end(&command, succeeded()).await;
    waiting.await.unwrap().unwrap();
    bridge.events().await;
}
