//! `sailhand run` on a real API server, without NATS.

use std::process::{Command, Output};

use crate::support::{control_plane, tools};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(args)
        .env("KUBECONFIG", control_plane::kubeconfig())
        .env("SAILHAND__NATS__URL", "nats://127.0.0.1:1")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// Before: "done, nothing changed", as for an installation that was deleted before.
#[test]
fn deletion_of_an_unknown_installation_names_those_that_exist() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it-run, namespace: default}\n";
    let manifest = format!("manifest={manifest}");
    let applied = run(&["run", "config.apply", "-p", "name=it-run-shop", "-p", &manifest, "--yes", "-o", "text"]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied));
    let listed = run(&["installations", "-o", "name"]);
    assert!(text(&listed).lines().any(|line| line == "it-run-shop"), "{}", text(&listed));
    let deleted = run(&["run", "config.delete", "-p", "name=it-run-shp", "--yes", "-o", "text"]);
    assert_eq!(deleted.status.code(), Some(0), "{}", text(&deleted));
    assert!(
        text(&deleted).contains("warning: installation it-run-shp does not exist; did you mean it-run-shop?"),
        "{}",
        text(&deleted)
    );
    let deleted = run(&["run", "config.delete", "-p", "name=it-run-shop", "--yes", "-o", "text"]);
    assert!(text(&deleted).contains("deleted    ConfigMap default/it-run"), "{}", text(&deleted));
    assert!(!text(&deleted).contains("warning"), "{}", text(&deleted));
}

/// Before: the analysis of a cluster reported the worker's own namespace as outside the mesh (IST0102).
#[test]
fn own_namespace_is_explicitly_outside_the_mesh() {
    let manifest = "manifest={apiVersion: v1, kind: ConfigMap, metadata: {name: it-run-own, namespace: default}}";
    let applied = run(&["run", "config.apply", "-p", "name=it-run-own", "-p", manifest, "--yes", "-o", "text"]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied));
    let labels = Command::new(tools::program("kubectl", "KUBECTL_BIN"))
        .args(["get", "namespace", "sailhand-system", "-o", "jsonpath={.metadata.labels.istio-injection}"])
        .env("KUBECONFIG", control_plane::kubeconfig())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&labels.stdout), "disabled", "{}", text(&labels));
}
