//! What one message may do to another, on the bus in memory: source and id belong to one command of one target, a schedule
//! that is not the workers' own is refused, and a fence from elsewhere ends with a result. `it_bus/facts.rs` checks what the
//! bus in memory promises.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::eventually::eventually;
use cloudevents::AttributesReader;
use sailhand::bus::memory::MemoryBus;
use sailhand::bus::{AttemptRecord, Bus, RecordKey};
use sailhand::clock::Clock;
use sailhand::cluster::{self, Action, ObjectRef, ObjectReport};
use sailhand::config;
use sailhand::event::{CommandDraft, CommandId, Outcome as Ended, ResultData, Target, dataref};
use sailhand::task::{self, Failure, Limits, Outcome, Registry, Task, TaskContext};
use sailhand::telemetry::metrics::Metrics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::simulation;

/// Virtual time.
const WITHIN: Duration = Duration::from_hours(3);

/// Notes its runs, and fails as it is asked to.
struct Write(Arc<Mutex<Vec<String>>>);

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Params {
    value: String,
    /// Attempts that fail before one succeeds.
    #[serde(default)]
    failures: u32,
    /// How long an attempt takes.
    #[serde(default)]
    minutes: u64,
    /// The cluster has a higher fence than any lease.
    #[serde(default)]
    fenced: bool,
    /// Length of the report in bytes.
    #[serde(default)]
    report_bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Report {
    /// As long as the command asks for.
    text: String,
    #[serde(default)]
    objects: Vec<ObjectReport>,
}

impl Report {
    /// Of an attempt that created one object and left another as it was.
    fn of_attempt(attempt: u32) -> Self {
        let line = |name: String, action| {
            let (api_version, kind, namespace) = ("v1".to_owned(), "ConfigMap".to_owned(), Some("shop".to_owned()));
            let object = ObjectRef { api_version, kind, namespace, name };
            ObjectReport { object, action, reason: None, problem: None, diff: Vec::new() }
        };
        let objects = vec![line(format!("of-{attempt}"), Action::Created), line("same".to_owned(), Action::Unchanged)];
        Self { text: String::new(), objects }
    }
}

impl Task for Write {
    const VERB: &'static str = "test.write";
    const SUMMARY: &'static str = "Writes.";
    type Params = Params;
    type Report = Report;

    fn objects(report: &Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(24), attempts: 8 }
    }

    fn installation(&self, params: &Params) -> Option<String> {
        Some(params.value.clone())
    }

    fn example(&self) -> Params {
        Params::default()
    }

    async fn run(&self, cx: &TaskContext, params: Params) -> Result<Outcome<Report>, Failure<Report>> {
        self.0.lock().unwrap().push(format!("{} {}", cx.target, params.value));
        if params.fenced {
            let (installation, own) = ("shop".to_owned(), cx.guard.fence());
            return Err(task::Error::from(cluster::Error::Fenced { installation, stored: Some(u64::MAX), own }).into());
        }
        cx.clock.sleep(Duration::from_mins(params.minutes)).await;
        if cx.attempt <= params.failures {
            let error = cluster::Error::NotEstablished { name: "x".to_owned(), reason: "not yet".to_owned() };
            let report = Some(Outcome::Changed(Report::of_attempt(cx.attempt)));
            return Err(Failure { error: error.into(), report });
        }
        Ok(Outcome::Changed(Report { text: "x".repeat(params.report_bytes), objects: Vec::new() }))
    }
}

pub(crate) struct SimulatedEnv {
    pub bus: MemoryBus,
    pub clock: Clock,
    runs: Arc<Mutex<Vec<String>>>,
    pub metrics: Arc<Metrics>,
    ids: AtomicU32,
    stop: CancellationToken,
}

impl SimulatedEnv {
    pub fn new() -> Self {
        let test_env = Self::without_worker();
        test_env.start_worker("w");
        test_env
    }

    fn without_worker() -> Self {
        let (bus, clock) = simulation::bus();
        let (runs, metrics, stop) = (Arc::default(), Arc::new(Metrics::default()), CancellationToken::new());
        Self { bus, clock, runs, metrics, ids: AtomicU32::new(0), stop }
    }

    /// Starts a worker. It is dead when its link is cut.
    fn start_worker(&self, name: &str) -> MemoryBus {
        let link = self.bus.link();
        let only = |verb: &str| config::Target { verbs: Some(vec![verb.to_owned()]), ..config::Target::default() };
        let targets = [
            ("dev".to_owned(), config::Target::default()),
            ("prod".to_owned(), config::Target::default()),
            ("restricted".to_owned(), only("ping")),
        ];
        let registry = Registry::standard().with(Write(Arc::clone(&self.runs)));
        let metrics = Arc::clone(&self.metrics);
        let engine = simulation::engine(&link, self.clock, (name, 8), targets, registry, metrics);
        let stopped = self.stop.clone();
        tokio::spawn(async move { engine.run(stopped).await });
        link
    }

    /// A command with an id of its own.
    pub fn draft(&self, verb: &str, params: Value) -> CommandDraft {
        let id = self.ids.fetch_add(1, Ordering::Relaxed).to_string();
        CommandDraft { id, source: "/test".to_owned(), verb: verb.to_owned(), params, ..CommandDraft::default() }
    }

    pub fn send(&self, target: &str, draft: &CommandDraft) -> CommandId {
        self.send_with(target, draft, Vec::new())
    }

    fn send_with(&self, target: &str, draft: &CommandDraft, headers: Vec<(String, String)>) -> CommandId {
        let target: Target = target.parse().unwrap();
        let payload = serde_json::to_vec(&draft.event(&target, self.clock.now()).unwrap()).unwrap();
        self.bus.publish_with_headers(&target, &draft.verb, headers, payload);
        CommandId::new(&target, &draft.key())
    }

    pub async fn result(&self, command: &CommandId) -> (String, ResultData) {
        let event = eventually("there is a result", WITHIN, async || self.bus.results().remove(command)).await;
        (event.ty().to_owned(), simulation::result_data(&event))
    }

    async fn dead_letters(&self, codes: &[&str]) {
        eventually(&format!("dead letters {codes:?}"), WITHIN, async || {
            let mut found: Vec<_> = self.bus.dead_letters().into_iter().map(|(_, code)| code).collect();
            found.sort();
            (found == codes).then_some(())
        })
        .await;
    }

    async fn is_bound(&self, command: &CommandId) {
        let record = RecordKey::command(command);
        eventually("source and id are bound", WITHIN, async || {
            self.bus.attempts(&record).await.unwrap().0.fingerprint.map(drop)
        })
        .await;
    }

    pub async fn is_empty(&self) {
        eventually("the queue is empty", WITHIN, async || (self.bus.queued() == 0).then_some(())).await;
    }

    pub fn runs(&self) -> Vec<String> {
        self.runs.lock().unwrap().clone()
    }
}

impl Drop for SimulatedEnv {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn ping_with_the_id_of_a_waiting_command_does_not_answer_for_it() {
    let test_env = SimulatedEnv::new();
    test_env.bus.control().set_paused("dev", true);
    let write = test_env.draft("test.write", json!({"value": "a"}));
    let command = test_env.send("dev", &write);
    test_env.is_bound(&command).await;
    test_env.send("dev", &CommandDraft { verb: "ping".to_owned(), params: json!({}), ..write.clone() });
    test_env.dead_letters(&["SH1019"]).await;
    assert_eq!(test_env.bus.results().len(), 0);
    let (record, _) = test_env.bus.attempts(&RecordKey::command(&command)).await.unwrap();
    assert_eq!((record.attempts, record.crashes), (0, 0));
    test_env.bus.control().set_paused("dev", false);
    let (ty, result) = test_env.result(&command).await;
    assert_eq!((ty.as_str(), result.outcome), ("io.meshery.istio.result.test.write.v1", Ended::Succeeded));
    assert_eq!(test_env.runs(), ["dev a"]);
    test_env.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn reused_id_does_not_touch_a_command_between_attempts() {
    let test_env = SimulatedEnv::new();
    let write = test_env.draft("test.write", json!({"value": "a", "failures": 4}));
    let command = test_env.send("dev", &write);
    eventually("it has failed once", WITHIN, async || (test_env.runs().len() == 1).then_some(())).await;
    let other = [
        CommandDraft { verb: "ping".to_owned(), params: json!({}), ..write.clone() },
        CommandDraft { params: json!({"value": "b"}), ..write.clone() },
        CommandDraft { params: json!({"valve": "malformed"}), ..write.clone() },
        CommandDraft { expiry: Some(test_env.clock.now()), params: json!({"value": "c"}), ..write.clone() },
    ];
    for draft in &other {
        test_env.send("dev", draft);
    }
    test_env.dead_letters(&["SH1005", "SH1019", "SH1019", "SH1019"]).await;
    let (_, result) = test_env.result(&command).await;
    assert_eq!((result.outcome, result.attempts), (Ended::Succeeded, 5));
    assert_eq!(test_env.runs(), vec!["dev a"; 5]);
    test_env.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn other_parameters_under_the_id_of_an_ended_command_are_rejected_and_a_repeat_is_not() {
    let test_env = SimulatedEnv::new();
    let write = test_env.draft("test.write", json!({"value": "a"}));
    let command = test_env.send("dev", &write);
    let first = test_env.result(&command).await;
    test_env.send("dev", &write);
    test_env.is_empty().await;
    assert_eq!(test_env.bus.dead_letters().len(), 0, "a repeat is acknowledged");
    test_env.send("dev", &CommandDraft { params: json!({"value": "b"}), ..write.clone() });
    test_env.dead_letters(&["SH1019"]).await;
    test_env.is_empty().await;
    assert_eq!(test_env.result(&command).await, first);
    assert_eq!(test_env.runs(), ["dev a"]);
    let metrics = test_env.metrics.render();
    assert!(metrics.contains(r#"sailhand_rejected_messages_total{code="SH1019"} 1"#), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn same_event_on_two_targets_is_two_commands() {
    let test_env = SimulatedEnv::new();
    test_env.bus.control().set_paused("prod", true);
    let ping = test_env.draft("ping", json!({}));
    let prod = test_env.send("prod", &ping);
    test_env.is_bound(&prod).await;
    let write = test_env.draft("test.write", json!({"value": "a", "failures": 1}));
    let both = ["dev", "prod"].map(|target| test_env.send(target, &write));
    let dev = test_env.send("dev", &ping);
    assert_eq!(test_env.result(&dev).await.1.outcome, Ended::Succeeded);
    assert_eq!(test_env.result(&both[0]).await.1.attempts, 2);
    // Longer than a ping may take from its first attempt on.
    tokio::time::sleep(Duration::from_mins(30)).await;
    test_env.bus.control().set_paused("prod", false);
    assert_eq!(test_env.result(&prod).await.1.outcome, Ended::Succeeded);
    assert_eq!(test_env.result(&both[1]).await.1.attempts, 2);
    test_env.is_empty().await;
    assert_eq!(test_env.runs(), ["dev a", "dev a", "prod a", "prod a"]);
    let results = test_env.bus.results();
    let ids: BTreeSet<_> = results.values().map(|result| result.id().to_owned()).collect();
    assert_eq!((results.len(), ids.len()), (4, 4), "{ids:?}");
    let (events, starts) = (test_env.bus.events(), "io.meshery.istio.event.started.v1");
    assert_eq!(events.iter().filter(|event| event.ty() == starts).count(), 6, "one for each attempt");
}

#[tokio::test(start_paused = true)]
async fn command_of_a_foreign_schedule_is_refused_without_a_result() {
    let test_env = SimulatedEnv::new();
    let write = test_env.draft("test.write", json!({"value": "a"}));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let forged = vec![header("Nats-Scheduler", "istio.cmd.dev.ping"), header("Nats-Schedule-Next", "purge")];
    test_env.send_with("prod", &write, forged.clone());
    // A malformed one publishes nothing about a command either.
    test_env.send_with("prod", &CommandDraft { params: json!({"valve": ""}), ..write.clone() }, forged);
    test_env.dead_letters(&["SH1018", "SH1018"]).await;
    test_env.is_empty().await;
    assert_eq!((test_env.runs().len(), test_env.bus.results().len()), (0, 0));
    // It has not bound the id either.
    let command = test_env.send("prod", &write);
    assert_eq!(test_env.result(&command).await.1.outcome, Ended::Succeeded);
    let metrics = test_env.metrics.render();
    assert!(metrics.contains(r#"sailhand_rejected_messages_total{code="SH1018"} 2"#), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn command_that_is_a_schedule_or_a_rollup_is_rejected() {
    let test_env = SimulatedEnv::new();
    for name in ["Nats-Schedule", "Nats-Rollup"] {
        let write = test_env.draft("test.write", json!({"value": "a"}));
        let command = test_env.send_with("dev", &write, vec![(name.to_owned(), "sub".to_owned())]);
        let (_, result) = test_env.result(&command).await;
        assert_eq!((result.outcome, result.error.unwrap().code.as_str()), (Ended::Rejected, "SH1018"), "{name}");
    }
    test_env.is_empty().await;
    assert_eq!(test_env.runs().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn foreign_fence_ends_with_a_result_while_the_lease_is_held() {
    let test_env = SimulatedEnv::new();
    let command = test_env.send("dev", &test_env.draft("test.write", json!({"value": "a", "fenced": true})));
    let (_, result) = test_env.result(&command).await;
    assert_eq!((result.outcome, result.attempts), (Ended::Failed, 8));
    let problem = result.error.unwrap();
    assert_eq!(problem.code, "SH3015");
    assert!(problem.causes.iter().any(|cause| cause.contains("18446744073709551615")), "{problem:?}");
    test_env.dead_letters(&["SH3015"]).await;
    test_env.is_empty().await;
    assert_eq!(test_env.runs().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn result_lists_failed_attempts_with_their_writes() {
    let test_env = SimulatedEnv::new();
    for (failures, outcome, earlier) in [(2, Ended::Succeeded, 2), (99, Ended::Failed, 7)] {
        let params = json!({"value": "a", "failures": failures});
        let command = test_env.send("dev", &test_env.draft("test.write", params));
        let (_, result) = test_env.result(&command).await;
        assert_eq!((result.outcome, result.earlier_attempts.len()), (outcome, earlier));
        for (number, attempt) in (1..).zip(&result.earlier_attempts) {
            assert_eq!((attempt.attempt, attempt.problem.code.as_str()), (number, "SH3009"));
            let lines: Vec<_> = attempt.objects.iter().map(|one| format!("{} {}", one.object, one.action)).collect();
            assert_eq!(lines, [format!("ConfigMap shop/of-{number} created")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn result_that_exceeds_the_size_limit_is_published_without_its_report() {
    let test_env = SimulatedEnv::new();
    test_env.bus.limit_results(4096);
    let large = test_env.send("dev", &test_env.draft("test.write", json!({"value": "large", "report_bytes": 8192})));
    let small = test_env.send("dev", &test_env.draft("test.write", json!({"value": "small", "report_bytes": 16})));
    let (_, result) = test_env.result(&large).await;
    assert_eq!((result.outcome, result.attempts, result.changed), (Ended::Succeeded, 1, true));
    assert_eq!(result.report, None);
    assert!(test_env.result(&small).await.1.report.is_some());
    test_env.is_empty().await;
    assert_eq!(test_env.runs().len(), 2, "neither ran again");
    let metrics = test_env.metrics.render();
    assert!(metrics.contains(r#"sailhand_bus_errors_total{code="SH2011"} 1"#), "{metrics}");
}

/// A process that dies takes all its commands down with it, and only one of them was the cause.
#[tokio::test(start_paused = true)]
async fn long_command_survives_the_deaths_that_another_one_causes() {
    let test_env = SimulatedEnv::without_worker();
    let mut link = test_env.start_worker("w0");
    let long = test_env.send("dev", &test_env.draft("test.write", json!({"value": "long", "minutes": 60})));
    let poison = test_env.send("dev", &test_env.draft("test.write", json!({"value": "poison", "minutes": 60})));
    let mut deaths = 0;
    loop {
        let runs = || test_env.runs().iter().filter(|run| *run == "dev poison").count();
        let ended = eventually("the poison runs or has ended", WITHIN, async || {
            let has_ended = test_env.bus.results().contains_key(&poison);
            (has_ended || runs() > deaths).then_some(has_ended)
        })
        .await;
        if ended {
            break;
        }
        link.disconnect();
        deaths = runs();
        link = test_env.start_worker(&format!("w{deaths}"));
    }
    assert_eq!(deaths, 3, "the first may be the other one's");
    assert_eq!(test_env.result(&poison).await.1.error.unwrap().code, "SH1013");
    assert_eq!(test_env.result(&long).await.1.outcome, Ended::Succeeded);
    test_env.dead_letters(&["SH1013"]).await;
    test_env.is_empty().await;
}

/// Eight slots, of which one waits for due commands.
#[tokio::test(start_paused = true)]
async fn cancel_does_not_wait_for_a_slot() {
    let test_env = SimulatedEnv::new();
    let mut long = Vec::new();
    for n in 0..40 {
        long.push(test_env.send("dev", &test_env.draft("test.write", json!({"value": n.to_string(), "minutes": 600}))));
    }
    eventually("the share of the target is taken", WITHIN, async || (test_env.runs().len() >= 6).then_some(())).await;
    for n in 40..60 {
        test_env.send("prod", &test_env.draft("test.write", json!({"value": n.to_string(), "minutes": 600})));
    }
    eventually("all slots are taken", WITHIN, async || (test_env.runs().len() >= 7).then_some(())).await;
    let begun = Instant::now();
    let runs: usize = test_env.runs().iter().find_map(|run| run.strip_prefix("dev ")).unwrap().parse().unwrap();
    let cancel = test_env.send("dev", &test_env.draft("cancel", json!({"command": long[runs].key.as_str()})));
    assert_eq!(test_env.result(&cancel).await.1.outcome, Ended::Succeeded);
    assert_eq!(test_env.result(&long[runs]).await.1.outcome, Ended::Cancelled);
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}

/// Before: a result without attempts, which denied the write.
#[tokio::test(start_paused = true)]
async fn command_that_is_rejected_after_an_attempt_has_a_result_with_it() {
    let test_env = SimulatedEnv::new();
    // Its parameters were deleted after the attempt.
    let dataref = Some(dataref::of(&test_env.bus.subjects().own_parameter_bucket(), b"deleted").reference);
    let draft = CommandDraft { dataref, ..test_env.draft("test.write", json!(null)) };
    let command = CommandId::new(&"dev".parse().unwrap(), &draft.key());
    let record = AttemptRecord { attempts: 1, runs: 1, changed: true, ..AttemptRecord::default() };
    test_env.bus.record_attempts(&RecordKey::command(&command), &record, 0).await.unwrap();
    test_env.send("dev", &draft);
    let (_, result) = test_env.result(&command).await;
    assert_eq!((result.outcome, result.attempts, result.changed), (Ended::Rejected, 1, true), "{result:?}");
    assert!(!test_env.bus.has_short_retention(&command), "it wrote");
}

#[tokio::test(start_paused = true)]
async fn verb_that_the_target_does_not_allow_is_rejected_before_anything_is_read() {
    let test_env = SimulatedEnv::new();
    let command = test_env.send("restricted", &test_env.draft("test.write", json!({"value": "a"})));
    let (_, result) = test_env.result(&command).await;
    let error = result.error.unwrap();
    assert_eq!((result.outcome, error.code.as_str(), result.attempts), (Ended::Rejected, "SH1021", 0));
    assert!(error.message.contains("verb test.write is not in verbs of target restricted"), "{}", error.message);
    // The parameters are not fetched: a reference that does not exist has another code.
    let dataref = format!("nats-object://params/{}", "0".repeat(64));
    let draft =
        CommandDraft { dataref: Some(dataref), params: json!(null), ..test_env.draft("test.write", json!(null)) };
    let command = test_env.send("restricted", &draft);
    assert_eq!(test_env.result(&command).await.1.error.unwrap().code, "SH1021");
    assert_eq!(test_env.runs(), [""; 0]);
    let ping = test_env.send("restricted", &test_env.draft("ping", json!({})));
    assert_ne!(test_env.result(&ping).await.1.outcome, Ended::Rejected);
    test_env.dead_letters(&["SH1021", "SH1021"]).await;
}
