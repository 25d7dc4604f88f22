//! Reads files and folders. The only module of the analysis that accesses the file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::folder::{KUSTOMIZATIONS, PassedOver, patches};
use super::{Error, MAX_BYTES, Sources};

/// File name extensions that are read in folders.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Deepest folder below the given one.
const MAX_FOLDERS: usize = 32;

/// Adds the contents of files; for a folder, those of all `.yaml`, `.yml` and `.json` files below it, sorted by name.
/// Folders whose name starts with a dot are skipped, and symbolic links to folders are not followed. Templates of Helm
/// charts and patches of Kustomize are counted and not read; a file that is given explicitly is always read.
pub fn read(path: &Path, sources: &mut Sources, errors: &mut Vec<Error>) {
    let mut found = Found::default();
    if path.is_dir() {
        found.list(path, 0, errors);
    } else {
        found.files.push(path.to_path_buf());
    }
    found.leave_out_patches();
    sources.passed_over.append(&mut found.passed_over);
    for file in found.files {
        let name = file.display().to_string();
        match read_file(&file) {
            Ok(text) => {
                sources.add(name, text);
            }
            Err(source) => errors.push(Error::File { path: name, source }),
        }
    }
}

/// Reads a text to its end, or until it exceeds the limit.
///
/// # Errors
/// Errors of the system, or text that is not UTF-8.
pub fn read_to_end(mut from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.by_ref().take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let file = fs::File::open(path)?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or(0).min(MAX_BYTES) + 1);
    file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    passed_over: Vec<PassedOver>,
    /// Folders with a kustomization, and the files that it uses as patches.
    kustomizations: Vec<(PathBuf, Vec<PathBuf>)>,
}

impl Found {
    fn list(&mut self, folder: &Path, depth: usize, errors: &mut Vec<Error>) {
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(source) => {
                errors.push(Error::File { path: folder.display().to_string(), source });
                return;
            }
        };
        let has = |name: &str| entries.iter().any(|path| path.file_name().is_some_and(|found| found == name));
        let is_chart = has("Chart.yaml");
        if let Some(name) = KUSTOMIZATIONS.iter().find(|name| has(name))
            && let Ok(text) = read_file(&folder.join(name))
        {
            self.kustomizations.push((folder.to_path_buf(), patches(folder, &text)));
        }
        for path in entries {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                if name.starts_with('.') || path.is_symlink() || depth == MAX_FOLDERS {
                    continue;
                }
                let before = self.files.len();
                self.list(&path, depth + 1, errors);
                if is_chart && name == "templates" && self.files.len() > before {
                    let files = self.files.drain(before..).count();
                    self.passed_over.push(PassedOver::Templates { chart: folder.to_path_buf(), files });
                }
            } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
                self.files.push(path);
            }
        }
    }

    /// A kustomization may reference files in parent folders, so this runs after all files are listed.
    fn leave_out_patches(&mut self) {
        let mut patches: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for (index, (_, named)) in self.kustomizations.iter().enumerate() {
            patches.extend(named.iter().filter_map(|path| Some((path.canonicalize().ok()?, index))));
        }
        if patches.is_empty() {
            return;
        }
        let mut counts = vec![0; self.kustomizations.len()];
        self.files.retain(|file| {
            let of = file.canonicalize().ok().and_then(|file| patches.get(&file));
            of.is_none_or(|index| {
                counts[*index] += 1;
                false
            })
        });
        for ((folder, _), files) in self.kustomizations.drain(..).zip(counts).filter(|(_, files)| *files > 0) {
            self.passed_over.push(PassedOver::Patches { kustomization: folder, files });
        }
    }
}

/// Sorted by name.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    Ok(entries)
}
