//! Istio's charts for the tests. They are not a part of this repository.

use std::path::{Path, PathBuf};

/// Folder with `istio-<version>/<chart>`: `$SAILHAND_CHARTS`, or `charts` in `$SAILHAND_SHARED` (`../shared`).
///
/// # Panics
/// When it is not there: a test that needs it cannot do without.
pub fn folder() -> PathBuf {
    let shared = std::env::var_os("SAILHAND_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = std::env::var_os("SAILHAND_CHARTS").map_or_else(|| shared.join("charts"), PathBuf::from);
    assert!(
        folder.join("istio-1.30.3/base/Chart.yaml").is_file(),
        "{} has no charts of Istio 1.30.3; SAILHAND_CHARTS names a folder that has them as istio-1.30.3/base and so on \
         (from a release of Istio: manifests/charts)",
        folder.display()
    );
    folder
}
