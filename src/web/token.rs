//! Verifies OIDC bearer tokens with the keys of their issuer.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Oidc;
use crate::http;

/// Unknown keys make the set be read again, but not more often.
const REREAD: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest key set and longest token, in bytes.
const MAX_KEYS: usize = 1 << 20;
const MAX_TOKEN: usize = 16 << 10;

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The token.
    #[error("the bearer token is not valid: {0}")]
    Invalid(String),
    /// The keys of its issuer.
    #[error("cannot read the keys of {from}: {reason}")]
    Keys {
        /// File or URL.
        from: String,
        /// Why they cannot be read.
        reason: String,
    },
}

/// Who a valid token is about.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Value of the claim that names the user.
    pub(crate) user: String,
    /// All claims of the token.
    pub(crate) claims: Map<String, Value>,
}

pub(crate) struct Verifier {
    oidc: Oidc,
    algorithms: Vec<Algorithm>,
    keys: RwLock<JwkSet>,
    /// When the keys were read last. Held while they are read again, which delays only tokens with an unknown key.
    read: Mutex<Instant>,
}

impl Verifier {
    /// Reads the keys.
    pub(crate) async fn new(oidc: Oidc) -> Result<Self, Error> {
        let keys = RwLock::new(read(&oidc).await?);
        let algorithms = oidc.algorithms.iter().filter_map(|name| Algorithm::from_str(name).ok()).collect();
        Ok(Self { oidc, algorithms, keys, read: Mutex::new(Instant::now()) })
    }

    /// The `iss` that tokens must have.
    pub(crate) fn issuer(&self) -> &str {
        &self.oidc.issuer
    }

    /// Checks signature, algorithm, issuer, audience and times of a token.
    pub(crate) async fn identity(&self, token: &str) -> Result<Identity, Error> {
        let wrong = Error::Invalid;
        if token.len() > MAX_TOKEN {
            return Err(wrong(format!("it is longer than {MAX_TOKEN} bytes")));
        }
        let header = decode_header(token).map_err(|error| wrong(error.to_string()))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(wrong(format!("the algorithm {:?} is not allowed", header.alg)));
        }
        let Some(key) = self.key(header.kid.as_deref()).await? else {
            return Err(wrong("the issuer has no key with its kid".to_owned()));
        };
        let key = DecodingKey::from_jwk(&key).map_err(|error| wrong(error.to_string()))?;
        // One algorithm at a time: `Validation` requires that all of its algorithms fit the key.
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.oidc.issuer]);
        validation.set_audience(&[&self.oidc.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        let claims = decode::<Map<String, Value>>(token, &key, &validation);
        let claims = claims.map_err(|error| wrong(error.to_string()))?.claims;
        let user = claims.get(&self.oidc.user_claim).and_then(Value::as_str).filter(|user| !user.is_empty());
        let user = user.map(str::to_owned).ok_or_else(|| wrong(format!("it has no claim {}", self.oidc.user_claim)))?;
        Ok(Identity { user, claims })
    }

    /// The key with an id; the only key for a token without one. Reads the keys again for an unknown id.
    async fn key(&self, kid: Option<&str>) -> Result<Option<Jwk>, Error> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        let mut last = self.read.lock().await;
        if last.elapsed() >= REREAD {
            *last = Instant::now();
            let keys = read(&self.oidc).await?;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(self.known(kid))
    }

    fn known(&self, kid: Option<&str>) -> Option<Jwk> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match kid {
            Some(kid) => keys.find(kid).cloned(),
            None if keys.keys.len() == 1 => keys.keys.first().cloned(),
            None => None,
        }
    }
}

async fn fetch(url: &str, ca_file: Option<PathBuf>) -> Result<http::Response, http::Error> {
    let credentials = http::Credentials { ca_file, ..http::Credentials::default() };
    let client = http::Client::new(&credentials, TIMEOUT).await?;
    client.send(::http::Method::GET, url, &[], None, MAX_KEYS).await
}

async fn read(oidc: &Oidc) -> Result<JwkSet, Error> {
    let jwks = oidc.jwks.as_str();
    let fail = |reason: String| Error::Keys { from: jwks.to_owned(), reason };
    let bytes = if jwks.starts_with("https://") {
        let response = fetch(jwks, oidc.ca_file.clone()).await.map_err(|error| fail(error.to_string()))?;
        if response.status != 200 {
            return Err(fail(format!("the server responded {}", response.status)));
        }
        response.body.into_bytes()
    } else {
        let size = tokio::fs::metadata(jwks).await.map_err(|error| fail(error.to_string()))?.len();
        if size > MAX_KEYS as u64 {
            return Err(fail(format!("the file is longer than {MAX_KEYS} bytes")));
        }
        tokio::fs::read(jwks).await.map_err(|error| fail(error.to_string()))?
    };
    serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
}
