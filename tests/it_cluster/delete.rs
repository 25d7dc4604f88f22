//! Deleting from a real API server: order, what is absent, what does not go.

use crate::support;

use std::time::Duration;

use sailhand::cluster::Action::{Absent, Deleted, Failed, Skipped};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::cluster::{Error, ObjectsReport};
use sailhand::error::Classify;
use serde_json::{Value, json};
use support::cluster_env::{ClusterEnv, actions, failure, options, problem};

fn waiting(seconds: u64) -> DeleteOptions {
    DeleteOptions { wait: Some(Duration::from_secs(seconds)), ..DeleteOptions::default() }
}

#[tokio::test]
async fn objects_are_deleted_in_reverse_order_and_the_inventory_last() {
    let test_env = ClusterEnv::new("delete").await;
    let n = &test_env.namespace;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": n}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": n}, "spec": {"ports": [{"port": 80}]},
    });
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": n},
    });
    let set = [hook, account, test_env.config_map("map", json!({})), service];
    test_env.apply(&set, &options(|_| {})).await.unwrap();

    let dry = test_env.delete(None, &DeleteOptions { dry_run: true, ..DeleteOptions::default() }).await.unwrap();
    assert!(dry.dry_run && dry.objects.len() == 4);
    assert!(test_env.get(&set[2]).await.is_some());

    let report = test_env.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [(n.as_str(), Deleted), ("svc", Deleted), ("map", Deleted), ("sa", Deleted)]);
    assert_eq!(test_env.inventory().await, None);
    let again = test_env.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(again, ObjectsReport::default(), "what does not exist is deleted already");
}

#[tokio::test]
async fn named_objects_are_deleted_and_absent_ones_ignored() {
    let test_env = ClusterEnv::new("some").await;
    let maps: Vec<Value> = ["a", "b"].iter().map(|name| test_env.config_map(name, json!({}))).collect();
    test_env.apply(&maps, &options(|_| {})).await.unwrap();
    let unknown = json!({
        "apiVersion": "nobody.example.com/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": test_env.namespace},
    });
    let named = [maps[0].clone(), test_env.config_map("never", json!({})), unknown];
    let report = test_env.delete(Some(&named), &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("never", Absent), ("g", Absent), ("a", Deleted)]);
    assert_eq!(test_env.members().await, ["b"]);
    let again = test_env.delete(Some(&named), &waiting(30)).await.unwrap();
    assert!(!again.changed());
}

#[tokio::test]
async fn others_objects_stay() {
    let test_env = ClusterEnv::new("foreign").await;
    let mut theirs = test_env.config_map("theirs", json!({}));
    theirs["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    test_env.seed("argo", &theirs).await;
    let (code, message) = problem(test_env.delete(Some(std::slice::from_ref(&theirs)), &waiting(30)).await);
    assert_eq!(code, "SH3008");
    assert!(message.contains("Argo CD application shop"), "{message}");
    let adopt = DeleteOptions { adopt: true, ..waiting(30) };
    test_env.delete(Some(std::slice::from_ref(&theirs)), &adopt).await.unwrap();
    assert_eq!(test_env.get(&theirs).await, None);

    let ours = test_env.config_map("ours", json!({}));
    test_env.apply(std::slice::from_ref(&ours), &options(|_| {})).await.unwrap();
    let mut given_away = ours.clone();
    given_away["metadata"]["labels"] = json!({"applyset.kubernetes.io/part-of": "applyset-other-v1"});
    test_env.seed("other", &given_away).await;
    let report = test_env.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("ours", Skipped)], "it belongs to the other set now");
    assert!(test_env.get(&ours).await.is_some());
    assert_eq!(test_env.inventory().await, None);
}

#[tokio::test]
async fn object_with_finalizer_is_reported_and_stays_in_the_inventory() {
    let test_env = ClusterEnv::new("held").await;
    let mut held = test_env.config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let free = test_env.config_map("free", json!({}));
    test_env.apply(&[held.clone(), free.clone()], &options(|_| {})).await.unwrap();
    let (error, report) = failure(test_env.delete(None, &waiting(1)).await);
    assert!(matches!(error, Error::SomeFailed { failed: 1, .. }), "{error}");
    assert!(error.class().as_str() == "terminal");
    let line = report.objects.iter().find(|line| line.action == Failed).unwrap();
    let problem = line.problem.as_ref().unwrap();
    assert_eq!((line.object.name.as_str(), problem.code.as_str()), ("held", "SH3019"));
    assert!(problem.message.contains("example.com/hold"), "{}", problem.message);
    assert_eq!(test_env.members().await, ["held"]);

    held["metadata"]["finalizers"] = json!([]);
    test_env.seed("sailhand", &held).await;
    test_env.delete(None, &waiting(30)).await.unwrap();
    assert_eq!((test_env.get(&held).await, test_env.inventory().await), (None, None));
}

#[tokio::test]
async fn after_a_deletion_with_a_generation_an_older_command_brings_nothing_back() {
    let test_env = ClusterEnv::new("delete-generation").await;
    let set = [test_env.config_map("map", json!({}))];
    let generation = |number| options(|options| options.generation = Some(number));
    let deletion = |number| DeleteOptions { generation: Some(number), ..waiting(30) };
    // Also when the deletion comes first of all.
    for (delete, older) in [(2, 1), (5, 4)] {
        test_env.delete(None, &deletion(delete)).await.unwrap();
        assert_eq!(test_env.get(&set[0]).await, None);
        let (error, _) = failure(test_env.apply(&set, &generation(older)).await);
        assert_eq!(error.code().as_str(), "SH1011", "{error}");
        test_env.apply(&set, &generation(delete + 1)).await.unwrap();
    }
    test_env.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(test_env.inventory().await, None, "without a generation nothing stays");
}

/// An operator removes its finalizer while it runs; here the test does, as soon as the object is being deleted.
struct Operator<'a> {
    test_env: &'a ClusterEnv,
    bucket: Value,
    workload: Value,
    blocked: std::sync::Mutex<Vec<String>>,
}

impl sailhand::progress::Progress for Operator<'_> {
    fn report(&self, step: sailhand::progress::Step) {
        if !step.message.contains("/photos, blocked by finalizers") {
            return;
        }
        self.blocked.lock().unwrap().push(step.message);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let live = self.test_env.get(&self.workload).await.expect("the operator outlives its objects");
                assert!(live["metadata"]["deletionTimestamp"].is_null());
                self.test_env.release(&self.bucket).await;
            });
        });
    }
}

fn operator(test_env: &ClusterEnv) -> [Value; 4] {
    let group = format!("{}.example.com", test_env.namespace);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("buckets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Bucket", "plural": "buckets"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
        ]},
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": test_env.namespace},
    });
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "operator", "namespace": test_env.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "o"}}, "template": {
            "metadata": {"labels": {"app": "o"}}, "spec": {"containers": [{"name": "o", "image": "o:1"}]},
        }},
    });
    let bucket = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Bucket",
        "metadata": {"name": "photos", "namespace": test_env.namespace, "finalizers": ["example.com/empty-first"]},
    });
    [crd, account, workload, bucket]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_outlives_the_objects_whose_finalizers_it_removes() {
    for wait in [Some(Duration::from_secs(30)), None] {
        let test_env = ClusterEnv::new("operator").await;
        let set = operator(&test_env);
        let [crd, account, workload, bucket] = set.clone();
        test_env.apply(&set, &options(|_| {})).await.unwrap();
        let progress = Operator {
            test_env: &test_env,
            bucket: bucket.clone(),
            workload: workload.clone(),
            blocked: std::sync::Mutex::default(),
        };
        let purge = DeleteOptions { purge: true, wait, ..DeleteOptions::default() };
        let guard = support::cluster_env::guard(1);
        let report = sailhand::cluster::delete::delete(
            &test_env.cluster,
            &test_env.installation,
            None,
            &purge,
            &guard,
            &progress,
        )
        .await;
        assert_eq!(report.unwrap().objects.iter().filter(|line| line.action == Deleted).count(), 4);
        let blocked = progress.blocked.lock().unwrap().join("; ");
        assert!(blocked.contains("Bucket") && blocked.contains("example.com/empty-first"), "{blocked}");
        for gone in [bucket, workload, account] {
            assert_eq!(test_env.get(&gone).await, None);
        }
        if wait.is_some() {
            assert_eq!(test_env.get(&crd).await, None);
        }
    }
}

#[tokio::test]
async fn later_phases_stay_while_an_object_of_an_earlier_one_does() {
    let test_env = ClusterEnv::new("phases").await;
    let [crd, account, workload, bucket] = operator(&test_env);
    test_env.apply(&[crd.clone(), account.clone(), workload.clone(), bucket.clone()], &options(|_| {})).await.unwrap();
    let (_, report) = failure(test_env.delete(None, &DeleteOptions { purge: true, ..waiting(1) }).await);
    assert_eq!(report.objects.len(), 4, "every object has its line");
    for line in &report.objects {
        let expected = if line.object.kind == "Bucket" { Failed } else { Skipped };
        assert_eq!(line.action, expected, "{}", line.object);
    }
    assert!(report.objects[1].reason.as_ref().unwrap().contains("Bucket"), "{report:?}");
    for there in [&crd, &account, &workload] {
        let live = test_env.get(there).await.unwrap();
        assert!(live["metadata"]["deletionTimestamp"].is_null());
    }
    assert_eq!(test_env.members().await.len(), 4);

    // Pruning goes the same way.
    let brief = options(|options| options.wait = Some(Duration::from_secs(1)));
    let (_, report) = failure(test_env.apply(&[crd.clone(), account.clone()], &brief).await);
    let line = report.objects.iter().find(|line| line.object.kind == "Deployment").unwrap();
    assert_eq!(line.action, Skipped);
    assert!(test_env.get(&workload).await.is_some());
    test_env.release(&bucket).await;
    test_env.delete(None, &DeleteOptions { purge: true, ..waiting(30) }).await.unwrap();
    assert_eq!(test_env.inventory().await, None);
}

#[tokio::test]
async fn only_objects_of_the_installation_are_deleted() {
    let test_env = ClusterEnv::new("owns").await;
    let nobodys = test_env.config_map("nobodys", json!({}));
    test_env.seed("somebody", &nobodys).await;
    let report = test_env.delete(Some(std::slice::from_ref(&nobodys)), &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("nobodys", Skipped)]);
    assert!(report.objects[0].reason.as_ref().unwrap().contains("adopt"), "{report:?}");
    assert!(test_env.get(&nobodys).await.is_some());
}

#[tokio::test]
async fn namespaces_crds_and_claims_stay_unless_purged() {
    let test_env = ClusterEnv::new("purge").await;
    let [crd, ..] = operator(&test_env);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "namespace": test_env.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let place = format!("{}-own", test_env.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}});
    let map = test_env.config_map("map", json!({}));
    let precious = [crd, claim, namespace];
    let set = [&precious[..], std::slice::from_ref(&map)].concat();
    test_env.apply(&set, &options(|_| {})).await.unwrap();
    for named in [None, Some(&set[..])] {
        let report = test_env.delete(named, &waiting(30)).await.unwrap();
        let kept: Vec<_> = report.objects.iter().filter(|line| line.action == Skipped).collect();
        assert_eq!(kept.len(), 3, "{:?}", actions(&report));
        assert!(kept.iter().all(|line| line.reason.as_ref().unwrap().contains("purge")), "{kept:?}");
    }
    assert_eq!(test_env.get(&map).await, None);
    assert_eq!(test_env.members().await.len(), 3, "the installation still has them");
    // Without `wait`: how soon a namespace goes depends on all kinds of the cluster.
    test_env.delete(None, &DeleteOptions { purge: true, ..DeleteOptions::default() }).await.unwrap();
    for gone in &precious {
        let live = test_env.get(gone).await;
        assert!(live.is_none_or(|live| !live["metadata"]["deletionTimestamp"].is_null()), "{gone}");
    }
    assert_eq!(test_env.inventory().await, None);
}
