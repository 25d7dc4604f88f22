//! The description of a sample application, and its Kubernetes objects. Pure, and independent of the single applications.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde_json::{Map, Value, json};

use crate::analysis::istio::managed;
use crate::task::image::mirrored;

/// An application: components, and the one that is reached from outside.
#[derive(Debug)]
pub struct Application {
    /// Its name in labels and installation names; a DNS label.
    pub name: &'static str,
    /// Version of the application as a whole, for `app.kubernetes.io/version`.
    pub version: &'static str,
    /// In the order they are applied.
    pub components: &'static [Component],
    /// How it is reached through a gateway.
    pub entry: Entry,
}

/// The way in.
#[derive(Debug)]
pub struct Entry {
    /// Name of the Gateway: one for each application, so that removing one leaves the others reachable.
    pub gateway: &'static str,
    /// Name of the `VirtualService` or `HTTPRoute`.
    pub route: &'static str,
    /// The component behind it.
    pub service: &'static str,
    /// Paths that the gateway accepts.
    pub paths: &'static [Path],
    /// Path of its start page.
    pub start: &'static str,
}

/// A path of the entry.
#[derive(Debug)]
pub enum Path {
    /// Only this one.
    Exact(&'static str),
    /// This one and what is below it.
    Prefix(&'static str),
}

/// One service of an application, with one Deployment for each of its versions.
#[derive(Debug)]
pub struct Component {
    /// Value of the `app` label, and name of the Service.
    pub name: &'static str,
    /// Values of the `version` label. Without any, the Deployment has the component's name and no such label.
    pub versions: &'static [&'static str],
    /// Name of the `ServiceAccount`; the namespace's default one without.
    pub account: Option<&'static str>,
    /// Its ports; a component that only sends requests has none, and no Service.
    pub port: Option<Port>,
    /// With registry and tag. `{version}` stands for the version.
    pub image: &'static str,
    /// The main container's name.
    pub container: &'static str,
    /// Environment of the main container.
    pub env: &'static [(&'static str, &'static str)],
    /// Annotations of the pods.
    pub annotations: &'static [(&'static str, &'static str)],
    /// Paths of empty volumes; the root file system may be read-only.
    pub scratch: &'static [&'static str],
    /// How the kubelet asks whether it is ready.
    pub probe: Option<Probe>,
    /// Seconds until the first probe, for containers that start slowly.
    pub starts_in: u16,
    /// CPU request, thousandths of a core.
    pub cpu: u16,
    /// Memory request, MiB. It may use twice as much.
    pub memory: u16,
    /// User of the container, where the image names none by number.
    pub user: Option<u16>,
    /// Nothing is written outside `scratch`.
    pub read_only: bool,
    /// Waits for another component before it starts.
    pub waits_for: Option<WaitsFor>,
    /// A second Service for load balancers outside the mesh.
    pub outer_service: Option<&'static str>,
}

/// Defaults of a component.
pub const PLAIN: Component = Component {
    name: "",
    versions: &[],
    account: None,
    port: None,
    image: "",
    container: "server",
    env: &[],
    annotations: &[],
    scratch: &[],
    probe: None,
    starts_in: 0,
    cpu: 100,
    memory: 64,
    user: None,
    read_only: false,
    waits_for: None,
    outer_service: None,
};

/// A port of a Service.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its prefix is the protocol by which Istio treats it.
    pub name: &'static str,
    /// Of the Service.
    pub number: u16,
    /// Of the container.
    pub target: u16,
}

/// A question of the kubelet.
#[derive(Debug, Clone, Copy)]
pub enum Probe {
    /// `GET` of this path gives 2xx or 3xx.
    Http(&'static str),
    /// As `Http`, with this cookie.
    HttpWithCookie(&'static str, &'static str),
    /// The gRPC health protocol.
    Grpc,
    /// The port takes connections.
    Tcp,
}

/// An init container that asks an address until it answers.
#[derive(Debug, Clone, Copy)]
pub struct WaitsFor {
    /// Image with a shell and wget.
    pub image: &'static str,
    /// Host and port.
    pub address: &'static str,
}

/// Choices of a command for all objects.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// Where all objects go.
    pub namespace: &'a str,
    /// Takes the place of each image's registry host.
    pub registry: Option<&'a str>,
}

impl Application {
    /// The objects of `components` without the entry, accounts first.
    pub fn objects<'a>(
        &self,
        components: impl Iterator<Item = &'a Component>,
        choices: Choices<'_>,
    ) -> Vec<DynamicObject> {
        let (mut accounts, mut services, mut deployments) = (Vec::new(), Vec::new(), Vec::new());
        for component in components {
            if let Some(account) = component.account {
                accounts.push(self.object(("v1", "ServiceAccount"), account, component.name, choices, json!({})));
            }
            if let Some(port) = component.port {
                services.push(self.service(component, component.name, "ClusterIP", port, choices));
                if let Some(outer) = component.outer_service {
                    services.push(self.service(component, outer, "LoadBalancer", port, choices));
                }
            }
            if component.versions.is_empty() {
                deployments.push(self.deployment(component, None, choices));
            }
            deployments.extend(component.versions.iter().map(|it| self.deployment(component, Some(*it), choices)));
        }
        accounts.into_iter().chain(services).chain(deployments).collect()
    }

    /// An object with the labels that all objects of the application have. `data` is what stands beside its metadata.
    pub fn object(
        &self,
        (api_version, kind): (&str, &str),
        name: &str,
        component: &str,
        choices: Choices<'_>,
        data: Value,
    ) -> DynamicObject {
        let labels = [
            ("app", component),
            ("app.kubernetes.io/name", component),
            ("app.kubernetes.io/part-of", self.name),
            (managed::BY, managed::SAILHAND),
        ];
        DynamicObject {
            types: Some(TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(choices.namespace.to_owned()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            data,
        }
    }

    fn service(
        &self,
        component: &Component,
        name: &str,
        kind: &str,
        port: Port,
        choices: Choices<'_>,
    ) -> DynamicObject {
        let spec = json!({
            "type": kind,
            "selector": {"app": component.name},
            "ports": [{"name": port.name, "port": port.number, "targetPort": port.target, "protocol": "TCP"}],
        });
        self.object(("v1", "Service"), name, component.name, choices, json!({"spec": spec}))
    }

    fn deployment(&self, component: &Component, version: Option<&str>, choices: Choices<'_>) -> DynamicObject {
        let name = version.map_or_else(|| component.name.to_owned(), |version| format!("{}-{version}", component.name));
        // Never the `app.kubernetes.io` labels: a selector is for ever, they may change.
        let mut selector = json!({"app": component.name});
        if let Some(version) = version {
            selector["version"] = version.into();
        }
        let mut labels = selector.clone();
        for (key, value) in [
            ("app.kubernetes.io/name", component.name),
            ("app.kubernetes.io/part-of", self.name),
            ("app.kubernetes.io/version", version.unwrap_or(self.version)),
        ] {
            labels[key] = value.into();
        }
        let mut template = json!({"metadata": {"labels": labels}, "spec": pod(component, version, choices)});
        if !component.annotations.is_empty() {
            template["metadata"]["annotations"] = pairs(component.annotations);
        }
        let spec = json!({"replicas": 1, "selector": {"matchLabels": selector}, "template": template});
        let mut object = self.object(("apps/v1", "Deployment"), &name, component.name, choices, json!({"spec": spec}));
        if let Some(version) = version {
            object.metadata.labels.get_or_insert_with(BTreeMap::new).insert("version".to_owned(), version.to_owned());
        }
        object
    }
}

fn pod(component: &Component, version: Option<&str>, choices: Choices<'_>) -> Value {
    let mut security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    if let Some(user) = component.user {
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            security[field] = user.into();
        }
    }
    let mut pod = json!({"securityContext": security, "containers": [container(component, version, choices)]});
    if let Some(account) = component.account {
        pod["serviceAccountName"] = account.into();
    }
    if !component.scratch.is_empty() {
        let volumes = component.scratch.iter().enumerate();
        pod["volumes"] = volumes.map(|(index, _)| json!({"name": volume(index), "emptyDir": {}})).collect();
    }
    if let Some(waits_for) = component.waits_for {
        // Asks without end: how long is enough is for the command's deadline to say.
        let script = format!("until wget -q -T 2 -O /dev/null http://{}/; do sleep 2; done", waits_for.address);
        pod["initContainers"] = json!([{
            "name": "wait",
            "image": mirrored(waits_for.image, choices.registry),
            "command": ["/bin/sh", "-c", script],
            "securityContext": container_security(true),
            "resources": resources(10, 16),
        }]);
    }
    pod
}

fn container(component: &Component, version: Option<&str>, choices: Choices<'_>) -> Value {
    let wanted = component.image.replace("{version}", version.unwrap_or_default());
    let mut container = json!({
        "name": component.container,
        "image": mirrored(&wanted, choices.registry),
        "imagePullPolicy": "IfNotPresent",
        "resources": resources(component.cpu, component.memory),
        "securityContext": container_security(component.read_only),
    });
    if !component.env.is_empty() {
        let env = component.env.iter();
        container["env"] = env.map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if !component.scratch.is_empty() {
        let mounts = component.scratch.iter().enumerate();
        container["volumeMounts"] =
            mounts.map(|(index, path)| json!({"name": volume(index), "mountPath": path})).collect();
    }
    if let Some(port) = component.port {
        container["ports"] = json!([{"containerPort": port.target, "protocol": "TCP"}]);
        if let Some(probe) = component.probe {
            container["readinessProbe"] = question(probe, port.target, component.starts_in);
        }
    }
    container
}

/// Readiness without liveness probes: a sample that hangs stays available for debugging, and a slow node does not restart it.
fn question(probe: Probe, port: u16, starts_in: u16) -> Value {
    let mut question = match probe {
        Probe::Http(path) => json!({"httpGet": {"path": path, "port": port}}),
        Probe::HttpWithCookie(path, cookie) => {
            json!({"httpGet": {"path": path, "port": port, "httpHeaders": [{"name": "Cookie", "value": cookie}]}})
        }
        Probe::Grpc => json!({"grpc": {"port": port}}),
        Probe::Tcp => json!({"tcpSocket": {"port": port}}),
    };
    question["periodSeconds"] = 5.into();
    question["timeoutSeconds"] = 3.into();
    if starts_in > 0 {
        question["initialDelaySeconds"] = starts_in.into();
    }
    question
}

/// Settings of a container that the `restricted` Pod Security Standard requires.
fn container_security(read_only: bool) -> Value {
    let mut security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    if read_only {
        security["readOnlyRootFilesystem"] = true.into();
    }
    security
}

/// CPU is not limited: throttling makes a demonstration slow and protects no other workload.
fn resources(cpu: u16, memory: u16) -> Value {
    json!({
        "requests": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")},
        "limits": {"memory": format!("{}Mi", u32::from(memory) * 2)},
    })
}

fn volume(index: usize) -> String {
    format!("scratch-{index}")
}

fn pairs(pairs: &[(&str, &str)]) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect::<Map<_, _>>())
}
