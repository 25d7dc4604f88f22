//! The listener with mutual TLS, and the names of client certificates.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::MutualTls;
use crate::http;

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
    pub(super) async fn load(settings: &MutualTls) -> Result<Self, http::Error> {
        let acceptor = acceptor(settings).await?;
        Ok(Self { settings: settings.clone(), acceptor: RwLock::new(acceptor) })
    }

    /// Reads the files again, for new connections.
    pub(super) async fn reload(&self) -> Result<(), http::Error> {
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

async fn acceptor(settings: &MutualTls) -> Result<TlsAcceptor, http::Error> {
    let unusable =
        |path: &Path, error: &dyn std::error::Error| http::Error::Settings(format!("{}: {error}", path.display()));
    let roots = http::authorities(&settings.client_ca_file).await?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = verifier.build().map_err(|error| unusable(&settings.client_ca_file, &error))?;
    let key = http::private_key(&settings.key_file).await?;
    let chain = http::certificates(&settings.cert_file).await?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| http::Error::Settings(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&settings.cert_file, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
