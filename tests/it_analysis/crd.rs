//! Compares the compiled-in schemas with the CRDs they are generated from: a real API server with these CRDs must
//! accept and reject the same objects.

use crate::support;

use crate::validation_cases as cases;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::cases;
use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;
use support::tools;

/// Folder of a module in the version that tests/tools/kubernetes-clients pins.
fn module(name: &str) -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", name])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/kubernetes-clients"))
        .output()
        .expect("go is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    PathBuf::from(said["Dir"].as_str().unwrap())
}

fn definitions() -> Vec<PathBuf> {
    let mut files = vec![module("istio.io/api").join("kubernetes/customresourcedefinitions.gen.yaml")];
    let gateway = module("sigs.k8s.io/gateway-api").join("config/crd/experimental");
    let mut more: Vec<PathBuf> = std::fs::read_dir(gateway)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("gateway."))
        .filter(|path| !path.to_string_lossy().contains("_vap_"))
        .collect();
    more.sort();
    files.extend(more);
    files
}

#[test]
fn schemas_match_the_pinned_crds() {
    let out = tempfile::NamedTempFile::new().unwrap();
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/analysis/src/crd/schemas.json");
    let status = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .arg("crd-schemas")
        .args(definitions())
        .arg("--out")
        .arg(out.path())
        .status()
        .unwrap();
    assert!(status.success());
    let read = |path: &Path| -> Value {
        let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove("sources");
        value
    };
    assert!(
        read(out.path()) == read(&checked_in),
        "crates/analysis/src/crd/schemas.json is not up to date: just crd-schemas"
    );
}

/// Its own control plane, because other tests install the CRDs of another release into the shared one.
async fn server(folder: &Path) -> Client {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control-plane.sh");
    let output = Command::new(script)
        .arg("up")
        .arg(folder)
        .args(["--guard", &std::process::id().to_string()])
        .env("SAILHAND_CACHE", tools::cache())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kubeconfig = folder.join("admin.kubeconfig");
    let kubectl = |arguments: &[&str], files: &[PathBuf]| {
        let output = Command::new(tools::program("kubectl", "KUBECTL_BIN"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(arguments)
            .args(files.iter().flat_map(|file| [Path::new("-f"), file]))
            .output()
            .unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    kubectl(&["create", "namespace", "test"], &[]);
    kubectl(&["apply", "--server-side"], &definitions());
    kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"], &[]);
    let config = Kubeconfig::read_from(&kubeconfig).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_api_server_accepts_and_refuses_the_same_objects() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("control-plane");
    let client = server(&folder).await;
    let dry = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some("test".to_owned()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let refused = &AtomicUsize::new(0);
    let differences: Vec<String> = stream::iter(cases())
        .filter(|case| std::future::ready(case.name.chars().all(|c| c.is_ascii_lowercase() || c == '-')))
        .map(|case| {
            let (client, dry) = (client.clone(), &dry);
            async move {
                let text = |key: &str| case.object[key].as_str().unwrap().to_owned();
                let (group, version) =
                    text("apiVersion").split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, &version, &text("kind")));
                let api: Api<DynamicObject> = Api::namespaced_with(client, "test", &resource);
                let refusal = api.patch(&case.name, dry, &Patch::Apply(&case.object)).await.err();
                if let Some(error) = &refusal {
                    refused.fetch_add(1, Ordering::Relaxed);
                    let kube::Error::Api(status) = error else { panic!("{}: {error}", case.id()) };
                    // Only errors about fields.
                    assert!(matches!(status.code, 400 | 422 | 500), "{}: {status:?}", case.id());
                }
                let ours: Vec<_> = case.found().into_iter().filter(|(finding, _)| finding.starts_with("SH7")).collect();
                (refusal.is_some() == ours.is_empty())
                    .then(|| format!("{}: API server {refusal:?}, ours {ours:?}", case.id()))
            }
        })
        .buffer_unordered(8)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused > 80, "only {refused} were refused at all");
}
