//! Deleting from a real API server: order, what is absent, what does not go.

use crate::support;

use std::time::Duration;

use sailhand::cluster::Action::{Absent, Deleted, Failed, Skipped};
use sailhand::cluster::delete::DeleteOptions;
use sailhand::cluster::{Error, ObjectsReport};
use sailhand::error::Classify;
use serde_json::{Value, json};
use support::site::{Site, actions, failure, options, problem};

fn waiting(seconds: u64) -> DeleteOptions {
    DeleteOptions { wait: Some(Duration::from_secs(seconds)), ..DeleteOptions::default() }
}

#[tokio::test]
async fn everything_goes_in_reverse_order_and_the_inventory_last() {
    let site = Site::new("delete").await;
    let n = &site.namespace;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": n}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": n}, "spec": {"ports": [{"port": 80}]},
    });
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": n},
    });
    let set = [hook, account, site.config_map("map", json!({})), service];
    site.apply(&set, &options(|_| {})).await.unwrap();

    let dry = site.delete(None, &DeleteOptions { dry_run: true, ..DeleteOptions::default() }).await.unwrap();
    assert!(dry.dry_run && dry.objects.len() == 4);
    assert!(site.get(&set[2]).await.is_some());

    let report = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [(n.as_str(), Deleted), ("svc", Deleted), ("map", Deleted), ("sa", Deleted)]);
    assert_eq!(site.inventory().await, None);
    let again = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(again, ObjectsReport::default(), "what does not exist is deleted already");
}

#[tokio::test]
async fn only_the_named_objects_go_and_absent_ones_are_fine() {
    let site = Site::new("some").await;
    let maps: Vec<Value> = ["a", "b"].iter().map(|name| site.config_map(name, json!({}))).collect();
    site.apply(&maps, &options(|_| {})).await.unwrap();
    let unknown = json!({
        "apiVersion": "nobody.example.com/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": site.namespace},
    });
    let named = [maps[0].clone(), site.config_map("never", json!({})), unknown];
    let report = site.delete(Some(&named), &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("never", Absent), ("g", Absent), ("a", Deleted)]);
    assert_eq!(site.members().await, ["b"]);
    let again = site.delete(Some(&named), &waiting(30)).await.unwrap();
    assert!(!again.changed());
}

#[tokio::test]
async fn others_objects_stay() {
    let site = Site::new("foreign").await;
    let mut theirs = site.config_map("theirs", json!({}));
    theirs["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    site.seed("argo", &theirs).await;
    let (code, message) = problem(site.delete(Some(std::slice::from_ref(&theirs)), &waiting(30)).await);
    assert_eq!(code, "SH3008");
    assert!(message.contains("Argo CD application shop"), "{message}");
    let adopt = DeleteOptions { adopt: true, ..waiting(30) };
    site.delete(Some(std::slice::from_ref(&theirs)), &adopt).await.unwrap();
    assert_eq!(site.get(&theirs).await, None);

    let ours = site.config_map("ours", json!({}));
    site.apply(std::slice::from_ref(&ours), &options(|_| {})).await.unwrap();
    let mut given_away = ours.clone();
    given_away["metadata"]["labels"] = json!({"applyset.kubernetes.io/part-of": "applyset-other-v1"});
    site.seed("other", &given_away).await;
    let report = site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("ours", Skipped)], "it belongs to the other set now");
    assert!(site.get(&ours).await.is_some());
    assert_eq!(site.inventory().await, None);
}

#[tokio::test]
async fn what_a_finalizer_holds_is_named_and_stays_in_the_inventory() {
    let site = Site::new("held").await;
    let mut held = site.config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let free = site.config_map("free", json!({}));
    site.apply(&[held.clone(), free.clone()], &options(|_| {})).await.unwrap();
    let (error, report) = failure(site.delete(None, &waiting(1)).await);
    assert!(matches!(error, Error::SomeFailed { failed: 1, .. }), "{error}");
    assert!(error.class().as_str() == "terminal");
    let line = report.objects.iter().find(|line| line.action == Failed).unwrap();
    let problem = line.problem.as_ref().unwrap();
    assert_eq!((line.object.name.as_str(), problem.code.as_str()), ("held", "SH3019"));
    assert!(problem.message.contains("example.com/hold"), "{}", problem.message);
    assert_eq!(site.members().await, ["held"]);

    held["metadata"]["finalizers"] = json!([]);
    site.seed("sailhand", &held).await;
    site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!((site.get(&held).await, site.inventory().await), (None, None));
}

#[tokio::test]
async fn after_a_deletion_with_a_generation_an_older_command_brings_nothing_back() {
    let site = Site::new("delete-generation").await;
    let set = [site.config_map("map", json!({}))];
    let generation = |number| options(|options| options.generation = Some(number));
    let deletion = |number| DeleteOptions { generation: Some(number), ..waiting(30) };
    // Also when the deletion comes first of all.
    for (delete, older) in [(2, 1), (5, 4)] {
        site.delete(None, &deletion(delete)).await.unwrap();
        assert_eq!(site.get(&set[0]).await, None);
        let (error, _) = failure(site.apply(&set, &generation(older)).await);
        assert_eq!(error.code().as_str(), "SH1011", "{error}");
        site.apply(&set, &generation(delete + 1)).await.unwrap();
    }
    site.delete(None, &waiting(30)).await.unwrap();
    assert_eq!(site.inventory().await, None, "without a generation nothing stays");
}

/// An operator removes its finalizer while it runs; here the test does, as soon as the object is being deleted.
struct Operator<'a> {
    site: &'a Site,
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
                let live = self.site.get(&self.workload).await.expect("the operator outlives its objects");
                assert!(live["metadata"]["deletionTimestamp"].is_null());
                self.site.release(&self.bucket).await;
            });
        });
    }
}

fn operator(site: &Site) -> [Value; 4] {
    let group = format!("{}.example.com", site.namespace);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("buckets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Bucket", "plural": "buckets"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
        ]},
    });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": site.namespace},
    });
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "operator", "namespace": site.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "o"}}, "template": {
            "metadata": {"labels": {"app": "o"}}, "spec": {"containers": [{"name": "o", "image": "o:1"}]},
        }},
    });
    let bucket = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Bucket",
        "metadata": {"name": "photos", "namespace": site.namespace, "finalizers": ["example.com/empty-first"]},
    });
    [crd, account, workload, bucket]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_outlives_the_objects_whose_finalizers_it_removes() {
    for wait in [Some(Duration::from_secs(30)), None] {
        let site = Site::new("operator").await;
        let set = operator(&site);
        let [crd, account, workload, bucket] = set.clone();
        site.apply(&set, &options(|_| {})).await.unwrap();
        let progress = Operator {
            site: &site,
            bucket: bucket.clone(),
            workload: workload.clone(),
            blocked: std::sync::Mutex::default(),
        };
        let purge = DeleteOptions { purge: true, wait, ..DeleteOptions::default() };
        let guard = support::site::guard(1);
        let report =
            sailhand::cluster::delete::delete(&site.cluster, &site.installation, None, &purge, &guard, &progress).await;
        assert_eq!(report.unwrap().objects.iter().filter(|line| line.action == Deleted).count(), 4);
        let blocked = progress.blocked.lock().unwrap().join("; ");
        assert!(blocked.contains("Bucket") && blocked.contains("example.com/empty-first"), "{blocked}");
        for gone in [bucket, workload, account] {
            assert_eq!(site.get(&gone).await, None);
        }
        if wait.is_some() {
            assert_eq!(site.get(&crd).await, None);
        }
    }
}

#[tokio::test]
async fn later_phases_stay_while_an_object_of_an_earlier_one_does() {
    let site = Site::new("phases").await;
    let [crd, account, workload, bucket] = operator(&site);
    site.apply(&[crd.clone(), account.clone(), workload.clone(), bucket.clone()], &options(|_| {})).await.unwrap();
    let (_, report) = failure(site.delete(None, &DeleteOptions { purge: true, ..waiting(1) }).await);
    assert_eq!(report.objects.len(), 4, "every object has its line");
    for line in &report.objects {
        let expected = if line.object.kind == "Bucket" { Failed } else { Skipped };
        assert_eq!(line.action, expected, "{}", line.object);
    }
    assert!(report.objects[1].reason.as_ref().unwrap().contains("Bucket"), "{report:?}");
    for there in [&crd, &account, &workload] {
        let live = site.get(there).await.unwrap();
        assert!(live["metadata"]["deletionTimestamp"].is_null());
    }
    assert_eq!(site.members().await.len(), 4);

    // Pruning goes the same way.
    let brief = options(|options| options.wait = Some(Duration::from_secs(1)));
    let (_, report) = failure(site.apply(&[crd.clone(), account.clone()], &brief).await);
    let line = report.objects.iter().find(|line| line.object.kind == "Deployment").unwrap();
    assert_eq!(line.action, Skipped);
    assert!(site.get(&workload).await.is_some());
    site.release(&bucket).await;
    site.delete(None, &DeleteOptions { purge: true, ..waiting(30) }).await.unwrap();
    assert_eq!(site.inventory().await, None);
}

#[tokio::test]
async fn only_what_the_installation_owns_is_deleted() {
    let site = Site::new("owns").await;
    let nobodys = site.config_map("nobodys", json!({}));
    site.seed("somebody", &nobodys).await;
    let report = site.delete(Some(std::slice::from_ref(&nobodys)), &waiting(30)).await.unwrap();
    assert_eq!(actions(&report), [("nobodys", Skipped)]);
    assert!(report.objects[0].reason.as_ref().unwrap().contains("adopt"), "{report:?}");
    assert!(site.get(&nobodys).await.is_some());
}

#[tokio::test]
async fn namespaces_crds_and_claims_stay_unless_purged() {
    let site = Site::new("purge").await;
    let [crd, ..] = operator(&site);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "namespace": site.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let place = format!("{}-own", site.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}});
    let map = site.config_map("map", json!({}));
    let precious = [crd, claim, namespace];
    let set = [&precious[..], std::slice::from_ref(&map)].concat();
    site.apply(&set, &options(|_| {})).await.unwrap();
    for named in [None, Some(&set[..])] {
        let report = site.delete(named, &waiting(30)).await.unwrap();
        let kept: Vec<_> = report.objects.iter().filter(|line| line.action == Skipped).collect();
        assert_eq!(kept.len(), 3, "{:?}", actions(&report));
        assert!(kept.iter().all(|line| line.reason.as_ref().unwrap().contains("purge")), "{kept:?}");
    }
    assert_eq!(site.get(&map).await, None);
    assert_eq!(site.members().await.len(), 3, "the installation still has them");
    // Without `wait`: how soon a namespace goes depends on all kinds of the cluster.
    site.delete(None, &DeleteOptions { purge: true, ..DeleteOptions::default() }).await.unwrap();
    for gone in &precious {
        let live = site.get(gone).await;
        assert!(live.is_none_or(|live| !live["metadata"]["deletionTimestamp"].is_null()), "{gone}");
    }
    assert_eq!(site.inventory().await, None);
}
