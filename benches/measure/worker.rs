//! A worker as it is run: the release binary, configured by a file, asked over HTTP whether it is ready.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::client::Client;
use sailhand::config::Config;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running worker, killed when dropped.
pub struct Worker {
    child: Child,
    /// From before its start to its first "ready".
    pub ready_after: Duration,
    _dir: TempDir,
}

/// A cluster of a worker's configuration.
#[derive(Clone)]
pub struct Target {
    /// As commands name it.
    pub name: String,
    /// How it is reached.
    pub kubeconfig: PathBuf,
    /// Of its inventories.
    pub namespace: String,
}

/// A client of a server, with the streams and buckets of the default configuration.
pub async fn client(nats: &str) -> Client {
    let mut config = Config::default();
    config.nats.url = vec![nats.to_owned()];
    let client = Client::connect(&config).await.unwrap();
    topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
    client
}

impl Worker {
    /// Starts one on the server; with a kubeconfig it has the target `dev`.
    pub async fn start(nats: &str, kubeconfig: Option<&Path>) -> Self {
        Self::configured(nats, kubeconfig, "").await
    }

    /// Starts one with these targets that does so many commands at once.
    pub async fn start_with(nats: &str, targets: &[Target], slots: usize) -> Self {
        let mut more = format!("[worker]\nslots = {slots}\n");
        for Target { name, kubeconfig, namespace } in targets {
            let kubeconfig = kubeconfig.display().to_string();
            let _ =
                write!(more, "[targets.{name}]\nkubeconfig = {kubeconfig:?}\ninventory_namespace = {namespace:?}\n");
        }
        Self::configured(nats, None, &more).await
    }

    /// As `start`, with more sections in its configuration.
    pub async fn configured(nats: &str, kubeconfig: Option<&Path>, more: &str) -> Self {
        let dir = TempDir::with_prefix("sailhand-bench-").unwrap();
        let address = free_address();
        let mut config = format!("[nats]\nurl = {nats:?}\n[health]\nlisten = \"{address}\"\n");
        if let Some(kubeconfig) = kubeconfig.map(|path| path.display().to_string()) {
            let _ = write!(
                config,
                "[targets.dev]\nkubeconfig = {kubeconfig:?}\ninventory_namespace = \"bench-inventory\"\n"
            );
        }
        config.push_str(more);
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(dir.path().join("worker.log")).unwrap();
        let start = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["worker", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut worker = Self { child, ready_after: Duration::ZERO, _dir: dir };
        while !ready(address).await {
            assert!(start.elapsed() < PATIENCE, "the worker is not ready after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        worker.ready_after = start.elapsed();
        worker
    }

    /// Ends it as Kubernetes does, with SIGTERM, and waits for its end.
    pub async fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        tokio::task::spawn_blocking(move || self.child.wait()).await.unwrap().unwrap();
    }

    /// Of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another process may take it before the worker does; then the worker does not start and the measurement fails.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

async fn ready(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    asked.await.unwrap_or(false)
}
