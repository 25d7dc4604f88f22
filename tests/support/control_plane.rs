//! A real Kubernetes API server for the tests: the one that `just test` has started, or one for this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::tools;

/// Path of an administrator's kubeconfig. All tests of a run share the cluster, so each works in namespaces of its own.
///
/// `SAILHAND_TEST_KUBECONFIG` names it when `just test` runs. Otherwise the first call starts a control plane, which
/// ends by itself soon after this process does.
pub fn kubeconfig() -> &'static Path {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    KUBECONFIG.get_or_init(|| std::env::var_os("SAILHAND_TEST_KUBECONFIG").map_or_else(start, PathBuf::from))
}

fn start() -> PathBuf {
    let id = std::process::id();
    let dir = std::env::temp_dir().join(format!("sailhand-control-plane-{id}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control-plane.sh");
    let output = Command::new(&script)
        .arg("up")
        .arg(&dir)
        .args(["--guard", &id.to_string()])
        .env("SAILHAND_CACHE", tools::cache())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("run {}: {e}", script.display()));
    assert!(
        output.status.success(),
        "the control plane did not start:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    dir.join("admin.kubeconfig")
}
