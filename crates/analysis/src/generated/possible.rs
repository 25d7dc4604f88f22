//! Lists objects that controllers may create from objects that no rule reads: by name if the documentation of the controller
//! states the name, otherwise with any name.

use super::{SECRET, SERVICE, SERVICE_ACCOUNT, Source, WORKLOAD, generated, map};
use crate::mesh::ISTIO_NAMESPACE;
use crate::resource::group_and_version;
use crate::{Kind, Resource, Value};

/// One thing that may be made.
struct Made {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// Groups whose controllers create no objects that a rule needs.
const INERT: &[&str] = &[
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "cert-manager.io",
    "acme.cert-manager.io",
    "external-secrets.io",
    "generators.external-secrets.io",
    "keda.sh",
    "kyverno.io",
    "metallb.io",
    "cilium.io",
    "crd.projectcalico.org",
    "projectcalico.org",
    "source.toolkit.fluxcd.io",
    "notification.toolkit.fluxcd.io",
    "image.toolkit.fluxcd.io",
    "velero.io",
    "kustomize.config.k8s.io",
    "config.istio.io",
];

/// Objects that may exist because of an object of a kind that no rule reads.
/// `has_pods` says whether its pods are known.
pub fn of(root: &Value, has_pods: bool) -> Option<Resource> {
    let mut made = made(root);
    if has_pods {
        made.retain(|made| made.kind != WORKLOAD);
    }
    (!made.is_empty()).then(|| generator(root, made))
}

/// A generator that may make anything anywhere: for input that is known to be a part of something.
#[must_use]
pub fn anything(reason: &str) -> Resource {
    let root = map([("metadata", map([("name", Value::string(reason))]))]);
    generator(&root, vec![any("*")])
}

/// Secrets that cert-manager makes for the listeners of a Gateway. Source: cert-manager, "Annotated Gateway resource".
pub fn gateway_secrets(gateway: &Resource) -> Option<Resource> {
    let is_annotated = is_for_cert_manager(gateway);
    let listeners = gateway.spec()["listeners"].items().iter();
    let names = listeners.flat_map(|listener| listener.at("tls.certificateRefs").items()).map(|one| one["name"].text());
    secrets(gateway, names.filter(|_| is_annotated))
}

/// Secrets that cert-manager makes for an Ingress. Source: cert-manager, "Annotated Ingress resource".
pub fn ingress_secrets(ingress: &Resource) -> Option<Resource> {
    let is_annotated = is_for_cert_manager(ingress);
    let names = ingress.spec()["tls"].items().iter().map(|one| one["secretName"].text());
    secrets(ingress, names.filter(|_| is_annotated))
}

/// A Secret that Reflector or a like controller copies into other namespaces.
pub fn reflected_secret(secret: &Resource) -> Option<Resource> {
    let is_copied = ["reflector.v1.k8s.emberstack.com/reflection-allowed", "replicator.v1.mittwald.de/replicate-to"];
    let is_copied = is_copied.iter().any(|key| secret.annotation(key).is_some());
    is_copied.then(|| generator(&secret.root, vec![one(SECRET, "*", secret.name.as_str())]))
}

fn is_for_cert_manager(resource: &Resource) -> bool {
    let keys = ["cert-manager.io/issuer", "cert-manager.io/cluster-issuer", "kubernetes.io/tls-acme"];
    keys.iter().any(|key| resource.annotation(key).is_some())
}

fn secrets<'a>(of: &Resource, names: impl Iterator<Item = &'a str>) -> Option<Resource> {
    let made: Vec<Made> = names.filter(|name| !name.is_empty()).map(|name| one(SECRET, ".", name)).collect();
    (!made.is_empty()).then(|| generator(&of.root, made))
}

fn generator(maker: &Value, made: Vec<Made>) -> Resource {
    let source = Source::of(maker);
    let made = made.into_iter().map(|made| {
        map([
            ("kind", Value::string(made.kind)),
            ("namespace", Value::string(made.namespace)),
            ("name", Value::string(made.name)),
        ])
    });
    let name = format!("{}/{}/{}", maker["apiVersion"].text(), maker["kind"].text(), source.name);
    generated(Kind::Generator, "v1", &source, &name, map([("makes", Value::List(made.collect()))]))
}

fn one(kind: &'static str, namespace: &str, name: impl Into<String>) -> Made {
    Made { kind, namespace: namespace.to_owned(), name: name.into() }
}

fn any(namespace: &str) -> Made {
    one("*", if namespace.is_empty() { "*" } else { namespace }, "*")
}

/// Whatever an operator makes is named after its object; the labels of its pods are not known.
fn of_operator(name: &str) -> Vec<Made> {
    let start = format!("{name}*");
    let named = [SERVICE, SECRET, SERVICE_ACCOUNT].map(|kind| one(kind, ".", start.as_str()));
    named.into_iter().chain([one(WORKLOAD, ".", "*")]).collect()
}

#[allow(clippy::match_same_arms, reason = "the first arm that matches decides")]
fn made(root: &Value) -> Vec<Made> {
    let name = root["metadata"]["name"].text();
    let spec = &root["spec"];
    let or = |first: &Value, other: &str| first.as_str().filter(|it| !it.is_empty()).unwrap_or(other).to_owned();
    let (group, _) = group_and_version(root["apiVersion"].text());
    match (group, root["kind"].text()) {
        ("cert-manager.io", "Certificate") => vec![one(SECRET, ".", spec["secretName"].text())],
        ("external-secrets.io", "ExternalSecret") => vec![one(SECRET, ".", or(&spec["target"]["name"], name))],
        ("external-secrets.io", "ClusterExternalSecret") => {
            let target = &spec["externalSecretSpec"]["target"]["name"];
            vec![one(SECRET, "*", or(target, &or(&spec["externalSecretName"], name)))]
        }
        ("bitnami.com", "SealedSecret") => {
            vec![one(SECRET, ".", or(&spec["template"]["metadata"]["name"], name))]
        }
        ("secrets-store.csi.x-k8s.io", _) => {
            let objects = spec["secretObjects"].items().iter();
            objects.map(|object| one(SECRET, ".", object["secretName"].text())).collect()
        }
        ("flagger.app", "Canary") => canary(spec),
        ("argoproj.io", "Rollout") => rollout(spec),
        ("argoproj.io", "Application") => vec![any(spec["destination"]["namespace"].text())],
        ("argoproj.io", "ApplicationSet") => vec![any("*")],
        ("argoproj.io", _) => Vec::new(),
        ("helm.toolkit.fluxcd.io", "HelmRelease") => {
            let own = root["metadata"]["namespace"].text();
            vec![any(&or(&spec["targetNamespace"], if own.is_empty() { "." } else { own }))]
        }
        ("helm.cattle.io", "HelmChart") => vec![any(&or(&spec["targetNamespace"], "."))],
        // `flux bootstrap` gives this name to the repository that the Kustomization itself is in.
        ("kustomize.toolkit.fluxcd.io", "Kustomization") if spec["sourceRef"]["name"].text() == "flux-system" => {
            Vec::new()
        }
        ("kustomize.toolkit.fluxcd.io", "Kustomization") => vec![any(&or(&spec["targetNamespace"], "*"))],
        ("sailoperator.io" | "operator.istio.io" | "install.istio.io", _) => {
            vec![any(&or(&spec["namespace"], ISTIO_NAMESPACE)), any(".")]
        }
        ("serving.knative.dev", _) => vec![one(SERVICE, ".", format!("{name}*"))],
        ("monitoring.coreos.com", "PodMonitor" | "ServiceMonitor" | "PrometheusRule" | "Probe") => Vec::new(),
        (_, kind) if kind.ends_with("Secret") || kind == "OnePasswordItem" => {
            let target = or(&spec["destination"]["name"], &or(&spec["target"]["name"], name));
            vec![one(SECRET, ".", target), one(SECRET, ".", name)]
        }
        _ if name.is_empty() || is_inert(group) || spec.is_null() => Vec::new(),
        _ => of_operator(name),
    }
}

/// Whether a group is one of Kubernetes itself, of Istio, or one that makes nothing of interest.
fn is_inert(group: &str) -> bool {
    INERT.contains(&group) || group.ends_with(".k8s.io") || group.ends_with("istio.io") || group.ends_with(".x-k8s.io")
}

/// Source: Flagger, "How it works": Services `NAME`, `NAME-canary`, `NAME-primary`; the primary's pods get the label
/// value `NAME-primary`.
fn canary(spec: &Value) -> Vec<Made> {
    let target = spec["targetRef"]["name"].text();
    let service = spec["service"]["name"].as_str().unwrap_or(target);
    let named = ["", "-canary", "-primary"].map(|end| one(SERVICE, ".", format!("{service}{end}")));
    named
        .into_iter()
        .chain([one(WORKLOAD, ".", format!("{target}*")), one(SECRET, ".", format!("{target}*"))])
        .collect()
}

/// A Rollout without a template takes that of a Deployment; its `ReplicaSets` add the label
/// `rollouts-pod-template-hash` to the pods, and to the subsets of the DestinationRule that it names.
fn rollout(spec: &Value) -> Vec<Made> {
    if spec["template"].is_null() { vec![one(WORKLOAD, ".", "*")] } else { Vec::new() }
}
