//! What does not fit into a result: kept beside it by the worker, named in it, fetched by the command line.

use crate::support;

use std::fmt::Write as _;
use std::process::{Command, Output};

use sailhand::client;
use sailhand::event::{CommandKey, Outcome};
use serde_json::{Value, json};
use support::worker::WorkerEnv;
use tempfile::TempDir;

fn get(test_env: &WorkerEnv, key: &CommandKey, file: &str) -> Output {
    let url = test_env.nats.url();
    let arguments = ["get", key.as_str(), "--attachment", file, "--nats-url", &url];
    Command::new(env!("CARGO_BIN_EXE_sailhand")).args(arguments).output().unwrap()
}

/// Routes, each of which refers to a gateway that is not there.
fn routes(count: usize) -> Value {
    let mut manifest = String::new();
    for number in 0..count {
        let _ = write!(
            manifest,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: route-{number}, namespace: shop}}\n\
             spec: {{hosts: [h{number}.example.com], gateways: [missing-{number}], http: [{{redirect: {{uri: /}}}}]}}\n"
        );
    }
    json!({"live": false, "manifest": manifest})
}

#[tokio::test]
async fn findings_that_do_not_fit_into_the_result_are_all_in_its_attachment() {
    let test_env = WorkerEnv::new().await;
    let _worker = test_env.worker("w1").await;
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("findings.json");
    let file = file.to_str().unwrap();

    let key = test_env.send("dev", "config.analyze", routes(3000)).await;
    let result = test_env.result(&key).await;
    assert_eq!(result.outcome, Outcome::Succeeded, "{:?}", result.error);
    let report = result.report.as_ref().unwrap();
    let (shown, omitted) = (report["findings"].as_array().unwrap(), report["omitted"].as_u64().unwrap());
    assert!(omitted > 0 && !shown.is_empty());

    let output = get(&test_env, &key, file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(all.len() as u64, shown.len() as u64 + omitted);
    assert_eq!(all[..shown.len()], shown[..], "the same, in the same order");
    let missing = all.iter().filter(|one| one["code"] == "IST0101").count();
    assert_eq!(missing, 3000);
    // The same analysis has the same attachment.
    let attachment = client::attachment(&result);
    assert_eq!(client::attachment(&test_env.run("dev", "config.analyze", routes(3000)).await), attachment);

    let key = test_env.send("dev", "config.analyze", routes(1)).await;
    assert!(client::attachment(&test_env.result(&key).await).is_none());
    let output = get(&test_env, &key, "-");
    assert_eq!(output.status.code(), Some(8), "there is none");
    assert!(String::from_utf8_lossy(&output.stderr).contains("its result holds everything"));
}
