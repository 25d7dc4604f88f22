//! Reads files and folders. The only module of the analysis that accesses the file system.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::Place;
use super::folder::{KUSTOMIZATIONS, PassedOver};
use super::kustomize::{self, Files, Inexact, Kustomization, Spent, normalized};
use super::{Build, Error, MAX_BYTES, Sources};

/// File name extensions that are read in folders.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// Deepest folder below the given one.
const MAX_FOLDERS: usize = 32;

/// Adds the contents of files; for a folder, those of all `.yaml`, `.yml` and `.json` files below it, sorted by name.
/// Folders whose name starts with a dot are skipped, and symbolic links to folders are not followed. Templates of Helm
/// charts are counted and not read; a file that is given explicitly is read whatever its name. Kustomizations are built,
/// and the files that they use are not read otherwise.
///
/// Only regular files are read. Pipes, sockets and devices are errors if given explicitly and are skipped in folders,
/// because reading them may never end. A pipe of the shell (`<(command)`, below `/dev/fd`) is read.
pub fn read(path: &Path, sources: &mut Sources, errors: &mut Vec<Error>) {
    let bounds = sources.bounds;
    let mut found = Found { most_entries: bounds.entries, ..Found::default() };
    if path.is_dir() {
        found.list(path, 0, errors);
    } else {
        found.files.push(path.to_path_buf());
    }
    if found.entries > bounds.entries {
        let what = format!("the folder has more than {} entries; the rest was skipped", bounds.entries);
        errors.push(Error::Limit { place: Place { file: path.display().to_string(), line: 1 }, what });
    }
    let unsaved = std::mem::take(&mut sources.texts);
    let mut loaded = Loaded::new(path, &unsaved, bounds.bytes);
    let (mut builds, inexact) = found.build(&mut loaded);
    let unapplied = kustomize::unapplied(&found.kustomizations, &inexact);
    sources.is_partial |= unapplied.values().any(|it| it.namespaces.len() > 1);
    sources.passed_over.append(&mut found.passed_over);
    let mut total = sources.bytes();
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    for file in found.files {
        let name = file.display().to_string();
        if total > bounds.bytes {
            let what =
                format!("the files have more than {} MiB; this one and the rest were not read", bounds.bytes >> 20);
            errors.push(Error::Limit { place: Place { file: name, line: 1 }, what });
            break;
        }
        let path = normalized(&file);
        let known = loaded.numbers.get(&path).copied();
        let text = match (known, unsaved.get(&path)) {
            (Some(known), _) => Ok(loaded.text(known)),
            (None, Some(text)) => Ok(text.clone()),
            (None, None) => read_file(&file),
        };
        match text {
            Ok(text) => {
                total += text.len();
                let number = sources.add(name, text);
                numbers.extend(known.map(|known| (known, number)));
                if let (Some(source), Some(it)) = (sources.get_mut(number), unapplied.get(&path)) {
                    source.namespace = it.namespaces.first().filter(|_| it.namespaces.len() == 1).cloned();
                    source.renamed_by.clone_from(&it.renamed_by);
                    source.is_patched = it.is_patched;
                }
            }
            Err(source) => errors.push(Error::File { path: name, source }),
        }
    }
    for object in builds.iter_mut().flat_map(|build| &mut build.objects) {
        let known = object.origin.file;
        object.origin.file = *numbers.entry(known).or_insert_with(|| {
            let name = found.names.get(&loaded.paths[index(known)]);
            let name = name.unwrap_or(&loaded.paths[index(known)]).display().to_string();
            sources.add_built(name, loaded.text(known))
        });
    }
    sources.builds.append(&mut builds);
    sources.texts = unsaved;
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
    // Opening a pipe waits for its other end, so its kind is checked first.
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
    /// Most entries of the folders.
    most_entries: usize,
    /// Entries of the folders so far.
    entries: usize,
    passed_over: Vec<PassedOver>,
    kustomizations: Vec<Rc<Kustomization>>,
    /// Paths as the user knows them, by normalized path.
    names: HashMap<PathBuf, PathBuf>,
}

impl Found {
    fn list(&mut self, folder: &Path, depth: usize, errors: &mut Vec<Error>) {
        if self.entries > self.most_entries {
            return;
        }
        let entries = match entries(folder, self.most_entries + 1 - self.entries) {
            Ok(entries) => entries,
            Err(source) => {
                errors.push(Error::File { path: folder.display().to_string(), source });
                return;
            }
        };
        self.entries += entries.len();
        let has = |name: &str| entries.iter().any(|path| path.file_name().is_some_and(|found| found == name));
        let is_chart = has("Chart.yaml");
        if KUSTOMIZATIONS.iter().any(|name| has(name)) {
            self.names.insert(normalized(folder), folder.to_path_buf());
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

    /// Builds the kustomizations, leaves out the files that builds use, and gives the builds and the folders of
    /// kustomizations that cannot be built exactly.
    fn build(&mut self, loaded: &mut Loaded<'_>) -> (Vec<Build>, Vec<PathBuf>) {
        if self.names.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let mut folders: Vec<&PathBuf> = self.names.keys().collect();
        folders.sort();
        self.kustomizations = folders.into_iter().filter_map(|folder| loaded.kustomization(folder)).collect();
        // Patches are not manifests, even if they are not applied.
        let mut used: BTreeSet<PathBuf> =
            self.kustomizations.iter().flat_map(|one| one.patches.iter().cloned()).collect();
        let (mut spent, mut builds, mut inexact) = (Spent::default(), Vec::new(), Vec::new());
        for root in kustomize::roots(&self.kustomizations) {
            let shown = self.names.get(&root.folder).unwrap_or(&root.folder);
            loaded.used.clear();
            match kustomize::build(root, loaded, &mut spent) {
                Ok(objects) => {
                    used.append(&mut loaded.used);
                    builds.push(Build { name: shown.display().to_string().into(), objects });
                }
                Err(Inexact(what)) => {
                    inexact.push(root.folder.clone());
                    self.passed_over.push(PassedOver::NotApplied { kustomization: shown.clone(), what });
                }
            }
        }
        self.names.extend(self.files.iter().map(|file| (normalized(file), file.clone())));
        self.files.retain(|file| !used.contains(&normalized(file)));
        (builds, inexact)
    }
}

/// Files that builds have read.
struct Loaded<'a> {
    /// Texts that are used instead of those on disk.
    unsaved: &'a HashMap<PathBuf, String>,
    /// The folder that is analyzed.
    top: PathBuf,
    /// By number.
    paths: Vec<PathBuf>,
    texts: Vec<Rc<str>>,
    numbers: HashMap<PathBuf, u32>,
    bytes: usize,
    most_bytes: usize,
    /// Those that the current build has read.
    used: BTreeSet<PathBuf>,
    kustomizations: HashMap<PathBuf, Option<Rc<Kustomization>>>,
}

impl<'a> Loaded<'a> {
    fn new(top: &Path, unsaved: &'a HashMap<PathBuf, String>, most_bytes: usize) -> Self {
        Self {
            unsaved,
            top: normalized(top),
            paths: Vec::new(),
            texts: Vec::new(),
            numbers: HashMap::new(),
            bytes: 0,
            most_bytes,
            used: BTreeSet::new(),
            kustomizations: HashMap::new(),
        }
    }

    fn text(&self, number: u32) -> String {
        self.texts.get(index(number)).map(ToString::to_string).unwrap_or_default()
    }

    fn load(&mut self, path: &Path) -> Option<(u32, Rc<str>)> {
        if let Some(number) = self.numbers.get(path) {
            return Some((*number, self.texts[index(*number)].clone()));
        }
        let read = self.unsaved.get(path).cloned().map_or_else(|| read_file(path), Ok);
        let text: Rc<str> = read.ok().filter(|text| self.bytes + text.len() <= self.most_bytes)?.into();
        let number = u32::try_from(self.texts.len()).ok()?;
        self.bytes += text.len();
        self.paths.push(path.to_path_buf());
        self.texts.push(text.clone());
        self.numbers.insert(path.to_path_buf(), number);
        Some((number, text))
    }
}

impl Files for Loaded<'_> {
    fn read(&mut self, folder: &Path, path: &Path) -> Option<(u32, Rc<str>)> {
        let is_below =
            |above: &Path| if above.as_os_str().is_empty() { !is_above(path) } else { path.starts_with(above) };
        let loaded = (is_below(&self.top) || is_below(folder)).then(|| self.load(path))??;
        self.used.insert(path.to_path_buf());
        Some(loaded)
    }

    fn is_folder(&self, path: &Path) -> bool {
        on_disk(path).is_dir()
    }

    fn kustomization(&mut self, folder: &Path) -> Option<Rc<Kustomization>> {
        if let Some(known) = self.kustomizations.get(folder) {
            return known.clone();
        }
        let path = KUSTOMIZATIONS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        let read = path
            .and_then(|path| self.load(&path))
            .map(|(number, text)| Rc::new(Kustomization::read(folder, &text, number)));
        self.kustomizations.insert(folder.to_path_buf(), read.clone());
        read
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whether a normalized path leads out of the working folder.
fn is_above(path: &Path) -> bool {
    path.is_absolute() || path.starts_with("..")
}

/// The working folder has an empty normalized path.
fn on_disk(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
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
