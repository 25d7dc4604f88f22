//! Reads a chart's archive into memory without trusting it: no links, no paths outside of its folder, bounded.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use flate2::read::GzDecoder;

use super::{MAX_BYTES, MAX_FILES};

/// The files below the archive's one folder.
pub(super) fn read(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    let mut left = MAX_BYTES;
    // A bound on what is unpacked at all: what is skipped costs time too.
    let unpacked = GzDecoder::new(archive).take(4 * MAX_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    let entries = archive.entries().map_err(|error| error.to_string())?;
    for entry in entries {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        let shown = path.display().to_string();
        match entry.header().entry_type() {
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Regular => {}
            other => return Err(format!("{shown} is a {other:?} and not a file")),
        }
        let Some(name) = below_folder(&path)? else { continue };
        if files.len() >= MAX_FILES {
            return Err(format!("it has more than {MAX_FILES} files"));
        }
        let mut content = Vec::new();
        entry.by_ref().take(left + 1).read_to_end(&mut content).map_err(|error| format!("{shown}: {error}"))?;
        left = left
            .checked_sub(content.len() as u64)
            .ok_or_else(|| format!("its files have more than {} MiB", MAX_BYTES >> 20))?;
        if files.insert(name, content).is_some() {
            return Err(format!("{shown} is in it twice"));
        }
    }
    Ok(files)
}

/// The path without its first part; `None` for what lies beside the chart's folder.
fn below_folder(path: &Path) -> Result<Option<String>, String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => match part.to_str().filter(|part| !part.contains(['\\', '\0'])) {
                Some(part) => parts.push(part),
                None => return Err(format!("{} is not a valid path in a chart", path.display())),
            },
            _ => return Err(format!("{} leads out of it", path.display())),
        }
    }
    Ok((parts.len() > 1).then(|| parts[1..].join("/")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written past the crate's own checks, as an attacker would.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        let mut packed = builder.into_inner().unwrap();
        packed.flush().unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_charts_files_are_found_below_its_folder() {
        let packed = pack(&[
            ("base/Chart.yaml", tar::EntryType::Regular, b"name: base\n"),
            ("base/templates/", tar::EntryType::Directory, b""),
            ("./base/templates/a.yaml", tar::EntryType::Regular, b"a"),
        ]);
        let files = read(&packed).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["Chart.yaml", "templates/a.yaml"]);
    }

    #[test]
    fn unsafe_archive_entries_are_refused() {
        let table: [(&str, tar::EntryType); 5] = [
            ("base/../../etc/passwd", tar::EntryType::Regular),
            ("/etc/passwd", tar::EntryType::Regular),
            ("base/link", tar::EntryType::Symlink),
            ("base/link", tar::EntryType::Link),
            ("base/pipe", tar::EntryType::Fifo),
        ];
        for (name, kind) in table {
            assert!(read(&pack(&[(name, kind, b"")])).is_err(), "{name} {kind:?}");
        }
        let twice = [("base/a", tar::EntryType::Regular, &b"1"[..]), ("base/a", tar::EntryType::Regular, b"2")];
        assert!(read(&pack(&twice)).unwrap_err().contains("twice"));
        assert!(read(b"not an archive").is_err());
    }

    #[test]
    fn decompression_bomb_is_refused() {
        let zeros = vec![0; usize::try_from(MAX_BYTES).unwrap() + 1];
        let packed = pack(&[("base/a", tar::EntryType::Regular, &zeros)]);
        assert!(packed.len() < 200_000);
        assert!(read(&packed).unwrap_err().contains("MiB"));
    }
}
