//! Chart sources: a folder, an HTTP repository or an OCI registry, selected by the form of the address, with a cache. A
//! remote chart is pinned to the digest of its first download: while the cache has that archive, no request is sent.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::cache::Cache;
use super::http::Http;
use super::{Chart, Error, archive, directory, hex, registry, repository};

/// Where charts come from.
pub(super) enum Source {
    /// A folder.
    Directory(PathBuf),
    /// An address, of a repository or a registry.
    Remote { place: String, within: Duration, http: Box<OnceCell<Http>> },
}

impl Source {
    pub fn new(place: &str, within: Duration) -> Self {
        if ["http://", "https://", "oci://"].iter().any(|scheme| place.starts_with(scheme)) {
            Self::Remote { place: place.to_owned(), within, http: Box::default() }
        } else {
            Self::Directory(PathBuf::from(place))
        }
    }

    pub async fn fetch(&self, name: &str, version: &str, cache: &Cache) -> Result<Chart, Error> {
        match self {
            Self::Directory(root) => {
                let (root, name, version) = (root.clone(), name.to_owned(), version.to_owned());
                let reading = tokio::task::spawn_blocking(move || directory::fetch(&root, &name, &version));
                reading.await.unwrap_or_else(|error| Err(Error::Helm { reason: error.to_string() }))
            }
            Self::Remote { place, within, http } => {
                let key = format!("{place} {name} {version}");
                let pin = cache.pin(&key).await;
                if let Some(pin) = &pin
                    && let Some(kept) = cache.archive(pin).await
                {
                    return unpack(name, version, pin.clone(), &kept);
                }
                let connect = async || Http::new(*within);
                let http = http.get_or_try_init(connect).await;
                let http = http.map_err(|reason| Error::Unreachable { place: place.clone(), reason })?;
                let (bytes, promised) = if place.starts_with("oci://") {
                    registry::fetch(http, place, name, version).await?
                } else {
                    repository::fetch(http, place, name, version).await?
                };
                let found = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
                for wanted in [pin, promised].into_iter().flatten() {
                    if wanted != found {
                        return Err(Error::Digest { chart: format!("{name}-{version}"), wanted, found });
                    }
                }
                let chart = unpack(name, version, found.clone(), &bytes)?;
                cache.keep_archive(&found, &bytes).await;
                cache.keep_pin(&key, &found).await;
                Ok(chart)
            }
        }
    }
}

fn unpack(name: &str, version: &str, digest: String, bytes: &[u8]) -> Result<Chart, Error> {
    let wrong = |reason: String| Error::Unsafe { chart: format!("{name}-{version}"), reason };
    Chart::of(name, version, digest, archive::read(bytes).map_err(wrong)?)
}
