//! Istio's charts for the tests. They are not a part of this repository.

use std::path::{Path, PathBuf};

/// Folder with `istio-<version>/<chart>`: `$SAILHAND_CHARTS`, or `charts` in `$SAILHAND_SHARED` (`../shared`).
pub fn folder() -> PathBuf {
    let shared = std::env::var_os("SAILHAND_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    std::env::var_os("SAILHAND_CHARTS").map_or_else(|| shared.join("charts"), PathBuf::from)
}

/// A folder with charts one minor version apart, which this place has none of: those of 1.28.10, once more as 1.29.2, and
/// 1.30.3. A release's charts say nothing of their version, so these install what calls itself 1.29.2 in the images' tags
/// and is 1.28.10 otherwise.
pub fn one_minor_apart() -> tempfile::TempDir {
    let made = tempfile::TempDir::new().expect("a temporary folder");
    for (from, name) in [("1.28.10", "1.28.10"), ("1.28.10", "1.29.2"), ("1.30.3", "1.30.3")] {
        let copied = std::process::Command::new("cp")
            .args(["-R", "-L"])
            .arg(folder().join(format!("istio-{from}")))
            .arg(made.path().join(format!("istio-{name}")))
            .status()
            .expect("run cp");
        assert!(copied.success(), "the charts of {from} cannot be copied");
    }
    made
}

/// Whether a test has to be left out because there are no charts: said loudly, and an error when CI is set.
pub fn are_missing() -> bool {
    let folder = folder();
    if folder.join("istio-1.30.3/base/Chart.yaml").is_file() {
        return false;
    }
    let missing = format!(
        "{} has no charts of Istio 1.30.3; SAILHAND_CHARTS names a folder that has them as istio-1.30.3/base and so on \
         (from a release of Istio: manifests/charts)",
        folder.display()
    );
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    #[allow(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
    {
        eprintln!("NOT RUN: {missing}");
    }
    true
}
