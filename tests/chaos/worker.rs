//! One place in a pool of workers: a process, its links to bus and cluster, and another process when it is gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sailhand::config::{Config, Target};
use serde_json::json;

use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::tcp_proxy::TcpProxy;
use crate::support::worker::toml;

/// A place in the pool.
pub struct Place {
    /// Name of the place; each process that takes it adds a number.
    pub name: String,
    /// To the bus.
    pub bus: TcpProxy,
    /// To the cluster, behind `cluster`.
    pub link: TcpProxy,
    /// Records and refuses.
    pub cluster: ApiProxy,
    dir: PathBuf,
    failpoints: PathBuf,
    config: Config,
    number: u32,
    child: Option<Child>,
    /// It was told to end, so its end is no death.
    leaving: bool,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// As asked.
    Left,
    /// Otherwise.
    Died,
}

impl Place {
    /// An empty place. `config` is what all places have in common.
    pub async fn new(
        name: &str,
        config: &Config,
        bus: u16,
        kubeconfig: &Path,
        record: Record,
        dir: &Path,
        failpoints: &Path,
    ) -> Self {
        let cluster = ApiProxy::start(name, kubeconfig, record).await;
        let link = TcpProxy::start(cluster.port()).await;
        let bus = TcpProxy::start(bus).await;
        let file = dir.join(format!("{name}.kubeconfig"));
        let server = format!("http://127.0.0.1:{}", link.port());
        let access = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "users": [{"name": "a", "user": {}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        });
        fs::write(&file, access.to_string()).unwrap();
        let mut config = config.clone();
        // Several servers are reached past the proxy: a client learns their addresses from each other anyway.
        if config.nats.url.len() == 1 {
            config.nats.url = vec![format!("nats://127.0.0.1:{}", bus.port())];
        }
        config.health.listen = None;
        for target in config.targets.values_mut() {
            *target = Target { kubeconfig: Some(file.clone()), ..target.clone() };
        }
        Self {
            name: name.to_owned(),
            bus,
            link,
            cluster,
            dir: dir.to_owned(),
            failpoints: failpoints.to_owned(),
            config,
            number: 0,
            child: None,
            leaving: false,
        }
    }

    /// Starts a process, if there is none.
    pub fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        self.number += 1;
        self.leaving = false;
        self.config.worker.id = format!("{}.{}", self.name, self.number);
        let file = self.dir.join(format!("{}.toml", self.name));
        fs::write(&file, toml(&self.config)).unwrap();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .args(["worker", "--log-format", "json", "--config"])
            .arg(&file)
            .env("SAILHAND_FAILPOINTS", &self.failpoints)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Whether the process that was here is gone.
    pub fn gone(&mut self) -> Option<Gone> {
        self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(if self.leaving { Gone::Left } else { Gone::Died })
    }

    /// Sends a signal; nothing when nobody is here.
    pub fn signal(&mut self, signal: &str) {
        if let Some(child) = &self.child {
            self.leaving |= signal == "TERM";
            let _ = Command::new("kill").args(["-s", signal, &child.id().to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Process id.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What all processes here wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }
}

impl Drop for Place {
    #[allow(clippy::print_stderr, reason = "who looks for why a test failed needs it")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("what {} wrote:\n{}", self.name, self.log());
        }
    }
}
