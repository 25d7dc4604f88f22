//! The NATS user of deploy/nats.

use sailhand::bridge::proto::EventType;
use sailhand::bus::nats::{self, NatsBus, topology};
use sailhand::bus::topology::Topology;
use sailhand::bus::{Bus, Queue, Retention, Subjects};
use sailhand::config::Config;
use sailhand::event::{decode, result_event};
use tonic::Code;

use crate::bridge::{Bridge, kubeconfig, request, target};
use crate::support::accounts;
use crate::support::worker::succeeded;

#[tokio::test]
async fn permissions_of_the_example_suffice_and_end_at_its_targets() {
    use futures::StreamExt;
    let server = accounts::server().await;
    let dir = tempfile::tempdir().unwrap();
    let login = |user: &str| accounts::login(&server, dir.path(), user);
    let admin = NatsBus::new(nats::connect(&login("admin"), "test", false).await.unwrap(), Subjects::new("istio"));
    topology::apply(&admin, &Topology::new(&Config::default().bus)).await.unwrap();
    let mut config = Config { nats: login("bridge"), ..Config::default() };
    for id in ["dev", "prod"] {
        config.bridge.targets.insert(id.to_owned(), target(&format!("https://{id}")));
    }
    let bridge = Bridge::start(config).await;
    let mut events = bridge.events().await;
    let call = request("bookinfo", "shop");
    let operation_id = call.operation_id.clone();
    bridge.client().await.apply_operation(call).await.unwrap();
    let delivery = admin.pull(Queue::Commands, 1, std::time::Duration::from_secs(20)).next().await.unwrap().unwrap();
    let (name, verb) = delivery.address.clone().unwrap();
    let origin = decode(&name, &verb, &delivery.header_pairs(), &delivery.payload).unwrap().origin;
    let event = result_event(&origin, time::OffsetDateTime::now_utc(), &succeeded()).unwrap();
    admin.commit_result(&origin, &event, Retention::Full).await.unwrap();
    let end = events.end_of(&operation_id).await;
    assert_eq!(end.event_type(), EventType::Info, "{end:?}");

    let mut forbidden = request("bookinfo", "shop");
    forbidden.kube_configs = vec![kubeconfig("https://prod")];
    let status = bridge.client().await.apply_operation(forbidden).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
