//! Readers of stored events: order, the change to new events, and how many a client holds.

use futures::StreamExt;
use sailhand::bus::nats::topology;
use sailhand::bus::topology::Topology;
use sailhand::client::Client;
use sailhand::config::Config;
use time::OffsetDateTime;

use crate::support::nats::NatsServer;

const STORED: u64 = 3_000;

async fn publish(client: &Client, from: u64, to: u64) {
    let context = client.bus().context();
    let mut acks = Vec::new();
    for n in from..=to {
        let subject = format!("istio.evt.dev.{n:032x}.started");
        acks.push(context.publish(subject, "{}".into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

#[tokio::test]
async fn stored_events_are_read_in_batches_and_new_ones_follow() {
    let server = NatsServer::start().await;
    let mut config = Config::default();
    config.nats.url = vec![server.url()];
    let (producer, reader) = (Client::connect(&config).await.unwrap(), Client::connect(&config).await.unwrap());
    topology::apply(producer.bus(), &Topology::new(&config.bus)).await.unwrap();
    publish(&producer, 1, STORED).await;

    let mut changes = reader.changes(OffsetDateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(changes.stored, STORED);
    let first = changes.messages.next().await.unwrap().unwrap();
    assert_eq!(first.sequence, 1);
    // The answers come after what the server has sent before.
    for _ in 0..20 {
        reader.bus().last("ISTIO_EVT", "istio.evt.>").await.unwrap();
    }
    let received = reader.bus().context().client().statistics().in_messages.load(std::sync::atomic::Ordering::Relaxed);
    assert!(received < 500, "the client holds {received} messages");

    publish(&producer, STORED + 1, STORED + 10).await;
    for sequence in 2..=STORED + 10 {
        assert_eq!(changes.messages.next().await.unwrap().unwrap().sequence, sequence);
    }
    publish(&producer, STORED + 11, STORED + 11).await;
    assert_eq!(changes.messages.next().await.unwrap().unwrap().sequence, STORED + 11);
}
