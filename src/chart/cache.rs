//! The cache: archives by digest, the digest of the first download of each chart and version, and rendered manifests. In
//! memory, and in a folder if one is configured. A folder that is not writable is not an error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{MAX_BYTES, hex};

/// Maximum size in bytes of the manifests in memory: enough for several meshes.
const IN_MEMORY: usize = 16 << 20;

const RENDERED: &str = "rendered";

/// Cache of charts and rendered manifests.
pub(super) struct Cache {
    folder: Option<PathBuf>,
    rendered: Mutex<HashMap<String, Arc<str>>>,
    /// Archives and pins while there is no folder: some hundred KiB for each version.
    held: Mutex<HashMap<String, Vec<u8>>>,
}

impl Cache {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, rendered: Mutex::default(), held: Mutex::default() }
    }

    /// A manifest that was rendered before.
    pub async fn rendered(&self, key: &str) -> Option<Arc<str>> {
        let held = self.rendered.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if held.is_some() {
            return held;
        }
        let text: Arc<str> = String::from_utf8(self.read(RENDERED, key).await?).ok()?.into();
        self.remember(key, &text);
        Some(text)
    }

    pub async fn keep_rendered(&self, key: &str, text: &Arc<str>) {
        self.remember(key, text);
        self.write(RENDERED, key, text.as_bytes()).await;
    }

    fn remember(&self, key: &str, text: &Arc<str>) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = rendered.values().map(|text| text.len()).sum();
        if held + text.len() > IN_MEMORY {
            rendered.clear();
        }
        rendered.insert(key.to_owned(), Arc::clone(text));
    }

    /// The digest that a chart of a source had when it came first.
    pub async fn pin(&self, place: &str) -> Option<String> {
        String::from_utf8(self.read("pins", &name(place)).await?).ok().filter(|pin| pin.starts_with("sha256:"))
    }

    pub async fn keep_pin(&self, place: &str, digest: &str) {
        self.write("pins", &name(place), digest.as_bytes()).await;
    }

    /// An archive by its digest; `None` if its file has another digest now.
    pub async fn archive(&self, digest: &str) -> Option<Vec<u8>> {
        let bytes = self.read("archives", digest.strip_prefix("sha256:")?).await?;
        (format!("sha256:{}", hex(&Sha256::digest(&bytes))) == digest).then_some(bytes)
    }

    pub async fn keep_archive(&self, digest: &str, bytes: &[u8]) {
        if let Some(name) = digest.strip_prefix("sha256:") {
            self.write("archives", name, bytes).await;
        }
    }

    /// File names are hashes, so that nothing from outside becomes a path.
    async fn read(&self, kind: &str, name: &str) -> Option<Vec<u8>> {
        if !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let Some(folder) = &self.folder else {
            return self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&format!("{kind}/{name}")).cloned();
        };
        let path = folder.join(kind).join(name);
        let length = tokio::fs::metadata(&path).await.ok()?.len();
        if length > MAX_BYTES { None } else { tokio::fs::read(&path).await.ok() }
    }

    /// Writes a temporary file and renames it, so that no reader sees a partial file.
    async fn write(&self, kind: &str, name: &str, bytes: &[u8]) {
        let Some(folder) = self.folder.as_ref().map(|folder| folder.join(kind)) else {
            // What is rendered has a memory of its own.
            if kind != RENDERED {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                if held.values().map(Vec::len).sum::<usize>() + bytes.len() > IN_MEMORY {
                    held.clear();
                }
                held.insert(format!("{kind}/{name}"), bytes.to_vec());
            }
            return;
        };
        let path = folder.join(name);
        let beside = folder.join(format!(".{}", uuid::Uuid::new_v4().simple()));
        let written = async {
            tokio::fs::create_dir_all(&folder).await?;
            tokio::fs::write(&beside, bytes).await?;
            tokio::fs::rename(&beside, &path).await
        };
        if let Err(error) = written.await {
            tracing::warn!("the charts' cache cannot be written: {}: {error}", path.display());
        }
    }
}

fn name(place: &str) -> String {
    hex(&Sha256::digest(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cached_files_are_shared_between_processes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path().to_owned()));
        cache.keep_rendered("ab", &"manifest".into()).await;
        cache.keep_pin("https://charts.example/base-1.30.3", "sha256:00").await;
        let other = Cache::new(Some(folder.path().to_owned()));
        assert_eq!(other.rendered("ab").await.as_deref(), Some("manifest"));
        assert_eq!(other.pin("https://charts.example/base-1.30.3").await.as_deref(), Some("sha256:00"));
        assert_eq!(other.rendered("cd").await, None);
    }

    #[tokio::test]
    async fn a_changed_archive_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(folder.path().to_owned()));
        let digest = format!("sha256:{}", hex(&Sha256::digest(b"archive")));
        cache.keep_archive(&digest, b"archive").await;
        assert_eq!(cache.archive(&digest).await.as_deref(), Some(&b"archive"[..]));
        let file = folder.path().join("archives").join(digest.strip_prefix("sha256:").unwrap());
        std::fs::write(file, b"changed").unwrap();
        assert_eq!(cache.archive(&digest).await, None);
    }

    #[tokio::test]
    async fn cache_without_a_folder_is_in_memory() {
        let cache = Cache::new(None);
        cache.keep_rendered("ab", &"manifest".into()).await;
        assert_eq!(cache.rendered("ab").await.as_deref(), Some("manifest"));
        cache.keep_pin("x", "sha256:00").await;
        assert_eq!(cache.pin("x").await.as_deref(), Some("sha256:00"));
    }
}
