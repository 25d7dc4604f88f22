//! Applying to a real API server: what is written, what is not, and what goes.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sailhand::cluster::Action::{Configured, Created, Pruned, Skipped, Unchanged};
use sailhand::cluster::delete::DeleteOptions;
use serde_json::{Value, json};
use support::api_proxy::ApiProxy;
use support::cluster_env::{ClusterEnv, actions, options, problem};
use support::eventually::eventually;

fn deployment(namespace: &str, image: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [{
                    "name": "web", "image": image, "ports": [{"containerPort": 8080}, {"containerPort": 8081}],
                    "env": [{"name": "B", "value": "1"}, {"name": "A", "value": "$(B)"}],
                    "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        }},
        // As a dump of a live object has it; only the cluster may say that.
        "status": {"replicas": 7},
    })
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "x", "port": 81}]},
    })
}

#[tokio::test]
async fn unchanged_objects_are_neither_written_nor_dry_run() {
    let test_env = ClusterEnv::new("apply").await;
    let n = &test_env.namespace;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": n}, "stringData": {"a": "b"},
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": n},
    });
    // Enough of a kind that they are listed, few enough of the others that they are read one by one.
    let mut set = vec![deployment(n, "i:1", "500m"), service(n), secret, account];
    set.extend((0..5).map(|i| test_env.config_map(&format!("c{i}"), json!({"k": i.to_string()}))));
    let first = test_env.apply(&set, &options(|_| {})).await.unwrap();
    assert!(first.objects.iter().all(|line| line.action == Created), "{:?}", actions(&first));
    let kinds: Vec<_> = first.objects.iter().map(|line| line.object.kind.as_str()).collect();
    assert_eq!(kinds[0], "ServiceAccount");
    assert_eq!(kinds[7..], ["Service", "Deployment"]);

    // A reader, who may not even send a dry run, gets the same answer.
    let before = test_env.inventory().await;
    let reader = test_env.limited(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}])).await;
    let again = test_env.apply_as(&reader, &set, &options(|_| {}), 1).await.unwrap();
    assert!(again.objects.iter().all(|line| line.action == Unchanged), "{:?}", actions(&again));
    assert!(!again.changed());
    assert_eq!(test_env.inventory().await, before);
}

#[tokio::test]
async fn undecided_differences_are_dry_run_and_not_written() {
    let test_env = ClusterEnv::new("ask").await;
    // Half a CPU is stored as `500m`.
    let set = [deployment(&test_env.namespace, "i:1", "0.5")];
    test_env.apply(&set, &options(|_| {})).await.unwrap();
    let before = (test_env.get(&set[0]).await.unwrap()["metadata"]["generation"].clone(), test_env.inventory().await);
    let again = test_env.apply(&set, &options(|_| {})).await.unwrap();
    assert_eq!(actions(&again), [("web", Unchanged)]);
    let after = (test_env.get(&set[0]).await.unwrap()["metadata"]["generation"].clone(), test_env.inventory().await);
    assert_eq!(before, after);
}

/// Data, labels and images decide by `managedFields`: each changed object costs one request beside the reads.
#[tokio::test]
async fn a_change_of_many_objects_costs_one_write_each() {
    let test_env = ClusterEnv::new("many").await;
    let set = |value: &str| {
        let mut set: Vec<_> = (0..30).map(|i| test_env.config_map(&format!("c{i}"), json!({"k": value}))).collect();
        set.extend((0..5).map(|i| {
            let mut web = deployment(&test_env.namespace, &format!("i:{value}"), "500m");
            web["metadata"]["name"] = json!(format!("web-{i}"));
            web["spec"]["replicas"] = json!(0);
            web
        }));
        set
    };
    test_env.apply(&set("1"), &options(|_| {})).await.unwrap();
    let record = support::api_proxy::Record::default();
    let proxy = ApiProxy::start("many", support::control_plane::kubeconfig(), Arc::clone(&record)).await;
    let cluster = test_env.through(&proxy).await;
    let dry_runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dry_runs);
    proxy.answer(move |_, query| {
        count.fetch_add(usize::from(query.contains("dryRun=")), Ordering::Relaxed);
        None
    });
    let report = test_env.apply_as(&cluster, &set("2"), &options(|_| {}), 1).await.unwrap();
    assert!(report.objects.iter().all(|line| line.action == Configured), "{:?}", actions(&report));
    assert_eq!(dry_runs.load(Ordering::Relaxed), 0);
    assert_eq!(record.lock().unwrap().len(), 35 + 1, "the objects and the inventory");
}

#[tokio::test]
async fn empty_map_does_not_claim_entries_of_others() {
    let test_env = ClusterEnv::new("empty").await;
    let mut web = deployment(&test_env.namespace, "web:1", "1");
    web["metadata"]["annotations"] = json!({});
    web["spec"]["template"]["metadata"]["annotations"] = json!({});
    let report = test_env.apply(&[web.clone()], &options(|_| {})).await.unwrap();
    assert_eq!(actions(&report), [("web", Created)]);
    eventually("the Deployment's controller has written its annotation", Duration::from_secs(20), async || {
        test_env.get(&web).await.unwrap()["metadata"]["annotations"].is_object().then_some(())
    })
    .await;
    let report = test_env.apply(&[web], &options(|_| {})).await.unwrap();
    assert_eq!(actions(&report), [("web", Unchanged)]);
}

#[tokio::test]
async fn changes_are_written_and_removed_objects_are_pruned() {
    let test_env = ClusterEnv::new("prune").await;
    let (a, b) = (test_env.config_map("a", json!({"x": "1", "y": "1"})), test_env.config_map("b", json!({})));
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "namespace": test_env.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let mut kept = test_env.config_map("kept", json!({}));
    kept["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    test_env.apply(&[a.clone(), b.clone(), claim.clone(), kept.clone()], &options(|_| {})).await.unwrap();
    assert_eq!(test_env.members().await, ["a", "b", "kept", "claim"]);

    let a2 = test_env.config_map("a", json!({"x": "2"}));
    let report = test_env.apply(std::slice::from_ref(&a2), &options(|_| {})).await.unwrap();
    assert_eq!(actions(&report), [("a", Configured), ("kept", Skipped), ("claim", Skipped), ("b", Pruned)]);
    assert_eq!(test_env.get(&a).await.unwrap()["data"], json!({"x": "2"}), "a key that left the set is gone");
    assert_eq!(test_env.get(&b).await, None);
    assert!(test_env.get(&claim).await.is_some() && test_env.get(&kept).await.is_some());
    assert_eq!(test_env.members().await, ["a", "kept", "claim"]);

    let again = test_env.apply(&[a2], &options(|_| {})).await.unwrap();
    assert!(!again.changed());
}

#[tokio::test]
async fn fields_of_others_remain_and_removed_own_fields_are_deleted() {
    let test_env = ClusterEnv::new("fields").await;
    let both = test_env.config_map("a", json!({"ours": "1", "also": "1"}));
    test_env.apply(std::slice::from_ref(&both), &options(|_| {})).await.unwrap();
    test_env.seed("other", &test_env.config_map("a", json!({"theirs": "1"}))).await;
    let again = test_env.apply(std::slice::from_ref(&both), &options(|_| {})).await.unwrap();
    assert_eq!(actions(&again), [("a", Unchanged)], "another's field is no difference");
    test_env.apply(&[test_env.config_map("a", json!({"ours": "1"}))], &options(|_| {})).await.unwrap();
    assert_eq!(test_env.get(&both).await.unwrap()["data"], json!({"ours": "1", "theirs": "1"}));
    // Somebody takes a field away from us: that is drift, and mended.
    test_env.seed("other", &test_env.config_map("a", json!({"ours": "changed"}))).await;
    let force = options(|options| options.force = true);
    let mended = test_env.apply(&[test_env.config_map("a", json!({"ours": "1"}))], &force).await.unwrap();
    assert_eq!(actions(&mended), [("a", Configured)]);
}

#[tokio::test]
async fn crd_and_its_objects_are_applied_together() {
    let test_env = ClusterEnv::new("crd").await;
    let group = format!("{}.example.com", test_env.namespace);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
            }}}]},
    });
    let gadget = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Gadget",
        "metadata": {"name": "g", "namespace": test_env.namespace}, "spec": {"size": 3},
    });
    let set = [gadget.clone(), crd.clone()];

    let dry = test_env.apply(&set, &options(|options| options.dry_run = true)).await.unwrap();
    assert_eq!(actions(&dry), [(crd["metadata"]["name"].as_str().unwrap(), Created), ("g", Created)]);
    assert_eq!(test_env.get(&crd).await, None, "a dry run writes nothing");

    let report = test_env.apply(&set, &options(|options| options.wait = Some(Duration::from_secs(30)))).await.unwrap();
    assert!(report.objects.iter().all(|line| line.action == Created));
    assert_eq!(test_env.get(&gadget).await.unwrap()["spec"]["size"], 3);
    let again = test_env.apply(&set, &options(|_| {})).await.unwrap();
    assert!(!again.changed(), "{:?}", actions(&again));

    let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
    let gone = test_env.delete(None, &purge).await.unwrap();
    assert_eq!(actions(&gone)[0].0, "g", "objects go before their kind");
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let test_env = ClusterEnv::new("dry").await;
    let dry = options(|options| {
        options.dry_run = true;
        options.create_namespace = true;
    });
    let mut elsewhere = test_env.config_map("new", json!({}));
    let missing = format!("{}-missing", test_env.namespace);
    elsewhere["metadata"]["namespace"] = json!(missing);
    let report = test_env.apply(&[elsewhere], &dry).await.unwrap();
    assert_eq!(actions(&report), [(missing.as_str(), Created), ("new", Created)]);
    assert!(report.dry_run && test_env.inventory().await.is_none());

    let secret = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "s", "namespace": test_env.namespace}, "stringData": {"password": value},
        })
    };
    let old = test_env.config_map("old", json!({}));
    test_env
        .apply(&[deployment(&test_env.namespace, "i:1", "1"), secret("before"), old.clone()], &options(|_| {}))
        .await
        .unwrap();
    let before = test_env.inventory().await;
    let set = [deployment(&test_env.namespace, "i:2", "1"), secret("after")];
    let report = test_env.apply(&set, &dry).await.unwrap();
    assert_eq!(actions(&report), [("s", Configured), ("web", Configured), ("old", Pruned)]);
    let web = &report.objects[1].diff;
    assert_eq!(web.len(), 1, "{web:?}");
    assert_eq!(web[0].path, "spec.template.spec.containers[name=web].image");
    assert_eq!((&web[0].from, &web[0].to), (&Some(json!("i:1")), &Some(json!("i:2"))));
    assert_eq!(report.objects[0].diff[0].path, "data.password");
    assert_eq!(report.objects[0].diff[0].to, Some(json!("(redacted)")));
    assert_eq!(test_env.inventory().await, before);
    assert!(test_env.get(&old).await.is_some());
}

#[tokio::test]
async fn namespaces_are_respected_defaulted_and_created_on_request() {
    let test_env = ClusterEnv::new("place").await;
    let mut anywhere = test_env.config_map("a", json!({}));
    anywhere["metadata"].as_object_mut().unwrap().remove("namespace");
    let new = format!("{}-new", test_env.namespace);
    let own = test_env.config_map("own", json!({}));
    let report = test_env
        .apply(
            &[anywhere, own],
            &options(|options| {
                options.namespace = Some(new.clone());
                options.create_namespace = true;
            }),
        )
        .await
        .unwrap();
    let places: Vec<_> = report.objects.iter().map(|line| line.object.to_string()).collect();
    assert_eq!(
        places,
        [format!("Namespace {new}"), format!("ConfigMap {new}/a"), format!("ConfigMap {}/own", test_env.namespace)]
    );
    assert_eq!(test_env.members().await, ["own", "a"], "a created namespace is no member");
}

#[tokio::test]
async fn pruned_object_that_is_not_deleted_stays_in_the_inventory() {
    let test_env = ClusterEnv::new("stuck").await;
    let mut held = test_env.config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let stays = test_env.config_map("stays", json!({}));
    test_env.apply(&[held.clone(), stays.clone()], &options(|_| {})).await.unwrap();
    let brief = options(|options| options.wait = Some(Duration::from_secs(1)));
    let (code, message) = problem(test_env.apply(std::slice::from_ref(&stays), &brief).await);
    assert_eq!(code, "SH3019");
    assert!(message.contains("blocked by finalizers example.com/hold"), "{message}");
    assert_eq!(test_env.members().await, ["held", "stays"]);

    held["metadata"]["finalizers"] = json!([]);
    test_env.seed("sailhand", &held).await;
    let report = test_env.apply(&[stays], &brief).await.unwrap();
    assert!(!report.changed(), "it went by itself: {:?}", actions(&report));
    assert_eq!(test_env.members().await, ["stays"]);
}
