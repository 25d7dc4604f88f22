//! Files and folders. The only part of the analysis that touches the file system.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Error, MAX_BYTES, Sources};

/// What is read below a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Deepest folder below the one named.
const MAX_FOLDERS: usize = 32;

/// Adds the texts of files; of folders, those of all `.yaml`, `.yml` and `.json` files below them, in the order of
/// their names. Folders that begin with a dot are passed over, and links to folders are not followed.
pub fn read(path: &Path, sources: &mut Sources, errors: &mut Vec<Error>) {
    let mut files = Vec::new();
    if path.is_dir() {
        list(path, 0, &mut files, errors);
    } else {
        files.push(path.to_path_buf());
    }
    for file in files {
        let name = file.display().to_string();
        match read_file(&file) {
            Ok(text) => {
                sources.add(name, text);
            }
            Err(source) => errors.push(Error::File { path: name, source }),
        }
    }
}

/// Reads a text until its end, or until it is longer than what is read.
///
/// # Errors
/// The system's; a text that is no UTF-8.
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

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, errors: &mut Vec<Error>) {
    let mut entries: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(source) => {
            errors.push(Error::File { path: folder.display().to_string(), source });
            return;
        }
    };
    entries.sort();
    for path in entries {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            if !is_hidden && !path.is_symlink() && depth < MAX_FOLDERS {
                list(&path, depth + 1, files, errors);
            }
        } else if path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
}
