//! `sailhand dev`: a server, the streams and a worker from one command, and nothing left of them.

use crate::support;

use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::eventually::eventually;
use support::tools;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);

async fn sailhand(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sailhand")).args(args).output().await.unwrap()
}

#[tokio::test]
async fn dev_answers_a_ping_and_leaves_nothing_on_ctrl_c() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("nats://127.0.0.1:{port}");
    let temporary = tempfile::tempdir().unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(["dev", "--port", &port.to_string(), "--nats-server"])
        .arg(tools::program("nats-server", "NATS_SERVER_BIN"))
        .env("TMPDIR", temporary.path())
        .env("KUBECONFIG", "/no/such/file")
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("the streams are there", SOON, async || {
        sailhand(&["topology", "verify", "--nats-url", &url]).await.status.success().then_some(())
    })
    .await;

    let args = ["submit", "ping", "-t", "dev", "-p", "echo=hello", "--wait", "--timeout", "20s", "--nats-url", &url];
    let output = sailhand(&args).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(result["data"]["report"]["echo"], "hello");

    let second = sailhand(&["dev", "--port", &port.to_string()]).await;
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("something listens there already"));

    let pid = dev.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(SOON, dev.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the server still listens");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the store is still there");
}

/// Before: nats-server went on listening when the terminal was closed or the process was killed, and its temporary folder
/// stayed.
#[tokio::test]
async fn nats_server_ends_with_dev_also_after_a_kill() {
    for signal in ["-HUP", "-KILL"] {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let url = format!("nats://127.0.0.1:{port}");
        let temporary = tempfile::tempdir().unwrap();
        let mut dev = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["dev", "--port", &port.to_string(), "--nats-server"])
            .arg(tools::program("nats-server", "NATS_SERVER_BIN"))
            .env("TMPDIR", temporary.path())
            .env("KUBECONFIG", "/no/such/file")
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("the streams are there", SOON, async || {
            sailhand(&["topology", "verify", "--nats-url", &url]).await.status.success().then_some(())
        })
        .await;
        let pid = dev.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        tokio::time::timeout(SOON, dev.wait()).await.expect("it ends").unwrap();
        eventually("the server is gone", SOON, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err().then_some(())
        })
        .await;
        eventually("the store is gone", SOON, async || {
            (std::fs::read_dir(temporary.path()).unwrap().count() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn dev_checks_the_cluster_before_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let cluster = |name: &str, server: &str| format!("{{name: {name}, cluster: {{server: '{server}'}}}}");
    let context = |name: &str| format!("{{name: {name}, context: {{cluster: {name}, user: u}}}}");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: local\ncontexts: [{}, {}]\nclusters: [{}, {}]\nusers: [{{name: u, user: {{}}}}]\n",
        context("local"),
        context("far"),
        cluster("local", "http://127.0.0.1:1"),
        cluster("far", "http://192.0.2.1:1"),
    );
    std::fs::write(&file, text).unwrap();
    let dev = async |args: &[&str]| {
        let file = file.display().to_string();
        let output = sailhand(&[&["dev", "--kubeconfig", &file], args].concat()).await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = dev(&["--context", "nosuch"]).await;
    assert!(code == Some(2) && said.contains("contexts: local, far"), "{said}");
    let (code, said) = dev(&[]).await;
    assert!(code == Some(6) && said.contains("cannot reach http://127.0.0.1:1 (context local)"), "{said}");
    assert!(said.contains("context local (http://127.0.0.1:1, user u)"), "{said}");
}
