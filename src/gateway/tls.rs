//! The listener with mutual TLS, and the names of client certificates.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::MutualTls;

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Subject alternative names of the client's certificate, DNS names and URIs: an extension of each request. Empty without
/// TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct CertificateNames(pub(super) Arc<[String]>);

/// Accepts TLS connections.
pub(super) struct Tls {
    settings: MutualTls,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads certificates and key.
    pub(super) async fn load(settings: &MutualTls) -> Result<Self, String> {
        let acceptor = acceptor(settings).await?;
        Ok(Self { settings: settings.clone(), acceptor: RwLock::new(acceptor) })
    }

    /// Reads the files again, for new connections.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let new = acceptor(&self.settings).await?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Completes the handshake. A client without a valid certificate fails it.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<(TlsStream<S>, CertificateNames)> {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.map(names).unwrap_or_default();
        Ok((stream, CertificateNames(names.into())))
    }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_dns_names().chain(certificate.valid_uri_names()).map(str::to_owned).collect()
}

async fn acceptor(settings: &MutualTls) -> Result<TlsAcceptor, String> {
    let authorities = certificates(&settings.client_ca_file).await?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| at(&settings.client_ca_file, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = verifier.build().map_err(|error| at(&settings.client_ca_file, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&settings.key_file).await?);
    let key = key.map_err(|_| format!("{} is not a key in PEM", settings.key_file.display()))?;
    let chain = certificates(&settings.cert_file).await?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| at(&settings.cert_file, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path).await?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.ok_or_else(|| format!("{} has no certificates in PEM", path.display()))
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn at(path: &Path, error: &dyn std::error::Error) -> String {
    format!("{}: {error}", path.display())
}
