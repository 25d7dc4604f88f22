//! Objects of other tools: kubectl (client side and server side), Helm, Argo CD, Flux; created, changed, with a key
//! removed, deleted; with `force` and with `adopt`.

use kube::api::{Patch, PatchParams, PostParams};
use sailhand::cluster::Action::{Configured, Deleted, Skipped, Unchanged};
use sailhand::cluster::ApplyOptions;
use sailhand::cluster::delete::DeleteOptions;
use serde_json::{Value, json};

use crate::support::cluster_env::{ClusterEnv, actions, options, problem};

/// A tool, as its field manager and marks show.
struct Tool {
    manager: &'static str,
    /// Server-side apply; a client-side update otherwise.
    applies: bool,
    labels: Value,
    annotations: Value,
    /// Its marks make the object the tool's, so that it takes `adopt`.
    marked: bool,
}

fn tools() -> Vec<Tool> {
    let tool = |manager, applies| Tool { manager, applies, labels: json!({}), annotations: json!({}), marked: false };
    vec![
        tool("kubectl-client-side-apply", false),
        tool("kubectl", true),
        Tool {
            labels: json!({"app.kubernetes.io/managed-by": "Helm"}),
            annotations: json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "default"}),
            marked: true,
            ..tool("helm", false)
        },
        Tool {
            annotations: json!({"argocd.argoproj.io/tracking-id": "web:/ConfigMap:a/a"}),
            marked: true,
            ..tool("argocd-controller", true)
        },
        Tool {
            labels: json!({"kustomize.toolkit.fluxcd.io/name": "web", "kustomize.toolkit.fluxcd.io/namespace": "f"}),
            marked: true,
            ..tool("kustomize-controller", true)
        },
    ]
}

/// Makes the object as the tool does.
async fn made_by(test_env: &ClusterEnv, tool: &Tool, name: &str) -> Value {
    let mut map = test_env.config_map(name, json!({"kept": "1", "changed": "1", "removed": "1"}));
    map["metadata"]["labels"] = tool.labels.clone();
    map["metadata"]["annotations"] = tool.annotations.clone();
    let api = test_env.api(&map).await;
    if tool.applies {
        let params = PatchParams::apply(tool.manager);
        api.patch(name, &params, &Patch::Apply(&map)).await.unwrap();
    } else {
        let params = PostParams { field_manager: Some(tool.manager.to_owned()), dry_run: false };
        api.create(&params, &serde_json::from_value(map.clone()).unwrap()).await.unwrap();
    }
    map
}

fn keep(set: impl FnOnce(&mut ApplyOptions)) -> ApplyOptions {
    options(|options| {
        options.prune = false;
        set(options);
    })
}

#[tokio::test]
async fn adopt_takes_over_all_fields_of_an_object_of_another_tool() {
    let test_env = ClusterEnv::new("takeover").await;
    for tool in tools() {
        for force in [false, true] {
            let name = format!("{}-{force}", tool.manager);
            made_by(&test_env, &tool, &name).await;
            let set = [test_env.config_map(&name, json!({"kept": "1", "changed": "2"}))];
            let refused = problem(test_env.apply(&set, &keep(|_| {})).await).0;
            assert_eq!(refused, if tool.marked { "SH3008" } else { "SH3006" }, "{name}");

            let adopt = keep(|options| {
                options.adopt = true;
                options.force = force;
            });
            let dry = ApplyOptions { dry_run: true, ..adopt.clone() };
            assert_eq!(test_env.apply(&set, &dry).await.unwrap().objects[0].action, Configured, "{name}");
            assert_eq!(test_env.get(&set[0]).await.unwrap()["data"]["removed"], "1", "a dry run writes nothing");
            let report = test_env.apply(&set, &adopt).await.unwrap();
            assert_eq!(report.objects[0].action, Configured, "{name}");
            let live = test_env.get(&set[0]).await.unwrap();
            assert_eq!(live["data"], json!({"kept": "1", "changed": "2"}), "{name}");
            assert_eq!(live["metadata"].get("annotations"), None, "the marks of {name} are gone");
            let managers = live["metadata"]["managedFields"].as_array().unwrap();
            assert_eq!(managers.len(), 1, "{name}: {managers:?}");

            for options in [&adopt, &keep(|_| {}), &keep(|options| options.force = true)] {
                let again = test_env.apply(&set, options).await.unwrap();
                assert_eq!(again.objects[0].action, Unchanged, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn force_takes_over_objects_of_kubectl_and_fields_of_others() {
    let test_env = ClusterEnv::new("force").await;
    for tool in tools().into_iter().filter(|tool| !tool.marked) {
        made_by(&test_env, &tool, tool.manager).await;
        let set = [test_env.config_map(tool.manager, json!({"kept": "1", "changed": "2"}))];
        let force = keep(|options| options.force = true);
        test_env.apply(&set, &force).await.unwrap();
        assert_eq!(
            test_env.get(&set[0]).await.unwrap()["data"],
            json!({"kept": "1", "changed": "2"}),
            "{}",
            tool.manager
        );
        assert_eq!(test_env.apply(&set, &force).await.unwrap().objects[0].action, Unchanged);
    }
    // A controller that writes one field is no tool that applies: its other fields stay.
    test_env.seed("controller", &test_env.config_map("mixed", json!({"theirs": "1", "both": "1"}))).await;
    let set = [test_env.config_map("mixed", json!({"both": "2"}))];
    test_env.apply(&set, &keep(|options| options.force = true)).await.unwrap();
    assert_eq!(test_env.get(&set[0]).await.unwrap()["data"], json!({"theirs": "1", "both": "2"}));
}

#[tokio::test]
async fn an_object_of_another_tool_is_deleted_only_with_adopt() {
    let test_env = ClusterEnv::new("unowned").await;
    for tool in tools() {
        let map = made_by(&test_env, &tool, tool.manager).await;
        let named = std::slice::from_ref(&map);
        let result = test_env.delete(Some(named), &DeleteOptions::default()).await;
        if tool.marked {
            assert_eq!(problem(result).0, "SH3008", "{}", tool.manager);
        } else {
            assert_eq!(actions(&result.unwrap()), [(tool.manager, Skipped)], "nobody's is not ours");
        }
        assert!(test_env.get(&map).await.is_some(), "{}", tool.manager);
        let adopt = DeleteOptions { adopt: true, ..DeleteOptions::default() };
        assert_eq!(actions(&test_env.delete(Some(named), &adopt).await.unwrap()), [(tool.manager, Deleted)]);
        assert_eq!(test_env.get(&map).await, None);
    }
}

/// Entries of `managedFields` name the version that a tool wrote in. Before, those of another version stayed, and with them
/// the fields that the manifest does not have.
#[tokio::test]
async fn fields_that_a_tool_wrote_in_an_older_version_are_taken_over() {
    let test_env = ClusterEnv::new("older").await;
    let group = format!("{}.example.com", test_env.namespace);
    let definition = |is_v1_served: bool| {
        let version = |name: &str, served: bool| {
            json!({"name": name, "served": served, "storage": name == "v2", "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "additionalProperties": {"type": "string"}}},
            }}})
        };
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("knobs.{group}")}, "spec": {
                "group": group, "scope": "Namespaced", "names": {"kind": "Knob", "plural": "knobs"},
                "versions": [version("v1", is_v1_served), version("v2", true)],
            },
        })
    };
    let knob = |version: &str, name: &str, spec: Value| {
        json!({"apiVersion": format!("{group}/{version}"), "kind": "Knob",
               "metadata": {"name": name, "namespace": test_env.namespace}, "spec": spec})
    };
    test_env.apply(&[definition(true)], &keep(|_| {})).await.unwrap();
    let managers = ["kubectl-client-side-apply", "kubectl", "helm", "kustomize-controller"];
    for manager in managers {
        for served in ["served", "retired"] {
            let name = format!("{manager}-{served}");
            let object = knob("v1", &name, json!({"kept": "1", "changed": "1", "removed": "1"}));
            let api = test_env.api(&object).await;
            if manager == "kustomize-controller" {
                api.patch(&name, &PatchParams::apply(manager), &Patch::Apply(&object)).await.unwrap();
            } else {
                let params = PostParams { field_manager: Some(manager.to_owned()), dry_run: false };
                api.create(&params, &serde_json::from_value(object).unwrap()).await.unwrap();
            }
        }
    }
    for served in ["served", "retired"] {
        let definition = definition(served == "served");
        test_env.apply(std::slice::from_ref(&definition), &keep(|_| {})).await.unwrap();
        for manager in managers {
            let name = format!("{manager}-{served}");
            let set = [definition.clone(), knob("v2", &name, json!({"kept": "1", "changed": "2"}))];
            let report = test_env.apply(&set, &keep(|options| options.adopt = true)).await.unwrap();
            assert_eq!(report.objects[1].action, Configured, "{name}");
            let live = test_env.get(&set[1]).await.unwrap();
            assert_eq!(live["spec"], json!({"kept": "1", "changed": "2"}), "{name}: {live}");
            assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 1, "{name}: {live}");
            let again = test_env.apply(&set, &keep(|options| options.force = true)).await.unwrap();
            assert!(!again.changed(), "{name}");
        }
    }
}
