//! A control plane for one test alone: what is cluster-wide, as Istio is, cannot be shared. One at a time in a process,
//! as each takes half a GiB.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::sync::{Mutex, MutexGuard};

use super::tools;

static ONE: Mutex<()> = Mutex::const_new(());

/// See the module. It ends when it is dropped, or with this process.
pub struct Plane {
    dir: PathBuf,
    _one: MutexGuard<'static, ()>,
}

impl Plane {
    /// Starts one.
    pub async fn start() -> Self {
        let one = ONE.lock().await;
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let plane = Self { dir: std::env::temp_dir().join(format!("sailhand-plane-{}", &unique[..12])), _one: one };
        let id = std::process::id().to_string();
        let output = script().arg("up").arg(&plane.dir).args(["--guard", &id]).output().unwrap();
        assert!(
            output.status.success(),
            "the control plane did not start:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        plane
    }

    /// An administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Where its processes keep their files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Err(error) = script().arg("down").arg(&self.dir).output() {
            eprintln!("{} is left: {error}", self.dir.display());
        }
    }
}

fn script() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control-plane.sh");
    let mut command = Command::new(script);
    command.env("SAILHAND_CACHE", tools::cache()).stdin(Stdio::null());
    command
}
