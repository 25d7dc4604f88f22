//! Accepts connections with mutual TLS, and reads the names of client certificates.

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
use tokio_util::sync::CancellationToken;

use crate::config::MutualTls;
use crate::http;

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time between two reads of the files.
const REREAD: Duration = Duration::from_secs(10);

/// Subject alternative names of the client's certificate, DNS names and URIs: an extension of each request. Empty without
/// TLS.
#[derive(Debug, Clone, Default)]
pub(crate) struct CertificateNames(pub(crate) Arc<[String]>);

/// Accepts TLS connections.
pub(crate) struct Tls {
    settings: MutualTls,
    /// Application protocol, for ALPN.
    protocol: &'static str,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads certificates and key. `protocol` is `http/1.1` or `h2`.
    ///
    /// # Errors
    /// [`http::Error::Settings`] for a file that cannot be read or used.
    pub(crate) async fn load(settings: &MutualTls, protocol: &'static str) -> Result<Self, http::Error> {
        let acceptor = acceptor(settings, protocol).await?;
        Ok(Self { settings: settings.clone(), protocol, acceptor: RwLock::new(acceptor) })
    }

    /// Reads the files again every 10 s until `stop`, for new connections. Files that cannot be used change nothing.
    pub(crate) async fn reread(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REREAD) => {}
                () = stop.cancelled() => return,
            }
            match acceptor(&self.settings, self.protocol).await {
                Ok(new) => *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = new,
                Err(reason) => tracing::warn!("the last certificates are used: {reason}"),
            }
        }
    }

    /// Completes the handshake. A client without a valid certificate fails it.
    ///
    /// # Errors
    /// That of the handshake, and a timeout after 10 s.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
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

async fn acceptor(settings: &MutualTls, protocol: &str) -> Result<TlsAcceptor, http::Error> {
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
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
