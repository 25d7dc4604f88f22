//! Parses text into objects: YAML and JSON, multiple documents, `List`s, within limits. An invalid document does not
//! affect the others. Only `files` accesses the file system.

mod block;
mod budget;
mod error;
pub mod files;
pub mod fix;
mod folder;
mod keys;
mod kustomize;
mod position;
mod read;
mod scalar;
mod split;
mod yaml;

pub use budget::Limits;
pub use error::{Error, Place};
pub use folder::PassedOver;
pub(super) use keys::Keys;
pub use position::Position;
pub use read::{Reading, read, read_value, read_within};
pub use split::{Document, split};
pub use yaml::RepeatedKey;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::units::{Layout, Location};
use super::{Finding, SourceSpan, Value};

/// Largest file, bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// Deepest nesting, levels. CRDs with large schemas stay below 40.
pub const MAX_DEPTH: usize = 100;
/// Maximum number of values in a YAML document.
pub const MAX_VALUES: usize = 1_000_000;

/// Limits of reading folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of entries of all folders below one that is named; later entries are skipped.
    pub entries: usize,
    /// Maximum number of bytes of all files together.
    pub bytes: usize,
}

/// 500,000 entries, 1 GiB.
impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 500_000, bytes: 1 << 30 }
    }
}

/// Texts from which objects were parsed.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    bounds: Bounds,
    passed_over: Vec<PassedOver>,
    /// Whether kustomizations that were not built give the objects of a file different namespaces.
    is_partial: bool,
    /// Objects of kustomizations.
    builds: Vec<Build>,
    /// Texts that are used instead of those on disk, by normalized path.
    texts: HashMap<PathBuf, String>,
    /// Places of findings that were looked up together.
    places: OnceLock<HashMap<(SourceSpan, String), Position>>,
}

/// One file.
#[derive(Debug, Default)]
pub struct Source {
    /// Path as given by the user.
    pub name: String,
    /// Complete text.
    pub text: String,
    /// The namespace that a kustomization puts its objects into.
    namespace: Option<String>,
    /// Whether only builds of kustomizations use it.
    is_built: bool,
    /// The kustomization that renames its objects and was not built.
    renamed_by: Option<PathBuf>,
    /// Whether a kustomization that was not built patches its objects.
    is_patched: bool,
}

/// The objects of a kustomization.
#[derive(Debug)]
struct Build {
    /// Its folder as given by the user.
    name: Arc<str>,
    objects: Vec<kustomize::Object>,
}

impl Sources {
    /// Sources whose files have other texts than those on disk: before they are saved, or after changes that are not
    /// written.
    #[must_use]
    pub fn with_texts(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let texts = texts.into_iter().map(|(path, text)| (kustomize::normalized(&path), text)).collect();
        Self { texts, ..Self::default() }
    }

    /// The same with other bounds.
    #[must_use]
    pub const fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Adds a text; its index is stored in [`SourceSpan::file`].
    pub fn add(&mut self, name: impl Into<String>, text: String) -> u32 {
        self.push(Source { name: name.into(), text, ..Source::default() })
    }

    /// Adds the objects of a Helm chart, instead of its templates and those of the charts below it.
    pub fn add_rendered(&mut self, chart: &Path, text: String) {
        let is_of_chart =
            |one: &PassedOver| matches!(one, PassedOver::Templates { chart: other, .. } if other.starts_with(chart));
        self.passed_over.retain(|one| !is_of_chart(one));
        self.add(chart.join("templates").join("(rendered by helm)").display().to_string(), text);
    }

    /// Whether other tools make more objects of the files, or other ones, than the files have.
    fn is_partial(&self) -> bool {
        self.is_partial || !self.passed_over.is_empty()
    }

    /// Adds a text whose objects builds have collected, so that findings have a place.
    fn add_built(&mut self, name: String, text: String) -> u32 {
        self.push(Source { name, text, is_built: true, ..Source::default() })
    }

    fn push(&mut self, source: Source) -> u32 {
        self.files.push(source);
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Folders of kustomizations that were built, each with its objects in the order of Kustomize.
    pub fn builds(&self) -> impl Iterator<Item = (&str, Vec<&Value>)> {
        self.builds.iter().map(|build| (&*build.name, build.objects.iter().map(|object| &object.root).collect()))
    }

    fn get_mut(&mut self, file: u32) -> Option<&mut Source> {
        self.files.get_mut(usize::try_from(file).ok()?)
    }

    /// Where the files lie, so that the analysis can distinguish which are applied together.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let folder = |source: &Source| {
            (!source.name.starts_with('<')).then(|| Path::new(&source.name).parent().map(Path::to_path_buf)).flatten()
        };
        let location = |source: &Source| Location {
            folder: folder(source),
            renamed_by: source.renamed_by.clone(),
            is_patched: source.is_patched,
        };
        Layout::new(self.files.iter().map(location).collect())
    }

    /// Files that were skipped because another tool renders them, and kustomizations that were not built.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The file with this index.
    #[must_use]
    pub fn get(&self, file: u32) -> Option<&Source> {
        self.files.get(usize::try_from(file).ok()?)
    }

    /// Whether objects of the file are read as they are, and not only as parts of kustomizations.
    #[must_use]
    pub fn is_read_as_is(&self, file: u32) -> bool {
        self.get(file).is_some_and(|source| !source.is_built)
    }

    /// The length of all texts together, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|source| source.text.len()).sum()
    }

    /// Number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// File of a finding, and the position of its field or of the nearest enclosing one. Parses the document of the
    /// finding unless [`Sources::index_positions`] did.
    #[must_use]
    pub fn position(&self, finding: &Finding) -> Option<(&Source, Position)> {
        let origin = finding.origin?;
        let source = self.get(origin.file)?;
        if let Some(position) = self.places.get().and_then(|places| places.get(&(origin, finding.field.clone()))) {
            return Some((source, *position));
        }
        let wanted = [(origin.item, &*finding.field)];
        Some((source, *position::locate(document(source, origin)?, origin.line, &wanted).first()?))
    }

    /// Looks up the places of many findings, so that each document is read once, however many findings it has. Does
    /// nothing when called again.
    pub fn index_positions(&self, findings: &[Finding]) {
        self.places.get_or_init(|| {
            let mut documents: BTreeMap<(u32, u32), Vec<(SourceSpan, &str)>> = BTreeMap::new();
            for finding in findings {
                if let Some(origin) = finding.origin {
                    documents.entry((origin.file, origin.start)).or_default().push((origin, &finding.field));
                }
            }
            let mut places = HashMap::new();
            for fields in documents.into_values() {
                let Some((origin, _)) = fields.first() else { continue };
                let Some(text) = self.get(origin.file).and_then(|source| document(source, *origin)) else { continue };
                let wanted: Vec<_> = fields.iter().map(|(origin, field)| (origin.item, *field)).collect();
                let found = position::locate(text, origin.line, &wanted);
                places.extend(
                    fields.into_iter().zip(found).map(|((origin, field), at)| ((origin, field.to_owned()), at)),
                );
            }
            places
        });
    }
}

fn document(source: &Source, origin: SourceSpan) -> Option<&str> {
    source.text.get(usize::try_from(origin.start).ok()?..usize::try_from(origin.end).ok()?)
}
