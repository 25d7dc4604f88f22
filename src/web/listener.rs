//! A TCP listener with limits of open connections and of their silence, for HTTP and gRPC. Further connections wait in
//! the backlog of the operating system.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Time to read a request and to answer it, beyond what a server waits on purpose.
const SILENCE: Duration = Duration::from_mins(1);

/// The listener.
pub(crate) struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
    silence: Duration,
}

impl Bounded {
    /// At most `most` connections. One is closed a minute and `longest_wait` after its last response; events that continue
    /// for longer have comments between them.
    pub(crate) fn new(listener: TcpListener, most: usize, longest_wait: Duration) -> Self {
        Self::sharing(listener, Arc::new(Semaphore::new(most)), longest_wait)
    }

    /// As [`Bounded::new`], with a limit that several listeners share.
    pub(crate) fn sharing(listener: TcpListener, free: Arc<Semaphore>, longest_wait: Duration) -> Self {
        Self { listener, free, silence: SILENCE + longest_wait }
    }
}

/// Binds an address. Gives the address too, which has the port that the system has chosen for port 0.
///
/// # Errors
/// The system's.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.free.clone().acquire_owned().await.ok();
        // axum's own implementation waits while the process has no free file descriptors.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        (Connection { stream, end: Box::pin(sleep(self.silence)), silence: self.silence, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Address of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// One connection, which counts until it is closed.
pub(crate) struct Connection {
    stream: TcpStream,
    /// `silence` after the last write.
    end: Pin<Box<Sleep>>,
    silence: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // First, because a client that sends single bytes must not postpone it.
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, from);
        if matches!(written, Poll::Ready(Ok(_))) {
            let end = Instant::now() + self.silence;
            self.end.as_mut().reset(end);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The clock is paused: it advances when nothing else can run.
    #[tokio::test(start_paused = true)]
    async fn slow_requests_are_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = Bounded::new(listener, 1, Duration::ZERO).accept().await;
        let start = Instant::now();
        client.write_all(b"GET /runs HTTP/1.1\r\nX-Slow: ").await.unwrap();
        let sender = tokio::spawn(async move {
            // One byte a second, without an end.
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < SILENCE * 2, "{:?}", start.elapsed());
        sender.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn responses_prolong_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = Bounded::new(listener, 1, Duration::ZERO).accept().await;
        for _ in 0..5 {
            let read = tokio::time::timeout(SILENCE / 2, server.read_u8()).await;
            assert!(read.is_err(), "{read:?}");
            server.write_all(b": comment\n").await.unwrap();
        }
    }
}
