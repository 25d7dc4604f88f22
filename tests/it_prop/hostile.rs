//! A seeded adversary with the rights of a producer beside honest producers, on the bus in memory and in virtual time: it
//! floods, holds slots and leases, forges headers, reuses ids, sends malformed events, references that do not exist and
//! commands that panic. `PROPTEST_CASES` is the number of seeds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudevents::AttributesReader;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sailhand::bus::memory::MemoryBus;
use sailhand::bus::{Bus, RecordKey};
use sailhand::clock::Clock;
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, Outcome as Ended, Target};
use sailhand::task::{Failure, Limits, Outcome, Registry, SlotClass, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::simulation;

/// Targets of the adversary. Honest producers use the first of them too.
const OPEN: [&str; 2] = ["shared", "lab"];
/// A target on which the adversary has no rights.
const CLOSED: &str = "closed";
/// Longest time, virtual, from the publication of an honest command to its result on [`CLOSED`].
const SOON: Duration = Duration::from_mins(5);
/// The same on a target that the adversary uses too.
const AT_LAST: Duration = Duration::from_hours(3);

/// Target and name of each effect.
type Effects = Arc<Mutex<Vec<(String, String)>>>;

struct Write(Effects);

/// Holds its slot like a watch of the analysis.
struct Watch;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Params {
    installation: String,
    effect: String,
    seconds: u64,
    #[serde(default)]
    panics: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Report {}

impl Task for Write {
    const VERB: &'static str = "test.write";
    const SUMMARY: &'static str = "Notes its effect.";
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(24), attempts: 8 }
    }

    fn installation(&self, params: &Params) -> Option<String> {
        Some(params.installation.clone())
    }

    fn example(&self) -> Params {
        Params { installation: "a".into(), effect: "e".into(), seconds: 1, panics: false }
    }

    async fn run(&self, cx: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        assert!(!params.panics, "as ordered");
        cx.clock.sleep(Duration::from_secs(params.seconds)).await;
        cx.guard.check()?;
        self.0.lock().unwrap().push((cx.target.clone(), params.effect));
        Ok(Outcome::Changed(Report {}))
    }
}

impl Task for Watch {
    const VERB: &'static str = "test.watch";
    const SUMMARY: &'static str = "Waits.";
    const SLOT_CLASS: SlotClass = SlotClass::Watch;
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(24), attempts: 8 }
    }

    fn installation(&self, _: &Params) -> Option<String> {
        None
    }

    fn example(&self) -> Params {
        Write(Arc::default()).example()
    }

    async fn run(&self, cx: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        cx.clock.sleep(Duration::from_secs(params.seconds)).await;
        Ok(Outcome::Unchanged(Report {}))
    }
}

struct Honest {
    command: CommandId,
    draft: CommandDraft,
    sent: Instant,
    /// Name of its effect, for a command that has one.
    effect: Option<String>,
}

impl Honest {
    fn bound(&self) -> Duration {
        if self.command.target.as_str() == CLOSED { SOON } else { AT_LAST }
    }
}

struct SimulatedEnv {
    bus: MemoryBus,
    clock: Clock,
    effects: Effects,
    random: SmallRng,
    ids: u32,
    honest: Vec<Honest>,
    /// Commands that the adversary sent with ids of its own.
    own: BTreeSet<String>,
}

impl SimulatedEnv {
    fn new(seed: u64) -> Self {
        let (bus, clock) = simulation::bus();
        let (effects, random) = (Effects::default(), SmallRng::seed_from_u64(seed));
        Self { bus, clock, effects, random, ids: 0, honest: Vec::new(), own: BTreeSet::new() }
    }

    fn start_worker(&self, name: &str, stop: CancellationToken) {
        let targets = [OPEN[0], OPEN[1], CLOSED].map(|target| (target.to_owned(), config::Target::default()));
        let registry = Registry::standard().with(Write(Arc::clone(&self.effects))).with(Watch);
        let engine = simulation::engine(&self.bus.link(), self.clock, (name, 8), targets, registry, Arc::default());
        tokio::spawn(async move { engine.run(stop).await });
    }

    fn draft(&mut self, source: &str, verb: &str, params: Value) -> CommandDraft {
        self.ids += 1;
        let (id, source, verb) = (self.ids.to_string(), source.to_owned(), verb.to_owned());
        CommandDraft { id, source, verb, params, ..CommandDraft::default() }
    }

    fn payload(&self, target: &Target, draft: &CommandDraft) -> Vec<u8> {
        serde_json::to_vec(&draft.event(target, self.clock.now()).unwrap()).unwrap()
    }

    fn send(&self, target: &Target, draft: &CommandDraft, headers: Vec<(String, String)>) -> CommandId {
        self.bus.publish_with_headers(target, &draft.verb, headers, self.payload(target, draft));
        CommandId::new(target, &draft.key())
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.random.random_range(0..words.len())]
    }

    fn open_target(&mut self) -> Target {
        self.pick(&OPEN).parse().unwrap()
    }

    fn write(&mut self, effect: &str, most_seconds: u64) -> Value {
        let installation = format!("i{}", self.random.random_range(0..3));
        let seconds = self.random.random_range(0..=most_seconds);
        json!({"installation": installation, "effect": format!("{effect}-{}", self.ids), "seconds": seconds})
    }

    fn honest_command(&mut self) {
        let target: Target = self.pick(&[OPEN[0], CLOSED]).parse().unwrap();
        let is_write = self.random.random_bool(0.7);
        let params = if is_write { self.write("honest", 3) } else { json!({}) };
        let effect = params["effect"].as_str().map(str::to_owned);
        let draft = self.draft("/honest", if is_write { "test.write" } else { "ping" }, params);
        let command = self.send(&target, &draft, Vec::new());
        self.honest.push(Honest { command, draft, sent: Instant::now(), effect });
    }

    /// Sends a command of the adversary with an id of its own.
    fn own_command(&mut self, verb: &str, params: Value) {
        let target = self.open_target();
        let draft = self.draft("/adversary", verb, params);
        let command = self.send(&target, &draft, Vec::new());
        self.own.insert(command.to_string());
    }

    async fn attack(&mut self) {
        match self.random.random_range(0..9) {
            0 => {
                for _ in 0..self.random.random_range(1..40) {
                    self.own_command("ping", json!({}));
                }
            }
            1 => {
                for _ in 0..self.random.random_range(1..20) {
                    let params = self.write("own", 30);
                    self.own_command("test.write", params);
                }
            }
            2 => {
                for _ in 0..self.random.random_range(1..20) {
                    self.own_command("test.watch", json!({"installation": "", "effect": "", "seconds": 60}));
                }
            }
            3 => {
                let mut params = self.write("panic", 1);
                params["panics"] = json!(true);
                self.own_command("test.write", params);
            }
            4 => self.forge_headers(),
            5 => self.reuse_id().await,
            6 => self.malformed(),
            7 => self.reference(),
            _ => self.cancel_elsewhere(),
        }
    }

    /// Headers that the server or the workers interpret.
    fn forge_headers(&mut self) {
        let schedule = match self.honest.last() {
            Some(honest) => self.bus.subjects().schedule(&honest.command),
            None => "istio.sched.closed.0".to_owned(),
        };
        let forged = [
            ("Nats-Schedule", "@at 2020-01-01T00:00:00Z"),
            ("nats-schedule-target", "istio.cmd.closed.test.write"),
            ("Nats-Scheduler", schedule.as_str()),
            ("NATS-ROLLUP", "all"),
            ("Nats-Rollup", "sub"),
        ];
        let mut headers = vec![("Nats-Msg-Id".to_owned(), self.ids.to_string())];
        for _ in 0..self.random.random_range(1..4) {
            let (name, value) = forged[self.random.random_range(0..forged.len())];
            headers.push((name.to_owned(), value.to_owned()));
        }
        let (target, params) = (self.open_target(), self.write("forged", 1));
        let draft = self.draft("/adversary", "test.write", params);
        let command = self.send(&target, &draft, headers);
        self.own.insert(command.to_string());
    }

    /// Source and id of an honest command with another verb or other parameters: on another target at any time, on the
    /// same target once they are bound. Before that, the contract gives them to the first command.
    async fn reuse_id(&mut self) {
        if self.honest.is_empty() {
            return;
        }
        let victim = &self.honest[self.random.random_range(0..self.honest.len())];
        let (of, draft) = (victim.command.clone(), victim.draft.clone());
        let target = self.open_target();
        let is_same = target == of.target;
        if is_same {
            let (record, _) = self.bus.attempts(&RecordKey::command(&of)).await.unwrap();
            if record.fingerprint.is_none() {
                return;
            }
        } else {
            self.own.insert(CommandId::new(&target, &draft.key()).to_string());
        }
        let (verb, params) = match self.random.random_range(0..3) {
            0 if draft.verb != "ping" => ("ping", json!({})),
            1 => ("cancel", json!({"command": of.key.as_str()})),
            _ => ("test.write", self.write(if is_same { "stolen" } else { "reused" }, 1)),
        };
        self.send(&target, &CommandDraft { verb: verb.to_owned(), params, ..draft }, Vec::new());
    }

    /// What is no command, or none that its subject permits.
    fn malformed(&mut self) {
        let target = self.open_target();
        let params = self.write("malformed", 1);
        let draft = self.draft("/adversary", "test.write", params);
        self.own.insert(CommandId::new(&target, &draft.key()).to_string());
        let mut payload = self.payload(&target, &draft);
        let mut headers = Vec::new();
        match self.random.random_range(0..6) {
            0 => payload.truncate(self.random.random_range(0..payload.len())),
            1 => payload = self.payload(&CLOSED.parse().unwrap(), &draft),
            2 => payload = "[".repeat(self.random.random_range(1..5000)).into_bytes(),
            3 => payload = vec![self.random.random(); self.random.random_range(1..5000)],
            4 => payload.splice(1..1, br#""id":"1","#.iter().copied()).for_each(drop),
            _ => {
                headers = [("ce-specversion", "1.0"), ("ce-type", "io.meshery.istio.command.mesh.uninstall.v1")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into();
            }
        }
        self.bus.publish_with_headers(&target, &draft.verb, headers, payload);
    }

    /// Stored parameters that do not exist, and references in other forms.
    fn reference(&mut self) {
        let digest = "0".repeat(64);
        let valid = format!("nats-object://istio_blob/{digest}");
        let reference = self.pick(&[&valid, "nats-object://istio_lease/../x", "file:///etc/passwd", ""]).to_owned();
        let target = self.open_target();
        let draft = self.draft("/adversary", "test.write", Value::Null);
        let draft = CommandDraft { dataref: Some(reference), ..draft };
        let command = self.send(&target, &draft, Vec::new());
        self.own.insert(command.to_string());
    }

    /// Cancels a command of another target.
    fn cancel_elsewhere(&mut self) {
        let lab: Target = OPEN[1].parse().unwrap();
        let Some(victim) = self.honest.last().map(|honest| honest.command.key.as_str().to_owned()) else { return };
        let draft = self.draft("/adversary", "cancel", json!({"command": victim}));
        let command = self.send(&lab, &draft, Vec::new());
        self.own.insert(command.to_string());
    }

    /// Whether all honest commands have ended. Each has to end in time.
    fn have_ended(&self) -> bool {
        let results = self.bus.results();
        let mut all = true;
        for honest in &self.honest {
            let has_ended = results.contains_key(&honest.command);
            assert!(has_ended || honest.sent.elapsed() < honest.bound(), "{} {:?}", honest.command, honest.draft);
            all &= has_ended;
        }
        all
    }

    fn check(&self) {
        let results = self.bus.results();
        let effects = self.effects.lock().unwrap();
        for honest in &self.honest {
            let event = &results[&honest.command];
            let data = simulation::result_data(event);
            let ty = format!("io.meshery.istio.result.{}.v1", honest.draft.verb);
            assert_eq!((event.ty(), data.outcome), (ty.as_str(), Ended::Succeeded), "{data:?}");
            assert_eq!(data.attempts, 1, "another command used up an attempt: {data:?}");
            if let Some(effect) = &honest.effect {
                let times = effects.iter().filter(|(_, found)| found == effect).count();
                assert_eq!(times, 1, "{effect}");
            }
        }
        for (target, effect) in effects.iter() {
            let is_honest = effect.starts_with("honest");
            assert!(is_honest || target != CLOSED, "the adversary wrote {effect} to {target}");
            assert!(!effect.starts_with("forged"), "{effect}");
            assert!(!effect.starts_with("stolen"), "{effect} on {target}");
            assert!(is_honest || target == OPEN[0] || target == OPEN[1], "{effect} on {target}");
        }
        let honest: BTreeSet<_> = self.honest.iter().map(|honest| honest.command.to_string()).collect();
        for command in results.keys().map(ToString::to_string) {
            assert!(honest.contains(&command) || self.own.contains(&command), "a result for {command}");
        }
        for (reason, code) in self.bus.dead_letters() {
            let is_expected = (reason == "rejected" && code.starts_with("SH1")) || reason == "exhausted";
            assert!(is_expected, "dead letter {reason} {code}");
        }
    }
}

async fn play(seed: u64) {
    let mut test_env = SimulatedEnv::new(seed);
    let stop = CancellationToken::new();
    for name in ["w0", "w1"] {
        test_env.start_worker(name, stop.clone());
    }
    for _ in 0..test_env.random.random_range(5..15) {
        for _ in 0..test_env.random.random_range(0..3) {
            test_env.honest_command();
        }
        for _ in 0..test_env.random.random_range(1..4) {
            test_env.attack().await;
        }
        let pause = test_env.random.random_range(0..10_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        test_env.have_ended();
    }
    let last = Instant::now();
    while !test_env.have_ended() || test_env.bus.queued() > 0 {
        assert!(last.elapsed() < 2 * AT_LAST, "{} messages are left", test_env.bus.queued());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    stop.cancel();
    test_env.check();
}

/// With the seeds of `it_e2e/hostile.rs` 200, unless `PROPTEST_CASES` is set.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: if default.cases == 256 { 196 } else { default.cases }, ..default }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..cases() })]

    #[test]
    fn adversary_with_the_rights_of_a_producer_affects_no_honest_command(seed in any::<u64>()) {
        simulation::run(play(seed));
    }
}
