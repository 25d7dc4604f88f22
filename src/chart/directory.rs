//! Charts in a folder: a checkout or an unpacked release of Istio, or packed charts of a mirror. Read for each command, so
//! that changes of files have an effect. Symbolic links are not followed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Chart, Error, MAX_BYTES, MAX_FILES, archive, hex};

/// Deepest folder of a chart.
const DEPTH: usize = 8;

/// Maximum number of entries of the folder that are read for versions, and of versions in an error.
const MOST: usize = 1000;
const NAMED: usize = 10;

/// Where a chart may lie below the folder.
fn places(root: &Path, chart: &str, version: &str) -> Vec<PathBuf> {
    let in_release = match chart {
        "istiod" => "istio-control/istio-discovery",
        "cni" => "istio-cni",
        other => other,
    };
    vec![
        root.join(format!("istio-{version}")).join(chart),
        root.join(version).join(chart),
        root.join(format!("istio-{version}/manifests/charts")).join(in_release),
    ]
}

/// Finds and reads a chart.
pub(super) fn fetch(root: &Path, name: &str, version: &str) -> Result<Chart, Error> {
    let chart = || format!("{name}-{version}");
    let packed = root.join(format!("{name}-{version}.tgz"));
    if packed.is_file() {
        let wrong = |reason: String| Error::Unsafe { chart: chart(), reason };
        let bytes = bounded(&packed, MAX_BYTES).map_err(|error| wrong(format!("{}: {error}", packed.display())))?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        return Chart::of(name, version, digest, archive::read(&bytes).map_err(wrong)?);
    }
    let places = places(root, name, version);
    let Some(folder) = places.iter().find(|place| place.join("Chart.yaml").is_file()) else {
        let looked: Vec<_> = places.iter().chain([&packed]).map(|place| place.display().to_string()).collect();
        let reason = match (root.is_dir(), versions(root, name).as_slice()) {
            (false, _) if root.to_string_lossy().contains("://") => {
                "it is taken for a folder, as addresses begin with http://, https:// or oci://".to_owned()
            }
            (false, _) => "there is no such folder".to_owned(),
            (true, []) => format!("none of {} exists", looked.join(", ")),
            (true, others) => format!("it has {name} of {}; none of {} exists", others.join(", "), looked.join(", ")),
        };
        return Err(Error::Missing { place: root.display().to_string(), chart: chart(), reason });
    };
    let mut files = BTreeMap::new();
    let mut left = MAX_BYTES;
    walk(folder, "", DEPTH, &mut left, &mut files).map_err(|reason| Error::Unsafe { chart: chart(), reason })?;
    let mut digest = Sha256::new();
    for (path, content) in &files {
        digest.update(format!("{path}\0{}\0", content.len()));
        digest.update(content);
    }
    Chart::of(name, version, format!("sha256:{}", hex(&digest.finalize())), files)
}

/// Versions of the chart in the folder, for errors.
fn versions(root: &Path, name: &str) -> Vec<String> {
    let named = |file: String| {
        let packed = file.strip_prefix(&format!("{name}-")).and_then(|rest| rest.strip_suffix(".tgz"));
        let version = packed.or_else(|| file.strip_prefix("istio-")).unwrap_or(&file).to_owned();
        let has = packed.is_some() || places(root, name, &version).iter().any(|it| it.join("Chart.yaml").is_file());
        has.then_some(version)
    };
    let entries = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok).take(MOST);
    let mut found: Vec<_> = entries.filter_map(|entry| named(entry.file_name().into_string().ok()?)).collect();
    found.sort();
    found.dedup();
    found.truncate(NAMED);
    found
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    left: &mut u64,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(said)? {
        let entry = entry.map_err(said)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
            return Err(format!("{} is not a valid path in a chart", path.display()));
        };
        let kind = entry.file_type().map_err(said)?;
        if kind.is_dir() {
            let depth = depth.checked_sub(1).ok_or_else(|| format!("{} lies too deep", path.display()))?;
            walk(&path, &format!("{name}/"), depth, left, files)?;
        } else if kind.is_file() {
            let content = bounded(&path, *left).map_err(|error| format!("{}: {error}", path.display()))?;
            *left -= content.len() as u64;
            files.insert(name, content);
            if files.len() > MAX_FILES {
                return Err(format!("it has more than {MAX_FILES} files"));
            }
        } else {
            return Err(format!("{} is a link or a device", path.display()));
        }
    }
    Ok(())
}

/// A file of at most so many bytes.
fn bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(std::io::Error::other(format!("more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(folder: &Path, version: &str) {
        fs::create_dir_all(folder.join("templates")).unwrap();
        fs::write(folder.join("Chart.yaml"), format!("name: base\nversion: {version}\n")).unwrap();
        fs::write(folder.join("templates/a.yaml"), "a: b\n").unwrap();
    }

    #[test]
    fn chart_is_found_in_each_layout_and_its_digest_changes_with_its_files() {
        let root = tempfile::tempdir().unwrap();
        chart(&root.path().join("istio-1.30.3/base"), "1.0.0");
        chart(&root.path().join("1.29.0/base"), "1.29.0");
        chart(&root.path().join("istio-1.28.1/manifests/charts/base"), "1.0.0");
        for version in ["1.30.3", "1.29.0", "1.28.1"] {
            assert_eq!(fetch(root.path(), "base", version).unwrap().files.len(), 2, "{version}");
        }
        fs::write(root.path().join("base-1.27.1.tgz"), "").unwrap();
        let told = |root: &Path| fetch(root, "base", "1.27.0").unwrap_err().to_string();
        assert!(told(root.path()).contains("it has base of 1.27.1, 1.28.1, 1.29.0, 1.30.3; none of"));
        assert!(told(&root.path().join("none")).ends_with("there is no such folder"));
        assert!(told(Path::new("ftp://charts.example")).contains("taken for a folder"));
        let before = fetch(root.path(), "base", "1.30.3").unwrap().digest;
        assert_eq!(fetch(root.path(), "base", "1.30.3").unwrap().digest, before);
        fs::write(root.path().join("istio-1.30.3/base/templates/a.yaml"), "a: c\n").unwrap();
        assert_ne!(fetch(root.path(), "base", "1.30.3").unwrap().digest, before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("istio-1.30.3/base");
        chart(&folder, "1.0.0");
        std::os::unix::fs::symlink("/etc/passwd", folder.join("templates/b.yaml")).unwrap();
        assert!(matches!(fetch(root.path(), "base", "1.30.3"), Err(Error::Unsafe { .. })));
    }
}
