//! A TCP proxy before a nats-server that loses answers on order: the server has done what it was asked, and the client
//! does not learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PASS: u8 = 0;
const ARMED: u8 = 1;
const CUT: u8 = 2;

/// Listens until the runtime of the test ends.
pub struct LossyProxy {
    port: u16,
    state: Arc<AtomicU8>,
}

impl LossyProxy {
    /// Before the server on this port.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(AtomicU8::new(PASS));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(carry(client, upstream, Arc::clone(&shared)));
                }
            }
        });
        Self { port, state }
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The next thing the server says on a connection is lost, and the connection with it. Later ones work.
    pub fn lose_answers_then_cut(&self) {
        self.state.store(ARMED, Ordering::SeqCst);
    }

    /// Whether something was lost.
    pub fn was_cut(&self) -> bool {
        self.state.load(Ordering::SeqCst) == CUT
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        if state.compare_exchange(ARMED, CUT, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            break;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    asking.abort();
}
