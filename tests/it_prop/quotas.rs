//! What bounds the storage and memory that commands take, on the bus in memory.

use std::time::Duration;

use bytes::Bytes;
use sailhand::bus::{Bus, RecordKey};
use sailhand::event::{CommandDraft, Outcome as Ended, Target};
use serde_json::json;

use crate::support::eventually::eventually;
use crate::trust::SimulatedEnv;

const WITHIN: Duration = Duration::from_hours(3);

#[tokio::test(start_paused = true)]
async fn results_of_commands_that_write_nothing_are_brief() {
    let test_env = SimulatedEnv::new();
    let expired = Some(test_env.clock.now() - Duration::from_secs(1));
    for (draft, outcome, has_short_retention) in [
        (test_env.draft("ping", json!({})), Ended::Succeeded, true),
        (test_env.draft("ping", json!({"no": "such"})), Ended::Rejected, true),
        (CommandDraft { expiry: expired, ..test_env.draft("ping", json!({})) }, Ended::Expired, true),
        (test_env.draft("test.write", json!({"valve": "a"})), Ended::Rejected, true),
        (test_env.draft("test.write", json!({"value": "a"})), Ended::Succeeded, false),
        (test_env.draft("test.write", json!({"value": "a", "fenced": true})), Ended::Failed, false),
        (
            CommandDraft { expiry: expired, ..test_env.draft("test.write", json!({"value": "a"})) },
            Ended::Expired,
            false,
        ),
    ] {
        let command = test_env.send("dev", &draft);
        assert_eq!(test_env.result(&command).await.1.outcome, outcome, "{draft:?}");
        assert_eq!(test_env.bus.has_short_retention(&command), has_short_retention, "{draft:?}");
        let (record, _) = test_env.bus.attempts(&RecordKey::command(&command)).await.unwrap();
        assert_eq!(record.read_only, record.attempts > 0 && draft.verb == "ping", "{draft:?}");
    }
}

/// 500 KB each: 33 in full within 16 MiB, then 1,024 with 4 KiB each.
#[tokio::test(start_paused = true)]
async fn flood_of_rejected_messages_is_cut_and_then_has_no_dead_letters() {
    let test_env = SimulatedEnv::new();
    let target = |name: &str| name.parse::<Target>().unwrap();
    let flood: Bytes = vec![b'x'; 500_000].into();
    for _ in 0..1100 {
        test_env.bus.publish(&target("dev"), "ping", flood.clone());
    }
    test_env.is_empty().await;
    let sizes = test_env.bus.dead_letter_bytes();
    let count = |bytes: usize| sizes.iter().filter(|size| **size == bytes).count();
    assert_eq!((count(500_000), count(4096), sizes.len()), (33, 1024, 1057));
    let metrics = test_env.metrics.render();
    assert!(metrics.contains("sailhand_dropped_dead_letters_total 43"), "{metrics}");
    test_env.bus.publish(&target("prod"), "ping", flood);
    test_env.is_empty().await;
    assert_eq!(test_env.bus.dead_letter_bytes().last(), Some(&500_000), "each target has its own quota");
    // Letters of other reasons are not limited.
    let fenced = test_env.send("dev", &test_env.draft("test.write", json!({"value": "a", "fenced": true})));
    assert_eq!(test_env.result(&fenced).await.1.outcome, Ended::Failed);
    assert_eq!(test_env.bus.dead_letters().last().unwrap().1, "SH3015");
}

/// Eight slots, of which one target gets six.
#[tokio::test(start_paused = true)]
async fn large_parameters_wait_for_memory() {
    let test_env = SimulatedEnv::new();
    let mut sent = Vec::new();
    for n in 0..6 {
        let text = json!({"value": n.to_string(), "minutes": 30}).to_string();
        let padding = " ".repeat(13_000_000); // white space is a part of the size
        let reference = test_env.bus.put_object(format!("{text}{padding}").into());
        let draft = CommandDraft { dataref: Some(reference), ..test_env.draft("test.write", json!(null)) };
        sent.push(test_env.send("dev", &draft));
    }
    eventually("the memory is used", WITHIN, async || (test_env.runs().len() >= 4).then_some(())).await;
    let small = test_env.send("prod", &test_env.draft("test.write", json!({"value": "small"})));
    assert_eq!(test_env.result(&small).await.1.outcome, Ended::Succeeded, "small parameters need no memory");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(test_env.runs().len(), 5, "64 MiB are four times 16 MiB");
    for command in &sent {
        assert_eq!(test_env.result(command).await.1.outcome, Ended::Succeeded);
    }
    assert_eq!(test_env.runs().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn parameters_in_another_bucket_are_rejected() {
    let test_env = SimulatedEnv::new();
    let reference = test_env.bus.put_object(json!({"value": "a"}).to_string().into());
    let other = reference.replace("istio_blob", "istio_lease");
    for (reference, outcome) in [(other, Ended::Rejected), (reference, Ended::Succeeded)] {
        let draft = CommandDraft { dataref: Some(reference), ..test_env.draft("test.write", json!(null)) };
        let command = test_env.send("dev", &draft);
        let (_, result) = test_env.result(&command).await;
        assert_eq!(result.outcome, outcome, "{result:?}");
    }
}
