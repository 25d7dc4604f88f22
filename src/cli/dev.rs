//! `sailhand dev`: a local development environment. A nats-server, the streams, a dashboard, and a worker for the current
//! kubeconfig context as target `dev`; all of it ends with this process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::local::{self, LocalCluster};
use super::output::{self, GOOD, QUIET, STRONG, styled};
use super::{Error, Exit, Global, catalog, worker};
use crate::bus::nats::topology;
use crate::bus::topology::Topology;
use crate::client::{self, Client};
use crate::clock::Clock;
use crate::config::{Config, Nats, Override};
use crate::dashboard;

const TARGET: &str = "dev";
/// This project's own build of the server, relative to the current folder.
const CACHED: &str = ".cache/bin/nats-server";
/// The streams reserve their limits, 7 GiB, and the server would lend them only three quarters of the free disk.
const SERVER_CONFIG: &str = "jetstream { max_file_store: 64GB }\n";
const START: Duration = Duration::from_secs(15);
const STOP: Duration = Duration::from_secs(5);
/// Age of the oldest runs that the dashboard lists.
const RUNS: Duration = Duration::from_hours(7 * 24);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The nats-server program [default: from PATH, else .cache/bin/nats-server]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// Port of the NATS server
    #[arg(long, default_value_t = 4222, value_parser = super::number::<u16>)]
    port: u16,
    /// Keep the streams in this folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    #[command(flatten)]
    cluster: LocalCluster,
    /// Istio's Helm charts: a folder, https:// repository or oci:// registry [default: charts.source of the configuration]
    #[arg(long, value_name = "PLACE", value_hint = clap::ValueHint::DirPath)]
    charts: Option<String>,
    /// Do not ask when the API server is not on this machine
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let mut config = global.load([Override::new("charts.source", "--charts", options.charts.clone())])?.config;
    config.nats = Nats { url: vec![format!("nats://127.0.0.1:{}", options.port)], ..Nats::default() };
    config.bus.replicas = 1;
    config.health.listen = None;
    let target = options.cluster.target(None);
    if options.cluster.expects(None) || local::has_kubeconfig(&target) {
        let identity = local::reached("worker for target", TARGET, &target).await?;
        let (what, question) = ("dev starts a worker that may change", "Start a worker that may change it?");
        if !local::consent(&identity, options.yes, what, question)? {
            output::note("Nothing was started.");
            return Ok(Exit::Failed);
        }
    } else {
        local::note_no_kubeconfig(&target);
    }
    config.targets.insert(TARGET.to_owned(), target);

    let store = Store::new(options.store.as_deref())?;
    let mut server = Server::start(options, &store).await?;
    let done = tokio::select! {
        done = serve(config) => done,
        ended = server.child.wait() => Err(server.ended(ended)),
    };
    server.stop().await;
    done
}

async fn serve(config: Config) -> Result<Exit, Error> {
    let client = Client::connect(&config).await.map_err(client::Error::from)?;
    topology::apply(client.bus(), &Topology::new(&config.bus)).await.map_err(client::Error::from)?;
    client.bus().close().await;
    let url = config.nats.url.join(",");
    output::note(format_args!("{} NATS at {url}, worker for target {}", styled(GOOD, "✔"), styled(STRONG, TARGET)));
    let flag = if config.nats.url == Nats::default().url { String::new() } else { format!(" --nats-url {url}") };
    output::note(format_args!("  in another terminal: sailhand submit ping --target {TARGET} --wait{flag}"));
    let stop = CancellationToken::new();
    let dashboard = start_dashboard(&config, stop.clone()).await?;
    output::note(format_args!("  dashboard: http://{}", dashboard.address));
    output::note(styled(QUIET, "  Ctrl-C stops everything"));
    let _stop = stop.drop_guard();
    worker::serve(config).await
}

/// With actions, because only this machine reaches it. Uses any free port if its own one is in use.
async fn start_dashboard(config: &Config, stop: CancellationToken) -> Result<dashboard::Running, dashboard::Error> {
    let mut config = config.clone();
    config.dashboard.allow_actions = true;
    match dashboard::start(&config, RUNS, catalog::catalog(), stop.clone()).await {
        Err(dashboard::Error::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            config.dashboard.listen.set_port(0);
            dashboard::start(&config, RUNS, catalog::catalog(), stop).await
        }
        started => started,
    }
}

/// A process that ends the server when this process has ended, which closes the pipe between them, and then removes the
/// temporary `store`: a killed process can do neither.
fn watchdog(server: u32, store: Option<&Path>) -> io::Result<Child> {
    const SCRIPT: &str = "cat >/dev/null; kill -TERM \"$0\" 2>/dev/null; \
                          while kill -0 \"$0\" 2>/dev/null; do sleep 0.1; done; [ -z \"$1\" ] || rm -rf -- \"$1\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, &server.to_string()]).arg(store.unwrap_or(Path::new("")));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// The folder of the streams; removed at the end if it was made here.
struct Store {
    dir: PathBuf,
    made: bool,
}

impl Store {
    fn new(asked: Option<&Path>) -> Result<Self, Error> {
        let made = asked.is_none();
        let temporary = || std::env::temp_dir().join(format!("sailhand-dev-{}", std::process::id()));
        let dir = asked.map_or_else(temporary, Path::to_owned);
        std::fs::create_dir_all(&dir).map_err(|source| Error::local(format!("make {}", dir.display()), source))?;
        Ok(Self { dir, made })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

struct Server {
    child: Child,
    /// Ends the server when this process is killed.
    _watchdog: Option<Child>,
    program: PathBuf,
    log: PathBuf,
}

impl Server {
    async fn start(options: &Options, store: &Store) -> Result<Self, Error> {
        if TcpStream::connect(("127.0.0.1", options.port)).await.is_ok() {
            let reason = "something listens there already; name another with --port";
            return Err(Error::argument(format!("port {}", options.port), reason));
        }
        let log = store.dir.join("nats-server.log");
        let candidates = match &options.nats_server {
            Some(program) => vec![program.clone()],
            None => vec![PathBuf::from("nats-server"), PathBuf::from(CACHED)],
        };
        let mut server = Self::spawn(candidates, options.port, store, log)?;
        let listens = async {
            while TcpStream::connect(("127.0.0.1", options.port)).await.is_err() {
                Clock::system().sleep(Duration::from_millis(50)).await;
            }
        };
        let late = || Error::local("start nats-server", io::Error::from(io::ErrorKind::TimedOut));
        tokio::select! {
            listens = tokio::time::timeout(START, listens) => listens.map_err(|_| late())?,
            ended = server.child.wait() => return Err(server.ended(ended)),
        }
        Ok(server)
    }

    fn spawn(candidates: Vec<PathBuf>, port: u16, store: &Store, log: PathBuf) -> Result<Self, Error> {
        let fail = |source| Error::local("start nats-server", source);
        let config = store.dir.join("nats-server.conf");
        std::fs::write(&config, SERVER_CONFIG).map_err(fail)?;
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for program in candidates {
            let output = std::fs::File::create(&log).map_err(fail)?;
            let mut command = Command::new(&program);
            command
                .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"])
                .arg(&store.dir)
                .arg("--config")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(output)
                .kill_on_drop(true);
            // A process group of its own: Ctrl-C must not reach the server, because the worker still needs it to return its
            // commands.
            #[cfg(unix)]
            command.process_group(0);
            match command.spawn() {
                Ok(child) => {
                    let temporary = store.made.then_some(store.dir.as_path());
                    let watchdog = child.id().and_then(|pid| watchdog(pid, temporary).ok());
                    return Ok(Self { child, _watchdog: watchdog, program, log });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => missing = error,
                Err(error) => return Err(fail(error)),
            }
        }
        Err(Error::local("find nats-server in PATH or .cache/bin (--nats-server names it)", missing))
    }

    fn ended(&self, how: io::Result<ExitStatus>) -> Error {
        let how = how.map_or_else(|error| error.to_string(), |status| status.to_string());
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        let reason = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        Error::local(format!("continue: nats-server ended ({how})"), io::Error::other(reason))
    }

    /// Stops the server, so that a persistent store needs no recovery; kills it after a time limit.
    async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            let mut ask = Command::new(&self.program);
            let ask = ask.arg("--signal").arg(format!("quit={pid}")).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = ask.status().await;
            if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
                let _ = self.child.kill().await;
            }
        }
    }
}
