//! Who sends a request and what that principal may do: bearer tokens from files, OIDC tokens with
//! claim rules, client certificates, signatures of bodies.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::rate::Bucket;
use super::refusal::Refusal;
use super::{Error, Shared};
use crate::config;
use crate::event::Target;
use crate::web::tls::CertificateNames;
use crate::web::token::{Identity, Verifier};

/// Tokens are read again this often, so that a rotated file is used.
const REREAD: Duration = Duration::from_secs(10);
/// Shortest and longest token of a file, in characters.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=4096;

type Sha = [u8; 32];

/// One principal of the configuration.
pub(super) struct Principal {
    pub(super) name: String,
    rules: config::gateway::Principal,
    bucket: Bucket,
}

/// The sender of a request.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    /// User of an OIDC token, for the audit log.
    pub(super) user: Option<String>,
}

/// All principals and their credentials.
pub(super) struct Principals {
    all: Vec<Arc<Principal>>,
    /// Principals by the digest of their token: a lookup by digest does not depend on the bytes that a guess has right.
    tokens: RwLock<HashMap<Sha, Arc<Principal>>>,
    /// Signing secrets by the name of their principal.
    secrets: RwLock<HashMap<String, hmac::Key>>,
    /// Verifiers of OIDC tokens, each with the name of its issuer in the configuration.
    issuers: Vec<(String, Verifier)>,
}

impl Principals {
    pub(super) async fn load(settings: &config::Gateway) -> Result<Self, Error> {
        let all: Vec<Arc<Principal>> = settings
            .principals
            .iter()
            .map(|(name, rules)| {
                let bucket = Bucket::new(rules.rate_per_second, rules.burst);
                Arc::new(Principal { name: name.clone(), rules: rules.clone(), bucket })
            })
            .collect();
        let (mut tokens, mut secrets) = (HashMap::new(), HashMap::new());
        for principal in &all {
            let fail =
                |reason: String| Error::Credential { what: format!("gateway.principals.{}", principal.name), reason };
            match principal.read_credential().await.map_err(fail)? {
                Credential::Token(digest) if tokens.contains_key(&digest) => {
                    return Err(fail("another principal has the same token".to_owned()));
                }
                Credential::Token(digest) => drop(tokens.insert(digest, principal.clone())),
                Credential::Secret(key) => drop(secrets.insert(principal.name.clone(), key)),
                Credential::None => {}
            }
        }
        let mut issuers = Vec::new();
        for (name, oidc) in &settings.oidc {
            let verifier = Verifier::new(oidc.clone()).await.map_err(|error| Error::Credential {
                what: format!("gateway.oidc.{name}.jwks"),
                reason: error.to_string(),
            })?;
            issuers.push((name.clone(), verifier));
        }
        Ok(Self { all, tokens: RwLock::new(tokens), secrets: RwLock::new(secrets), issuers })
    }

    /// The principal that the `Authorization` header authenticates; without this header that of the client certificate.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: &CertificateNames,
    ) -> Result<Caller, Refusal> {
        let refuse = |reason: &str| Refusal::Identity(reason.to_owned());
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return self.by_certificate(certificate) };
        if values.next().is_some() {
            return Err(refuse("the request has several Authorization headers"));
        }
        let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(refuse("the Authorization header is not `Bearer <token>`"));
        }
        let digest: Sha = Sha256::digest(token).into();
        let known = self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(principal) = known {
            return Ok(Caller { principal, user: None });
        }
        self.by_oidc(token).await
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Principal>> {
        self.all.iter().find(|principal| principal.name == name)
    }

    /// Verifies the signature of a body, in constant time.
    pub(super) fn verify(
        &self,
        principal: &Arc<Principal>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Caller, Refusal> {
        let Some(signature) = &principal.rules.hmac else {
            return Err(Refusal::Identity("the principal has no signing secret".to_owned()));
        };
        let name = &signature.header;
        let refuse = |reason: &str| Refusal::Identity(format!("{name} {reason}"));
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(refuse("is not there once")) };
        let digits = value.to_str().ok().and_then(|value| value.strip_prefix("sha256="));
        let tag = digits.and_then(unhex).ok_or_else(|| refuse("is not `sha256=` and hex digits"))?;
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        let key = secrets.get(&principal.name).ok_or_else(|| refuse("cannot be verified: the secret is missing"))?;
        hmac::verify(key, body, &tag).map_err(|_| refuse("is not the signature of the body"))?;
        Ok(Caller { principal: principal.clone(), user: None })
    }

    fn replace(&self, principal: &Arc<Principal>, credential: Credential) {
        match credential {
            Credential::Token(digest) => {
                let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
                // A token of another principal is not taken over.
                if !tokens.contains_key(&digest) {
                    tokens.retain(|_, one| one.name != principal.name);
                    tokens.insert(digest, principal.clone());
                }
            }
            Credential::Secret(key) => {
                let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
                secrets.insert(principal.name.clone(), key);
            }
            Credential::None => {}
        }
    }

    fn by_certificate(&self, certificate: &CertificateNames) -> Result<Caller, Refusal> {
        let names = &certificate.0;
        let fits = |principal: &&Arc<Principal>| {
            principal.rules.certificate.as_ref().is_some_and(|wanted| names.contains(wanted))
        };
        match self.all.iter().find(fits) {
            Some(principal) => Ok(Caller { principal: principal.clone(), user: None }),
            None if names.is_empty() => Err(Refusal::Identity("the request has no bearer token".to_owned())),
            None => {
                let names = names.join(", ");
                Err(Refusal::Identity(format!("the client certificate (names {names}) belongs to no principal")))
            }
        }
    }

    async fn by_oidc(&self, token: &str) -> Result<Caller, Refusal> {
        let issuer = unverified_issuer(token);
        let mut refused = Refusal::Identity("the bearer token belongs to no principal".to_owned());
        // One issuer may be configured with several audiences.
        for (name, verifier) in self.issuers.iter().filter(|(_, it)| issuer.as_deref() == Some(it.issuer())) {
            match verifier.identity(token).await {
                Ok(identity) => {
                    if let Some(principal) = self.with_claims(name, &identity) {
                        return Ok(Caller { principal, user: Some(identity.user) });
                    }
                    refused = Refusal::Identity(format!(
                        "the token of {:?} is valid, but no principal has claims that match it",
                        identity.user
                    ));
                }
                Err(error) => refused = error.into(),
            }
        }
        Err(refused)
    }

    fn with_claims(&self, issuer: &str, identity: &Identity) -> Option<Arc<Principal>> {
        let fits = |principal: &&Arc<Principal>| {
            principal.rules.oidc.as_deref() == Some(issuer)
                && principal.rules.claims.iter().all(|(name, wanted)| claim_fits(&identity.claims, name, wanted))
        };
        self.all.iter().find(fits).cloned()
    }
}

/// Bytes of hex digits; at most 64 bytes.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let even = digits.len().is_multiple_of(2) && digits.len() <= 128 && digits.is_ascii();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    if even { (0..digits.len()).step_by(2).map(byte).collect() } else { None }
}

/// The claim `iss`, read only to choose the keys that verify the token.
fn unverified_issuer(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Whether a claim has the wanted value, or the prefix of a wanted value that ends with `*`. A list fits if one of its
/// elements does.
fn claim_fits(claims: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    let found = match name.strip_prefix('/') {
        Some(pointer) => pointer.split('/').try_fold(None::<&Value>, |at, step| {
            let step = step.replace("~1", "/").replace("~0", "~");
            at.map_or_else(|| claims.get(&step), |at| at.get(&step)).map(Some)
        }),
        None => claims.get(name).map(Some),
    };
    let fits = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return false,
        };
        wanted.strip_suffix('*').map_or(text == wanted, |prefix| text.starts_with(prefix))
    };
    match found.flatten() {
        Some(Value::Array(values)) => values.iter().any(fits),
        Some(value) => fits(value),
        None => false,
    }
}

/// A credential as it is compared.
enum Credential {
    Token(Sha),
    Secret(hmac::Key),
    /// OIDC or a client certificate.
    None,
}

/// The secret of a file, 16 to 4096 characters.
pub(super) async fn read_secret(path: &Path) -> Result<String, String> {
    let text =
        tokio::fs::read_to_string(path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let secret = text.trim();
    if !TOKEN.contains(&secret.len()) {
        return Err(format!("{} must have {} to {} characters", path.display(), TOKEN.start(), TOKEN.end()));
    }
    Ok(secret.to_owned())
}

/// Reads tokens and secrets again until the gateway stops. A file that cannot be read leaves its credential as
/// it is.
pub(super) async fn reread(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REREAD) => {}
            () = shared.stop.cancelled() => return,
        }
        let principals = &shared.principals;
        for principal in &principals.all {
            match principal.read_credential().await {
                Ok(credential) => principals.replace(principal, credential),
                Err(reason) => tracing::warn!(principal = %principal.name, "the last credential is used: {reason}"),
            }
        }
    }
}

impl Principal {
    async fn read_credential(&self) -> Result<Credential, String> {
        if let Some(path) = &self.rules.token_file {
            return Ok(Credential::Token(Sha256::digest(read_secret(path).await?).into()));
        }
        let Some(signature) = &self.rules.hmac else { return Ok(Credential::None) };
        let secret = read_secret(&signature.secret_file).await?;
        Ok(Credential::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    /// Whether it signs bodies instead of sending a token.
    pub(super) fn signs(&self) -> bool {
        self.rules.hmac.is_some()
    }

    /// Prefix of the sources of its events.
    pub(super) fn source_prefix(&self) -> &str {
        &self.rules.source_prefix
    }

    /// Counts the further events of an admitted request. It is not refused: later requests wait.
    pub(super) fn charge(&self, events: usize) {
        self.bucket.charge(u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// Counts a request against the rate limit.
    pub(super) fn spend(&self) -> Result<(), Refusal> {
        let (principal, rate) = (&self.name, self.rules.rate_per_second);
        self.bucket.take().map_err(|after| Refusal::Rate { principal: principal.clone(), rate, after })
    }

    /// Whether the principal may send this verb to this target from this source.
    pub(super) fn may_send(&self, target: &Target, verb: &str, source: &str) -> Result<(), Refusal> {
        let denied = |what: String| Err(Refusal::Permission(format!("principal {} may not send {what}", self.name)));
        if !self.rules.verbs.iter().any(|pattern| verb_fits(pattern, verb)) {
            return denied(format!("the verb {verb}"));
        }
        if !self.has_target(target) {
            return denied(format!("to target {target}"));
        }
        if !source_fits(&self.rules.source_prefix, source) {
            return denied(format!("with this source: it must begin with {}", self.rules.source_prefix));
        }
        Ok(())
    }

    pub(super) fn has_target(&self, target: &Target) -> bool {
        self.rules.targets.iter().any(|pattern| pattern == "*" || pattern == target.as_str())
    }

    /// Whether the principal may read a command from this source.
    pub(super) fn may_read(&self, source: &str) -> bool {
        self.rules.read_all || source_fits(&self.rules.source_prefix, source)
    }
}

fn verb_fits(pattern: &str, verb: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        // `config.*` is every verb of that family.
        Some(prefix) => prefix.ends_with('.') && verb.len() > prefix.len() && verb.starts_with(prefix),
        None => pattern == verb,
    }
}

fn source_fits(prefix: &str, source: &str) -> bool {
    let separator = |c: char| matches!(c, '/' | ':' | '#' | '?');
    let ends = prefix.ends_with(separator);
    source.strip_prefix(prefix).is_some_and(|rest| ends || rest.is_empty() || rest.starts_with(separator))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_cover_one_family_only() {
        for (pattern, verb, fits) in [
            ("ping", "ping", true),
            ("ping", "pings", false),
            ("config.*", "config.apply", true),
            ("config.*", "configuration.apply", false),
            ("config.*", "config.", false),
            ("conf*", "config.apply", false),
            ("*", "mesh.install", true),
        ] {
            assert_eq!(verb_fits(pattern, verb), fits, "{pattern} {verb}");
        }
    }

    #[test]
    fn source_prefix_ends_at_a_separator() {
        for (prefix, source, fits) in [
            ("/ci/", "/ci/shop", true),
            ("/ci", "/ci/shop", true),
            ("/ci", "/ci", true),
            ("/ci", "/ci-evil", false),
            ("urn:ci", "urn:ci:7", true),
            ("/ci/", "/other", false),
        ] {
            assert_eq!(source_fits(prefix, source), fits, "{prefix} {source}");
        }
    }

    #[test]
    fn claims_match_exactly_or_by_prefix() {
        let claims = json!({
            "repository": "acme/shop", "ref": "refs/heads/main", "run_attempt": 2, "groups": ["a", "b"],
            "kubernetes.io": {"serviceaccount": {"name": "deployer"}},
        });
        let claims = claims.as_object().unwrap();
        for (name, wanted, fits) in [
            ("repository", "acme/shop", true),
            ("repository", "acme/sho", false),
            ("repository", "acme/*", true),
            ("repository", "evil/*", false),
            ("run_attempt", "2", true),
            ("groups", "b", true),
            ("groups", "c", false),
            ("/kubernetes.io/serviceaccount/name", "deployer", true),
            ("/kubernetes.io/serviceaccount", "deployer", false),
            ("missing", "x", false),
        ] {
            assert_eq!(claim_fits(claims, name, wanted), fits, "{name} {wanted}");
        }
    }
}
