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

/// A control plane of one test's own, which may break it.
pub struct Own(PathBuf);

impl Own {
    /// Starts it; it ends soon after this process at the latest.
    pub fn start() -> Self {
        Self(start_in(&format!("own-{}", uuid::Uuid::new_v4().simple())))
    }

    /// Of its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.0
    }

    /// kill -9 of the API server, and another with the same arguments; done when that is ready.
    pub async fn restart_api_server(&self) {
        let restart =
            tokio::process::Command::new(script()).arg("restart").arg(self.dir()).arg("kube-apiserver").output();
        let output = restart.await.expect("run the script");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn dir(&self) -> &Path {
        self.0.parent().expect("it is in a folder")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("down").arg(self.dir()).status();
    }
}

fn start() -> PathBuf {
    start_in("all")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control-plane.sh")
}

fn start_in(name: &str) -> PathBuf {
    let id = std::process::id();
    let dir = std::env::temp_dir().join(format!("sailhand-control-plane-{id}-{name}"));
    let script = script();
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
