//! Fetches a URL: limited in time and size, with few redirects, and none from TLS to plaintext.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::http::chain;

/// Redirects that are followed; a registry's blobs often lie elsewhere.
const REDIRECTS: usize = 5;

/// A client.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    within: Duration,
}

/// A response.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Http {
    /// With the system's certificate authorities.
    pub fn new(within: Duration) -> Result<Self, String> {
        let builder = HttpsConnectorBuilder::new().with_native_roots();
        let connector = builder.map_err(|error| format!("no certificate authorities: {error}"))?;
        let connector = connector.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), within })
    }

    /// The answer of `address`, whatever its status. `token` goes to the first host only.
    pub async fn get(
        &self,
        address: &str,
        accept: Option<&str>,
        token: Option<&str>,
        most: u64,
    ) -> Result<Answer, String> {
        let all = self.follow(address, accept, token, most);
        tokio::time::timeout(self.within, all)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.within)))
    }

    async fn follow(
        &self,
        address: &str,
        accept: Option<&str>,
        token: Option<&str>,
        most: u64,
    ) -> Result<Answer, String> {
        let mut uri: Uri = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let first = uri.authority().cloned();
        for _ in 0..=REDIRECTS {
            let mut request = Request::get(&uri).header(USER_AGENT, concat!("sailhand/", env!("CARGO_PKG_VERSION")));
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(token) = token.filter(|_| uri.authority() == first.as_ref()) {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
            let response = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            if head.status.is_redirection()
                && let Some(place) = head.headers.get(LOCATION).and_then(|place| place.to_str().ok())
            {
                uri = next(&uri, place)?;
                continue;
            }
            let limit = usize::try_from(most).unwrap_or(usize::MAX);
            let body = Limited::new(body, limit).collect().await;
            let body = body.map_err(|error| format!("its answer is cut off or has more than {most} bytes: {error}"))?;
            return Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() });
        }
        Err(format!("more than {REDIRECTS} redirects"))
    }
}

/// Where a redirect leads.
fn next(from: &Uri, place: &str) -> Result<Uri, String> {
    let to: Uri =
        resolve(&from.to_string(), place).parse().map_err(|error| format!("redirected to {place:?}: {error}"))?;
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(format!("redirected from TLS to {to}"));
    }
    Ok(to)
}

/// An address that may be relative to another, which is a file's.
pub(super) fn resolve(base: &str, place: &str) -> String {
    if place.contains("://") {
        return place.to_owned();
    }
    let host = base.find("://").map_or(0, |scheme| scheme + 3);
    let root = base[host..].find('/').map_or(base.len(), |slash| host + slash);
    if let Some(rest) = place.strip_prefix('/') {
        return format!("{}/{rest}", &base[..root]);
    }
    let folder = base[root..].rfind('/').map_or(base.len(), |slash| root + slash);
    format!("{}/{place}", &base[..folder])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved_as_browsers_do() {
        let base = "https://charts.example/istio/index.yaml";
        assert_eq!(resolve(base, "base-1.30.3.tgz"), "https://charts.example/istio/base-1.30.3.tgz");
        assert_eq!(resolve(base, "/x/base.tgz"), "https://charts.example/x/base.tgz");
        assert_eq!(resolve(base, "https://other.example/base.tgz"), "https://other.example/base.tgz");
        assert_eq!(resolve("https://charts.example", "a"), "https://charts.example/a");
    }

    #[test]
    fn redirect_from_https_to_http_is_refused() {
        let from: Uri = "https://charts.example/a".parse().unwrap();
        assert!(next(&from, "http://charts.example/a").is_err());
        assert!(next(&from, "https://blobs.example/a").is_ok());
    }
}
