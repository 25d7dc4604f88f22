//! Charts of an OCI registry: manifest by tag, archive by digest, a token if the registry requires one (OCI
//! distribution specification 1.1; helm.sh "Use OCI-based registries"). Anonymous: a mirror that requires credentials is
//! not supported.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::http::{Answer, Http};
use super::{Error, MAX_BYTES};

/// Media types of a manifest, and of the layer that contains the chart.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// A manifest has a few lines.
const MAX_MANIFEST: u64 = 1 << 20;

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// The archive, and the digest that the manifest promises. `place` is `oci://host/path`; on this machine, and only
/// there, the registry is asked without TLS.
pub(super) async fn fetch(
    http: &Http,
    place: &str,
    name: &str,
    version: &str,
) -> Result<(Vec<u8>, Option<String>), Error> {
    let chart = || format!("{name}-{version}");
    let missing = |reason: String| Error::Missing { place: place.to_owned(), chart: chart(), reason };
    let unreachable = |reason: String| Error::Unreachable { place: place.to_owned(), reason };
    let address = place.strip_prefix("oci://").unwrap_or(place).trim_end_matches('/');
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let scheme = if is_local(host) { "http" } else { "https" };
    let repository = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let root = format!("{scheme}://{host}/v2/{repository}");
    // A tag has no `+`; helm writes `_` for it.
    let tag = version.replace('+', "_");
    let mut token = None;
    let manifest = format!("{root}/manifests/{tag}");
    let mut answer = http.get(&manifest, Some(MANIFEST), None, MAX_MANIFEST).await.map_err(unreachable)?;
    if answer.status == StatusCode::UNAUTHORIZED
        && let Some(place) = token_place(&answer.headers, scheme)
    {
        token = Some(ask_token(http, &place).await.map_err(unreachable)?);
        answer = http.get(&manifest, Some(MANIFEST), token.as_deref(), MAX_MANIFEST).await.map_err(unreachable)?;
    }
    let body = accept(answer, &manifest, place, &chart())?;
    let manifest: Manifest = serde_json::from_slice(&body).map_err(|error| missing(format!("{manifest}: {error}")))?;
    let layer = manifest.layers.into_iter().find(|layer| layer.media_type == LAYER);
    let layer = layer.ok_or_else(|| missing("the manifest with this name is not a Helm chart".to_owned()))?;
    let hash = layer.digest.strip_prefix("sha256:").unwrap_or_default();
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(missing(format!("its manifest has the digest {:?}", layer.digest)));
    }
    let blob = format!("{root}/blobs/{}", layer.digest);
    let answer = http.get(&blob, None, token.as_deref(), MAX_BYTES).await.map_err(unreachable)?;
    let archive = accept(answer, &blob, place, &chart())?;
    Ok((archive.to_vec(), Some(layer.digest)))
}

fn accept(answer: Answer, address: &str, place: &str, chart: &str) -> Result<bytes::Bytes, Error> {
    let said = format!("{address} answers {}", answer.status);
    match answer.status {
        status if status.is_success() => Ok(answer.body),
        status if status.is_client_error() => {
            Err(Error::Missing { place: place.to_owned(), chart: chart.to_owned(), reason: said })
        }
        _ => Err(Error::Unreachable { place: place.to_owned(), reason: said }),
    }
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Where an anonymous token is had, by `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`.
fn token_place(headers: &HeaderMap, scheme: &str) -> Option<String> {
    let challenge = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let field = |name: &str| {
        let start = challenge.find(&format!("{name}=\""))? + name.len() + 2;
        let value = &challenge[start..];
        Some(value[..value.find('"')?].to_owned())
    };
    let realm = field("realm").filter(|realm| realm.starts_with(&format!("{scheme}://")))?;
    let encode =
        |text: String| percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let query: Vec<_> =
        ["service", "scope"].into_iter().filter_map(|name| Some(format!("{name}={}", encode(field(name)?)))).collect();
    Some(format!("{realm}?{}", query.join("&")))
}

async fn ask_token(http: &Http, place: &str) -> Result<String, String> {
    let answer = http.get(place, None, None, MAX_MANIFEST).await?;
    if !answer.status.is_success() {
        return Err(format!("it requires credentials, and {place} answers {}", answer.status));
    }
    let token: Token = serde_json::from_slice(&answer.body).map_err(|error| format!("its token: {error}"))?;
    Ok(token.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_names_the_token_endpoint() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:charts/base:pull""#;
        let headers = |text: &str| HeaderMap::from_iter([(WWW_AUTHENTICATE, text.parse().unwrap())]);
        assert_eq!(
            token_place(&headers(challenge), "https").unwrap(),
            "https://auth.example/token?service=registry%2Eexample&scope=repository%3Acharts%2Fbase%3Apull"
        );
        assert_eq!(token_place(&headers(challenge), "http"), None);
        assert_eq!(token_place(&headers("Basic realm=x"), "https"), None);
    }

    #[test]
    fn plaintext_is_limited_to_loopback() {
        assert!(is_local("127.0.0.1:5000") && is_local("localhost") && !is_local("localhost.example:5000"));
    }
}
