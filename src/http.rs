//! HTTP to servers that the configuration names: proxies, private certificate authorities, credentials from
//! files, and bounds on time, size and redirects. Addresses never come from a command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// Redirects that are followed, all to the same host.
const REDIRECTS: usize = 3;

/// How a server is addressed. Secrets are files, read again for each request, so that a rotated file is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    /// File with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// User of basic authentication; with `password_file`.
    pub user: Option<String>,
    /// File with the password of `user`.
    pub password_file: Option<PathBuf>,
    /// Further headers, such as `X-Scope-OrgID`. Not secret.
    pub headers: BTreeMap<String, String>,
    /// Certificate authorities (PEM) that the server's certificate is checked against, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM); with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Key (PEM) of the client certificate.
    pub key_file: Option<PathBuf>,
}

impl Credentials {
    /// Whether a request carries anything that another client would have to be given too.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.bearer_token_file.is_some() || self.user.is_some() || self.cert_file.is_some() || !self.headers.is_empty()
    }

    /// The headers of a request: those of the configuration, and `Authorization` from the files.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Settings`].
    pub async fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName =
                name.parse().map_err(|_| Error::Settings(format!("{name:?} is not a header name")))?;
            let value = HeaderValue::from_str(value);
            headers.insert(
                name.clone(),
                value.map_err(|_| Error::Settings(format!("the value of header {name} is not valid")))?,
            );
        }
        let authorization = match (&self.bearer_token_file, &self.user) {
            (Some(path), _) => Some(format!("Bearer {}", secret(path).await?)),
            (None, Some(user)) => {
                let password = match &self.password_file {
                    Some(path) => secret(path).await?,
                    None => String::new(),
                };
                Some(format!("Basic {}", base64_of(&format!("{user}:{password}"))))
            }
            (None, None) => None,
        };
        if let Some(text) = authorization {
            let value = HeaderValue::from_str(&text);
            let mut value = value
                .map_err(|_| Error::Settings("the credential has characters that no header may have".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// TLS that trusts the authorities of `ca_file` only, with the client certificate if there is one.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Settings`]: without `ca_file`, and for files that are not PEM.
    pub async fn tls(&self) -> Result<rustls::ClientConfig, Error> {
        let Some(path) = &self.ca_file else {
            let reason = "TLS by port-forward needs ca_file: the authorities of the system know no Service";
            return Err(Error::Settings(reason.to_owned()));
        };
        let roots = authorities(path).await?;
        let builder = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let builder =
            builder.with_safe_default_protocol_versions().map_err(|error| Error::Settings(error.to_string()))?;
        let builder = builder.with_root_certificates(roots);
        let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) else {
            return Ok(builder.with_no_client_auth());
        };
        let config = builder.with_client_auth_cert(certificates(cert).await?, private_key(key).await?);
        let text = || format!("{} and {} are not a certificate with its key", cert.display(), key.display());
        config.map_err(|_| Error::Settings(text()))
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status code. Redirects of `POST` and `PUT`, and redirects to another host, are not followed and appear here.
    pub status: u16,
    /// Header `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// Body as text; invalid UTF-8 is replaced.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A credential file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A certificate, key, header or address cannot be used. The text holds no secret.
    #[error("{0}")]
    Settings(String),
    /// No answer: name lookup, connection, TLS, time limit.
    #[error("{0}")]
    NoAnswer(String),
    /// The body is longer than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// Client for one server.
pub struct Client {
    /// For requests that change nothing. Follows redirects to the same host.
    reading: reqwest::Client,
    /// For other requests. A redirect would turn `POST` into a `GET` whose success says nothing about the body.
    writing: reqwest::Client,
    credentials: Credentials,
    cookie: Option<Cookie>,
}

/// A `Cookie` header: public pairs, then a secret one.
#[derive(Debug, Clone)]
pub struct Cookie {
    /// Such as `meshery-provider=Local`.
    pub text: String,
    /// Name and file of the secret pair.
    pub secret: Option<(&'static str, PathBuf)>,
}

impl Client {
    /// Reads certificates; connects to nothing yet. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` apply.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Settings`].
    pub async fn new(credentials: &Credentials, timeout: Duration) -> Result<Self, Error> {
        // The process may have installed it already; one provider serves kube, NATS and this client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let same_host = Policy::custom(|attempt| {
            let previous = attempt.previous();
            let first = previous.first();
            let same = first.is_some_and(|first| first.origin() == attempt.url().origin());
            if same && previous.len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        Ok(Self {
            reading: build(credentials, timeout, same_host).await?,
            writing: build(credentials, timeout, Policy::none()).await?,
            credentials: credentials.clone(),
            cookie: None,
        })
    }

    /// Sends one request with parameters, and a JSON body if there is one; reads at most `most` bytes. Never repeats it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        parameters: &[(&str, String)],
        body: Option<String>,
        most: usize,
    ) -> Result<Response, Error> {
        let headers = self.headers().await?;
        let mut address = parse(url)?;
        if !parameters.is_empty() {
            address.query_pairs_mut().extend_pairs(parameters);
        }
        let client = if method.is_safe() { &self.reading } else { &self.writing };
        let mut request = client.request(method, address).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let (response, is_cut) = exchange(request, most).await?;
        if is_cut { Err(Error::TooLarge(most)) } else { Ok(response) }
    }

    /// Posts a body with further headers; reads the first `most` bytes of the answer. Never repeats it.
    ///
    /// # Errors
    /// [`Error`], but not [`Error::TooLarge`].
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes, most: usize) -> Result<Response, Error> {
        let mut all = self.headers().await?;
        all.extend(headers);
        Ok(exchange(self.writing.post(parse(url)?).headers(all).body(body), most).await?.0)
    }

    /// Sends a cookie with each request.
    #[must_use]
    pub fn with_cookie(self, cookie: Cookie) -> Self {
        Self { cookie: Some(cookie), ..self }
    }

    async fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = self.credentials.headers().await?;
        if let Some(cookie) = &self.cookie {
            let mut text = cookie.text.clone();
            if let Some((name, path)) = &cookie.secret {
                text = format!("{text}; {name}={}", secret(path).await?);
            }
            let value = HeaderValue::from_str(&text);
            let mut value =
                value.map_err(|_| Error::Settings("the cookie has characters that no header may have".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        Ok(headers)
    }
}

async fn build(credentials: &Credentials, timeout: Duration, redirects: Policy) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(redirects)
        .user_agent(concat!("sailhand/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &credentials.ca_file {
        let authorities = reqwest::Certificate::from_pem_bundle(&read(path).await?);
        let authorities = authorities.map_err(|_| Error::Settings(format!("{} is not PEM", path.display())))?;
        builder = builder.tls_certs_merge(authorities);
    }
    if let (Some(cert), Some(key)) = (&credentials.cert_file, &credentials.key_file) {
        let pem = [read(cert).await?, read(key).await?].concat();
        let identity = reqwest::Identity::from_pem(&pem);
        let text = || format!("{} and {} are not a certificate with its key", cert.display(), key.display());
        builder = builder.identity(identity.map_err(|_| Error::Settings(text()))?);
    }
    builder.build().map_err(|error| Error::Settings(chain(&error)))
}

fn parse(url: &str) -> Result<reqwest::Url, Error> {
    reqwest::Url::parse(url).map_err(|error| Error::Settings(format!("{url}: {error}")))
}

/// Sends a request. Returns the answer with at most `most` bytes of its body, and whether there are more.
pub(crate) async fn exchange(request: reqwest::RequestBuilder, most: usize) -> Result<(Response, bool), Error> {
    let fail = |error: reqwest::Error| Error::NoAnswer(chain(&error.without_url()));
    let mut answer = request.send().await.map_err(fail)?;
    let status = answer.status().as_u16();
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let (mut body, mut is_cut) = (Vec::new(), false);
    while let Some(chunk) = answer.chunk().await.map_err(fail)? {
        let left = most - body.len();
        is_cut = chunk.len() > left;
        body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if is_cut {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((Response { status, retry_after: seconds.map(Duration::from_secs), body }, is_cut))
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The certificates of a PEM file, at least one.
pub(crate) async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| Error::Settings(format!("{} has no certificates in PEM", path.display())))
}

/// The certificates of a PEM file as the only authorities.
pub(crate) async fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path).await? {
        roots.add(authority).map_err(|error| Error::Settings(format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

/// The private key of a PEM file.
pub(crate) async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let key = PrivateKeyDer::from_pem_slice(&read(path).await?);
    key.map_err(|_| Error::Settings(format!("{} is not a private key in PEM", path.display())))
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// A secret without the line break at its end.
async fn secret(path: &PathBuf) -> Result<String, Error> {
    let text = tokio::fs::read_to_string(path).await.map_err(|source| Error::File { path: path.clone(), source })?;
    Ok(text.trim_end().to_owned())
}

/// An error with its causes: the outermost only says that a connection failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
