//! Istio's life cycle whose workers are killed at named steps and at random: the verb is resumed by another, has one
//! result, and leaves what an undisturbed one does, which then has nothing to change.

use crate::chaos;
use crate::mesh_settings;
use crate::mesh_target;
use crate::support;

use std::time::Duration;

use chaos::counts::Counts;
use chaos::environment::{ChaosEnv, TARGETS};
use chaos::verify::verify_environment;
use mesh_target::{MeshEnv, minimal};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sailhand::config::Charts;
use sailhand::event::{CommandDraft, CommandId, Outcome, ResultData, Target};
use sailhand::failpoint::Step;
use serde_json::{Value, json};
use support::nats::NatsServer;
use time::OffsetDateTime;
use tokio::time::Instant;

/// A verb takes seconds; a death adds some for its lease and its delivery to run out.
const END: Duration = Duration::from_mins(3);
/// Steps that every verb which writes comes to, some of them several times.
const STEPS: [Step; 6] =
    [Step::Recorded, Step::Started, Step::Planned, Step::Fenced, Step::ObjectWritten, Step::TaskEnded];

/// When a worker dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// The first to come to the step.
    At(Step),
    /// Whoever is at this place, so long after the command was sent.
    After(Duration, usize),
}

/// Two: a third under one command puts it aside, and rightly so.
fn deaths(random: &mut SmallRng) -> [Death; 2] {
    let at = |random: &mut SmallRng| Death::At(STEPS[random.random_range(0..STEPS.len())]);
    let after = Duration::from_millis(random.random_range(100..4000));
    let second = if random.random_bool(0.5) { at(random) } else { Death::After(after, random.random_range(0..2)) };
    [at(random), second]
}

/// Sends a command, brings the deaths about one after the other, and waits for the end.
async fn run(test_env: &mut ChaosEnv, id: &str, verb: &str, params: &Value, deaths: &[Death]) -> ResultData {
    let target: Target = TARGETS[0].parse().unwrap();
    let draft = CommandDraft {
        id: id.to_owned(),
        source: "/chaos".to_owned(),
        verb: verb.to_owned(),
        params: params.clone(),
        ..CommandDraft::default()
    };
    let event = draft.event(&target, OffsetDateTime::now_utc()).unwrap();
    test_env.bus.send_command(&target, verb, &draft.key(), &event).await.unwrap();
    let (begun, mut hits, mut deaths) = (Instant::now(), test_env.hits().len(), deaths.iter().peekable());
    let mut ordered = false;
    let subjects = test_env.bus.subjects().clone();
    loop {
        match deaths.peek() {
            Some(Death::At(step)) if !ordered => {
                test_env.order(*step, "KILL");
                ordered = true;
            }
            Some(Death::At(_)) if test_env.hits().len() > hits => {
                (hits, ordered) = (hits + 1, false);
                deaths.next();
            }
            Some(Death::After(time, place)) if begun.elapsed() > *time => {
                test_env.places[*place].signal("KILL");
                deaths.next();
            }
            _ => {}
        }
        test_env.pass(Duration::from_millis(50)).await;
        let found = test_env
            .bus
            .last(&subjects.result_stream(), &subjects.result(&CommandId::new(&target, &draft.key())))
            .await;
        if let Ok(Some(message)) = found {
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            test_env.heal(); // takes back what nobody came to
            chaos::verify::settled(test_env).await.unwrap();
            return serde_json::from_value(event["data"].clone()).unwrap();
        }
        assert!(begun.elapsed() < END, "{verb} does not end; {:?}", test_env.hits());
    }
}

#[tokio::test]
async fn a_mesh_whose_workers_die_ends_as_an_undisturbed_one() {
    if support::charts::are_missing() {
        return;
    }
    let mesh = MeshEnv::start().await;
    let source = support::charts::folder().to_string_lossy().into_owned();
    let mut test_env = ChaosEnv::on(NatsServer::start().await, 2, &mesh.plane.kubeconfig(), |config| {
        config.charts = Charts { source, ..mesh_settings::settings() };
    })
    .await;
    let canary = |until: &str| json!({"version": "1.30.3", "strategy": "canary", "until": until, "wait": "1m"});
    let life = [
        ("mesh.install", minimal("1.28.10")),
        ("mesh.upgrade", canary("control-plane")),
        ("mesh.upgrade", canary("remove")),
        ("mesh.uninstall", json!({"purge": true, "confirm": TARGETS[0], "force": true, "wait": "30s"})),
    ];
    let mut random = SmallRng::seed_from_u64(5);
    let mut counts = Counts::default();
    for (number, (verb, params)) in life.iter().enumerate() {
        let deaths = deaths(&mut random);
        let result = run(&mut test_env, &format!("{number}"), verb, params, &deaths).await;
        assert_eq!(result.outcome, Outcome::Succeeded, "{verb} with {deaths:?}: {:?}", result.error);
        let again = run(&mut test_env, &format!("{number}-again"), verb, params, &[]).await;
        assert_eq!(again.outcome, Outcome::Succeeded, "{verb} again, after {deaths:?}: {:?}", again.error);
        assert!(!again.changed, "{verb} with {deaths:?} left something to do: {:?}", again.report);
        counts.commands += 2;
    }
    assert_eq!(mesh.list("apiextensions.k8s.io/v1", "CustomResourceDefinition").await.len(), 0, "nothing is left");
    verify_environment(&mut test_env, &mut counts).await;
    assert_eq!(counts.violations, Vec::<String>::new());
    assert!(counts.deaths >= 4 && counts.takeovers > 0, "{counts}");
}
