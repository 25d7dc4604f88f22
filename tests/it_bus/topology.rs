//! `topology apply` and `verify` against a real server: idempotent, complete, and never destructive.

use crate::support;

use async_nats::jetstream::stream::RetentionPolicy;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus as _, Error, LeaseName, Subjects};
use sailhand::config::{Bus, Nats};
use sailhand::error::Problem;
use support::nats::NatsServer;

async fn bus(server: &NatsServer) -> NatsBus {
    let config = Nats { url: vec![server.url()], ..Nats::default() };
    let connection = nats::connect(&config, "test", false).await.unwrap();
    NatsBus::new(connection, Subjects::new("istio"))
}

#[tokio::test]
async fn apply_creates_everything_once_and_verify_agrees() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    let declared = Topology::new(&Bus::default());

    let Err(Error::Drift { differences }) = topology::verify(&bus, &declared).await else { panic!("nothing is there") };
    assert_eq!(differences.len(), declared.streams.len());

    let first = topology::apply(&bus, &declared).await.unwrap();
    assert_eq!(first.len(), declared.streams.len() + 3);
    assert!(first.iter().all(|applied| applied.action == "created"), "{first:?}");
    topology::verify(&bus, &declared).await.unwrap();

    let second = topology::apply(&bus, &declared).await.unwrap();
    assert!(second.iter().all(|applied| applied.action == "unchanged"), "{second:?}");
}

#[tokio::test]
async fn verify_reports_differences_and_apply_corrects_them_without_losing_messages() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    let declared = Topology::new(&Bus::default());
    topology::apply(&bus, &declared).await.unwrap();
    bus.context().publish("istio.cmd.dev.ping", "kept".into()).await.unwrap().await.unwrap();

    let mut changed = declared.streams[0].clone();
    changed.max_age = std::time::Duration::from_hours(1);
    bus.context().update_stream(changed).await.unwrap();
    let Err(Error::Drift { differences }) = topology::verify(&bus, &declared).await else { panic!("it differs") };
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].starts_with("stream ISTIO_CMD: max_age is 3600s"), "{differences:?}");

    let applied = topology::apply(&bus, &declared).await.unwrap();
    let updated: Vec<_> = applied.iter().filter(|applied| applied.action != "unchanged").collect();
    assert_eq!(updated.len(), 1);
    assert_eq!((updated[0].name.as_str(), updated[0].action), ("ISTIO_CMD", "updated"));
    topology::verify(&bus, &declared).await.unwrap();
    let mut stream = bus.context().get_stream("ISTIO_CMD").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn consumer_that_differs_is_drift_and_apply_corrects_it() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    let declared = Topology::new(&Bus::default());
    topology::apply(&bus, &declared).await.unwrap();

    let mut changed = declared.consumers[0].1.clone();
    changed.ack_wait = std::time::Duration::from_secs(5);
    bus.context().create_consumer_on_stream(changed, "ISTIO_CMD").await.unwrap();
    let Err(Error::Drift { differences }) = topology::verify(&bus, &declared).await else { panic!("it differs") };
    assert_eq!(differences, ["consumer worker: ack_wait is 5s, should be 30s"]);
    topology::apply(&bus, &declared).await.unwrap();
    topology::verify(&bus, &declared).await.unwrap();
}

#[tokio::test]
async fn immutable_stream_settings_are_an_error_and_nothing_is_deleted() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    let declared = Topology::new(&Bus::default());
    let mut wrong = declared.streams[0].clone();
    wrong.retention = RetentionPolicy::Limits;
    bus.context().create_stream(wrong).await.unwrap();
    bus.context().publish("istio.cmd.dev.ping", "kept".into()).await.unwrap().await.unwrap();

    let error = topology::apply(&bus, &declared).await.unwrap_err();
    let text = Problem::new(&error).to_string();
    assert!(text.contains("ISTIO_CMD") && text.contains("retention"), "{text}");
    let mut stream = bus.context().get_stream("ISTIO_CMD").await.unwrap();
    let info = stream.info().await.unwrap();
    assert_eq!((info.state.messages, info.config.retention), (1, RetentionPolicy::Limits));
}

#[tokio::test]
async fn prefixes_do_not_meet() {
    let server = NatsServer::start().await;
    let connected = bus(&server).await;
    topology::apply(&connected, &Topology::new(&Bus::default())).await.unwrap();
    let config = Bus { prefix: "second".to_owned(), ..Bus::default() };
    let connection = nats::connect(&Nats { url: vec![server.url()], ..Nats::default() }, "test", false).await.unwrap();
    let second = NatsBus::new(connection, Subjects::new("second"));
    let declared = Topology::new(&config);
    let applied = topology::apply(&second, &declared).await.unwrap();
    assert!(applied.iter().all(|applied| applied.action == "created"), "{applied:?}");
    topology::verify(&connected, &Topology::new(&Bus::default())).await.unwrap();
}

#[tokio::test]
async fn topology_without_advisory_consumer_gets_it_and_keeps_its_messages() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    let declared = Topology::new(&Bus::default());
    topology::apply(&bus, &declared).await.unwrap();
    bus.context().publish("istio.cmd.dev.ping", "kept".into()).await.unwrap().await.unwrap();
    // As an earlier version made it: no consumer of the advisories, and another window of the dead letters.
    bus.context().delete_consumer_from_stream("sweeper", "ISTIO_ADV").await.unwrap();
    let letters = declared.streams.iter().find(|stream| stream.name == "ISTIO_DLQ").unwrap();
    let earlier = async_nats::jetstream::stream::Config {
        duplicate_window: std::time::Duration::from_mins(2),
        ..letters.clone()
    };
    bus.context().update_stream(earlier).await.unwrap();
    let Err(Error::Drift { differences }) = topology::verify(&bus, &declared).await else { panic!("it differs") };
    assert!(differences[0].contains("ISTIO_DLQ: duplicate_window"), "{differences:?}");

    let applied = topology::apply(&bus, &declared).await.unwrap();
    let done: Vec<_> = applied.iter().filter(|one| one.action != "unchanged").map(|one| one.name.as_str()).collect();
    assert_eq!(done, ["ISTIO_DLQ", "ISTIO_ADV/sweeper"]);
    topology::verify(&bus, &declared).await.unwrap();
    let mut stream = bus.context().get_stream("ISTIO_CMD").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn the_fences_of_a_new_store_are_above_those_of_the_lost_one() {
    let mut server = NatsServer::start().await;
    let declared = Topology::new(&Bus::default());
    let name = LeaseName { target: "dev".parse().unwrap(), installation: "shop".to_owned() };
    let mut fences = Vec::new();
    for _ in 0..2 {
        let bus = bus(&server).await;
        topology::apply(&bus, &declared).await.unwrap();
        for _ in 0..20 {
            let lease = bus.acquire(&name, "w").await.unwrap().unwrap();
            fences.push(lease.fence);
            bus.release(&lease).await.unwrap();
        }
        // An update leaves the numbers alone.
        let mut changed = declared.streams.iter().find(|stream| stream.name == "KV_istio_lease").unwrap().clone();
        changed.max_age *= 2;
        changed.first_sequence =
            bus.context().get_stream("KV_istio_lease").await.unwrap().cached_info().config.first_sequence;
        bus.context().update_stream(changed).await.unwrap();
        let applied = topology::apply(&bus, &declared).await.unwrap();
        assert!(applied.iter().any(|one| (one.name.as_str(), one.action) == ("KV_istio_lease", "updated")));
        let lease = bus.acquire(&name, "w").await.unwrap().unwrap();
        fences.push(lease.fence);
        bus.release(&lease).await.unwrap();
        server.lose_store().await;
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    // JavaScript reads them off results.
    assert!(fences.iter().all(|fence| *fence < 1 << 53), "{fences:?}");
}

/// A backup is older than what has happened since.
#[tokio::test]
async fn the_fences_of_a_restored_store_are_raised_by_a_purge() {
    let server = NatsServer::start().await;
    let bus = bus(&server).await;
    topology::apply(&bus, &Topology::new(&Bus::default())).await.unwrap();
    let name = LeaseName { target: "dev".parse().unwrap(), installation: "shop".to_owned() };
    let held = bus.acquire(&name, "old").await.unwrap().unwrap();
    let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap() + 1_000_000;
    let stream = bus.context().get_stream("KV_istio_lease").await.unwrap();
    stream.purge().sequence(now).await.unwrap();
    assert_eq!(bus.renew(&held, "old").await.unwrap(), None, "whoever holds one loses it");
    let lease = bus.acquire(&name, "new").await.unwrap().unwrap();
    assert!(lease.fence >= now, "{} {now}", lease.fence);
}
