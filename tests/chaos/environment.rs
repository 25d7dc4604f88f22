//! A nats-server, a pool of workers behind faulty links, and two targets in the test cluster. Schedules run on it one
//! after another; several lanes run side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use sailhand::bus::Subjects;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::config::{Config, Target};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use super::worker::{Gone, Place};
use crate::support::api_proxy::Record;
use crate::support::eventually::eventually;
use crate::support::nats::NatsServer;

/// The targets of a lane; all are the test cluster, with inventories and objects in namespaces of their own.
pub const TARGETS: [&str; 4] = ["a", "b", "c", "d"];
/// Short, so that a schedule with a death takes seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(3);
/// See [`LEASE_TTL`].
pub const ACK_WAIT: Duration = Duration::from_secs(2);

/// See the module.
pub struct ChaosEnv {
    pub nats: NatsServer,
    /// Waits for the server when it is away.
    pub bus: NatsBus,
    pub places: Vec<Place>,
    /// Everything that workers have written to the cluster.
    pub record: Record,
    /// Past all proxies.
    pub cluster: kube::Client,
    pub config: Config,
    /// No other run has it.
    pub tag: String,
    /// Processes that ended without having been asked to.
    pub deaths: u32,
    failpoints: PathBuf,
    kubeconfig: PathBuf,
    dir: TempDir,
}

impl ChaosEnv {
    /// A lane with so many workers, which are started.
    pub async fn new(workers: usize, kubeconfig: &Path) -> Self {
        Self::on(NatsServer::start().await, workers, kubeconfig, |_| ()).await
    }

    /// The same on a server that is there, with a configuration of its own.
    pub async fn on(nats: NatsServer, workers: usize, kubeconfig: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::with_prefix("sailhand-chaos-").unwrap();
        let tag = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let failpoints = dir.path().join("failpoints");
        fs::create_dir(&failpoints).unwrap();
        let mut config = Config::default();
        config.nats.url = vec![nats.url()];
        config.bus.ack_wait = ACK_WAIT;
        config.bus.lease_ttl = LEASE_TTL;
        config.worker.slots = 16;
        config.worker.grace = Duration::from_secs(3);
        config.worker.pull_wait = Duration::from_millis(500);
        for target in TARGETS {
            let namespace = namespace(&tag, target);
            let settings =
                Target { inventory_namespace: namespace, request_timeout: Duration::from_secs(3), ..Target::default() };
            config.targets.insert(target.to_owned(), settings);
        }
        change(&mut config);
        let connection = nats::connect(&config.nats, "chaos", true).await.unwrap();
        let bus = NatsBus::new(connection, Subjects::of(&config.bus));
        let topology = Topology::new(&config.bus);
        // Several servers have to find each other first.
        eventually("the streams are made", Duration::from_mins(1), async || {
            topology::apply(&bus, &topology).await.ok()
        })
        .await;
        let admin = Kubeconfig::read_from(kubeconfig).unwrap();
        let admin = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
        let mut test_env = Self {
            nats,
            bus,
            places: Vec::new(),
            record: Record::default(),
            cluster: kube::Client::try_from(admin).unwrap(),
            config,
            tag,
            deaths: 0,
            failpoints,
            kubeconfig: kubeconfig.to_owned(),
            dir,
        };
        test_env.make_namespaces().await;
        for number in 0..workers {
            test_env.add_worker(number).await;
        }
        test_env
    }

    async fn add_worker(&mut self, number: usize) {
        let (name, record) = (format!("w{number}"), Arc::clone(&self.record));
        let mut place = Place::new(
            &name,
            &self.config,
            self.nats.port(),
            &self.kubeconfig,
            record,
            self.dir.path(),
            &self.failpoints,
        )
        .await;
        place.start();
        self.places.push(place);
    }

    async fn make_namespaces(&self) {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
        let api: Api<DynamicObject> = Api::all_with(self.cluster.clone(), &kind);
        for target in TARGETS {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace(target)}});
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }
    }

    /// Where a target's objects and inventories are.
    pub fn namespace(&self, target: &str) -> String {
        namespace(&self.tag, target)
    }

    /// The config maps of a target.
    pub fn config_maps(&self, target: &str) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        Api::namespaced_with(self.cluster.clone(), &self.namespace(target), &kind)
    }

    /// Puts a process into every place that has none.
    pub fn refill(&mut self) {
        for place in &mut self.places {
            if place.gone() == Some(Gone::Died) {
                self.deaths += 1;
            }
            place.start();
        }
    }

    /// Takes all faults away that last.
    pub fn heal(&mut self) {
        use crate::support::tcp_proxy::Link;
        for place in &mut self.places {
            place.bus.set(Link::Good);
            place.link.set(Link::Good);
            place.cluster.refuse(None);
            place.signal("CONT");
        }
        for step in sailhand::failpoint::Step::ALL {
            let _ = fs::remove_file(self.failpoints.join(step.name()));
        }
        self.refill();
    }

    /// The first process to reach the step sends itself the signal.
    pub fn order(&self, step: sailhand::failpoint::Step, signal: &str) {
        // Written beside it and moved, so that nobody reads half a word.
        let whole = self.failpoints.join("order");
        fs::write(&whole, signal).unwrap();
        fs::rename(whole, self.failpoints.join(step.name())).unwrap();
    }

    /// Step, signal and process id of the orders that were carried out.
    pub fn hits(&self) -> Vec<(String, String, u32)> {
        let text = fs::read_to_string(self.failpoints.join("hit")).unwrap_or_default();
        let parse = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?, words.next()?.parse().ok()?))
        };
        text.lines().filter_map(parse).collect()
    }

    /// Names of the steps that were reached by some process.
    pub fn visited(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.failpoints.join("visited")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets time pass and looks after the pool meanwhile.
    pub async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.refill();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(50))).await;
        }
    }

    /// Logs of all workers, for a failure's report.
    pub fn keep_logs(&self, into: &Path) {
        let _ = fs::create_dir_all(into);
        for place in &self.places {
            let _ = fs::write(into.join(format!("{}.log", place.name)), place.log());
        }
        let _ = fs::write(into.join("nats.log"), self.nats.log());
    }
}

fn namespace(tag: &str, target: &str) -> String {
    format!("chaos-{tag}-{target}")
}
