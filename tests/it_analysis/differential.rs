//! Compares findings with those of Istio for the same objects. `IST…` codes have Istio's meaning, so a (code, object)
//! that only one of the two reports is an error here, unless `analysis/differences.yaml` lists it with a reason. An
//! unused reason is an error too.
//!
//! Istio is `istio-analyzers`, its own analyzers over all kinds in files (`tests/tools/kubernetes-clients`), and `istioctl analyze`
//! on files and on a real API server. The objects are generated ones, Istio's samples, and the files of its own tests.
#![allow(clippy::disallowed_methods, reason = "other processes have their own time")]

use crate::corpus;
use crate::differences;
use crate::random_objects;
use crate::support;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use differences::{Comparison, Reported};
use sailhand::analysis::source::{self, Sources, files};
use sailhand::analysis::{Settings, Snapshot, mesh, rules, run};
use sailhand::clock::Clock;
use serde_json::{Value, json};
use support::own_control_plane::ControlPlane;
use support::{istio_crds, tools};
use tempfile::TempDir;

const SEEDS: u64 = 60;

/// Findings for files; documents without a namespace have none, as in `istio-analyzers`.
fn ours(paths: &[PathBuf]) -> Reported {
    let mut sources = Sources::default();
    let mut errors = Vec::new();
    for path in paths {
        files::read(path, &mut sources, &mut errors);
    }
    assert!(errors.is_empty(), "{errors:?}");
    let reading = source::read(&sources, NonZero::<usize>::MIN);
    let now = Clock::system().now().unix_timestamp();
    let found = mesh::settings_in(&reading.resources, now);
    let settings =
        Settings { mesh_config: found.mesh_config, mesh_networks: found.mesh_networks, now, ..Settings::default() };
    let snapshot = Snapshot::new(reading.resources, settings);
    run(&snapshot, rules::ALL, NonZero::<usize>::MIN)
        .iter()
        .filter(|finding| rules::is_enabled_by_default(finding.code))
        .map(|finding| ((finding.code.id.to_owned(), finding.object.to_string()), finding.message.clone()))
        .collect()
}

/// The JSON array that a program writes after lines of its log.
pub fn list(command: &mut Command) -> Vec<Value> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find("\n[").map_or(0, |start| start + 1);
    serde_json::from_str(&text[start..]).unwrap_or_else(|error| {
        panic!("{command:?} ended with {}: {error}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr))
    })
}

pub fn reported(list: &[Value], object: &str) -> Reported {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    list.iter().map(|one| ((text(one, "code"), text(one, object)), text(one, "message"))).collect()
}

fn analyzers(paths: &[PathBuf]) -> Reported {
    let program = tools::program("istio-analyzers", "ISTIO_ANALYZERS_BIN");
    reported(&list(Command::new(program).args(paths)), "resource")
}

pub fn istioctl(arguments: &[&str], paths: &[PathBuf]) -> Reported {
    let mut command = Command::new(tools::program("istioctl", "ISTIOCTL_BIN"));
    reported(&list(command.args(["analyze", "-A", "-o", "json"]).args(arguments).args(paths)), "origin")
}

fn write(dir: &TempDir, name: &str, objects: &[Value]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, corpus::yaml(objects)).unwrap();
    path
}

#[test]
fn generated_objects_match_istio() {
    let dir = TempDir::new().unwrap();
    let mut comparison = Comparison::of("generated");
    for seed in 0..SEEDS {
        let path = [write(&dir, &format!("seed-{seed}.yaml"), &random_objects::objects(seed))];
        comparison.add(&format!("seed {seed}"), &ours(&path), &analyzers(&path));
    }
    for (seed, objects, mistakes) in [(1, 1_000, 5), (2, 1_000, 30), (3, 300, 60)] {
        let path = [write(&dir, &format!("corpus-{seed}.yaml"), &corpus::objects(objects, seed, mistakes))];
        comparison.add(&format!("corpus {seed}"), &ours(&path), &analyzers(&path));
    }
    comparison.judge();
}

/// `istioctl` reads fewer kinds from files, so only its findings are compared.
#[test]
fn istioctl_findings_on_files_are_reported() {
    let dir = TempDir::new().unwrap();
    let mut comparison = Comparison::of("istioctl");
    for (seed, mistakes) in [(11, 5), (12, 40)] {
        let path = [write(&dir, &format!("{seed}.yaml"), &corpus::objects(1_000, seed, mistakes))];
        let theirs = istioctl(&["--use-kube=false"], &path);
        let ours = ours(&path).into_iter().filter(|(key, _)| theirs.contains_key(key)).collect();
        comparison.add(&format!("corpus {seed}"), &ours, &theirs);
    }
    comparison.judge();
}

#[test]
fn samples_match_istio() {
    let Some(shared) = istio_crds::shared() else { return };
    let mut comparison = Comparison::of("samples");
    let bookinfo = shared.join("samples/bookinfo");
    for networking in yaml_files(&bookinfo.join("networking")) {
        let paths = [bookinfo.join("platform/kube/bookinfo.yaml"), networking];
        comparison.add(&paths[1].display().to_string(), &ours(&paths), &analyzers(&paths));
    }
    for folder in ["samples/httpbin", "samples/online-boutique", "samples/addons", "samples/bookinfo/gateway-api"] {
        let paths = yaml_files(&shared.join(folder));
        comparison.add(folder, &ours(&paths), &analyzers(&paths));
    }
    comparison.judge();
}

#[test]
fn istio_test_files_match_istio() {
    let Some(shared) = istio_crds::shared() else { return };
    let mut comparison = Comparison::of("fixtures");
    for path in yaml_files(&shared.join("analysis/testdata")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let paths = [path];
        comparison.add(&name, &ours(&paths), &analyzers(&paths));
    }
    comparison.judge();
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[tokio::test]
async fn a_cluster_is_judged_as_istioctl_judges_it() {
    let Some(shared) = istio_crds::shared() else { return };
    let plane = ControlPlane::start().await;
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        command.arg("--kubeconfig").arg(plane.kubeconfig()).arg("--cache-dir").arg(plane.dir()).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let crds = shared.join("charts/istio-1.30.3/base/files/crd-all.gen.yaml");
    kubectl(&["apply", "--server-side", "-f", crds.to_str().unwrap()]);
    kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
    let mut objects = corpus::objects(500, 21, 20);
    for object in &mut objects {
        // Pods are among the objects already; the two programs read them at different times.
        if object["kind"] == "Deployment" {
            object["spec"]["replicas"] = json!(0);
        }
    }
    let dir = TempDir::new().unwrap();
    kubectl(&["create", "-f", write(&dir, "all.yaml", &objects).to_str().unwrap()]);
    let kubeconfig = plane.kubeconfig().display().to_string();
    let theirs = istioctl(&["--kubeconfig", &kubeconfig], &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
    command.args(["analyze", "-A", "--fail-on", "never", "-o", "json", "--kubeconfig", &kubeconfig]);
    let mut comparison = Comparison::of("live");
    comparison.add("cluster", &reported(&list(&mut command), "resource"), &theirs);
    comparison.judge();
}
