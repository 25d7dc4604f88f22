//! What bounds the storage and memory that commands take, on the bus in memory.

use std::time::Duration;

use bytes::Bytes;
use sailhand::bus::{Bus, RecordKey};
use sailhand::event::{CommandDraft, Outcome as Ended, Target};
use serde_json::json;

use crate::support::eventually::eventually;
use crate::trust::World;

const WITHIN: Duration = Duration::from_hours(3);

#[tokio::test(start_paused = true)]
async fn results_of_commands_that_write_nothing_are_brief() {
    let world = World::new();
    let expired = Some(world.clock.now() - Duration::from_secs(1));
    for (draft, outcome, has_short_retention) in [
        (world.draft("ping", json!({})), Ended::Succeeded, true),
        (world.draft("ping", json!({"no": "such"})), Ended::Rejected, true),
        (CommandDraft { expiry: expired, ..world.draft("ping", json!({})) }, Ended::Expired, true),
        (world.draft("test.write", json!({"valve": "a"})), Ended::Rejected, true),
        (world.draft("test.write", json!({"value": "a"})), Ended::Succeeded, false),
        (world.draft("test.write", json!({"value": "a", "fenced": true})), Ended::Failed, false),
        (CommandDraft { expiry: expired, ..world.draft("test.write", json!({"value": "a"})) }, Ended::Expired, false),
    ] {
        let command = world.send("dev", &draft);
        assert_eq!(world.result(&command).await.1.outcome, outcome, "{draft:?}");
        assert_eq!(world.bus.has_short_retention(&command), has_short_retention, "{draft:?}");
        let (record, _) = world.bus.attempts(&RecordKey::command(&command)).await.unwrap();
        assert_eq!(record.brief, record.begun > 0 && draft.verb == "ping", "{draft:?}");
    }
}

/// 500 KB each: 33 in full within 16 MiB, then 1,024 with 4 KiB each.
#[tokio::test(start_paused = true)]
async fn flood_of_rejected_messages_is_cut_and_then_has_no_dead_letters() {
    let world = World::new();
    let target = |name: &str| name.parse::<Target>().unwrap();
    let flood: Bytes = vec![b'x'; 500_000].into();
    for _ in 0..1100 {
        world.bus.publish(&target("dev"), "ping", flood.clone());
    }
    world.is_empty().await;
    let sizes = world.bus.dead_letter_bytes();
    let count = |bytes: usize| sizes.iter().filter(|size| **size == bytes).count();
    assert_eq!((count(500_000), count(4096), sizes.len()), (33, 1024, 1057));
    let metrics = world.metrics.render();
    assert!(metrics.contains("sailhand_dropped_dead_letters_total 43"), "{metrics}");
    world.bus.publish(&target("prod"), "ping", flood);
    world.is_empty().await;
    assert_eq!(world.bus.dead_letter_bytes().last(), Some(&500_000), "each target has its own quota");
    // Letters of other reasons are not limited.
    let fenced = world.send("dev", &world.draft("test.write", json!({"value": "a", "fenced": true})));
    assert_eq!(world.result(&fenced).await.1.outcome, Ended::Failed);
    assert_eq!(world.bus.dead_letters().last().unwrap().1, "SH3015");
}

/// Eight slots, of which one target gets six.
#[tokio::test(start_paused = true)]
async fn large_parameters_wait_for_memory() {
    let world = World::new();
    let mut sent = Vec::new();
    for n in 0..6 {
        let text = json!({"value": n.to_string(), "minutes": 30}).to_string();
        let padding = " ".repeat(13_000_000); // white space is a part of the size
        let reference = world.bus.put_object(format!("{text}{padding}").into());
        let draft = CommandDraft { dataref: Some(reference), ..world.draft("test.write", json!(null)) };
        sent.push(world.send("dev", &draft));
    }
    eventually("the memory is used", WITHIN, async || (world.runs().len() >= 4).then_some(())).await;
    let small = world.send("prod", &world.draft("test.write", json!({"value": "small"})));
    assert_eq!(world.result(&small).await.1.outcome, Ended::Succeeded, "small parameters need no memory");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.runs().len(), 5, "64 MiB are four times 16 MiB");
    for command in &sent {
        assert_eq!(world.result(command).await.1.outcome, Ended::Succeeded);
    }
    assert_eq!(world.runs().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn parameters_in_another_bucket_are_rejected() {
    let world = World::new();
    let reference = world.bus.put_object(json!({"value": "a"}).to_string().into());
    let other = reference.replace("istio_blob", "istio_lease");
    for (reference, outcome) in [(other, Ended::Rejected), (reference, Ended::Succeeded)] {
        let draft = CommandDraft { dataref: Some(reference), ..world.draft("test.write", json!(null)) };
        let command = world.send("dev", &draft);
        let (_, result) = world.result(&command).await;
        assert_eq!(result.outcome, outcome, "{result:?}");
    }
}
