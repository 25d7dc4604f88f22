//! Istio's charts for the tests. They are not a part of this repository.

use std::path::{Path, PathBuf};

/// Folder with `istio-<version>/<chart>`: `$SAILHAND_CHARTS`, or `charts` in `$SAILHAND_SHARED` (`../shared`).
pub fn folder() -> PathBuf {
    let shared = std::env::var_os("SAILHAND_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    std::env::var_os("SAILHAND_CHARTS").map_or_else(|| shared.join("charts"), PathBuf::from)
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
