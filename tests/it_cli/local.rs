//! Subcommands that execute commands in their own process, and `check`.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::bus::{BusEnv, out};
use crate::support::eventually::eventually;
use crate::support::tools;

fn sailhand(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(args)
        .env("KUBECONFIG", "/no/such/file")
        .env("SAILHAND__NATS__URL", "nats://127.0.0.1:1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn run_executes_a_command_without_nats() {
    let (code, out, err) = sailhand(&["run", "ping", "-p", "echo=hello", "-o", "jsonl"]);
    assert_eq!(code, Some(0), "{err}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["type"], "io.meshery.istio.event.started.v1");
    let result = events.last().unwrap();
    assert_eq!(result["type"], "io.meshery.istio.result.ping.v1");
    assert_eq!(result["data"]["report"]["echo"], "hello");
}

/// Before: "look up on `ISTIO_CMD` failed", with the remedy for a full stream.
#[tokio::test]
async fn server_without_jetstream_is_named() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut server = Command::new(tools::program("nats-server", "NATS_SERVER_BIN"))
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the server listens", Duration::from_secs(20), async || TcpStream::connect(("127.0.0.1", port)).ok())
        .await;
    let url = format!("nats://127.0.0.1:{port}");
    for args in [&["topology", "verify"][..], &["list"], &["submit", "ping", "-t", "dev"]] {
        let (code, _, err) = sailhand(&[args, &["--nats-url", &url]].concat());
        let wanted = format!("error[SH2012]: JetStream is not enabled on the NATS server at {url}");
        assert_eq!((code, err.lines().next()), (Some(6), Some(wanted.as_str())), "{args:?}: {err}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn run_rejects_parameters_like_a_worker() {
    assert_eq!(sailhand(&["run", "ping", "-p", "nosuch=1"]).0, Some(3));
    assert_eq!(sailhand(&["run", "mesh.uninstall", "-p", "all=true"]).0, Some(2), "nobody can be asked");
}

#[test]
fn apply_and_diff_need_a_target_or_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml").display().to_string();
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").unwrap();
    for verb in ["apply", "diff"] {
        let (code, _, err) = sailhand(&[verb, "-f", &file, "--name", "a"]);
        assert!(code == Some(2) && err.contains("--target") && err.contains("--context"), "{err}");
        // Before: the command was sent, and the line was that of all files together.
        let broken = dir.path().join("broken.yaml").display().to_string();
        std::fs::write(&broken, "a: [1\n").unwrap();
        let (code, _, err) = sailhand(&[verb, "-f", &file, "-f", &broken, "--name", "a", "-t", "dev"]);
        let wanted = format!("error[SH3101]: not sent: {broken}: manifest, document 1, line");
        assert!(code == Some(3) && err.contains(&wanted), "{err}");
        let (code, _, err) = sailhand(&[verb, "-f", "/dev/null", "--name", "a", "-t", "dev"]);
        assert!(code == Some(3) && err.contains("not sent: parameter manifest: it has no objects"), "{err}");
        let (code, _, err) = sailhand(&[verb, "-f", "/no/such", "--name", "a", "-t", "dev"]);
        assert!(code == Some(6) && err.contains("cannot read /no/such"), "{err}");
    }
}

#[test]
fn check_names_a_remedy_for_each_problem() {
    let (code, out, _) = sailhand(&["check", "nats", "clusters", "-o", "json"]);
    assert_eq!(code, Some(1));
    let checks: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(checks[0]["code"], "SH2001");
    assert!(checks.iter().all(|check| check["status"] == "passed" || check["remedy"].is_string()), "{out}");
}

/// Before: `check` and `run` reported that no kubeconfig was found, and went on, although one was named.
#[test]
fn a_kubeconfig_that_is_named_must_exist() {
    for args in [&["check", "clusters"][..], &["run", "ping"], &["installations"], &["run", "mesh.status"], &["dev"]] {
        let (code, out, err) = sailhand(&[args, &["--kubeconfig", "/no/such/kubeconfig"]].concat());
        let expected = if args[0] == "check" { 1 } else { 2 };
        assert_eq!(code, Some(expected), "{args:?}: {out}{err}");
        assert!(
            format!("{out}{err}").contains("kubeconfig /no/such/kubeconfig: does not exist"),
            "{args:?}: {out}{err}"
        );
    }
    let (_, out, _) = sailhand(&["check", "clusters", "-o", "text"]);
    assert!(out.contains("no kubeconfig: /no/such/file does not exist"), "{out}");
}

#[tokio::test]
async fn check_passes_on_prepared_streams_and_names_missing_workers() {
    let test_env = BusEnv::new().await;
    let nats = test_env.run(&["check", "nats", "-o", "text"]).await;
    assert_eq!(nats.status.code(), Some(0), "{}", out(&nats));
    let workers = test_env.run(&["check", "workers", "-o", "text"]).await;
    assert_eq!(workers.status.code(), Some(1));
    assert!(out(&workers).contains("✗ no worker is running"), "{}", out(&workers));
}

#[tokio::test]
async fn list_is_printed_in_each_format() {
    let test_env = BusEnv::new().await;
    let key = test_env.submit(&[]).await;
    let listed = async |format| out(&test_env.run(&["list", "-o", format]).await);
    assert_eq!(listed("name").await.trim(), key.as_str());
    assert!(listed("yaml").await.starts_with("---\nkey: "));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&listed("json").await).unwrap().len(), 1);
    assert!(listed("wide").await.contains(key.as_str()));
    assert!(!listed("text").await.contains(key.as_str()));
}
