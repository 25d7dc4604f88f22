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
