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

use super::output::{self, GOOD, QUIET, STRONG, styled};
use super::{Error, Exit, Global, confirm, worker};
use crate::bus::nats::topology;
use crate::bus::topology::Topology;
use crate::client::{self, Client};
use crate::clock::Clock;
use crate::cluster::{self, Clusters, Identity};
use crate::config::{self, Config, Nats, Target};
use crate::dashboard;

const TARGET: &str = "dev";
/// Where this project's own build of the server is, below the folder it is run in.
const CACHED: &str = ".cache/bin/nats-server";
const START: Duration = Duration::from_secs(15);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
const STOP: Duration = Duration::from_secs(5);
/// Age of the oldest runs that the dashboard lists.
const RUNS: Duration = Duration::from_hours(7 * 24);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The nats-server program [default: from PATH, else .cache/bin/nats-server]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// Port of the NATS server
    #[arg(long, default_value_t = 4222)]
    port: u16,
    /// Keep the streams in this folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig [default: its current one]
    #[arg(long)]
    context: Option<String>,
    /// Do not ask when the API server is not on this machine
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(global: &Global, options: &Options) -> Result<Exit, Error> {
    let mut config = global.config()?;
    config.nats = Nats { url: vec![format!("nats://127.0.0.1:{}", options.port)], ..Nats::default() };
    config.bus.replicas = 1;
    config.health.listen = None;
    let kubeconfig = options.kubeconfig.clone().or_else(config::usual_kubeconfig);
    let has_kubeconfig = kubeconfig.as_ref().is_some_and(|file| file.is_file());
    let target = Target { kubeconfig, context: options.context.clone(), ..Target::default() };
    if has_kubeconfig {
        if !check(&target, options).await? {
            output::note("Nothing was started.");
            return Ok(Exit::Failed);
        }
    } else {
        output::note("No kubeconfig was found (--kubeconfig, $KUBECONFIG, ~/.kube/config): only `ping` will succeed.");
    }
    config.targets.insert(TARGET.to_owned(), target);

    let store = Store::new(options.store.as_deref())?;
    let mut server = Server::start(options, &store.dir).await?;
    let done = tokio::select! {
        done = serve(config) => done,
        ended = server.child.wait() => Err(server.ended(ended)),
    };
    server.stop().await;
    done
}

/// Shows the cluster that the worker is going to change, and whether to go on: a missing context and a server that does
/// not answer are errors, and a server on another machine needs consent.
async fn check(target: &Target, options: &Options) -> Result<bool, Error> {
    let usage = |error: cluster::Error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let argument = options.context.as_ref().map_or("--kubeconfig".to_owned(), |name| format!("--context {name}"));
        Error::argument(argument, reason)
    };
    let identity = Identity::of(TARGET, target).map_err(usage)?;
    output::note(format_args!("worker for target {} → {identity}", styled(STRONG, TARGET)));
    let clusters = Clusters::new([(TARGET.to_owned(), Target { request_timeout: ANSWER, ..target.clone() })].into());
    let answers = async { clusters.get(TARGET).await?.version().await };
    let Identity { context, server, .. } = identity.clone();
    let version = answers.await.map_err(|source| Error::NoCluster { server, context, source: Box::new(source) })?;
    output::note(styled(QUIET, format_args!("  Kubernetes {version}")));
    if identity.is_local() || options.yes {
        return Ok(true);
    }
    if !confirm::can_ask() {
        let what = format!("dev starts a worker that may change {identity}, which is not on this machine");
        return Err(Error::Unconfirmed { what });
    }
    confirm::ask(&format!("{} is not on this machine. Start a worker that may change it?", identity.server))
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
    match dashboard::start(&config, RUNS, stop.clone()).await {
        Err(dashboard::Error::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            config.dashboard.listen.set_port(0);
            dashboard::start(&config, RUNS, stop).await
        }
        started => started,
    }
}

/// A process that waits until this one is gone, which closes the pipe between them, and then ends the server: nothing
/// else does when this process is killed.
fn watchdog(server: u32) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat >/dev/null; kill -TERM \"$0\" 2>/dev/null", &server.to_string()]);
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
    async fn start(options: &Options, store: &Path) -> Result<Self, Error> {
        if TcpStream::connect(("127.0.0.1", options.port)).await.is_ok() {
            let reason = "something listens there already; name another with --port";
            return Err(Error::argument(format!("port {}", options.port), reason));
        }
        let log = store.join("nats-server.log");
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

    fn spawn(candidates: Vec<PathBuf>, port: u16, store: &Path, log: PathBuf) -> Result<Self, Error> {
        let fail = |source| Error::local("start nats-server", source);
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for program in candidates {
            let output = std::fs::File::create(&log).map_err(fail)?;
            let mut command = Command::new(&program);
            command
                .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"])
                .arg(store)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(output)
                .kill_on_drop(true);
            // A group of its own: Ctrl-C must reach the worker first, which still needs the server to hand back
            // what it holds.
            #[cfg(unix)]
            command.process_group(0);
            match command.spawn() {
                Ok(child) => {
                    let watchdog = child.id().and_then(|pid| watchdog(pid).ok());
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
        Error::local(format!("go on: nats-server ended ({how})"), io::Error::other(reason))
    }

    /// In order, so that a store that is kept needs no recovery; by force when that takes too long.
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
