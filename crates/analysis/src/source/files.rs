//! Reads files and folders. The only module of the analysis that accesses the file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::Place;
use super::folder::{KUSTOMIZATIONS, PassedOver};
use super::kustomize::{self, Kustomization};
use super::{Error, MAX_BYTES, Sources};

/// File name extensions that are read in folders.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Deepest folder below the given one.
const MAX_FOLDERS: usize = 32;
/// Most entries of all folders below the one named; what comes after them is not looked at.
const MAX_ENTRIES: usize = 500_000;
/// Most bytes of all files that are named or found, together.
const MAX_TOTAL: usize = 1 << 30;

/// Adds the contents of files; for a folder, those of all `.yaml`, `.yml` and `.json` files below it, sorted by name.
/// Folders whose name starts with a dot are skipped, and symbolic links to folders are not followed. Templates of Helm
/// charts and patches of Kustomize are counted and not read; a file that is given explicitly is read whatever its name.
///
/// Only regular files are read. Pipes, sockets and devices are errors if given explicitly and are skipped in folders,
/// because reading them may never end. A pipe of the shell (`<(command)`, below `/dev/fd`) is read.
pub fn read(path: &Path, sources: &mut Sources, errors: &mut Vec<Error>) {
    let mut found = Found::default();
    if path.is_dir() {
        found.list(path, 0, errors);
    } else {
        found.files.push(path.to_path_buf());
    }
    if found.entries > MAX_ENTRIES {
        let what = format!("the folder has more than {MAX_ENTRIES} entries; the rest was not looked at");
        errors.push(Error::Limit { place: Place { file: path.display().to_string(), line: 1 }, what });
    }
    found.leave_out_patches();
    found.note_not_applied();
    let namespaces = kustomize::namespaces(&found.kustomizations);
    let namespaces_of = |file: &Path| namespaces.get(&file.canonicalize().ok()?);
    sources.is_partial |= !found.passed_over.is_empty() || namespaces.values().any(|names| names.len() > 1);
    sources.passed_over.append(&mut found.passed_over);
    let mut total = sources.bytes();
    for file in found.files {
        let name = file.display().to_string();
        if total > MAX_TOTAL {
            let what = format!("the files have more than {} MiB; this one and the rest were not read", MAX_TOTAL >> 20);
            errors.push(Error::Limit { place: Place { file: name, line: 1 }, what });
            return;
        }
        match read_file(&file) {
            Ok(text) => {
                total += text.len();
                let number = sources.add(name, text);
                // Of a base that several overlays put into different namespaces, none is right for all.
                if let Some(names) = namespaces_of(&file).filter(|names| names.len() == 1) {
                    sources.set_namespace(number, names.first().cloned());
                }
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
    // Opening a pipe waits for its other end, so its kind is looked at before.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() && !is_of_shell(path) {
        return Err(std::io::Error::other("it is a pipe, a socket or a device, and no regular file"));
    }
    let file = fs::File::open(path)?;
    let length = metadata.len();
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or(0).min(MAX_BYTES) + 1);
    file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a shell made a pipe for this process, as for `<(command)`.
fn is_of_shell(path: &Path) -> bool {
    ["/dev/fd", "/proc/self/fd", "/dev/stdin"].iter().any(|folder| path.starts_with(folder))
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Entries of the folders so far.
    entries: usize,
    passed_over: Vec<PassedOver>,
    kustomizations: Vec<Kustomization>,
}

impl Found {
    fn list(&mut self, folder: &Path, depth: usize, errors: &mut Vec<Error>) {
        if self.entries > MAX_ENTRIES {
            return;
        }
        let entries = match entries(folder, MAX_ENTRIES + 1 - self.entries) {
            Ok(entries) => entries,
            Err(source) => {
                errors.push(Error::File { path: folder.display().to_string(), source });
                return;
            }
        };
        self.entries += entries.len();
        let has = |name: &str| entries.iter().any(|path| path.file_name().is_some_and(|found| found == name));
        let is_chart = has("Chart.yaml");
        if let Some(name) = KUSTOMIZATIONS.iter().find(|name| has(name))
            && let Ok(text) = read_file(&folder.join(name))
        {
            self.kustomizations.push(Kustomization::read(folder, &text));
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
            } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
                && !is_special(&path)
            {
                self.files.push(path);
            }
        }
    }

    /// What kustomizations do beside their patches and namespaces.
    fn note_not_applied(&mut self) {
        for one in self.kustomizations.iter().filter(|one| !one.not_applied.is_empty()) {
            let is_noted = self
                .passed_over
                .iter()
                .any(|it| matches!(it, PassedOver::Patches { kustomization, .. } if *kustomization == one.folder));
            if !is_noted {
                let (kustomization, what) = (one.folder.clone(), one.not_applied.join(", "));
                self.passed_over.push(PassedOver::NotApplied { kustomization, what });
            }
        }
    }

    /// A kustomization may reference files in parent folders, so this runs after all files are listed.
    fn leave_out_patches(&mut self) {
        let mut patches: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for (index, one) in self.kustomizations.iter().enumerate() {
            patches.extend(one.patches.iter().filter_map(|path| Some((path.canonicalize().ok()?, index))));
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
        for (one, files) in self.kustomizations.iter().zip(counts).filter(|(_, files)| *files > 0) {
            self.passed_over.push(PassedOver::Patches { kustomization: one.folder.clone(), files });
        }
    }
}

/// Whether it is there and neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

/// Sorted by name, at most so many.
fn entries(folder: &Path, most: usize) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let mut entries: Vec<PathBuf> = entries.take(most).collect();
    entries.sort();
    Ok(entries)
}
