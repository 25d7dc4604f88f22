//! Finds the programs that `just tools` prepares.

use std::path::{Path, PathBuf};

/// The repository's cache folder: `$SAILHAND_CACHE`, or `.cache` at the repository's root.
pub fn cache() -> PathBuf {
    std::env::var_os("SAILHAND_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache"), PathBuf::from)
}

/// The path of a program: what the variable `from` names, or the one in the cache.
///
/// # Panics
/// When it is in neither place: the tests need the real thing.
pub fn program(name: &str, from: &str) -> PathBuf {
    let path = std::env::var_os(from).map_or_else(|| cache().join("bin").join(name), PathBuf::from);
    assert!(path.is_file(), "{} is missing; `just tools` builds it, or {from} names another one", path.display());
    path
}

/// A number from the environment.
///
/// # Panics
/// When the variable has another text.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}
