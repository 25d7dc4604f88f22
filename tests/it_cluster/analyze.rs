//! The analysis of a live cluster: `config.analyze`, and `config.apply` that refuses what has errors.

use crate::cluster_target;
use crate::support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cluster_target::context;
use sailhand::cluster::Clusters;
use sailhand::config::Target;
use sailhand::error::{Classify, Code};
use sailhand::task::{Outcome, Registry, TaskContext};
use serde_json::{Value, json};
use support::cluster_env::ClusterEnv;
use support::eventually::eventually;

/// Two findings: the Deployment's user is the proxy's; a service port's name says no protocol.
fn manifest(user: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      securityContext: {{runAsUser: {user}}}\n      \
         containers: [{{name: web, image: 'web:1'}}]\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: secret}}\n\
         stringData: {{password: very-secret}}\n"
    )
}

async fn run(cx: &TaskContext, verb: &str, params: Value) -> Value {
    let result = Registry::standard().get(verb).unwrap().run(cx, params).await;
    let (_, report) = result.unwrap_or_else(|failure| panic!("{verb}: {}", failure.error)).into_parts();
    report
}

/// What is found about the Deployment. The pods that the cluster makes of it come when they come.
fn of_the_deployment(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    let of_it = findings.filter(|finding| finding["resource"].as_str().unwrap().starts_with("Deployment "));
    of_it.map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_cluster_is_judged_as_it_is_and_as_it_would_be() {
    let unique = format!("analyze-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let (cx, _) = context(&unique, 1);
    let apply = json!({"name": unique, "manifest": manifest(1337), "namespace": unique, "create_namespace": true});
    run(&cx, "config.apply", apply).await;

    let asked = json!({"namespaces": [unique], "codes": ["IST0144"]});
    let report = run(&cx, "config.analyze", asked.clone()).await;
    assert_eq!(of_the_deployment(&report), ["IST0144"], "{report:#}");
    assert_eq!(report["findings"][0]["resource"], format!("Deployment {unique}/web"));
    let count = report["findings"].as_array().unwrap().len();
    assert_eq!((&report["warnings"], &report["namespaces"][&unique]), (&json!(count), &json!(count)));
    assert_eq!(report["unread"], json!([]));

    let mended = manifest(1000).replace("name: web}\nspec", &format!("name: web, namespace: {unique}}}\nspec"));
    let mut with = asked.clone();
    with["manifest"] = json!(mended);
    let report = run(&cx, "config.analyze", with).await;
    assert_eq!(of_the_deployment(&report), [""; 0], "the manifest's object is the one that counts: {report:#}");

    let all = run(&cx, "config.analyze", json!({"namespaces": [unique]})).await;
    assert!(!all.to_string().contains("very-secret"), "what a Secret holds is never told");
    run(&cx, "config.delete", json!({"name": unique})).await;
}

#[tokio::test]
async fn a_manifest_alone_needs_no_cluster_and_one_of_the_two_is_needed() {
    let (cx, _) = context("analyze-alone", 1);
    let params = json!({"live": false, "manifest": manifest(1337), "codes": ["IST0144"]});
    let registry = Registry::standard();
    let task = registry.get("config.analyze").unwrap();
    let Outcome::Unchanged(report) = task.run(&cx, params).await.unwrap_or_else(|f| panic!("{}", f.error)) else {
        panic!("an analysis changes nothing")
    };
    assert_eq!(report["findings"][0]["line"], 9, "{report:#}");
    // Alpha annotations are told to who asks for them, as on the command line.
    let alpha =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, annotations: {networking.istio.io/exportTo: '.'}}\n";
    for (codes, told) in [(json!([]), false), (json!(["IST0136"]), true)] {
        let report = run(&cx, "config.analyze", json!({"live": false, "manifest": alpha, "codes": codes})).await;
        assert_eq!(report["codes"].get("IST0136").is_some(), told, "{report:#}");
    }
    for (params, code) in [
        (json!({"live": false}), Code::SH1005),
        (json!({"codes": ["IST9999"]}), Code::SH1005),
        (json!({"live": false, "manifest": "a: ["}), Code::SH1005),
    ] {
        assert_eq!(task.run(&cx, params.clone()).await.unwrap_err().error.code(), code, "{params}");
    }
}

#[tokio::test]
async fn objects_with_errors_are_not_applied_and_unreadable_ones_are_not_absent() {
    let test_env = ClusterEnv::new("refuse").await;
    let namespace = test_env.namespace.clone();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gateway", "namespace": namespace},
        "spec": {"containers": [{"name": "istio-proxy", "image": "auto"}]},
    });
    let params = json!({"name": namespace, "manifest": pod.to_string(), "analyze": true, "wait": "60s"});
    let registry = Registry::standard();
    let task = registry.get("config.apply").unwrap();
    let (cx, _) = context(&namespace, 1);
    let refused = task.run(&cx, params.clone()).await.unwrap_err().error;
    assert_eq!(refused.code(), Code::SH6004, "{refused}");
    assert!(refused.to_string().contains(&format!("IST0147 Pod {namespace}/gateway")), "{refused}");
    assert!(test_env.get(&pod).await.is_none(), "nothing was written");

    // Somebody who may not read webhooks: what the rule would find is not known, which is said.
    let groups = json!(["", "apps", "batch"]);
    test_env.limited(json!([{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}])).await;
    let kubeconfig = test_env.kubeconfig(&test_env.token().await);
    let inventory_namespace = format!("{namespace}-inventory");
    let target = Target { kubeconfig: Some(kubeconfig), inventory_namespace, ..Target::default() };
    let (limited, steps) = context(&namespace, 2);
    let clusters = Arc::new(Clusters::new(BTreeMap::from([("test".to_owned(), target)])));
    let limited = TaskContext { clusters, ..limited };
    let applied = task.run(&limited, params).await;
    assert!(applied.is_ok(), "{}", applied.unwrap_err().error);
    assert!(steps.contain("analyze", "mutatingwebhookconfigurations"), "{:?}", steps.reported());
    assert!(test_env.get(&pod).await.is_some());
    let (cx, _) = context(&namespace, 3);
    run(&cx, "config.delete", json!({"name": namespace})).await;
}

#[tokio::test]
async fn permission_for_one_namespace_limits_the_analysis_to_it() {
    let test_env = ClusterEnv::new("narrow").await;
    let namespace = test_env.namespace.clone();
    let (cx, _) = context(&namespace, 1);
    run(&cx, "config.apply", json!({"name": namespace, "manifest": manifest(1337), "namespace": namespace})).await;
    test_env.limited(json!([{"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}])).await;
    let kubeconfig = test_env.kubeconfig(&test_env.token().await);
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        command.args(["analyze", "-A", "-o", "json", "--kubeconfig"]).arg(&kubeconfig).args(arguments);
        command.output().unwrap()
    };
    let closed = analyze(&[]);
    assert_eq!(closed.status.code(), Some(6), "{}", String::from_utf8_lossy(&closed.stderr));

    // What `kubectl create role` and `rolebinding` give to somebody who works in a namespace.
    let api = "rbac.authorization.k8s.io";
    let (version, metadata) = (format!("{api}/v1"), json!({"name": "dev", "namespace": namespace}));
    let rules = json!([{"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list"]}]);
    let role = json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules});
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": "dev"},
        "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": namespace}],
    });
    test_env.seed("test", &role).await;
    test_env.seed("test", &binding).await;
    let open = eventually("the namespace is read", Duration::from_secs(20), async || {
        let open = analyze(&["--only-namespace", &namespace]);
        String::from_utf8_lossy(&open.stdout).contains("IST0144").then_some(open)
    });
    let open = open.await;
    let said = String::from_utf8_lossy(&open.stderr);
    assert!(said.contains(&format!("Only {namespace} could be read")), "{said}");
    assert!(said.contains("not read: kinds that these credentials may not list:"), "{said}");
    let other = analyze(&["--only-namespace", &format!("{namespace}x")]);
    assert_ne!(other.status.code(), Some(0), "{}", String::from_utf8_lossy(&other.stderr));
    run(&cx, "config.delete", json!({"name": namespace})).await;
}
