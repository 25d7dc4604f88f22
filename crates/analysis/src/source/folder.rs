//! Recognizes files that look like manifests but are input of another tool: templates of a Helm chart, patches of
//! Kustomize. Parsing them as manifests would report false errors, or hide the object that they patch. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::Value;
use super::read_value;

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
    /// Patches of a kustomization.
    Patches {
        /// Path of its `kustomization.yaml`.
        kustomization: PathBuf,
        /// Number of files.
        files: usize,
    },
    /// Fields of a kustomization that change objects and were not applied.
    NotApplied {
        /// Where its `kustomization.yaml` is.
        kustomization: PathBuf,
        /// Their names, with commas.
        what: String,
    },
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |files: &usize| if *files == 1 { "" } else { "s" };
        match self {
            Self::Templates { chart, files } => {
                write!(f, "{files} template{} of the Helm chart {}", s(files), chart.display())
            }
            Self::Patches { kustomization, files } => {
                write!(f, "{files} patch{} of {}", if *files == 1 { "" } else { "es" }, kustomization.display())
            }
            Self::NotApplied { kustomization, what } => {
                write!(f, "{what} of {}", kustomization.display())
            }
        }
    }
}

impl PassedOver {
    /// Whether the files contain objects of their own, which were not analyzed. A patch changes objects that were.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Templates { .. })
    }

    /// Command that renders the files and analyzes the result.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Templates { chart, .. } => format!("helm template {} | sailhand analyze -", chart.display()),
            Self::Patches { kustomization, .. } | Self::NotApplied { kustomization, .. } => {
                format!("kubectl kustomize {} | sailhand analyze -", kustomization.display())
            }
        }
    }
}

/// File names of a kustomization.
pub(super) const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Files that a kustomization uses as patches.
pub(super) fn patches(folder: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(root) = read_value("kustomization", text) else { return Vec::new() };
    let paths = |list: &Value, field: &str| -> Vec<PathBuf> {
        let path = |item: &Value| item.as_str().map_or_else(|| item[field].text().to_owned(), str::to_owned);
        // A patch may also be inline.
        let is_path = |path: &String| !path.is_empty() && !path.contains(['\n', '{']) && !path.contains(": ");
        let paths = list.items().iter().map(path).filter(is_path);
        paths.map(|path| folder.join(path)).collect()
    };
    ["patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers", "configurations"]
        .iter()
        .flat_map(|field| paths(&root[*field], "path"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kustomization_patches_are_recognized() {
        let text = "resources: [../../base]\npatches:\n- path: a.yaml\n  target: {kind: Pod}\n- patch: |-\n    - op: add\n\
                    patchesStrategicMerge:\n- b/c.yaml\n- |-\n  kind: Pod\n";
        let found = patches(Path::new("overlay"), text);
        assert_eq!(found, [Path::new("overlay/a.yaml"), Path::new("overlay/b/c.yaml")]);
        assert!(patches(Path::new("."), "a: [").is_empty());
    }
}
