//! CRDs of the Prometheus Operator in the test cluster: those of its Go module if the module cache has it, else stand-ins
//! that have the kinds and check nothing.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::istio_crds::kubectl;

/// The Operator's module; `tests/tools/prometheus-operator` pins its version.
const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";
const KINDS: [(&str, &str); 3] =
    [("Prometheus", "prometheuses"), ("PodMonitor", "podmonitors"), ("ServiceMonitor", "servicemonitors")];

/// Puts them into the shared cluster, once for each run of tests; waits until they are served.
pub fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| install_by(|arguments| drop(kubectl(arguments))));
}

/// The same by a kubectl of another cluster.
pub fn install_by(kubectl: impl Fn(&[&str])) {
    let apply = |file: &str| kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file]);
    if let Some(folder) = module() {
        for (_, plural) in KINDS {
            apply(folder.join(format!("monitoring.coreos.com_{plural}.yaml")).to_str().unwrap());
        }
    } else {
        let stand_ins = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        serde_json::to_writer(&stand_ins, &stand_ins_of_kinds()).unwrap();
        apply(stand_ins.path().to_str().unwrap());
    }
    for (kind, plural) in KINDS {
        let name = format!("crd/{plural}.monitoring.coreos.com");
        // kubectl fails for a condition of an object that has no conditions yet.
        let named = format!("--for=jsonpath={{.status.acceptedNames.kind}}={kind}");
        kubectl(&["wait", &named, "--timeout=60s", &name]);
        kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &name]);
    }
}

/// All CRDs of the Operator's version, which its program needs.
pub fn install_all_by(kubectl: impl Fn(&[&str])) {
    let folder = module().expect("the Operator's Go module");
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", folder.to_str().unwrap()]);
    kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
}

fn module() -> Option<PathBuf> {
    let tool = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools/prometheus-operator");
    let listed = Command::new("go").args(["list", "-m", "-f", "{{.Dir}}", MODULE]).current_dir(&tool).output().ok()?;
    let folder = PathBuf::from(String::from_utf8(listed.stdout).ok()?.trim()).join("example/prometheus-operator-crd");
    if folder.is_dir() {
        return Some(folder);
    }
    #[allow(clippy::print_stderr, reason = "a test that checks less has to say so")]
    {
        eprintln!(
            "NOT CHECKED against the Prometheus Operator's own CRDs: run `go mod download` in {}",
            tool.display()
        );
    }
    None
}

fn stand_ins_of_kinds() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let items = KINDS.map(|(kind, plural)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            },
        })
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
