//! What we make of objects of other tools, compared with what the tools make of them: kubectl (client side and server side),
//! Helm and Flux, all of them the real programs, on the same objects.

use std::path::Path;
use std::process::Stdio;

use sailhand::cluster::Action::{Configured, Unchanged};
use sailhand::cluster::delete::DeleteOptions;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::kubectl::content;
use crate::support::cluster_env::{ClusterEnv, failure, options};
use crate::support::control_plane;
use crate::support::tools;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    ClientSide,
    ServerSide,
    Helm,
    Flux,
}

const ALL: [Tool; 4] = [Tool::ClientSide, Tool::ServerSide, Tool::Helm, Tool::Flux];

impl Tool {
    /// Its marks make the object the tool's, so that it takes `adopt`.
    const fn marks(self) -> bool {
        matches!(self, Self::Helm | Self::Flux)
    }

    /// Applies the objects as the tool does.
    async fn apply(self, test_env: &ClusterEnv, release: &str, objects: &[Value]) {
        let kubeconfig = control_plane::kubeconfig().to_str().unwrap();
        let documents = objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        match self {
            Self::ClientSide | Self::ServerSide => {
                let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
                let side: &[&str] = if self == Self::ClientSide { &["apply"] } else { &["apply", "--server-side"] };
                test_env.kubectl(side, &list).await;
            }
            Self::Helm => {
                let chart = TempDir::new().unwrap();
                std::fs::create_dir(chart.path().join("templates")).unwrap();
                std::fs::write(chart.path().join("Chart.yaml"), "{apiVersion: v2, name: web, version: 1.0.0}").unwrap();
                std::fs::write(chart.path().join("templates/all.yaml"), documents).unwrap();
                let chart = chart.path().to_str().unwrap();
                let namespace = test_env.namespace.as_str();
                let arguments = ["upgrade", "--install", release, chart, "-n", namespace, "--kubeconfig", kubeconfig];
                run(&tools::program("helm", "SAILHAND_HELM"), &arguments, "").await;
            }
            Self::Flux => {
                let program = tools::program("flux-ssa", "SAILHAND_FLUX_SSA");
                let answer = run(&program, &["--kubeconfig", kubeconfig], &documents).await;
                let answer: Value = serde_json::from_str(&answer).unwrap();
                assert_eq!(answer.get("error"), None, "{answer}");
            }
        }
    }
}

async fn run(program: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A release with its name; the second one has changed values and lacks keys, list items and annotations of the first.
fn release(test_env: &ClusterEnv, name: &str, is_second: bool) -> Vec<Value> {
    let metadata =
        |annotations: Value| json!({"name": name, "namespace": test_env.namespace, "annotations": annotations});
    let (image, replicas) = if is_second { ("i:2", 2) } else { ("i:1", 1) };
    let annotations = || if is_second { json!({"team": "b"}) } else { json!({"team": "a", "old": "1"}) };
    let data =
        if is_second { json!({"same": "1", "changed": "2"}) } else { json!({"same": "1", "changed": "1", "old": "1"}) };
    let env = if is_second {
        json!([{"name": "A", "value": "2"}])
    } else {
        json!([{"name": "A", "value": "1"}, {"name": "OLD", "value": "1"}])
    };
    let ports = if is_second {
        json!([{"name": "web", "port": 81, "targetPort": 8080}])
    } else {
        json!([{"name": "web", "port": 80, "targetPort": 8080}, {"name": "old", "port": 9090}])
    };
    let mut container = json!({"name": "app", "image": image, "env": env, "ports": [{"containerPort": 8080}]});
    if !is_second {
        container["args"] = json!(["--old"]);
        container["resources"] = json!({"limits": {"memory": "64Mi"}});
    }
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(annotations()), "data": data}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(annotations()),
               "spec": {"selector": {"app": name}, "ports": ports}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(annotations()), "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        }}),
    ]
}

/// An object without its name and the marks of the tools.
async fn shape(test_env: &ClusterEnv, object: &Value) -> Value {
    let name = object["metadata"]["name"].as_str().unwrap();
    let text = content(test_env.get(object).await.unwrap()).to_string().replace(name, "NAME");
    let mut shape: Value = serde_json::from_str(&text).unwrap();
    let is_mark = |key: &str| {
        ["meta.helm.sh/", "kubectl.kubernetes.io/", "kustomize.toolkit.fluxcd.io/"].iter().any(|it| key.starts_with(it))
            || key == "app.kubernetes.io/managed-by"
    };
    for map in ["labels", "annotations"] {
        let values = shape["metadata"].get_mut(map).and_then(Value::as_object_mut);
        let is_empty = values.is_some_and(|values| {
            values.retain(|key, _| !is_mark(key));
            values.is_empty()
        });
        if is_empty {
            shape["metadata"].as_object_mut().unwrap().remove(map);
        }
    }
    shape
}

#[tokio::test]
async fn a_second_release_makes_the_same_objects_as_with_the_tool_that_made_the_first() {
    let test_env = ClusterEnv::new("compared").await;
    for (number, tool) in ALL.into_iter().enumerate() {
        for force in [false, true] {
            let own = ClusterEnv::beside(&test_env, 2 * number + usize::from(force));
            let [ours, theirs] = ["ours", "theirs"].map(|whose| format!("{whose}-{number}-{force}"));
            for name in [&ours, &theirs] {
                tool.apply(&own, name, &release(&own, name, false)).await;
            }
            let (before, after) = (release(&own, &ours, false), release(&own, &ours, true));
            tool.apply(&own, &theirs, &release(&own, &theirs, true)).await;
            // Force suffices for what kubectl has applied; objects with marks take adopt.
            let takes =
                options(|options| (options.force, options.adopt) = (force || !tool.marks(), !force || tool.marks()));
            let without = failure(own.apply(&after, &options(|options| options.force = tool.marks() && force)).await);
            let code = if tool.marks() { "SH3008" } else { "SH3006" };
            assert!(
                without.1.objects.iter().any(|one| one.problem.as_ref().is_some_and(|it| it.code == code)),
                "{tool:?}"
            );

            // Taking over without a change leaves the content as it is.
            let shapes = async |set: Vec<Value>| {
                let mut shapes = Vec::new();
                for one in &set {
                    shapes.push(shape(&own, one).await);
                }
                shapes
            };
            let first = shapes(before.clone()).await;
            own.apply(&before, &takes).await.unwrap();
            assert_eq!(shapes(before).await, first, "{tool:?}");

            let report = own.apply(&after, &takes).await.unwrap();
            assert!(report.objects.iter().all(|line| line.action == Configured), "{tool:?}: {report:?}");
            let expected = shapes(release(&own, &theirs, true)).await;
            assert_eq!(shapes(after.clone()).await, expected, "{tool:?}, force: {force}");
            for again in [&takes, &options(|_| {})] {
                let report = own.apply(&after, again).await.unwrap();
                assert!(report.objects.iter().all(|line| line.action == Unchanged), "{tool:?}: {report:?}");
            }
            own.delete(None, &DeleteOptions::default()).await.unwrap();
            assert_eq!(own.get(&after[0]).await, None, "{tool:?}");
        }
    }
}

/// Flux takes over what kubectl has applied, as we do with `force`. It tries an object before it takes the fields over, and so
/// refuses the Service, whose old port would have the new one's name.
#[tokio::test]
async fn objects_of_kubectl_end_as_with_flux() {
    let test_env = ClusterEnv::new("flux").await;
    for tool in [Tool::ClientSide, Tool::ServerSide] {
        let [ours, theirs] = ["ours", "theirs"].map(|whose| format!("{whose}-{tool:?}").to_lowercase());
        for name in [&ours, &theirs] {
            tool.apply(&test_env, name, &release(&test_env, name, false)).await;
        }
        let second = |name: &str| {
            let mut second = release(&test_env, name, true);
            second.retain(|one| one["kind"] != "Service");
            second
        };
        Tool::Flux.apply(&test_env, &theirs, &second(&theirs)).await;
        let force = options(|options| (options.force, options.prune) = (true, false));
        test_env.apply(&release(&test_env, &ours, true), &force).await.unwrap();
        for (ours, theirs) in second(&ours).iter().zip(&second(&theirs)) {
            assert_eq!(shape(&test_env, ours).await, shape(&test_env, theirs).await, "{tool:?}");
        }
    }
}

/// The dump of an object of any tool is taken over with `adopt`, changes nothing of its content, and a second run writes
/// nothing.
#[tokio::test]
async fn a_dump_of_another_tools_objects_is_taken_over_as_it_is() {
    let test_env = ClusterEnv::new("dumped").await;
    for (number, tool) in ALL.into_iter().enumerate() {
        let own = ClusterEnv::beside(&test_env, number);
        let name = format!("dumped-{number}");
        let set = release(&own, &name, false);
        tool.apply(&own, &name, &set).await;
        let mut dump = Vec::new();
        for one in &set {
            dump.push(own.get(one).await.unwrap());
        }
        let before = shape(&own, &set[2]).await;
        own.apply(&dump, &options(|options| options.adopt = true)).await.unwrap();
        assert_eq!(shape(&own, &set[2]).await, before, "{tool:?}");
        for force in [false, true] {
            let report = own.apply(&dump, &options(|options| options.force = force)).await.unwrap();
            assert!(report.objects.iter().all(|line| line.action == Unchanged), "{tool:?}, force {force}: {report:?}");
        }
    }
}
