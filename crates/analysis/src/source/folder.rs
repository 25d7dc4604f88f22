//! What lies in folders and looks like objects, but only becomes objects by another tool: templates of a Helm chart,
//! patches of Kustomize. Read as they are, they would be told to be wrong, or hide the object that they are laid over.
//! Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::Node;
use super::read_value;

/// The files of a folder that were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// Templates of a Helm chart.
    Templates {
        /// Where its `Chart.yaml` is.
        chart: PathBuf,
        /// How many files.
        files: usize,
    },
    /// Patches that a kustomization lays over other objects.
    Patches {
        /// Where its `kustomization.yaml` is.
        kustomization: PathBuf,
        /// How many files.
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
    /// Whether it holds objects of its own, which nobody has looked at then; a patch is for objects that were.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Templates { .. })
    }

    /// What makes objects of it.
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

/// Names of a kustomization's file.
pub(super) const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The files that a kustomization names as patches.
pub(super) fn patches(folder: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(root) = read_value("kustomization", text) else { return Vec::new() };
    let paths = |list: &Node, field: &str| -> Vec<PathBuf> {
        let path = |item: &Node| item.as_str().map_or_else(|| item[field].text().to_owned(), str::to_owned);
        // A patch may stand in its place too.
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
    fn patches_are_those_that_a_kustomization_names() {
        let text = "resources: [../../base]\npatches:\n- path: a.yaml\n  target: {kind: Pod}\n- patch: |-\n    - op: add\n\
                    patchesStrategicMerge:\n- b/c.yaml\n- |-\n  kind: Pod\n";
        let found = patches(Path::new("overlay"), text);
        assert_eq!(found, [Path::new("overlay/a.yaml"), Path::new("overlay/b/c.yaml")]);
        assert!(patches(Path::new("."), "a: [").is_empty());
    }
}
