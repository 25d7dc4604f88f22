//! Istio's own CRDs in the test cluster: of the chart in `$SAILHAND_SHARED` or `../shared`, which is not part of this
//! project. Without it stand-ins take their place that have the kinds and check nothing; that is said loudly, and is
//! an error when CI is set.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{control_plane, tools};

/// Where the charts and samples lie.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("SAILHAND_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    if folder.join("charts").is_dir() {
        return Some(folder);
    }
    let missing =
        format!("{} has no charts and samples of Istio; SAILHAND_SHARED names another place", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    #[allow(clippy::print_stderr, reason = "a test that checks less has to say so")]
    {
        eprintln!("NOT CHECKED against Istio's own files: {missing}");
    }
    None
}

/// Puts them into the cluster, once for each run of tests; waits until they are served.
pub fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let file = shared().map(|shared| shared.join("charts/istio-1.30.3/base/files/crd-all.gen.yaml"));
        if let Some(file) = file {
            apply(&file);
        } else {
            let stand_ins = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
            serde_json::to_writer(&stand_ins, &stand_ins_of_kinds()).unwrap();
            apply(stand_ins.path());
        }
        kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--all", "crd"]);
    });
}

fn apply(file: &Path) {
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
}

/// Runs kubectl on the test cluster.
pub fn kubectl(arguments: &[&str]) -> Output {
    let output = Command::new(tools::program("kubectl", "KUBECTL_BIN"))
        .arg("--kubeconfig")
        .arg(control_plane::kubeconfig())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn stand_ins_of_kinds() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let kinds = [
        ("networking.istio.io", "DestinationRule", "destinationrules"),
        ("networking.istio.io", "VirtualService", "virtualservices"),
        ("networking.istio.io", "Gateway", "gateways"),
        ("security.istio.io", "PeerAuthentication", "peerauthentications"),
        ("security.istio.io", "AuthorizationPolicy", "authorizationpolicies"),
    ];
    let items = kinds.map(|(group, kind, plural)| {
        let versions = ["v1", "v1beta1"]
            .map(|name| json!({"name": name, "served": true, "storage": name == "v1", "schema": schema}));
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "versions": versions,
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            },
        })
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
