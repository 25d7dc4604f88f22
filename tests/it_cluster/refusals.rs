//! What the cluster layer refuses, or is refused, and how it says so; against a real API server.

use crate::support;

use kube::api::DeleteParams;
use sailhand::cluster::Action::{Configured, Created, Recreated, Skipped};
use sailhand::cluster::Error;
use sailhand::cluster::apply::apply;
use sailhand::cluster::delete::DeleteOptions;
use sailhand::error::{Class, Classify, Code};
use sailhand::progress::{Progress, Step};
use serde_json::{Value, json};
use support::cluster_env::{ClusterEnv, actions, dynamic, failure, guard, options, problem};

#[tokio::test]
async fn one_unknown_kind_and_nothing_is_written() {
    let test_env = ClusterEnv::new("unknown").await;
    let known = test_env.config_map("a", json!({}));
    let gadget = json!({
        "apiVersion": "nobody.example.com/v1", "kind": "Gadget",
        "metadata": {"name": "g", "namespace": test_env.namespace},
    });
    let (error, report) = failure(test_env.apply(&[known.clone(), gadget], &options(|_| {})).await);
    assert_eq!((error.code(), error.class()), (Code::SH3004, Class::Rejected));
    assert_eq!(report.objects.len(), 2, "every object is accounted for");
    assert_eq!(report.objects[1].problem.as_ref().unwrap().code, "SH3004");
    assert_eq!((test_env.get(&known).await, test_env.inventory().await), (None, None));
}

#[tokio::test]
async fn a_conflict_names_manager_and_field_and_yields_to_force_only() {
    let test_env = ClusterEnv::new("conflict").await;
    test_env.seed("somebody", &test_env.config_map("a", json!({"k": "theirs"}))).await;
    let set = [test_env.config_map("a", json!({"k": "ours"})), test_env.config_map("b", json!({}))];
    let result = test_env.apply(&set, &options(|_| {})).await;
    assert!(test_env.get(&set[1]).await.is_some(), "the others of the phase are written");
    let (code, message) = problem(result);
    assert_eq!(code, "SH3006");
    assert!(message.contains(".data.k is owned by somebody"), "{message}");
    let forced = test_env.apply(&set, &options(|options| options.force = true)).await.unwrap();
    assert_eq!(actions(&forced)[0], ("a", Configured));
}

#[tokio::test]
async fn anothers_object_is_left_alone_unless_adopted() {
    let test_env = ClusterEnv::new("owned").await;
    let mut theirs = test_env.config_map("a", json!({"k": "v"}));
    theirs["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    theirs["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "web"});
    test_env.seed("helm", &theirs).await;
    let ours = [test_env.config_map("a", json!({"k": "v"}))];
    let (code, message) = problem(test_env.apply(&ours, &options(|_| {})).await);
    assert_eq!(code, "SH3008");
    assert!(message.contains("Helm release web"), "{message}");
    let adopted = test_env.apply(&ours, &options(|options| options.adopt = true)).await.unwrap();
    assert_eq!(actions(&adopted), [("a", Configured)]);

    let mut other = ClusterEnv::new("owned2").await;
    other.namespace.clone_from(&test_env.namespace);
    let (code, message) = problem(other.apply(&ours, &options(|_| {})).await);
    assert_eq!(code, "SH3008", "nor is an object of another installation taken");
    assert!(message.contains("another installation"), "{message}");
}

#[tokio::test]
async fn an_immutable_field_needs_recreate() {
    let test_env = ClusterEnv::new("immutable").await;
    let fixed = |value: &str| {
        let mut map = test_env.config_map("a", json!({"k": value}));
        map["immutable"] = json!(true);
        map
    };
    test_env.apply(&[fixed("1")], &options(|_| {})).await.unwrap();
    let uid = test_env.get(&fixed("1")).await.unwrap()["metadata"]["uid"].clone();
    let (code, _) = problem(test_env.apply(&[fixed("2")], &options(|_| {})).await);
    assert_eq!(code, "SH3007");
    let report = test_env.apply(&[fixed("2")], &options(|options| options.recreate = true)).await.unwrap();
    assert_eq!(actions(&report), [("a", Recreated)]);
    let live = test_env.get(&fixed("2")).await.unwrap();
    assert_eq!(live["data"]["k"], "2");
    assert_ne!(live["metadata"]["uid"], uid);

    let claim = |mode: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim", "namespace": test_env.namespace},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
        })
    };
    let keep = |set: Value| [fixed("2"), set];
    test_env.apply(&keep(claim("ReadWriteOnce")), &options(|_| {})).await.unwrap();
    let before = test_env.get(&claim("")).await.unwrap()["metadata"]["uid"].clone();
    let result = test_env.apply(&keep(claim("ReadWriteMany")), &options(|options| options.recreate = true)).await;
    assert_eq!(problem(result).0, "SH3007", "a claim is never recreated");
    assert_eq!(test_env.get(&claim("")).await.unwrap()["metadata"]["uid"], before);
}

#[tokio::test]
async fn an_older_fence_or_generation_writes_nothing() {
    let test_env = ClusterEnv::new("fence").await;
    let set = |value: &str| [test_env.config_map("a", json!({"k": value}))];
    let generation = |number| options(|options| options.generation = Some(number));
    test_env.apply_as(&test_env.cluster, &set("new"), &generation(5), 9).await.unwrap();
    let inventory = test_env.inventory().await.unwrap();
    let annotations = &inventory["metadata"]["annotations"];
    assert_eq!(annotations["sailhand.meshery.io/fence"], "9");
    assert_eq!(annotations["sailhand.meshery.io/generation"], "5");
    assert_eq!(annotations["applyset.kubernetes.io/contains-group-kinds"], "ConfigMap");

    let (error, _) = failure(test_env.apply_as(&test_env.cluster, &set("old"), &generation(6), 8).await);
    assert_eq!((error.code(), error.class()), (Code::SH3015, Class::LostLease));
    let (error, _) = failure(test_env.apply_as(&test_env.cluster, &set("old"), &generation(4), 10).await);
    assert_eq!((error.code(), error.class()), (Code::SH1011, Class::Superseded));
    assert_eq!(test_env.get(&set("")[0]).await.unwrap()["data"]["k"], "new");

    // A newer generation that changes nothing still has to be remembered, or an older one would undo it later.
    let same = test_env.apply_as(&test_env.cluster, &set("new"), &generation(7), 10).await.unwrap();
    assert!(!same.changed());
    let (error, _) = failure(test_env.apply_as(&test_env.cluster, &set("old"), &generation(6), 11).await);
    assert_eq!(error.code(), Code::SH1011);
}

/// Another worker takes the installation over as soon as the first phase is told.
struct Overtaker<'a>(&'a ClusterEnv);

impl Progress for Overtaker<'_> {
    fn report(&self, step: Step) {
        if step.phase == "apply" && step.done == 1 {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.0.overtake(4)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_where_a_newer_holder_has_written_meanwhile() {
    let test_env = ClusterEnv::new("overtaken").await;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "first", "namespace": test_env.namespace},
    });
    let late = test_env.config_map("late", json!({}));
    let objects = dynamic(&[account, late.clone()]);
    let result =
        apply(&test_env.cluster, &test_env.installation, objects, &options(|_| {}), &guard(3), &Overtaker(&test_env))
            .await;
    let (error, report) = failure(result);
    assert!(matches!(error, Error::Fenced { stored: Some(4), own: 3, .. }), "{error}");
    assert_eq!(actions(&report), [("first", Created), ("late", Skipped)]);
    assert_eq!(test_env.get(&late).await, None);
}

#[tokio::test]
async fn a_stopped_guard_stops_before_the_first_write() {
    let test_env = ClusterEnv::new("stopped").await;
    let map = test_env.config_map("a", json!({}));
    let guard = guard(1);
    guard.lose_lease();
    let objects = dynamic(std::slice::from_ref(&map));
    let result = apply(&test_env.cluster, &test_env.installation, objects, &options(|_| {}), &guard, &()).await;
    assert_eq!(failure(result).0.class(), Class::LostLease);
    assert_eq!(test_env.get(&map).await, None);
}

#[tokio::test]
async fn a_missing_namespace_and_an_unreachable_webhook_have_codes_of_their_own() {
    let test_env = ClusterEnv::new("codes").await;
    let mut lost = test_env.config_map("a", json!({}));
    lost["metadata"]["namespace"] = json!("there-is-no-such-namespace");
    assert_eq!(problem(test_env.apply(&[lost], &options(|_| {})).await).0, "SH3013");

    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": test_env.namespace},
        "webhooks": [{
            "name": "down.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail",
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": test_env.namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}],
        }],
    });
    test_env.seed("test", &hook).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": test_env.namespace},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "late", "namespace": test_env.namespace},
        "spec": {"ports": [{"port": 80}]},
    });
    // The API server learns of a webhook by itself, a moment later.
    let (error, report) =
        support::eventually::eventually("the webhook is called", std::time::Duration::from_secs(20), async || {
            let result = test_env.apply(&[secret.clone(), service.clone()], &options(|_| {})).await;
            if let Ok(report) = &result {
                test_env.delete(None, &DeleteOptions::default()).await.unwrap();
                assert!(report.changed());
            }
            result.err().map(|failure| *failure)
        })
        .await;
    assert_eq!(error.class(), Class::RETRY, "{error}");
    let report = report.unwrap();
    assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH3011");
    assert_eq!(actions(&report)[1], ("late", Skipped), "what comes after a failed phase is named");
    let hooks = test_env.api(&hook).await;
    hooks.delete(&test_env.namespace, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_name_cannot_point_at_another_object() {
    let test_env = ClusterEnv::new("path").await;
    let map = test_env.config_map("a", json!({}));
    test_env.apply(std::slice::from_ref(&map), &options(|_| {})).await.unwrap();
    for name in ["a?x", "a#x", "b/../a", "a%3Fx"] {
        let mut named = map.clone();
        named["metadata"]["name"] = json!(name);
        let _refused_or_absent = test_env.delete(Some(&[named]), &DeleteOptions::default()).await;
        assert!(test_env.get(&map).await.is_some(), "{name}");
    }
}

#[tokio::test]
async fn an_installation_name_that_fits_no_object_is_refused() {
    let mut test_env = ClusterEnv::new("name").await;
    test_env.installation = "Not.A.Label".to_owned();
    let (error, _) = failure(test_env.apply(&[test_env.config_map("a", json!({}))], &options(|_| {})).await);
    assert_eq!(error.code(), Code::SH1005);
}
