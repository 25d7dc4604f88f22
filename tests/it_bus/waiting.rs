//! More commands wait than the consumer may have under way: for a paused target, a slow one, an installation that is
//! held. The commands of others go on, and what waits still ends, once, as soon as it can.

use crate::support;

use std::time::Duration;

use futures::StreamExt;
use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, Queue, RecordKey, Retention, Settlement};
use sailhand::client::{Client, Observed, State};
use sailhand::config::Config;
use sailhand::event::{
    CommandDraft, CommandId, CommandKey, EventKind, Origin, Outcome as Ended, Started, Target, WaitReason, decode,
    result_event,
};
use sailhand::task::{Failure, Limits, Outcome, Registry, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::nats::NatsServer;
use support::worker::{draft, succeeded};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::in_process::{SLOTS, start_worker};

/// In place of 20,000.
const UNDER_WAY: i64 = 100;
/// Many times that.
const WAITING: usize = 600;
/// Of a command that nothing keeps.
const SOON: Duration = Duration::from_secs(10);
const AT_LAST: Duration = Duration::from_mins(1);

/// Lasts until the test lets it end.
struct Hold(watch::Receiver<bool>);

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Params {
    installation: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Report {}

impl Task for Hold {
    const VERB: &'static str = "test.hold";
    const SUMMARY: &'static str = "Waits.";
    type Params = Params;
    type Report = Report;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_hours(1), attempts: 5 }
    }

    fn installation(&self, params: &Params) -> Option<String> {
        params.installation.clone()
    }

    fn example(&self) -> Params {
        Params { installation: None }
    }

    async fn run(&self, _: &TaskContext, _: Params) -> Result<Outcome<Report>, Failure<Report>> {
        self.0.clone().wait_for(|released| *released).await.unwrap();
        Ok(Outcome::Unchanged(Report {}))
    }
}

struct BusEnv {
    _server: NatsServer,
    client: Client,
    release: watch::Sender<bool>,
    stop: CancellationToken,
}

impl BusEnv {
    /// A worker for the targets `slow` and `quick`, on a consumer that has room for few.
    async fn new() -> Self {
        let server = NatsServer::start().await;
        let mut config = Config::default();
        config.nats.url = vec![server.url()];
        config.bus.lease_ttl = Duration::from_secs(5);
        let client = Client::connect(&config).await.unwrap();
        let mut declared = Topology::new(&config.bus);
        declared.consumers[0].1.max_ack_pending = UNDER_WAY;
        topology::apply(client.bus(), &declared).await.unwrap();

        let stop = CancellationToken::new();
        let (release, released) = watch::channel(false);
        start_worker(&config, Registry::standard().with(Hold(released)), &["slow", "quick"], &stop).await;
        Self { _server: server, client, release, stop }
    }

    async fn send(&self, target: &str, draft: CommandDraft) -> CommandKey {
        self.client.submit(&target.parse().unwrap(), draft).await.unwrap().key
    }

    /// Sends many, and waits until each has been looked at.
    async fn fill(&self, verb: &str, params: Value) -> Vec<CommandKey> {
        let sent = futures::stream::iter(0..WAITING).map(|_| self.send("slow", draft(verb, params.clone())));
        let sent = sent.buffered(64).collect().await;
        eventually("all have been looked at", AT_LAST, async || {
            let stream = self.client.bus().context().get_stream("ISTIO_CMD").await.unwrap();
            let consumer =
                stream.get_consumer::<async_nats::jetstream::consumer::pull::Config>("worker").await.unwrap();
            (consumer.cached_info().num_pending == 0).then_some(())
        })
        .await;
        sent
    }

    async fn ends(&self, key: &CommandKey, within: Duration) -> Ended {
        eventually(&format!("command {key} ends"), within, async || match self.client.state(key).await {
            Ok(State::Ended(observation)) => match observation.observed {
                Observed::Result(result) => Some(result.outcome),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .await
    }

    /// The first `started` of a command.
    async fn started(&self, key: &CommandKey) -> Option<Started> {
        let history = self.client.history(key, 10, 1 << 20).await.unwrap();
        history.observations.into_iter().find_map(|it| match it.observed {
            Observed::Event(EventKind::Started(started)) => Some(started),
            _ => None,
        })
    }

    /// The revision of the record of a command, once it says what the command waits for.
    async fn waits_for(&self, target: &Target, key: &CommandKey, reason: WaitReason) -> u64 {
        let key = RecordKey::command(&CommandId::new(target, key));
        eventually(&format!("{key} waits for {reason:?}"), AT_LAST, async || {
            let (record, revision) = self.client.bus().attempts(&key).await.unwrap();
            record.waiting.is_some_and(|waiting| waiting.reason == reason).then_some(revision)
        })
        .await
    }

    /// Deliveries of commands so far.
    async fn deliveries(&self) -> u64 {
        let stream = self.client.bus().context().get_stream("ISTIO_CMD").await.unwrap();
        let consumer = stream.get_consumer::<async_nats::jetstream::consumer::pull::Config>("worker").await.unwrap();
        consumer.cached_info().delivered.consumer_sequence
    }

    /// The commands of the other target do not wait.
    async fn the_others_go_on(&self) {
        for _ in 0..5 {
            let key = self.send("quick", draft("ping", json!({}))).await;
            assert_eq!(self.ends(&key, SOON).await, Ended::Succeeded);
        }
    }

    /// What waits can be found, is counted, can be cancelled, and expires.
    async fn what_waits_is_not_forgotten(&self, waiting: &mut Vec<CommandKey>, verb: &str, params: Value) {
        let mut late = draft(verb, params);
        late.expiry = Some(OffsetDateTime::now_utc() + Duration::from_secs(2));
        let late = self.send("slow", late).await;
        // First and last came to wait in different ways.
        for place in [waiting.len() - 1, waiting.len() / 2, 0] {
            let key = waiting.remove(place);
            assert_eq!(self.client.state(&key).await.unwrap(), State::Queued);
            self.client.cancel(&key, "test").await.unwrap();
            assert_eq!(self.ends(&key, SOON).await, Ended::Cancelled);
        }
        assert_eq!(self.ends(&late, SOON).await, Ended::Expired);
        let targets = self.client.targets(Vec::new()).await.unwrap();
        let queued = targets.iter().find(|target| target.target == "slow").unwrap().queued;
        assert_eq!(queued, waiting.len() as u64);
    }

    /// All that wait end, and nothing is left.
    async fn all_succeed(self, waiting: &[CommandKey]) {
        for key in waiting {
            assert_eq!(self.ends(key, AT_LAST).await, Ended::Succeeded);
        }
        for stream in ["ISTIO_CMD", "ISTIO_WAIT"] {
            eventually("the queues are empty", SOON, async || {
                let found = self.client.bus().context().get_stream(stream).await.unwrap();
                (found.cached_info().state.messages == 0).then_some(())
            })
            .await;
        }
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_target_delays_no_other_command() {
    let test_env = BusEnv::new().await;
    let slow: Target = "slow".parse().unwrap();
    test_env.client.pause(&slow, "test", None).await.unwrap();
    let mut waiting = test_env.fill("ping", json!({})).await;
    test_env.the_others_go_on().await;
    test_env.what_waits_is_not_forgotten(&mut waiting, "ping", json!({})).await;
    test_env.client.resume(&slow).await.unwrap();
    test_env.all_succeed(&waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_target_delays_no_other_command() {
    let test_env = BusEnv::new().await;
    let mut all = test_env.fill("test.hold", json!({})).await;
    test_env.the_others_go_on().await;
    // Those that have begun are no part of what waits.
    let mut waiting = Vec::new();
    for key in all.drain(..) {
        if test_env.client.state(&key).await.unwrap() == State::Queued {
            waiting.push(key);
        } else {
            test_env.client.cancel(&key, "test").await.unwrap();
        }
    }
    assert_eq!(waiting.len(), WAITING - SLOTS * 3 / 4, "its share is three quarters");
    test_env.release.send_replace(true);
    test_env.all_succeed(&waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_installation_delays_no_other_command() {
    let test_env = BusEnv::new().await;
    let mut waiting = test_env.fill("test.hold", json!({"installation": "shop"})).await;
    test_env.the_others_go_on().await;
    waiting.remove(0); // it may be the one that holds the lease
    test_env.release.send_replace(true);
    test_env.all_succeed(&waiting).await;
}

/// The record of a command is written when it begins to wait for something else, not at each check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_of_an_attempt_states_what_the_command_waited_for() {
    let test_env = BusEnv::new().await;
    let (slow, shop): (Target, _) = ("slow".parse().unwrap(), json!({"installation": "shop"}));
    let first = test_env.send("slow", draft("test.hold", shop.clone())).await;
    eventually("the first command runs", SOON, async || test_env.started(&first).await).await;
    test_env.client.pause(&slow, "test", None).await.unwrap();
    let second = test_env.send("slow", draft("test.hold", shop)).await;
    test_env.waits_for(&slow, &second, WaitReason::Pause).await;
    test_env.client.resume(&slow).await.unwrap();
    let revision = test_env.waits_for(&slow, &second, WaitReason::Installation).await;
    let checked = test_env.deliveries().await;
    eventually("it is checked again, twice", AT_LAST, async || {
        (test_env.deliveries().await > checked + 1).then_some(())
    })
    .await;
    assert_eq!(test_env.waits_for(&slow, &second, WaitReason::Installation).await, revision, "a check writes nothing");
    test_env.release.send_replace(true);
    assert_eq!(test_env.ends(&second, AT_LAST).await, Ended::Succeeded);

    assert_eq!(test_env.started(&first).await.unwrap().waited, [], "the first did not wait");
    let waited = test_env.started(&second).await.unwrap().waited;
    let found: Vec<_> = waited.iter().map(|one| (one.reason, one.installation.as_deref())).collect();
    assert_eq!(found, [(WaitReason::Installation, Some("shop")), (WaitReason::Pause, None)]);
    // The delays before the second and the third check.
    assert!(waited[0].waited_ms >= 500 && waited[1].waited_ms >= 100, "{waited:?}");
}

/// The stream of commands is the producers' too. With an id that one of them can guess, the server would take the schedule
/// for a duplicate and not store it, and the command would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claimed_message_id_does_not_lose_a_command_that_is_put_off() {
    let test_env = BusEnv::new().await;
    let slow: Target = "slow".parse().unwrap();
    test_env.client.pause(&slow, "test", None).await.unwrap();
    let waiting = test_env.fill("ping", json!({})).await;
    let last = test_env.client.bus().context().get_stream("ISTIO_CMD").await.unwrap().cached_info().state.last_sequence;
    let next = draft("ping", json!({}));
    for sequence in last + 200..last + 400 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("slow.{}.{sequence}", next.key()));
        let sent =
            test_env.client.bus().context().publish_with_headers("istio.cmd.quick.ping", headers, "{}".into()).await;
        sent.unwrap().await.unwrap();
    }
    let next = test_env.send("slow", next).await;
    test_env.the_others_go_on().await;
    test_env.client.resume(&slow).await.unwrap();
    assert_eq!(test_env.ends(&next, AT_LAST).await, Ended::Succeeded);
    test_env.all_succeed(&waiting).await;
}

/// A worker schedules a due command again, or ends a queued one, while its state is looked up. Before, the command was not
/// found.
#[tokio::test]
async fn command_that_moves_during_a_look_up_is_found() {
    let server = NatsServer::start().await;
    let mut config = Config::default();
    config.nats.url = vec![server.url()];
    let client = Client::connect(&config).await.unwrap();
    topology::apply(client.bus(), &Topology::new(&config.bus)).await.unwrap();
    let bus = client.bus();
    let target: Target = "slow".parse().unwrap();
    let take = async |queue| {
        let delivery = bus.pull(queue, 1, SOON).next().await.unwrap().unwrap();
        let (target, verb) = delivery.address.clone().unwrap();
        let origin = decode(&target, &verb, &delivery.header_pairs(), &delivery.payload).unwrap().origin;
        (delivery, origin)
    };
    // More requests than a look-up sends before it reads the queue, and fewer than reading the queue takes.
    let has_begun = async |origin: &Origin| {
        for _ in 0..10 {
            assert_eq!(bus.find_result(&origin.command()).await.unwrap(), None);
        }
    };

    let waiting = client.submit(&target, draft("ping", json!({}))).await.unwrap().key;
    let (delivery, origin) = take(Queue::Commands).await;
    bus.schedule(&delivery, &origin, OffsetDateTime::now_utc()).await.unwrap();
    delivery.acker.settle(Settlement::Ack).await.unwrap();
    for _ in 0..100 {
        client.submit(&target, draft("ping", json!({}))).await.unwrap();
    }
    let (due, origin) = take(Queue::Waiting).await;
    let schedule = async {
        has_begun(&origin).await;
        bus.schedule(&due, &origin, OffsetDateTime::now_utc() + Duration::from_hours(1)).await.unwrap();
        due.acker.settle(Settlement::Ack).await.unwrap();
    };
    let (state, ()) = tokio::join!(client.state(&waiting), schedule);
    assert_eq!(state.unwrap(), State::Queued);

    for _ in 0..100 {
        take(Queue::Commands).await;
    }
    let last = client.submit(&target, draft("ping", json!({}))).await.unwrap().key;
    let (delivery, origin) = take(Queue::Commands).await;
    let end = async {
        has_begun(&origin).await;
        let event = result_event(&origin, OffsetDateTime::now_utc(), &succeeded()).unwrap();
        bus.commit_result(&origin, &event, Retention::Full).await.unwrap();
        delivery.acker.settle(Settlement::Ack).await.unwrap();
    };
    let (state, ()) = tokio::join!(client.state(&last), end);
    assert!(matches!(state.unwrap(), State::Ended(_)));
}
