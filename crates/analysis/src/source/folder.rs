//! Recognizes files that look like manifests but are input of another tool: templates of a Helm chart, patches of
//! Kustomize. Parsing them as manifests would report false errors, or hide the object that they patch. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use sailhand_base::prose::plural;

use super::super::Value;

/// Files of a folder that were skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// Templates of a Helm chart.
    Templates {
        /// Folder of its `Chart.yaml`.
        chart: PathBuf,
        /// Number of files.
        files: usize,
    },
    /// A kustomization that cannot be built exactly. Its files were read as they are.
    NotApplied {
        /// Folder of its `kustomization.yaml`.
        kustomization: PathBuf,
        /// The field or the cause.
        what: String,
    },
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Templates { chart, files } => {
                write!(f, "{} of the Helm chart {}", plural(*files, "template"), chart.display())
            }
            Self::NotApplied { kustomization, what } => {
                write!(
                    f,
                    "the kustomization {}, because of {what}; its files were read as they are",
                    kustomization.display()
                )
            }
        }
    }
}

impl PassedOver {
    /// `not read` or `not built`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Templates { .. } => "not read",
            Self::NotApplied { .. } => "not built",
        }
    }

    /// Whether the files contain objects of their own, which were not analyzed. Those of a kustomization were.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Templates { .. })
    }

    /// Command that renders the files and analyzes the result.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Templates { chart, .. } => format!("helm template {} | sailhand analyze -", chart.display()),
            Self::NotApplied { kustomization, .. } => {
                format!("kubectl kustomize {} | sailhand analyze -", kustomization.display())
            }
        }
    }
}

/// File names of a kustomization.
pub(super) const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Files that a kustomization uses as patches, or as content of generators.
pub(super) fn patches(folder: &Path, root: &Value) -> Vec<PathBuf> {
    let paths = |list: &Value| -> Vec<PathBuf> {
        let path = |item: &Value| item.as_str().map_or_else(|| item["path"].text().to_owned(), str::to_owned);
        // A patch may also be inline.
        let is_path = |path: &String| !path.is_empty() && !path.contains(['\n', '{']) && !path.contains(": ");
        let paths = list.items().iter().map(path).filter(is_path);
        paths.map(|path| folder.join(path)).collect()
    };
    let lists =
        ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers", "configurations"];
    let generators = ["configMapGenerator", "secretGenerator"].iter().flat_map(|field| root[*field].items());
    let content = generators
        .flat_map(|one| one["files"].texts())
        .map(|file| folder.join(file.split_once('=').map_or(file, |(_, path)| path)));
    lists.iter().flat_map(|field| paths(&root[*field])).chain(content).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::kustomize::Kustomization;

    #[test]
    fn kustomization_patches_are_recognized() {
        let text = "resources: [../../base]\npatches:\n- path: a.yaml\n  target: {kind: Pod}\n- patch: |-\n    - op: add\n\
                    patchesStrategicMerge:\n- b/c.yaml\n- |-\n  kind: Pod\n";
        let patches = |folder: &str, text: &str| Kustomization::read(Path::new(folder), text, 0).patches;
        let found = patches("overlay", text);
        assert_eq!(found, [Path::new("overlay/a.yaml"), Path::new("overlay/b/c.yaml")]);
        assert!(patches(".", "a: [").is_empty());
    }
}
