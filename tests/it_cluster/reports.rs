//! Inputs of public reports about Flux, Argo CD, Helm and kubectl, each with the answer that its author expected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sailhand::cluster::Action::{Absent, Configured, Created, Unchanged};
use sailhand::cluster::ApplyOptions;
use sailhand::cluster::delete::DeleteOptions;
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};

use crate::support::api_proxy::{ApiProxy, Record};
use crate::support::cluster_env::{ClusterEnv, actions, failure, options, problem};
use crate::support::control_plane;
use crate::support::eventually::eventually;

const SOON: Duration = Duration::from_secs(20);

fn definition(test_env: &ClusterEnv, spec: &Value) -> Value {
    let group = format!("{}.example.com", test_env.namespace);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("knobs.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Knob", "plural": "knobs"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec},
            }}}],
        },
    })
}

fn knob(test_env: &ClusterEnv, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{}.example.com/v1", test_env.namespace), "kind": "Knob",
        "metadata": {"name": name, "namespace": test_env.namespace}, "spec": spec,
    })
}

fn deployment(test_env: &ClusterEnv, pod: Value) -> Value {
    let mut pod = pod;
    pod["containers"] = json!([{"name": "app", "image": "registry.example/app:1"}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": pod,
        }},
    })
}

async fn applied(test_env: &ClusterEnv, set: &[Value], options: &ApplyOptions) -> Vec<sailhand::cluster::Action> {
    test_env.apply(set, options).await.unwrap().objects.iter().map(|line| line.action).collect()
}

/// The release adds a field to a CRD and uses it.
#[tokio::test]
async fn a_field_that_the_set_adds_to_a_crd_can_be_used_in_the_same_set() {
    let test_env = ClusterEnv::new("new-field").await;
    let text = json!({"type": "string"});
    let fields = |properties: Value| json!({"type": "object", "properties": properties});
    let before = [definition(&test_env, &fields(json!({"a": text}))), knob(&test_env, "k", &json!({"a": "x"}))];
    test_env.apply(&before, &options(|_| {})).await.unwrap();

    let after = [
        definition(&test_env, &fields(json!({"a": text, "b": text}))),
        knob(&test_env, "k", &json!({"a": "x", "b": "y"})),
        knob(&test_env, "l", &json!({"b": "z"})),
    ];
    let dry = applied(&test_env, &after, &options(|options| options.dry_run = true)).await;
    assert_eq!(dry, [Configured, Configured, Created]);
    assert_eq!(applied(&test_env, &after, &options(|_| {})).await, [Configured, Configured, Created]);
    assert_eq!(test_env.get(&after[1]).await.unwrap()["spec"], json!({"a": "x", "b": "y"}));
    assert_eq!(applied(&test_env, &after, &options(|_| {})).await, [Unchanged, Unchanged, Unchanged]);

    let wrong = [definition(&test_env, &fields(json!({"a": text}))), knob(&test_env, "k", &json!({"c": "x"}))];
    let keep = options(|options| options.prune = false);
    let (code, message) = problem(test_env.apply(&wrong, &keep).await);
    assert_eq!(code, "SH3005");
    assert!(message.contains(".spec.c: field not declared"), "{message}");
}

/// A CRD gets a version with a defaulted field: entries of `managedFields` in the older version would refuse the object.
#[tokio::test]
async fn an_object_moves_to_a_version_with_a_new_default() {
    let test_env = ClusterEnv::new("new-default").await;
    let versions = |both: bool| {
        let text = json!({"type": "string"});
        let mut crd = definition(&test_env, &json!({"type": "object", "properties": {"a": text}}));
        if both {
            let mut newer = crd["spec"]["versions"][0].clone();
            newer["name"] = json!("v2");
            newer["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"] =
                json!({"type": "string", "default": "x"});
            crd["spec"]["versions"][0]["storage"] = json!(false);
            crd["spec"]["versions"].as_array_mut().unwrap().push(newer);
        }
        crd
    };
    let old = knob(&test_env, "k", &json!({"a": "1"}));
    test_env.apply(&[versions(false), old.clone()], &options(|_| {})).await.unwrap();
    let mut new = knob(&test_env, "k", &json!({"a": "2"}));
    new["apiVersion"] = json!(format!("{}.example.com/v2", test_env.namespace));
    test_env.apply(&[versions(true), old], &options(|_| {})).await.unwrap();
    let set = [versions(true), new.clone()];
    assert_eq!(applied(&test_env, &set, &options(|_| {})).await, [Unchanged, Configured]);
    assert_eq!(test_env.get(&new).await.unwrap()["spec"], json!({"a": "2", "b": "x"}));
    assert_eq!(applied(&test_env, &set, &options(|_| {})).await, [Unchanged, Unchanged]);
}

#[tokio::test]
async fn an_object_that_is_too_large_for_etcd_is_terminal() {
    let test_env = ClusterEnv::new("large").await;
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    test_env.apply(&[definition(&test_env, &any)], &options(|_| {})).await.unwrap();
    for bytes in [1_700_000, 2_300_000, 3_300_000] {
        let large = knob(&test_env, "large", &json!({"a": "x".repeat(bytes)}));
        let (error, report) = failure(test_env.apply(&[large], &options(|options| options.prune = false)).await);
        assert_eq!(error.class(), Class::Terminal, "{bytes}: {error}");
        assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH3005");
    }
}

/// Charts have `rules: []` beside `aggregationRule`.
#[tokio::test]
async fn the_rules_of_an_aggregated_role_stay_its_controllers() {
    let test_env = ClusterEnv::new("aggregated").await;
    let role = |name: &str, more: Value| {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": format!("{}-{name}", test_env.namespace)},
        });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    let label = test_env.namespace.clone();
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let all = role(
        "all",
        json!({"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {&label: "a"}}]}}),
    );
    let mut part = role("part", json!({"rules": rules}));
    part["metadata"]["labels"] = json!({&label: "a"});
    let set = [all.clone(), part];
    test_env.apply(&set, &options(|_| {})).await.unwrap();
    eventually("the rules are added up", SOON, async || {
        (test_env.get(&all).await.unwrap()["rules"] == rules).then_some(())
    })
    .await;
    for force in [false, true] {
        let again = applied(&test_env, &set, &options(|options| options.force = force)).await;
        assert_eq!(again, [Unchanged, Unchanged], "force: {force}");
    }
    test_env.delete(None, &DeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_service_account_that_left_the_manifest_is_removed_with_its_copy() {
    let test_env = ClusterEnv::new("account").await;
    let set = |pod: Value| [deployment(&test_env, pod)];
    test_env.apply(&set(json!({"serviceAccountName": "special"})), &options(|_| {})).await.unwrap();
    assert_eq!(applied(&test_env, &set(json!({})), &options(|_| {})).await, [Configured]);
    let live = test_env.get(&set(json!({}))[0]).await.unwrap();
    assert_eq!(live.pointer("/spec/template/spec/serviceAccount"), None);
    assert_eq!(live.pointer("/spec/template/spec/serviceAccountName"), None);
    assert_eq!(applied(&test_env, &set(json!({})), &options(|_| {})).await, [Unchanged]);
}

#[tokio::test]
async fn a_volume_with_the_default_source_gets_another_one() {
    let test_env = ClusterEnv::new("volume").await;
    let set = |source: Value| {
        let mut volume = json!({"name": "data"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        [deployment(&test_env, json!({"volumes": [{"name": "other"}, volume]}))]
    };
    test_env.apply(&set(json!({})), &options(|_| {})).await.unwrap();
    let after = set(json!({"configMap": {"name": "web"}}));
    let dry = applied(&test_env, &after, &options(|options| options.dry_run = true)).await;
    assert_eq!(dry, [Configured]);
    assert_eq!(applied(&test_env, &after, &options(|_| {})).await, [Configured]);
    let live = test_env.get(&after[0]).await.unwrap();
    let volumes = &live["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1], json!({"name": "data", "configMap": {"name": "web", "defaultMode": 420}}));
    assert_eq!(volumes[0], json!({"name": "other", "emptyDir": {}}));
    assert_eq!(applied(&test_env, &after, &options(|_| {})).await, [Unchanged]);
}

/// The manifest leaves `replicas` to an autoscaler: server-side apply alone would set one replica until that acts.
#[tokio::test]
async fn replicas_stay_when_an_autoscaler_takes_them_over() {
    let test_env = ClusterEnv::new("autoscaler").await;
    let mut five = deployment(&test_env, json!({}));
    five["spec"]["replicas"] = json!(5);
    test_env.apply(&[five.clone()], &options(|_| {})).await.unwrap();
    let left = deployment(&test_env, json!({}));
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"minReplicas": 3, "maxReplicas": 9,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    let set = [left.clone(), scaler.clone()];
    test_env.apply(&set, &options(|_| {})).await.unwrap();
    assert_eq!(test_env.get(&left).await.unwrap()["spec"]["replicas"], 5);
    assert_eq!(applied(&test_env, &set, &options(|_| {})).await, [Unchanged, Unchanged]);

    test_env.apply(&[five], &options(|_| {})).await.unwrap();
    test_env.seed("kubectl", &scaler).await;
    test_env.apply(std::slice::from_ref(&left), &options(|_| {})).await.unwrap();
    assert_eq!(test_env.get(&left).await.unwrap()["spec"]["replicas"], 5, "an autoscaler outside of the set");
}

#[tokio::test]
async fn without_an_autoscaler_replicas_that_left_the_manifest_get_the_default() {
    let test_env = ClusterEnv::new("replicas").await;
    let mut two = deployment(&test_env, json!({}));
    two["spec"]["replicas"] = json!(2);
    test_env.apply(&[two], &options(|_| {})).await.unwrap();
    let left = deployment(&test_env, json!({}));
    test_env.apply(std::slice::from_ref(&left), &options(|_| {})).await.unwrap();
    assert_eq!(test_env.get(&left).await.unwrap()["spec"]["replicas"], 1, "as kubectl apply does");
}

#[tokio::test]
async fn null_key_fields_of_list_items_count_as_absent() {
    let test_env = ClusterEnv::new("null-keys").await;
    let set = [json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"selector": null, "ports": [{"port": 80, "targetPort": null, "protocol": null, "name": null}]},
    })];
    assert_eq!(applied(&test_env, &set, &options(|_| {})).await, [Created]);
    assert_eq!(applied(&test_env, &set, &options(|_| {})).await, [Unchanged]);
}

#[tokio::test]
async fn what_a_namespace_and_a_definition_wait_for_is_named_and_the_wait_is_not_repeated() {
    let test_env = ClusterEnv::new("blocked").await;
    let inner = format!("{}-inner", test_env.namespace);
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}});
    test_env.apply(&[definition(&test_env, &any), namespace], &options(|_| {})).await.unwrap();
    let mut held = test_env.config_map("held", json!({}));
    held["metadata"]["namespace"] = json!(inner);
    let mut knob = knob(&test_env, "held", &json!({}));
    for object in [&mut held, &mut knob] {
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        test_env.seed("other", object).await;
    }
    for (kind, names) in [
        ("CustomResourceDefinition", "CustomResource deletion is in progress"),
        ("Namespace", "example.com/hold in 1 resource instances"),
    ] {
        // Kubernetes writes what it waits for some time after the deletion.
        eventually("the conditions name what blocks the deletion", Duration::from_mins(1), async || {
            let purge = DeleteOptions { purge: true, wait: Some(Duration::from_secs(3)), ..DeleteOptions::default() };
            let (error, report) = failure(test_env.delete(None, &purge).await);
            assert_eq!(error.class(), Class::Terminal, "the time of the command is over: {error}");
            let line = report.objects.iter().find(|line| line.problem.is_some()).unwrap();
            let problem = line.problem.as_ref().unwrap();
            assert_eq!((line.object.kind.as_str(), problem.code.as_str()), (kind, "SH3019"), "{}", problem.message);
            assert!(problem.message.starts_with("still there after 3s: "), "{}", problem.message);
            problem.message.contains(names).then_some(())
        })
        .await;
        test_env.release(if kind == "Namespace" { &held } else { &knob }).await;
    }
    let purge = DeleteOptions { purge: true, wait: Some(SOON), ..DeleteOptions::default() };
    test_env.delete(None, &purge).await.unwrap();
}

#[tokio::test]
async fn a_definition_whose_names_are_taken_is_refused() {
    let test_env = ClusterEnv::new("names-taken").await;
    let any = json!({"type": "object"});
    let first = definition(&test_env, &any);
    test_env.seed("other", &first).await;
    let mut second = first.clone();
    second["metadata"]["name"] = json!(format!("knobss.{}.example.com", test_env.namespace));
    second["spec"]["names"]["plural"] = json!("knobss");
    let (error, _) = failure(test_env.apply(&[second], &options(|_| {})).await);
    assert_eq!((error.code(), error.class()), (Code::SH3005, Class::Terminal), "{error}");
    assert!(error.to_string().contains("is already in use"), "{error}");
    // Other tests wait for all definitions of the cluster.
    test_env.delete(None, &DeleteOptions { purge: true, wait: Some(SOON), ..DeleteOptions::default() }).await.unwrap();
}

#[tokio::test]
async fn an_unknown_kind_names_what_may_be_meant() {
    let test_env = ClusterEnv::new("unknown").await;
    for (api_version, kind, near) in [
        (
            "autoscaling/v2beta2",
            "HorizontalPodAutoscaler",
            "it serves HorizontalPodAutoscaler in autoscaling/v1, autoscaling/v2",
        ),
        ("v1", "Deployment", "it serves Deployment in apps/v1"),
        ("apps/v1", "Deploymnt", "did you mean Deployment?"),
    ] {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let (error, _) = failure(test_env.apply(&[object], &options(|_| {})).await);
        assert_eq!(error.code(), Code::SH3004);
        assert!(error.to_string().ends_with(near), "{error}");
    }
}

#[tokio::test]
async fn kinds_that_can_only_be_created_are_refused_at_once() {
    let test_env = ClusterEnv::new("reviews").await;
    for (api_version, kind) in [("authorization.k8s.io/v1", "SelfSubjectAccessReview"), ("v1", "Binding")] {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let (error, _) = failure(test_env.apply(std::slice::from_ref(&object), &options(|_| {})).await);
        assert_eq!((error.code(), error.class()), (Code::SH3005, Class::Terminal), "{error}");
        let report = test_env.delete(Some(&[object]), &DeleteOptions::default()).await.unwrap();
        assert_eq!(actions(&report), [("a", Absent)]);
    }
}

#[tokio::test]
async fn the_dump_of_a_job_makes_a_job_again() {
    let test_env = ClusterEnv::new("job-dump").await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": test_env.namespace},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i:1"}]}}},
    });
    let dump = [test_env.seed("kubectl", &job).await];
    let first = applied(&test_env, &dump, &options(|options| options.adopt = true)).await;
    assert_eq!(first, [Configured]);
    assert_eq!(applied(&test_env, &dump, &options(|_| {})).await, [Unchanged]);
    let gone = DeleteOptions { wait: Some(SOON), ..DeleteOptions::default() };
    test_env.delete(None, &gone).await.unwrap();
    assert_eq!(applied(&test_env, &dump, &options(|_| {})).await, [Created]);
}

#[tokio::test]
async fn the_dump_of_a_stateful_set_of_kubectl_does_not_conflict() {
    let test_env = ClusterEnv::new("set-dump").await;
    let labels = json!({"app": "db"});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": test_env.namespace},
        "spec": {"serviceName": "db", "replicas": 0, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "i:1"}]}},
                 "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]},
    });
    test_env.kubectl(&["apply"], &set).await;
    let dump = [test_env.get(&set).await.unwrap()];
    assert_eq!(applied(&test_env, &dump, &options(|_| {})).await, [Configured]);
    assert_eq!(applied(&test_env, &dump, &options(|options| options.force = true)).await, [Configured]);
    assert_eq!(applied(&test_env, &dump, &options(|options| options.force = true)).await, [Unchanged]);
    assert_eq!(applied(&test_env, &[set], &options(|_| {})).await, [Configured], "only what we own changes");
}

/// Of objects of later phases, those that were refused already count as failed too.
#[tokio::test]
async fn failures_agree_with_the_lines_of_the_report() {
    let test_env = ClusterEnv::new("counts").await;
    let mut refused = deployment(&test_env, json!({}));
    refused["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    test_env.seed("argo", &refused).await;
    let mut wrong = test_env.config_map("wrong", json!({}));
    wrong["data"] = json!({"port": 80});
    let (error, report) = failure(test_env.apply(&[wrong, deployment(&test_env, json!({}))], &options(|_| {})).await);
    assert!(error.to_string().starts_with("2 of 2 objects failed"), "{error}");
    assert!(report.objects.iter().all(|line| line.problem.is_some()), "{report:?}");
}

#[tokio::test]
async fn a_claim_that_waits_for_its_first_pod_is_ready() {
    let test_env = ClusterEnv::new("first-consumer").await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": test_env.namespace},
        "provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer",
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": test_env.namespace},
        "spec": {"storageClassName": test_env.namespace, "accessModes": ["ReadWriteOnce"],
                 "resources": {"requests": {"storage": "1Gi"}}},
    });
    let set = [class, claim];
    test_env.apply(&set, &options(|options| options.wait = Some(SOON))).await.unwrap();
    let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
    test_env.delete(None, &purge).await.unwrap();
}

#[tokio::test]
async fn metadata_of_the_wrong_type_is_named() {
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {on: true}}}";
    let error = sailhand::cluster::manifest::read(text).unwrap_err();
    assert!(error.to_string().ends_with("metadata.annotations.on of the ConfigMap is true, not a string; quote it"));
}

#[tokio::test]
async fn an_object_of_another_installation_names_the_installation() {
    let test_env = ClusterEnv::new("two-owners").await;
    let other = ClusterEnv::beside(&test_env, 2);
    let map = [test_env.config_map("shared", json!({}))];
    other.apply(&map, &options(|_| {})).await.unwrap();
    let belongs = format!("belongs to installation {}", other.installation);
    let (code, message) = problem(test_env.apply(&map, &options(|_| {})).await);
    assert!(code == "SH3008" && message.ends_with(&belongs), "{message}");
    let (code, message) = problem(test_env.delete(Some(&map), &DeleteOptions::default()).await);
    assert!(code == "SH3008" && message.ends_with(&belongs), "{message}");
}

/// The names of other installations cost one list, however many objects are refused.
#[tokio::test]
async fn installations_are_listed_once_to_name_owners() {
    let test_env = ClusterEnv::new("many-owned").await;
    let other = ClusterEnv::beside(&test_env, 2);
    let maps: Vec<_> = (0..5).map(|number| test_env.config_map(&format!("shared-{number}"), json!({}))).collect();
    other.apply(&maps, &options(|_| {})).await.unwrap();
    let proxy = ApiProxy::start("many-owned", control_plane::kubeconfig(), Record::default()).await;
    let cluster = test_env.through(&proxy).await;
    let lists = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lists);
    proxy.answer(move |path, query| {
        count.fetch_add(
            usize::from(path.ends_with("/configmaps") && query.contains("labelSelector")),
            Ordering::Relaxed,
        );
        None
    });
    let (_, applied) = failure(test_env.apply_as(&cluster, &maps, &options(|_| {}), 1).await);
    assert_eq!(lists.swap(0, Ordering::Relaxed), 1);
    let (_, deleted) = failure(test_env.delete_as(&cluster, Some(&maps), &DeleteOptions::default()).await);
    assert_eq!(lists.load(Ordering::Relaxed), 1);
    let belongs = format!("belongs to installation {}", other.installation);
    for line in applied.objects.iter().chain(&deleted.objects) {
        let problem = line.problem.as_ref().unwrap();
        assert!(problem.message.ends_with(&belongs), "{}", problem.message);
    }
    assert_eq!((applied.objects.len(), deleted.objects.len()), (5, 5));
}

/// The inventory of an installation from before Kubernetes 1.22, and one with a kind that Kubernetes removed.
#[tokio::test]
async fn objects_whose_group_was_removed_are_pruned_in_the_new_one() {
    let test_env = ClusterEnv::new("moved").await;
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    });
    let map = test_env.config_map("stays", json!({}));
    test_env.apply(&[ingress.clone(), map.clone()], &options(|_| {})).await.unwrap();
    let mut inventory = test_env.inventory().await.unwrap();
    let objects = inventory["data"]["objects"].as_str().unwrap().replace("networking.k8s.io/v1", "extensions/v1beta1");
    let policy = json!({"api_version": "policy/v1beta1", "kind": "PodSecurityPolicy", "name": "web"});
    inventory["data"]["objects"] = json!(objects.replacen('[', &format!("[{policy},"), 1));
    inventory["metadata"].as_object_mut().unwrap().remove("managedFields");
    test_env.seed("older", &inventory).await;
    test_env.apply(&[map], &options(|options| options.wait = Some(SOON))).await.unwrap();
    assert_eq!(test_env.get(&ingress).await, None);
    assert_eq!(test_env.members().await, ["stays"]);
}
