//! Reads from a kubeconfig which cluster it is for. Exec plugins, auth providers and files have no effect; nothing of the
//! text is stored, logged or forwarded. Tokens and keys are read by `user` only, for `bridge.probe`.

use std::collections::BTreeSet;

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// Kubeconfigs of one request.
pub const MAX_COUNT: usize = 64;
/// Longest kubeconfig, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Nesting of a kubeconfig; valid ones have less than 10 levels.
const MAX_DEPTH: usize = 32;
/// Values of a kubeconfig.
const MAX_VALUES: usize = 20_000;
/// Certificate authorities of one cluster.
const MAX_AUTHORITIES: usize = 64;

/// The address of an API server, normalized: scheme, lower-case host, port, path without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    /// Parses an `http://` or `https://` address. User names, queries and fragments are left out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let path = url.path().trim_end_matches('/');
        Some(Self(format!("{}://{}:{}{path}", url.scheme(), url.host_str()?, url.port_or_known_default()?)))
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What identifies the cluster of a kubeconfig's current context. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Name of the current context.
    pub context: String,
    /// Address of the API server.
    pub server: Server,
    /// SHA-256 of each certificate authority's DER form, lower-case hex; empty without `certificate-authority-data`.
    pub ca_sha256: BTreeSet<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context", default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    server: String,
    #[serde(rename = "certificate-authority-data", default)]
    authorities: Option<String>,
}

/// Reads a kubeconfig, YAML or JSON, without aliases.
///
/// # Errors
/// A reason that quotes nothing of the text.
pub fn read(text: &str) -> Result<Facts, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("it is longer than 1 MiB");
    }
    let file: File =
        parse(text).ok_or("it is not a kubeconfig, or exceeds 32 levels or 20,000 values, or has YAML aliases")?;
    let context = file.current_context.filter(|name| !name.is_empty()).ok_or("it has no current-context")?;
    let cluster = file.contexts.iter().find(|named| named.name == context);
    let cluster = &cluster.ok_or("its current-context is not in contexts")?.context.cluster;
    let cluster = file.clusters.iter().find(|named| named.name == *cluster);
    let cluster = &cluster.ok_or("the cluster of its current-context is not in clusters")?.cluster;
    let server = Server::parse(&cluster.server).ok_or("its server is not an http:// or https:// address")?;
    let ca_sha256 = authorities(cluster.authorities.as_deref().unwrap_or_default())?;
    Ok(Facts { context, server, ca_sha256 })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_VALUES,
            max_events: 2 * MAX_VALUES,
            max_aliases: 0,
            max_anchors: 0,
        },
        with_snippet: false, // may show a credential
    };
    serde_saphyr::from_str_with_options(text, options).ok()
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "the names are those of a kubeconfig")]
struct Users {
    #[serde(rename = "current-context", default)]
    current_context: String,
    contexts: Vec<NamedUserContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedUserContext {
    name: String,
    context: UserContext,
}

#[derive(Deserialize)]
struct UserContext {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

/// Credentials of the current context. No `Debug`. Programs, auth providers and files are not read.
#[derive(Deserialize, Default)]
pub(super) struct User {
    /// Bearer token.
    #[serde(default)]
    pub token: Option<String>,
    /// Client certificate, base64 of PEM.
    #[serde(rename = "client-certificate-data", default)]
    pub certificate: Option<String>,
    /// Its key, base64 of PEM.
    #[serde(rename = "client-key-data", default)]
    pub key: Option<String>,
    /// Certificate authority of the cluster, base64 of PEM.
    #[serde(skip)]
    pub authority: Option<String>,
}

/// The credentials of the current context, if it has a token or a client certificate.
pub(super) fn user(text: &str) -> Option<User> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let Users { current_context, contexts, clusters, users } = parse(text)?;
    let context = contexts.into_iter().find(|named| named.name == current_context)?.context;
    let cluster = clusters.into_iter().find(|named| named.name == context.cluster)?.cluster;
    let user = users.into_iter().find(|named| named.name == context.user)?.user;
    let is_usable = user.token.is_some() || (user.certificate.is_some() && user.key.is_some());
    is_usable.then_some(User { authority: cluster.authorities, ..user })
}

/// Digests of the certificates in the field's value, base64 of PEM.
fn authorities(data: &str) -> Result<BTreeSet<String>, &'static str> {
    const WRONG: &str = "its certificate-authority-data is not base64 of PEM certificates";
    let data: String = data.split_whitespace().collect();
    if data.is_empty() {
        return Ok(BTreeSet::new());
    }
    let pem = base64::engine::general_purpose::STANDARD.decode(data).map_err(|_| WRONG)?;
    let mut digests = BTreeSet::new();
    for certificate in CertificateDer::pem_slice_iter(&pem).take(MAX_AUTHORITIES) {
        digests.insert(hex(&Sha256::digest(certificate.map_err(|_| WRONG)?)));
    }
    if digests.is_empty() { Err(WRONG) } else { Ok(digests) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str) -> String {
        format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {cluster}}}]\nusers: [{{name: u, user: {{token: CANARY}}}}]\n"
        )
    }

    #[test]
    fn server_addresses_are_normalized() {
        for (text, normal) in [
            ("https://API.example:6443/", "https://api.example:6443"),
            ("https://rancher.example/k8s/clusters/c-1", "https://rancher.example:443/k8s/clusters/c-1"),
            ("http://user:secret@10.0.0.1", "http://10.0.0.1:80"),
            ("https://[::1]:6443", "https://[::1]:6443"),
        ] {
            assert_eq!(Server::parse(text).unwrap().to_string(), normal);
        }
        for text in ["", "10.0.0.1:6443", "file:///etc/passwd", "unix:///run/x"] {
            assert_eq!(Server::parse(text), None, "{text}");
        }
    }

    #[test]
    fn users_are_not_interpreted() {
        let exec = kubeconfig("{server: 'https://a'}").replace("{token: CANARY}", "{exec: {command: [1, {}]}}");
        assert_eq!(read(&exec).unwrap().context, "a");
    }

    #[test]
    fn hostile_kubeconfigs_are_refused_without_quoting_them() {
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n".to_owned() + &kubeconfig("{server: 'https://a'}");
        for text in [
            String::new(),
            "CANARY".to_owned(),
            "CANARY: [".to_owned(),
            bomb,
            "[".repeat(100_000),
            format!("users: {}CANARY{}", "[".repeat(1_000), "]".repeat(1_000)),
            format!("x: [{}]", "1,".repeat(MAX_VALUES + 1)),
            "x".repeat(MAX_BYTES + 1),
            kubeconfig("{server: CANARY}"),
            kubeconfig("{server: 'https://a', certificate-authority-data: CANARY}"),
            kubeconfig("{server: 'https://a'}").replace("current-context: a", "current-context: b"),
        ] {
            let reason = read(&text).unwrap_err();
            assert!(!reason.contains("CANARY"), "{reason}");
        }
    }
}
