//! Inputs of public reports about Flux, Argo CD, Helm and kubectl, each with the answer that its author expected.

use std::time::Duration;

use sailhand::cluster::Action::{Absent, Configured, Created, Unchanged};
use sailhand::cluster::ApplyOptions;
use sailhand::cluster::delete::DeleteOptions;
use sailhand::error::{Class, Classify, Code};
use serde_json::{Value, json};

use crate::support::eventually::eventually;
use crate::support::site::{Site, actions, failure, options, problem};

const SOON: Duration = Duration::from_secs(20);

fn definition(site: &Site, spec: &Value) -> Value {
    let group = format!("{}.example.com", site.namespace);
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

fn knob(site: &Site, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{}.example.com/v1", site.namespace), "kind": "Knob",
        "metadata": {"name": name, "namespace": site.namespace}, "spec": spec,
    })
}

fn deployment(site: &Site, pod: Value) -> Value {
    let mut pod = pod;
    pod["containers"] = json!([{"name": "app", "image": "registry.example/app:1"}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": pod,
        }},
    })
}

async fn applied(site: &Site, set: &[Value], options: &ApplyOptions) -> Vec<sailhand::cluster::Action> {
    site.apply(set, options).await.unwrap().objects.iter().map(|line| line.action).collect()
}

/// The release adds a field to a CRD and uses it.
#[tokio::test]
async fn a_field_that_the_set_adds_to_a_crd_can_be_used_in_the_same_set() {
    let site = Site::new("new-field").await;
    let text = json!({"type": "string"});
    let fields = |properties: Value| json!({"type": "object", "properties": properties});
    let before = [definition(&site, &fields(json!({"a": text}))), knob(&site, "k", json!({"a": "x"}))];
    site.apply(&before, &options(|_| {})).await.unwrap();

    let after = [
        definition(&site, &fields(json!({"a": text, "b": text}))),
        knob(&site, "k", json!({"a": "x", "b": "y"})),
        knob(&site, "l", json!({"b": "z"})),
    ];
    let dry = applied(&site, &after, &options(|options| options.dry_run = true)).await;
    assert_eq!(dry, [Configured, Configured, Created]);
    assert_eq!(applied(&site, &after, &options(|_| {})).await, [Configured, Configured, Created]);
    assert_eq!(site.get(&after[1]).await.unwrap()["spec"], json!({"a": "x", "b": "y"}));
    assert_eq!(applied(&site, &after, &options(|_| {})).await, [Unchanged, Unchanged, Unchanged]);

    let wrong = [definition(&site, &fields(json!({"a": text}))), knob(&site, "k", json!({"c": "x"}))];
    let keep = options(|options| options.prune = false);
    let (code, message) = problem(site.apply(&wrong, &keep).await);
    assert_eq!(code, "SH3005");
    assert!(message.contains(".spec.c: field not declared"), "{message}");
}

/// A CRD gets a version with a defaulted field: entries of `managedFields` in the older version would refuse the object.
#[tokio::test]
async fn an_object_moves_to_a_version_with_a_new_default() {
    let site = Site::new("new-default").await;
    let versions = |both: bool| {
        let text = json!({"type": "string"});
        let mut crd = definition(&site, &json!({"type": "object", "properties": {"a": text}}));
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
    let old = knob(&site, "k", json!({"a": "1"}));
    site.apply(&[versions(false), old.clone()], &options(|_| {})).await.unwrap();
    let mut new = knob(&site, "k", json!({"a": "2"}));
    new["apiVersion"] = json!(format!("{}.example.com/v2", site.namespace));
    site.apply(&[versions(true), old], &options(|_| {})).await.unwrap();
    let set = [versions(true), new.clone()];
    assert_eq!(applied(&site, &set, &options(|_| {})).await, [Unchanged, Configured]);
    assert_eq!(site.get(&new).await.unwrap()["spec"], json!({"a": "2", "b": "x"}));
    assert_eq!(applied(&site, &set, &options(|_| {})).await, [Unchanged, Unchanged]);
}

#[tokio::test]
async fn an_object_that_is_too_large_for_etcd_is_terminal() {
    let site = Site::new("large").await;
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    site.apply(&[definition(&site, &any)], &options(|_| {})).await.unwrap();
    for bytes in [1_700_000, 2_300_000, 3_300_000] {
        let large = knob(&site, "large", json!({"a": "x".repeat(bytes)}));
        let (error, report) = failure(site.apply(&[large], &options(|options| options.prune = false)).await);
        assert_eq!(error.class(), Class::Terminal, "{bytes}: {error}");
        assert_eq!(report.objects[0].problem.as_ref().unwrap().code, "SH3005");
    }
}

/// Charts have `rules: []` beside `aggregationRule`.
#[tokio::test]
async fn the_rules_of_an_aggregated_role_stay_its_controllers() {
    let site = Site::new("aggregated").await;
    let role = |name: &str, more: Value| {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": format!("{}-{name}", site.namespace)},
        });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        role
    };
    let label = site.namespace.clone();
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let all = role(
        "all",
        json!({"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {&label: "a"}}]}}),
    );
    let mut part = role("part", json!({"rules": rules}));
    part["metadata"]["labels"] = json!({&label: "a"});
    let set = [all.clone(), part];
    site.apply(&set, &options(|_| {})).await.unwrap();
    eventually("the rules are added up", SOON, async || {
        (site.get(&all).await.unwrap()["rules"] == rules).then_some(())
    })
    .await;
    for force in [false, true] {
        let again = applied(&site, &set, &options(|options| options.force = force)).await;
        assert_eq!(again, [Unchanged, Unchanged], "force: {force}");
    }
    site.delete(None, &DeleteOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_service_account_that_left_the_manifest_is_removed_with_its_copy() {
    let site = Site::new("account").await;
    let set = |pod: Value| [deployment(&site, pod)];
    site.apply(&set(json!({"serviceAccountName": "special"})), &options(|_| {})).await.unwrap();
    assert_eq!(applied(&site, &set(json!({})), &options(|_| {})).await, [Configured]);
    let live = site.get(&set(json!({}))[0]).await.unwrap();
    assert_eq!(live.pointer("/spec/template/spec/serviceAccount"), None);
    assert_eq!(live.pointer("/spec/template/spec/serviceAccountName"), None);
    assert_eq!(applied(&site, &set(json!({})), &options(|_| {})).await, [Unchanged]);
}

#[tokio::test]
async fn a_volume_with_the_default_source_gets_another_one() {
    let site = Site::new("volume").await;
    let set = |source: Value| {
        let mut volume = json!({"name": "data"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        [deployment(&site, json!({"volumes": [{"name": "other"}, volume]}))]
    };
    site.apply(&set(json!({})), &options(|_| {})).await.unwrap();
    let after = set(json!({"configMap": {"name": "web"}}));
    let dry = applied(&site, &after, &options(|options| options.dry_run = true)).await;
    assert_eq!(dry, [Configured]);
    assert_eq!(applied(&site, &after, &options(|_| {})).await, [Configured]);
    let live = site.get(&after[0]).await.unwrap();
    let volumes = &live["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[1], json!({"name": "data", "configMap": {"name": "web", "defaultMode": 420}}));
    assert_eq!(volumes[0], json!({"name": "other", "emptyDir": {}}));
    assert_eq!(applied(&site, &after, &options(|_| {})).await, [Unchanged]);
}

/// The manifest leaves `replicas` to an autoscaler: server-side apply alone would set one replica until that acts.
#[tokio::test]
async fn replicas_stay_when_an_autoscaler_takes_them_over() {
    let site = Site::new("autoscaler").await;
    let mut five = deployment(&site, json!({}));
    five["spec"]["replicas"] = json!(5);
    site.apply(&[five.clone()], &options(|_| {})).await.unwrap();
    let left = deployment(&site, json!({}));
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {"minReplicas": 3, "maxReplicas": 9,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    let set = [left.clone(), scaler.clone()];
    site.apply(&set, &options(|_| {})).await.unwrap();
    assert_eq!(site.get(&left).await.unwrap()["spec"]["replicas"], 5);
    assert_eq!(applied(&site, &set, &options(|_| {})).await, [Unchanged, Unchanged]);

    site.apply(&[five], &options(|_| {})).await.unwrap();
    site.seed("kubectl", &scaler).await;
    site.apply(&[left.clone()], &options(|_| {})).await.unwrap();
    assert_eq!(site.get(&left).await.unwrap()["spec"]["replicas"], 5, "an autoscaler outside of the set");
}

#[tokio::test]
async fn without_an_autoscaler_replicas_that_left_the_manifest_get_the_default() {
    let site = Site::new("replicas").await;
    let mut two = deployment(&site, json!({}));
    two["spec"]["replicas"] = json!(2);
    site.apply(&[two], &options(|_| {})).await.unwrap();
    let left = deployment(&site, json!({}));
    site.apply(&[left.clone()], &options(|_| {})).await.unwrap();
    assert_eq!(site.get(&left).await.unwrap()["spec"]["replicas"], 1, "as kubectl apply does");
}

#[tokio::test]
async fn null_key_fields_of_list_items_count_as_absent() {
    let site = Site::new("null-keys").await;
    let set = [json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {"selector": null, "ports": [{"port": 80, "targetPort": null, "protocol": null, "name": null}]},
    })];
    assert_eq!(applied(&site, &set, &options(|_| {})).await, [Created]);
    assert_eq!(applied(&site, &set, &options(|_| {})).await, [Unchanged]);
}

#[tokio::test]
async fn what_a_namespace_and_a_definition_wait_for_is_named_and_the_wait_is_not_repeated() {
    let site = Site::new("blocked").await;
    let inner = format!("{}-inner", site.namespace);
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}});
    site.apply(&[definition(&site, &any), namespace], &options(|_| {})).await.unwrap();
    let mut held = site.config_map("held", json!({}));
    held["metadata"]["namespace"] = json!(inner);
    let mut knob = knob(&site, "held", json!({}));
    for object in [&mut held, &mut knob] {
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        site.seed("other", object).await;
    }
    for (kind, names) in [
        ("CustomResourceDefinition", "CustomResource deletion is in progress"),
        ("Namespace", "example.com/hold in 1 resource instances"),
    ] {
        let purge = DeleteOptions { purge: true, wait: Some(Duration::from_secs(3)), ..DeleteOptions::default() };
        let (error, report) = failure(site.delete(None, &purge).await);
        assert_eq!(error.class(), Class::Terminal, "the time of the command is over: {error}");
        let line = report.objects.iter().find(|line| line.problem.is_some()).unwrap();
        let problem = line.problem.as_ref().unwrap();
        assert_eq!((line.object.kind.as_str(), problem.code.as_str()), (kind, "SH3019"), "{}", problem.message);
        assert!(problem.message.starts_with("still there after 3s: "), "{}", problem.message);
        assert!(problem.message.contains(names), "{}", problem.message);
        site.release(if kind == "Namespace" { &held } else { &knob }).await;
    }
    let purge = DeleteOptions { purge: true, wait: Some(SOON), ..DeleteOptions::default() };
    site.delete(None, &purge).await.unwrap();
}

#[tokio::test]
async fn a_definition_whose_names_are_taken_is_refused() {
    let site = Site::new("names-taken").await;
    let any = json!({"type": "object"});
    let first = definition(&site, &any);
    site.seed("other", &first).await;
    let mut second = first.clone();
    second["metadata"]["name"] = json!(format!("knobss.{}.example.com", site.namespace));
    second["spec"]["names"]["plural"] = json!("knobss");
    let (error, _) = failure(site.apply(&[second], &options(|_| {})).await);
    assert_eq!((error.code(), error.class()), (Code::SH3005, Class::Terminal), "{error}");
    assert!(error.to_string().contains("is already in use"), "{error}");
    // Other tests wait for all definitions of the cluster.
    site.delete(None, &DeleteOptions { purge: true, wait: Some(SOON), ..DeleteOptions::default() }).await.unwrap();
}

#[tokio::test]
async fn an_unknown_kind_names_what_may_be_meant() {
    let site = Site::new("unknown").await;
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
        let (error, _) = failure(site.apply(&[object], &options(|_| {})).await);
        assert_eq!(error.code(), Code::SH3004);
        assert!(error.to_string().ends_with(near), "{error}");
    }
}

#[tokio::test]
async fn kinds_that_can_only_be_created_are_refused_at_once() {
    let site = Site::new("reviews").await;
    for (api_version, kind) in [("authorization.k8s.io/v1", "SelfSubjectAccessReview"), ("v1", "Binding")] {
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let (error, _) = failure(site.apply(&[object.clone()], &options(|_| {})).await);
        assert_eq!((error.code(), error.class()), (Code::SH3005, Class::Terminal), "{error}");
        let report = site.delete(Some(&[object]), &DeleteOptions::default()).await.unwrap();
        assert_eq!(actions(&report), [("a", Absent)]);
    }
}

#[tokio::test]
async fn the_dump_of_a_job_makes_a_job_again() {
    let site = Site::new("job-dump").await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": site.namespace},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i:1"}]}}},
    });
    let dump = [site.seed("kubectl", &job).await];
    let first = applied(&site, &dump, &options(|options| options.adopt = true)).await;
    assert_eq!(first, [Configured]);
    assert_eq!(applied(&site, &dump, &options(|_| {})).await, [Unchanged]);
    let gone = DeleteOptions { wait: Some(SOON), ..DeleteOptions::default() };
    site.delete(None, &gone).await.unwrap();
    assert_eq!(applied(&site, &dump, &options(|_| {})).await, [Created]);
}

#[tokio::test]
async fn the_dump_of_a_stateful_set_of_kubectl_does_not_conflict() {
    let site = Site::new("set-dump").await;
    let labels = json!({"app": "db"});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": site.namespace},
        "spec": {"serviceName": "db", "replicas": 0, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "i:1"}]}},
                 "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]},
    });
    site.kubectl(&["apply"], &set).await;
    let dump = [site.get(&set).await.unwrap()];
    assert_eq!(applied(&site, &dump, &options(|_| {})).await, [Configured]);
    assert_eq!(applied(&site, &dump, &options(|options| options.force = true)).await, [Configured]);
    assert_eq!(applied(&site, &dump, &options(|options| options.force = true)).await, [Unchanged]);
    assert_eq!(applied(&site, &[set], &options(|_| {})).await, [Configured], "only what we own changes");
}

/// Of objects of later phases, those that were refused already count as failed too.
#[tokio::test]
async fn failures_agree_with_the_lines_of_the_report() {
    let site = Site::new("counts").await;
    let mut refused = deployment(&site, json!({}));
    refused["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    site.seed("argo", &refused).await;
    let mut wrong = site.config_map("wrong", json!({}));
    wrong["data"] = json!({"port": 80});
    let (error, report) = failure(site.apply(&[wrong, deployment(&site, json!({}))], &options(|_| {})).await);
    assert!(error.to_string().starts_with("2 of 2 objects failed"), "{error}");
    assert!(report.objects.iter().all(|line| line.problem.is_some()), "{report:?}");
}

#[tokio::test]
async fn a_claim_that_waits_for_its_first_pod_is_ready() {
    let site = Site::new("first-consumer").await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": site.namespace},
        "provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer",
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": site.namespace},
        "spec": {"storageClassName": site.namespace, "accessModes": ["ReadWriteOnce"],
                 "resources": {"requests": {"storage": "1Gi"}}},
    });
    let set = [class, claim];
    site.apply(&set, &options(|options| options.wait = Some(SOON))).await.unwrap();
    let purge = DeleteOptions { purge: true, ..DeleteOptions::default() };
    site.delete(None, &purge).await.unwrap();
}

#[tokio::test]
async fn metadata_of_the_wrong_type_is_named() {
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {on: true}}}";
    let error = sailhand::cluster::manifest::read(text).unwrap_err();
    assert!(error.to_string().ends_with("metadata.annotations.on of the ConfigMap is true, not a string; quote it"));
}

#[tokio::test]
async fn an_object_of_another_installation_names_the_installation() {
    let site = Site::new("two-owners").await;
    let other = Site::beside(&site, 2);
    let map = [site.config_map("shared", json!({}))];
    other.apply(&map, &options(|_| {})).await.unwrap();
    let belongs = format!("belongs to installation {}", other.installation);
    let (code, message) = problem(site.apply(&map, &options(|_| {})).await);
    assert!(code == "SH3008" && message.ends_with(&belongs), "{message}");
    let (code, message) = problem(site.delete(Some(&map), &DeleteOptions::default()).await);
    assert!(code == "SH3008" && message.ends_with(&belongs), "{message}");
}

/// The inventory of an installation from before Kubernetes 1.22, and one with a kind that Kubernetes removed.
#[tokio::test]
async fn objects_whose_group_was_removed_are_pruned_in_the_new_one() {
    let site = Site::new("moved").await;
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": site.namespace},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    });
    let map = site.config_map("stays", json!({}));
    site.apply(&[ingress.clone(), map.clone()], &options(|_| {})).await.unwrap();
    let mut inventory = site.inventory().await.unwrap();
    let objects = inventory["data"]["objects"].as_str().unwrap().replace("networking.k8s.io/v1", "extensions/v1beta1");
    let policy = json!({"api_version": "policy/v1beta1", "kind": "PodSecurityPolicy", "name": "web"});
    inventory["data"]["objects"] = json!(objects.replacen('[', &format!("[{policy},"), 1));
    inventory["metadata"].as_object_mut().unwrap().remove("managedFields");
    site.seed("older", &inventory).await;
    site.apply(&[map], &options(|options| options.wait = Some(SOON))).await.unwrap();
    assert_eq!(site.get(&ingress).await, None);
    assert_eq!(site.members().await, ["stays"]);
}
