//! `connection.watch`: ends at once, whatever it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::error::{Classify as _, Code};
use sailhand::task::Task as _;
use sailhand::task::connection::Watch;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::cluster_target::{context, unique};

#[tokio::test]
async fn watch_stops_within_a_second_while_the_api_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}], "users": [{"name": "c", "user": {}}]});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, config.to_string()).unwrap();
    let (mut cx, _) = context(&unique("silent"), 1);
    let target = Target { kubeconfig: Some(file), ..Target::default() };
    cx.clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    let watching = tokio::spawn({
        let cx = cx.clone();
        async move { Watch.run(&cx, serde_json::from_value(json!({"duration": "5m"})).unwrap()).await }
    });
    let _request = silent.accept().await.unwrap();
    cx.guard.cancel();
    let ended = timeout(Duration::from_secs(1), watching).await.expect("it stops within a second").unwrap();
    assert_eq!(ended.unwrap_err().error.code(), Code::SH1012);
}
