//! The rights that the Helm chart's default values and each of its switches give to the chart's service account, on a
//! real API server. `permissions.rs` shows that they are enough for the verbs.
#![allow(clippy::disallowed_methods, reason = "other processes have their own time")]

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;

use crate::support::eventually::eventually;
use crate::support::own_control_plane::ControlPlane;
use crate::support::tools::program;

/// Requests that lead to the rights of others, or destroy data; each with the switches that permit it in any namespace.
const SENSITIVE: &[(&str, &str, &[&str])] = &[
    ("create", "deployments.apps", &["samples", "addons", "mesh", "conformance"]),
    ("patch", "deployments.apps", &["namespaces", "samples", "addons", "mesh", "conformance"]),
    ("patch", "daemonsets.apps", &["namespaces", "mesh"]),
    ("create", "pods", &[]),
    ("create", "pods/exec", &["conformance"]),
    ("create", "pods/portforward", &["conformance"]),
    ("create", "serviceaccounts", &["samples", "addons", "mesh", "conformance"]),
    ("create", "serviceaccounts/token", &[]),
    ("create", "configmaps", &["addons", "mesh", "dashboards"]),
    ("create", "podmonitors.monitoring.coreos.com", &["scrapes"]),
    ("get", "services/proxy", &["addons", "connections", "dashboards"]),
    ("get", "secrets", &[]),
    ("list", "secrets", &["analysisSecrets"]),
    ("create", "secrets", &[]),
    ("create", "namespaces", &["namespaces", "mesh", "conformance"]),
    ("patch", "namespaces", &["namespaces", "mesh", "conformance"]),
    ("delete", "namespaces", &["mesh", "conformance"]),
    ("delete", "customresourcedefinitions.apiextensions.k8s.io", &["meshPurge"]),
    ("create", "customresourcedefinitions.apiextensions.k8s.io", &["mesh"]),
    ("create", "clusterroles.rbac.authorization.k8s.io", &["addons", "mesh"]),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", &["addons", "mesh"]),
    ("escalate", "clusterroles.rbac.authorization.k8s.io", &["mesh"]),
    ("bind", "clusterroles.rbac.authorization.k8s.io", &["mesh"]),
    ("impersonate", "users", &[]),
    ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", &["mesh"]),
    ("delete", "persistentvolumeclaims", &[]),
];

const SWITCHES: &[&str] = &[
    "namespaces",
    "samples",
    "traffic",
    "policies",
    "addons",
    "mesh",
    "meshPurge",
    "conformance",
    "connections",
    "scrapes",
    "dashboards",
    "analysis",
    "analysisSecrets",
];

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

fn kubectl(plane: &ControlPlane, args: &[&str]) -> Output {
    let mut command = Command::new(program("kubectl", "KUBECTL_BIN"));
    command.arg("--kubeconfig").arg(plane.kubeconfig()).args(args);
    run(command)
}

/// Applies the chart's roles in a namespace of their own, and waits until the API server uses them.
async fn install(plane: &ControlPlane, namespace: &str, values: &[String]) {
    kubectl(plane, &["create", "namespace", namespace]);
    let mut command = Command::new(program("helm", "HELM_BIN"));
    command.args(["template", "sailhand", "deploy/helm/sailhand", "--namespace", namespace]);
    command.args(["--show-only", "templates/rbac.yaml", "--show-only", "templates/clusterroles.yaml"]);
    for value in values {
        command.args(["--set", value]);
    }
    let rendered = run(command);
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let file = plane.dir().join(format!("{namespace}.yaml"));
    std::fs::write(&file, rendered.stdout).unwrap();
    let applied = kubectl(plane, &["apply", "--filename", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    eventually("the rights are there", Duration::from_secs(20), async || {
        can(plane, namespace, "list", "namespaces", "default").then_some(())
    })
    .await;
}

/// Asks by a `SubjectAccessReview`: `kubectl auth can-i` needs the CRD of a kind.
fn can(plane: &ControlPlane, account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": format!("system:serviceaccount:{account}:sailhand"), "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
        }},
    });
    let file = plane.dir().join("review.json");
    std::fs::write(&file, review.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let answer = kubectl(plane, &["create", "--filename", file, "--output", "jsonpath={.status.allowed}"]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    answer.stdout == b"true"
}

fn sensitive(plane: &ControlPlane, account: &str, namespace: &str) -> Vec<String> {
    let permitted = SENSITIVE.iter().filter(|(verb, resource, _)| can(plane, account, verb, resource, namespace));
    permitted.map(|(verb, resource, _)| format!("{verb} {resource}")).collect()
}

#[tokio::test]
async fn defaults_and_switches_grant_exactly_the_permissions_of_their_verbs() {
    let plane = ControlPlane::start().await;
    let defaults = "sailhand-defaults";
    install(&plane, defaults, &[]).await;
    assert_eq!(sensitive(&plane, defaults, "kube-system"), [""; 0], "the default values");
    assert!(can(&plane, defaults, "patch", "configmaps", "sailhand-system"), "its inventories");
    for switch in SWITCHES {
        let account = format!("sailhand-{}", switch.to_lowercase());
        install(&plane, &account, &[format!("clusterRole.{switch}=true")]).await;
        let expected = SENSITIVE.iter().filter(|(_, _, by)| by.contains(switch));
        let expected: Vec<_> = expected.map(|(verb, resource, _)| format!("{verb} {resource}")).collect();
        assert_eq!(sensitive(&plane, &account, "kube-system"), expected, "{switch}");
    }
}

#[tokio::test]
async fn list_of_namespaces_confines_the_writes_of_samples_traffic_policies_addons_and_rules() {
    let plane = ControlPlane::start().await;
    kubectl(&plane, &["create", "namespace", "shop"]);
    let mut values = vec!["rbac.namespaces={shop}".to_owned()];
    values.extend(["samples", "traffic", "policies", "addons"].map(|switch| format!("clusterRole.{switch}=true")));
    let rule = [
        "clusterRole.rules[0].apiGroups={apps}",
        "clusterRole.rules[0].resources={statefulsets}",
        "clusterRole.rules[0].verbs={create}",
    ];
    values.extend(rule.map(str::to_owned));
    let account = "sailhand-confined";
    install(&plane, account, &values).await;
    for resource in [
        "deployments.apps",
        "statefulsets.apps",
        "configmaps",
        "virtualservices.networking.istio.io",
        "authorizationpolicies.security.istio.io",
    ] {
        eventually("the rights of the namespace are there", Duration::from_secs(20), async || {
            can(&plane, account, "create", resource, "shop").then_some(())
        })
        .await;
        assert!(!can(&plane, account, "create", resource, "kube-system"), "{resource}");
    }
}
