//! The same objects in an API server, read by both programs.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{control_plane, istio_crds, tools};
use super::{MISTAKES, SEED, Summary, corpus, header};
use crate::measure::process::{Run, run};
use crate::measure::table;

const OBJECTS: usize = 10_000;
const ROUNDS: usize = 5;
/// Requests that are made at once while the cluster is filled.
const WRITERS: usize = 8;

pub fn measure(sailhand: &Path, istioctl: &Path) {
    let kubeconfig = control_plane::kubeconfig();
    istio_crds::install();
    let dir = TempDir::with_prefix("sailhand-bench-").unwrap();
    fill(kubeconfig, &dir);
    let command = |program: &Path, more: &[&str]| {
        let mut command = Command::new(program);
        command.args(["analyze", "-A", "-o", "json", "--kubeconfig"]).arg(kubeconfig).args(more);
        command
    };
    let commands = [command(sailhand, &["--fail-on", "never"]), command(istioctl, &[])];
    let outs = ["sailhand", "istioctl"].map(|name| dir.path().join(name));
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((command, out), runs) in commands.iter().zip(&outs).zip(&mut runs) {
            runs.push(run(command, out));
        }
    }
    println!("live: a control plane of its own with {OBJECTS} such objects");
    table(&[
        header(),
        Summary::of(&runs[0], &outs[0]).line(&format!("{OBJECTS} objects"), "sailhand", (1.0, 100.0)),
        Summary::of(&runs[1], &outs[1]).line("", "istioctl", (f64::NAN, f64::NAN)),
    ]);
}

/// By several `kubectl create`, as nothing of ours should have a part in it. Deployments have no replicas: the pods are
/// among the objects already.
fn fill(kubeconfig: &Path, dir: &TempDir) {
    let mut objects = corpus::objects(OBJECTS, SEED, MISTAKES);
    for object in &mut objects {
        if object["kind"] == "Deployment" {
            object["spec"]["replicas"] = json!(0);
        }
    }
    let (first, rest): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(|object| object["kind"] == "Namespace");
    let create = |name: &str, objects: &[Value]| {
        let file = dir.path().join(name);
        std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()).unwrap();
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(dir.path()).args(["create", "-f"]);
        command.arg(file).stdout(Stdio::null()).spawn().unwrap()
    };
    assert!(create("namespaces.json", &first).wait().unwrap().success(), "the namespaces are not there");
    let share = rest.len().div_ceil(WRITERS);
    let parts = rest.chunks(share).enumerate().map(|(part, objects)| create(&format!("{part}.json"), objects));
    for mut writer in parts.collect::<Vec<_>>() {
        assert!(writer.wait().unwrap().success(), "not all objects are there");
    }
}
