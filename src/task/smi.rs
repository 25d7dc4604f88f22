//! `smi.install` and `smi.remove`: the CRDs of SMI and the controller that translates SMI objects into Istio objects.

use std::time::Duration;

use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::names::Namespace;
use super::{DURATION, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::analysis::istio::managed;
use crate::analysis::istio::membership::INJECT;
use crate::analysis::mesh::ISTIO_NAMESPACE;
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{ApplyOptions, Family, ObjectReport, ObjectsReport, apply};
use crate::smi::crd;

/// One for a cluster: two controllers in two namespaces would write the same objects.
const INSTALLATION: &str = "smi";
const NAME: &str = "sailhand-smi-controller";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// Parameters of `smi.install`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallParams {
    /// Image of the controller: this program, in a registry that the cluster can pull from.
    #[schemars(length(min = 1, max = 300), pattern(r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"))]
    pub image: String,
    /// Namespace of the controller.
    #[serde(default = "mesh")]
    pub namespace: Namespace,
    /// Create the namespace if it does not exist.
    #[serde(default)]
    pub create_namespace: bool,
    /// Root namespace of the mesh, which has the ConfigMap `istio` with the trust domain.
    #[serde(default = "mesh")]
    pub root_namespace: Namespace,
    /// Number of controllers. One leads, the others take over when it ends.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u8,
    /// How long to wait until the controller is ready, such as `5m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "five_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Take over objects that another tool owns, such as SMI CRDs of another origin.
    #[serde(default)]
    pub adopt: bool,
    /// Take fields over from other field managers.
    #[serde(default)]
    pub force: bool,
}

/// Parameters of `smi.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Namespace of the controller.
    #[serde(default = "mesh")]
    pub namespace: Namespace,
    /// Root namespace of the mesh, as in `smi.install`.
    #[serde(default = "mesh")]
    pub root_namespace: Namespace,
    /// Delete the CRDs too, with every SMI object of the cluster and the Istio objects that these own. Without it, SMI
    /// objects and translated Istio objects stay, and the latter stay enforced.
    #[serde(default)]
    pub remove_crds: bool,
    /// How long to wait until all objects are deleted, such as `2m`; `0s` does not wait.
    #[serde(with = "humantime_serde", default = "two_minutes")]
    #[schemars(with = "String", length(max = 32), regex(pattern = DURATION))]
    pub wait: Duration,
    /// Report what would go, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Report of `smi.install` and `smi.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmiReport {
    /// Namespace of the controller.
    pub namespace: Namespace,
    /// Version of SMI.
    pub smi_version: String,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// CRDs and objects of the controller.
    pub objects: Vec<ObjectReport>,
}

fn mesh() -> Namespace {
    Namespace::known(ISTIO_NAMESPACE)
}

const fn one() -> u8 {
    1
}

const fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

const fn two_minutes() -> Duration {
    Duration::from_mins(2)
}

fn report(namespace: &Namespace, done: ObjectsReport) -> SmiReport {
    SmiReport {
        namespace: namespace.clone(),
        smi_version: "0.6.0".to_owned(),
        dry_run: done.dry_run,
        objects: done.objects,
    }
}

/// `smi.install`.
pub struct Install;

impl Task for Install {
    const VERB: &'static str = "smi.install";
    const SUMMARY: &'static str =
        "Installs the CRDs of SMI and the controller that translates SMI objects into Istio objects.";
    type Params = InstallParams;
    type Report = SmiReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, _: &InstallParams) -> Option<String> {
        Some(INSTALLATION.to_owned())
    }

    fn example(&self) -> InstallParams {
        InstallParams {
            image: "mirror.example:5000/sailhand:0.1.0".to_owned(),
            namespace: mesh(),
            create_namespace: false,
            root_namespace: mesh(),
            replicas: 1,
            wait: five_minutes(),
            dry_run: false,
            adopt: false,
            force: false,
        }
    }

    async fn run(&self, cx: &TaskContext, params: InstallParams) -> Result<Outcome<SmiReport>, Failure<SmiReport>> {
        let cluster = cx.cluster().await?;
        let options = ApplyOptions {
            family: Family::Smi,
            namespace: Some(params.namespace.to_string()),
            create_namespace: params.create_namespace,
            dry_run: params.dry_run,
            prune: true,
            force: params.force,
            adopt: params.adopt,
            recreate: true,
            wait: Some(params.wait).filter(|wait| !params.dry_run && !wait.is_zero()),
            generation: cx.generation,
            origin: None,
        };
        let mut objects: Vec<_> = crd::all().into_iter().filter_map(object).collect();
        objects.extend(controller(&params.namespace, &params.root_namespace, &params.image, params.replicas));
        let done = apply::apply(&cluster, INSTALLATION, objects, &options, &cx.guard, &*cx.progress).await;
        objects_ended(done, |done| report(&params.namespace, done))
    }
}

/// `smi.remove`.
pub struct Remove;

impl Task for Remove {
    const VERB: &'static str = "smi.remove";
    const SUMMARY: &'static str = "Removes the SMI controller, and on request the CRDs with all SMI objects.";
    type Params = RemoveParams;
    type Report = SmiReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, _: &RemoveParams) -> Option<String> {
        Some(INSTALLATION.to_owned())
    }

    fn example(&self) -> RemoveParams {
        RemoveParams {
            namespace: mesh(),
            root_namespace: mesh(),
            remove_crds: false,
            wait: two_minutes(),
            dry_run: false,
        }
    }

    async fn run(&self, cx: &TaskContext, params: RemoveParams) -> Result<Outcome<SmiReport>, Failure<SmiReport>> {
        let cluster = cx.cluster().await?;
        let options = DeleteOptions {
            family: Family::Smi,
            purge: params.remove_crds,
            namespace: Some(params.namespace.to_string()),
            dry_run: params.dry_run,
            adopt: false,
            wait: Some(params.wait).filter(|wait| !params.dry_run && !wait.is_zero()),
            generation: cx.generation,
        };
        let objects = (!params.remove_crds).then(|| controller(&params.namespace, &params.root_namespace, "", 1));
        let done = delete::delete(&cluster, INSTALLATION, objects, &options, &cx.guard, &*cx.progress).await;
        objects_ended(done, |done| report(&params.namespace, done))
    }
}

fn object(value: Value) -> Option<DynamicObject> {
    serde_json::from_value(value).ok()
}

/// The controller's own objects.
fn controller(namespace: &Namespace, root: &Namespace, image: &str, replicas: u8) -> Vec<DynamicObject> {
    let namespace = namespace.as_str();
    let labels = json!({"app.kubernetes.io/name": NAME, managed::BY: managed::SAILHAND});
    let one = |api_version: &str, kind: &str, place: Option<&str>, data: Value| {
        let mut object = json!({
            "apiVersion": api_version, "kind": kind, "metadata": {"name": NAME, "namespace": place, "labels": labels},
        });
        if place.is_none() {
            object["metadata"] = json!({"name": NAME, "labels": labels});
        }
        for (field, value) in data.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        object
    };
    let binding = |kind: &str| {
        json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        })
    };
    let lease = rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]);
    let mut config = rule("", &["configmaps"], &["get", "list", "watch"]);
    config["resourceNames"] = json!(["istio"]);
    let mut objects = vec![
        one("v1", "ServiceAccount", Some(namespace), json!({})),
        one(RBAC, "ClusterRole", None, json!({ "rules": cluster_rules() })),
        one(RBAC, "ClusterRoleBinding", None, binding("ClusterRole")),
        one(
            "apps/v1",
            "Deployment",
            Some(namespace),
            json!({ "spec": deployment(root.as_str(), image, replicas, &labels) }),
        ),
    ];
    if root.as_str() == namespace {
        objects.push(one(RBAC, "Role", Some(namespace), json!({"rules": [lease, config]})));
    } else {
        objects.push(one(RBAC, "Role", Some(namespace), json!({"rules": [lease]})));
        objects.push(one(RBAC, "Role", Some(root.as_str()), json!({"rules": [config]})));
        objects.push(one(RBAC, "RoleBinding", Some(root.as_str()), binding("Role")));
    }
    objects.push(one(RBAC, "RoleBinding", Some(namespace), binding("Role")));
    objects.into_iter().filter_map(object).collect()
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// The permissions of the controller in all namespaces.
fn cluster_rules() -> Value {
    let read = &["get", "list", "watch"];
    let write = &["get", "list", "watch", "create", "patch", "update", "delete"];
    json!([
        rule("access.smi-spec.io", &["traffictargets"], read),
        rule("access.smi-spec.io", &["traffictargets/status"], &["patch"]),
        rule("specs.smi-spec.io", &["httproutegroups", "tcproutes", "udproutes"], read),
        rule("split.smi-spec.io", &["trafficsplits"], read),
        rule("split.smi-spec.io", &["trafficsplits/status"], &["patch"]),
        rule("", &["namespaces", "pods", "services"], read),
        rule("apps", &["deployments", "statefulsets", "daemonsets"], read),
        rule("security.istio.io", &["authorizationpolicies"], write),
        rule("networking.istio.io", &["virtualservices"], write),
        rule("gateway.networking.k8s.io", &["httproutes"], write),
        rule("events.k8s.io", &["events"], &["create"]),
    ])
}

fn deployment(root: &str, image: &str, replicas: u8, labels: &Value) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut pod_labels = labels.clone();
    pod_labels[INJECT] = "false".into();
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8321}, "periodSeconds": 5});
    let container = json!({
        "name": "controller",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["smi-controller", "--root-namespace", root, "--listen", "0.0.0.0:8321", "--log-format", "json"],
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "health", "containerPort": 8321, "protocol": "TCP"}],
        "livenessProbe": probe("/livez"),
        "readinessProbe": probe("/readyz"),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
    });
    json!({
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": pod_labels},
            "spec": {
                "serviceAccountName": NAME,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
            },
        },
    })
}
