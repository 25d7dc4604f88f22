//! Folders of manifests in memory, and what the analysis reports about them.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;

use sailhand::analysis::source::{self, Sources, files};
use sailhand::analysis::{Finding, Settings, Snapshot, mesh, rules, run_alternatives};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

/// Paths with their texts.
pub type Tree = BTreeMap<String, String>;

/// All findings about a folder with these files, and a line for each text that could not be read. `whole_cluster` is the
/// option of that name.
pub fn found(tree: &Tree, whole_cluster: bool) -> (Vec<Finding>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in tree {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
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
