//! A TCP proxy on the way to a server: slow, cut, deaf, or losing the answer to what has been done.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Passes it on.
    Good,
    /// Passes it on after a delay.
    Slow(Duration),
    /// Keeps it back, in both directions, until the link is another.
    Deaf,
    /// Closes every connection, old and new.
    Cut,
    /// Closes the next connection on which the server says something, and loses that. Then the link is good.
    LosesAnswer,
}

/// Listens until the runtime of the test ends.
pub struct TcpProxy {
    port: u16,
    link: Arc<watch::Sender<Link>>,
}

impl TcpProxy {
    /// Before the server on this port.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let link = Arc::new(watch::Sender::new(Link::Good));
        let shared = Arc::clone(&link);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.borrow() == Link::Cut {
                    continue;
                }
                if let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await {
                    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
                    tokio::spawn(carry(client, upstream, Arc::clone(&shared)));
                }
            }
        });
        Self { port, link }
    }

    /// The port for clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Whether the answer to be lost has not come yet.
    pub fn waits_for_answer(&self) -> bool {
        *self.link.borrow() == Link::LosesAnswer
    }
}

async fn carry(client: TcpStream, server: TcpStream, link: Arc<watch::Sender<Link>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = link.subscribe();
    // When one direction ends, both do: dropping them closes the connections.
    tokio::select! {
        () = pass(from_client, to_server, &link, false) => {}
        () = pass(from_server, to_client, &link, true) => {}
        _ = cut.wait_for(|link| *link == Link::Cut) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, link: &watch::Sender<Link>, answers: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        let now = *link.borrow();
        match now {
            Link::Slow(delay) => tokio::time::sleep(delay).await,
            Link::Deaf => {
                let _ = link.subscribe().wait_for(|link| *link != Link::Deaf).await;
            }
            Link::LosesAnswer if answers => {
                link.send_replace(Link::Good);
                return;
            }
            Link::Good | Link::Cut | Link::LosesAnswer => {}
        }
        // The end comes as late as the rest: a server learns of it after the last request, which it may have done.
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
