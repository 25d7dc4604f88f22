//! A long queue of commands of all targets, a rolling restart, and credentials that are rotated while commands run.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Bench, apply};
use crate::measure::worker::Worker;
use crate::measure::{cpu, memory, quantile, table};
use crate::support::control_plane;

/// Commands between two lines of the table.
const LINES: usize = 10;
/// Commands that run during the rolling restart.
const DURING: usize = 2_000;
/// The API server keeps the answer to a token for 10 s.
const AUTHENTICATED_FOR: Duration = Duration::from_secs(15);

pub async fn measure(targets: usize, workers: usize, slots: usize, commands: usize) {
    let bench = Bench::start(targets).await;
    drain(&bench, workers, slots, commands).await;
    restart(&bench, workers, slots).await;
    rotate(&bench, slots).await;
}

/// All commands are queued before the workers start.
async fn drain(bench: &Bench, workers: usize, slots: usize, commands: usize) {
    bench.fill(&bench.targets, commands, |_| ("ping", json!({}))).await;
    let mut results = bench.results().await;
    let workers = bench.workers(workers, slots).await;
    let ready: Vec<_> = workers.iter().map(|worker| format!("{:.0}", worker.ready_after.as_secs_f64() * 1e3)).collect();
    println!("{commands} queued pings of all targets; the workers were ready after {} ms", ready.join(", "));
    let start = Instant::now();
    let used: Duration = workers.iter().map(|worker| cpu(worker.pid())).sum();
    let mut first: HashMap<String, Duration> = HashMap::new();
    let mut last: HashMap<String, Duration> = HashMap::new();
    let mut rows = vec![["s", "left", "commands/s", "resident MiB, most of a worker"].map(str::to_owned).to_vec()];
    let step = (commands / LINES).max(1);
    let mut since = start;
    for number in 1..=commands {
        let ended = results.next().await;
        first.entry(ended.target.clone()).or_insert(ended.at - start);
        last.insert(ended.target, ended.at - start);
        if number % step == 0 {
            let most = workers.iter().map(|worker| memory(worker.pid(), "VmRSS")).fold(0.0, f64::max);
            let rate = step as f64 / since.elapsed().as_secs_f64();
            let at = start.elapsed().as_secs_f64();
            since = Instant::now();
            rows.push(vec![
                format!("{at:.1}"),
                (commands - number).to_string(),
                format!("{rate:.0}"),
                format!("{most:.1}"),
            ]);
        }
    }
    table(&rows);
    let took = start.elapsed().as_secs_f64();
    let now: Duration = workers.iter().map(|worker| cpu(worker.pid())).sum();
    let each = now.saturating_sub(used).as_secs_f64() * 1e6 / commands as f64;
    let mut first: Vec<_> = first.into_values().collect();
    let mut last: Vec<_> = last.into_values().collect();
    println!(
        "{:.0} commands/s, {each:.0} µs of CPU time of the workers for each. First result of a target: p50 {:.1} s, last target {:.1} s. Last result of a target: first target {:.1} s, last target {:.1} s.\n",
        commands as f64 / took,
        quantile(&mut first, 0.5) / 1e3,
        quantile(&mut first, 1.0) / 1e3,
        quantile(&mut last, 0.0) / 1e3,
        quantile(&mut last, 1.0) / 1e3,
    );
}

/// One worker after the other is stopped and replaced while commands that write are sent.
async fn restart(bench: &Bench, workers: usize, slots: usize) {
    let mut pool = bench.workers(workers, slots).await;
    let mut results = bench.results().await;
    let start = Instant::now();
    let namespace = |number: usize| bench.targets[number % bench.targets.len()].namespace.as_str();
    let sending =
        bench.fill(&bench.targets, DURING, |number| ("config.apply", apply(&format!("r{number}"), namespace(number))));
    let url = bench.server.url();
    let restarting = async {
        let mut taken = Vec::new();
        for _ in 0..workers {
            let begun = Instant::now();
            pool.remove(0).stop().await;
            pool.push(Worker::start_with(&url, &bench.targets, slots).await);
            taken.push(begun.elapsed());
        }
        taken
    };
    let ((), mut taken, all) = tokio::join!(sending, restarting, results.succeeded(DURING));
    println!(
        "rolling restart of {workers} workers: p50 {:.1} s, longest {:.1} s for each; {} commands sent meanwhile all succeeded, within {:.1} s\n",
        quantile(&mut taken, 0.5) / 1e3,
        quantile(&mut taken, 1.0) / 1e3,
        all.len(),
        start.elapsed().as_secs_f64()
    );
}

/// All kubeconfigs get the token of another service account; then the first one is deleted.
async fn rotate(bench: &Bench, slots: usize) {
    let client = client().await;
    let [old, new] = ["old", "new"].map(|name| format!("bench-many-{}-{name}", std::process::id()));
    let write = |token: &str| {
        let mut access: Value =
            serde_saphyr::from_str(&fs::read_to_string(control_plane::kubeconfig()).unwrap()).unwrap();
        access["users"][0]["user"] = json!({ "token": token });
        let text = access.to_string();
        for target in &bench.targets {
            fs::write(&target.kubeconfig, &text).unwrap();
        }
    };
    write(&account(&client, &old).await);
    let _worker = Worker::start_with(&bench.server.url(), &bench.targets, slots).await;
    let mut results = bench.results().await;
    let targets = bench.targets.len();
    let namespace = |number: usize| bench.targets[number % targets].namespace.as_str();
    bench.fill(&bench.targets, targets, |number| ("config.apply", apply("before", namespace(number)))).await;
    results.succeeded(targets).await;
    write(&account(&client, &new).await);
    Api::<ServiceAccount>::default_namespaced(client).delete(&old, &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(AUTHENTICATED_FOR).await;
    let start = Instant::now();
    bench.fill(&bench.targets, targets, |number| ("config.apply", apply("after", namespace(number)))).await;
    results.succeeded(targets).await;
    println!(
        "the credentials of {targets} targets were rotated and the old ones revoked: {targets} commands succeeded without a restart, within {:.1} s\n",
        start.elapsed().as_secs_f64()
    );
}

/// An administrator of the API server.
async fn client() -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(control_plane::kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// The token of a new service account that may do everything.
async fn account(client: &kube::Client, name: &str) -> String {
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "default" }],
    }))
    .unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    let request: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token
}
