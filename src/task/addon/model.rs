//! The description of an addon, and its Kubernetes objects. Pure, and independent of the single addons.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::params::Expose;
use crate::analysis::istio::managed;
use crate::analysis::istio::membership::{DATAPLANE, INJECT};
use crate::hex::hex;
use crate::observe::discovery::ADDONS;
use crate::observe::scrape;
use crate::task::image;

/// An addon: one Deployment with what belongs to it. Its data live as long as its pod.
#[derive(Debug)]
pub struct Addon {
    /// Name of its objects.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// With registry and tag.
    pub image: &'static str,
    /// User and group of the container.
    pub user: u32,
    /// Command, where the image's own is not meant.
    pub command: &'static [&'static str],
    /// Arguments.
    pub args: &'static [&'static str],
    /// Environment.
    pub env: &'static [(&'static str, &'static str)],
    /// Configuration files: path and content.
    pub files: fn(Choices<'_>) -> Vec<(&'static str, String)>,
    /// Paths of empty volumes; the root file system is read-only.
    pub scratch: &'static [&'static str],
    /// Its read permissions in all namespaces: groups, resources.
    pub reads: &'static [(&'static [&'static str], &'static [&'static str])],
    /// Its Services; the first is the one to open and to expose.
    pub services: &'static [Service],
    /// Port and path that the kubelet asks.
    pub probe: (u16, &'static str),
    /// Path of what one opens first.
    pub page: &'static str,
    /// Path of the first Service's first port that answers when the addon is well.
    pub health: &'static str,
    /// Whether Prometheus reads its metrics at the probe's port.
    pub metrics: bool,
    /// CPU request, thousandths of a core.
    pub cpu: u16,
    /// Memory request, MiB. It may use four times as much.
    pub memory: u16,
}

/// A Service.
#[derive(Debug)]
pub struct Service {
    /// Its name: the one that Istio's own addons have, so that others find it.
    pub name: &'static str,
    /// Name, port, and port of the container.
    pub ports: &'static [(&'static str, u16, u16)],
}

/// Choices of a command.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    pub namespace: &'a str,
    pub expose: Expose,
    pub registry: Option<&'a str>,
    /// Another Prometheus than the one in the namespace.
    pub prometheus: Option<&'a str>,
}

impl Addon {
    /// Where it is reached inside the cluster.
    pub fn url(&self, namespace: &str) -> String {
        let service = &self.services[0];
        let port = service.ports[0].1;
        match port {
            80 => format!("http://{}.{namespace}{}", service.name, self.page),
            _ => format!("http://{}.{namespace}:{port}{}", service.name, self.page),
        }
    }

    /// Its objects.
    pub fn objects(&self, choices: Choices<'_>) -> Vec<DynamicObject> {
        let files = (self.files)(choices);
        let mut objects = vec![self.object("v1", "ServiceAccount", self.name, choices, json!({}))];
        objects.extend(self.role(choices));
        if !files.is_empty() {
            let data: BTreeMap<_, _> = files.iter().map(|(path, text)| (key(path), text)).collect();
            objects.push(self.object("v1", "ConfigMap", self.name, choices, json!({ "data": data })));
        }
        let services = self.services.iter().enumerate();
        objects.extend(services.map(|(index, service)| self.service(index == 0, service, choices)));
        objects.push(self.deployment(&files, choices));
        objects
    }

    fn object(&self, api_version: &str, kind: &str, name: &str, choices: Choices<'_>, data: Value) -> DynamicObject {
        let cluster_wide = kind.starts_with("ClusterRole");
        let labels = [
            ("app.kubernetes.io/name", self.name),
            ("app.kubernetes.io/version", self.version),
            ("app.kubernetes.io/part-of", ADDONS),
            (managed::BY, managed::SAILHAND),
        ];
        DynamicObject {
            types: Some(TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: (!cluster_wide).then(|| choices.namespace.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data,
        }
    }

    /// Its read permissions in all namespaces. An addon has no write permissions.
    fn role(&self, choices: Choices<'_>) -> Vec<DynamicObject> {
        if self.reads.is_empty() {
            return Vec::new();
        }
        let name = format!("sailhand-{}-{}", self.name, choices.namespace);
        let rules: Vec<_> = self
            .reads
            .iter()
            .map(|(groups, resources)| {
                json!({"apiGroups": groups, "resources": resources, "verbs": ["get", "list", "watch"]})
            })
            .collect();
        let rbac = "rbac.authorization.k8s.io/v1";
        let binding = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": choices.namespace}],
        });
        vec![
            self.object(rbac, "ClusterRole", &name, choices, json!({ "rules": rules })),
            self.object(rbac, "ClusterRoleBinding", &name, choices, binding),
        ]
    }

    fn service(&self, first: bool, service: &Service, choices: Choices<'_>) -> DynamicObject {
        let kind = match choices.expose {
            Expose::NodePort if first => "NodePort",
            Expose::LoadBalancer if first => "LoadBalancer",
            _ => "ClusterIP",
        };
        let ports: Vec<_> = service
            .ports
            .iter()
            .map(|(name, port, target)| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"}))
            .collect();
        let spec = json!({"type": kind, "selector": self.selector(), "ports": ports});
        self.object("v1", "Service", service.name, choices, json!({ "spec": spec }))
    }

    /// For ever: a Deployment's selector cannot be changed.
    fn selector(&self) -> Value {
        json!({"app.kubernetes.io/name": self.name, managed::BY: managed::SAILHAND})
    }

    fn deployment(&self, files: &[(&str, String)], choices: Choices<'_>) -> DynamicObject {
        let mut labels = self.selector();
        labels["app.kubernetes.io/version"] = self.version.into();
        // Outside the mesh, so that strict mTLS does not shut the door.
        labels[INJECT] = "false".into();
        labels[DATAPLANE] = "none".into();
        let mut annotations = json!({});
        if !files.is_empty() {
            annotations["sailhand.meshery.io/configuration"] = hash(files).into();
        }
        if self.metrics {
            annotations[scrape::ANNOTATION] = "true".into();
            annotations[scrape::PORT_ANNOTATION] = self.probe.0.to_string().into();
        }
        let mut template = json!({"metadata": {"labels": labels}, "spec": self.pod(files, choices)});
        if annotations != json!({}) {
            template["metadata"]["annotations"] = annotations;
        }
        let spec = json!({
            "replicas": 1,
            "strategy": {"type": "Recreate"}, // two at once would be two memories
            "selector": {"matchLabels": self.selector()},
            "template": template,
        });
        self.object("apps/v1", "Deployment", self.name, choices, json!({ "spec": spec }))
    }

    fn pod(&self, files: &[(&str, String)], choices: Choices<'_>) -> Value {
        let mut volumes: Vec<_> =
            (0..self.scratch.len()).map(|index| json!({"name": format!("scratch-{index}"), "emptyDir": {}})).collect();
        let mut mounts: Vec<_> = self
            .scratch
            .iter()
            .enumerate()
            .map(|(index, path)| json!({"name": format!("scratch-{index}"), "mountPath": path}))
            .collect();
        if !files.is_empty() {
            volumes.push(json!({"name": "files", "configMap": {"name": self.name}}));
            mounts.extend(
                files.iter().map(
                    |(path, _)| json!({"name": "files", "mountPath": path, "subPath": key(path), "readOnly": true}),
                ),
            );
        }
        let (port, path) = self.probe;
        let mut container = json!({
            "name": self.name,
            "image": image::mirrored(self.image, choices.registry),
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": port, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 3},
            "resources": {
                "requests": {"cpu": format!("{}m", self.cpu), "memory": format!("{}Mi", self.memory)},
                "limits": {"memory": format!("{}Mi", u32::from(self.memory) * 4)},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        });
        for (field, words) in [("command", self.command), ("args", self.args)] {
            if !words.is_empty() {
                container[field] = json!(words);
            }
        }
        if !self.env.is_empty() {
            container["env"] = self.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        }
        if !mounts.is_empty() {
            container["volumeMounts"] = mounts.into();
        }
        let mut pod = json!({
            "serviceAccountName": self.name,
            "automountServiceAccountToken": !self.reads.is_empty(),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": self.user,
                "runAsGroup": self.user,
                "fsGroup": self.user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        });
        if !volumes.is_empty() {
            pod["volumes"] = volumes.into();
        }
        pod
    }
}

/// A file's key in the `ConfigMap`.
fn key(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A hash of the files for the pod template, so that a changed file replaces the pod.
fn hash(files: &[(&str, String)]) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize()[..8])
}
