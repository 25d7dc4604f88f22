//! A control plane for one test alone: what is cluster-wide, as Istio is, cannot be shared, nor one that a test breaks.
//! Two at a time in a process, as each takes half a GiB: most of their time tests wait for controllers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::tools;

static SLOTS: Semaphore = Semaphore::const_new(2);

/// See the module. It ends when it is dropped, or with this process.
pub struct ControlPlane {
    dir: PathBuf,
    _slot: SemaphorePermit<'static>,
}

impl ControlPlane {
    /// Starts one.
    pub async fn start() -> Self {
        let slot = SLOTS.acquire().await.unwrap();
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let plane = Self { dir: std::env::temp_dir().join(format!("sailhand-plane-{}", &unique[..12])), _slot: slot };
        up(&plane.dir);
        plane
    }

    /// An administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_in(&self.dir)
    }

    /// Standard output of `kubectl` with these arguments, which has to succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        let output = command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Where its processes keep their files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// kill -9 of the controllers: from now on, no pods are created or deleted for Deployments.
    pub fn kill_controllers(&self) {
        let pid = std::fs::read_to_string(self.dir.join("kube-controller-manager.pid")).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    }

    /// kill -9 of the API server, and another with the same arguments; done when that is ready.
    pub async fn restart_api_server(&self) {
        let mut command = script();
        command.arg("restart").arg(&self.dir).arg("kube-apiserver");
        let output = tokio::process::Command::from(command).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Err(error) = script().arg("down").arg(&self.dir).output() {
            eprintln!("{} is left: {error}", self.dir.display());
        }
    }
}

/// Starts a control plane with its state in a folder; it ends soon after this process at the latest.
pub(super) fn up(dir: &Path) {
    let id = std::process::id().to_string();
    let output = script().arg("up").arg(dir).args(["--guard", &id]).output().unwrap();
    assert!(
        output.status.success(),
        "the control plane did not start:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Its administrator's kubeconfig.
pub(super) fn kubeconfig_in(dir: &Path) -> PathBuf {
    dir.join("admin.kubeconfig")
}

fn script() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control-plane.sh");
    let mut command = Command::new(script);
    command.env("SAILHAND_CACHE", tools::cache()).stdin(Stdio::null());
    command
}
