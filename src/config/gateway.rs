//! `[gateway]`: address, principals, hooks and limits of `sailhand gateway`.

mod hook;
mod sink;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dashboard::{self, Oidc};
use super::tls::MutualTls;

pub use hook::{Condition, Hook};
pub use sink::{Mode, RESULT, Sink};

/// `[gateway]`: CloudEvents over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Address and port of the HTTP server.
    pub listen: SocketAddr,
    /// Address and port of `/metrics`, `/livez` and `/readyz` without authentication. None if absent: the HTTP server has the
    /// probes, but no metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// A second listener with mutual TLS, for principals with a `certificate`.
    pub tls: Option<MutualTls>,
    /// Host names that requests may use besides `localhost` and loopback addresses, without a port. When empty, an
    /// address other than loopback accepts every host name.
    pub hosts: Vec<String>,
    /// Number of HTTP connections, 1 to 10,000. Further ones wait in the backlog of the operating system.
    pub max_connections: usize,
    /// Number of requests that wait for a result or stream events. Less than `max_connections`.
    pub max_streams: usize,
    /// Longest time for the headers of a request, also for those of the next one on an open connection.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Longest time for the body of a request.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Longest `?wait=`. A longer one ends after this time.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// Origins that the webhook handshake (`OPTIONS` with `WebHook-Request-Origin`) allows; `*` allows every origin.
    pub webhook_origins: Vec<String>,
    /// Issuers of OIDC tokens, by a name that principals use.
    pub oidc: BTreeMap<String, Oidc>,
    /// Who may send commands, by name.
    pub principals: BTreeMap<String, Principal>,
    /// Commands from the JSON of other tools, by name.
    pub hooks: BTreeMap<String, Hook>,
    /// HTTP endpoints that results and events are posted to, by name.
    pub sinks: BTreeMap<String, Sink>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8323)),
            metrics_listen: None,
            tls: None,
            hosts: Vec::new(),
            max_connections: 512,
            max_streams: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_wait: Duration::from_mins(5),
            webhook_origins: Vec::new(),
            oidc: BTreeMap::new(),
            principals: BTreeMap::new(),
            hooks: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }
}

/// `[gateway.principals.<name>]`: one sender, its credential and its permissions. A principal has exactly one credential:
/// `token_file`, `oidc`, `hmac` or `certificate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Principal {
    /// File with a bearer token of at least 16 characters. It is read again every 10 s.
    pub token_file: Option<PathBuf>,
    /// Name of the issuer (`gateway.oidc`) whose tokens authenticate this principal; with `claims`.
    pub oidc: Option<String>,
    /// Values that claims of the token must have: claim name or JSON pointer, and value. A value that ends with `*` matches
    /// every value with that prefix.
    pub claims: BTreeMap<String, String>,
    /// Subject alternative name of the client certificate: a DNS name, or a URI such as
    /// `spiffe://cluster.local/ns/ci/sa/deployer`. Needs `gateway.tls`.
    pub certificate: Option<String>,
    /// Signature of the body of a request, for hooks.
    pub hmac: Option<Hmac>,
    /// Verbs that the principal may send: `ping`, `config.*` for a family, or `*`.
    pub verbs: Vec<String>,
    /// Targets that the principal may send to and read from, by id, or `*`.
    pub targets: Vec<String>,
    /// Required prefix of `source` of its events, such as `/pipelines/shop/`. Without a separator (`/`, `:`, `#`) at its
    /// end, the source equals the prefix or continues with a separator.
    pub source_prefix: String,
    /// Whether the principal may read commands of every source, instead of those with its own prefix.
    pub read_all: bool,
    /// Events and reads for each second. A batch counts as its events: later requests wait for them.
    pub rate_per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
}

impl Default for Principal {
    fn default() -> Self {
        Self {
            token_file: None,
            oidc: None,
            claims: BTreeMap::new(),
            certificate: None,
            hmac: None,
            verbs: Vec::new(),
            targets: Vec::new(),
            source_prefix: String::new(),
            read_all: false,
            rate_per_second: 50,
            burst: 100,
        }
    }
}

/// A signature of a body: HMAC with SHA-256, as `sha256=<hex digits>` in a header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// File with the secret of at least 16 characters. It is read again every 10 s.
    pub secret_file: PathBuf,
    /// The header: `X-Signature` as Flux sends it, `X-Hub-Signature-256` as GitHub does.
    #[serde(default = "signature_header")]
    pub header: String,
}

fn signature_header() -> String {
    "X-Signature".to_owned()
}

type Wrong = (String, String);

fn check(holds: bool, key: &str, reason: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err((format!("gateway.{key}"), reason.to_owned())) }
}

/// Checks what the types do not.
pub(super) fn validate(gateway: &Gateway) -> Result<(), Wrong> {
    check((1..=10_000).contains(&gateway.max_connections), "max_connections", "must be 1 to 10,000")?;
    let streams = gateway.max_streams < gateway.max_connections;
    check(streams, "max_streams", "must be less than max_connections, so that streams do not take all connections")?;
    for (key, limit) in [
        ("header_timeout", gateway.header_timeout),
        ("body_timeout", gateway.body_timeout),
        ("max_wait", gateway.max_wait),
    ] {
        let fits = limit >= Duration::from_millis(100) && limit <= Duration::from_hours(1);
        check(fits, key, "must be 100ms to 1h")?;
    }
    let public = gateway.listen.ip().is_loopback() || !gateway.principals.is_empty();
    check(public, "listen", "an address other than loopback needs principals")?;
    for (name, oidc) in &gateway.oidc {
        dashboard::validate_oidc(oidc, &format!("gateway.oidc.{name}"))?;
    }
    gateway.principals.iter().try_for_each(|(name, principal)| validate_principal(gateway, name, principal))?;
    gateway.hooks.iter().try_for_each(|(name, hook)| validate_hook(gateway, name, hook))?;
    gateway.sinks.iter().try_for_each(|(name, sink)| sink::validate(name, sink))
}

fn validate_hook(gateway: &Gateway, name: &str, hook: &Hook) -> Result<(), Wrong> {
    let check = |holds, key: &str, reason| check(holds, &format!("hooks.{name}{key}"), reason);
    check(is_name(name), "", "the name must be 1 to 63 of a-z, 0-9 and -")?;
    check(gateway.principals.contains_key(&hook.principal), ".principal", "must be a name in gateway.principals")?;
    check(!hook.verb.is_empty(), ".verb", "must not be empty")?;
    check(!hook.target.is_empty(), ".target", "must not be empty")?;
    let pointers = hook.id.iter().chain(&hook.each);
    check(
        pointers.clone().all(|pointer| pointer.starts_with('/')),
        ".id",
        "id and each are JSON pointers such as /a/b",
    )?;
    let conditions = hook.when.iter().all(|condition| {
        let header = condition.header.as_ref().map(|name| http::HeaderName::try_from(name).is_ok());
        let pointer = condition.pointer.as_ref().map(|pointer| pointer.starts_with('/'));
        !condition.is.is_empty() && matches!((pointer, header), (Some(true), None) | (None, Some(true)))
    });
    check(conditions, ".when", "needs one of pointer (such as /a/b) and header, and the values of `is`")
}

fn validate_principal(gateway: &Gateway, name: &str, principal: &Principal) -> Result<(), Wrong> {
    let check = |holds, key: &str, reason| check(holds, &format!("principals.{name}{key}"), reason);
    check(is_name(name), "", "the name must be 1 to 63 of a-z, 0-9 and -")?;
    let credentials = [
        principal.token_file.is_some(),
        principal.oidc.is_some(),
        principal.hmac.is_some(),
        principal.certificate.is_some(),
    ];
    let one = credentials.into_iter().filter(|&given| given).count() == 1;
    check(one, "", "needs exactly one of token_file, oidc, hmac and certificate")?;
    if let Some(certificate) = &principal.certificate {
        check(gateway.tls.is_some(), ".certificate", "needs gateway.tls")?;
        let same = gateway.principals.values().filter(|it| it.certificate.as_ref() == Some(certificate)).count();
        check(same == 1 && !certificate.is_empty(), ".certificate", "must not be empty or that of another principal")?;
    }
    if let Some(hmac) = &principal.hmac {
        check(http::HeaderName::try_from(&hmac.header).is_ok(), ".hmac.header", "must be the name of a header")?;
    }
    if let Some(issuer) = &principal.oidc {
        check(gateway.oidc.contains_key(issuer), ".oidc", "must be the name of an issuer in gateway.oidc")?;
        let claims =
            !principal.claims.is_empty() && principal.claims.values().all(|value| !value.is_empty() && value != "*");
        check(claims, ".claims", "oidc needs claims: otherwise every token of the issuer is accepted")?;
    } else {
        check(principal.claims.is_empty(), ".claims", "needs oidc")?;
    }
    check(!principal.source_prefix.is_empty(), ".source_prefix", "must not be empty")?;
    let source =
        principal.source_prefix.len() <= 256 && principal.source_prefix.bytes().all(|byte| byte.is_ascii_graphic());
    check(source, ".source_prefix", "must be at most 256 ASCII characters without spaces")?;
    check(!principal.targets.is_empty(), ".targets", "must not be empty")?;
    let rates = principal.rate_per_second > 0 && principal.burst > 0;
    check(rates, ".rate_per_second", "rate_per_second and burst must be at least 1")
}

/// Names of hooks become parts of paths and of `source`, names of principals fields of log lines.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Gateway)) -> String {
        let mut gateway = Gateway::default();
        let principal = Principal {
            token_file: Some("token".into()),
            targets: vec!["dev".to_owned()],
            source_prefix: "/ci/".to_owned(),
            ..Principal::default()
        };
        gateway.principals.insert("ci".to_owned(), principal);
        change(&mut gateway);
        validate(&gateway).err().map(|(key, _)| key).unwrap_or_default()
    }

    fn ci(gateway: &mut Gateway) -> &mut Principal {
        gateway.principals.get_mut("ci").unwrap()
    }

    #[test]
    fn each_rule_names_its_key() {
        assert_eq!(wrong(|_| {}), "");
        assert_eq!(wrong(|g| g.max_connections = 0), "gateway.max_connections");
        assert_eq!(wrong(|g| g.max_streams = 512), "gateway.max_streams");
        assert_eq!(wrong(|g| g.header_timeout = Duration::ZERO), "gateway.header_timeout");
        assert_eq!(
            wrong(|g| {
                g.principals.clear();
                g.listen = ([0, 0, 0, 0], 1).into();
            }),
            "gateway.listen"
        );
        assert_eq!(wrong(|g| ci(g).oidc = Some("x".to_owned())), "gateway.principals.ci");
        assert_eq!(wrong(|g| ci(g).source_prefix.clear()), "gateway.principals.ci.source_prefix");
        assert_eq!(wrong(|g| ci(g).targets.clear()), "gateway.principals.ci.targets");
        assert_eq!(wrong(|g| ci(g).burst = 0), "gateway.principals.ci.rate_per_second");
    }

    #[test]
    fn each_rule_of_a_sink_names_its_key() {
        let sink = |change: fn(&mut Sink)| {
            wrong(|gateway| {
                let mut sink = Sink { url: "https://example.org/events?a=@".to_owned(), ..Sink::default() };
                change(&mut sink);
                gateway.sinks.insert("a".to_owned(), sink);
            })
        };
        assert_eq!(sink(|_| {}), "");
        for url in ["", "example.org", "ftp://example.org", "https://user:secret@example.org"] {
            let found = wrong(|gateway| {
                gateway.sinks.insert("a".to_owned(), Sink { url: url.to_owned(), ..Sink::default() });
            });
            assert_eq!(found, "gateway.sinks.a.url", "{url}");
        }
        assert_eq!(sink(|sink| sink.kinds.clear()), "gateway.sinks.a.kinds");
        assert_eq!(sink(|sink| sink.targets = vec!["*".to_owned()]), "gateway.sinks.a.targets");
        assert_eq!(sink(|sink| sink.max_requests = 65), "gateway.sinks.a.max_requests");
        assert_eq!(sink(|sink| sink.timeout = Duration::ZERO), "gateway.sinks.a.timeout");
        let user = |sink: &mut Sink| sink.credentials.user = Some("a".to_owned());
        assert_eq!(sink(user), "gateway.sinks.a.credentials.user");
    }

    #[test]
    fn tokens_of_a_public_issuer_need_claims() {
        let github = |g: &mut Gateway, claims: &[(&str, &str)]| {
            let oidc = Oidc {
                issuer: "https://issuer".to_owned(),
                audience: "sailhand".to_owned(),
                jwks: "keys.json".to_owned(),
                algorithms: vec!["RS256".to_owned()],
                user_claim: "sub".to_owned(),
                ca_file: None,
            };
            g.oidc.insert("github".to_owned(), oidc);
            let claims = claims.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let ci = ci(g);
            (ci.token_file, ci.oidc, ci.claims) = (None, Some("github".to_owned()), claims);
        };
        assert_eq!(wrong(|g| github(g, &[])), "gateway.principals.ci.claims");
        assert_eq!(wrong(|g| github(g, &[("repository", "*")])), "gateway.principals.ci.claims");
        assert_eq!(wrong(|g| github(g, &[("repository", "acme/shop")])), "");
    }
}
