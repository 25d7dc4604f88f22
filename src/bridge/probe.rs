//! Identifies the cluster of a kubeconfig by the UID of its namespace `kube-system`: one GET with the credentials of the
//! kubeconfig, only to an address that the configuration lists. Runs no program, follows no redirect, uses no proxy, and never
//! skips the verification of the server's certificate. Off unless `bridge.probe` is set, because a sender chooses which of
//! these addresses gets a request.

use std::time::Duration;

use base64::Engine as _;
use futures::{StreamExt, stream};
use reqwest::redirect::Policy;
use serde::Deserialize;

use super::kubeconfig::{self, Facts, Server};
use super::matching::Uids;
use crate::config::Bridge;
use crate::http;

/// Longest request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Requests at once.
const AT_ONCE: usize = 8;
/// Longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;
const PATH: &str = "/api/v1/namespaces/kube-system";

/// One request. No `Debug`: it has credentials.
pub(super) struct Probe {
    index: usize,
    url: String,
    authority: Vec<u8>,
    token: Option<String>,
    /// Certificate and key, PEM.
    identity: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: String,
}

/// The requests for kubeconfigs whose address is that of a target with a `cluster_uid`. Other addresses get none. `facts` are
/// those of the kubeconfigs, in their order.
pub(super) fn prepare(bridge: &Bridge, kubeconfigs: &[String], facts: &[Facts]) -> Vec<Probe> {
    let is_listed = |server: &Server| {
        let with_uid = bridge.targets.values().filter(|target| target.cluster_uid.is_some());
        with_uid.flat_map(|target| &target.server).any(|text| Server::parse(text).as_ref() == Some(server))
    };
    let probe = |(index, (text, facts)): (usize, (&String, &Facts))| {
        let user = is_listed(&facts.server).then(|| kubeconfig::user(text))??;
        let decode = |data: Option<String>| base64::engine::general_purpose::STANDARD.decode(data?.trim()).ok();
        let identity = decode(user.certificate).zip(decode(user.key)).map(|(cert, key)| [cert, key].concat());
        let url = format!("{}{PATH}", facts.server);
        let authority = decode(user.authority).unwrap_or_default();
        Some(Probe { index, url, authority, token: user.token, identity })
    };
    kubeconfigs.iter().zip(facts).enumerate().filter_map(probe).collect()
}

/// Sends the requests. A cluster that does not answer has no UID, which the log says without the credentials.
pub(super) async fn send(probes: Vec<Probe>) -> Uids {
    let sent = stream::iter(probes).map(|probe| async move {
        let (index, url) = (probe.index, probe.url.clone());
        match ask(probe).await {
            Ok(uid) => Some((index, uid)),
            Err(reason) => {
                tracing::warn!(kubeconfig = index + 1, url, "cannot identify the cluster of a kubeconfig: {reason}");
                None
            }
        }
    });
    sent.buffer_unordered(AT_ONCE).filter_map(async |found| found).collect().await
}

async fn ask(probe: Probe) -> Result<String, String> {
    // Errors of certificates and headers may quote them.
    let unusable = |what: &str| format!("{what} of the kubeconfig cannot be used");
    let mut builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy();
    if !probe.authority.is_empty() {
        let authorities = reqwest::Certificate::from_pem_bundle(&probe.authority);
        builder = builder.tls_certs_only(authorities.map_err(|_| unusable("the certificate authority"))?);
    }
    if let Some(identity) = &probe.identity {
        let identity = reqwest::Identity::from_pem(identity).map_err(|_| unusable("the client certificate"))?;
        builder = builder.identity(identity);
    }
    let client = builder.build().map_err(|_| unusable("a certificate"))?;
    let mut request = client.get(&probe.url);
    if let Some(token) = &probe.token {
        request = request.bearer_auth(token);
    }
    let (answer, is_cut) = http::exchange(request, MAX_ANSWER).await.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    if is_cut {
        return Err(http::Error::TooLarge(MAX_ANSWER).to_string());
    }
    let namespace: Namespace =
        serde_json::from_str(&answer.body).map_err(|_| "the answer is not a namespace".to_owned())?;
    let Metadata { name, uid } = namespace.metadata;
    if name == "kube-system" { Ok(uid) } else { Err("the answer is another namespace".to_owned()) }
}
