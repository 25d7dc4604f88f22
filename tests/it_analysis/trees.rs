//! Folders of manifests in memory, and what the analysis reports about them.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;

use sailhand::analysis::source::{self, Sources, files};
use sailhand::analysis::{Finding, Settings, Snapshot, mesh, rules, run_alternatives};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// Paths with their texts.
pub type Tree = BTreeMap<String, String>;

/// Writes the files into a folder.
pub fn write(tree: &Tree, folder: &Path) {
    for (name, text) in tree {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// All findings about a folder with these files, and a line for each text that could not be read. `whole_cluster` is the
/// option of that name.
pub fn found(tree: &Tree, whole_cluster: bool) -> (Vec<Finding>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    write(tree, folder.path());
    let (mut sources, mut unread) = (Sources::default(), Vec::new());
    files::read(folder.path(), &mut sources, &mut unread);
    let reading = source::read(&sources, NonZero::<usize>::MIN);
    unread.extend(reading.errors);
    let layout = sources.layout();
    let settings = Settings { whole_cluster, layout, ..mesh::settings_in(&reading.resources, NOW) };
    let snapshot = Snapshot::new(reading.resources, settings);
    let findings = run_alternatives(&snapshot, rules::ALL, NonZero::<usize>::MIN);
    (findings, unread.iter().map(ToString::to_string).collect())
}
