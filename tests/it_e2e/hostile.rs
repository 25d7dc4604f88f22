//! A seeded adversary with the credentials of the example's producer beside honest producers, on a real nats-server with the
//! accounts of deploy/nats, with real worker processes and a real API server. `SAILHAND_HOSTILE_SEEDS` is the number of
//! seeds, `SAILHAND_HOSTILE_SEED` the first one. The same adversary on the bus in memory is `it_prop/hostile.rs`.

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sailhand::bus::nats::connect;
use sailhand::bus::{Bus as _, RecordKey};
use sailhand::client::Filter;
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, Target, dataref};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::worker::{Worker, WorkerEnv, unique_name};
use support::{accounts, control_plane, tools};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Targets of the adversary. Honest producers use them too.
const OPEN: [&str; 2] = ["dev", "staging"];
/// A target on which the adversary has no rights.
const CLOSED: &str = "prod";
const TARGETS: [&str; 3] = [OPEN[0], OPEN[1], CLOSED];
/// Longest time from the publication of an honest command to its result, on a busy machine.
const BOUND: Duration = Duration::from_mins(2);
/// What the Helm chart allows a worker.
const MEMORY_LIMIT: u64 = 512 << 20;

struct Honest {
    command: CommandId,
    draft: CommandDraft,
    sent: Instant,
    /// Name of its object, for a command that writes one.
    object: Option<String>,
}

struct HostileEnv {
    env: WorkerEnv,
    workers: Vec<Worker>,
    cluster: kube::Client,
    adversary: async_nats::Client,
    tag: String,
    random: SmallRng,
    ids: u32,
    honest: Vec<Honest>,
    /// Number of attacks of each kind.
    attacks: BTreeMap<&'static str, u32>,
    _passwords: TempDir,
}

impl HostileEnv {
    async fn new() -> Self {
        let passwords = TempDir::with_prefix("sailhand-hostile-").unwrap();
        let server = accounts::server().await;
        let [admin, worker, producer] =
            ["admin", "worker", "producer"].map(|user| accounts::login(&server, passwords.path(), user));
        let tag = unique_name("hostile");
        let mut env = WorkerEnv::on(server, |config| {
            config.nats = admin;
            config.bus.parameter_stores = vec!["ci".to_owned()];
            config.worker.slots = 8;
            // No process dies here, and a busy machine must not look like a death.
            config.bus.ack_wait = config::Bus::default().ack_wait;
            config.bus.lease_ttl = config::Bus::default().lease_ttl;
            config.targets.clear();
            for target in TARGETS {
                let namespace = format!("{tag}-{target}");
                let settings = config::Target {
                    kubeconfig: Some(control_plane::kubeconfig().to_owned()),
                    inventory_namespace: namespace.clone(),
                    namespaces: Some(vec![namespace]),
                    ..config::Target::default()
                };
                config.targets.insert(target.to_owned(), settings);
            }
        })
        .await;
        env.config.nats = worker;
        let admin = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
        let admin = kube::Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await.unwrap();
        let cluster = kube::Client::try_from(admin).unwrap();
        for target in TARGETS {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("{tag}-{target}")}});
            let api: Api<DynamicObject> = Api::all_with(cluster.clone(), &resource("Namespace"));
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }
        let workers = vec![env.worker("w0").await, env.worker("w1").await];
        let adversary = connect(&producer, "adversary", false).await.unwrap().client;
        Self {
            env,
            workers,
            cluster,
            adversary,
            tag,
            random: SmallRng::seed_from_u64(0),
            ids: 0,
            honest: Vec::new(),
            attacks: BTreeMap::new(),
            _passwords: passwords,
        }
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.random.random_range(0..words.len())]
    }

    fn draft(&mut self, source: &str, verb: &str, params: Value) -> CommandDraft {
        self.ids += 1;
        let (id, source, verb) = (format!("{}-{}", self.tag, self.ids), source.to_owned(), verb.to_owned());
        CommandDraft { id, source, verb, params, ..CommandDraft::default() }
    }

    /// Parameters of a `config.apply` with one ConfigMap in the namespace of `target`.
    fn config_map(&mut self, installation: &str, target: &str, name: &str) -> Value {
        let manifest = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": format!("{}-{target}", self.tag)},
            "data": {"id": self.ids.to_string()},
        });
        json!({"name": installation, "manifest": manifest.to_string()})
    }

    async fn honest_command(&mut self) {
        let target: Target = self.pick(&TARGETS).parse().unwrap();
        let object = self.random.random_bool(0.6).then(|| format!("honest-{}", self.ids));
        let (verb, params) = match &object {
            Some(name) => ("config.apply", self.config_map(name, target.as_str(), name)),
            None => ("ping", json!({})),
        };
        let draft = self.draft("/honest", verb, params);
        let command = CommandId::new(&target, &draft.key());
        self.env.client.submit(&target, draft.clone()).await.unwrap();
        self.honest.push(Honest { command, draft, sent: Instant::now(), object });
    }

    async fn publish(&self, subject: &str, headers: HeaderMap, payload: Vec<u8>) {
        // Without an answer: many are refused.
        self.adversary.publish_with_headers(subject.to_owned(), headers, payload.into()).await.unwrap();
    }

    async fn send(&self, target: &str, draft: &CommandDraft, headers: HeaderMap) {
        let target: Target = target.parse().unwrap();
        let event = draft.event(&target, OffsetDateTime::now_utc()).unwrap();
        let subject = format!("istio.cmd.{target}.{}", draft.verb);
        self.publish(&subject, headers, serde_json::to_vec(&event).unwrap()).await;
    }

    async fn own_command(&mut self, verb: &str, params: Value) {
        let target = self.pick(&OPEN);
        let draft = self.draft("/adversary", verb, params);
        self.send(target, &draft, HeaderMap::new()).await;
    }

    async fn attack(&mut self) {
        let kind = match self.random.random_range(0..11) {
            0 => self.flood().await,
            1 => self.publish_without_rights().await,
            2 => self.forge_headers().await,
            3 => self.reuse_id().await,
            4 => self.malformed().await,
            5 => self.hostile_object().await,
            6 => self.bomb().await,
            7 => self.cancel_others().await,
            8 => self.write_elsewhere().await,
            9 => self.watch().await,
            _ => self.hold_installations().await,
        };
        *self.attacks.entry(kind).or_default() += 1;
    }

    async fn flood(&mut self) -> &'static str {
        for _ in 0..self.random.random_range(1..40) {
            self.own_command("ping", json!({})).await;
        }
        "flood"
    }

    /// Subjects on which a producer has no rights: commands, schedules, results, leases, settlements, the API.
    async fn publish_without_rights(&mut self) -> &'static str {
        let params = self.config_map("forged", CLOSED, "forged");
        let draft = self.draft("/adversary", "config.apply", params);
        let event = draft.event(&CLOSED.parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
        let event = serde_json::to_vec(&event).unwrap();
        let key = self.honest.last().map_or_else(|| "0".to_owned(), |honest| honest.command.to_string());
        for (subject, payload) in [
            ("istio.cmd.prod.config.apply".to_owned(), event.clone()),
            ("istio.due.prod.config.apply".to_owned(), event.clone()),
            (format!("istio.sched.{key}"), event.clone()),
            (format!("istio.res.{key}"), event),
            (format!("$KV.istio_attempt.{key}"), b"{}".to_vec()),
            ("$KV.istio_control.pause.prod".to_owned(), b"{}".to_vec()),
            (format!("$KV.istio_control.cancel.{key}"), b"{}".to_vec()),
            ("$KV.istio_lease.prod.a".to_owned(), b"{}".to_vec()),
            ("$JS.API.STREAM.PURGE.ISTIO_CMD".to_owned(), b"{}".to_vec()),
            ("$JS.API.STREAM.DELETE.ISTIO_RES".to_owned(), Vec::new()),
            ("$JS.API.CONSUMER.MSG.NEXT.ISTIO_CMD.worker".to_owned(), b"{\"batch\":10}".to_vec()),
            ("$JS.API.CONSUMER.DELETE.ISTIO_CMD.worker".to_owned(), Vec::new()),
            ("$JS.ACK.ISTIO_CMD.worker.1.1.1.0.0".to_owned(), b"+TERM".to_vec()),
        ] {
            self.publish(&subject, HeaderMap::new(), payload).await;
        }
        "no rights"
    }

    /// Headers that the server or the workers interpret.
    async fn forge_headers(&mut self) -> &'static str {
        let schedule = self.honest.last().map_or_else(
            || "istio.sched.prod.0".to_owned(),
            |honest| self.env.client.bus().subjects().schedule(&honest.command),
        );
        let forged = [
            ("Nats-Schedule", "@at 2020-01-01T00:00:00Z"),
            ("Nats-Schedule-Target", "istio.cmd.prod.config.apply"),
            ("Nats-Scheduler", schedule.as_str()),
            ("Nats-Schedule-Next", "purge"),
            ("Nats-Rollup", "all"),
            ("Nats-Rollup", "sub"),
            ("Nats-TTL", "1s"),
            ("Istio-Moved-Nats-Scheduler", schedule.as_str()),
            ("Nats-Expected-Stream", "ISTIO_WAIT"),
        ];
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", self.ids.to_string());
        for _ in 0..self.random.random_range(1..4) {
            let (name, value) = forged[self.random.random_range(0..forged.len())];
            headers.insert(name, value);
        }
        let params = self.config_map("forged", CLOSED, "forged");
        let draft = self.draft("/adversary", "config.apply", params);
        let target = self.pick(&OPEN);
        self.send(target, &draft, headers).await;
        "forged headers"
    }

    /// As in `it_prop/hostile.rs`: on the same target only once source and id are bound.
    async fn reuse_id(&mut self) -> &'static str {
        if self.honest.is_empty() {
            return "reused id";
        }
        let honest = &self.honest[self.random.random_range(0..self.honest.len())];
        let (of, draft) = (honest.command.clone(), honest.draft.clone());
        let target = self.pick(&OPEN);
        if target == of.target.as_str() {
            let (record, _) = self.env.client.bus().attempts(&RecordKey::command(&of)).await.unwrap();
            if record.fingerprint.is_none() {
                return "reused id";
            }
        }
        let (verb, params) = match self.random.random_range(0..3) {
            0 => ("ping", json!({"echo": "reused"})),
            1 => ("cancel", json!({"command": of.key.as_str()})),
            _ => ("config.apply", self.config_map("stolen", target, "stolen")),
        };
        self.send(target, &CommandDraft { verb: verb.to_owned(), params, ..draft }, HeaderMap::new()).await;
        "reused id"
    }

    async fn malformed(&mut self) -> &'static str {
        let target = self.pick(&OPEN);
        let draft = self.draft("/adversary", "ping", json!({}));
        let event = draft.event(&target.parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
        let mut payload = serde_json::to_vec(&event).unwrap();
        let mut headers = HeaderMap::new();
        match self.random.random_range(0..6) {
            0 => payload.truncate(self.random.random_range(0..payload.len())),
            1 => {
                let event = draft.event(&CLOSED.parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
                payload = serde_json::to_vec(&event).unwrap();
            }
            2 => payload = "[".repeat(self.random.random_range(1..200_000)).into_bytes(),
            3 => payload = vec![self.random.random(); self.random.random_range(1..500_000)],
            4 => payload.splice(1..1, br#""id":"1","#.iter().copied()).for_each(drop),
            _ => {
                headers.insert("ce-specversion", "1.0");
                headers.insert("ce-type", "io.meshery.istio.command.mesh.uninstall.v1");
            }
        }
        self.publish(&format!("istio.cmd.{target}.ping"), headers, payload).await;
        "malformed"
    }

    /// Objects that refer to themselves, lack their chunks, or whose metadata is wrong; a roll-up of the own bucket.
    async fn hostile_object(&mut self) -> &'static str {
        let name = dataref::of("istio_blob_ci", format!("{} {}", self.tag, self.ids).as_bytes());
        let meta = json!({"name": name.digest, "bucket": "istio_blob_ci", "nuid": "none", "size": 10, "chunks": 1});
        let change = match self.random.random_range(0..4) {
            0 => json!({"options": {"link": {"bucket": "istio_blob_ci", "name": name.digest}}, "chunks": 0, "size": 0}),
            1 => json!({}),
            2 => json!({"nuid": "*"}),
            _ => json!({"size": 1_u64 << 40, "chunks": 1_u64 << 30}),
        };
        let mut object = meta.as_object().unwrap().clone();
        object.extend(change.as_object().unwrap().clone());
        let mut headers = HeaderMap::new();
        if self.random.random_bool(0.3) {
            headers.insert("Nats-Rollup", "all");
        }
        let subject = format!("$O.istio_blob_ci.M.{}", URL_SAFE.encode(&name.digest));
        self.publish(&subject, headers, Value::Object(object).to_string().into_bytes()).await;
        let foreign = name.reference.replace("istio_blob_ci", "istio_blob");
        for reference in [name.reference, foreign, "file:///etc/passwd".to_owned()] {
            let draft = CommandDraft { dataref: Some(reference), ..self.draft("/adversary", "ping", Value::Null) };
            let target = self.pick(&OPEN);
            self.send(target, &draft, HeaderMap::new()).await;
        }
        "hostile object"
    }

    /// YAML that grows when it is read.
    async fn bomb(&mut self) -> &'static str {
        let object = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        let manifest = match self.random.random_range(0..4) {
            0 => format!("{object}x: &a \"{}\"\ny: [{}]\n", "x".repeat(100_000), vec!["*a"; 40_000].join(", ")),
            1 => format!("{object}x: {}{}{}\n", "&a [".repeat(99), "0,".repeat(50_000), "]".repeat(99)),
            2 => format!("{object}{}", (0..30_000).fold(String::new(), |text, n| text + &format!("k{n}: 0\n"))),
            _ => (1..=30).fold("m0: &m0 {k0: v}\n".to_owned(), |text, n| {
                format!("{text}m{n}: &m{n} {{k{n}: v, a: *m{p}, b: *m{p}}}\n", p = n - 1)
            }),
        };
        let (verb, params) = match self.random.random_range(0..3) {
            0 => ("config.analyze", json!({"manifest": manifest})),
            1 => ("config.apply", json!({"name": "bomb", "manifest": manifest})),
            _ => ("config.apply", json!({"name": "bomb", "manifest": manifest, "analyze": true})),
        };
        self.own_command(verb, params).await;
        "bomb"
    }

    /// Cancels a command of the closed target.
    async fn cancel_others(&mut self) -> &'static str {
        let mut victims = self.honest.iter().filter(|honest| honest.command.target.as_str() == CLOSED);
        if let Some(victim) = victims.next_back().map(|honest| honest.command.key.as_str().to_owned()) {
            self.own_command("cancel", json!({"command": victim})).await;
        }
        "cancel"
    }

    /// An object in the namespace of the closed target.
    async fn write_elsewhere(&mut self) -> &'static str {
        let params = self.config_map("forged", CLOSED, "forged");
        self.own_command("config.apply", params).await;
        "foreign namespace"
    }

    async fn watch(&mut self) -> &'static str {
        for _ in 0..self.random.random_range(1..8) {
            self.own_command("config.watch-analyze", json!({"duration": "2s"})).await;
        }
        "watches"
    }

    async fn hold_installations(&mut self) -> &'static str {
        for _ in 0..self.random.random_range(1..10) {
            let target = self.pick(&OPEN);
            let params = self.config_map("own", target, "own");
            let draft = self.draft("/adversary", "config.apply", params);
            self.send(target, &draft, HeaderMap::new()).await;
        }
        "held installations"
    }

    async fn play(&mut self, seed: u64) {
        self.random = SmallRng::seed_from_u64(seed);
        self.honest.clear();
        for _ in 0..self.random.random_range(3..8) {
            for _ in 0..self.random.random_range(1..3) {
                self.honest_command().await;
            }
            for _ in 0..self.random.random_range(1..4) {
                self.attack().await;
            }
        }
        self.adversary.flush().await.unwrap();
        for honest in &self.honest {
            self.check_honest(honest).await;
        }
        eventually("the queues are empty", BOUND, async || {
            for stream in ["ISTIO_CMD", "ISTIO_WAIT"] {
                let found = self.env.client.bus().context().get_stream(stream).await.unwrap();
                if found.cached_info().state.messages > 0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
        self.check_rights().await;
    }

    async fn check_honest(&self, honest: &Honest) {
        let (bus, command) = (self.env.client.bus(), &honest.command);
        let subject = bus.subjects().result(command);
        let left = BOUND.saturating_sub(honest.sent.elapsed()).max(Duration::from_secs(1));
        let result = eventually(&format!("{command} ends: {:?}", honest.draft), left, async || {
            bus.last("ISTIO_RES", &subject).await.unwrap()
        })
        .await;
        let event: Value = serde_json::from_slice(&result.payload).unwrap();
        let data = &event["data"];
        assert_eq!(event["type"], format!("io.meshery.istio.result.{}.v1", honest.draft.verb), "{event}");
        assert_eq!((&data["outcome"], &data["attempts"]), (&json!("succeeded"), &json!(1)), "{event}");
        let started = format!("istio.evt.{command}.started");
        assert_eq!(self.count("ISTIO_EVT", &started).await, 1, "{command} was executed once");
    }

    async fn count(&self, stream: &str, subject: &str) -> usize {
        let (mut count, mut next) = (0, 1);
        while let Some(message) = self.env.client.bus().next(stream, subject, next).await.unwrap() {
            (count, next) = (count + 1, message.sequence + 1);
        }
        count
    }

    /// The closed target has results and objects of honest commands only, and nothing was quarantined.
    async fn check_rights(&self) {
        let bus = self.env.client.bus();
        let mut next = 1;
        while let Some(message) = bus.next("ISTIO_RES", "istio.res.prod.*", next).await.unwrap() {
            next = message.sequence + 1;
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(event["commandsource"], "/honest", "{event}");
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.clone(), &format!("{}-{CLOSED}", self.tag), &resource("ConfigMap"));
        let found = api.list(&ListParams::default()).await.unwrap();
        let names: BTreeSet<String> = found.items.into_iter().filter_map(|object| object.metadata.name).collect();
        let is_expected = |name: &String| name.starts_with("honest-") || name.starts_with("sailhand-honest-");
        let foreign: Vec<_> = names.iter().filter(|name| !is_expected(name) && *name != "kube-root-ca.crt").collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        for honest in self.honest.iter().filter(|honest| honest.command.target.as_str() == CLOSED) {
            assert!(honest.object.as_ref().is_none_or(|name| names.contains(name)), "{:?}", honest.object);
        }
        for reason in ["quarantined", "max-deliveries", "terminated"] {
            let filter = Filter { reason: Some(reason.to_owned()), limit: 10, ..Filter::default() };
            let letters = self.env.client.dead_letters(&filter).await.unwrap();
            assert!(letters.is_empty(), "{letters:?}");
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind))
}

#[tokio::test]
async fn adversary_with_the_credentials_of_a_producer_affects_no_honest_command() {
    let mut env = HostileEnv::new().await;
    let (first, seeds) = (tools::number("SAILHAND_HOSTILE_SEED", 1), tools::number("SAILHAND_HOSTILE_SEEDS", 4));
    let mut honest = 0;
    for seed in first..first + seeds {
        println!("seed {seed}");
        env.play(seed).await;
        honest += env.honest.len();
        for (number, worker) in env.workers.iter().enumerate() {
            let peak = worker.peak_memory_bytes();
            assert!(peak < MEMORY_LIMIT, "worker {number} has used {peak} bytes after seed {seed}");
        }
    }
    let peaks: Vec<u64> = env.workers.iter().map(|worker| worker.peak_memory_bytes() >> 20).collect();
    println!("{seeds} seeds, {honest} honest commands, attacks {:?}, peak memory {peaks:?} MiB", env.attacks);
}
