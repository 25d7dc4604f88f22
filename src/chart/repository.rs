//! Charts of an HTTP repository: an `index.yaml` that names archives with their digests (helm.sh "The Chart Repository
//! Guide").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::http::{Http, resolve};
use super::{Error, MAX_BYTES};

/// The index has each version of each chart that ever was.
const MAX_INDEX: u64 = 32 << 20;

#[derive(Deserialize)]
struct Index {
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    version: String,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// The archive, and the digest that the index promises.
pub(super) async fn fetch(
    http: &Http,
    place: &str,
    name: &str,
    version: &str,
) -> Result<(Vec<u8>, Option<String>), Error> {
    let index = format!("{}/index.yaml", place.trim_end_matches('/'));
    let unreachable = |reason: String| Error::Unreachable { place: place.to_owned(), reason };
    let missing =
        |reason: String| Error::Missing { place: place.to_owned(), chart: format!("{name}-{version}"), reason };
    let answer = http.get(&index, None, None, MAX_INDEX).await.map_err(unreachable)?;
    let text = match answer.status {
        status if status.is_success() => answer.body,
        status if status.is_client_error() => return Err(missing(format!("{index} answers {status}"))),
        status => return Err(unreachable(format!("{index} answers {status}"))),
    };
    let index_of = parse(&text).map_err(|reason| missing(format!("{index}: {reason}")))?;
    let entries = index_of.entries.get(name).map_or(&[][..], Vec::as_slice);
    let Some(entry) = entries.iter().find(|entry| entry.version == version) else {
        return Err(missing(format!("its index has {} versions of {name}, and not this one", entries.len())));
    };
    let url = entry.urls.first().ok_or_else(|| missing("its index names no address for it".to_owned()))?;
    let archive = resolve(&index, url);
    let answer = http.get(&archive, None, None, MAX_BYTES).await.map_err(unreachable)?;
    match answer.status {
        status if status.is_success() => {}
        status if status.is_client_error() => return Err(missing(format!("{archive} answers {status}"))),
        status => return Err(unreachable(format!("{archive} answers {status}"))),
    }
    let digest = entry.digest.as_ref().map(|it| format!("sha256:{}", it.trim_start_matches("sha256:")));
    Ok((answer.body.to_vec(), digest))
}

fn parse(text: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES_OF_INDEX),
            max_nodes: 4_000_000,
            max_events: 8_000_000,
            max_total_scalar_bytes: MAX_BYTES_OF_INDEX,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string().lines().take(1).collect())
}

const MAX_BYTES_OF_INDEX: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_many_versions_is_read() {
        let entry = |minor: usize| {
            format!(
                "  - apiVersion: v2\n    created: \"2026-07-13T00:00:00Z\"\n    digest: {minor:064x}\n    name: base\n    urls:\n    - charts/base-1.{minor}.0.tgz\n    version: 1.{minor}.0\n"
            )
        };
        let text: String = (0..5_000).map(entry).collect();
        let index = parse(format!("apiVersion: v1\nentries:\n  base:\n{text}generated: \"x\"\n").as_bytes()).unwrap();
        assert_eq!(index.entries["base"].len(), 5_000);
        assert_eq!(index.entries["base"][7].digest.as_deref(), Some(format!("{:064x}", 7).as_str()));
        assert!(parse(b"entries: [").is_err());
    }
}
