//! A job of GitHub Actions installs a mesh over HTTP, on a control plane of its own.

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::examples::{gateway, run_action};
use crate::mesh_settings;
use crate::support;
use crate::support::http::Issuer;
use crate::support::nats::NatsServer;
use crate::support::own_control_plane::ControlPlane;
use crate::support::worker::WorkerEnv;

#[tokio::test]
async fn token_of_github_actions_installs_a_mesh_and_waits_for_it() {
    if support::charts::are_missing() {
        return;
    }
    let plane = ControlPlane::start().await;
    let path = plane.kubeconfig();
    let test_env = WorkerEnv::on(NatsServer::start().await, |config| {
        let mut target = config.targets["dev"].clone();
        target.kubeconfig = Some(path.clone());
        config.targets.insert("prod".to_owned(), target);
        config.charts = mesh_settings::settings();
        config.charts.source = support::charts::folder().to_string_lossy().into_owned();
    })
    .await;
    let admin = Kubeconfig::read_from(&path).unwrap();
    let admin = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
    let standin = tokio::spawn(support::istiod::without_validation(kube::Client::try_from(admin).unwrap()));
    let _worker = test_env.worker("w").await;
    let issuer = Issuer::new();
    let gateway = gateway(&test_env, &issuer, &Issuer::new()).await;
    // No node runs the pods of a gateway.
    let data = r#"{"version":"1.30.3","profile":"minimal","wait":"0s"}"#;
    let output = run_action(&gateway, &issuer, ("mesh.install", data), "4m").await;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("\"succeeded\""), "{text}");
    // A repeated job is the same command.
    let again = run_action(&gateway, &issuer, ("mesh.install", data), "4m").await;
    assert!(again.status.success());
    gateway.logs("repo:acme/shop:ref:refs/heads/main").await;
    standin.abort();
}
