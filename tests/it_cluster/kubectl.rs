//! The same input to `config.apply` and to `kubectl apply --server-side`: the same object comes of it.

use sailhand::cluster::Action::{Configured, Created, Unchanged};
use sailhand::cluster::manifest;
use serde_json::{Value, json};

use crate::support::cluster_env::{ClusterEnv, actions, options};
use crate::support::eventually::eventually;

const SERVER_SIDE: [&str; 3] = ["apply", "--server-side", "--force-conflicts"];

/// What of an object two tools have to agree on.
pub fn content(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "name", "generation"] {
        metadata.remove(field);
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove("applyset.kubernetes.io/part-of");
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
    // The Deployment controller writes it at some time after the object is stored.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
        && annotations.remove("deployment.kubernetes.io/revision").is_some()
        && annotations.is_empty()
    {
        metadata.remove("annotations");
    }
    for field in ["/spec/clusterIP", "/spec/clusterIPs", "/spec/ports/0/nodePort"] {
        if let Some(value) = object.pointer_mut(field) {
            *value = Value::Null;
        }
    }
    object.as_object_mut().unwrap().remove("status");
    object
}

fn inputs() -> Vec<Value> {
    let secret = |rest: Value| {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret"});
        secret.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        secret
    };
    let pods = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "a"}, "annotations": null},
    "spec": {"nodeSelector": null, "tolerations": [], "containers": [{
        "name": "a", "image": "i:1", "env": null, "resources": {}, "args": [],
        "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}],
    }]}});
    vec![
        secret(json!({"data": null, "stringData": {"a": "1"}})),
        secret(json!({"data": {}, "stringData": {"a": "1"}})),
        secret(json!({"data": {"a": "MQ=="}, "stringData": null})),
        secret(json!({"data": {"a": "MQ=="}, "stringData": {}})),
        secret(json!({"data": {"a": "MQ=="}, "stringData": {"a": "2", "b": "3"}})),
        secret(json!({"data": {"a": null}, "stringData": {"b": null}})),
        secret(json!({"data": {"a": "YWJj\nZGVm\n"}})),
        secret(json!({"data": null, "stringData": null})),
        secret(json!({})),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": null}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": null, "b": ""}, "binaryData": {"c": "YQ=="}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": null, "annotations": {}}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"x": null}, "annotations": {"y": null}}}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": "NodePort", "ports": [{"port": 80, "name": ""}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
            "replicas": 0, "strategy": {"type": "Recreate", "rollingUpdate": null},
            "selector": {"matchLabels": {"app": "a"}}, "template": pods,
        }}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"schedule": "@daily", "suspend": true, "jobTemplate": {
            "metadata": {"creationTimestamp": null}, "spec": {"template": {"metadata": {"creationTimestamp": null},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i:1"}]}}},
        }}}),
    ]
}

#[tokio::test]
async fn the_same_input_makes_the_same_object() {
    let test_env = ClusterEnv::new("kubectl").await;
    for (number, input) in inputs().into_iter().enumerate() {
        let named = |name: String| {
            let mut object = input.clone();
            object["metadata"]["name"] = json!(name);
            object["metadata"]["namespace"] = json!(test_env.namespace);
            object
        };
        let (ours, theirs) = (named(format!("ours-{number}")), named(format!("theirs-{number}")));
        let read = manifest::read(&ours.to_string()).unwrap();
        let read = [serde_json::to_value(&read[0]).unwrap()];
        let keep = options(|options| options.prune = false);
        let first = test_env.apply(&read, &keep).await.unwrap();
        assert_eq!(first.objects[0].action, Created, "{input}");
        test_env.kubectl(&["apply", "--server-side"], &theirs).await;
        assert_eq!(
            content(test_env.get(&ours).await.unwrap()),
            content(test_env.get(&theirs).await.unwrap()),
            "{input}"
        );
        let again = test_env.apply(&read, &keep).await.unwrap();
        assert_eq!(again.objects[0].action, Unchanged, "a second run of {input}");
        let forced = options(|options| {
            options.prune = false;
            options.force = true;
        });
        assert_eq!(test_env.apply(&read, &forced).await.unwrap().objects[0].action, Unchanged, "{input}");
    }
}

#[tokio::test]
async fn a_changed_value_of_a_secret_is_stored() {
    let test_env = ClusterEnv::new("secret").await;
    let secret = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": test_env.namespace},
               "data": null, "stringData": {"a": value}})
    };
    for (value, stored) in [("old", "b2xk"), ("new", "bmV3")] {
        test_env.apply(&[secret(value)], &options(|_| {})).await.unwrap();
        assert_eq!(test_env.get(&secret("")).await.unwrap()["data"], json!({"a": stored}));
    }
}

/// Server-side apply alone refuses the change: the defaulted `rollingUpdate` is not ours to remove.
#[tokio::test]
async fn a_strategy_can_change_its_type_and_a_null_clears_a_field() {
    let test_env = ClusterEnv::new("strategy").await;
    let web = |more: Value| {
        let mut web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        }}});
        web["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        [web]
    };
    test_env.apply(&web(json!({})), &options(|_| {})).await.unwrap();
    for strategy in [json!({"type": "Recreate"}), json!({"type": "Recreate", "rollingUpdate": null})] {
        test_env
            .apply(
                &web(json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}})),
                &options(|_| {}),
            )
            .await
            .unwrap();
        let wanted = web(json!({ "strategy": strategy }));
        let dry = test_env.apply(&wanted, &options(|options| options.dry_run = true)).await.unwrap();
        assert_eq!(actions(&dry), [("web", Configured)]);
        assert_eq!(actions(&test_env.apply(&wanted, &options(|_| {})).await.unwrap()), [("web", Configured)]);
        let live = test_env.get(&wanted[0]).await.unwrap();
        assert_eq!(live["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(actions(&test_env.apply(&wanted, &options(|_| {})).await.unwrap()), [("web", Unchanged)]);
    }
    // What is left out again is ours to remove.
    test_env.apply(&web(json!({})), &options(|_| {})).await.unwrap();
    assert_eq!(test_env.get(&web(json!({}))[0]).await.unwrap()["spec"]["strategy"]["type"], "RollingUpdate");

    // A field that somebody else has set, and one whose default comes back.
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": test_env.namespace}, "spec": {"paused": true}});
    test_env.seed("somebody", &other).await;
    let nulls = web(json!({"paused": null, "revisionHistoryLimit": null, "strategy": null}));
    test_env.apply(&nulls, &options(|_| {})).await.unwrap();
    let live = test_env.get(&nulls[0]).await.unwrap();
    assert_eq!((live["spec"].get("paused"), &live["spec"]["revisionHistoryLimit"]), (None, &json!(10)));
    for dry_run in [false, true] {
        let again = test_env.apply(&nulls, &options(|options| options.dry_run = dry_run)).await.unwrap();
        assert_eq!(actions(&again), [("web", Unchanged)]);
    }
}

/// The output of `kubectl get -o yaml`, taken after a controller has written to the object.
#[tokio::test]
async fn a_dump_converges_also_with_force() {
    let test_env = ClusterEnv::new("dump").await;
    let web = |image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": test_env.namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]},
        }}})
    };
    test_env.kubectl(&["apply"], &web("app:1")).await;
    let revision = "deployment.kubernetes.io/revision";
    let dump =
        eventually("the controller has written its annotation", std::time::Duration::from_secs(20), async || {
            test_env.get(&web("")).await.filter(|live| live["metadata"]["annotations"][revision].is_string())
        })
        .await;
    let read = |dump: &Value| {
        let objects = manifest::read(&dump.to_string()).unwrap();
        [serde_json::to_value(&objects[0]).unwrap()]
    };
    let force = options(|options| options.force = true);
    test_env.apply(&read(&dump), &force).await.unwrap();
    let mut changed = dump.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    let report = test_env.apply(&read(&changed), &options(|_| {})).await.unwrap();
    assert_eq!(actions(&report), [("web", Configured)]);
    eventually("the new revision is there", std::time::Duration::from_secs(20), async || {
        test_env.get(&web("")).await.filter(|live| live["metadata"]["annotations"][revision] == "2")
    })
    .await;
    for options in [&options(|_| {}), &force] {
        let again = test_env.apply(&read(&changed), options).await.unwrap();
        assert_eq!(actions(&again), [("web", Unchanged)]);
    }
    let live = test_env.get(&web("")).await.unwrap();
    assert_eq!(
        live["metadata"]["annotations"].get("kubectl.kubernetes.io/last-applied-configuration"),
        None,
        "what kubectl applied last is not true any more"
    );
}

/// What `kubectl apply --server-side` does with an object of `kubectl apply` is what `force` and `adopt` do.
#[tokio::test]
async fn an_object_of_kubectl_apply_loses_the_fields_that_left_the_manifest() {
    let test_env = ClusterEnv::new("client-side").await;
    let map = |name: &str, data: Value| test_env.config_map(name, data);
    let (before, after) = (json!({"legacy": "1", "kept": "1"}), json!({"kept": "2"}));
    for name in ["forced", "adopted", "theirs", "shared"] {
        test_env.kubectl(&["apply"], &map(name, before.clone())).await;
    }
    test_env.kubectl(&SERVER_SIDE, &map("theirs", after.clone())).await;
    assert_eq!(test_env.get(&map("theirs", json!({}))).await.unwrap()["data"], after);
    let keep = |set: fn(&mut sailhand::cluster::ApplyOptions)| {
        options(|options| {
            options.prune = false;
            set(options);
        })
    };
    for (name, options) in
        [("forced", keep(|options| options.force = true)), ("adopted", keep(|options| options.adopt = true))]
    {
        let set = [map(name, after.clone())];
        let dry = sailhand::cluster::ApplyOptions { dry_run: true, ..options.clone() };
        let report = test_env.apply(&set, &dry).await.unwrap();
        assert_eq!(actions(&report), [(name, Configured)]);
        let report = test_env.apply(&set, &options).await.unwrap();
        assert_eq!(actions(&report), [(name, Configured)]);
        let reason = report.objects[0].reason.as_ref().unwrap();
        assert!(reason.contains("kubectl-client-side-apply"), "{reason}");
        assert_eq!(test_env.get(&set[0]).await.unwrap()["data"], after, "{name}");
        let again = test_env.apply(&set, &options).await.unwrap();
        assert_eq!((actions(&again), again.objects[0].reason.as_ref()), (vec![(name, Unchanged)], None));
    }
    // Without consent the fields of kubectl stay, and the report says so.
    let shared = [map("shared", json!({"kept": "1"}))];
    let report = test_env.apply(&shared, &keep(|_| {})).await.unwrap();
    let reason = report.objects[0].reason.as_ref().unwrap();
    assert!(reason.contains("kubectl-client-side-apply") && reason.contains("adopt"), "{reason}");
    assert_eq!(test_env.get(&shared[0]).await.unwrap()["data"], before);
}
