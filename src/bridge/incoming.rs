//! Connections of the two listeners, as tonic takes them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener as _;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::web::listener::{Bounded, Connection};
use crate::web::tls::{CertificateNames, Tls};

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// A connection with mutual TLS. The names of its certificate are an extension of each request.
pub(super) struct Secure {
    stream: TlsStream<Connection>,
    names: CertificateNames,
}

impl Connected for Secure {
    type ConnectInfo = CertificateNames;

    fn connect_info(&self) -> CertificateNames {
        self.names.clone()
    }
}

impl AsyncRead for Secure {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// At most `most` connections. Keepalive writes to live connections more often than silence is allowed.
fn bounded(listener: TcpListener, most: usize) -> Bounded {
    Bounded::sharing(listener, Arc::new(Semaphore::new(most)), Duration::ZERO)
}

/// Plaintext connections, without end.
pub(super) fn plaintext(listener: TcpListener, most: usize) -> impl Stream<Item = io::Result<Connection>> {
    futures::stream::unfold(bounded(listener, most), async |mut bounded| {
        let (connection, _) = bounded.accept().await;
        Some((Ok(connection), bounded))
    })
}

/// Connections whose client has a valid certificate, until `stop`. A slow handshake delays no other connection.
pub(super) fn secure(
    listener: TcpListener,
    most: usize,
    tls: Arc<Tls>,
    stop: CancellationToken,
) -> impl Stream<Item = io::Result<Secure>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut bounded = bounded(listener, most);
        loop {
            let (connection, peer) = tokio::select! {
                accepted = bounded.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (tls, sender) = (tls.clone(), sender.clone());
            tokio::spawn(async move {
                match tls.accept(connection).await {
                    Ok((stream, names)) => drop(sender.send(Ok(Secure { stream, names })).await),
                    Err(error) => tracing::debug!(%peer, "TLS handshake failed: {error}"),
                }
            });
        }
    });
    futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|next| (next, receiver)))
}
