//! A real `sailhand worker` process, and the bus, cluster and client that it needs.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::client::{Client, Observed};
use sailhand::config::Config;
use sailhand::event::{CommandDraft, CommandKey, EventKind, Outcome, ResultData, Target, WaitReason, Waited};
use serde_json::Value;
use tempfile::TempDir;

use super::control_plane;
use super::eventually::eventually;
use super::nats::NatsServer;

/// How long a worker may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);
/// How long a command may take. Some wait for what the API server does in minutes.
const PATIENCE: Duration = Duration::from_mins(6);

/// The result of a command that succeeded and changed nothing, for tests that publish results themselves.
pub fn succeeded() -> ResultData {
    ResultData {
        outcome: Outcome::Succeeded,
        changed: false,
        report: None,
        error: None,
        attempts: 1,
        earlier_attempts: Vec::new(),
        fence: 0,
        worker: "w".to_owned(),
        ended: "2026-01-31T12:00:00Z".to_owned(),
    }
}

/// Twelve seconds for the lease of an installation, for tests that publish events themselves.
pub fn waited() -> Vec<Waited> {
    vec![Waited { reason: WaitReason::Installation, installation: Some("shop".to_owned()), waited_ms: 12_400 }]
}

/// A bus with its streams, and a client.
pub struct WorkerEnv {
    pub nats: NatsServer,
    pub client: Client,
    pub config: Config,
    dir: TempDir,
}

impl WorkerEnv {
    /// A fresh bus, quick to notice that a worker died; targets `dev` (the test cluster) and `gone` (no server answers).
    pub async fn new() -> Self {
        Self::on(NatsServer::start().await, |_| {}).await
    }

    /// The same on a server of one's own; `set` has the last word on the configuration.
    pub async fn on(nats: NatsServer, set: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::with_prefix("sailhand-e2e-").unwrap();
        let gone = dir.path().join("gone.kubeconfig");
        fs::write(&gone, GONE).unwrap();
        let mut config = Config::default();
        config.nats.url = vec![nats.url()];
        config.bus.ack_wait = Duration::from_secs(3);
        config.bus.lease_ttl = Duration::from_secs(10);
        config.worker.grace = Duration::from_secs(10);
        let target = |kubeconfig: &Path| sailhand::config::Target {
            kubeconfig: Some(kubeconfig.to_owned()),
            ..sailhand::config::Target::default()
        };
        config.targets.insert("dev".to_owned(), target(control_plane::kubeconfig()));
        config.targets.insert("gone".to_owned(), target(&gone));
        set(&mut config);
        let client = Client::connect(&config).await.unwrap();
        topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
        Self { nats, client, config, dir }
    }

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self, name: &str) -> Worker {
        let worker = self.start(name);
        eventually(&format!("worker {name} is ready"), START, async || {
            worker.log().contains("\"ready\"").then_some(())
        })
        .await;
        worker
    }

    /// Starts a worker, which may have to wait.
    pub fn start(&self, name: &str) -> Worker {
        let mut config = self.config.clone();
        name.clone_into(&mut config.worker.id);
        config.health.listen = Some(([127, 0, 0, 1], 0).into());
        let file = self.dir.path().join(format!("{name}.toml"));
        fs::write(&file, toml(&config)).unwrap();
        let log = self.dir.path().join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_sailhand"))
            .arg("worker")
            .arg("--config")
            .arg(&file)
            .args(["--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Worker { child, log }
    }

    /// Sends a command and gives its key.
    pub async fn send(&self, target: &str, verb: &str, params: Value) -> CommandKey {
        let draft = draft(verb, params);
        self.client.submit(&target.parse::<Target>().unwrap(), draft).await.unwrap().key
    }

    /// Sends a command and waits for its result.
    pub async fn run(&self, target: &str, verb: &str, params: Value) -> ResultData {
        let key = self.send(target, verb, params).await;
        self.result(&key).await
    }

    /// Waits for the result of a command.
    pub async fn result(&self, key: &CommandKey) -> ResultData {
        self.until(key, |observed| match observed {
            Observed::Result(result) => Some((**result).clone()),
            _ => None,
        })
        .await
    }

    /// Waits for an event of a command.
    pub async fn event(&self, key: &CommandKey, wanted: impl Fn(&EventKind) -> bool) {
        self.until(key, |observed| matches!(observed, Observed::Event(kind) if wanted(kind)).then_some(())).await;
    }

    async fn until<T>(&self, key: &CommandKey, pick: impl Fn(&Observed) -> Option<T>) -> T {
        let mut observations = self.client.watch_command(key);
        let mut seen = Vec::new();
        let waited = tokio::time::timeout(PATIENCE, async {
            while let Some(observation) = observations.next().await {
                let observed = observation.unwrap().observed;
                if let Some(found) = pick(&observed) {
                    return Some(found);
                }
                seen.push(observed);
            }
            None
        });
        match waited.await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("command {key} ended without what was waited for: {seen:#?}"),
            Err(elapsed) => panic!("command {key}: {elapsed}, {PATIENCE:?}, only {seen:#?}"),
        }
    }
}

/// A name that no other test has.
pub fn unique_name(tag: &str) -> String {
    format!("{tag}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

/// A command with a new id.
pub fn draft(verb: &str, params: Value) -> CommandDraft {
    CommandDraft {
        id: uuid::Uuid::new_v4().to_string(),
        source: "/tests".to_owned(),
        verb: verb.to_owned(),
        params,
        ..CommandDraft::default()
    }
}

/// The process; killed when dropped.
pub struct Worker {
    child: Child,
    log: std::path::PathBuf,
}

impl Worker {
    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory that the running process has had, bytes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.unwrap_or_else(|| panic!("the worker has ended: {}", self.log())).trim().parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let child = std::cell::RefCell::new(&mut self.child);
        eventually("the worker ends", Duration::from_mins(1), async || child.borrow_mut().try_wait().unwrap()).await
    }

    /// Answer of its health port: status and body.
    pub async fn http(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let log = self.log();
        let address = log.split("http://").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The configuration as a file; what is absent in it is absent there.
pub fn toml(config: &Config) -> String {
    use std::fmt::Write as _;
    fn table(out: &mut String, path: &str, value: &Value) {
        let Value::Object(fields) = value else { return };
        let _ = writeln!(out, "[{path}]");
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_object() && !value.is_null()) {
            let _ = writeln!(out, "{key} = {value}");
        }
        for (key, value) in fields.iter().filter(|(_, value)| value.is_object()) {
            table(out, &format!("{path}.{key}"), value);
        }
    }
    let mut out = String::new();
    let Value::Object(sections) = serde_json::to_value(config).unwrap() else { panic!("a configuration is an object") };
    for (section, value) in &sections {
        table(&mut out, section, value);
    }
    out
}

const GONE: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "gone",
 "clusters": [{"name": "gone", "cluster": {"server": "http://127.0.0.1:1"}}],
 "users": [{"name": "gone", "user": {}}],
 "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}]}"#;
