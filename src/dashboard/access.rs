//! Access control for pages and actions: host names, identity, form tokens, and the headers of every response.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Shared;
use super::refusal::Refusal;
use crate::config::{Dashboard, Network};
use crate::hex::hex;
use crate::web::hosts::Hosts;
use crate::web::listener::Peer;
use crate::web::token::Verifier;

/// Cookie that a form token belongs to.
const COOKIE: &str = "sailhand_session";
/// Only files and connections of the dashboard itself, no inline script or style, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Rules of the configuration.
pub(super) struct Access {
    hosts: Hosts,
    identity: Identity,
    allow_actions: bool,
    operators: Vec<String>,
    secret: [u8; 32],
}

enum Identity {
    /// The local user: the dashboard listens on loopback without authentication.
    Local,
    Header {
        name: String,
        proxies: Vec<Network>,
    },
    Token(Box<Verifier>),
}

/// The user of a request.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// Name for `by` of actions; absent without authentication.
    pub(super) name: Option<String>,
    /// Whether the user may act.
    pub(super) may_act: bool,
    /// Token for the forms of this browser session.
    pub(super) form_token: String,
}

impl Access {
    pub(super) fn new(config: &Dashboard, tokens: Option<Verifier>) -> Self {
        let identity = match (tokens, &config.identity_header) {
            (Some(verifier), _) => Identity::Token(Box::new(verifier)),
            (None, Some(name)) => Identity::Header { name: name.clone(), proxies: config.trusted_proxies.clone() },
            (None, None) => Identity::Local,
        };
        Self {
            hosts: Hosts::new(config.listen, &config.hosts),
            identity,
            allow_actions: config.allow_actions,
            operators: config.operators.clone(),
            secret: rand::random(),
        }
    }

    async fn user(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        match &self.identity {
            Identity::Local => Ok(None),
            Identity::Header { name, proxies } => {
                if !proxies.iter().any(|network| network.contains(peer)) {
                    return Err(Refusal::Identity(format!("{peer} is not a trusted proxy")));
                }
                let twice = headers.get_all(name).iter().count() > 1;
                match text(name).filter(|user| !user.is_empty() && user.len() <= 256 && !twice) {
                    Some(user) => Ok(Some(user.to_owned())),
                    None => Err(Refusal::Identity(format!("the header {name} does not have one user name"))),
                }
            }
            Identity::Token(verifier) => {
                let token = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
                let missing = || Refusal::Identity("the request has no bearer token".to_owned());
                Ok(Some(verifier.identity(token.ok_or_else(missing)?).await?.user))
            }
        }
    }

    fn may_act(&self, user: Option<&str>) -> bool {
        let listed = |user: &str| self.operators.iter().any(|operator| operator == user);
        self.allow_actions && (self.operators.is_empty() || user.is_some_and(listed))
    }

    /// Depends on the session and on a secret of this process. Both have a fixed length.
    fn form_token(&self, session: &str) -> String {
        hex(&Sha256::new().chain_update(self.secret).chain_update(session).chain_update(self.secret).finalize())
    }
}

/// Refuses a form that this dashboard did not render for the same browser session, and users who may not act.
pub(super) fn check_form(viewer: &Viewer, token: &str) -> Result<(), Refusal> {
    if !viewer.may_act {
        return Err(Refusal::Action);
    }
    let (wanted, given) = (viewer.form_token.as_bytes(), token.as_bytes());
    // The time does not depend on the first byte that differs.
    let differs = wanted.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    if wanted.len() == given.len() && differs == 0 { Ok(()) } else { Err(Refusal::Form("the form token is not valid")) }
}

/// Around every page: refuses, or adds the [`Viewer`] to the request and security headers to the response.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = session(request.headers());
    let session = known.clone().unwrap_or_else(|| hex(&rand::random::<[u8; 16]>()));
    let mut response = match admit(&shared.access, peer.ip(), request.method(), request.headers(), &session).await {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    if known.is_none() {
        let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    secure(response)
}

async fn admit(
    access: &Access,
    peer: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    session: &str,
) -> Result<Viewer, Refusal> {
    access.hosts.check(headers).map_err(Refusal::Host)?;
    let name = access.user(peer, headers).await?;
    if !method.is_safe() {
        check_origin(headers)?;
    }
    let may_act = access.may_act(name.as_deref());
    Ok(Viewer { name, may_act, form_token: access.form_token(session) })
}

/// A form of another site has another origin. Every browser sends `Origin` with a POST.
fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let origin = text(header::ORIGIN);
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let same = !host.is_empty() && host.eq_ignore_ascii_case(text(header::HOST));
    if same { Ok(()) } else { Err(Refusal::Form("the request has another origin")) }
}

fn session(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let value =
        cookies.flat_map(|text| text.split(';')).find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    let fits = value.len() == 32 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    fits.then(|| value.to_owned())
}

fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_operators_may_act() {
        let mut config = Dashboard { allow_actions: true, ..Dashboard::default() };
        assert!(Access::new(&config, None).may_act(None));
        config.operators = vec!["jane".to_owned()];
        let access = Access::new(&config, None);
        assert!(access.may_act(Some("jane")));
        assert!(!access.may_act(Some("joe")) && !access.may_act(None));
        config.allow_actions = false;
        assert!(!Access::new(&config, None).may_act(Some("jane")));
    }

    #[tokio::test]
    async fn header_of_an_untrusted_peer_is_refused() {
        let config = Dashboard {
            identity_header: Some("x-forwarded-user".to_owned()),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..Dashboard::default()
        };
        let access = Access::new(&config, None);
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-user", HeaderValue::from_static("jane"));
        let user = async |peer: &str| access.user(peer.parse().unwrap(), &headers).await;
        assert_eq!(user("10.1.2.3").await.unwrap().as_deref(), Some("jane"));
        assert!(user("192.0.2.1").await.is_err());
    }
}
