//! A real Kubernetes API server for the tests: the one that `just test` has started, or one for this process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::own_control_plane;

/// Path of an administrator's kubeconfig. All tests of a run share the cluster, so each works in namespaces of its own;
/// a test that cannot has a [`own_control_plane::ControlPlane`](super::own_control_plane::ControlPlane).
///
/// `SAILHAND_TEST_KUBECONFIG` names it when `just test` runs. Otherwise the first call starts a control plane, which
/// ends by itself soon after this process does.
pub fn kubeconfig() -> &'static Path {
    static KUBECONFIG: OnceLock<PathBuf> = OnceLock::new();
    KUBECONFIG.get_or_init(|| std::env::var_os("SAILHAND_TEST_KUBECONFIG").map_or_else(start, PathBuf::from))
}

fn start() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("sailhand-control-plane-{}", std::process::id()));
    own_control_plane::up(&dir);
    own_control_plane::kubeconfig_in(&dir)
}

/// Writes a kubeconfig for an API server that needs no credential, such as a proxy of a test.
pub fn write_kubeconfig(file: &Path, server: &str) {
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(file, config.to_string()).unwrap();
}
