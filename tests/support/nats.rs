//! A real nats-server with `JetStream` for one test: free port, store of its own, gone when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::eventually::eventually;
use super::{accounts, tools};

/// A start on a busy machine takes up to a few seconds.
const START: Duration = Duration::from_secs(20);

/// A running (or stopped, see [`NatsServer::kill`]) server.
pub struct NatsServer {
    child: Option<Child>,
    port: u16,
    options: Options,
    dir: TempDir,
}

/// What differs from a plain server.
#[derive(Default)]
pub struct Options {
    /// Text of a server configuration (accounts, TLS, ...). Address, port and store are set by the test support, and the
    /// passwords of the example accounts by `accounts.rs`.
    pub config: Option<String>,
    /// In a cluster.
    pub name: String,
}

impl NatsServer {
    /// A server without authentication.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A server with a configuration.
    pub async fn start_with(options: Options) -> Self {
        let dir = TempDir::with_prefix("sailhand-nats-").expect("a temporary folder");
        let config = with_storage(options.config.as_deref().unwrap_or_default());
        fs::write(dir.path().join("nats.conf"), config).expect("write the server's configuration");
        let mut server = Self { child: None, port: 0, options, dir };
        server.run().await;
        server
    }

    /// Three servers that are one cluster.
    pub async fn cluster() -> Vec<Self> {
        // Free now; another process is unlikely to bind one before the servers listen.
        let held: Vec<_> =
            (0..3).map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
        let ports: Vec<u16> = held.iter().map(|one| one.local_addr().expect("an address").port()).collect();
        drop(held);
        let routes: Vec<String> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let mut starting = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let config = format!(
                "server_name: n{number}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{}] }}\n",
                routes.join(", ")
            );
            let options = Options { config: Some(config), name: format!("n{number}") };
            starting.push(Self::start_with(options));
        }
        futures::future::join_all(starting).await
    }

    /// As the servers of a cluster name it.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The address for clients. Stays the same over restarts.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port for clients.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Address of the monitoring port, for a configuration with `http: "127.0.0.1:-1"`.
    pub fn monitoring(&self) -> String {
        let files = fs::read_dir(self.dir.path()).expect("the server's folder");
        let ports =
            files.map(|file| file.expect("a file").path()).find(|file| file.extension() == Some("ports".as_ref()));
        let ports = fs::read(ports.expect("the file with the server's ports")).expect("the server's ports");
        let ports: serde_json::Value = serde_json::from_slice(&ports).expect("JSON");
        ports["monitoring"][0].as_str().expect("a monitoring port").trim_start_matches("http://").to_owned()
    }

    /// Ends the server as a crash does (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends the server a signal by its name.
    pub fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("run kill");
            assert!(sent.success(), "nats-server had ended already; {}", self.log());
        }
    }

    /// Ends the server in order (SIGTERM).
    pub async fn stop(&mut self) {
        let Some(child) = &self.child else { return };
        let asked = Command::new("kill").arg(child.id().to_string()).status().expect("run kill");
        assert!(asked.success(), "nats-server had ended already; {}", self.log());
        let child = std::cell::RefCell::new(self.child.take());
        eventually("nats-server ends", START, async || {
            child.borrow_mut().as_mut().and_then(|child| child.try_wait().expect("wait for nats-server"))
        })
        .await;
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), with the same store on the same port.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// The same address, and nothing of what it had stored: its disk is lost.
    pub async fn lose_store(&mut self) {
        self.kill();
        fs::remove_dir_all(self.path("store")).expect("remove the server's store");
        self.run().await;
    }

    /// Gives the running server another configuration.
    pub fn reload(&self, config: &str) {
        fs::write(self.path("nats.conf"), with_storage(config)).expect("write the server's configuration");
        let child = self.child.as_ref().expect("a running server");
        let told = Command::new("kill").args(["-s", "HUP", &child.id().to_string()]).status().expect("run kill");
        assert!(told.success(), "nats-server had ended; {}", self.log());
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.path("nats.log")).unwrap_or_default();
        format!("log of nats-server:\n{text}")
    }

    async fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("nats.log")).expect("open the log");
        let program = tools::program("nats-server", "NATS_SERVER_BIN");
        let program_name = program.file_name().expect("a program has a name").to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.arg("--config").arg(self.path("nats.conf"));
        // The server itself picks the first port (-1), so that tests side by side cannot take it from each other.
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        command
            .args(["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir"])
            .arg(self.path("store"))
            .arg("--ports_file_dir")
            .arg(self.dir.path())
            .envs(self.options.config.iter().flat_map(|config| accounts::passwords(config)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().expect("start nats-server");
        let ports = self.path(&format!("{program_name}_{}.ports", child.id()));
        let child = std::cell::RefCell::new(child);
        let this: &Self = self;
        let port = eventually("nats-server listens", START, async || {
            if let Some(status) = child.borrow_mut().try_wait().expect("wait for nats-server") {
                panic!("nats-server ended with {status}; {}", this.log());
            }
            let port = client_port(&ports)?;
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| port)
        })
        .await;
        self.port = port;
        self.child = Some(child.into_inner());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Reads the client port from the file in which the server writes its addresses; `None` until it is whole.
fn client_port(file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// The configuration, with storage for the size limits of all streams. The server's own limit is a part of the free disk.
fn with_storage(config: &str) -> String {
    let limit = if config.contains("max_file_store") { "" } else { "jetstream { max_file_store: 64GB }\n" };
    format!("{limit}{config}")
}
